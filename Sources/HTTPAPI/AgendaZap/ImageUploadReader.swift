import HTTPTypes
import Hummingbird
import Integrations
import Kernel
import NIOCore
import Storage
import Tenancy

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
