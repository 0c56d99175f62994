import CustomerHealth
import Kernel
import Testing

@Suite struct DashboardTests {
    private static let today = CivilDate("2026-01-20")!

    private func customer(_ id: Int64, _ changes: CustomerChange...) -> Customer {
        var customer = Customer(id: id)
        for change in changes { customer.apply(change) }
        return customer
    }

    private func money(_ text: String) -> Money { Money(decimal: text)! }

    @Test func whoCountsAsWhat() {
        var dashboard = Dashboard()
        let day = Timestamp(wallClock: "2024-03-20")
        dashboard.add(customer(1, .valor(money("1500.00")), .pipeline("CS | ONGOING")), .campeao, on: Self.today)
        dashboard.add(customer(2, .valor(money("0")), .pipeline("CS | ONBOARDING")), .critico, on: Self.today)
        dashboard.add(customer(3, .valor(money("200.10")), .pipeline("CS | ONBOARDING"), .fimOnboarding(day)), .normal, on: Self.today)
        dashboard.add(customer(4, .valor(money("99.90")), .pipeline("CS | BRADESCO")), .saudavel, on: Self.today)
        dashboard.add(customer(5, .valor(money("700")), .pipeline("Churns & Cancelamentos")), .critico, on: Self.today)
        dashboard.add(customer(6, .valor(money("50")), .pipeline("CS | ONGOING"), .dataCancelamento(day)), .campeao, on: Self.today)
        dashboard.add(customer(7, .valor(money("1")), .pipeline("Vendas")), .campeao, on: Self.today)
        dashboard.add(customer(8, .valor(money("1")), .pipeline(nil)), .campeao, on: Self.today)
        #expect(dashboard.ativos == 4 && dashboard.pagantes == 3 && dashboard.onboarding == 1)
        #expect(dashboard.mrr == money("1800.00") && dashboard.churn == money("750"))
        #expect(dashboard.health == SIMD4(1, 1, 1, 1), "in the order Crítico, Normal, Saudável, Campeão, of those who are active")
    }

    /// contracts/ecosys-ms.md "Cálculo do TMO": Python's `.days`, only of both dates, and only of at least one day.
    @Test(
        arguments: [
            ("2024-03-20T00:00:00", "2024-04-25T00:00:00", 36), ("2024-02-28", "2024-03-01", 2), ("2023-02-28", "2023-03-01", 1),
            ("2024-01-01T10:00:00", "2024-01-02T09:59:59", nil), ("2024-01-01T10:00:00", "2024-01-02T10:00:00", 1), ("2024-01-02", "2024-01-01", nil),
            ("2024-01-01", "2024-01-01", nil), ("2024-12-31", "2025-01-01", 1), (nil, "2024-01-01", nil), ("2024-01-01", nil, nil),
        ] as [(String?, String?, Int?)]
    )
    func daysOfOnboarding(_ start: String?, _ end: String?, _ days: Int?) {
        let its = customer(1, .inicioOnboarding(start.flatMap { Timestamp(wallClock: $0) }), .fimOnboarding(end.flatMap { Timestamp(wallClock: $0) }))
        #expect(Dashboard.onboardingDays(its) == days)
    }

    @Test func noDatesAreTooFarApart() {
        for (start, end) in [(Int64.min, Int64.max), (-62_135_510_400_000, .max), (.min, 0)] {
            let its = customer(
                1,
                .inicioOnboarding(Timestamp(milliseconds: start)),
                .fimOnboarding(Timestamp(milliseconds: end)),
                .dataAdesao(Timestamp(milliseconds: end))
            )
            var dashboard = Dashboard()
            dashboard.add(its, .critico, on: Self.today)
            #expect(dashboard.onboardingDays > 719_000)
            #expect(
                its.dayOfAdhesion.map { $0 + .max } ?? CivilDate(days: 0) >= CivilDate(days: 0) && CivilDate(days: .min) - CivilDate(days: .max) < 0
            )
        }
    }

    @Test func theMeanOfNobodyIsZero() {
        var dashboard = Dashboard()
        #expect(dashboard.meanOnboardingDays == 0)
        let start = Timestamp(wallClock: "2024-01-01")
        for (id, end) in [(1, "2024-02-12"), (2, "2024-02-13")] as [(Int64, String)] {
            dashboard.add(customer(id, .inicioOnboarding(start), .fimOnboarding(Timestamp(wallClock: end))), .critico, on: Self.today)
        }
        #expect(dashboard.meanOnboardingDays == 42.5)
        #expect(String(decoding: dashboard.json, as: UTF8.self).contains("\"tmo_dias\":42.5"))
    }

    @Test func theShapeIsTheContracts() {
        #expect(
            String(decoding: Dashboard().json, as: UTF8.self)
                == #"{"clientes_ativos":0,"clientes_pagantes":0,"clientes_onboarding":0,"mrr_value":0.0,"churn_value":0.0,"tmo_dias":0.0,"clientes_health":{"Crítico":0,"Normal":0,"Saudável":0,"Campeão":0}}"#
        )
    }
}
