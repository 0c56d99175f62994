import CZlib

/// A raw inflate stream of zlib (RFC 1951, no header or checksum). Belongs to one event loop at a time.
final class InflateStream {
    enum Status {
        /// The output is full: there may be more.
        case filled
        /// All input is used.
        case hungry
        /// A block with BFINAL has ended (RFC 1951 §3.2.3); what follows it begins a stream anew.
        case ended
        case corrupt(String)
        case outOfMemory
    }

    /// zlib's state points back at it, so it may not move.
    private let stream: UnsafeMutablePointer<z_stream>

    init(windowBits: Int) {
        stream = .allocate(capacity: 1)
        stream.initialize(to: z_stream())
        let code = inflateInit2_(stream, -Int32(windowBits), ZLIB_VERSION, Int32(MemoryLayout<z_stream>.size))
        precondition(code == Z_OK, "zlib cannot inflate \(windowBits) bits: error \(code)")
    }

    deinit {
        inflateEnd(stream)
        stream.deallocate()
    }

    /// Inflates from `input`, which loses what was used, into `output`, and says how many bytes it wrote.
    func inflate(_ input: inout UnsafeRawBufferPointer, into output: UnsafeMutableRawBufferPointer) -> (count: Int, status: Status) {
        let given = UInt32(clamping: input.count)
        // zlib only reads there; its type says otherwise unless ZLIB_CONST is defined.
        stream.pointee.next_in = UnsafeMutablePointer(mutating: input.baseAddress?.assumingMemoryBound(to: UInt8.self))
        stream.pointee.avail_in = given
        stream.pointee.next_out = output.baseAddress?.assumingMemoryBound(to: UInt8.self)
        stream.pointee.avail_out = UInt32(clamping: output.count)
        let code = CZlib.inflate(stream, Z_SYNC_FLUSH)
        input = UnsafeRawBufferPointer(rebasing: input.dropFirst(Int(given - stream.pointee.avail_in)))
        let count = output.count - Int(stream.pointee.avail_out)
        switch code {
        case Z_STREAM_END: return (count, .ended)
        // Z_BUF_ERROR: there was nothing left to do.
        case Z_OK, Z_BUF_ERROR: return (count, stream.pointee.avail_out == 0 ? .filled : .hungry)
        case Z_MEM_ERROR: return (count, .outOfMemory)
        default: return (count, .corrupt(stream.pointee.msg.map { String(cString: $0) } ?? "error \(code)"))
        }
    }

    /// Whether the last block has ended, on the last bit of a byte (zlib.h, `inflate`: `data_type`).
    var isBetweenBlocks: Bool { stream.pointee.data_type & 0xff == 128 }

    /// As new: nothing to refer back to.
    func reset() { inflateReset(stream) }

    /// A new stream that may still refer back to what came before it.
    func resetKeepingWindow() { inflateResetKeep(stream) }
}
