import Kernel

/// The conversations that wait for a person, in the order in which they are to be attended: longest first, then lowest protocol.
/// One on offer keeps its place until it is taken.
struct WaitingLine: Sendable {
    struct Place: Sendable, Equatable, Comparable {
        let since: Timestamp
        let protocolo: Int64
        let conversation: ConversationID

        static func < (a: Place, b: Place) -> Bool {
            (a.since, a.protocolo, a.conversation) < (b.since, b.protocolo, b.conversation)
        }
    }

    private(set) var places: [Place] = []
    private var byConversation: [ConversationID: Place] = [:]
    private var languageOf: [ConversationID: String] = [:]
    /// How many wait in each language.
    private(set) var languages: [String: Int] = [:]

    func contains(_ conversation: ConversationID) -> Bool { byConversation[conversation] != nil }

    /// Puts a conversation in its place. It moves only when its waiting time is another than before.
    mutating func enter(_ place: Place, language: String = "") {
        if let present = byConversation[place.conversation] {
            if present == place, languageOf[place.conversation] == language { return }
            leave(place.conversation)
        }
        languageOf[place.conversation] = language
        languages[language, default: 0] += 1
        places.insert(place, at: index(of: place))
        byConversation[place.conversation] = place
    }

    /// - Returns: whether it was waiting.
    @discardableResult
    mutating func leave(_ conversation: ConversationID) -> Bool {
        guard let place = byConversation.removeValue(forKey: conversation) else { return false }
        places.remove(at: index(of: place))
        if let language = languageOf.removeValue(forKey: conversation), let count = languages[language] {
            languages[language] = count == 1 ? nil : count - 1
        }
        return true
    }

    /// 1 for the first in line.
    func position(of conversation: ConversationID) -> Int? { byConversation[conversation].map { index(of: $0) + 1 } }

    /// The first place that is not before `place`.
    private func index(of place: Place) -> Int {
        var low = 0
        var high = places.count
        while low < high {
            let middle = (low + high) / 2
            if places[middle] < place { low = middle + 1 } else { high = middle }
        }
        return low
    }
}
