import AsyncHTTPClient
import NIOCore
import NIOHTTP1
import Wire

extension WhatsAppCloudClient: WhatsAppMedia, WhatsAppSignals {
    /// Large files over slow links; what stands still for longer is given up.
    private static let fileTimeout = TimeAmount.seconds(120)

    package func download(
        _ mediaID: String,
        maxBytes: Int,
        credentials: WhatsAppCredentials,
        receive: @Sendable ([UInt8]) async throws -> Void
    ) async -> MediaDownload {
        guard Self.isPlain(mediaID), Self.isUsable(credentials) else { return .impossible("A mídia não tem um identificador válido") }
        do {
            var request = HTTPClientRequest(url: "\(baseAddress)/\(mediaID)?phone_number_id=\(credentials.phoneNumberID)")
            request.headers.add(name: "Authorization", value: "Bearer \(credentials.accessToken)")
            let answer = try await http.execute(request, timeout: .seconds(15))
            let body = Array(try await answer.body.collect(upTo: Self.maxAnswerBytes).readableBytesView)
            guard answer.status == .ok else { return Self.downloadRefused(answer.status, body) }
            guard let json = try? JSON.parse(body), let url = json["url"]?.string, url.hasPrefix("https://") || url.hasPrefix("http://127.0.0.1:")
            else { return .again(reason: "the answer has no address") }
            if let size = json["file_size"]?.int ?? json["file_size"]?.string.flatMap({ Int64($0) }), size > Int64(maxBytes) {
                return .impossible("O arquivo tem \(size) bytes; o limite é \(maxBytes)")
            }
            var file = HTTPClientRequest(url: url)
            file.headers.add(name: "Authorization", value: "Bearer \(credentials.accessToken)")
            // Meta's file servers refuse clients without a name.
            file.headers.add(name: "User-Agent", value: "Plantao")
            let content = try await http.execute(file, timeout: Self.fileTimeout)
            guard content.status == .ok else { return .again(reason: "the file's address answered \(content.status.code)") }
            var received = 0
            for try await piece in content.body {
                received += piece.readableBytes
                guard received <= maxBytes else { return .impossible("O arquivo passa do limite de \(maxBytes) bytes") }
                try await receive(Array(piece.readableBytesView))
            }
            return .done(mimeType: json.optional("mime_type"), sha256: json.optional("sha256"))
        } catch let error as HTTPClientError {
            return .again(reason: error.shortDescription)
        } catch {
            return .again(reason: "\(type(of: error))")
        }
    }

    private static func downloadRefused(_ status: HTTPResponseStatus, _ body: [UInt8]) -> MediaDownload {
        let json: JSON? = try? JSON.parse(WhatsAppText.repaired(body))
        let code = json?["error"]?.optional("code").flatMap { Int($0) }
        if let code, let rule = WhatsAppErrorRule.rule(for: code) {
            // An account that is stopped may be put in order before the id dies.
            return rule.action.isTransient || rule.action == .stopTenant
                ? .again(reason: "error \(code)") : .impossible("A mídia não existe mais no WhatsApp (erro \(code))")
        }
        return status.code >= 500 || status.code == 429 || status.code == 401
            ? .again(reason: "HTTP \(status.code)") : .impossible("A mídia não existe mais no WhatsApp (HTTP \(status.code))")
    }

    package func upload(
        _ file: MediaUploadFile,
        credentials: WhatsAppCredentials,
        read: @escaping @Sendable (Int, Int64) async throws -> [UInt8]
    ) async -> MediaUpload {
        guard Self.isUsable(credentials) else {
            return .refused(code: 190, title: "O WhatsApp não está configurado com um número e um token válidos", action: .stopTenant)
        }
        let boundary = "plantao-7f3a9c51e2d84b06"
        var head = ""
        for (name, value) in [("messaging_product", "whatsapp"), ("type", file.mimeType)] {
            head += "--\(boundary)\r\nContent-Disposition: form-data; name=\"\(name)\"\r\n\r\n\(value)\r\n"
        }
        let filename = String(file.filename.unicodeScalars.map { "\"\\\r\n".unicodeScalars.contains($0) ? "_" : Character($0) })
        head += "--\(boundary)\r\nContent-Disposition: form-data; name=\"file\"; filename=\"\(filename)\"\r\nContent-Type: \(file.mimeType)\r\n\r\n"
        let body = MultipartFile(head: head, size: file.size, tail: "\r\n--\(boundary)--\r\n", read: read)
        var request = HTTPClientRequest(url: "\(baseAddress)/\(credentials.phoneNumberID)/media")
        request.method = .POST
        request.headers.add(name: "Authorization", value: "Bearer \(credentials.accessToken)")
        request.headers.add(name: "Content-Type", value: "multipart/form-data; boundary=\(boundary)")
        request.body = .stream(body, length: .known(body.length))
        do {
            let answer = try await http.execute(request, timeout: Self.fileTimeout)
            let bytes = Array(try await answer.body.collect(upTo: Self.maxAnswerBytes).readableBytesView)
            if answer.status == .ok, let id = (try? JSON.parse(bytes))?.optional("id") { return .uploaded(id: id) }
            switch WhatsAppAnswer.outcome(status: Int(answer.status.code), retryAfter: nil, body: bytes) {
            case .refused(let code, let title, let action): return .refused(code: code, title: title, action: action)
            case .retry(let after, let code, let reason): return .again(after: after, code: code, reason: reason)
            case .sent, .unknown: return .again(after: nil, code: nil, reason: "HTTP \(answer.status.code)")
            }
        } catch let error as HTTPClientError {
            return .again(after: nil, code: nil, reason: error.shortDescription)
        } catch {
            return .again(after: nil, code: nil, reason: "\(type(of: error))")
        }
    }

    package func markRead(_ wamid: String, typing: Bool, credentials: WhatsAppCredentials) async {
        guard Self.isUsable(credentials) else { return }
        var writer = JSONWriter()
        writer.object {
            $0.field("messaging_product", "whatsapp")
            $0.field("status", "read")
            $0.field("message_id", wamid)
            if typing { $0.field("typing_indicator") { $0.field("type", "text") } }
        }
        var request = HTTPClientRequest(url: "\(baseAddress)/\(credentials.phoneNumberID)/messages")
        request.method = .POST
        request.headers.add(name: "Authorization", value: "Bearer \(credentials.accessToken)")
        request.headers.add(name: "Content-Type", value: "application/json")
        request.body = .bytes(ByteBuffer(bytes: writer.bytes))
        guard let answer = try? await http.execute(request, timeout: .seconds(10)) else { return }
        _ = try? await answer.body.collect(upTo: Self.maxAnswerBytes)
    }

    private static func isPlain(_ id: String) -> Bool { !id.isEmpty && id.utf8.allSatisfy { (0x30...0x39).contains($0) } }

    private static func isUsable(_ credentials: WhatsAppCredentials) -> Bool {
        isPlain(credentials.phoneNumberID) && !credentials.accessToken.isEmpty
            && credentials.accessToken.utf8.allSatisfy { (0x21...0x7e).contains($0) }
    }
}

/// A multipart body around one file, read as it goes out.
private struct MultipartFile: AsyncSequence, Sendable {
    let head: String
    let size: Int64
    let tail: String
    let read: @Sendable (Int, Int64) async throws -> [UInt8]

    var length: Int64 { Int64(head.utf8.count) + size + Int64(tail.utf8.count) }

    func makeAsyncIterator() -> Iterator { Iterator(body: self) }

    struct Iterator: AsyncIteratorProtocol {
        let body: MultipartFile
        var offset: Int64 = -1

        mutating func next() async throws -> ByteBuffer? {
            if offset < 0 {
                offset = 0
                return ByteBuffer(string: body.head)
            }
            if offset < body.size {
                let piece = try await body.read(64 << 10, offset)
                guard !piece.isEmpty else { throw UnreadableElement(reason: "the file is shorter than it was") }
                offset += Int64(piece.count)
                return ByteBuffer(bytes: piece)
            }
            if offset == body.size {
                offset += 1
                return ByteBuffer(string: body.tail)
            }
            return nil
        }
    }
}
