import DequeModule
import Synchronization

/// What a subscriber hears.
package enum RedisDelivery: Sendable, Hashable {
    /// Redis has confirmed every channel: whatever is published from here on comes, until a gap is told of.
    case live
    /// Something may have been missed, and cannot be had any more: get the present state elsewhere. What is published from here on comes.
    case gap(Gap)
    case message(channel: String, payload: [UInt8])

    package enum Gap: Sendable, Hashable {
        /// The connection was away.
        case reconnected
        /// This subscriber did not keep up, and messages were dropped here.
        case overflowed
    }
}

/// Messages of some channels, for one reader. Ends when the reading task is cancelled or the bus stops; letting go of it unsubscribes.
package final class RedisSubscription: AsyncSequence, Sendable {
    package typealias Element = RedisDelivery

    private let inbox: RedisInbox
    private let onEnd: @Sendable () -> Void

    init(_ inbox: RedisInbox, onEnd: @escaping @Sendable () -> Void) {
        self.inbox = inbox
        self.onEnd = onEnd
    }

    deinit { cancel() }

    /// Unsubscribes. What has come already can still be read.
    package func cancel() {
        inbox.end()
        onEnd()
    }

    package func makeAsyncIterator() -> Iterator { Iterator(subscription: self) }

    package struct Iterator: AsyncIteratorProtocol {
        /// Keeps the subscription for as long as it is iterated.
        fileprivate let subscription: RedisSubscription

        package mutating func next() async -> RedisDelivery? { await subscription.inbox.next() }
        package mutating func next(isolation actor: isolated (any Actor)?) async -> RedisDelivery? { await subscription.inbox.next() }
    }
}

/// Between the event loop and the reader: holds so many messages and bytes, and turns what is too much into a gap.
final class RedisInbox: Sendable {
    private struct State {
        var deliveries: Deque<RedisDelivery> = []
        var bytes = 0
        var hasEnded = false
        var reader: CheckedContinuation<RedisDelivery?, Never>?
    }

    private let maxMessages: Int
    private let maxBytes: Int
    private let prefixLength: Int
    private let state = Mutex(State())

    /// - Parameter prefix: taken off the channels' names.
    init(_ configuration: RedisConfiguration) {
        maxMessages = configuration.maxBufferedMessages
        maxBytes = configuration.maxBufferedBytes
        prefixLength = configuration.prefix.count
    }

    func put(channel: String, payload: [UInt8]) {
        let size = channel.utf8.count + payload.count
        offer { state in
            guard state.deliveries.count < maxMessages, state.bytes + size <= maxBytes else { return .gap(.overflowed) }
            return .message(channel: String(channel.dropFirst(prefixLength)), payload: payload)
        }
    }

    func live(again: Bool) { offer { _ in again ? .gap(.reconnected) : .live } }

    private func offer(_ make: (State) -> RedisDelivery) {
        let reader: (CheckedContinuation<RedisDelivery?, Never>, RedisDelivery)? = state.withLock { state in
            if state.hasEnded { return nil }
            let delivery = make(state)
            if let reader = state.reader {
                state.reader = nil
                return (reader, delivery)
            }
            // One gap after another is one gap.
            if case .gap = delivery, case .gap = state.deliveries.last { return nil }
            state.bytes += delivery.size
            state.deliveries.append(delivery)
            return nil
        }
        reader.map { $0.resume(returning: $1) }
    }

    func end() {
        state.withLock { state in
            state.hasEnded = true
            defer { state.reader = nil }
            return state.reader
        }?.resume(returning: nil)
    }

    func next() async -> RedisDelivery? {
        await withTaskCancellationHandler {
            await withCheckedContinuation { continuation in
                let ready: RedisDelivery?? = state.withLock { state in
                    if let next = state.deliveries.popFirst() {
                        state.bytes -= next.size
                        return .some(next)
                    }
                    if state.hasEnded || Task.isCancelled { return .some(nil) }
                    precondition(state.reader == nil, "a subscription has one reader")
                    state.reader = continuation
                    return nil
                }
                if let ready { continuation.resume(returning: ready) }
            }
        } onCancel: {
            state.withLock { state in
                defer { state.reader = nil }
                return state.reader
            }?.resume(returning: nil)
        }
    }
}

extension RedisDelivery {
    fileprivate var size: Int {
        if case .message(let channel, let payload) = self { channel.utf8.count + payload.count } else { 0 }
    }
}
