import NIOCore

/// Bytes in, replies out. What is not RESP2, or too long, closes the connection with a `ConnectionProblem`.
final class ReplyDecoder: ChannelInboundHandler {
    typealias InboundIn = ByteBuffer
    typealias InboundOut = RedisReply

    private let reader: ReplyReader
    private var hasFailed = false

    init(maxBytes: Int, maxElements: Int) { reader = ReplyReader(maxBytes: maxBytes, maxElements: maxElements) }

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        guard !hasFailed else { return }
        unwrapInboundIn(data).withUnsafeReadableBytes { reader.feed($0) }
        do throws(ConnectionProblem) {
            while let reply = try reader.next() { context.fireChannelRead(wrapInboundOut(reply)) }
        } catch {
            hasFailed = true
            context.fireErrorCaught(error)
            context.close(promise: nil)
        }
    }
}
