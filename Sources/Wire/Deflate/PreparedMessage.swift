package import NIOCore

/// A server's message to many connections: its plain frame, and its compressed frame for each window size in use, are made once, when the first
/// connection needs them, and shared (RFC 7692 §7.1.1.1 is what makes that possible).
///
/// A value: give each event loop a copy of its own before anything is made, so that two threads do not count references to one buffer.
package struct PreparedMessage: Sendable {
    package let payload: ByteBuffer
    private let opcode: WebSocketOpcode
    private var plain: ByteBuffer?
    private var compressed: [(windowBits: Int, frame: ByteBuffer)] = []

    package init(text: [UInt8]) { self.init(.text, ByteBuffer(bytes: text)) }
    /// Well-formed UTF-8.
    package init(text: ByteBuffer) { self.init(.text, text) }
    package init(binary: ByteBuffer) { self.init(.binary, binary) }

    private init(_ opcode: WebSocketOpcode, _ payload: ByteBuffer) {
        self.opcode = opcode
        self.payload = payload
    }

    /// The frame to send to a connection that agreed on `deflate`, or on nothing.
    package mutating func frame(for deflate: WebSocketDeflate?) -> ByteBuffer {
        guard let deflate else { return plainFrame() }
        return deflate.frame(of: &self)
    }

    package mutating func plainFrame() -> ByteBuffer {
        if let plain { return plain }
        let frame = WebSocketFrame.frame(opcode, payload, deflater: nil)
        plain = frame
        return frame
    }

    /// For all who read `windowBits` (9...15) and expect no context. The plain frame if the message is short or does not shrink.
    package mutating func compressedFrame(windowBits: Int, _ pool: DeflatePool) -> ByteBuffer {
        guard payload.readableBytes >= pool.policy.minimumBytes else { return plainFrame() }
        if let made = compressed.first(where: { $0.windowBits == windowBits }) { return made.frame }
        var frame = WebSocketFrame.frame(opcode, payload, deflater: pool.deflater(windowBits: windowBits))
        if frame.isPlainFrame { frame = plainFrame() }
        compressed.append((windowBits, frame))
        return frame
    }

    /// With a context that is one connection's: made anew for each.
    func frame(deflater: MessageDeflater) -> ByteBuffer { WebSocketFrame.frame(opcode, payload, deflater: deflater) }
}

extension ByteBuffer {
    fileprivate var isPlainFrame: Bool { getInteger(at: readerIndex, as: UInt8.self).map { $0 & 0x40 == 0 } ?? true }
}
