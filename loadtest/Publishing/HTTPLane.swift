import Foundation
import NIOCore

/// One kept-alive HTTP/1.1 connection that asks one thing after the other. Confined to its event loop.
final class HTTPLane: ChannelInboundHandler {
    typealias InboundIn = ByteBuffer
    typealias OutboundOut = ByteBuffer

    private let head: [UInt8]
    private var received = ByteBuffer()
    private var context: ChannelHandlerContext?
    /// Called with the status of each answer; 0 when the connection was lost.
    private let onAnswer: (Int) -> Void
    /// Of the answer that `onAnswer` is told of.
    private(set) var body = ByteBuffer()
    private(set) var isWaiting = false
    /// A server ends connections on which nothing has been asked for some seconds.
    var isOpen: Bool { context != nil }

    init(path: String, token: String, onAnswer: @escaping (Int) -> Void) {
        self.onAnswer = onAnswer
        head = Array(
            "POST \(path) HTTP/1.1\r\nHost: 127.0.0.1\r\nAuthorization: Bearer \(token)\r\nContent-Type: application/json\r\nContent-Length: ".utf8
        )
    }

    /// Asks the same each time, without a body.
    init(getting path: String, header: String, onAnswer: @escaping (Int) -> Void) {
        self.onAnswer = onAnswer
        head = Array("GET \(path) HTTP/1.1\r\nHost: 127.0.0.1\r\n\(header)\r\n\r\n".utf8)
    }

    /// One at a time.
    func get() {
        guard let context else { return onAnswer(0) }
        precondition(!isWaiting, "one request at a time")
        isWaiting = true
        context.writeAndFlush(wrapOutboundOut(context.channel.allocator.buffer(bytes: head)), promise: nil)
    }

    /// One at a time.
    func post(_ body: [UInt8]) {
        guard let context else { return onAnswer(0) }
        precondition(!isWaiting, "one request at a time")
        isWaiting = true
        var request = context.channel.allocator.buffer(capacity: head.count + body.count + 16)
        request.writeBytes(head)
        request.writeString("\(body.count)\r\n\r\n")
        request.writeBytes(body)
        context.writeAndFlush(wrapOutboundOut(request), promise: nil)
    }

    func close() { context?.close(promise: nil) }

    func handlerAdded(context: ChannelHandlerContext) { self.context = context }
    func handlerRemoved(context: ChannelHandlerContext) { self.context = nil }

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        var bytes = Self.unwrapInboundIn(data)
        received.writeBuffer(&bytes)
        guard let (status, size) = answer(), let whole = received.readSlice(length: size) else { return }
        body = whole
        received.discardReadBytes()
        isWaiting = false
        onAnswer(status)
    }

    /// The status of the answer that has arrived in full, and its bytes.
    private func answer() -> (status: Int, size: Int)? {
        let text = String(buffer: received)
        guard let end = text.range(of: "\r\n\r\n"), let status = Int(text.dropFirst(9).prefix(3)) else { return nil }
        let head = text[..<end.lowerBound].lowercased()
        let headSize = text.utf8.distance(from: text.startIndex, to: end.upperBound)
        if let field = head.range(of: "content-length:") {
            let length = Int(head[field.upperBound...].drop { $0 == " " }.prefix { $0.isNumber }) ?? 0
            return received.readableBytes >= headSize + length ? (status, headSize + length) : nil
        }
        // Chunked: the last chunk has no bytes (RFC 9112 §7.1).
        return text.hasSuffix("0\r\n\r\n") ? (status, received.readableBytes) : nil
    }

    func channelInactive(context: ChannelHandlerContext) {
        self.context = nil
        if isWaiting {
            isWaiting = false
            onAnswer(0)
        }
    }

    func errorCaught(context: ChannelHandlerContext, error: any Error) { context.close(promise: nil) }
}
