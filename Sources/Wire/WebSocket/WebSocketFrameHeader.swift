import NIOCore

/// The first bytes of a frame (RFC 6455 §5.2), read without consuming them and checked as far as they have arrived.
struct WebSocketFrameHeader: Sendable {
    let isFinal: Bool
    /// RSV1: the message that begins here is compressed (RFC 7692 §6).
    let isCompressed: Bool
    let opcode: WebSocketOpcode
    let mask: WebSocketMask?
    /// Bytes of payload.
    let length: Int
    /// Bytes of the header itself.
    let size: Int

    /// The longest header: two octets, a 64-bit length, a mask.
    static let maxSize = 14
    /// The most a control frame may carry (§5.5).
    static let maxControlLength = 125

    /// Nil while the header is incomplete. What the first two octets already make illegal is refused without waiting for the rest.
    ///
    /// `knowsDeflate`: RSV1 has a meaning, on the first frame of a data message (RFC 7692 §6). The others never do.
    init?(
        peeking buffer: ByteBuffer,
        role: WebSocketFrameParser.Role,
        isInsideMessage: Bool,
        knowsDeflate: Bool
    ) throws(WebSocketViolation) {
        let start = buffer.readerIndex
        guard let first = buffer.getInteger(at: start, as: UInt8.self) else { return nil }
        guard first & 0x70 == 0 || knowsDeflate && first & 0x70 == 0x40 else {
            throw .protocolError("a reserved bit is set that no negotiated extension uses")
        }
        guard let opcode = WebSocketOpcode(rawValue: first & 0x0f) else { throw .protocolError("opcode \(first & 0x0f) is reserved") }
        isFinal = first & 0x80 != 0
        isCompressed = first & 0x40 != 0
        self.opcode = opcode
        switch opcode {
        case .continuation:
            guard !isCompressed else { throw .protocolError("RSV1 on a continuation") }
            guard isInsideMessage else { throw .protocolError("a continuation without a beginning") }
        case .text, .binary:
            guard !isInsideMessage else { throw .protocolError("a new message inside a fragmented one") }
        case .close, .ping, .pong:
            guard !isCompressed else { throw .protocolError("RSV1 on a control frame") }
            guard isFinal else { throw .protocolError("a fragmented control frame") }
        }

        guard let second = buffer.getInteger(at: start + 1, as: UInt8.self) else { return nil }
        let isMasked = second & 0x80 != 0
        switch role {
        case .server: guard isMasked else { throw .protocolError("a client's frame without a mask") }
        case .client: guard !isMasked else { throw .protocolError("a server's frame with a mask") }
        }

        var size = 2
        switch second & 0x7f {
        case 126:
            guard !opcode.isControl else { throw .protocolError("a control frame over \(Self.maxControlLength) bytes") }
            guard let extended = buffer.getInteger(at: start + 2, as: UInt16.self) else { return nil }
            guard extended > 125 else { throw .protocolError("a length that is not in its shortest form") }
            length = Int(extended)
            size += 2
        case 127:
            guard !opcode.isControl else { throw .protocolError("a control frame over \(Self.maxControlLength) bytes") }
            guard let extended = buffer.getInteger(at: start + 2, as: UInt64.self) else { return nil }
            guard extended >> 63 == 0 else { throw .protocolError("a length with its highest bit set") }
            guard extended > UInt64(UInt16.max) else { throw .protocolError("a length that is not in its shortest form") }
            length = Int(extended)
            size += 8
        case let short: length = Int(short)
        }

        if isMasked {
            guard let key = buffer.getInteger(at: start + size, as: UInt32.self) else { return nil }
            mask = WebSocketMask(key: key)
            size += 4
        } else {
            mask = nil
        }
        self.size = size
    }
}
