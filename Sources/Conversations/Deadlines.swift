import Kernel

/// When which conversation needs a look: one time for each. Who is looked at in vain was changed meanwhile, and nothing happens.
struct Deadlines: Sendable {
    private struct Entry: Comparable {
        let at: Timestamp
        let conversation: ConversationID
        static func < (a: Entry, b: Entry) -> Bool { (a.at, a.conversation) < (b.at, b.conversation) }
    }

    /// Latest first, so that the next one is at the end.
    private var entries: [Entry] = []
    private var byConversation: [ConversationID: Timestamp] = [:]

    var next: Timestamp? { entries.last?.at }

    /// Notes the time at which the conversation needs a look, in place of the one before; `nil` for none.
    mutating func set(_ conversation: ConversationID, at time: Timestamp?) {
        if byConversation[conversation] == time { return }
        remove(conversation)
        guard let time else { return }
        byConversation[conversation] = time
        let entry = Entry(at: time, conversation: conversation)
        entries.insert(entry, at: index(of: entry))
    }

    mutating func due(at now: Timestamp) -> [ConversationID] {
        var due: [ConversationID] = []
        while let last = entries.last, last.at <= now {
            due.append(last.conversation)
            byConversation[last.conversation] = nil
            entries.removeLast()
        }
        return due
    }

    mutating func remove(_ conversation: ConversationID) {
        guard let time = byConversation.removeValue(forKey: conversation) else { return }
        entries.remove(at: index(of: Entry(at: time, conversation: conversation)))
    }

    /// Where the entry is, or belongs.
    private func index(of entry: Entry) -> Int {
        var low = 0
        var high = entries.count
        while low < high {
            let middle = (low + high) / 2
            if entries[middle] > entry { low = middle + 1 } else { high = middle }
        }
        return low
    }
}
