package import Consultores
import Hummingbird
package import Identity
package import Kernel
package import Tenancy
package import Wire

extension API {
    /// Lines of one request, at the most.
    package static let maxImportLines = 500

    func addConsultorImport(to router: Router<APIContext>) {
        router.post("/consultores/import") { request, context -> Response in
            let caller = try await caller(.writeConsultores, .administers, request, context)
            guard let lines = try await request.json()?.array else {
                throw Refusal.invalid([.init(["body"], "deve ser uma lista de consultores", type: "list_type")])
            }
            guard lines.count <= Self.maxImportLines else {
                throw Refusal.invalid([.init(["body"], "no máximo \(Self.maxImportLines) consultores por vez", type: "too_long")])
            }
            let results = try await ConsultorImport(operations: operations, directory: directory).bring(lines, into: caller.tenant)
            return .json { $0.list("items") { for result in results { result.write(to: &$0) } } }
        }
    }
}

/// Reads lines as `POST /consultores/import` takes them, and brings in those that are right.
package struct ConsultorImport: Sendable {
    private let operations: Operations
    private let directory: Directory

    package init(operations: Operations, directory: Directory) {
        self.operations = operations
        self.directory = directory
    }

    package enum LineResult: Sendable {
        case done(ConsultorQueue.ImportOutcome)
        case refused([Refusal.Field])

        /// As the door answers it.
        package var json: JSON {
            var writer = JSONWriter()
            write(to: &writer)
            return (try? JSON.parse(writer.bytes)) ?? .null
        }

        func write(to writer: inout JSONWriter) {
            writer.object {
                switch self {
                case .done(let outcome):
                    switch outcome {
                    case .created(let id): $0.outcome("created", id)
                    case .updated(let id): $0.outcome("updated", id)
                    case .unchanged(let id): $0.outcome("unchanged", id)
                    }
                case .refused(let fields):
                    $0.field("outcome", "refused")
                    $0.list("errors") { list in
                        for field in fields {
                            list.object {
                                $0.field("loc", strings: field.location)
                                $0.field("msg", field.message)
                                $0.field("type", field.type)
                            }
                        }
                    }
                }
            }
        }
    }

    package func bring(_ lines: [JSON], into tenant: TenantID) async throws(Refusal) -> [LineResult] {
        let users = Dictionary(try await directory.users(of: tenant).map { ($0.email, $0) }) { first, _ in first }
        var read: [Result<ConsultorLine, Refusal>] = []
        for line in lines {
            do throws(Refusal) { read.append(.success(try Self.line(line, users))) } catch { read.append(.failure(error)) }
        }
        var outcomes = try await operations.importConsultores(read.compactMap { try? $0.get() }, tenant)[...]
        return read.compactMap { line in
            switch line {
            case .failure(let refusal): return .refused(refusal.fields)
            case .success:
                switch outcomes.popFirst() {
                case .success(let outcome)?: return .done(outcome)
                case .failure(let refusal)?:
                    return .refused(refusal.fields.isEmpty ? [.init(["body"], refusal.message, type: refusal.code)] : refusal.fields)
                case nil: return nil
                }
            }
        }
    }

    private static func line(_ json: JSON, _ users: [String: User]) throws(Refusal) -> ConsultorLine {
        var fields = try RequestFields(json)
        var profile = ConsultorProfile(nome: fields.text("nome", max: 120), idiomas: fields.texts("idiomas", maxCount: 16, maxLength: 16))
        if fields.has("idiomas"), profile.idiomas.isEmpty { fields.refuse("idiomas", "deve ter ao menos um idioma") }
        var changes = ConsultorChanges()
        changes.nome = profile.nome
        changes.idiomas = profile.idiomas
        changes.statusAtivo = fields.optionalBool("status_ativo")
        changes.statusAtivoSequencial = fields.optionalBool("status_ativo_sequencial")
        changes.statusOnline = fields.optionalBool("status_online")
        changes.capacity = fields.optionalInteger("capacity", in: 0...1000).map(Int.init)
        if let pipedrive = fields.optionalInteger("id_pipedrive", in: 1...Int64.max) { changes.idPipedrive = .some(pipedrive) }
        if let email = fields.optionalText("email", min: 1, max: 254) {
            if let user = users[email.lowercased()], user.role.canAttend {
                changes.user = .some(user.id)
            } else {
                fields.refuse("email", "não há usuário que atenda com este e-mail")
            }
        }
        profile.statusAtivo = changes.statusAtivo ?? true
        profile.statusAtivoSequencial = changes.statusAtivoSequencial ?? true
        profile.statusOnline = changes.statusOnline ?? false
        profile.idPipedrive = changes.idPipedrive ?? nil
        profile.user = changes.user ?? nil
        profile.capacity = changes.capacity ?? ConsultorProfile.defaultCapacity
        let id = fields.optionalInteger("id", in: 1...1_000_000_000)
        let attended = fields.optionalTime("ultimo_atendimento")
        try fields.check()
        var line = ConsultorLine(profile: profile, changes: changes)
        line.id = id
        line.ultimoAtendimento = attended
        return line
    }
}

extension JSONWriter {
    fileprivate mutating func outcome(_ outcome: String, _ id: Int64) {
        field("outcome", outcome)
        field("id", id)
    }
}
