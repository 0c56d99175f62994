import NIOCore
import Synchronization
import Wire

/// The subscribers of one event loop, and what is on its way to them.
///
/// The hub puts work in from any thread; the loop takes all of it in one go, once, however much has come together. So a publication costs one hop
/// per loop, not one per connection; each connection is flushed once per turn; and publications of one stream that came together travel in one
/// frame, a line each, which is prepared once for everybody.
///
/// Nobody is silently behind: the loop knows the offset that its subscribers of a stream have been given, and sees at once when the next one is not
/// the next. That the last ones were lost shows when the hub says where the stream is (`check`), which travels the same way, behind them.
final class LoopHub: Sendable {
    enum Work: Sendable {
        case subscribed(ConnectionID, command: UInt32?, [(stream: StreamKey, result: SubscribeResult)])
        case refused(ConnectionID, command: UInt32?, CentrifugeError)
        /// A publication's push, as JSON; `offset` is `nil` for what is not stored.
        case deliver(StreamKey, [UInt8], DeliveryClass, offset: UInt64?)
        /// A push to some of a stream's subscribers; those of other loops are not among this loop's.
        case tell([ConnectionID], StreamKey, [UInt8])
        /// Where the streams are.
        case check([(stream: StreamKey, offset: UInt64)])
    }

    /// Those who follow a stream on this loop. By stream, so that a publication goes through those it is for and looks nobody up.
    private final class Following {
        /// Side by side, as every publication goes through all of them.
        private(set) var subscribers: ContiguousArray<any Subscriber> = []
        private var ids: ContiguousArray<ConnectionID> = []
        private var places: [ConnectionID: Int] = [:]
        /// The offset that they have been given.
        var top: UInt64
        init(top: UInt64) { self.top = top }

        subscript(id: ConnectionID) -> (any Subscriber)? { places[id].map { subscribers[$0] } }

        func add(_ subscriber: any Subscriber, _ id: ConnectionID) {
            guard places.updateValue(ids.count, forKey: id) == nil else { preconditionFailure("a connection follows a stream once") }
            ids.append(id)
            subscribers.append(subscriber)
        }

        /// The last one takes its place.
        func remove(_ id: ConnectionID) {
            guard let place = places.removeValue(forKey: id) else { return }
            subscribers.swapAt(place, ids.count - 1)
            ids.swapAt(place, ids.count - 1)
            subscribers.removeLast()
            ids.removeLast()
            if place < ids.count { places[ids[place]] = place }
        }
    }

    private struct Local {
        var connections: [ConnectionID: any Subscriber] = [:]
        var followings: [StreamKey: Following] = [:]
        /// Whoever has been given something in this turn, once.
        var dirty: [any Subscriber] = []
    }

    /// Bytes of one frame made of several pushes, about.
    private static let maxFrameBytes = 32 << 10

    let loop: any EventLoop
    /// Messages handed to subscribers.
    private let delivered = Atomic<Int>(0)
    var deliveries: Int { delivered.load(ordering: .relaxed) }
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
        guard let following = local.value.followings[stream] else { return }
        following.remove(id)
        if following.subscribers.isEmpty { local.value.followings[stream] = nil }
    }

    private func run() {
        let work = inbox.withLock { inbox in
            defer { inbox = ([], false) }
            return inbox.work
        }
        var position = 0
        while position < work.count {
            let item = work[position]
            position += 1
            switch item {
            case .subscribed(let id, let command, let subscriptions): subscribed(id, command, subscriptions)
            case .refused(let id, let command, let error):
                guard let subscriber = local.value.connections[id] else { continue }
                note(subscriber, subscriber.refused(command: command, error))
            case .tell(let ids, let stream, let push):
                guard let following = local.value.followings[stream] else { continue }
                var message = PreparedMessage(text: push)
                let delivery = Delivery(channel: stream.channel, kind: .ordered, offsets: nil)
                for id in ids {
                    if let subscriber = following[id] { note(subscriber, subscriber.deliver(&message, delivery)) }
                }
            case .deliver(let stream, let push, let kind, let offset):
                var lines = push
                var last = offset
                // Of one class, so that all of a message may be treated alike; of values only the last, which is all there is to know.
                while position < work.count, case .deliver(stream, let next, kind, let offset) = work[position],
                    lines.count + next.count < Self.maxFrameBytes, offset == last.map({ $0 + 1 })
                {
                    if kind == .latest {
                        lines = next
                    } else {
                        lines.append(UInt8(ascii: "\n"))
                        lines += next
                    }
                    last = offset
                    position += 1
                }
                let offsets = if let offset, let last { offset...last } else { nil as ClosedRange<UInt64>? }
                let isAlone = position == work.count && local.value.dirty.isEmpty
                deliver(lines, Delivery(channel: stream.channel, kind: kind, offsets: offsets), stream, isAlone: isAlone)
            case .check(let positions): for (stream, offset) in positions { check(stream, is: offset) }
            }
        }
        let dirty = local.value.dirty
        local.value.dirty = []
        for subscriber in dirty { subscriber.flush() }
    }

    private func note(_ subscriber: any Subscriber, _ isDirty: Bool) {
        if isDirty { local.value.dirty.append(subscriber) }
    }

    private func subscribed(_ id: ConnectionID, _ command: UInt32?, _ subscriptions: [(stream: StreamKey, result: SubscribeResult)]) {
        guard let subscriber = local.value.connections[id] else { return }
        for (stream, result) in subscriptions {
            check(stream, is: result.position.offset)
            if local.value.followings[stream] == nil { local.value.followings[stream] = Following(top: result.position.offset) }
            if local.value.followings[stream]?[id] == nil { local.value.followings[stream]?.add(subscriber, id) }
        }
        note(subscriber, subscriber.subscribed(command: command, subscriptions.map { Subscribed(channel: $0.stream.channel, result: $0.result) }))
    }

    /// - Parameter isAlone: nothing else goes out in this turn, so that each socket is served in one go.
    private func deliver(_ lines: [UInt8], _ delivery: Delivery, _ stream: StreamKey, isAlone: Bool) {
        guard let following = local.value.followings[stream] else { return }
        if let offsets = delivery.offsets {
            guard following.top + 1 == offsets.lowerBound else { return check(stream, is: offsets.upperBound) }
            following.top = offsets.upperBound
        }
        // Made here: each loop has buffers of its own, as two threads that count references to one pay more than a copy costs.
        var message = PreparedMessage(text: lines)
        delivered.wrappingAdd(following.subscribers.count, ordering: .relaxed)
        if isAlone {
            for subscriber in following.subscribers { subscriber.deliverAlone(&message, delivery) }
        } else {
            for subscriber in following.subscribers where subscriber.deliver(&message, delivery) { local.value.dirty.append(subscriber) }
        }
    }

    /// Sends away, to come back and recover, those who follow a stream and have been given something else than all of it.
    private func check(_ stream: StreamKey, is offset: UInt64) {
        guard let following = local.value.followings[stream], following.top != offset else { return }
        following.top = offset
        for subscriber in following.subscribers { note(subscriber, subscriber.fellBehind(on: stream.channel)) }
    }
}
