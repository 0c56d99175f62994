import HTTPTypes
import Hummingbird
import Identity
import Kernel
import Tenancy

/// contracts/agendazap.md PlanService: what the plans give, how much is used, and the change from one to another.
extension API {
    func addPlans(to router: Router<APIContext>) {
        router.get("/api/users/usage") { request, context -> Response in
            let principal = try await principal(request, context)
            return .json(try await operations.usage(principal.tenant))
        }
        router.get("/api/users/plans") { request, context -> Response in
            .json(try await accounts(context).plans(try await principal(request, context)))
        }
        router.post("/api/users/upgrade-plan") { request, context -> Response in
            let principal = try await principal(request, context)
            return .json(try await accounts(context).upgradePlan(try await request.json(), by: principal))
        }
        // By those who run the server: the owner of the first business.
        router.put("/api/v1/plans/:slug") { request, context -> Response in
            let principal = try await principal(request, context)
            guard principal.role == .owner, principal.tenant == settings.operatorTenant else {
                throw Refusal(.forbidden, "operator_only", "Só quem opera o servidor muda o plano de outras empresas.")
            }
            let plan = try Accounts.wantedPlan(try await request.json())
            guard let tenant = directory.tenant(slug: context.parameters.get("slug") ?? "") else { throw Refusal.notFound(.tenant) }
            return .json(try await accounts(context).changePlan(of: tenant.id, to: plan, by: nil))
        }
    }
}
