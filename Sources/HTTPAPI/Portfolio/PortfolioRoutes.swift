import CustomerHealth
import HTTPTypes
import Hummingbird
import Integrations
import Kernel
import Tenancy
import Wire

extension API {
    /// A posted list of customers or activities, at the most.
    static let maxListBytes = 16 << 20

    /// What feeds the portfolio, and what there is beyond the contracts (DESIGN §7.1).
    func addPortfolio(to router: Router<APIContext>) {
        // One customer or a list of them, new or known; what is left out of one that is known stays.
        router.post("/clientes") { request, context -> Response in
            let tenant = try await administeringPortfolio(request, context)
            let patches = try CustomerPatch.list(try Request.json(try await request.bytes(upTo: Self.maxListBytes)))
            return .json(try await operations.putCustomers(patches, tenant))
        }
        router.get("/clientes/:id") { request, context -> Response in
            let tenant = try await portfolioTenant(request, context)
            return .json(try await operations.customer(try context.number(.customer), tenant).json)
        }
        // The score at the end of each day: of the days on which it moved, and with `completo=true` of all.
        router.get("/clientes/:id/health") { request, context -> Response in
            let tenant = try await portfolioTenant(request, context)
            let history = try await operations.healthHistory(
                of: try context.number(.customer),
                from: try request.date("inicio"),
                to: try request.date("fim"),
                everyDay: try request.flag("completo") ?? false,
                place: "query",
                tenant
            )
            return .json(history)
        }
        router.get("/clientes/acoes") { request, context -> Response in
            let tenant = try await portfolioTenant(request, context)
            let limit = try request.integer("limit", in: 1...1000, default: 100)
            let state = request.query("estado") ?? "abertas"
            return .json(try await operations.customerActions(state, cs: request.query("cs"), limit: limit, place: "query", tenant))
        }
        router.post("/clientes/acoes/:id/concluir") { request, context -> Response in
            let caller = try await portfolioCaller(request, context)
            guard caller.canAct else { throw Refusal.viewerOnly }
            return .json(try await operations.finishedAction(try context.identifier(.action), by: caller.name, caller.tenant))
        }
        // One activity, a list of them, or one on each line (`application/x-ndjson`), however many lines.
        router.post("/atividades") { request, context -> Response in
            let tenant = try await administeringPortfolio(request, context)
            let key = request.headers[Self.idempotencyKey]
            if let key, key.utf8.count > 200 {
                throw Refusal.invalid([.init(["header", "Idempotency-Key"], "deve ter no máximo 200 caracteres", type: "string_too_long")])
            }
            let type = request.headers[.contentType]?.lowercased() ?? ""
            if type.contains("ndjson") || type.contains("jsonl") {
                var intake = ActivityIntake(operations: operations, tenant: tenant, key: key)
                for try await buffer in request.body { try await intake.take(buffer) }
                try await intake.finish()
                return .json { intake.write(to: &$0) }
            }
            let activities = try Activity.list(try Request.json(try await request.bytes(upTo: Self.maxListBytes)), now: environment.now())
            return .json(try await operations.recordActivities(activities, key: key, tenant))
        }
        // Kommo signs nothing: what it knows is the address, which carries a secret of ours.
        router.post("/api/webhooks/kommo") { request, context -> Response in
            let tenant = try await kommoTenant(request, context)
            let form = try BracketForm.parse(try await request.bytes(upTo: Request.maxBodyBytes))
            let leads = KommoLead.all(in: form, settings.kommo.names)
            let known = try await operations.customers(leads.map(\.customer), tenant)
            // Deliveries overtake one another; what is older than what is known says nothing.
            let patches = leads.compactMap { $0.patch(over: known[$0.customer], now: environment.now()) }
            let (created, updated, unchanged) = try await operations.upsertCustomers(patches, tenant)
            return .json {
                $0.field("recebidos", leads.count)
                $0.field("criados", created)
                $0.field("atualizados", updated)
                $0.field("inalterados", unchanged + leads.count - patches.count)
            }
        }
    }

    private static let idempotencyKey = HTTPField.Name("Idempotency-Key")!

    /// By the token of the address: the one that is configured, or a key that a business has made for it.
    private func kommoTenant(_ request: Request, _ context: APIContext) async throws -> TenantID {
        let configured = settings.kommo.token
        if let given = request.query("token") {
            if let configured, Secret.isEqual(given, configured.value) { return configured.tenant }
            do throws(Refusal) { return try registeredKey(given, [.tellKommo]).tenant } catch {
                throw error.kind == .unauthenticated ? Self.kommoTokenInvalid : error
            }
        }
        if configured == nil, request.headers[.authorization] == nil, let tenant = settings.kommo.openTo { return tenant }
        guard configured == nil else { throw Self.kommoTokenInvalid }
        return try await administeringPortfolio(request, context)
    }

    private static let kommoTokenInvalid = Refusal(.unauthenticated, "kommo_token_invalid", "Token do webhook do Kommo ausente ou inválido.")
}
