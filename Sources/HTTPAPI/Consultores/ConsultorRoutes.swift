import Consultores
import Hummingbird
import Identity
import Kernel
import Tenancy
import Wire

extension API {
    /// contracts/consultores.md, at its own paths.
    func addConsultores(to router: Router<APIContext>) {
        router.get("/consultores") { request, context -> Response in
            .json(try await operations.consultores(try await caller(.readConsultores, .anybody, request, context).tenant))
        }
        router.post("/consultor") { request, context -> Response in
            let tenant = try await caller(.writeConsultores, .administers, request, context).tenant
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
        router.get("/consultor/:id") { request, context -> Response in
            let tenant = try await caller(.readConsultores, .anybody, request, context).tenant
            return .json(try await operations.consultor(try context.number(.consultor), tenant))
        }
        router.put("/consultor/:id") { request, context -> Response in
            let caller = try await caller(.writeConsultores, .administers, request, context)
            let tenant = caller.tenant
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
            return .json(try await operations.updateConsultor(id, changes, by: caller.author, tenant))
        }
        router.delete("/consultor/:id") { request, context -> Response in
            let tenant = try await caller(.writeConsultores, .administers, request, context).tenant
            try await operations.removeConsultor(try context.number(.consultor), tenant)
            return Response(status: .noContent)
        }
        // The end of the wrap-up, before its time is over.
        router.post("/consultor/:id/wrapped-up") { request, context -> Response in
            let id = try context.number(.consultor)
            return .json(try await operations.wrappedUp(id, try await ofOneself(id, request, context).tenant))
        }
        router.put("/consultor/:id/connection") { request, context -> Response in
            let id = try context.number(.consultor)
            let caller = try await ofOneself(id, request, context)
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
            return .json(try await operations.updateConsultor(id, changes, by: caller.author, caller.tenant))
        }
        addTurns(to: router)
        addConsultorImport(to: router)
    }

    /// Themselves, whoever administers, or a program with a key for it.
    private func ofOneself(_ id: Int64, _ request: Request, _ context: APIContext) async throws -> ConsultorCaller {
        let caller = try await caller(.writeConsultores, .attends, request, context)
        guard let principal = caller.principal, !principal.role.canAdminister else { return caller }
        guard try await operations.consultorID(of: principal.user, principal.tenant) == id else {
            throw Refusal(.forbidden, "not_oneself", "Você só pode mudar o seu próprio estado.")
        }
        return caller
    }

    func user(_ fields: inout RequestFields, _ tenant: TenantID) async throws(Refusal) -> UserID? {
        guard let text = fields.optionalText("user_id", max: 64) else { return nil }
        guard let id = UserID(text), let user = try await directory.user(tenant, id), user.role.canAttend else {
            fields.refuse("user_id", "não há usuário que atenda com este id")
            return nil
        }
        return id
    }
}
