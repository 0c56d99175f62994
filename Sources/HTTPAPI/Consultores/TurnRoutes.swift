import Consultores
import HTTPTypes
import Hummingbird
import Identity
import Kernel
import Tenancy
import Wire

// contracts/consultores.md "Distribuição" and "Protocolos". The two GETs that change state stay as they are there, uncached, and have twins by POST; both heed
// `Idempotency-Key` (DESIGN §8).

extension API {
    func addTurns(to router: Router<APIContext>) {
        router.get("/consultor/da-vez") { request, context -> Response in try await takeTurn(request, context) }
        router.post("/consultor/da-vez") { request, context -> Response in try await takeTurn(request, context) }
        router.get("/gerar-protocolo") { request, context -> Response in try await issueProtocol(request, context) }
        router.post("/gerar-protocolo") { request, context -> Response in try await issueProtocol(request, context) }

        router.get("/protocolos") { request, context -> Response in
            let caller = try await caller(.readProtocolos, .anybody, request, context)
            let (json, total) = try await operations.protocols(try filter(request), caller.tenant)
            var response = Response.json(json)
            response.headers[HTTPField.Name("X-Total-Count")!] = String(total)
            return response
        }
        router.get("/protocolo/:id") { request, context -> Response in
            let caller = try await caller(.readProtocolos, .anybody, request, context)
            return .json(try await operations.protocolo(try context.protocolo(), caller.tenant).json)
        }
        router.get("/protocolo/:id/historico") { request, context -> Response in
            let caller = try await caller(.readProtocolos, .anybody, request, context)
            return .json(try await operations.history(ofProtocol: try context.protocolo(), caller.tenant))
        }
        router.put("/protocolo/:id") { request, context -> Response in
            let caller = try await caller(.writeProtocolos, .attends, request, context)
            let id = try context.protocolo()
            var fields = try await request.fields()
            var changes = ProtocoloChanges()
            if fields.has("consultor_id") { changes.consultor = .some(fields.optionalInteger("consultor_id", in: 1...Int64.max)) }
            if fields.has("observacao") { changes.observacao = .some(fields.optionalText("observacao", max: 2000)) }
            // Whoever sends back what they were given changes nothing by it; the number itself is nobody's to choose.
            if let numero = fields.optionalText("numero", max: 32), numero != protocolText(id) {
                fields.refuse("numero", "o número de um protocolo não muda")
            }
            if let other = fields.optionalInteger("id", in: 1...Int64.max), other != id { fields.refuse("id", "o id de um protocolo não muda") }
            try fields.check()
            return .json(try await operations.updateProtocol(id, changes, by: caller.name, caller.tenant))
        }
    }

    private func takeTurn(_ request: Request, _ context: APIContext) async throws -> Response {
        let caller = try await caller(.takeTurns, .administers, request, context)
        var (idioma, location) = (request.query("idioma"), "query")
        if idioma == nil, request.method == .post, var fields = try await optionalFields(request) {
            idioma = fields.optionalText("idioma", min: 1, max: 16)
            try fields.check()
            location = "body"
        }
        guard let idioma else { throw Refusal.invalid([.init([location, "idioma"], "campo obrigatório", type: "missing")]) }
        guard idioma.unicodeScalars.count <= 16, !idioma.utf8.contains(0) else {
            throw Refusal.invalid([.init([location, "idioma"], "deve ter de 1 a 16 caracteres", type: "string_length")])
        }
        let command = try idempotent("da-vez", idioma, caller, request)
        return respond(try await operations.takeTurn(idioma: idioma, command, caller.tenant), context)
    }

    private func issueProtocol(_ request: Request, _ context: APIContext) async throws -> Response {
        let caller = try await caller(.writeProtocolos, .attends, request, context)
        var consultor: Int64?
        if let text = request.query("consultor_id") {
            guard let id = Int64(text), id > 0 else {
                throw Refusal.invalid([.init(["query", "consultor_id"], "deve ser o id de um consultor", type: "int_parsing")])
            }
            consultor = id
        } else if request.method == .post, var fields = try await optionalFields(request) {
            consultor = fields.optionalInteger("consultor_id", in: 1...Int64.max)
            try fields.check()
        }
        let command = try idempotent("gerar-protocolo", consultor.map(String.init) ?? "", caller, request)
        return respond(try await operations.issueProtocol(consultor: consultor, command, caller.tenant), context)
    }

    /// A POST may come without a body.
    private func optionalFields(_ request: Request) async throws -> RequestFields? { try await request.json().map { try RequestFields($0) } }

    private func idempotent(_ name: String, _ asked: String, _ caller: ConsultorCaller, _ request: Request) throws(Refusal) -> IdempotentCommand? {
        guard let key = request.headers[HTTPField.Name("Idempotency-Key")!] else { return nil }
        guard (1...255).contains(key.utf8.count), key.utf8.allSatisfy({ (0x20...0x7e).contains($0) }) else {
            throw .invalid([.init(["header", "Idempotency-Key"], "deve ter de 1 a 255 caracteres ASCII", type: "string_length")])
        }
        return IdempotentCommand(name, key: "\(caller.credential) \(key)", fingerprint: "\(name) \(asked.lowercased())", tenant: caller.tenant)
    }

    private func respond(_ answer: ConsultorQueue.Answer, _ context: APIContext) -> Response {
        if let json = try? JSON.parse(answer.json) {
            if let id = json["consultor_id"]?.int { context.notes.note("consultor_id", id) }
            if let numero = json["numero_protocolo"]?.string { context.notes.note("numero_protocolo", numero) }
        }
        var response = Response.json(answer.json)
        if answer.isRepeated { response.headers[HTTPField.Name("Idempotent-Replayed")!] = "true" }
        return response
    }

    private func filter(_ request: Request) throws(Refusal) -> ProtocoloFilter {
        var filter = ProtocoloFilter()
        var wrong: [Refusal.Field] = []
        func read<Value>(_ name: String, _ message: String, type: String, _ parse: (String) -> Value?) -> Value? {
            guard let text = request.query(name) else { return nil }
            let value = parse(text)
            if value == nil { wrong.append(.init(["query", name], message, type: type)) }
            return value
        }
        filter.consultor = read("consultor_id", "deve ser o id de um consultor", type: "int_parsing") { Int64($0) }
        filter.conversation = read("conversation_id", "deve ser o id de uma conversa", type: "uuid_parsing") { ConversationID($0) }
        filter.numero = read("numero", "deve ser um número de protocolo, como #00001", type: "protocolo_parsing", protocolNumber)
        let when = "deve ser uma data (2026-03-01) ou data e hora em RFC 3339"
        filter.from = read("de", when, type: "datetime_parsing") { Self.day($0) ?? Timestamp(rfc3339: $0) }
        filter.until = read("ate", when, type: "datetime_parsing") { Self.day($0).map { $0 + .seconds(86_400) } ?? Timestamp(rfc3339: $0) }
        filter.text = read("q", "deve ter de 1 a 100 caracteres", type: "string_length") {
            $0.unicodeScalars.count <= 100 && !$0.utf8.contains(0) ? $0 : nil
        }
        filter.isNewestFirst =
            read("ordem", "deve ser asc ou desc", type: "enum") { ["asc": false, "desc": true][$0.lowercased()] } ?? false
        guard wrong.isEmpty else { throw .invalid(wrong) }
        filter.skip = try request.integer("skip", in: 0...ProtocoloFilter.maxSkip, default: 0)
        filter.limit = try request.integer("limit", in: 1...ProtocoloFilter.maxLimit, default: 100)
        return filter
    }

    /// The beginning of a day, in UTC.
    private static func day(_ text: String) -> Timestamp? { text.utf8.count == 10 ? Timestamp(rfc3339: text + "T00:00:00Z") : nil }
}

/// `1`, `00001` and `#00001` are one protocol.
private func protocolNumber(_ text: String) -> Int64? {
    let digits = text.hasPrefix("#") ? text.dropFirst() : Substring(text)
    return Int64(digits).flatMap { $0 > 0 && digits.allSatisfy(\.isNumber) ? $0 : nil }
}

extension APIContext {
    /// The protocol that the path names. What is no number identifies nothing: 404.
    fileprivate func protocolo() throws(Refusal) -> Int64 {
        let text = parameters.get("id").map { String($0) } ?? ""
        guard let id = protocolNumber(text.removingURLPercentEncoding() ?? text) else { throw .notFound(.protocolo) }
        notes.note("numero_protocolo", protocolText(id))
        return id
    }
}
