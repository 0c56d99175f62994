import CZlib
package import NIOCore

/// Compresses a stream of bytes into one gzip member (RFC 1952), as `Content-Encoding: gzip` has it. For one task at a time.
package final class GzipStream {
    private let stream: UnsafeMutablePointer<z_stream>

    /// - Parameter level: 1, fastest, to 9.
    package init(level: Int) {
        // zlib's state points back at it, so it may not move.
        stream = .allocate(capacity: 1)
        stream.initialize(to: z_stream())
        let code = deflateInit2_(
            stream,
            Int32(level),
            Z_DEFLATED,
            // 16 more asks for gzip's head and tail (zlib.h, `deflateInit2`).
            15 + 16,
            8,
            Z_DEFAULT_STRATEGY,
            ZLIB_VERSION,
            Int32(MemoryLayout<z_stream>.size)
        )
        precondition(code == Z_OK, "zlib cannot make a gzip stream: error \(code)")
    }

    deinit {
        deflateEnd(stream)
        stream.deallocate()
    }

    /// What is ready of the stream so far; may be empty.
    package func compress(_ bytes: ByteBuffer) -> ByteBuffer { run(bytes, Z_NO_FLUSH) }
    /// The rest of it.
    package func finish() -> ByteBuffer { run(ByteBuffer(), Z_FINISH) }

    private func run(_ bytes: ByteBuffer, _ flush: Int32) -> ByteBuffer {
        var output = ByteBuffer()
        bytes.withUnsafeReadableBytes { input in
            stream.pointee.next_in = UnsafeMutablePointer(mutating: input.baseAddress?.assumingMemoryBound(to: UInt8.self))
            stream.pointee.avail_in = UInt32(input.count)
            repeat {
                output.writeWithUnsafeMutableBytes(minimumWritableBytes: 256 + input.count / 4) { room in
                    stream.pointee.next_out = room.baseAddress?.assumingMemoryBound(to: UInt8.self)
                    stream.pointee.avail_out = UInt32(clamping: room.count)
                    let before = stream.pointee.avail_out
                    let code = CZlib.deflate(stream, flush)
                    precondition(code == Z_OK || code == Z_BUF_ERROR || code == Z_STREAM_END, "deflate of a consistent stream: error \(code)")
                    return Int(before - stream.pointee.avail_out)
                }
            } while stream.pointee.avail_out == 0
            stream.pointee.next_in = nil
        }
        return output
    }
}
