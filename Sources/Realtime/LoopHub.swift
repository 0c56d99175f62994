import NIOCore
import Synchronization
import Wire

/// The subscribers of one event loop, and what is on its way to them.
///
/// The hub puts work in from any thread; the loop takes all of it in one go, once, however much has come together. So a publication costs one hop
/// per loop, not one per connection, and each connection is flushed once per turn.
final class LoopHub: Sendable {
    enum Work: Sendable {
        case subscribed(ConnectionID, StreamKey, command: UInt32, SubscribeResult)
        case refused(ConnectionID, StreamKey, command: UInt32, CentrifugeError)
        case deliver(StreamKey, ByteBuffer)
    }

    private struct Local {
        var connections: [ConnectionID: any Subscriber] = [:]
        var subscribers: [StreamKey: Set<ConnectionID>] = [:]
    }

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
        local.value.subscribers[stream]?.remove(id)
        if local.value.subscribers[stream]?.isEmpty == true { local.value.subscribers[stream] = nil }
    }

    private func run() {
        let work = inbox.withLock { inbox in
            defer { inbox = ([], false) }
            return inbox.work
        }
        var written: Set<ConnectionID> = []
        for item in work {
            switch item {
            case .subscribed(let id, let stream, let command, let result):
                guard let subscriber = local.value.connections[id] else { continue }
                local.value.subscribers[stream, default: []].insert(id)
                subscriber.subscribed(command: command, channel: stream.channel, result)
                written.insert(id)
            case .refused(let id, let stream, let command, let error):
                guard let subscriber = local.value.connections[id] else { continue }
                subscriber.refused(command: command, channel: stream.channel, error)
                written.insert(id)
            case .deliver(let stream, let frame):
                for id in local.value.subscribers[stream] ?? [] {
                    local.value.connections[id]?.deliver(frame)
                    written.insert(id)
                }
            }
        }
        for id in written { local.value.connections[id]?.flush() }
    }
}
