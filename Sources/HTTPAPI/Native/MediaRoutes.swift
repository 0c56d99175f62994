import Conversations
import HTTPTypes
import Hummingbird
import Integrations
import Kernel
import NIOCore
import Storage
import Tenancy
import Wire

extension API {
    /// Files of a conversation: those customers sent, and those agents send. The visitor of a web chat has those of their own.
    func addMedia(to router: Router<APIContext>) {
        router.get("/api/v1/conversations/:id/messages/:message_id/media") { request, context -> Response in
            let principal = try await anybody(request, context)
            let id: ConversationID = try context.identifier(.conversation)
            _ = try visit(principal, id)
            guard let message = context.parameters.get("message_id").flatMap({ MessageID($0) }) else { throw Refusal.notFound(.message) }
            let file = try await operations.file(of: message, in: id, for: principal)
            guard let reader = await office()?.media.open(file.id, of: principal.tenant) else {
                throw Refusal(.notFound, "media_missing", "O arquivo desta mensagem não está mais no servidor.")
            }
            return try serve(file, reader, request)
        }

        router.post("/api/v1/conversations/:id/media") { request, context -> Response in
            let principal = try await principal(request, context)
            let id: ConversationID = try context.identifier(.conversation)
            guard principal.role.canAttend else { throw Refusal.viewerOnly }
            // Before a hundred megabytes go where nothing is.
            _ = try await operations.conversation(id, for: principal)
            guard let office = office() else { throw Refusal.stopping }
            let file: MediaFiles.ID = environment.moment().id()
            let draft = try await office.media.begin(file, of: principal.tenant)
            let upload: MediaUploadReader.Upload
            do {
                upload = try await MediaUploadReader.read(request, into: draft, media: office.media, maxBytes: office.maxMediaBytes)
                try await draft.keep()
            } catch {
                await draft.discard()
                throw error
            }
            do {
                let command = try upload.command(file)
                let answer = try await operations.act(command, on: id, by: principal)
                // Posted before under the same key: the message has the file it came with then.
                if (try? JSON.parse(answer.json))?["content"]?["file"]?.string != file.description {
                    await office.media.remove(file, of: principal.tenant)
                }
                return .json(answer.json, status: .created)
            } catch let refusal as Refusal {
                // Refused, so no row names the file. Where the journal failed a row may yet come to: those stay.
                if refusal.kind != .unavailable { await office.media.remove(file, of: principal.tenant) }
                throw refusal
            }
        }
    }

    private func office() -> WhatsAppOffice? { settings.whatsapp }

    /// Types that a browser may show by itself. Everything else is a download, whatever it calls itself.
    private static let shown: Set<String> = [
        "image/jpeg", "image/png", "image/gif", "image/webp", "video/mp4", "video/3gpp", "audio/aac", "audio/mp4", "audio/mpeg", "audio/amr",
        "audio/ogg", "application/pdf",
    ]

    func serve(_ file: Operations.MediaFile, _ reader: MediaReader, _ request: Request) throws -> Response {
        let essence = MediaRules.essence(of: file.mimeType)
        let isShown = Self.shown.contains(essence)
        var headers: HTTPFields = [
            .contentType: isShown ? file.mimeType.filter { $0.isASCII && !$0.isNewline } : "application/octet-stream",
            .cacheControl: "private, max-age=86400, immutable",
            .acceptRanges: "bytes",
            .xContentTypeOptions: "nosniff",
            .contentSecurityPolicy: "default-src 'none'; sandbox",
            .contentDisposition: "\(isShown ? "inline" : "attachment"); \(Self.disposition(file.filename))",
        ]
        let tag = file.sha256.map { "\"\($0)\"" }
        if let tag { headers[.eTag] = tag }
        if let tag, request.headers[.ifNoneMatch]?.contains(tag) == true { return Response(status: .notModified, headers: headers) }
        var range: Range<Int64> = 0..<reader.size
        var status = HTTPResponse.Status.ok
        let isRangeValid = request.headers[.ifRange].map { $0 == tag } ?? true
        if let asked = request.headers[.range], isRangeValid {
            switch ByteRange.read(asked, size: reader.size) {
            case .part(let part):
                range = part
                status = .partialContent
                headers[.contentRange] = "bytes \(part.lowerBound)-\(part.upperBound - 1)/\(reader.size)"
            case .unsatisfiable:
                headers[.contentRange] = "bytes */\(reader.size)"
                headers[.contentType] = "application/json; charset=utf-8"
                headers[.contentDisposition] = nil
                let body = Response.refusal(Refusal(.malformed, "range_not_satisfiable", "O intervalo pedido está fora do arquivo.")).body
                return Response(status: .rangeNotSatisfiable, headers: headers, body: body)
            case .whole: break
            }
        }
        let part = range
        let body = ResponseBody(contentLength: Int(part.upperBound - part.lowerBound)) { writer in
            var offset = part.lowerBound
            while offset < part.upperBound {
                let bytes = try await reader.read(Int(min(64 << 10, part.upperBound - offset)), at: offset)
                // Cut short on the disk: the client sees fewer bytes than were promised.
                if bytes.isEmpty { break }
                try await writer.write(ByteBuffer(bytes: bytes))
                offset += Int64(bytes.count)
            }
            try await writer.finish(nil)
        }
        return Response(status: status, headers: headers, body: body)
    }

    /// RFC 6266: the name in ASCII for old clients, and as it is for the others.
    private static func disposition(_ name: String) -> String {
        let plain = String(
            name.unicodeScalars.map { $0.isASCII && $0.value >= 0x20 && $0.value != 0x7f && $0 != "\"" && $0 != "\\" ? Character($0) : "_" }
        )
        let encoded = name.utf8.map { byte -> String in
            let isPlain =
                (UInt8(ascii: "0")...UInt8(ascii: "9")).contains(byte) || (UInt8(ascii: "a")...UInt8(ascii: "z")).contains(byte)
                || (UInt8(ascii: "A")...UInt8(ascii: "Z")).contains(byte) || byte == UInt8(ascii: ".") || byte == UInt8(ascii: "-")
            let digits = String(byte, radix: 16, uppercase: true)
            return isPlain ? String(UnicodeScalar(byte)) : "%" + (digits.count == 1 ? "0" : "") + digits
        }
        return "filename=\"\(plain)\"; filename*=UTF-8''\(encoded.joined())"
    }
}

/// `Range: bytes=…` (RFC 9110 §14). One range; of several, and of what is not understood, nothing is taken and the whole file is given.
enum ByteRange: Equatable {
    case part(Range<Int64>)
    case unsatisfiable
    case whole

    static func read(_ header: String, size: Int64) -> ByteRange {
        guard header.hasPrefix("bytes=") else { return .whole }
        let bounds = header.dropFirst("bytes=".count).split(separator: "-", omittingEmptySubsequences: false)
        guard bounds.count == 2, bounds.allSatisfy({ $0.utf8.allSatisfy { (0x30...0x39).contains($0) } }) else { return .whole }
        if bounds[0].isEmpty {
            guard let suffix = Int64(bounds[1]) else { return .whole }
            return suffix == 0 || size == 0 ? .unsatisfiable : .part(max(0, size - suffix)..<size)
        }
        guard let first = Int64(bounds[0]) else { return .whole }
        guard bounds[1].isEmpty || Int64(bounds[1]) != nil else { return .whole }
        let last = bounds[1].isEmpty ? size - 1 : min(Int64(bounds[1]) ?? 0, size - 1)
        guard bounds[1].isEmpty || (Int64(bounds[1]) ?? 0) >= first else { return .whole }
        return first < size ? .part(first..<last + 1) : .unsatisfiable
    }
}
