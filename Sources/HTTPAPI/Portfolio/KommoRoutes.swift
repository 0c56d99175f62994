import CustomerHealth
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
            // Nobody there would read a refusal, and what is refused too often is sent no more: what is wrong is left out and said.
            var faults: [(lead: Int64, fault: Refusal.Field)] = []
            var reports: [LeadReport] = []
            for lead in leads {
                let (changes, wrong) = try CustomerPatch.readable(lead.fields, at: ["leads"])
                faults += wrong.map { (lead.id, $0) }
                reports.append(
                    LeadReport(
                        lead: lead.id,
                        customer: lead.customer,
                        at: lead.updatedAt,
                        isDeleted: lead.isDeleted,
                        isElsewhere: lead.isElsewhere,
                        changes: changes
                    )
                )
            }
            let (created, updated, unchanged) = try await operations.upsertCustomers(reports, tenant)
            return .json {
                $0.field("recebidos", leads.count)
                $0.field("criados", created)
                $0.field("atualizados", updated)
                $0.field("inalterados", unchanged)
                $0.list("erros") { list in
                    for (lead, fault) in faults.prefix(100) {
                        list.object {
                            $0.field("lead_id", lead)
                            $0.field("campo", fault.location.last)
                            $0.field("erro", fault.message)
                        }
                    }
                }
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
