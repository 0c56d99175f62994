/// Well-formedness of UTF-8 (Unicode 16, table 3-7), checked as the bytes arrive.
///
/// A text message may be cut anywhere, also inside a character (RFC 6455 §5.6), so what is expected next is kept between calls and the first
/// byte that cannot be right is refused without waiting for the rest of the message (§8.1).
struct UTF8Validator: Sendable {
    /// Continuation bytes that the character begun still needs.
    private var missing = 0
    /// What the next continuation byte may be: narrower than 80…BF after E0, ED, F0 and F4, which excludes overlong forms and surrogates.
    private var lower: UInt8 = 0x80
    private var upper: UInt8 = 0xbf

    /// Whether the text may end here.
    var isComplete: Bool { missing == 0 }

    static func isValid(_ bytes: UnsafeRawBufferPointer) -> Bool {
        var validator = UTF8Validator()
        return validator.consume(bytes) && validator.isComplete
    }

    /// Whether `bytes` can follow what came before.
    mutating func consume(_ bytes: UnsafeRawBufferPointer) -> Bool {
        var index = 0
        while index < bytes.count {
            if missing == 0 {
                index = Self.endOfASCII(bytes, from: index)
                guard index < bytes.count else { return true }
                guard begin(bytes[index]) else { return false }
            } else {
                guard (lower...upper).contains(bytes[index]) else { return false }
                missing -= 1
                lower = 0x80
                upper = 0xbf
            }
            index += 1
        }
        return true
    }

    private mutating func begin(_ lead: UInt8) -> Bool {
        switch lead {
        case 0xc2...0xdf: missing = 1
        case 0xe0...0xef:
            missing = 2
            if lead == 0xe0 { lower = 0xa0 }
            if lead == 0xed { upper = 0x9f }
        case 0xf0...0xf4:
            missing = 3
            if lead == 0xf0 { lower = 0x90 }
            if lead == 0xf4 { upper = 0x8f }
        default: return false
        }
        return true
    }

    /// Where the run of ASCII that starts at `start` ends, eight bytes at a time.
    private static func endOfASCII(_ bytes: UnsafeRawBufferPointer, from start: Int) -> Int {
        var index = start
        while index + 8 <= bytes.count, bytes.loadUnaligned(fromByteOffset: index, as: UInt64.self) & 0x8080_8080_8080_8080 == 0 { index += 8 }
        while index < bytes.count, bytes[index] < 0x80 { index += 1 }
        return index
    }
}
