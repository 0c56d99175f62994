package import NIOCore

/// RFC 6455 §5 read from bytes, without I/O: feed what arrived with `append`, then take messages with `next` until it gives nil.
///
///      0                   1                   2                   3
///      0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1
///     +-+-+-+-+-------+-+-------------+-------------------------------+
///     |F|R|R|R| opcode|M| Payload len |    Extended payload length    |
///     |I|S|S|S|  (4)  |A|     (7)     |             (16/64)           |
///     |N|V|V|V|       |S|             |   (if payload len==126/127)   |
///     | |1|2|3|       |K|             |                               |
///     +-+-+-+-+-------+-+-------------+ - - - - - - - - - - - - - - - +
///
/// What is refused, as soon as the header says it: reserved bits and opcodes (§5.2), a mask missing from a client or present from a server
/// (§5.1), control frames over 125 bytes or fragmented (§5.5), a continuation of nothing or a new message inside another (§5.4), lengths that
/// are not minimal or have the high bit (§5.2), and frames and messages over the limits (1009). Text that is not UTF-8 is refused at its first
/// bad byte (1007). After a violation every call throws it again; after a close frame nothing more is read (§5.5.1).
///
/// With permessage-deflate agreed on, RSV1 on the first frame of a message says that its frames, put together, are deflate (RFC 7692 §6): they are
/// inflated as they arrive, and the text is checked as it comes out.
///
/// Copies: a frame that arrives alone in its buffer is unmasked in place and handed over with that buffer; any other payload byte is copied
/// once, into the message it belongs to. Kept between calls: at most the message being assembled (inflated, if it was compressed), one partial
/// header and one control frame. Not to be copied once in use: the copies would share one inflater.
package struct WebSocketFrameParser {
    /// Who is reading: a server expects masked frames, a client expects them bare (§5.1).
    package enum Role: Sendable { case server, client }

    package let role: Role
    package let maxFrameBytes: Int
    package let maxMessageBytes: Int

    /// Bytes received and not yet looked at.
    private var received = ByteBuffer()
    /// The frame whose payload is being read, and how much of it has been.
    private var frame: (header: WebSocketFrameHeader, consumed: Int)?
    /// The message that frame belongs to.
    private var message: WebSocketAssembly?
    private var end: End?
    /// Nil: permessage-deflate was not agreed on.
    private let inflater: MessageInflater?

    private enum End: Equatable, Sendable {
        case closed
        case violated(WebSocketViolation)
    }

    /// `inflater` is that of the connection's `WebSocketDeflate`. A message that is not compressed is bound by `maxMessageBytes`, one that is by the
    /// inflater's `maxMessageBytes` and `maxCompressedBytes`, and the frames of either by `maxFrameBytes`.
    package init(role: Role = .server, maxFrameBytes: Int = 64 << 10, maxMessageBytes: Int = 64 << 10, inflater: MessageInflater? = nil) {
        self.role = role
        self.inflater = inflater
        self.maxFrameBytes = maxFrameBytes
        self.maxMessageBytes = maxMessageBytes
    }

    /// Bytes kept for later: the message being assembled and what has not been looked at. Not what zlib needs to inflate it (about 40 KB).
    package var heldBytes: Int { received.readableBytes + (message?.payload.readableBytes ?? 0) }

    /// Takes what the peer sent. Hand over the only reference to the buffer, so that it can be unmasked where it lies: NIO holds one while it
    /// calls `channelRead`, so append there and take the messages in `channelReadComplete`. A second reference costs one copy, no more.
    package mutating func append(_ buffer: consuming ByteBuffer) {
        guard end == nil, buffer.readableBytes > 0 else { return }
        guard received.readableBytes > 0 else {
            received = consume buffer
            return
        }
        received.discardReadBytes()
        received.writeImmutableBuffer(buffer)
    }

    /// The next complete message or control frame, or nil until more has been appended.
    package mutating func next() throws(WebSocketViolation) -> WebSocketMessage? {
        switch end {
        case .closed: return nil
        case .violated(let violation): throw violation
        case nil: break
        }
        do throws(WebSocketViolation) {
            let message = try read()
            if case .close = message { finish(.closed) }
            return message
        } catch {
            finish(.violated(error))
            throw error
        }
    }

    private mutating func finish(_ end: End) {
        self.end = end
        received = ByteBuffer()
        frame = nil
        message = nil
        inflater?.abandon()
    }

    private mutating func read() throws(WebSocketViolation) -> WebSocketMessage? {
        while true {
            if let (header, consumed) = frame {
                guard try readPayload(header, consumed: consumed) else { throw .notUTF8("the text") }
                guard frame == nil else { return nil }
                if header.isFinal {
                    if let inflater, message!.isCompressed { try message!.finishInflating(with: inflater) }
                    return try message.take()!.finished()
                }
            }
            let isInside = message != nil
            guard
                let header = try WebSocketFrameHeader(peeking: received, role: role, isInsideMessage: isInside, knowsDeflate: inflater != nil)
            else { return waitForMore() }
            if header.opcode.isControl {
                guard received.readableBytes >= header.size + header.length else { return waitForMore() }
                received.moveReaderIndex(forwardBy: header.size)
                return try controlFrame(header)
            }
            guard header.length <= maxFrameBytes else { throw .tooBig("the frame", max: maxFrameBytes) }
            if let inflater, message?.isCompressed ?? header.isCompressed {
                try inflater.admit(header.length)
            } else if header.length > maxMessageBytes - (message?.payload.readableBytes ?? 0) {
                throw .tooBig("the message", max: maxMessageBytes)
            }
            received.moveReaderIndex(forwardBy: header.size)
            if message == nil { message = WebSocketAssembly(isText: header.opcode == .text, isCompressed: header.isCompressed) }
            frame = (header, 0)
        }
    }

    /// Lets go of a large buffer of which only a partial header or control frame is left.
    private mutating func waitForMore() -> WebSocketMessage? {
        if received.readableBytes == 0 {
            received = ByteBuffer()
        } else if received.storageCapacity > 1024 {
            received = ByteBuffer(bytes: received.readableBytesView)
        }
        return nil
    }

    // MARK: Data frames (§5.6)

    /// Moves what has arrived of the frame's payload into its message, and forgets the frame once all of it has. False if the text is not UTF-8.
    private mutating func readPayload(_ header: WebSocketFrameHeader, consumed: Int) throws(WebSocketViolation) -> Bool {
        let missing = header.length - consumed
        let count = min(missing, received.readableBytes)
        frame = count == missing ? nil : (header, consumed + count)
        guard count > 0 else { return true }
        if let inflater, message!.isCompressed {
            try inflatePayload(count, mask: header.mask, offset: consumed, with: inflater)
            return true
        }
        let takesAll = count == received.readableBytes
        let piece: ByteBuffer
        if takesAll {
            piece = received
            received = ByteBuffer()
        } else {
            piece = received.readSlice(length: count)!
        }
        // A masked piece can only be opened in place if nothing else lies in its buffer, else NIO would copy all of that too.
        let isWhole = header.isFinal && header.opcode != .continuation && count == header.length && (takesAll || header.mask == nil)
        return message!.append(consume piece, mask: header.mask, offset: consumed, isWhole: isWhole)
    }

    /// The same for a piece of a compressed message.
    private mutating func inflatePayload(
        _ count: Int,
        mask: WebSocketMask?,
        offset: Int,
        with inflater: MessageInflater
    ) throws(WebSocketViolation) {
        var piece: ByteBuffer
        if count == received.readableBytes {
            piece = received
            received = ByteBuffer()
        } else {
            piece = received.readSlice(length: count)!
            // As above: what is not alone in its buffer is not unmasked there.
            if mask != nil { piece = ByteBuffer(bytes: piece.readableBytesView) }
        }
        try message!.append(inflating: consume piece, mask: mask, offset: offset, with: inflater)
    }

    // MARK: Control frames (§5.5)

    private mutating func controlFrame(_ header: WebSocketFrameHeader) throws(WebSocketViolation) -> WebSocketMessage {
        // At most 125 bytes: copied, so that the buffer they came in stays ours alone.
        var payload = ByteBuffer(bytes: received.readableBytesView.prefix(header.length))
        received.moveReaderIndex(forwardBy: header.length)
        payload.withUnsafeMutableReadableBytes { header.mask?.apply(to: $0) }
        switch header.opcode {
        case .ping: return .ping(payload)
        case .pong: return .pong(payload)
        default: return try closeFrame(payload)
        }
    }

    /// §5.5.1: no body, or a code and a reason.
    private func closeFrame(_ body: ByteBuffer) throws(WebSocketViolation) -> WebSocketMessage {
        var body = body
        guard body.readableBytes > 0 else { return .close(code: nil, reason: "") }
        guard let code = body.readInteger(as: UInt16.self) else { throw .protocolError("a close frame with half a code") }
        guard WebSocketCloseCode.mayTravel(code) else { throw .protocolError("close code \(code) may not be sent") }
        guard let reason = String(validating: body.readableBytesView, as: UTF8.self) else { throw .notUTF8("the close reason") }
        return .close(code: code, reason: reason)
    }
}
