import HTTPTypes
import Hummingbird
import Identity
import Kernel
import Plans
import Tenancy
import Wire

/// contracts/agendazap.md PlanService: what the plans give, how much is used, and the change from one to another.
extension API {
    func addPlans(to router: Router<APIContext>) {
        router.get("/api/users/usage") { request, context -> Response in
            let principal = try await principal(request, context)
            return .json(try await operations.usage(principal.tenant))
        }
        router.get("/api/users/plans") { request, context -> Response in
            let principal = try await principal(request, context)
            let profile = try await directory.profile(of: principal)
            let changes = try await directory.planChanges(of: principal.tenant)
            return .json { object in
                object.field("plan_type", profile.tenant.plan.rawValue)
                object.field("can_change", settings.ownersChangePlans && profile.user.role == .owner)
                object.list("plans") { list in
                    for plan in PlanType.allCases {
                        list.object {
                            $0.field("plan_type", plan.rawValue)
                            $0.field("is_current", plan == profile.tenant.plan)
                            $0.key("limits")
                            settings.plans[plan].write(to: &$0)
                        }
                    }
                }
                object.list("history") { list in for change in changes { change.write(to: &list) } }
            }
        }
        router.post("/api/users/upgrade-plan") { request, context -> Response in
            let principal = try await principal(request, context)
            guard principal.role == .owner else { throw Refusal(.forbidden, "owner_only", "Só um proprietário muda o plano.") }
            let plan = try await wantedPlan(request)
            guard settings.ownersChangePlans else {
                throw Refusal(.forbidden, "plan_by_operator", "O plano é alterado por quem opera o servidor; peça a mudança a ele.")
            }
            return .json(try await changePlan(of: principal.tenant, to: plan, by: principal))
        }
        // By those who run the server: the owner of the first business.
        router.put("/api/v1/plans/:slug") { request, context -> Response in
            let principal = try await principal(request, context)
            guard principal.role == .owner, principal.tenant == settings.operatorTenant else {
                throw Refusal(.forbidden, "operator_only", "Só quem opera o servidor muda o plano de outras empresas.")
            }
            let plan = try await wantedPlan(request)
            guard let tenant = await directory.tenant(slug: context.parameters.get("slug") ?? "") else { throw Refusal.notFound(.tenant) }
            return .json(try await changePlan(of: tenant.id, to: plan, by: nil))
        }
    }

    private func wantedPlan(_ request: Request) async throws -> PlanType {
        var fields = try await request.fields()
        let text = fields.text("plan_type", max: 32)
        let plan = PlanType(text)
        if plan == nil, !text.isEmpty {
            fields.refuse("plan_type", "deve ser um destes: \(PlanType.allCases.map(\.rawValue).joined(separator: ", "))", type: "enum")
        }
        try fields.check()
        return plan ?? .free
    }

    /// The same plan again changes nothing, and says so.
    private func changePlan(of tenant: TenantID, to plan: PlanType, by principal: Principal?) async throws -> [UInt8] {
        let (business, former, time) = try await directory.changePlan(of: tenant, to: plan, by: principal)
        let isChanged = former != plan
        let usage: [UInt8]
        var over: [String] = []
        if isChanged {
            (usage, over) = try await operations.planChanged(of: tenant, from: former, by: principal?.name ?? "operador", at: time)
        } else {
            usage = try await operations.usage(tenant)
        }
        var writer = JSONWriter(capacity: 2048)
        writer.object {
            $0.field("plan_type", business.plan.rawValue)
            $0.field("previous_plan_type", former.rawValue)
            $0.field("changed", isChanged)
            $0.field("detail", Self.said(former, plan, over))
            $0.field("over_limit", strings: over)
            $0.key("limits")
            settings.plans[plan].write(to: &$0)
            $0.field("usage", raw: usage)
        }
        return writer.bytes
    }

    private static func said(_ former: PlanType, _ plan: PlanType, _ over: [String]) -> String {
        let name = plan.rawValue.uppercased()
        if former == plan { return "A empresa já está no plano \(name)." }
        let change = "A empresa passou do plano \(former.rawValue.uppercased()) para o \(name); os novos limites já valem."
        return over.isEmpty ? change : change + " Nada foi removido, mas não se cria mais nada do que está acima do limite."
    }
}

extension PlanChange {
    /// `{from, to, changed_at, changed_by}`
    fileprivate func write(to writer: inout JSONWriter) {
        writer.object {
            $0.field("from", from.rawValue)
            $0.field("to", to.rawValue)
            $0.field("changed_at", at.description)
            $0.field("changed_by", by)
        }
    }
}
