import OrderedCollections

extension JSON {
    /// Arrays and objects inside one another, at the most. Deeper text is refused, so that nobody can exhaust the stack.
    package static let maxDepth = 64

    /// Reads one JSON text: the whole of `bytes`, in UTF-8, with white space around it.
    package static func parse(_ bytes: some Sequence<UInt8>) throws(JSONError) -> JSON {
        let result = bytes.withContiguousStorageIfAvailable { parse(buffer: $0) } ?? Array(bytes).withUnsafeBufferPointer { parse(buffer: $0) }
        return try result.get()
    }

    package static func parse(_ text: String) throws(JSONError) -> JSON { try parse(text.utf8) }

    private static func parse(buffer: UnsafeBufferPointer<UInt8>) -> Result<JSON, JSONError> {
        var reader = JSONReader(bytes: buffer)
        do throws(JSONError) { return .success(try reader.document()) } catch { return .failure(error) }
    }
}

/// A recursive-descent reader over borrowed bytes (RFC 8259 §2–7). Strict: no comments, no trailing commas, no lone surrogates, valid UTF-8 only.
struct JSONReader {
    let bytes: UnsafeBufferPointer<UInt8>
    var position = 0

    init(bytes: UnsafeBufferPointer<UInt8>, position: Int = 0) {
        self.bytes = bytes
        self.position = position
    }

    func failure(_ reason: String) -> JSONError { JSONError(offset: position, reason: reason) }

    mutating func document() throws(JSONError) -> JSON {
        skipSpace()
        let value = try self.value(depth: 0)
        skipSpace()
        guard position == bytes.count else { throw failure("text after the end of the value") }
        return value
    }

    mutating func skipSpace() {
        while position < bytes.count {
            switch bytes[position] {
            case 0x20, 0x09, 0x0a, 0x0d: position += 1
            default: return
            }
        }
    }

    mutating func value(depth: Int) throws(JSONError) -> JSON {
        guard position < bytes.count else { throw failure("a value is missing") }
        switch bytes[position] {
        case UInt8(ascii: "{"): return try object(depth: depth + 1)
        case UInt8(ascii: "["): return try array(depth: depth + 1)
        case UInt8(ascii: "\""): return .string(try string())
        case UInt8(ascii: "t"): return try word("true", .bool(true))
        case UInt8(ascii: "f"): return try word("false", .bool(false))
        case UInt8(ascii: "n"): return try word("null", .null)
        case UInt8(ascii: "-"), UInt8(ascii: "0")...UInt8(ascii: "9"): return try number()
        default: throw failure("not the beginning of a value")
        }
    }

    mutating func word(_ word: StaticString, _ value: JSON) throws(JSONError) -> JSON {
        let count = word.utf8CodeUnitCount
        guard position + count <= bytes.count else { throw failure("not the beginning of a value") }
        for offset in 0..<count where bytes[position + offset] != word.utf8Start[offset] { throw failure("not the beginning of a value") }
        position += count
        return value
    }

    mutating func object(depth: Int) throws(JSONError) -> JSON {
        guard depth <= JSON.maxDepth else { throw failure("nested deeper than \(JSON.maxDepth)") }
        position += 1
        var members: OrderedDictionary<String, JSON> = [:]
        skipSpace()
        if peek(UInt8(ascii: "}")) {
            position += 1
            return .object(members)
        }
        while true {
            skipSpace()
            guard peek(UInt8(ascii: "\"")) else { throw failure("a member's name is missing") }
            let name = try string()
            skipSpace()
            guard peek(UInt8(ascii: ":")) else { throw failure("a colon is missing") }
            position += 1
            skipSpace()
            members[name] = try value(depth: depth)
            skipSpace()
            if peek(UInt8(ascii: ",")) {
                position += 1
                continue
            }
            guard peek(UInt8(ascii: "}")) else { throw failure("a comma or a closing brace is missing") }
            position += 1
            return .object(members)
        }
    }

    mutating func array(depth: Int) throws(JSONError) -> JSON {
        var values: [JSON] = []
        try elements(depth: depth) { reader, depth throws(JSONError) in values.append(try reader.value(depth: depth)) }
        return .array(values)
    }

    func peek(_ byte: UInt8) -> Bool { position < bytes.count && bytes[position] == byte }

    mutating func number() throws(JSONError) -> JSON {
        let start = position
        let isInteger = try numberShape()
        if isInteger, position - start <= 18 { return .int(shortInteger(start..<position)) }
        let text = String(decoding: bytes[start..<position], as: UTF8.self)
        if isInteger, let value = Int64(text) { return .int(value) }
        guard let value = Double(text), value.isFinite else { throw failure("a number too large to hold") }
        return .double(value)
    }

    /// The value of at most 18 digits and a sign, which cannot overflow.
    private func shortInteger(_ range: Range<Int>) -> Int64 {
        let isNegative = bytes[range.lowerBound] == UInt8(ascii: "-")
        var value: Int64 = 0
        for byte in bytes[(isNegative ? range.dropFirst() : range)] { value = value * 10 + Int64(byte - UInt8(ascii: "0")) }
        return isNegative ? -value : value
    }

    /// Passes over the digits and signs of a number (RFC 8259 §6). True if it has neither fraction nor exponent.
    mutating func numberShape() throws(JSONError) -> Bool {
        var isInteger = true
        if peek(UInt8(ascii: "-")) { position += 1 }
        if peek(UInt8(ascii: "0")) { position += 1 } else { try digits() }
        if peek(UInt8(ascii: ".")) {
            isInteger = false
            position += 1
            try digits()
        }
        if peek(UInt8(ascii: "e")) || peek(UInt8(ascii: "E")) {
            isInteger = false
            position += 1
            if peek(UInt8(ascii: "+")) || peek(UInt8(ascii: "-")) { position += 1 }
            try digits()
        }
        return isInteger
    }

    mutating func digits() throws(JSONError) {
        let start = position
        while position < bytes.count, (UInt8(ascii: "0")...UInt8(ascii: "9")).contains(bytes[position]) { position += 1 }
        guard position > start else { throw failure("a digit is missing") }
    }

    mutating func string() throws(JSONError) -> String {
        position += 1
        let start = position
        while position < bytes.count {
            let byte = bytes[position]
            if byte == UInt8(ascii: "\"") {
                let text = try utf8(bytes[start..<position])
                position += 1
                return text
            }
            if byte == UInt8(ascii: "\\") { return try escapedString(from: start) }
            guard byte >= 0x20 else { throw failure("a control character in a string") }
            position += 1
        }
        throw failure("a string without an end")
    }

    /// The rest of a string once an escape has been met: what went before is copied, escapes are replaced.
    mutating func escapedString(from start: Int) throws(JSONError) -> String {
        var unescaped = Array(bytes[start..<position])
        while position < bytes.count {
            let byte = bytes[position]
            switch byte {
            case UInt8(ascii: "\""):
                let text = try unescaped.withUnsafeBufferPointerTyped { buffer throws(JSONError) in try utf8(buffer[...]) }
                position += 1
                return text
            case UInt8(ascii: "\\"):
                position += 1
                guard position < bytes.count else { throw failure("a string without an end") }
                let escape = bytes[position]
                position += 1
                switch escape {
                case UInt8(ascii: "\""), UInt8(ascii: "\\"), UInt8(ascii: "/"): unescaped.append(escape)
                case UInt8(ascii: "b"): unescaped.append(0x08)
                case UInt8(ascii: "f"): unescaped.append(0x0c)
                case UInt8(ascii: "n"): unescaped.append(0x0a)
                case UInt8(ascii: "r"): unescaped.append(0x0d)
                case UInt8(ascii: "t"): unescaped.append(0x09)
                case UInt8(ascii: "u"): unescaped.append(contentsOf: String(try unicodeEscape()).utf8)
                default: throw failure("an unknown escape")
                }
            case 0..<0x20: throw failure("a control character in a string")
            default:
                unescaped.append(byte)
                position += 1
            }
        }
        throw failure("a string without an end")
    }

    mutating func unicodeEscape() throws(JSONError) -> Unicode.Scalar {
        let first = try fourHexDigits()
        if (0xd800..<0xdc00).contains(first) {
            guard peek(UInt8(ascii: "\\")), position + 1 < bytes.count, bytes[position + 1] == UInt8(ascii: "u") else {
                throw failure("half of a surrogate pair")
            }
            position += 2
            let second = try fourHexDigits()
            guard (0xdc00..<0xe000).contains(second) else { throw failure("half of a surrogate pair") }
            guard let scalar = Unicode.Scalar(0x10000 + (first - 0xd800) << 10 + (second - 0xdc00)) else { throw failure("half of a surrogate pair") }
            return scalar
        }
        guard let scalar = Unicode.Scalar(first) else { throw failure("half of a surrogate pair") }
        return scalar
    }

    mutating func fourHexDigits() throws(JSONError) -> UInt32 {
        guard position + 4 <= bytes.count else { throw failure("four hexadecimal digits are missing") }
        var value: UInt32 = 0
        for _ in 0..<4 {
            guard let digit = Character(Unicode.Scalar(bytes[position])).hexDigitValue else { throw failure("four hexadecimal digits are missing") }
            value = value << 4 | UInt32(digit)
            position += 1
        }
        return value
    }

    func utf8(_ bytes: Slice<UnsafeBufferPointer<UInt8>>) throws(JSONError) -> String {
        guard let text = String(validating: UnsafeBufferPointer(rebasing: bytes), as: UTF8.self) else { throw failure("a string that is not UTF-8") }
        return text
    }
}

extension Array where Element == UInt8 {
    /// `withUnsafeBufferPointer` that keeps the error's type.
    fileprivate func withUnsafeBufferPointerTyped<T>(_ body: (UnsafeBufferPointer<UInt8>) throws(JSONError) -> T) throws(JSONError) -> T {
        let result: Result<T, JSONError> = withUnsafeBufferPointer { buffer in
            do throws(JSONError) { return .success(try body(buffer)) } catch { return .failure(error) }
        }
        return try result.get()
    }
}
