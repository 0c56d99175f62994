package import NIOCore

/// Frames of messages that may be compressed (RFC 7692 §6.1, §7.2.1): RSV1 says that one is. Without a deflater, below its `minimumBytes`, or
/// where nothing is won, they are plain. With takeover whatever was compressed is sent, being part of the context from then on.
extension WebSocketFrame {
    package static func text(_ payload: [UInt8], deflater: MessageDeflater?, mask: WebSocketMask? = nil) -> ByteBuffer {
        payload.withUnsafeBytes { frame(.text, $0, deflater: deflater, mask: mask) }
    }
    package static func text(_ payload: ByteBuffer, deflater: MessageDeflater?, mask: WebSocketMask? = nil) -> ByteBuffer {
        frame(.text, payload, deflater: deflater, mask: mask)
    }
    package static func binary(_ payload: [UInt8], deflater: MessageDeflater?, mask: WebSocketMask? = nil) -> ByteBuffer {
        payload.withUnsafeBytes { frame(.binary, $0, deflater: deflater, mask: mask) }
    }
    package static func binary(_ payload: ByteBuffer, deflater: MessageDeflater?, mask: WebSocketMask? = nil) -> ByteBuffer {
        frame(.binary, payload, deflater: deflater, mask: mask)
    }

    static func frame(_ opcode: WebSocketOpcode, _ payload: ByteBuffer, deflater: MessageDeflater?, mask: WebSocketMask? = nil) -> ByteBuffer {
        payload.withUnsafeReadableBytes { frame(opcode, $0, deflater: deflater, mask: mask) }
    }

    private static func frame(
        _ opcode: WebSocketOpcode,
        _ payload: UnsafeRawBufferPointer,
        deflater: MessageDeflater?,
        mask: WebSocketMask?
    ) -> ByteBuffer {
        guard let deflater, payload.count >= deflater.minimumBytes else { return frame(opcode, payload, mask: mask) }
        // The header's size is known only afterwards: it goes right before the payload.
        let begin = WebSocketFrameHeader.maxSize
        var buffer = ByteBufferAllocator().buffer(capacity: begin + payload.count / 2 + 64)
        buffer.moveWriterIndex(to: begin)
        buffer.moveReaderIndex(to: begin)
        deflater.deflate(payload, to: &buffer)
        let length = buffer.readableBytes
        guard length < payload.count || deflater.takesContextOver else { return frame(opcode, payload, mask: mask) }
        if let mask { buffer.withUnsafeMutableReadableBytes { mask.apply(to: $0) } }
        let start = begin - headerSize(length, isMasked: mask != nil)
        setHeader(0xc0 | opcode.rawValue, length, mask: mask, in: &buffer, at: start)
        buffer.moveReaderIndex(to: start)
        return buffer
    }
}
