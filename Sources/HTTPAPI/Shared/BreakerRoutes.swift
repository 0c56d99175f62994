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
            let limit = try request.integer("limit", in: 1...200, default: 50)
            return .json(try await operations.breakerOrders(limit: limit, for: principal))
        }

        router.post("/circuit-breakers/{name}/reset") { request, context -> Response in
            try await order(request, context) { _ in .reset }
        }
        router.post("/circuit-breakers/{name}/force-open") { request, context -> Response in
            try await order(request, context) { .force(try $0(true)) }
        }
        router.post("/circuit-breakers/{name}/force-closed") { request, context -> Response in
            try await order(request, context) { .force(try $0(false)) }
        }
    }

    /// `{reason}` is asked for where something is forced.
    private func order(
        _ request: Request,
        _ context: APIContext,
        _ make: ((Bool) throws -> CircuitBreaker.Force) throws -> BreakerOrder
    ) async throws -> Response {
        let principal = try await principal(request, context)
        let name = context.parameters.get("name") ?? ""
        let body = try await request.json()
        let order = try make { isOpen in
            var fields = try RequestFields(body)
            let reason = fields.text("reason", max: 500)
            try fields.check()
            return CircuitBreaker.Force(isOpen: isOpen, by: principal.name, reason: reason, at: environment.now())
        }
        let isOperator = settings.operatorTenant == principal.tenant
        return .json(try await operations.order(order, name, by: principal, mayForceShared: isOperator))
    }
}
