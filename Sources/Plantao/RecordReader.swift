import Foundation
import Kernel
import Storage

/// Reads a file record by record, however large it is: lines; or, of CSV (RFC 4180), what ends outside of quotes, whichever end of line it has.
final class RecordReader {
    struct Record {
        /// Where it begins and ends, counted from 1.
        let line: Int
        let lastLine: Int
        let bytes: [UInt8]
    }

    /// One that is longer has a quote that is not closed.
    private static let maxBytes = 1 << 20

    private let file: FileHandle
    private let path: String
    private var buffer: [UInt8] = []
    private var position = 0
    private var line = 1
    /// What stands between fields, once the columns are known: records are of CSV from then on.
    private(set) var separator: UInt8?
    private(set) var bytesRead = 0

    init?(path: String) {
        guard let file = FileHandle(forReadingAtPath: path) else { return nil }
        self.file = file
        self.path = path
        fill()
        if buffer.starts(with: [0xef, 0xbb, 0xbf]) { position = 3 }
    }

    /// Whether the first thing there is begins an object of JSON.
    var beginsWithBrace: Bool { buffer[position...].first { $0 > 0x20 } == UInt8(ascii: "{") }

    private func fill() {
        buffer.removeFirst(position)
        position = 0
        if let more = try? file.read(upToCount: 1 << 20) { buffer.append(contentsOf: more) }
    }

    private func peek() -> UInt8? {
        if position == buffer.count { fill() }
        return position < buffer.count ? buffer[position] : nil
    }

    /// The first record of CSV, whose separator counts for all of them.
    func nextOfColumns() throws -> Record? {
        separator = CSVRecords.separator(in: buffer[position...].prefix { $0 != UInt8(ascii: "\n") && $0 != UInt8(ascii: "\r") })
        return try next()
    }

    private enum Place { case start, plain, quoted, closing }

    /// - Returns: `nil` after the last.
    func next() throws -> Record? {
        guard peek() != nil else { return nil }
        let first = line
        var bytes: [UInt8] = []
        var place = Place.start
        while let byte = peek() {
            position += 1
            bytesRead += 1
            if byte == UInt8(ascii: "\n") { line += 1 }
            let isWithin = place == .quoted
            if let separator {
                place =
                    switch (place, byte) {
                    case (.quoted, UInt8(ascii: "\"")): .closing
                    case (.quoted, _): .quoted
                    // Doubled, it is one of the text.
                    case (.start, UInt8(ascii: "\"")), (.closing, UInt8(ascii: "\"")): .quoted
                    case (_, separator): .start
                    default: .plain
                    }
            }
            if isWithin {
                guard bytes.count < Self.maxBytes else { throw unclosed(first) }
            } else if byte == UInt8(ascii: "\n") {
                return Record(line: first, lastLine: line - 1, bytes: bytes)
            } else if byte == UInt8(ascii: "\r"), separator != nil {
                if peek() == UInt8(ascii: "\n") { continue }
                line += 1
                return Record(line: first, lastLine: line - 1, bytes: bytes)
            }
            bytes.append(byte)
        }
        if place == .quoted { throw unclosed(first) }
        return Record(line: first, lastLine: line, bytes: bytes)
    }

    private func unclosed(_ line: Int) -> StartupError {
        StartupError("'\(path)': the quote that begins in line \(line) is never closed. Mend it, and import the file with --restart.")
    }
}
