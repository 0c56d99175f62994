import CZlib
package import NIOCore

/// Compresses messages (RFC 7692 §7.2.1). Belongs to one event loop: to all its connections if it keeps nothing between messages, else to one.
///
/// zlib's memory (see `DeflatePolicy`) is taken at the first message and kept; it does not grow with the messages.
package final class MessageDeflater {
    /// What a flushed stream ends with, taken from each message and put back by its reader (§7.2.1, §7.2.2).
    static let tail: UInt32 = 0x0000_ffff

    package let takesContextOver: Bool
    /// Shorter messages are not worth it.
    package let minimumBytes: Int
    private let windowBits: Int
    private let memoryLevel: Int
    private let level: Int
    private var stream: UnsafeMutablePointer<z_stream>?

    /// `windowBits` is 9...15.
    package init(windowBits: Int, takesContextOver: Bool, _ policy: DeflatePolicy = DeflatePolicy()) {
        precondition((9...15).contains(windowBits), "a window of \(windowBits) bits, must be 9...15")
        self.windowBits = windowBits
        self.takesContextOver = takesContextOver
        minimumBytes = policy.minimumBytes
        memoryLevel = policy.memoryLevel
        level = policy.level
    }

    deinit {
        guard let stream else { return }
        deflateEnd(stream)
        stream.deallocate()
    }

    /// Writes a message's compressed form to `buffer`. With takeover the peer must be sent it, else the contexts part.
    package func deflate(_ message: UnsafeRawBufferPointer, to buffer: inout ByteBuffer) {
        guard !message.isEmpty else {
            // §7.2.3.6: an empty block without compression, less its tail. zlib would flush nothing, having nothing new.
            buffer.writeInteger(0x00 as UInt8)
            return
        }
        let stream = stream ?? open()
        stream.pointee.next_in = UnsafeMutablePointer(mutating: message.baseAddress?.assumingMemoryBound(to: UInt8.self))
        stream.pointee.avail_in = UInt32(message.count)
        // The output being full exactly at the end, the call that finds out gets Z_BUF_ERROR, which is not one (zlib.h, `deflate`).
        repeat {
            buffer.writeWithUnsafeMutableBytes(minimumWritableBytes: 64 + Int(stream.pointee.avail_in) / 4) { output in
                stream.pointee.next_out = output.baseAddress?.assumingMemoryBound(to: UInt8.self)
                stream.pointee.avail_out = UInt32(clamping: output.count)
                let room = stream.pointee.avail_out
                let code = CZlib.deflate(stream, Z_SYNC_FLUSH)
                precondition(code == Z_OK || code == Z_BUF_ERROR, "deflate of a consistent stream: error \(code)")
                return Int(room - stream.pointee.avail_out)
            }
        } while stream.pointee.avail_out == 0
        buffer.moveWriterIndex(to: buffer.writerIndex - MemoryLayout.size(ofValue: Self.tail))
        stream.pointee.next_in = nil
        if !takesContextOver { deflateReset(stream) }
    }

    private func open() -> UnsafeMutablePointer<z_stream> {
        // zlib's state points back at it, so it may not move.
        let stream = UnsafeMutablePointer<z_stream>.allocate(capacity: 1)
        stream.initialize(to: z_stream())
        let code = deflateInit2_(
            stream,
            Int32(level),
            Z_DEFLATED,
            -Int32(windowBits),
            Int32(memoryLevel),
            Z_DEFAULT_STRATEGY,
            ZLIB_VERSION,
            Int32(MemoryLayout<z_stream>.size)
        )
        precondition(code == Z_OK, "zlib cannot deflate with \(windowBits) bits: error \(code)")
        self.stream = stream
        return stream
    }
}
