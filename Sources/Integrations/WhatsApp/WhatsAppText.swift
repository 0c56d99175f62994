/// Mends text that JSON, or a database, cannot hold, so that one odd profile name does not make a whole delivery unreadable.
///
/// Meta cuts long names and descriptions by UTF-16 units, which can leave half of an emoji: an escape such as `\ud83d` alone is not a character
/// and RFC 8259 §8.2 leaves what to do open. `\u0000` is a character, but Postgres stores it neither in `text` nor in `jsonb`. Both become U+FFFD, the
/// sign for "something unreadable stood here", and so do bytes that are not UTF-8.
package enum WhatsAppText {
    package static func repaired(_ body: [UInt8]) -> [UInt8] {
        let valid = String(validating: body, as: UTF8.self) == nil ? Array(String(decoding: body, as: UTF8.self).utf8) : body
        var repaired: [UInt8] = []
        /// What stands before it is already in `repaired`, unless nothing had to be mended so far.
        var copied = 0
        var position = 0
        while let backslash = valid[position...].firstIndex(of: UInt8(ascii: "\\")) {
            guard let unit = unicodeEscape(in: valid, at: backslash) else {
                position = min(backslash + 2, valid.count)
                continue
            }
            position = backslash + 6
            switch unit {
            case 0xd800..<0xdc00:
                if let second = unicodeEscape(in: valid, at: position), (0xdc00..<0xe000).contains(second) {
                    position += 6
                    continue
                }
            case 0, 0xdc00..<0xe000: break
            default: continue
            }
            repaired.append(contentsOf: valid[copied..<backslash])
            repaired.append(contentsOf: #"\ufffd"#.utf8)
            copied = position
        }
        return copied == 0 ? valid : repaired + valid[copied...]
    }

    /// The UTF-16 unit that `\uXXXX` at `position` stands for.
    private static func unicodeEscape(in bytes: [UInt8], at position: Int) -> UInt16? {
        guard position + 6 <= bytes.count, bytes[position] == UInt8(ascii: "\\"), bytes[position + 1] == UInt8(ascii: "u") else { return nil }
        let digits = bytes[position + 2..<position + 6]
        // `UInt16(_:radix:)` would take a sign.
        guard digits.first != UInt8(ascii: "+"), digits.first != UInt8(ascii: "-") else { return nil }
        return UInt16(String(decoding: digits, as: UTF8.self), radix: 16)
    }
}
