package import NIOCore

/// Whole frames ready for the socket (RFC 6455 §5.2): final, uncompressed, with the shortest length.
///
/// A server's frame has no mask, so that the same bytes go to every subscriber. A client must give a fresh mask for each (§5.3).
package enum WebSocketFrame {
    package static func text(_ payload: [UInt8], mask: WebSocketMask? = nil) -> ByteBuffer {
        payload.withUnsafeBytes { frame(.text, $0, mask: mask) }
    }
    package static func text(_ payload: ByteBuffer, mask: WebSocketMask? = nil) -> ByteBuffer {
        payload.withUnsafeReadableBytes { frame(.text, $0, mask: mask) }
    }
    package static func text(_ payload: String, mask: WebSocketMask? = nil) -> ByteBuffer {
        var payload = payload
        return payload.withUTF8 { frame(.text, UnsafeRawBufferPointer($0), mask: mask) }
    }
    package static func binary(_ payload: [UInt8], mask: WebSocketMask? = nil) -> ByteBuffer {
        payload.withUnsafeBytes { frame(.binary, $0, mask: mask) }
    }
    package static func binary(_ payload: ByteBuffer, mask: WebSocketMask? = nil) -> ByteBuffer {
        payload.withUnsafeReadableBytes { frame(.binary, $0, mask: mask) }
    }

    // MARK: Control frames (§5.5)

    /// The payload is cut at 125 bytes.
    package static func ping(_ payload: ByteBuffer = ByteBuffer(), mask: WebSocketMask? = nil) -> ByteBuffer { control(.ping, payload, mask: mask) }
    /// The payload is the ping's (§5.5.3).
    package static func pong(_ payload: ByteBuffer = ByteBuffer(), mask: WebSocketMask? = nil) -> ByteBuffer { control(.pong, payload, mask: mask) }

    /// Without a code the frame has no body. A reason over 123 bytes is cut before the character that does not fit.
    package static func close(_ code: UInt16? = nil, reason: String = "", mask: WebSocketMask? = nil) -> ByteBuffer {
        guard let code else { return control(.close, ByteBuffer(), mask: mask) }
        precondition(WebSocketCloseCode.mayTravel(code), "close code \(code) may not be sent (RFC 6455 §7.4)")
        var body = ByteBuffer(integer: code)
        var fits = Substring(reason)
        while fits.utf8.count > WebSocketFrameHeader.maxControlLength - 2 { fits.unicodeScalars.removeLast() }
        body.writeSubstring(fits)
        return control(.close, body, mask: mask)
    }

    private static func control(_ opcode: WebSocketOpcode, _ payload: ByteBuffer, mask: WebSocketMask?) -> ByteBuffer {
        payload.withUnsafeReadableBytes {
            frame(opcode, UnsafeRawBufferPointer(rebasing: $0.prefix(WebSocketFrameHeader.maxControlLength)), mask: mask)
        }
    }

    // MARK: Layout

    private static func frame(_ opcode: WebSocketOpcode, _ payload: UnsafeRawBufferPointer, mask: WebSocketMask?) -> ByteBuffer {
        var buffer = ByteBufferAllocator().buffer(capacity: payload.count + WebSocketFrameHeader.maxSize)
        let maskBit: UInt8 = mask == nil ? 0 : 0x80
        buffer.writeInteger(0x80 | opcode.rawValue)
        switch payload.count {
        case ...125: buffer.writeInteger(maskBit | UInt8(payload.count))
        case ...Int(UInt16.max): buffer.writeMultipleIntegers(maskBit | 126, UInt16(payload.count))
        default: buffer.writeMultipleIntegers(maskBit | 127, UInt64(payload.count))
        }
        guard let mask else {
            buffer.writeBytes(payload)
            return buffer
        }
        buffer.writeInteger(mask.key)
        let headerSize = buffer.readableBytes
        buffer.writeBytes(payload)
        buffer.withUnsafeMutableReadableBytes { mask.apply(to: UnsafeMutableRawBufferPointer(rebasing: $0[headerSize...])) }
        return buffer
    }
}
