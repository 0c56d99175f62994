extension JSONReader {
    /// Passes over one value, checking it as strictly as `value` does but keeping nothing of it.
    ///
    /// The one thing not looked at is whether strings are UTF-8: whoever skips has checked the whole text once.
    mutating func skip(depth: Int) throws(JSONError) {
        guard position < bytes.count else { throw failure("a value is missing") }
        switch bytes[position] {
        case UInt8(ascii: "{"):
            try members(depth: depth + 1) { (reader, _, depth) throws(JSONError) in try reader.skip(depth: depth) }
        case UInt8(ascii: "["):
            try elements(depth: depth + 1) { (reader, depth) throws(JSONError) in try reader.skip(depth: depth) }
        case UInt8(ascii: "\""): try skipString()
        case UInt8(ascii: "-"), UInt8(ascii: "0")...UInt8(ascii: "9"): try skipNumber()
        default: _ = try value(depth: depth)  // true, false, null, or a failure
        }
    }

    /// Reads an object whose opening brace is next, leaving each value to `visit`, which is told where the name lies, quotes included.
    mutating func members(depth: Int, _ visit: (inout JSONReader, _ name: Range<Int>, _ depth: Int) throws(JSONError) -> Void) throws(JSONError) {
        guard depth <= JSON.maxDepth else { throw failure("nested deeper than \(JSON.maxDepth)") }
        position += 1
        skipSpace()
        if peek(UInt8(ascii: "}")) {
            position += 1
            return
        }
        while true {
            skipSpace()
            guard peek(UInt8(ascii: "\"")) else { throw failure("a member's name is missing") }
            let start = position
            try skipString()
            let name = start..<position
            skipSpace()
            guard peek(UInt8(ascii: ":")) else { throw failure("a colon is missing") }
            position += 1
            skipSpace()
            try visit(&self, name, depth)
            skipSpace()
            if peek(UInt8(ascii: ",")) {
                position += 1
                continue
            }
            guard peek(UInt8(ascii: "}")) else { throw failure("a comma or a closing brace is missing") }
            position += 1
            return
        }
    }

    /// Reads an array whose opening bracket is next, leaving each element to `visit`.
    mutating func elements(depth: Int, _ visit: (inout JSONReader, _ depth: Int) throws(JSONError) -> Void) throws(JSONError) {
        guard depth <= JSON.maxDepth else { throw failure("nested deeper than \(JSON.maxDepth)") }
        position += 1
        skipSpace()
        if peek(UInt8(ascii: "]")) {
            position += 1
            return
        }
        while true {
            skipSpace()
            try visit(&self, depth)
            skipSpace()
            if peek(UInt8(ascii: ",")) {
                position += 1
                continue
            }
            guard peek(UInt8(ascii: "]")) else { throw failure("a comma or a closing bracket is missing") }
            position += 1
            return
        }
    }

    private mutating func skipString() throws(JSONError) {
        position += 1
        while position < bytes.count {
            switch bytes[position] {
            case UInt8(ascii: "\""):
                position += 1
                return
            case UInt8(ascii: "\\"):
                position += 1
                guard position < bytes.count else { throw failure("a string without an end") }
                let escape = bytes[position]
                position += 1
                switch escape {
                case UInt8(ascii: "\""), UInt8(ascii: "\\"), UInt8(ascii: "/"), UInt8(ascii: "b"), UInt8(ascii: "f"), UInt8(ascii: "n"),
                    UInt8(ascii: "r"), UInt8(ascii: "t"):
                    break
                case UInt8(ascii: "u"): _ = try unicodeEscape()
                default: throw failure("an unknown escape")
                }
            case 0..<0x20: throw failure("a control character in a string")
            default: position += 1
            }
        }
        throw failure("a string without an end")
    }

    private mutating func skipNumber() throws(JSONError) {
        // Only the few numbers that may not fit are worth converting.
        let start = position
        let isInteger = try numberShape()
        guard !isInteger || position - start > 18 else { return }
        position = start
        _ = try number()
    }
}
