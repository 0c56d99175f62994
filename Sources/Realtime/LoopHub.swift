import NIOCore
import Synchronization
import Wire

/// The subscribers of one event loop, and what is on its way to them.
///
/// The hub puts work in from any thread; the loop takes all of it in one go, once, however much has come together. So a publication costs one hop
/// per loop, not one per connection; each connection is flushed once per turn; and publications of one stream that came together travel in one
/// frame, a line each, which is prepared once for everybody.
final class LoopHub: Sendable {
    enum Work: Sendable {
        case subscribed(ConnectionID, StreamKey, command: UInt32, SubscribeResult)
        case refused(ConnectionID, StreamKey, command: UInt32, CentrifugeError)
        /// A publication's push, as JSON; `offset` is `nil` for what is not stored.
        case deliver(StreamKey, [UInt8], DeliveryClass, offset: UInt64?)
        /// A push to some of a stream's subscribers; those of other loops are not among this loop's.
        case tell([ConnectionID], StreamKey, [UInt8])
    }

    private struct Local {
        var connections: [ConnectionID: any Subscriber] = [:]
        /// By stream, so that a publication goes through those it is for and looks nobody up.
        var subscribers: [StreamKey: [ConnectionID: any Subscriber]] = [:]
    }

    /// Bytes of one frame made of several pushes, about.
    private static let maxFrameBytes = 32 << 10

    let loop: any EventLoop
    private let inbox = Mutex<(work: [Work], isScheduled: Bool)>(([], false))
    private let local: NIOLoopBoundBox<Local>

    init(loop: any EventLoop) {
        self.loop = loop
        local = NIOLoopBoundBox.makeBoxSendingValue(Local(), eventLoop: loop)
    }

    // MARK: From any thread

    func put(_ work: Work) { inbox.withLock { $0.work.append(work) } }

    /// Lets the loop know that there is work.
    func wake() {
        let mustSchedule = inbox.withLock { inbox in
            guard !inbox.work.isEmpty, !inbox.isScheduled else { return false }
            inbox.isScheduled = true
            return true
        }
        if mustSchedule { loop.execute { self.run() } }
    }

    // MARK: On the loop

    func attach(_ subscriber: any Subscriber, _ id: ConnectionID) { local.value.connections[id] = subscriber }

    func detach(_ id: ConnectionID, from streams: some Sequence<StreamKey>) {
        local.value.connections[id] = nil
        for stream in streams { leave(id, stream) }
    }

    func leave(_ id: ConnectionID, _ stream: StreamKey) {
        local.value.subscribers[stream]?[id] = nil
        if local.value.subscribers[stream]?.isEmpty == true { local.value.subscribers[stream] = nil }
    }

    private func run() {
        let work = inbox.withLock { inbox in
            defer { inbox = ([], false) }
            return inbox.work
        }
        // Whoever has been given something in this turn, once.
        var dirty: [any Subscriber] = []
        var position = 0
        while position < work.count {
            switch work[position] {
            case .subscribed(let id, let stream, let command, let result):
                position += 1
                guard let subscriber = local.value.connections[id] else { continue }
                local.value.subscribers[stream, default: [:]][id] = subscriber
                if subscriber.subscribed(command: command, channel: stream.channel, result) { dirty.append(subscriber) }
            case .refused(let id, let stream, let command, let error):
                position += 1
                guard let subscriber = local.value.connections[id] else { continue }
                if subscriber.refused(command: command, channel: stream.channel, error) { dirty.append(subscriber) }
            case .tell(let ids, let stream, let push):
                position += 1
                var message = PreparedMessage(text: push)
                let delivery = Delivery(channel: stream.channel, kind: .ordered, offsets: nil)
                for id in ids {
                    if let subscriber = local.value.subscribers[stream]?[id], subscriber.deliver(&message, delivery) { dirty.append(subscriber) }
                }
            case .deliver(let stream, let push, let kind, let offset):
                var lines = push
                var last = offset
                position += 1
                // Of one class, so that all of a message may be treated alike.
                while position < work.count, case .deliver(stream, let next, kind, let offset) = work[position],
                    lines.count + next.count < Self.maxFrameBytes
                {
                    lines.append(UInt8(ascii: "\n"))
                    lines += next
                    last = offset
                    position += 1
                }
                let offsets = if let offset, let last { offset...last } else { nil as ClosedRange<UInt64>? }
                let delivery = Delivery(channel: stream.channel, kind: kind, offsets: offsets)
                guard let subscribers = local.value.subscribers[stream] else { continue }
                // Made here: each loop has buffers of its own, as two threads that count references to one pay more than a copy costs.
                var message = PreparedMessage(text: lines)
                for subscriber in subscribers.values where subscriber.deliver(&message, delivery) { dirty.append(subscriber) }
            }
        }
        for subscriber in dirty { subscriber.flush() }
    }
}
