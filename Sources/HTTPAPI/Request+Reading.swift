import HTTPTypes
import Hummingbird
import Kernel
import NIOCore
import Tenancy
import Wire

extension Request {
    /// `If-Match: "3"` (RFC 9110 §13.1.1): the revision that the caller has seen; `*` is any.
    var seenRevision: Int64? {
        get throws(Refusal) {
            guard let header = headers[.ifMatch], header != "*" else { return nil }
            guard let revision = Int64(header.filter { $0 != "\"" }), revision >= 0 else {
                throw .invalid([.init(["header", "If-Match"], "deve ser a revision que você leu, como \"3\"", type: "int_parsing")])
            }
            return revision
        }
    }

    /// A JSON body, at the most. Larger ones are refused with 413 before they are read.
    static let maxBodyBytes = 1 << 20

    func bytes(upTo max: Int) async throws -> [UInt8] {
        if let length = headers[.contentLength].flatMap({ Int($0) }), length > max { throw Self.tooLarge(max) }
        do {
            let buffer = try await body.collect(upTo: max)
            return Array(buffer.readableBytesView)
        } catch is NIOTooManyBytesError { throw Self.tooLarge(max) }
    }

    private static func tooLarge(_ max: Int) -> Refusal {
        Refusal(.tooLarge, "body_too_large", "O corpo da requisição passa do limite de \(max) bytes.", facts: ["limit": String(max)])
    }

    /// `nil` for an empty body.
    func json() async throws -> JSON? {
        try Self.json(try await bytes(upTo: Self.maxBodyBytes))
    }

    static func json(_ bytes: [UInt8]) throws(Refusal) -> JSON? {
        guard !bytes.isEmpty else { return nil }
        do throws(JSONError) { return try JSON.parse(bytes) } catch {
            throw Refusal.invalid([.init(["body", String(error.offset)], "JSON inválido", type: "json_invalid")])
        }
    }

    func fields() async throws -> RequestFields { try RequestFields(try await json()) }

    /// The fields of a form, urlencoded or multipart, or of JSON, which `curl -d` calls a form as well.
    /// - Parameter names: the fields that there are.
    func formFields(_ names: Set<String>) async throws -> RequestFields {
        let bytes = try await bytes(upTo: Self.maxBodyBytes)
        let type = headers[.contentType]?.lowercased() ?? ""
        guard bytes.first != UInt8(ascii: "{") else { return try RequestFields(try Self.json(bytes)) }
        if type.hasPrefix("application/x-www-form-urlencoded") { return try RequestFields(Self.form(bytes)) }
        guard type.hasPrefix("multipart/form-data"), let boundary = MultipartForm.boundary(in: headers[.contentType] ?? "") else {
            return try RequestFields(try Self.json(bytes))
        }
        return try RequestFields(try MultipartForm.fields(bytes, boundary: boundary, wanted: names))
    }

    /// `a=1&b=two`, as HTML forms send it (WHATWG URL "application/x-www-form-urlencoded").
    static func form(_ bytes: [UInt8]) -> JSON {
        var fields = JSON.emptyObject
        for pair in String(decoding: bytes, as: UTF8.self).split(separator: "&").prefix(100) {
            let parts = pair.split(separator: "=", maxSplits: 1, omittingEmptySubsequences: false)
            fields = fields.adding(decoded(parts[0]), .string(parts.count > 1 ? decoded(parts[1]) : ""))
        }
        return fields
    }

    private static func decoded(_ text: Substring) -> String {
        let spaced = String(text.replacing("+", with: " "))
        return spaced.removingURLPercentEncoding() ?? spaced
    }

    // MARK: Query

    /// One query parameter; an empty one counts as left out. Forms and most clients write a space as `+` (WHATWG URL), which the router leaves alone.
    func query(_ name: String) -> String? {
        guard let pair = uri.query?.split(separator: "&").first(where: { $0 == name || $0.hasPrefix(name + "=") }) else { return nil }
        let value = Self.decoded(pair.dropFirst(name.count + 1))
        return value.isEmpty ? nil : value
    }

    func integer(_ name: String, in range: ClosedRange<Int>, default value: Int) throws(Refusal) -> Int {
        guard let text = query(name) else { return value }
        guard let number = Int(text), range.contains(number) else {
            // As FastAPI names what is wrong.
            let type = Int(text).map { $0 < range.lowerBound ? "greater_than_equal" : "less_than_equal" } ?? "int_parsing"
            throw .invalid([.init(["query", name], "deve ser um inteiro de \(range.lowerBound) a \(range.upperBound)", type: type)])
        }
        return number
    }

    /// `2026-03`; `nil` without one.
    func month(_ name: String = "month") throws(Refusal) -> YearMonth? {
        guard let text = query(name) else { return nil }
        guard let month = YearMonth(text) else {
            throw .invalid([.init(["query", name], "deve ser um mês como 2024-12", type: "month_parsing")])
        }
        guard CivilDate.sane.contains(month.firstDay) else {
            throw .invalid([.init(["query", name], "deve ser um mês de 1970-01 a 2100-12", type: "month_range")])
        }
        return month
    }

    /// `2026-03-01`; `nil` without one.
    func date(_ name: String) throws(Refusal) -> CivilDate? {
        guard let text = query(name) else { return nil }
        guard let date = CivilDate(text) else {
            throw .invalid([.init(["query", name], "deve ser uma data como 2024-03-15", type: "date_parsing")])
        }
        return date
    }

    /// `data_adesao_inicio` and `data_adesao_fim`.
    func adhesionRange() throws(Refusal) -> AdhesionRange {
        let range = AdhesionRange(from: try date("data_adesao_inicio"), to: try date("data_adesao_fim"))
        if let from = range.from, let to = range.to, to < from {
            throw .invalid([.init(["query", "data_adesao_fim"], "não pode ser antes de data_adesao_inicio", type: "date_range")])
        }
        return range
    }

    func page(defaultSize: Int = 50) throws(Refusal) -> Page {
        Page(
            number: try integer("page", in: 1...Page.maxNumber, default: 1),
            size: try integer("per_page", in: 1...Page.maxSize, default: defaultSize)
        )
    }
}

extension API {
    /// Whether a request to a path may go on for as long as it likes: activities, line by line.
    package static func streamsBody(_ path: String) -> Bool { path == "/atividades" || path == "/atividades/" }

    /// The largest body that a route takes, by its path: what asks to send more need not begin (RFC 9110 §10.1.1). A route may still take less.
    package static func bodyLimit(maxMediaBytes: Int) -> @Sendable (_ path: String) -> Int {
        // What surrounds a file in a form is little.
        { path in
            if streamsBody(path) { return .max }
            if path == "/clientes" || path == "/clientes/" { return API.maxListBytes }
            if path.contains("/media") || path.hasSuffix("/images") { return maxMediaBytes + Request.maxBodyBytes }
            return path.hasPrefix("/api/webhooks/") ? API.maxDeliveryBytes : Request.maxBodyBytes
        }
    }
}

extension String {
    /// RFC 3986 §2.1, and only where it gives UTF-8.
    func removingURLPercentEncoding() -> String? {
        var bytes: [UInt8] = []
        var rest = utf8[...]
        while let byte = rest.popFirst() {
            guard byte == UInt8(ascii: "%") else {
                bytes.append(byte)
                continue
            }
            guard let high = rest.popFirst().flatMap({ Character(Unicode.Scalar($0)).hexDigitValue }),
                let low = rest.popFirst().flatMap({ Character(Unicode.Scalar($0)).hexDigitValue })
            else { return nil }
            bytes.append(UInt8(high << 4 | low))
        }
        return String(validating: bytes, as: UTF8.self)
    }
}

extension APIContext {
    /// An id from the path. What is no id identifies nothing: 404.
    func identifier<Kind>(_ thing: Refusal.Thing) throws(Refusal) -> Identifier<Kind> {
        guard let id = parameters.get("id").flatMap({ Identifier<Kind>($0) }) else { throw .notFound(thing) }
        notes.note("\(thing.rawValue)_id", id)
        return id
    }

    func number(_ thing: Refusal.Thing) throws(Refusal) -> Int64 {
        guard let id = parameters.get("id").flatMap({ Int64($0) }) else { throw .notFound(thing) }
        notes.note("\(thing.rawValue)_id", id)
        return id
    }
}
