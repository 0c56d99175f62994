/// Reads comma-separated values (RFC 4180): quotes around a field, doubled within, may hold separators and the ends of lines. Spreadsheets here separate with `;`, so
/// whichever of the two is the more frequent in the first line counts. A byte order mark is left out, either end of line is one.
package struct CSVRecords {
    package struct Record: Equatable, Sendable {
        /// Where it begins, counted from 1.
        package let line: Int
        package let fields: [String]
    }

    package struct Failure: Error, Equatable, CustomStringConvertible {
        package let line: Int
        package let description: String
    }

    /// Whichever of `;` and `,` is the more frequent in a line of columns' names.
    package static func separator(in head: some Sequence<UInt8>) -> UInt8 {
        var balance = 0
        for byte in head { balance += byte == UInt8(ascii: ";") ? 1 : byte == UInt8(ascii: ",") ? -1 : 0 }
        return UInt8(ascii: balance > 0 ? ";" : ",")
    }

    /// - Parameter known: what stands between fields, where the first line does not say.
    package static func read(_ text: String, separator known: UInt8? = nil) throws(Failure) -> [Record] {
        var bytes = Array(text.utf8)[...]
        if bytes.starts(with: [0xef, 0xbb, 0xbf]) { bytes = bytes.dropFirst(3) }
        let separator = known ?? Self.separator(in: bytes.prefix { $0 != UInt8(ascii: "\n") })
        var records: [Record] = []
        var fields: [String] = []
        var field: [UInt8] = []
        var (line, begun) = (1, 1)
        var isQuoted = false
        var wasQuoted = false
        var position = bytes.startIndex
        func end(of field: [UInt8]) throws(Failure) -> String {
            guard let text = String(validating: field, as: UTF8.self) else {
                throw Failure(line: begun, description: "is not UTF-8; save the file as CSV UTF-8")
            }
            return text
        }
        func isEmpty(_ fields: [String]) -> Bool { fields.allSatisfy { $0.allSatisfy(\.isWhitespace) } }
        while position < bytes.endIndex {
            let byte = bytes[position]
            position += 1
            if isQuoted {
                if byte != UInt8(ascii: "\"") {
                    if byte == UInt8(ascii: "\n") { line += 1 }
                    field.append(byte)
                } else if position < bytes.endIndex, bytes[position] == UInt8(ascii: "\"") {
                    field.append(byte)
                    position += 1
                } else {
                    isQuoted = false
                }
                continue
            }
            switch byte {
            case UInt8(ascii: "\"") where field.isEmpty && !wasQuoted:
                isQuoted = true
                wasQuoted = true
            case separator:
                fields.append(try end(of: field))
                field = []
                wasQuoted = false
            case UInt8(ascii: "\r") where position == bytes.endIndex || bytes[position] == UInt8(ascii: "\n"): break
            case UInt8(ascii: "\n"):
                fields.append(try end(of: field))
                if !isEmpty(fields) { records.append(Record(line: begun, fields: fields)) }
                (fields, field, wasQuoted) = ([], [], false)
                line += 1
                begun = line
            default: field.append(byte)
            }
        }
        guard !isQuoted else { throw Failure(line: begun, description: "a quote is never closed") }
        fields.append(try end(of: field))
        if !isEmpty(fields) { records.append(Record(line: begun, fields: fields)) }
        return records
    }
}
