import Consultores
import HTTPTypes
import Hummingbird
import Identity
import Kernel
import Tenancy
import Wire

extension API {
    /// contracts/consultores.md, at its own paths.
    func addConsultores(to router: Router<APIContext>) {
        router.get("/consultores") { request, context -> Response in
            .json(try await operations.consultores(try await tenantOfConsultores(request, context)))
        }
        router.post("/consultor") { request, context -> Response in
            let tenant = try await administeringConsultores(request, context)
            var fields = try await request.fields()
            var profile = ConsultorProfile(
                nome: fields.text("nome", max: 120),
                idiomas: fields.texts("idiomas", maxCount: 16, maxLength: 16)
            )
            profile.statusAtivo = fields.optionalBool("status_ativo") ?? true
            profile.statusAtivoSequencial = fields.optionalBool("status_ativo_sequencial") ?? true
            profile.statusOnline = fields.optionalBool("status_online") ?? false
            profile.idPipedrive = fields.optionalInteger("id_pipedrive", in: 1...Int64.max)
            profile.user = try await user(&fields, tenant)
            profile.capacity = fields.optionalInteger("capacity", in: 0...1000).map(Int.init) ?? ConsultorProfile.defaultCapacity
            try fields.check()
            return .json(try await operations.addConsultor(profile, tenant), status: .created)
        }
        router.get("/consultor/da-vez") { request, context -> Response in
            let tenant = try await administeringConsultores(request, context)
            guard let idioma = request.query("idioma") else {
                throw Refusal.invalid([.init(["query", "idioma"], "campo obrigatório", type: "missing")])
            }
            let answer = try await operations.takeTurn(idioma: idioma, tenant)
            if let json = try? JSON.parse(answer) {
                context.notes.note("consultor_id", json["consultor_id"]?.int ?? 0)
                context.notes.note("numero_protocolo", json["numero_protocolo"]?.string ?? "")
            }
            return .json(answer)
        }
        router.get("/consultor/:id") { request, context -> Response in
            let tenant = try await tenantOfConsultores(request, context)
            return .json(try await operations.consultor(try context.number(.consultor), tenant))
        }
        router.put("/consultor/:id") { request, context -> Response in
            let tenant = try await administeringConsultores(request, context)
            let id = try context.number(.consultor)
            var fields = try await request.fields()
            var changes = ConsultorChanges()
            changes.nome = fields.optionalText("nome", min: 1, max: 120)
            changes.idiomas = fields.optionalTexts("idiomas", maxCount: 16, maxLength: 16)
            changes.statusAtivo = fields.optionalBool("status_ativo")
            changes.statusAtivoSequencial = fields.optionalBool("status_ativo_sequencial")
            changes.statusOnline = fields.optionalBool("status_online")
            changes.capacity = fields.optionalInteger("capacity", in: 0...1000).map(Int.init)
            if fields.has("id_pipedrive") { changes.idPipedrive = .some(fields.optionalInteger("id_pipedrive", in: 1...Int64.max)) }
            if fields.has("user_id") { changes.user = .some(try await user(&fields, tenant)) }
            try fields.check()
            return .json(try await operations.updateConsultor(id, changes, tenant))
        }
        router.delete("/consultor/:id") { request, context -> Response in
            let tenant = try await administeringConsultores(request, context)
            try await operations.removeConsultor(try context.number(.consultor), tenant)
            return Response(status: .noContent)
        }
        // The end of the wrap-up, before its time is over.
        router.post("/consultor/:id/wrapped-up") { request, context -> Response in
            let id = try context.number(.consultor)
            let tenant = try await ofOneself(id, request, context)
            return .json(try await operations.wrappedUp(id, tenant))
        }
        router.put("/consultor/:id/connection") { request, context -> Response in
            let id = try context.number(.consultor)
            let tenant = try await ofOneself(id, request, context)
            var changes = ConsultorChanges()
            if let text = request.query("status_online") {
                guard let online = ["true": true, "1": true, "false": false, "0": false][text.lowercased()] else {
                    throw Refusal.invalid([.init(["query", "status_online"], "deve ser true ou false", type: "bool_parsing")])
                }
                changes.statusOnline = online
            } else {
                var fields = try await request.fields()
                changes.statusOnline = fields.bool("status_online")
                try fields.check()
            }
            return .json(try await operations.updateConsultor(id, changes, tenant))
        }
    }

    // MARK: Who may

    /// The contract's api-key, or any user of the tenant.
    private func tenantOfConsultores(_ request: Request, _ context: APIContext) async throws -> TenantID {
        if let tenant = try apiKeyTenant(request) {
            try weigh(.tenant(tenant), context)
            return tenant
        }
        return try await principal(request, context).tenant
    }

    private func administeringConsultores(_ request: Request, _ context: APIContext) async throws -> TenantID {
        if let tenant = try apiKeyTenant(request) {
            try weigh(.tenant(tenant), context)
            return tenant
        }
        let principal = try await principal(request, context)
        try principal.requireAdministrator()
        return principal.tenant
    }

    private func ofOneself(_ id: Int64, _ request: Request, _ context: APIContext) async throws -> TenantID {
        if let tenant = try apiKeyTenant(request) {
            try weigh(.tenant(tenant), context)
            return tenant
        }
        let principal = try await principal(request, context)
        if principal.role.canAdminister { return principal.tenant }
        guard principal.role.canAttend, try await operations.consultorID(of: principal.user, principal.tenant) == id else {
            throw Refusal(.forbidden, "not_oneself", "Você só pode mudar o seu próprio estado.")
        }
        return principal.tenant
    }

    private func apiKeyTenant(_ request: Request) throws(Refusal) -> TenantID? {
        guard let given = request.headers[HTTPField.Name("api-key")!] else { return nil }
        guard let key = settings.apiKey, Self.isEqual(given, key.value) else {
            throw Refusal(.unauthenticated, "api_key_invalid", "api-key inválida.")
        }
        return key.tenant
    }

    /// In a time that does not tell how much of it was right.
    static func isEqual(_ a: String, _ b: String) -> Bool {
        let a = Array(a.utf8)
        let b = Array(b.utf8)
        var difference = UInt8(a.count == b.count ? 0 : 1)
        for index in b.indices { difference |= b[index] ^ (index < a.count ? a[index] : 0) }
        return difference == 0
    }

    private func user(_ fields: inout RequestFields, _ tenant: TenantID) async throws(Refusal) -> UserID? {
        guard let text = fields.optionalText("user_id", max: 64) else { return nil }
        guard let id = UserID(text), let user = try await directory.user(tenant, id), user.role.canAttend else {
            fields.refuse("user_id", "não há usuário que atenda com este id")
            return nil
        }
        return id
    }
}
