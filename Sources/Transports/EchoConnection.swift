import NIOCore
import Wire

/// `/connection/echo`: a plain WebSocket that sends every message back, for conformance suites (DESIGN §7.1). Without authentication, and so only where
/// `PLANTAO_ECHO=1`, and never in production.
final class EchoConnection: ChannelInboundHandler {
    typealias InboundIn = ByteBuffer
    typealias OutboundOut = ByteBuffer

    /// Messages, at the most.
    static let maxMessageBytes = 16 << 20
    /// A compressed frame may be longer than what is in it, where that cannot be compressed (RFC 1951 §3.2.4).
    static let maxFrameBytes = maxMessageBytes + maxMessageBytes >> 7
    /// How long a client may take to close its side once ours is.
    static let closePatience = TimeAmount.seconds(3)

    private var parser: WebSocketFrameParser
    private let deflate: WebSocketDeflate?
    private var isClosing = false

    init(deflate parameters: DeflateParameters?) {
        // A pool of its own, as its messages may be larger than those of sessions.
        deflate = parameters.map { WebSocketDeflate($0, role: .server, pool: DeflatePool(Self.policy)) }
        parser = WebSocketFrameParser(
            role: .server,
            maxFrameBytes: deflate == nil ? Self.maxMessageBytes : Self.maxFrameBytes,
            maxMessageBytes: Self.maxMessageBytes,
            inflater: deflate?.inflater
        )
    }

    /// Everything that a suite may want to try.
    static var policy: DeflatePolicy {
        var policy = DeflatePolicy()
        policy.maxMessageBytes = maxMessageBytes
        policy.allowsContextTakeover = true
        policy.allowsPeerContextTakeover = true
        policy.maxWindowBits = 15
        policy.memoryLevel = 8
        return policy
    }

    func channelRead(context: ChannelHandlerContext, data: NIOAny) { parser.append(unwrapInboundIn(data)) }

    func channelReadComplete(context: ChannelHandlerContext) {
        do throws(WebSocketViolation) {
            while !isClosing, let message = try parser.next() {
                switch message {
                case .text(let text): write(deflate?.text(text) ?? WebSocketFrame.text(text), context)
                case .binary(let bytes): write(deflate?.binary(bytes) ?? WebSocketFrame.binary(bytes), context)
                case .ping(let payload): write(WebSocketFrame.pong(payload), context)
                case .pong: break
                case .close(let code, _): close(code.flatMap { WebSocketCloseCode.mayTravel($0) ? $0 : nil }, "", context)
                }
            }
        } catch {
            close(error.code, error.reason, context)
        }
        context.flush()
    }

    private func write(_ frame: ByteBuffer, _ context: ChannelHandlerContext) { context.write(wrapOutboundOut(frame), promise: nil) }

    /// Our side is closed behind the close frame, and the client's is read to its end: closed at once, what is unread would make the kernel reset the connection,
    /// and the client might never see why (RFC 6455 §7.1.1).
    private func close(_ code: UInt16?, _ reason: String, _ context: ChannelHandlerContext) {
        guard !isClosing else { return }
        isClosing = true
        context.writeAndFlush(wrapOutboundOut(WebSocketFrame.close(code, reason: reason)), promise: nil)
        context.close(mode: .output, promise: nil)
        let channel = context.channel
        let timer = context.eventLoop.scheduleTask(in: Self.closePatience) { channel.close(promise: nil) }
        channel.closeFuture.whenComplete { _ in timer.cancel() }
    }

    func userInboundEventTriggered(context: ChannelHandlerContext, event: Any) {
        switch event {
        case ChannelEvent.inputClosed: context.close(promise: nil)
        case is ChannelShouldQuiesceEvent: close(1001, "the server stops", context)
        default: context.fireUserInboundEventTriggered(event)
        }
    }

    func errorCaught(context: ChannelHandlerContext, error: any Error) { context.close(promise: nil) }
}
