import HTTPTypes
import Hummingbird
import Identity
import Integrations
import Kernel
import Tenancy
import Wire

extension API {
    func addKommo(to router: Router<APIContext>) {
        // Kommo signs nothing: what it knows is the address, which carries a secret of ours.
        router.post("/api/webhooks/kommo") { request, context -> Response in
            let tenant = try await kommoTenant(request, context)
            let form = try BracketForm.parse(try await request.bytes(upTo: Request.maxBodyBytes))
            let leads = KommoLead.all(in: form, try await kommoNames(of: tenant))
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
        router.get("/api/v1/kommo/names") { request, context -> Response in
            let principal = try await principal(request, context)
            try principal.requireAdministrator()
            return .json(try await kommoNames(of: principal.tenant).json)
        }
        router.put("/api/v1/kommo/names") { request, context -> Response in
            let principal = try await principal(request, context)
            try principal.requireAdministrator()
            let names = try await operations.putKommoNames(
                try await request.json(),
                over: configuredNames(of: principal.tenant),
                principal.tenant
            )
            return .json(names.json)
        }
    }

    /// As the business has said, else as is configured for the one that configuration is of.
    private func kommoNames(of tenant: TenantID) async throws(Refusal) -> KommoNames {
        try await operations.kommoNames(tenant) ?? configuredNames(of: tenant)
    }

    private func configuredNames(of tenant: TenantID) -> KommoNames { settings.kommo.owner == tenant ? settings.kommo.names : KommoNames() }

    /// By the token of the address: the one that is configured, or a key that a business has made for it.
    private func kommoTenant(_ request: Request, _ context: APIContext) async throws -> TenantID {
        let configured = settings.kommo.token
        if let given = request.query("token") {
            if let configured, let owner = settings.kommo.owner, Secret.isEqual(given, configured) { return owner }
            do throws(Refusal) { return try registeredKey(given, [.tellKommo]).tenant } catch {
                throw error.kind == .unauthenticated ? Self.kommoTokenInvalid : error
            }
        }
        guard configured == nil else { throw Self.kommoTokenInvalid }
        if request.headers[.authorization] == nil, settings.kommo.isOpen, let owner = settings.kommo.owner { return owner }
        return try await administeringPortfolio(request, context)
    }

    private static let kommoTokenInvalid = Refusal(.unauthenticated, "kommo_token_invalid", "Token do webhook do Kommo ausente ou inválido.")
}
