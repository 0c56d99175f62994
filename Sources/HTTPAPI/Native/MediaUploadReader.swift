import Conversations
import Crypto
import HTTPTypes
import Hummingbird
import Integrations
import Kernel
import NIOCore
import Storage
import Tenancy
import Wire

/// Takes a file that an agent sends: the body itself with `?filename=&caption=&client_message_id=&reply_to=`, or a form with the same fields and the file under
/// `file` (RFC 7578). Written to the disk as it comes, so memory holds one piece of it at a time.
enum MediaUploadReader {
    struct Upload {
        var kind: InboundMedia.Kind
        var mimeType: String
        var size: Int
        var sha256: String
        var filename: String?
        var caption: String?
        var clientMessageID: String?
        var replyTo: MessageID?

        /// The message that sends the file.
        func command(_ file: MediaFiles.ID) throws(Refusal) -> AgentCommand {
            var writer = JSONWriter()
            writer.object {
                $0.field("state", "stored")
                $0.field("file", file.description)
                $0.field("mime_type", mimeType)
                $0.field("size", size)
                $0.field("sha256", sha256)
                $0.field("filename", filename)
                $0.field("caption", caption)
                $0.field("voice", false)
            }
            let label =
                switch kind {
                case .image: "Imagem"
                case .video: "Vídeo"
                case .audio: "Áudio"
                case .document: "Documento"
                case .sticker: "Figurinha"
                }
            let text = (caption ?? filename).map { "[\(label)] \($0)" } ?? "[\(label)]"
            let content = String(decoding: writer.bytes, as: UTF8.self)
            return .send(Outgoing(kind: kind.rawValue, text: text, content: content, replyTo: replyTo), clientMessageID: clientMessageID)
        }
    }

    static func read(_ request: Request, into draft: MediaDraft, media: MediaFiles, maxBytes: Int) async throws -> Upload {
        let type = request.headers[.contentType] ?? ""
        var fields: JSON = .emptyObject
        for name in ["filename", "caption", "client_message_id", "reply_to"] {
            if let value = request.query(name) { fields = fields.adding(name, .string(value)) }
        }
        var sink = Sink(draft: draft, maxBytes: maxBytes)
        var mimeType = type
        if let length = request.headers[.contentLength].flatMap({ Int($0) }), length > maxBytes + MultipartForm.maxOverhead {
            throw tooLarge(maxBytes)
        }
        if MediaRules.essence(of: type) == "multipart/form-data" {
            guard let boundary = MultipartForm.boundary(in: type) else { throw Self.noForm }
            var form = MultipartForm(boundary: boundary)
            for try await piece in request.body {
                for event in try form.received(Array(piece.readableBytesView)) {
                    switch event {
                    case .field(let name, let value): fields = fields.adding(name, .string(value))
                    case .fileBegan(let filename, let contentType):
                        if let filename { fields = fields.adding("filename", .string(filename)) }
                        mimeType = contentType ?? "application/octet-stream"
                    case .fileBytes(let bytes): try await sink.take(bytes)
                    }
                }
            }
            guard form.isComplete, form.hadFile else { throw Self.noForm }
        } else {
            for try await piece in request.body { try await sink.take(Array(piece.readableBytesView)) }
        }
        return try upload(fields, mimeType, sink)
    }

    private static func upload(_ json: JSON, _ mimeType: String, _ sink: Sink) throws(Refusal) -> Upload {
        var fields = try RequestFields(json)
        let filename = fields.optionalText("filename", min: 1, max: 240).map { name in
            // Some clients send the whole path.
            String(name.split(whereSeparator: { $0 == "/" || $0 == "\\" }).last ?? "arquivo")
        }
        let caption = fields.optionalText("caption", min: 1, max: 1024)
        let clientMessageID = fields.optionalText("client_message_id", min: 1, max: 128)
        var replyTo: MessageID?
        if let text = fields.optionalText("reply_to", min: 1, max: 64) {
            replyTo = MessageID(text)
            if replyTo == nil { fields.refuse("reply_to", "deve ser o id de uma mensagem desta conversa", type: "uuid_parsing") }
        }
        if sink.size == 0 { fields.refuse("file", "o arquivo está vazio") }
        let essence = MediaRules.essence(of: mimeType)
        let kind = MediaRules.kind(of: mimeType)
        if let kind, sink.size > 0 {
            if !MediaRules.agrees(sink.head, with: mimeType) {
                fields.refuse("file", "o conteúdo não é do tipo \(essence)", type: "media_type_mismatch")
            } else if sink.size > MediaRules.limit(of: kind) {
                fields.refuse(
                    "file",
                    "o WhatsApp aceita no máximo \(MediaRules.limit(of: kind)) bytes para \(kind.rawValue)",
                    type: "media_too_large"
                )
            }
        } else if kind == nil {
            fields.refuse("file", "o WhatsApp não aceita arquivos do tipo \(essence.isEmpty ? "desconhecido" : essence)", type: "media_type")
        }
        try fields.check()
        return Upload(
            kind: kind ?? .document,
            mimeType: mimeType,
            size: sink.size,
            sha256: sink.digest,
            filename: filename,
            caption: caption,
            clientMessageID: clientMessageID,
            replyTo: replyTo
        )
    }

    private static func tooLarge(_ max: Int) -> Refusal {
        Refusal(.tooLarge, "body_too_large", "O arquivo passa do limite de \(max) bytes.", facts: ["limit": String(max)])
    }

    private static let noForm = Refusal(.malformed, "form_invalid", "O formulário não tem um arquivo em file, ou está incompleto.")

    /// Writes, counts and digests what comes.
    private struct Sink {
        let draft: MediaDraft
        let maxBytes: Int
        var size = 0
        var head: [UInt8] = []
        private var hash = SHA256()

        init(draft: MediaDraft, maxBytes: Int) {
            self.draft = draft
            self.maxBytes = maxBytes
        }

        mutating func take(_ bytes: [UInt8]) async throws {
            size += bytes.count
            guard size <= maxBytes else { throw MediaUploadReader.tooLarge(maxBytes) }
            if head.count < 512 { head += bytes.prefix(512 - head.count) }
            hash.update(data: bytes)
            try await draft.append(bytes)
        }

        var digest: String { hash.finalize().hexadecimal }
    }
}

extension Sequence<UInt8> {
    var hexadecimal: String {
        reduce(into: "") { text, byte in
            let digits = String(byte, radix: 16)
            text += digits.count == 1 ? "0" + digits : digits
        }
    }
}
