import Kernel
import NIOCore
import Realtime
import Wire

/// A WebSocket on its event loop: frames in and out, control frames, the closing handshake (RFC 6455 §5, §7), and the bound on what waits for a client who
/// does not read. What the messages mean is the session's business.
final class WebSocketConnection: ChannelInboundHandler, SessionTransport, TimedConnection {
    typealias InboundIn = ByteBuffer
    typealias OutboundOut = ByteBuffer

    private enum State {
        case open
        /// Our close frame is out: no more data, neither way, and the client's own is waited for until then.
        case closing(deadline: Timestamp)
        case closed
    }

    private var parser: WebSocketFrameParser
    private let services: SessionServices
    private let registry: LoopRegistry
    private var state = State.open
    private var context: ChannelHandlerContext?
    private(set) var session: ClientSession?
    private var outlet: SocketOutlet?
    /// What was agreed with the client (RFC 7692); `nil` for plain frames.
    private let deflate: WebSocketDeflate?

    init(services: SessionServices, registry: LoopRegistry, deflate parameters: DeflateParameters?) {
        self.services = services
        self.registry = registry
        deflate = parameters.map { WebSocketDeflate($0, role: .server, pool: registry.deflatePool) }
        parser = WebSocketFrameParser(
            role: .server,
            maxFrameBytes: services.settings.maxMessageBytes,
            maxMessageBytes: services.settings.maxMessageBytes,
            inflater: deflate?.inflater
        )
    }

    // MARK: Channel events

    func handlerAdded(context: ChannelHandlerContext) {
        self.context = context
        outlet = SocketOutlet(context, deflate: deflate, maxQueuedBytes: services.settings.maxQueuedBytes) { [unowned self] in closeSocket() }
        session = ClientSession(services: services, loop: context.eventLoop, transport: self)
        registry.add(self)
    }

    func handlerRemoved(context: ChannelHandlerContext) { finish() }
    func channelInactive(context: ChannelHandlerContext) {
        finish()
        context.fireChannelInactive()
    }

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        parser.append(unwrapInboundIn(data))
    }

    /// Drained here and not at each read: by then nobody else holds the bytes, and they are unmasked where they lie.
    func channelReadComplete(context: ChannelHandlerContext) {
        do throws(WebSocketViolation) {
            while let message = try parser.next() {
                if case .closed = state { return }
                received(message, context)
            }
        } catch {
            sendClose(error.code, error.reason)
        }
    }

    func userInboundEventTriggered(context: ChannelHandlerContext, event: Any) {
        switch event {
        // The client has sent its last byte. Nothing would ever answer our frames; and without this the socket would stay for ever.
        case ChannelEvent.inputClosed: closeSocket()
        // The server stops, and each connection is told in its turn (`LoopRegistry.drain`).
        case is ChannelShouldQuiesceEvent: break
        default: context.fireUserInboundEventTriggered(event)
        }
    }

    func errorCaught(context: ChannelHandlerContext, error: any Error) { closeSocket() }

    private func received(_ message: WebSocketMessage, _ context: ChannelHandlerContext) {
        if case .closing = state {
            // Only the client's close frame still means anything (§7.1.1 – §7.1.4).
            if case .close = message { closeSocket() }
            return
        }
        switch message {
        case .text(let frame): session?.received(frame)
        case .binary: sendClose(WebSocketCloseCode.unsupportedData, "text frames only")
        case .ping(let payload):
            outlet?.pong(payload)
            flush()
        case .pong: break
        case .close(let code, _):
            // Answered with the same code (§5.5.1), after which the server closes first (§7.1.1).
            let echoed = code.flatMap { WebSocketCloseCode.mayTravel($0) ? $0 : nil }
            outlet?.close(with: WebSocketFrame.close(echoed))
            closeSocket()
        }
    }

    // MARK: Time

    func timePassed(_ now: Timestamp) -> Timestamp {
        if case .open = state, let session { return session.timePassed(now) }
        guard case .closing(let deadline) = state else { return .distantFuture }
        if deadline <= now { closeSocket() }
        return deadline
    }

    func visit(at time: Timestamp) { registry.visit(self, at: time) }

    func stop() { session?.close(.shutdown) }

    func close(_ sessions: Set<LoginSessionID>) {
        guard let session, let login = session.credential?.session, sessions.contains(login) else { return }
        session.close(.invalidToken)
    }

    // MARK: Out

    var hasUnflushed: Bool { outlet?.hasUnflushed ?? false }

    func deliver(_ message: inout PreparedMessage, _ delivery: Delivery) -> Bool {
        guard case .open = state, let outlet else { return false }
        let wasDirty = outlet.hasUnflushed
        settle(outlet.put(&message, delivery))
        return !wasDirty && outlet.hasUnflushed
    }

    func deliverAlone(_ message: inout PreparedMessage, _ delivery: Delivery) {
        guard case .open = state, let outlet, !outlet.send(&message) else { return }
        settle(outlet.put(&message, delivery))
        outlet.flush()
    }

    func write(_ reply: CentrifugeReply) {
        guard case .open = state, let outlet else { return }
        settle(outlet.put(reply.bytes))
    }

    private func settle(_ verdict: OutboundVerdict) {
        switch verdict {
        case .settled: break
        // What was left out comes with a new subscription, as publications or as a snapshot.
        case .cut(let channels): for channel in channels { _ = session?.fellBehind(on: channel) }
        case .overflow: session?.close(.slow)
        }
    }

    func flush() { outlet?.flush() }

    func close(_ disconnect: CentrifugeDisconnect) {
        // Who is slow has much to read before they come to why they are sent away.
        let isSlow = disconnect == .slow || disconnect == .insufficientState
        sendClose(disconnect.code, disconnect.reason, within: .seconds(isSlow ? 15 : 3))
    }

    private func sendClose(_ code: UInt16, _ reason: String, within patience: Duration = .seconds(3)) {
        guard case .open = state else { return }
        let deadline = services.environment.now() + patience
        state = .closing(deadline: deadline)
        visit(at: deadline)
        session?.ended()
        outlet?.close(with: WebSocketFrame.close(code, reason: reason))
    }

    private func closeSocket() {
        let context = context
        finish()
        context?.close(promise: nil)
    }

    private func finish() {
        if case .closed = state { return }
        state = .closed
        session?.ended()
        registry.remove(self)
        outlet?.end()
        outlet = nil
        context = nil
    }
}
