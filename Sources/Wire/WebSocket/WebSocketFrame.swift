package import NIOCore

/// Whole frames ready for the socket (RFC 6455 §5.2): final, with the shortest length, and as they are (compressed ones: `WebSocketFrame+Deflate`).
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

    static func frame(_ opcode: WebSocketOpcode, _ payload: UnsafeRawBufferPointer, mask: WebSocketMask?) -> ByteBuffer {
        let headerSize = headerSize(payload.count, isMasked: mask != nil)
        var buffer = ByteBufferAllocator().buffer(capacity: headerSize + payload.count)
        setHeader(0x80 | opcode.rawValue, payload.count, mask: mask, in: &buffer, at: 0)
        buffer.moveWriterIndex(to: headerSize)
        buffer.writeBytes(payload)
        if let mask { buffer.withUnsafeMutableReadableBytes { mask.apply(to: UnsafeMutableRawBufferPointer(rebasing: $0[headerSize...])) } }
        return buffer
    }

    static func headerSize(_ length: Int, isMasked: Bool) -> Int {
        let lengthSize = length <= 125 ? 0 : length <= Int(UInt16.max) ? 2 : 8
        return 2 + lengthSize + (isMasked ? 4 : 0)
    }

    static func setHeader(_ first: UInt8, _ length: Int, mask: WebSocketMask?, in buffer: inout ByteBuffer, at start: Int) {
        let maskBit: UInt8 = mask == nil ? 0 : 0x80
        var index = start
        index += buffer.setInteger(first, at: index)
        switch length {
        case ...125: index += buffer.setInteger(maskBit | UInt8(length), at: index)
        case ...Int(UInt16.max):
            index += buffer.setInteger(maskBit | 126, at: index)
            index += buffer.setInteger(UInt16(length), at: index)
        default:
            index += buffer.setInteger(maskBit | 127, at: index)
            index += buffer.setInteger(UInt64(length), at: index)
        }
        if let mask { buffer.setInteger(mask.key, at: index) }
    }
}
