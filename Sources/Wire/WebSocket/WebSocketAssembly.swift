import NIOCore

/// A message whose last frame has not been read to its end (RFC 6455 §5.4).
struct WebSocketAssembly: Sendable {
    let isText: Bool
    private(set) var payload = ByteBuffer()
    private var utf8 = UTF8Validator()

    init(isText: Bool) { self.isText = isText }

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

    /// The message, now that nothing will be added.
    consuming func finished() throws(WebSocketViolation) -> WebSocketMessage {
        guard isText else { return .binary(payload) }
        guard utf8.isComplete else { throw .notUTF8("the end of the text") }
        return .text(payload)
    }
}
