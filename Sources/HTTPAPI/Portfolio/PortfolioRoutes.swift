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
            let (created, updated, unchanged) = try await operations.upsertCustomers(patches, tenant)
            return .json {
                $0.field("total", patches.count)
                $0.field("criados", created)
                $0.field("atualizados", updated)
                $0.field("inalterados", unchanged)
            }
        }
        router.get("/clientes/:id") { request, context -> Response in
            let tenant = try await portfolioTenant(request, context)
            return .json(try await operations.customer(try context.number(.customer), tenant).json)
        }
        // The score at the end of each day: of the days on which it moved, and with `completo=true` of all.
        router.get("/clientes/:id/health") { request, context -> Response in
            let tenant = try await portfolioTenant(request, context)
            let id = try context.number(.customer)
            let today = BusinessZone.today(environment.now())
            let to = min(try request.date("fim") ?? today, today)
            let from = try request.date("inicio") ?? to + -90
            guard from <= to, to - from <= 3660 else {
                throw Refusal.invalid([.init(["query", "inicio"], "deve ser até dez anos antes de fim", type: "date_range")])
            }
            let history = try await operations.healthHistory(of: id, from: from, to: to, tenant)
            let everyDay = request.query("completo") == "true"
            return .json { body in
                body.field("tenant_id", id)
                body.field("inicio", from.description)
                body.field("fim", to.description)
                body.list("dias") { list in
                    if everyDay {
                        var place = 0
                        var current: HealthScore?
                        for offset in 0...(to - from) {
                            let day = from + offset
                            while place < history.count, history[place].0 <= day {
                                current = history[place].1
                                place += 1
                            }
                            if let current { Self.write(current, on: day, to: &list) }
                        }
                    } else {
                        // The one before them says only how it was when they began.
                        for (day, score) in history where day >= from { Self.write(score, on: day, to: &list) }
                    }
                }
            }
        }
        router.get("/clientes/acoes") { request, context -> Response in
            let tenant = try await portfolioTenant(request, context)
            let state = request.query("estado") ?? "abertas"
            guard let isOpen = ["abertas": true, "concluidas": false, "todas": nil][state] else {
                throw Refusal.invalid([.init(["query", "estado"], "deve ser abertas, concluidas ou todas", type: "enum")])
            }
            let limit = try request.integer("limit", in: 1...1000, default: 100)
            let actions = try await operations.customerActions(isOpen: isOpen, cs: request.query("cs"), limit: limit, tenant)
            return .json { body in body.list("items") { list in for action in actions { action.write(to: &list) } } }
        }
        router.post("/clientes/acoes/:id/concluir") { request, context -> Response in
            let caller = try await portfolioCaller(request, context)
            guard caller.canAct else { throw Refusal.viewerOnly }
            let action = try await operations.finishAction(try context.identifier(.action), by: caller.name, caller.tenant)
            var writer = JSONWriter()
            action.write(to: &writer)
            return .json(writer.bytes)
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
            let bytes = try await request.bytes(upTo: Self.maxListBytes)
            let activities = try Activity.list(try Request.json(bytes), now: environment.now())
            let recorded = try await operations.record(activities, key: key, digest: key == nil ? "" : Operations.digest(bytes), tenant)
            return .json {
                $0.field("aceitas", recorded)
                $0.field("recusadas", 0)
                $0.list("erros") { _ in }
            }
        }
        // Kommo signs nothing: what it knows is the address, which carries a secret of ours.
        router.post("/api/webhooks/kommo") { request, context -> Response in
            let tenant = try await kommoTenant(request, context)
            let form = try BracketForm.parse(try await request.bytes(upTo: Request.maxBodyBytes))
            let leads = KommoLead.all(in: form, settings.kommo.names)
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
    }

    private static let idempotencyKey = HTTPField.Name("Idempotency-Key")!

    private func kommoTenant(_ request: Request, _ context: APIContext) async throws -> TenantID {
        guard let token = settings.kommo.token else {
            if request.headers[.authorization] == nil, let tenant = settings.kommo.openTo { return tenant }
            return try await administeringPortfolio(request, context)
        }
        guard let given = request.query("token"), Secret.isEqual(given, token.value) else {
            throw Refusal(.unauthenticated, "kommo_token_invalid", "Token do webhook do Kommo ausente ou inválido.")
        }
        return token.tenant
    }

    private static func write(_ score: HealthScore, on day: CivilDate, to writer: inout JSONWriter) {
        writer.object {
            $0.field("data", day.description)
            $0.field("score_total", Double(score.total) / Double(HealthScore.totalUnits))
            $0.field("categoria", score.category.name)
            for pillar in HealthScore.Pillar.allCases { $0.field("score_\(pillar.rawValue)", pillar.value(score)) }
        }
    }
}
