import CZlib
package import NIOCore

/// A whole content as one gzip member (RFC 1952).
package enum Gzip {
    /// What is worth the processor's time: 1 is quickest, 9 smallest.
    package static let levels = 1...9

    package static func compress(_ content: UnsafeRawBufferPointer, level: Int) -> ByteBuffer {
        precondition(levels.contains(level) && content.count < Int(UInt32.max), "a level from 1 to 9, and what zlib counts in 32 bits")
        var stream = z_stream()
        // 16 on top of the window asks for gzip's header and trailer (zlib.h, `deflateInit2`).
        let code = deflateInit2_(
            &stream,
            Int32(level),
            Z_DEFLATED,
            15 + 16,
            8,
            Z_DEFAULT_STRATEGY,
            ZLIB_VERSION,
            Int32(MemoryLayout<z_stream>.size)
        )
        precondition(code == Z_OK, "zlib cannot compress at level \(level): error \(code)")
        defer { deflateEnd(&stream) }
        stream.next_in = UnsafeMutablePointer(mutating: content.baseAddress?.assumingMemoryBound(to: UInt8.self))
        stream.avail_in = UInt32(content.count)
        var buffer = ByteBuffer()
        // As much as it can need, so that one call does it.
        buffer.writeWithUnsafeMutableBytes(minimumWritableBytes: Int(deflateBound(&stream, UInt(content.count)))) { output in
            stream.next_out = output.baseAddress?.assumingMemoryBound(to: UInt8.self)
            stream.avail_out = UInt32(clamping: output.count)
            let room = stream.avail_out
            let code = CZlib.deflate(&stream, Z_FINISH)
            precondition(code == Z_STREAM_END, "deflate with all the room that it asked for: error \(code)")
            return Int(room - stream.avail_out)
        }
        return buffer
    }
}
