import CustomerHealth
import HTTPTypes
import Hummingbird
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
            let json = try Request.json(try await request.bytes(upTo: Self.maxListBytes))
            let patches = try CustomerPatch.list(json, now: operations.environment.now())
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
                throw Refusal.invalid([.init(ActivityBatch.header, "deve ter no máximo 200 caracteres", type: "string_too_long")])
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
    }

    private static let idempotencyKey = HTTPField.Name("Idempotency-Key")!
}
