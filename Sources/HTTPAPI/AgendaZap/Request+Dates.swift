import HTTPTypes
import Hummingbird
import Integrations
import Kernel
import NIOCore
import Scheduling
import Storage
import Tenancy
import Wire

import struct Foundation.Decimal

extension Request {
    func id<Kind>(_ name: String) throws(Refusal) -> Identifier<Kind>? {
        guard let text = query(name) else { return nil }
        guard let id = Identifier<Kind>(text) else { throw .invalid([.init(["query", name], "deve ser um UUID", type: "uuid_parsing")]) }
        return id
    }

    func requiredID<Kind>(_ name: String) throws(Refusal) -> Identifier<Kind> {
        guard let id: Identifier<Kind> = try id(name) else { throw .invalid([.init(["query", name], "campo obrigatório", type: "missing")]) }
        return id
    }

    func flag(_ name: String) throws(Refusal) -> Bool? {
        guard let text = query(name) else { return nil }
        guard let flag = ["true": true, "1": true, "false": false, "0": false][text.lowercased()] else {
            throw .invalid([.init(["query", name], "deve ser true ou false", type: "bool_parsing")])
        }
        return flag
    }

    /// A date such as `2026-03-01`, or an instant, whose date in the zone counts.
    func day(_ name: String, _ zone: Zone) throws(Refusal) -> CivilDay? {
        guard let text = query(name) else { return nil }
        if let day = CivilDay(text) { return day }
        guard let time = Timestamp(rfc3339: text) else {
            throw .invalid([.init(["query", name], "deve ser uma data como 2026-03-01", type: "date_parsing")])
        }
        return zone.day(of: time)
    }

    var idempotencyKey: String? {
        get throws(Refusal) {
            guard let key = headers[HTTPField.Name("Idempotency-Key")!] else { return nil }
            guard (1...128).contains(key.utf8.count) else {
                throw .invalid([.init(["header", "Idempotency-Key"], "deve ter de 1 a 128 caracteres", type: "string_length")])
            }
            return key
        }
    }
}

/// Takes a picture: the body itself, or a form with it under any name of a file (RFC 7578). JPEG, PNG or WebP by its own bytes, whatever it is said to be.
enum ImageUploadReader {
    static let maxBytes = 5 << 20
    private static let types: Set<String> = ["image/jpeg", "image/png", "image/webp"]

    static func read(_ request: Request, into draft: MediaDraft) async throws {
        let type = request.headers[.contentType] ?? ""
        if let length = request.headers[.contentLength].flatMap({ Int($0) }), length > maxBytes + MultipartForm.maxOverhead { throw tooLarge }
        var (size, head): (Int, [UInt8]) = (0, [])
        func take(_ bytes: [UInt8]) async throws {
            size += bytes.count
            guard size <= maxBytes else { throw tooLarge }
            if head.count < 512 { head += bytes.prefix(512 - head.count) }
            try await draft.append(bytes)
        }
        if MediaRules.essence(of: type) == "multipart/form-data" {
            guard let boundary = MultipartForm.boundary(in: type) else { throw noForm }
            var form = MultipartForm(boundary: boundary)
            for try await piece in request.body {
                for event in try form.received(Array(piece.readableBytesView)) { if case .fileBytes(let bytes) = event { try await take(bytes) } }
            }
            guard form.isComplete, form.hadFile else { throw noForm }
        } else {
            for try await piece in request.body { try await take(Array(piece.readableBytesView)) }
        }
        guard let detected = MediaRules.detected(head), types.contains(detected) else {
            throw Refusal.invalid("file", message: "deve ser uma imagem JPEG, PNG ou WebP", type: "media_type")
        }
    }

    private static let tooLarge = Refusal(
        .tooLarge,
        "body_too_large",
        "A imagem passa do limite de \(maxBytes) bytes.",
        facts: ["limit": String(maxBytes)]
    )
    private static let noForm = Refusal(.malformed, "form_invalid", "O formulário não tem um arquivo, ou está incompleto.")
}
