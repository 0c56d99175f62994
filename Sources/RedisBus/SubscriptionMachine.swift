import NIOCore

// Who listens to which channel, and what Redis has confirmed of it on the present connection.
//
// Invariants
// 1. A subscriber is told that it is live when every one of its channels is confirmed: from there on it gets what is published, until it is told of a gap.
// 2. After a connection was lost that happens again, and says so: what was published meanwhile is gone (Redis keeps none of it).
// 3. A channel is confirmed when the last thing asked about it was SUBSCRIBE, and everything asked about it is answered.

struct SubscriptionMachine {
    enum Output: Equatable {
        case send([[RedisArgument]])
        case deliver(to: [Int], channel: String, payload: [UInt8])
        case live(Int, again: Bool)
        /// No more channels are allowed.
        case refuse(Int)
        case condemn(ConnectionProblem)
    }

    private struct Subscriber {
        let channels: Set<String>
        var unconfirmed: Set<String>
        var wasLive = false
    }

    private struct Channel {
        var subscribers: Set<Int> = []
        /// Requests about it that are not answered yet.
        var unanswered = 0
        var isConfirmed = false
    }

    private let maxChannels: Int
    private let keepalive: TimeAmount
    private let patience: TimeAmount
    private var subscribers: [Int: Subscriber] = [:]
    private var channels: [String: Channel] = [:]
    private var isConnected = false
    /// When something last came, and when it was asked for a sign of life since.
    private var lastHeard = NIODeadline.uptimeNanoseconds(0)
    private var asked: NIODeadline?

    init(_ configuration: RedisConfiguration) {
        maxChannels = configuration.maxChannels
        keepalive = TimeAmount(configuration.keepalive)
        patience = TimeAmount(configuration.commandTimeout)
    }

    var subscriberCount: Int { subscribers.count }
    var wakeUp: NIODeadline? { isConnected ? asked.map { $0 + patience } ?? lastHeard + keepalive : nil }

    // MARK: Inputs

    mutating func joined(_ id: Int, _ names: Set<String>) -> [Output] {
        let new = names.filter { channels[$0]?.subscribers.isEmpty ?? true }
        guard channels.count + names.count(where: { channels[$0] == nil }) <= maxChannels else { return [.refuse(id)] }
        for name in names { channels[name, default: Channel()].subscribers.insert(id) }
        subscribers[id] = Subscriber(channels: names, unconfirmed: names.filter { channels[$0]?.isConfirmed != true })
        return ask("SUBSCRIBE", new) + announceIfLive(id)
    }

    mutating func left(_ id: Int) -> [Output] {
        guard let subscriber = subscribers.removeValue(forKey: id) else { return [] }
        var unused: Set<String> = []
        for name in subscriber.channels {
            channels[name]?.subscribers.remove(id)
            guard channels[name]?.subscribers.isEmpty == true else { continue }
            unused.insert(name)
            channels[name]?.isConfirmed = false
        }
        let outputs = ask("UNSUBSCRIBE", unused)
        if !isConnected { for name in unused { channels[name] = nil } }
        return outputs
    }

    mutating func connectionReady(at now: NIODeadline) -> [Output] {
        isConnected = true
        lastHeard = now
        asked = nil
        return ask("SUBSCRIBE", Set(channels.keys))
    }

    mutating func connectionLost() {
        isConnected = false
        channels = channels.filter { !$0.value.subscribers.isEmpty }
        for name in channels.keys {
            channels[name]?.unanswered = 0
            channels[name]?.isConfirmed = false
        }
        for (id, subscriber) in subscribers { subscribers[id]?.unconfirmed = subscriber.channels }
    }

    mutating func replyReceived(_ reply: RedisReply, at now: NIODeadline) -> [Output] {
        lastHeard = now
        asked = nil
        if case .error(let error) = reply { return [.condemn(.refused(error.message))] }
        guard let elements = reply.elements, let kind = elements.first?.text else {
            // With no channel left, PING is answered as on any other connection.
            return reply == .status("PONG") ? [] : [.condemn(.violation("a message that is none"))]
        }
        switch kind {
        case "message":
            guard elements.count == 3, let name = elements[1].text, let payload = elements[2].bytes else { break }
            guard let listeners = channels[name]?.subscribers, !listeners.isEmpty else { return [] }
            return [.deliver(to: listeners.sorted(), channel: name, payload: payload)]
        case "subscribe", "unsubscribe":
            guard elements.count == 3, let name = elements[1].text else { break }
            return answered(name)
        case "pong": return []
        default: break
        }
        return [.condemn(.violation("a message of an unknown kind"))]
    }

    mutating func timePassed(at now: NIODeadline) -> [Output] {
        guard let wakeUp, wakeUp <= now else { return [] }
        if asked != nil { return [.condemn(.silent)] }
        asked = now
        return [.send([["PING"]])]
    }

    // MARK: Between them

    private mutating func ask(_ command: RedisArgument, _ names: Set<String>) -> [Output] {
        guard isConnected, !names.isEmpty else { return [] }
        for name in names { channels[name]?.unanswered += 1 }
        return [.send([[command] + names.sorted().map { RedisArgument($0) }])]
    }

    private mutating func answered(_ name: String) -> [Output] {
        guard var channel = channels[name], channel.unanswered > 0 else { return [] }
        channel.unanswered -= 1
        channel.isConfirmed = channel.unanswered == 0 && !channel.subscribers.isEmpty
        channels[name] = channel.unanswered == 0 && channel.subscribers.isEmpty ? nil : channel
        guard channel.isConfirmed else { return [] }
        return channel.subscribers.sorted().flatMap { id in
            subscribers[id]?.unconfirmed.remove(name) == nil ? [] : announceIfLive(id)
        }
    }

    private mutating func announceIfLive(_ id: Int) -> [Output] {
        guard let subscriber = subscribers[id], subscriber.unconfirmed.isEmpty else { return [] }
        subscribers[id]?.wasLive = true
        return [.live(id, again: subscriber.wasLive)]
    }
}
