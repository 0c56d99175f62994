import Hummingbird
import Kernel
import Resilience
import Tenancy

// contracts/isp-support.md "Circuit Breakers".

extension API {
    func addBreakers(to router: Router<APIContext>) {
        router.get("/circuit-breakers") { request, context -> Response in
            .json(operations.breakers(of: try await principal(request, context).tenant))
        }

        // Who told which breaker what, and why.
        router.get("/circuit-breakers/orders") { request, context -> Response in
            let principal = try await principal(request, context)
            let limit = try request.integer("limit", in: 1...Page.maxSize, default: 50)
            return .json(try await operations.breakerOrders(try request.page(defaultSize: limit), for: principal))
        }

        for action in ["reset", "force-open", "force-closed"] {
            router.post("/circuit-breakers/{name}/\(action)") { request, context -> Response in try await order(action, request, context) }
        }
    }

    /// `{reason}`, which is asked for where something is forced.
    private func order(_ action: String, _ request: Request, _ context: APIContext) async throws -> Response {
        let principal = try await principal(request, context)
        let name = context.parameters.get("name") ?? ""
        let body = try await request.json()
        var fields = try RequestFields(body)
        let order: BreakerOrder
        var reason: String?
        if action == "reset" {
            reason = fields.optionalText("reason", min: 1, max: 500)
            order = .reset
        } else {
            let text = fields.text("reason", max: 500)
            reason = text
            order = .force(.init(isOpen: action == "force-open", by: principal.name, reason: text, at: environment.now()))
        }
        try fields.check()
        let answer = try await operations.order(order, name, reason: reason, by: principal, operatorTenant: settings.operatorTenant)
        return .json(answer)
    }
}
