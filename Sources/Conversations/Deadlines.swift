import Kernel

/// When which conversation needs a look. A time noted is never taken back: who is looked at in vain was changed meanwhile, and nothing happens.
struct Deadlines: Sendable {
    private struct Entry: Comparable {
        let at: Timestamp
        let conversation: ConversationID
        static func < (a: Entry, b: Entry) -> Bool { (a.at, a.conversation) < (b.at, b.conversation) }
    }

    /// Latest first, so that the next one is at the end.
    private var entries: [Entry] = []

    var next: Timestamp? { entries.last?.at }

    /// Notes the time at which the conversation's state ends by itself, if it does.
    mutating func note(_ conversation: Conversation) {
        let at: Timestamp
        switch conversation.state {
        case .offered(let offer, _): at = offer.expiresAt
        case .snoozed(_, let until): at = until
        default: return
        }
        let entry = Entry(at: at, conversation: conversation.id)
        var low = 0
        var high = entries.count
        while low < high {
            let middle = (low + high) / 2
            if entries[middle] > entry { low = middle + 1 } else { high = middle }
        }
        if low < entries.count, entries[low] == entry { return }
        entries.insert(entry, at: low)
    }

    mutating func due(at now: Timestamp) -> [ConversationID] {
        var due: [ConversationID] = []
        while let last = entries.last, last.at <= now {
            due.append(last.conversation)
            entries.removeLast()
        }
        return due
    }
}
