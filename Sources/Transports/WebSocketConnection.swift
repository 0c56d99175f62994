import Kernel
import NIOCore
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
    private var session: ClientSession?
    private(set) var hasUnflushed = false
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
        case is ChannelShouldQuiesceEvent: stop()
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
            write(WebSocketFrame.pong(payload))
            flush()
        case .pong: break
        case .close(let code, _):
            // Answered with the same code (§5.5.1), after which the server closes first (§7.1.1).
            let echoed = code.flatMap { WebSocketCloseCode.mayTravel($0) ? $0 : nil }
            context.writeAndFlush(wrapOutboundOut(WebSocketFrame.close(echoed)), promise: nil)
            closeSocket()
        }
    }

    // MARK: Time

    /// About once a second.
    func timePassed(_ now: Timestamp) {
        switch state {
        case .open: session?.timePassed(now)
        case .closing(let deadline): if deadline <= now { closeSocket() }
        case .closed: break
        }
    }

    func stop() { session?.close(.shutdown) }

    func close(_ sessions: Set<LoginSessionID>) {
        guard let session, let credential = session.credential, sessions.contains(credential.session) else { return }
        session.close(.invalidToken)
    }

    // MARK: Out

    func write(_ message: inout PreparedMessage) { write(message.frame(for: deflate)) }

    private func write(_ frame: ByteBuffer) {
        guard case .open = state, let context else { return }
        // What was there before counts, not the frame itself: a snapshot may be larger than the bound, and reaches who reads.
        if !context.channel.isWritable, let queued = try? context.channel.syncOptions?.getOption(.bufferedWritableBytes),
            queued > services.settings.maxQueuedBytes
        {
            // An ordered stream must not skip anything: close with a code after which the client comes back and recovers.
            session?.close(.slow)
            return
        }
        context.write(wrapOutboundOut(frame), promise: nil)
        hasUnflushed = true
    }

    func write(_ reply: CentrifugeReply) { write(deflate?.text(reply.bytes) ?? WebSocketFrame.text(reply.bytes)) }

    func flush() {
        guard hasUnflushed else { return }
        hasUnflushed = false
        context?.flush()
    }

    func close(_ disconnect: CentrifugeDisconnect) { sendClose(disconnect.code, disconnect.reason) }

    private func sendClose(_ code: UInt16, _ reason: String) {
        guard case .open = state, let context else { return }
        state = .closing(deadline: services.environment.now() + .seconds(3))
        session?.ended()
        context.writeAndFlush(wrapOutboundOut(WebSocketFrame.close(code, reason: reason)), promise: nil)
        // Who does not read will not read this either.
        if !context.channel.isWritable { closeSocket() }
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
        context = nil
    }
}
