import Kernel
import NIOCore
import Realtime
import Wire

/// A session whose frames go into an HTTP response, and whose commands come in requests of their own (`/emulation`). Confined to its event loop.
///
/// As a stream of events it carries ids that say where the client is in the channels that the server has subscribed it to: a browser that comes back by
/// itself asks for the same address, and recovers them.
final class StreamTransport: SessionTransport, TimedConnection {
    private let services: SessionServices
    private let outlet: StreamOutlet
    private let registry: LoopRegistry
    private var positions = EventPositions()
    private(set) var session: ClientSession?
    /// Told once, when the session has ended.
    private let whenEnded: () -> Void

    init(
        services: SessionServices,
        loop: any EventLoop,
        secret: String,
        outlet: StreamOutlet,
        registry: LoopRegistry,
        lastEventID: String?,
        whenEnded: @escaping () -> Void
    ) {
        self.services = services
        self.outlet = outlet
        self.registry = registry
        self.whenEnded = whenEnded
        session = ClientSession(services: services, loop: loop, transport: self, emulationSession: secret, lastEventID: lastEventID)
    }

    func received(_ commands: [UInt8]) { session?.received(ByteBuffer(bytes: commands)) }

    /// The client has gone.
    func ended() {
        guard outlet.isOpen else { return }
        outlet.finish()
        session?.ended()
        whenEnded()
    }

    func timePassed(_ now: Timestamp) -> Timestamp { session?.timePassed(now) ?? .distantFuture }
    func visit(at time: Timestamp) { registry.visit(self, at: time) }
    func stop() { session?.close(.shutdown) }
    func close(_ sessions: Set<LoginSessionID>) {
        guard let login = session?.credential?.session, sessions.contains(login) else { return }
        session?.close(.invalidToken)
    }

    // MARK: SessionTransport

    var hasUnflushed: Bool { outlet.hasUnflushed }

    func deliver(_ message: inout PreparedMessage, _ delivery: Delivery) -> Bool {
        let wasDirty = hasUnflushed
        // Several may have come together, a line each.
        let lines = message.payload.readableBytesView.split(separator: UInt8(ascii: "\n"))
        for (index, line) in lines.enumerated() {
            var isPositioned = false
            if let last = delivery.offsets?.upperBound {
                isPositioned = positions.advance(delivery.channel, to: last - UInt64(lines.count - 1 - index))
            }
            let verdict = outlet.put(line, id: isPositioned ? positions.id : nil, delivery)
            guard verdict == .settled else {
                settle(verdict)
                break
            }
        }
        return !wasDirty && hasUnflushed
    }

    func write(_ reply: CentrifugeReply) {
        switch reply {
        case .connect(_, let result): positions = EventPositions(result.subs.map { ($0.key, $0.value.position) })
        case .push(.subscribe(let channel, let result)): positions.set(channel, result.position)
        default: return settle(outlet.put(reply.bytes))
        }
        settle(outlet.put(reply.bytes, id: positions.isEmpty ? nil : positions.id))
    }

    private func settle(_ verdict: OutboundVerdict) {
        switch verdict {
        case .settled: break
        case .cut(let channels): for channel in channels { _ = session?.fellBehind(on: channel) }
        case .overflow: session?.close(.slow)
        }
    }

    func flush() { outlet.flush() }

    func close(_ disconnect: CentrifugeDisconnect) {
        // An EventSource comes back by itself, after the time it has last been told (WHATWG HTML §9.2.3).
        if disconnect.isReconnectable { outlet.putRetry(milliseconds: Int(services.reconnectDelay().inMilliseconds)) }
        outlet.putLast(CentrifugeReply.push(.disconnect(disconnect)).bytes)
        ended()
    }
}
