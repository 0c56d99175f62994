import NIOCore

/// A message whose last frame has not been read to its end (RFC 6455 §5.4).
struct WebSocketAssembly: Sendable {
    let isText: Bool
    /// Its frames carry deflate, and `payload` what that inflates to.
    let isCompressed: Bool
    private(set) var payload = ByteBuffer()
    private var utf8 = UTF8Validator()

    init(isText: Bool, isCompressed: Bool) {
        self.isText = isText
        self.isCompressed = isCompressed
    }

    /// Adds a piece of a frame's payload that began `offset` bytes into that frame. False if it makes the text something else than UTF-8.
    ///
    /// `isWhole`: the piece is all there will ever be in the message, so its buffer becomes the message instead of being copied into it.
    mutating func append(_ piece: consuming ByteBuffer, mask: WebSocketMask?, offset: Int, isWhole: Bool) -> Bool {
        let begin: Int
        if isWhole {
            payload = consume piece
            begin = 0
        } else {
            begin = payload.readableBytes
            payload.writeImmutableBuffer(piece)
        }
        if let mask {
            payload.withUnsafeMutableReadableBytes { mask.apply(to: UnsafeMutableRawBufferPointer(rebasing: $0[begin...]), offset: offset) }
        }
        guard isText else { return true }
        return payload.withUnsafeReadableBytes { utf8.consume(UnsafeRawBufferPointer(rebasing: $0[begin...])) }
    }

    /// Adds what a piece of a compressed frame inflates to. The text is checked as it comes out.
    mutating func append(
        inflating piece: consuming ByteBuffer,
        mask: WebSocketMask?,
        offset: Int,
        with inflater: MessageInflater
    ) throws(WebSocketViolation) {
        if let mask { piece.withUnsafeMutableReadableBytes { mask.apply(to: $0, offset: offset) } }
        try piece.withUnsafeReadableBytes { (bytes) throws(WebSocketViolation) in
            try inflater.inflate(bytes) { (chunk) throws(WebSocketViolation) in try append(inflated: chunk) }
        }
    }

    /// Adds what is still to come out of a compressed message whose last frame has been read.
    mutating func finishInflating(with inflater: MessageInflater) throws(WebSocketViolation) {
        try inflater.finish { (chunk) throws(WebSocketViolation) in try append(inflated: chunk) }
    }

    private mutating func append(inflated chunk: UnsafeRawBufferPointer) throws(WebSocketViolation) {
        guard !isText || utf8.consume(chunk) else { throw .notUTF8("the text") }
        payload.writeBytes(chunk)
    }

    /// The message, now that nothing will be added.
    consuming func finished() throws(WebSocketViolation) -> WebSocketMessage {
        guard isText else { return .binary(payload) }
        guard utf8.isComplete else { throw .notUTF8("the end of the text") }
        return .text(payload)
    }
}
