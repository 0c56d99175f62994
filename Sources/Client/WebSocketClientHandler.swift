import NIOCore
import Wire

/// What a socket tells its session.
protocol WebSocketClientDelegate: AnyObject {
    func socketOpened()
    func socketReceived(text: ByteBuffer)
    /// The last word, said once.
    func socketEnded(_ error: RealtimeError)
}

/// One WebSocket of a client: upgrade, frames, pings and the closing handshake. Lives on its channel's event loop, and is added to a channel that
/// is already connected.
final class WebSocketClientHandler: ChannelInboundHandler {
    typealias InboundIn = ByteBuffer
    typealias OutboundOut = ByteBuffer

    private enum Stage {
        case upgrading(WebSocketUpgrade)
        case open
        /// A close frame was sent, or the server's fault found: only the end of the socket is awaited.
        case closing(RealtimeError)
        case ended
    }

    private var stage: Stage
    private var parser: WebSocketFrameParser
    /// Kept until the socket has ended or the session is done with it, which undoes the cycle between the two.
    private var delegate: (any WebSocketClientDelegate)?
    private var context: ChannelHandlerContext?

    init(upgrade: WebSocketUpgrade, maxMessageBytes: Int, delegate: any WebSocketClientDelegate) {
        stage = .upgrading(upgrade)
        parser = WebSocketFrameParser(role: .client, maxFrameBytes: maxMessageBytes, maxMessageBytes: maxMessageBytes)
        self.delegate = delegate
    }

    // MARK: What the session asks

    func send(_ text: [UInt8]) {
        guard case .open = stage else { return }
        write(WebSocketFrame.text(text, mask: .random()))
    }

    /// Says goodbye. The session is told of the end once the server has answered, or taken too long to (RFC 6455 §7.1.1).
    func close(_ error: RealtimeError) {
        switch stage {
        case .open:
            fail(error, code: WebSocketCloseCode.normal)
            context?.eventLoop.assumeIsolated().scheduleTask(in: .seconds(1)) { self.context?.close(promise: nil) }
        case .upgrading:
            stage = .closing(error)
            context?.close(promise: nil)
        case .closing, .ended: break
        }
    }

    /// Ends the socket at once, saying nothing more to the session.
    func abandon() {
        delegate = nil
        context?.close(promise: nil)
    }

    // MARK: What the channel says

    func handlerAdded(context: ChannelHandlerContext) {
        self.context = context
        if case .upgrading(let upgrade) = stage { write(ByteBuffer(string: upgrade.request)) }
    }

    func handlerRemoved(context: ChannelHandlerContext) { self.context = nil }

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        let bytes = Self.unwrapInboundIn(data)
        switch stage {
        case .upgrading(var upgrade):
            do throws(RealtimeError) {
                guard let rest = try upgrade.responseReceived(bytes) else {
                    stage = .upgrading(upgrade)
                    return
                }
                stage = .open
                delegate?.socketOpened()
                framesReceived(rest)
            } catch {
                stage = .closing(error)
                context.close(promise: nil)
            }
        case .open, .closing: framesReceived(bytes)
        case .ended: break
        }
    }

    private func framesReceived(_ bytes: consuming ByteBuffer) {
        parser.append(bytes)
        do throws(WebSocketViolation) {
            while let message = try parser.next() {
                switch message {
                case .text(let text): if case .open = stage { delegate?.socketReceived(text: text) }
                case .ping(let payload): write(WebSocketFrame.pong(payload, mask: .random()))
                case .pong: break
                case .close(let code, let reason): closeReceived(code ?? 1005, reason)
                case .binary: fail(.violation("a binary message"), code: WebSocketCloseCode.unsupportedData)
                }
            }
        } catch {
            fail(.violation(error.description), code: error.code)
        }
    }

    /// RFC 6455 §5.5.1: a close frame is answered with one, unless ours came first. The server ends the socket (§7.1.1).
    private func closeReceived(_ code: UInt16, _ reason: String) {
        if case .open = stage {
            stage = .closing(.closed(code: code, reason: reason))
            write(WebSocketFrame.close(WebSocketCloseCode.mayTravel(code) ? code : nil, mask: .random()))
        }
        context?.close(promise: nil)
    }

    private func fail(_ error: RealtimeError, code: UInt16) {
        guard case .open = stage else { return }
        stage = .closing(error)
        write(WebSocketFrame.close(code, mask: .random()))
        if code != WebSocketCloseCode.normal { context?.close(promise: nil) }
    }

    private func write(_ bytes: ByteBuffer) { context?.writeAndFlush(Self.wrapOutboundOut(bytes), promise: nil) }

    func errorCaught(context: ChannelHandlerContext, error: any Error) {
        end(.transport(String(describing: error)))
        context.close(promise: nil)
    }

    func channelInactive(context: ChannelHandlerContext) {
        switch stage {
        case .closing(let error): end(error)
        case .upgrading: end(.transport("the server hung up during the handshake"))
        case .open: end(.closed(code: 1006, reason: "the connection was lost"))
        case .ended: break
        }
        context.fireChannelInactive()
    }

    private func end(_ error: RealtimeError) {
        if case .ended = stage { return }
        stage = .ended
        delegate.take()?.socketEnded(error)
    }
}
