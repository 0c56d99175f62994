import Kernel
import Wire

// Reads `multipart/form-data` (RFC 7578, RFC 2046 §5.1) as it arrives, without holding the file.
//
//     preamble ──boundary──▶ headers ──blank line──▶ content ──boundary──▶ headers … ──boundary and "--"──▶ complete
//
// A boundary may be split over any number of pieces, so the last bytes of the content, as many as a boundary has, are held back until what follows is known.
// Bounded: the headers of a part, the value of a field, and the number of parts.

struct MultipartForm {
    enum Event: Equatable {
        case field(name: String, value: String)
        case fileBegan(filename: String?, contentType: String?)
        case fileBytes([UInt8])
    }

    static let maxHeaderBytes = 8 << 10
    static let maxFieldBytes = 16 << 10
    static let maxParts = 32
    /// What a form may have beside its file.
    static let maxOverhead = 256 << 10

    private enum Part {
        case preamble
        case headers
        case field(name: String)
        case file
        /// A part that is of no interest.
        case skipped
        case complete
    }

    private let delimiter: [UInt8]
    private var part = Part.preamble
    private var held: [UInt8] = Array("\r\n".utf8)
    private var value: [UInt8] = []
    private var parts = 0
    private(set) var hadFile = false

    /// Of a file that is uploaded.
    static let uploadFields: Set<String> = ["filename", "caption", "client_message_id", "reply_to"]
    private let wanted: Set<String>

    /// - Parameter wanted: the fields that are read; all others are passed over.
    init(boundary: String, wanted: Set<String> = uploadFields) {
        delimiter = Array("\r\n--\(boundary)".utf8)
        self.wanted = wanted
    }

    /// A whole form of these fields, without a file.
    static func fields(_ bytes: [UInt8], boundary: String, wanted: Set<String>) throws(Refusal) -> JSON {
        var form = MultipartForm(boundary: boundary, wanted: wanted)
        var fields = JSON.emptyObject
        for event in try form.received(bytes) { if case .field(let name, let value) = event { fields = fields.adding(name, .string(value)) } }
        guard form.isComplete else { throw .invalid([.init(["body"], "O formulário não está completo", type: "form_invalid")]) }
        return fields
    }

    var isComplete: Bool { if case .complete = part { true } else { false } }

    static func boundary(in contentType: String) -> String? {
        for parameter in contentType.split(separator: ";").dropFirst() {
            let pair = parameter.split(separator: "=", maxSplits: 1).map { $0.trimming(" \t") }
            guard pair.count == 2, pair[0].lowercased() == "boundary" else { continue }
            let boundary = pair[1].trimming("\"")
            return (1...70).contains(boundary.utf8.count) ? boundary : nil
        }
        return nil
    }

    mutating func received(_ bytes: [UInt8]) throws(Refusal) -> [Event] {
        held += bytes
        var events: [Event] = []
        while true {
            switch part {
            case .complete:
                held = []
                return events
            case .headers:
                guard let end = held.firstRange(of: Array("\r\n\r\n".utf8)) else {
                    guard held.count <= Self.maxHeaderBytes else { throw Self.malformed }
                    return events
                }
                let headers = String(decoding: held[..<end.lowerBound], as: UTF8.self)
                held.removeSubrange(..<end.upperBound)
                try begin(headers, &events)
            case .preamble, .field, .file, .skipped:
                guard let found = held.firstRange(of: delimiter) else {
                    // What may be the beginning of a boundary stays.
                    let certain = held.count - min(held.count, delimiter.count - 1)
                    try content(Array(held[..<certain]), &events)
                    held.removeSubrange(..<certain)
                    return events
                }
                // Two bytes more say whether it was the last.
                guard held.count >= found.upperBound + 2 else {
                    try content(Array(held[..<found.lowerBound]), &events)
                    held.removeSubrange(..<found.lowerBound)
                    return events
                }
                try content(Array(held[..<found.lowerBound]), &events)
                if case .field(let name) = part { events.append(.field(name: name, value: String(decoding: value, as: UTF8.self))) }
                let next = held[found.upperBound..<found.upperBound + 2]
                held.removeSubrange(..<(found.upperBound + 2))
                if next.elementsEqual("--".utf8) {
                    part = .complete
                } else if next.elementsEqual("\r\n".utf8) {
                    part = .headers
                    parts += 1
                    guard parts <= Self.maxParts else { throw Self.malformed }
                } else {
                    throw Self.malformed
                }
            }
        }
    }

    private mutating func content(_ bytes: [UInt8], _ events: inout [Event]) throws(Refusal) {
        guard !bytes.isEmpty else { return }
        switch part {
        case .file: events.append(.fileBytes(bytes))
        case .field:
            value += bytes
            guard value.count <= Self.maxFieldBytes else { throw Self.malformed }
        case .preamble, .skipped, .headers, .complete: break
        }
    }

    private mutating func begin(_ headers: String, _ events: inout [Event]) throws(Refusal) {
        var disposition = ""
        var contentType: String?
        for line in headers.split(separator: "\r\n") {
            let pair = line.split(separator: ":", maxSplits: 1)
            guard pair.count == 2 else { continue }
            switch pair[0].lowercased() {
            case "content-disposition": disposition = String(pair[1])
            case "content-type": contentType = pair[1].trimming(" \t")
            default: break
            }
        }
        value = []
        guard let name = Self.parameter("name", of: disposition) else { throw Self.malformed }
        if name == "file" {
            guard !hadFile else { throw Self.malformed }
            hadFile = true
            part = .file
            events.append(.fileBegan(filename: Self.parameter("filename", of: disposition), contentType: contentType))
        } else {
            part = wanted.contains(name) ? .field(name: name) : .skipped
        }
    }

    /// `form-data; name="file"; filename="a \"b\".png"`
    private static func parameter(_ name: String, of disposition: String) -> String? {
        var rest = disposition[...]
        while let semicolon = rest.firstIndex(of: ";") {
            rest = rest[rest.index(after: semicolon)...].drop { $0 == " " || $0 == "\t" }
            guard let equals = rest.firstIndex(of: "=") else { return nil }
            let key = rest[..<equals].lowercased()
            rest = rest[rest.index(after: equals)...]
            var value = ""
            if rest.first == "\"" {
                rest = rest.dropFirst()
                var isEscaped = false
                while let character = rest.popFirst() {
                    if isEscaped {
                        value.append(character)
                        isEscaped = false
                    } else if character == "\\" {
                        isEscaped = true
                    } else if character == "\"" {
                        break
                    } else {
                        value.append(character)
                    }
                }
            } else {
                value = String(rest.prefix { $0 != ";" })
                rest = rest.dropFirst(value.count)
            }
            if key == name { return value }
        }
        return nil
    }

    private static let malformed = Refusal(.malformed, "form_invalid", "O formulário não pode ser lido.")
}

extension StringProtocol {
    fileprivate func trimming(_ characters: String) -> String {
        var text = self[...]
        while let first = text.first, characters.contains(first) { text = text.dropFirst() }
        while let last = text.last, characters.contains(last) { text = text.dropLast() }
        return String(text)
    }
}
