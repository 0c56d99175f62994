package import Kernel
package import Wire

/// The KPIs of contracts/ecosys-ms.md "GET /dashboard", as sums to which each customer adds and from which it can be taken again.
package struct Dashboard: Sendable, Equatable {
    package var ativos = 0
    package var pagantes = 0
    package var onboarding = 0
    package var mrr = Money.zero
    package var churn = Money.zero
    /// Whole days from the beginning to the end of onboarding, of those whom it took at least one.
    package var onboardingDays = 0
    package var onboarded = 0
    /// Active customers by category.
    package var health = SIMD4<Int>.zero

    package init() {}

    /// - Parameter day: what is dated later has not happened.
    package mutating func add(_ customer: Customer, _ category: HealthCategory, on day: CivilDate) { count(customer, category, day, 1) }
    package mutating func remove(_ customer: Customer, _ category: HealthCategory, on day: CivilDate) { count(customer, category, day, -1) }

    private mutating func count(_ customer: Customer, _ category: HealthCategory, _ day: CivilDate, _ sign: Int) {
        if customer.isActive(on: day) {
            ativos += sign
            if customer.valor > .zero { pagantes += sign }
            if customer.pipeline == Customer.Pipeline.onboarding, customer.fimOnboarding == nil { onboarding += sign }
            mrr += customer.valor * sign
            health[Int(category.rawValue)] += sign
        }
        if customer.isChurned(on: day) { churn += customer.valor * sign }
        if let days = Self.onboardingDays(customer) {
            onboardingDays += days * sign
            onboarded += sign
        }
    }

    /// Python's `timedelta.days`; `nil` where it is not known or not at least one.
    package static func onboardingDays(_ customer: Customer) -> Int? {
        guard let start = customer.inicioOnboarding, let end = customer.fimOnboarding, end >= start else { return nil }
        let days = Int((end - start).inMilliseconds / 86_400_000)
        return days > 0 ? days : nil
    }

    /// The contract's `tmo_dias`; 0 without anybody to count.
    package var meanOnboardingDays: Double { onboarded == 0 ? 0 : Double(onboardingDays) / Double(onboarded) }

    package func write(to writer: inout JSONWriter) {
        writer.object {
            $0.field("clientes_ativos", ativos)
            $0.field("clientes_pagantes", pagantes)
            $0.field("clientes_onboarding", onboarding)
            $0.field("mrr_value", raw: mrr.description)
            $0.field("churn_value", raw: churn.description)
            $0.field("tmo_dias", meanOnboardingDays)
            $0.field(
                "clientes_health",
                object: { for category in HealthCategory.allCases { $0.field(category.name, health[Int(category.rawValue)]) } }
            )
        }
    }

    package var json: [UInt8] {
        var writer = JSONWriter()
        write(to: &writer)
        return writer.bytes
    }
}
