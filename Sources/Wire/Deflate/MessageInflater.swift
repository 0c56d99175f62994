package import NIOCore

/// Restores a peer's compressed messages (RFC 7692 §7.2.2), piece by piece as they arrive. Belongs to one connection on its event loop.
///
/// Never holds any part of a message: what is inflated goes out at once, `chunkBytes` at a time, and the caps are held against each chunk before
/// it goes. What zlib needs is held while a message is being read, and between messages only if its sender takes its context over.
///
/// Violations: 1007 for data that is not deflate or ends before its stream does — the frames obey the protocol, what is in them is not what RSV1
/// says (RFC 6455 §7.4.1, "not consistent with the type of the message"); 1009 for more than either cap.
package final class MessageInflater {
    /// The most that is inflated at once.
    package static let chunkBytes = 16 << 10

    package let maxMessageBytes: Int
    /// A message may say nothing at any length (empty blocks), so the compressed side has a bound too.
    package let maxCompressedBytes: Int

    private let windowBits: Int
    private let takesContextOver: Bool
    private let pool: DeflatePool?

    private var stream: InflateStream?
    /// Of the message being read.
    private var compressedBytes = 0
    private var messageBytes = 0
    /// Nothing has come since a block with BFINAL.
    private var isAtStreamEnd = false

    /// - Parameters:
    ///   - windowBits: The peer's, 8...15.
    ///   - maxCompressedBytes: By default as much as the worst of compressors makes of `maxMessageBytes`.
    ///   - pool: Where streams come from that keep nothing between messages.
    package init(windowBits: Int = 15, takesContextOver: Bool, maxMessageBytes: Int, maxCompressedBytes: Int? = nil, pool: DeflatePool? = nil) {
        precondition((8...15).contains(windowBits), "a window of \(windowBits) bits, must be 8...15")
        // Old versions of zlib agree to 8 and compress with 9.
        self.windowBits = max(windowBits, 9)
        self.takesContextOver = takesContextOver
        self.maxMessageBytes = maxMessageBytes
        self.maxCompressedBytes = maxCompressedBytes ?? Self.largestCompressed(maxMessageBytes)
        self.pool = takesContextOver ? nil : pool
    }

    /// Fixed Huffman codes of 9 bits for every byte, and a header for every block of 64 (zlib.h, `deflateBound` at its worst).
    static func largestCompressed(_ bytes: Int) -> Int {
        let (sum, overflow) = bytes.addingReportingOverflow(bytes / 8 + bytes / 64 + 64)
        return overflow ? .max : sum
    }

    /// Whether zlib's memory is held.
    package var isHoldingStream: Bool { stream != nil }

    /// Asks for room for a frame's payload before any of it is read.
    func admit(_ frameBytes: Int) throws(WebSocketViolation) {
        guard frameBytes <= maxCompressedBytes - compressedBytes else { throw .tooBig("the compressed message", max: maxCompressedBytes) }
    }

    /// Inflates a piece of a message. The chunks that `output` is given are good until it returns.
    func inflate(
        _ piece: UnsafeRawBufferPointer,
        _ output: (UnsafeRawBufferPointer) throws(WebSocketViolation) -> Void
    ) throws(WebSocketViolation) {
        guard !piece.isEmpty else { return }
        try admit(piece.count)
        compressedBytes += piece.count
        try run(piece, output)
    }

    /// The message has ended: what its sender took away is put back (§7.2.2), and everything must have come out.
    func finish(_ output: (UnsafeRawBufferPointer) throws(WebSocketViolation) -> Void) throws(WebSocketViolation) {
        if !isAtStreamEnd {
            try withUnsafeBytes(of: MessageDeflater.tail.bigEndian) { (tail) throws(WebSocketViolation) in try run(tail, output) }
            guard stream?.isBetweenBlocks == true || isAtStreamEnd else { throw .notDeflate("it ends inside a block") }
        }
        settle(keepsWindow: takesContextOver)
    }

    /// Lets go of a message that will not be read to its end.
    func abandon() { settle(keepsWindow: false) }

    private func settle(keepsWindow: Bool) {
        compressedBytes = 0
        messageBytes = 0
        isAtStreamEnd = false
        guard !keepsWindow, let stream = stream.take() else { return }
        pool?.giveBack(stream)
    }

    private func run(
        _ piece: UnsafeRawBufferPointer,
        _ output: (UnsafeRawBufferPointer) throws(WebSocketViolation) -> Void
    ) throws(WebSocketViolation) {
        let stream = stream ?? pool?.takeInflateStream() ?? InflateStream(windowBits: windowBits)
        self.stream = stream
        let chunk = UnsafeMutableRawBufferPointer.allocate(byteCount: Self.chunkBytes, alignment: 16)
        defer { chunk.deallocate() }
        isAtStreamEnd = false
        var rest = piece
        while true {
            let (count, status) = stream.inflate(&rest, into: chunk)
            guard count <= maxMessageBytes - messageBytes else { throw .tooBig("the inflated message", max: maxMessageBytes) }
            messageBytes += count
            if count > 0 { try output(UnsafeRawBufferPointer(rebasing: chunk[..<count])) }
            switch status {
            case .filled: break
            case .hungry where rest.isEmpty: return
            case .hungry: break
            case .ended:
                // §7.2.3.4: a sender may end its stream. A later message may refer back to before the end, if contexts are taken over.
                stream.resetKeepingWindow()
                isAtStreamEnd = rest.isEmpty
                if rest.isEmpty { return }
            case .corrupt(let reason): throw .notDeflate(reason)
            case .outOfMemory: throw WebSocketViolation(code: WebSocketCloseCode.internalError, reason: "no memory to inflate the message")
            }
        }
    }
}

extension MessageInflater {
    /// A message all at once.
    package func inflate(_ message: ByteBuffer) throws(WebSocketViolation) -> ByteBuffer {
        var inflated = ByteBuffer()
        do throws(WebSocketViolation) {
            try message.withUnsafeReadableBytes { (bytes) throws(WebSocketViolation) in try inflate(bytes) { inflated.writeBytes($0) } }
            try finish { inflated.writeBytes($0) }
        } catch {
            abandon()
            throw error
        }
        return inflated
    }
}

extension WebSocketViolation {
    static func notDeflate(_ reason: String) -> WebSocketViolation {
        WebSocketViolation(code: WebSocketCloseCode.invalidPayload, reason: "the message is not deflate: \(reason)")
    }
}
