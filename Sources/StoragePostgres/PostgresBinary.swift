import Kernel
import Storage

#if canImport(FoundationEssentials)
    import FoundationEssentials
#else
    import Foundation
#endif

// Postgres's binary formats (src/backend/utils/adt/*send and *recv), all in network byte order:
//
//     uuid         16 bytes
//     int8 …       two's complement
//     timestamptz  int8, microseconds since 2000-01-01T00:00:00Z
//     jsonb        1 (version), then the text
//     numeric      int2 digits, int2 weight, uint2 sign (0x4000 negative), uint2 scale, then the digits to base 10,000
//     array        int4 dimensions, int4 1 when there are nulls, oid of the elements, then for each dimension int4 length, int4 lower bound,
//                  then for each element int4 length (-1 for null) and its bytes

enum OID {
    static let bool: UInt32 = 16
    static let name: UInt32 = 19
    static let int8: UInt32 = 20
    static let int2: UInt32 = 21
    static let int4: UInt32 = 23
    static let text: UInt32 = 25
    static let varchar: UInt32 = 1043
    static let textArray: UInt32 = 1009
    static let timestamptz: UInt32 = 1184
    static let numeric: UInt32 = 1700
    static let uuid: UInt32 = 2950
    static let jsonb: UInt32 = 3802

    static func of(_ kind: Column.Kind) -> UInt32 {
        switch kind {
        case .uuid: uuid
        case .text: text
        case .integer: int8
        case .boolean: bool
        case .timestamp: timestamptz
        case .json: jsonb
        case .textArray: textArray
        case .numeric: numeric
        }
    }

    static func array(of kind: Column.Kind) -> UInt32 {
        switch kind {
        case .uuid: 2951
        case .text, .textArray: textArray
        case .integer: 1016
        case .boolean: 1000
        case .timestamp: 1185
        case .json: 3807
        case .numeric: 1231
        }
    }
}

/// One argument of a statement.
struct PostgresParameter {
    /// 0 lets the server find out.
    let oid: UInt32
    /// `nil` for NULL.
    let bytes: [UInt8]?
}

extension PostgresParameter {
    init(_ value: SQLValue) {
        var writer = BinaryWriter()
        switch value {
        case .null:
            self.init(oid: 0, bytes: nil)
            return
        case .textArray(let texts):
            writer.array(of: OID.text, count: texts.count, hasNulls: false)
            for text in texts { writer.element { $0.put(text) } }
        default: writer.put(value)
        }
        self.init(oid: value.oid, bytes: writer.bytes)
    }

    /// The values of one column, to be taken apart by `unnest`.
    init(column kind: Column.Kind, count: Int, values: () -> some Sequence<SQLValue>) {
        var writer = BinaryWriter()
        writer.bytes.reserveCapacity(count * 24 + 32)
        writer.array(of: kind == .textArray ? OID.text : OID.of(kind), count: count, hasNulls: true)
        for value in values() {
            switch value {
            case .null: writer.put(Int32(-1))
            case .textArray(let texts): writer.element { $0.putArrayText(texts) }
            default: writer.element { $0.put(value) }
            }
        }
        self.init(oid: OID.array(of: kind), bytes: writer.bytes)
    }
}

extension SQLValue {
    fileprivate var oid: UInt32 {
        switch self {
        case .null: 0
        case .uuid: OID.uuid
        case .text: OID.text
        case .integer: OID.int8
        case .boolean: OID.bool
        case .timestamp: OID.timestamptz
        case .json: OID.jsonb
        case .textArray: OID.textArray
        case .numeric: OID.numeric
        }
    }
}

private let millisecondsTo2000: Int64 = 946_684_800_000

struct BinaryWriter {
    var bytes: [UInt8] = []

    mutating func put<Number: FixedWidthInteger>(_ number: Number) { withUnsafeBytes(of: number.bigEndian) { bytes.append(contentsOf: $0) } }

    mutating func array(of element: UInt32, count: Int, hasNulls: Bool) {
        put(Int32(count == 0 ? 0 : 1))
        put(Int32(hasNulls ? 1 : 0))
        put(element)
        guard count > 0 else { return }
        put(Int32(count))
        put(Int32(1))
    }

    mutating func element(_ body: (inout BinaryWriter) -> Void) {
        let start = bytes.count
        put(Int32(0))
        body(&self)
        let length = Int32(bytes.count - start - 4).bigEndian
        withUnsafeBytes(of: length) { source in for offset in 0..<4 { bytes[start + offset] = source[offset] } }
    }

    /// The years 0 to 294,275: what a timestamptz holds ends soon after.
    private static let firstTime: Int64 = -62_167_219_200_000
    private static let lastTime: Int64 = 9_224_286_307_200_000

    mutating func put(_ value: SQLValue) {
        switch value {
        case .null: break
        case .uuid(let id):
            put(id.high)
            put(id.low)
        case .text(let text): put(text)
        case .integer(let number): put(number)
        case .boolean(let flag): bytes.append(flag ? 1 : 0)
        case .timestamp(let time): put((min(max(time.milliseconds, Self.firstTime), Self.lastTime) - millisecondsTo2000) * 1000)
        case .json(let text):
            bytes.append(1)
            putJSON(text)
        case .textArray(let texts): putArrayText(texts)
        case .numeric(let number): putNumeric(number)
        }
    }

    /// No text of Postgres holds a NUL; a row is not refused for one.
    mutating func put(_ text: String) {
        var text = text
        let start = bytes.count
        let hasNUL = text.withUTF8 { utf8 in
            bytes.append(contentsOf: utf8)
            return utf8.contains(0)
        }
        guard hasNUL else { return }
        bytes.removeSubrange(start...)
        bytes.append(contentsOf: text.unicodeScalars.map { $0 == "\0" ? "\u{fffd}" : Character($0) }.reduce(into: "") { $0.append($1) }.utf8)
    }

    /// Nor does jsonb hold one, spelled `\u0000`.
    private mutating func putJSON(_ text: String) {
        guard text.utf8.contains(UInt8(ascii: "\\")), text.contains("\\u0000") else { return put(text) }
        let source = Array(text.utf8)
        let nul = Array("\\u0000".utf8)
        var position = 0
        while position < source.count {
            if source[position] != UInt8(ascii: "\\") {
                bytes.append(source[position])
                position += 1
            } else if source[position...].starts(with: nul) {
                bytes.append(contentsOf: "\\ufffd".utf8)
                position += nul.count
            } else {
                // An escape and what it escapes, so that `\\u0000` stays a backslash and five letters.
                bytes.append(contentsOf: source[position..<min(position + 2, source.count)])
                position += 2
            }
        }
    }

    /// `{"a","b"}`
    mutating func putArrayText(_ texts: [String]) {
        bytes.append(UInt8(ascii: "{"))
        for (number, text) in texts.enumerated() {
            if number > 0 { bytes.append(UInt8(ascii: ",")) }
            bytes.append(UInt8(ascii: "\""))
            let start = bytes.count
            put(text)
            if bytes[start...].contains(where: { $0 == UInt8(ascii: "\"") || $0 == UInt8(ascii: "\\") }) {
                let plain = Array(bytes[start...])
                bytes.removeSubrange(start...)
                for byte in plain {
                    if byte == UInt8(ascii: "\"") || byte == UInt8(ascii: "\\") { bytes.append(UInt8(ascii: "\\")) }
                    bytes.append(byte)
                }
            }
            bytes.append(UInt8(ascii: "\""))
        }
        bytes.append(UInt8(ascii: "}"))
    }

    private mutating func putNumeric(_ number: Decimal) {
        if number.isNaN {
            for word in [0, 0, 0xc000, 0] as [UInt16] { put(word) }
            return
        }
        var text = Substring(number.description)
        let isNegative = text.first == "-"
        if isNegative { text.removeFirst() }
        let parts = text.split(separator: ".", omittingEmptySubsequences: false)
        var whole = String(parts[0])
        var fraction = parts.count > 1 ? String(parts[1]) : ""
        let scale = fraction.count
        // Groups of four digits, counted from the point in both directions.
        whole = String(repeating: "0", count: (4 - whole.count % 4) % 4) + whole
        fraction += String(repeating: "0", count: (4 - fraction.count % 4) % 4)
        var weight = whole.count / 4 - 1
        var digits: [UInt16] = []
        var rest = Substring(whole + fraction)
        while !rest.isEmpty {
            digits.append(UInt16(rest.prefix(4)) ?? 0)
            rest = rest.dropFirst(4)
        }
        while digits.first == 0 {
            digits.removeFirst()
            weight -= 1
        }
        while digits.last == 0 { digits.removeLast() }
        if digits.isEmpty { weight = 0 }
        put(UInt16(digits.count))
        put(Int16(weight))
        put(UInt16(isNegative && !digits.isEmpty ? 0x4000 : 0))
        put(UInt16(scale))
        for digit in digits { put(digit) }
    }
}

struct BinaryReader {
    private var bytes: UnsafeRawBufferPointer.SubSequence

    init(_ bytes: UnsafeRawBufferPointer) { self.bytes = bytes[...] }

    var isAtEnd: Bool { bytes.isEmpty }

    mutating func number<Number: FixedWidthInteger>() -> Number? {
        guard let slice = take(MemoryLayout<Number>.size) else { return nil }
        var number = Number.zero
        withUnsafeMutableBytes(of: &number) { $0.copyBytes(from: slice) }
        return Number(bigEndian: number)
    }

    mutating func take(_ count: Int) -> UnsafeRawBufferPointer.SubSequence? {
        guard count >= 0, bytes.count >= count else { return nil }
        defer { bytes = bytes.dropFirst(count) }
        return bytes.prefix(count)
    }

    mutating func rest() -> String { String(decoding: take(bytes.count) ?? bytes, as: UTF8.self) }

    mutating func textArray() -> [String]? {
        guard let dimensions: Int32 = number(), number() as Int32? != nil, number() as UInt32? != nil else { return nil }
        if dimensions == 0 { return [] }
        guard dimensions == 1, let count: Int32 = number(), number() as Int32? != nil else { return nil }
        var texts: [String] = []
        for _ in 0..<count {
            guard let length: Int32 = number(), let slice = take(Int(length)) else { return nil }
            texts.append(String(decoding: slice, as: UTF8.self))
        }
        return texts
    }

    mutating func numeric() -> Decimal? {
        guard let count: Int16 = number(), let weight: Int16 = number(), let sign: UInt16 = number(), let scale: UInt16 = number() else { return nil }
        guard sign == 0 || sign == 0x4000 else { return Decimal.nan }
        var text = sign == 0x4000 ? "-" : ""
        var digits: [Int16] = []
        for _ in 0..<count {
            guard let digit: Int16 = number() else { return nil }
            digits.append(digit)
        }
        func group(_ position: Int) -> String {
            let value = digits.indices.contains(position) ? Int(digits[position]) : 0
            let plain = String(value)
            return String(repeating: "0", count: 4 - plain.count) + plain
        }
        text += weight < 0 ? "0" : (0...Int(weight)).map(group).joined()
        if scale > 0 {
            let groups = (Int(scale) + 3) / 4
            text += "." + (0..<groups).map { group(Int(weight) + 1 + $0) }.joined().prefix(Int(scale))
        }
        return Decimal(string: text)
    }
}

extension SQLValue {
    /// A field of a result. `nil` when it is not of that kind.
    init?(_ field: UnsafeRawBufferPointer, oid: UInt32, as kind: Column.Kind) {
        var reader = BinaryReader(field)
        switch (kind, oid) {
        case (.uuid, OID.uuid):
            guard let high: UInt64 = reader.number(), let low: UInt64 = reader.number() else { return nil }
            self = .uuid(UniqueID(high: high, low: low))
        case (.text, OID.text), (.text, OID.varchar), (.text, OID.name): self = .text(reader.rest())
        case (.integer, OID.int8):
            guard let number: Int64 = reader.number() else { return nil }
            self = .integer(number)
        case (.integer, OID.int4):
            guard let number: Int32 = reader.number() else { return nil }
            self = .integer(Int64(number))
        case (.integer, OID.int2):
            guard let number: Int16 = reader.number() else { return nil }
            self = .integer(Int64(number))
        case (.integer, OID.numeric):
            // What SUM makes of integers.
            guard let number = reader.numeric(), let whole = Int64(number.description) else { return nil }
            self = .integer(whole)
        case (.boolean, OID.bool):
            guard let byte: UInt8 = reader.number() else { return nil }
            self = .boolean(byte != 0)
        case (.timestamp, OID.timestamptz):
            guard let microseconds: Int64 = reader.number(), microseconds != .min, microseconds != .max else { return nil }
            let (milliseconds, rest) = microseconds.quotientAndRemainder(dividingBy: 1000)
            self = .timestamp(Timestamp(milliseconds: milliseconds - (rest < 0 ? 1 : 0) + millisecondsTo2000))
        case (.json, OID.jsonb):
            guard reader.number() as UInt8? == 1 else { return nil }
            self = .json(reader.rest())
        case (.textArray, OID.textArray):
            guard let texts = reader.textArray() else { return nil }
            self = .textArray(texts)
        case (.numeric, OID.numeric):
            guard let number = reader.numeric() else { return nil }
            self = .numeric(number)
        case (.numeric, OID.int8):
            guard let number: Int64 = reader.number() else { return nil }
            self = .numeric(Decimal(number))
        default: return nil
        }
    }
}
