import Glibc
import NIOCore

/// Who is told what a socket hears. Called on its event loop.
protocol SocketOwner: AnyObject {
    func socketOpened(_ socket: CrowdSocket)
    /// A push; `line` is valid only during the call.
    func socketHeard(_ socket: CrowdSocket, push line: UnsafeRawBufferPointer, at now: Int64)
    /// The answer to command `id`.
    func socketHeard(_ socket: CrowdSocket, reply id: Int, _ line: UnsafeRawBufferPointer, at now: Int64)
    /// The server's ping, which the socket has answered.
    func socketPinged(_ socket: CrowdSocket)
    func socketViolated(_ socket: CrowdSocket, _ reason: String)
    /// The last word. `code`: the server's close code, nil when the connection just ended.
    func socketEnded(_ socket: CrowdSocket, code: UInt16?, reason: String)
}

/// One WebSocket of a crowd: no more than what a load needs, so that the generator is not what is measured. It upgrades, cuts what arrives into frames
/// (RFC 6455 §5.2) and those into lines, which are replies and pushes of the Centrifuge protocol, and says nothing about their content. Any number of frames
/// may come in one read, and any number of lines in one frame.
final class CrowdSocket: ChannelInboundHandler {
    typealias InboundIn = ByteBuffer
    typealias OutboundOut = ByteBuffer

    private enum Stage { case upgrading, open, ended }

    /// Which client it is.
    let number: Int
    private let owner: any SocketOwner
    private var stage = Stage.upgrading
    private var context: ChannelHandlerContext?
    private var hasUnflushed = false
    /// The beginning of a frame whose end is yet to come.
    private var rest: ByteBuffer?
    /// The frames so far of a message in several.
    private var fragments: [UInt8]?
    private var closing: (code: UInt16?, reason: String)?

    init(number: Int, owner: any SocketOwner) {
        self.number = number
        self.owner = owner
    }

    // MARK: Out

    /// Queues a message; it leaves with the end of the present read, or with `flush`.
    func write(_ text: [UInt8]) { write(opcode: 0x1, text) }

    func flush() {
        guard hasUnflushed else { return }
        hasUnflushed = false
        context?.flush()
    }

    /// A client's frame is masked (§5.3); with a key of zero the bytes stay what they are.
    private func write(opcode: UInt8, _ payload: some Collection<UInt8>) {
        guard let context, stage == .open else { return }
        var frame = context.channel.allocator.buffer(capacity: payload.count + 14)
        frame.writeInteger(0x80 | opcode)
        switch payload.count {
        case ..<126: frame.writeInteger(0x80 | UInt8(payload.count))
        case ..<65536:
            frame.writeInteger(0x80 | 126 as UInt8)
            frame.writeInteger(UInt16(payload.count))
        default:
            frame.writeInteger(0x80 | 127 as UInt8)
            frame.writeInteger(UInt64(payload.count))
        }
        frame.writeInteger(0 as UInt32)
        frame.writeBytes(payload)
        context.write(wrapOutboundOut(frame), promise: nil)
        hasUnflushed = true
    }

    // MARK: What the crowd does to it

    /// Ends the TCP connection without a word, as a network that goes away does.
    func cut() { context?.close(promise: nil) }

    /// From now on nothing is read, and the kernel's buffers fill.
    func reads(_ doesRead: Bool) { try? context?.channel.syncOptions?.setOption(.autoRead, value: doesRead) }

    // MARK: Channel events

    func handlerAdded(context: ChannelHandlerContext) {
        self.context = context
        context.writeAndFlush(wrapOutboundOut(ByteBuffer(string: Self.request)), promise: nil)
    }

    func handlerRemoved(context: ChannelHandlerContext) { self.context = nil }

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        var bytes = Self.unwrapInboundIn(data)
        if var begun = rest.take() {
            begun.writeBuffer(&bytes)
            bytes = begun
        }
        if stage == .upgrading, !upgraded(&bytes) { return }
        let now = Stamp.now()
        let used = bytes.withUnsafeReadableBytes { frames(in: $0, now) }
        bytes.moveReaderIndex(forwardBy: used)
        guard bytes.readableBytes > 0, stage == .open else { return }
        // What is left is copied out, so that a few bytes do not keep a large buffer.
        rest = used > 0 ? context.channel.allocator.buffer(buffer: bytes) : bytes
    }

    func channelReadComplete(context: ChannelHandlerContext) { flush() }

    func channelInactive(context: ChannelHandlerContext) { end("the connection ended") }

    func errorCaught(context: ChannelHandlerContext, error: any Error) {
        end("\(error)")
        context.close(promise: nil)
    }

    private func end(_ reason: String) {
        guard stage != .ended else { return }
        stage = .ended
        rest = nil
        owner.socketEnded(self, code: closing?.code, reason: closing?.reason ?? reason)
    }

    // MARK: Upgrade (§4.1), with the key and the answer of §1.3

    private static let request =
        "GET /connection/websocket HTTP/1.1\r\nHost: 127.0.0.1\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
    private static let accept = "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="

    /// False while the answer is incomplete, or when it is a refusal.
    private func upgraded(_ bytes: inout ByteBuffer) -> Bool {
        let text = bytes.withUnsafeReadableBytes { bytes -> (head: String, size: Int)? in
            guard let end = bytes.firstIndex(of: "\r\n\r\n") else { return nil }
            return (String(decoding: bytes[..<end], as: UTF8.self), end + 4)
        }
        guard let text else {
            rest = bytes
            return false
        }
        guard text.head.hasPrefix("HTTP/1.1 101"), text.head.contains(Self.accept) else {
            closing = (nil, "the upgrade was answered with \(text.head.prefix(40))")
            cut()
            return false
        }
        bytes.moveReaderIndex(forwardBy: text.size)
        stage = .open
        owner.socketOpened(self)
        return true
    }

    // MARK: In

    /// Takes all frames that are whole; gives the bytes taken.
    private func frames(in bytes: UnsafeRawBufferPointer, _ now: Int64) -> Int {
        var at = 0
        while stage == .open, bytes.count - at >= 2 {
            var length = Int(bytes[at + 1] & 0x7f)
            var header = 2
            if length == 126 {
                guard bytes.count - at >= 4 else { break }
                length = Int(bytes[at + 2]) << 8 | Int(bytes[at + 3])
                header = 4
            } else if length == 127 {
                guard bytes.count - at >= 10 else { break }
                length = (2..<10).reduce(0) { $0 << 8 | Int(bytes[at + $1]) }
                header = 10
            }
            guard length >= 0, bytes.count - at - header >= length else { break }
            frame(bytes[at], UnsafeRawBufferPointer(rebasing: bytes[at + header..<at + header + length]), now)
            at += header + length
        }
        return at
    }

    private func frame(_ first: UInt8, _ payload: UnsafeRawBufferPointer, _ now: Int64) {
        switch first {
        case 0x81: message(payload, now)
        case 0x01: fragments = Array(payload)
        case 0x00: fragments?.append(contentsOf: payload)
        case 0x80:
            guard var whole = fragments.take() else { return owner.socketViolated(self, "a continuation without a beginning") }
            whole.append(contentsOf: payload)
            whole.withUnsafeBytes { message($0, now) }
        case 0x88:
            let code = payload.count >= 2 ? UInt16(payload[0]) << 8 | UInt16(payload[1]) : nil
            closing = (code, String(decoding: payload.dropFirst(2), as: UTF8.self))
            write(opcode: 0x8, payload.prefix(2))
            flush()
        case 0x89: write(opcode: 0xa, payload)
        case 0x8a: break
        default: owner.socketViolated(self, "a frame that begins with \(first)")
        }
    }

    /// A message is lines; a line's kind shows in its first bytes, as all servers measured here write them.
    private func message(_ text: UnsafeRawBufferPointer, _ now: Int64) {
        var start = 0
        while start < text.count, let base = text.baseAddress {
            let end = memchr(base + start, 0x0a, text.count - start).map { UnsafeRawPointer($0) - base } ?? text.count
            if end > start { line(UnsafeRawBufferPointer(rebasing: text[start..<end]), now) }
            start = end + 1
        }
    }

    private func line(_ line: UnsafeRawBufferPointer, _ now: Int64) {
        if line.count == 2 {
            write([UInt8(ascii: "{"), UInt8(ascii: "}")])
            owner.socketPinged(self)
        } else if line.count > 8, line[2] == UInt8(ascii: "p") {
            owner.socketHeard(self, push: line, at: now)
        } else if line.count > 6, line[2] == UInt8(ascii: "i") {
            var id = 0
            // {"id":123,
            for byte in line[6...] {
                guard (0x30...0x39).contains(byte) else { break }
                id = id &* 10 &+ Int(byte - 0x30)
            }
            owner.socketHeard(self, reply: id, line, at: now)
        } else {
            owner.socketViolated(self, "a line that is neither reply nor push: \(String(decoding: line.prefix(80), as: UTF8.self))")
        }
    }
}
