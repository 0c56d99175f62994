import Kernel

#if canImport(FoundationEssentials)
    import FoundationEssentials
#else
    import Foundation
#endif

// How row images lie in the journal while a remote store is owed them.
//
// A block is self-contained: it names its tables and their columns, so that a journal written by one version of the program is read by the next, which may
// have columns more.
//
//     block   := 1 (format) tables rows
//     tables  := varint count, then for each: text name, varint columns, then for each column: text name
//     rows    := varint count, then for each: varint table, varint version (zigzag), byte 0 (values) or 1 (deleted), values
//     value   := byte kind, then its content; text := varint length, UTF-8

enum ImageCodec {
    struct Unreadable: Error, CustomStringConvertible {
        let description: String
    }

    // MARK: Writing

    static func encode(_ images: some Collection<RowImage>) -> [UInt8] {
        var tables: [Kernel.Table: Int] = [:]
        var order: [Kernel.Table] = []
        for image in images where tables[image.table] == nil {
            tables[image.table] = order.count
            order.append(image.table)
        }
        var writer = Writer()
        writer.bytes.reserveCapacity(images.count * 256 + 256)
        writer.bytes.append(1)
        writer.put(UInt64(order.count))
        for table in order {
            writer.put(table.name)
            writer.put(UInt64(table.columns.count - 1))
            for column in table.columns.dropLast() { writer.put(column.name) }
        }
        writer.put(UInt64(images.count))
        for image in images {
            writer.put(UInt64(tables[image.table]!))
            writer.put(signed: image.version)
            switch image.content {
            case .values(let values):
                writer.bytes.append(0)
                for value in values { writer.put(value) }
            case .deleted(let key):
                writer.bytes.append(1)
                for value in key { writer.put(value) }
            }
        }
        return writer.bytes
    }

    private struct Writer {
        var bytes: [UInt8] = []

        mutating func put(_ number: UInt64) {
            var number = number
            while number >= 0x80 {
                bytes.append(UInt8(truncatingIfNeeded: number) | 0x80)
                number >>= 7
            }
            bytes.append(UInt8(number))
        }

        mutating func put(signed number: Int64) { put(UInt64(bitPattern: number << 1 ^ number >> 63)) }

        mutating func put(_ text: String) {
            put(UInt64(text.utf8.count))
            bytes.append(contentsOf: text.utf8)
        }

        mutating func put(_ value: SQLValue) {
            switch value {
            case .null: bytes.append(0)
            case .uuid(let id):
                bytes.append(1)
                withUnsafeBytes(of: (id.high.bigEndian, id.low.bigEndian)) { bytes.append(contentsOf: $0) }
            case .text(let text):
                bytes.append(2)
                put(text)
            case .integer(let number):
                bytes.append(3)
                put(signed: number)
            case .boolean(let flag): bytes.append(flag ? 5 : 4)
            case .timestamp(let time):
                bytes.append(6)
                put(signed: time.milliseconds)
            case .json(let text):
                bytes.append(7)
                put(text)
            case .textArray(let texts):
                bytes.append(8)
                put(UInt64(texts.count))
                for text in texts { put(text) }
            case .numeric(let number):
                bytes.append(9)
                put(number.description)
            }
        }
    }

    // MARK: Reading

    static func decode(_ bytes: [UInt8], _ schema: Schema) throws -> [RowImage] {
        var reader = Reader(bytes: bytes)
        guard try reader.byte() == 1 else { throw Unreadable(description: "a block of an unknown format") }
        var layouts: [(table: Kernel.Table, columns: [Int])] = []
        for _ in 0..<(try reader.count()) {
            let name = try reader.text()
            guard let table = schema.tables.first(where: { $0.name == name }) else {
                throw Unreadable(description: "a table '\(name)' that this program does not know")
            }
            let columns = try (0..<(try reader.count())).map { _ in
                let column = try reader.text()
                guard let position = table.columns.firstIndex(where: { $0.name == column }) else {
                    throw Unreadable(description: "a column '\(name).\(column)' that this program does not know")
                }
                return position
            }
            layouts.append((table, columns))
        }
        let count = try reader.count()
        var images: [RowImage] = []
        images.reserveCapacity(count)
        for _ in 0..<count {
            let index = try reader.count()
            guard layouts.indices.contains(index) else { throw Unreadable(description: "a row of no table") }
            let (table, columns) = layouts[index]
            let version = try reader.signed()
            if try reader.byte() == 0 {
                var values = [SQLValue](repeating: .null, count: table.columns.count - 1)
                for position in columns { values[position] = try reader.value() }
                images.append(RowImage(table, version: version, values: values))
            } else {
                images.append(RowImage(deleting: try table.key.map { _ in try reader.value() }, from: table, version: version))
            }
        }
        return images
    }

    private struct Reader {
        let bytes: [UInt8]
        var position = 0

        mutating func byte() throws -> UInt8 {
            guard position < bytes.count else { throw Unreadable(description: "a block that ends early") }
            defer { position += 1 }
            return bytes[position]
        }

        mutating func number() throws -> UInt64 {
            var (number, shift): (UInt64, UInt64) = (0, 0)
            while true {
                let next = try byte()
                number |= UInt64(next & 0x7f) << shift
                if next < 0x80 { return number }
                shift += 7
                guard shift < 64 else { throw Unreadable(description: "a number without an end") }
            }
        }

        /// A number of things that each take at least a byte, or an index.
        mutating func count() throws -> Int {
            let number = try number()
            guard number <= UInt64(bytes.count) else { throw Unreadable(description: "a block that ends early") }
            return Int(number)
        }

        mutating func signed() throws -> Int64 {
            let number = try number()
            return Int64(bitPattern: number >> 1) ^ -Int64(bitPattern: number & 1)
        }

        mutating func text() throws -> String {
            let length = try count()
            guard position + length <= bytes.count else { throw Unreadable(description: "a block that ends early") }
            defer { position += length }
            return String(decoding: bytes[position..<(position + length)], as: UTF8.self)
        }

        mutating func value() throws -> SQLValue {
            switch try byte() {
            case 0: return .null
            case 1:
                var (high, low): (UInt64, UInt64) = (0, 0)
                for _ in 0..<8 { high = high << 8 | UInt64(try byte()) }
                for _ in 0..<8 { low = low << 8 | UInt64(try byte()) }
                return .uuid(UniqueID(high: high, low: low))
            case 2: return .text(try text())
            case 3: return .integer(try signed())
            case 4: return .boolean(false)
            case 5: return .boolean(true)
            case 6: return .timestamp(Timestamp(milliseconds: try signed()))
            case 7: return .json(try text())
            case 8: return .textArray(try (0..<(try count())).map { _ in try text() })
            case 9:
                guard let number = Decimal(string: try text()) else { throw Unreadable(description: "a number that is none") }
                return .numeric(number)
            case let kind: throw Unreadable(description: "a value of an unknown kind \(kind)")
            }
        }
    }
}
