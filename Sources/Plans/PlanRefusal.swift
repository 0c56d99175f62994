package import Kernel

extension Refusal {
    /// 402: the plan gives no more of something. With all that a program needs to say so, and what would help.
    package static func planLimit(_ denial: Usage.Denial, plan: PlanType, upgradeTo: PlanType?) -> Refusal {
        let way = upgradeTo.map { "Mude para o plano \($0.rawValue.uppercased()) (POST /api/users/upgrade-plan)" }
        let room = denial.resetsAt == nil ? "remova o que não usa mais" : "aguarde o próximo período (\(denial.resetsAt!))"
        var refusal = Refusal(
            .paymentRequired,
            planLimitCode,
            "O plano \(plan.rawValue.uppercased()) permite \(denial.limit) \(denial.resource.inWords), e \(denial.used) já estão em uso. "
                + (way.map { "\($0) ou \(room)." } ?? room.prefix(1).uppercased() + room.dropFirst() + "."),
            facts: ["resource": denial.resource.rawValue, "plan": plan.rawValue]
        )
        // What stands resets never, and of the highest plan there is no higher one.
        for (name, value) in [("resets_at", denial.resetsAt?.description), ("upgrade_to", upgradeTo?.rawValue)] {
            if let value { refusal.facts[name] = value } else { refusal.nulls.append(name) }
        }
        refusal.numbers = ["limit": denial.limit, "used": denial.used]
        return refusal
    }

    package static let planLimitCode = "plan_limit"

    /// The same as the public is told it: the business's plan and its figures are nobody else's affair.
    package var forThePublic: Refusal {
        guard code == Self.planLimitCode else { return self }
        return Refusal(
            .conflict,
            "booking_unavailable",
            "Esta empresa não está aceitando novos agendamentos pela página pública no momento; fale diretamente com ela."
        )
    }
}
