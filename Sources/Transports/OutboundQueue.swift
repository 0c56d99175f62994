import DequeModule
import Realtime

// What waits for a client who takes nothing at the moment. A value that decides; writing is `SocketOutlet`'s and `StreamOutlet`'s.
//
// Each thing waits by its class (DESIGN §6):
//     a reply, a ping        behind what is there, in order: it is owed
//     an ordered publication the same; but of a channel, all or nothing: where there is no room, the channel's backlog is cut out, and its client, told so, comes
//                            back for what it missed, or for a snapshot
//     a latest value         in place of the channel's own that waits, at the end, so that it never overtakes the answer to a subscription
//     a lossy one            not at all
//
// Invariants: `bytes` is the sum of what waits and is at most `limit`, but for one thing larger than that, alone; of a cut channel nothing waits.
struct OutboundQueue<Message: OutboundMessage> {
    typealias Verdict = OutboundVerdict

    private struct Item {
        let message: Message
        /// `nil` for what is owed to the client itself.
        let channel: String?
    }

    private let limit: Int
    private(set) var bytes = 0
    /// A gap is what has been taken out of the middle.
    private var items: Deque<Item?> = []
    /// The number of the first of `items`, counted from the beginning of time.
    private var first = 0
    private var latest: [String: Int] = [:]

    init(limit: Int) { self.limit = limit }

    var isEmpty: Bool { bytes == 0 }

    /// What is owed: the answer to a command, a ping, a word about the connection.
    mutating func put(_ reply: Message) -> Verdict {
        guard fits(reply) else { return .overflow }
        append(Item(message: reply, channel: nil))
        return .settled
    }

    mutating func put(_ message: Message, _ delivery: Delivery) -> Verdict {
        switch delivery.kind {
        case .lossy: return .settled
        case .ordered: break
        case .latest:
            if let number = latest.removeValue(forKey: delivery.channel) { remove(number - first) }
        }
        guard fits(message) else { return .cut(cut(delivery.channel)) }
        if delivery.kind == .latest { latest[delivery.channel] = first + items.count }
        append(Item(message: message, channel: delivery.channel))
        return .settled
    }

    /// The next in order.
    mutating func next() -> Message? {
        while let item = items.popFirst() {
            first += 1
            guard let item else { continue }
            if let channel = item.channel, latest[channel] == first - 1 { latest[channel] = nil }
            bytes -= item.message.byteCount
            return item.message
        }
        return nil
    }

    /// Alone, anything fits: a snapshot may be larger than the bound, and reaches who reads.
    private func fits(_ message: Message) -> Bool { isEmpty || bytes + message.byteCount <= limit }

    private mutating func append(_ item: Item) {
        items.append(item)
        bytes += item.message.byteCount
    }

    private mutating func remove(_ index: Int) {
        bytes -= items[index]?.message.byteCount ?? 0
        items[index] = nil
    }

    /// All that waits on channels, as who is behind on one is behind on all.
    private mutating func cut(_ channel: String) -> [String] {
        var channels: Set<String> = [channel]
        for index in items.indices {
            guard let channel = items[index]?.channel else { continue }
            channels.insert(channel)
            remove(index)
        }
        latest = [:]
        return channels.sorted()
    }
}

/// What becomes of a message.
enum OutboundVerdict: Equatable {
    /// It goes, or waits, or is not needed any more.
    case settled
    /// These channels were cut out to make room, the message's own among them.
    case cut([String])
    /// There is no room for what is owed.
    case overflow
}

/// Something that may have to wait.
protocol OutboundMessage {
    var byteCount: Int { get }
}
