package import Kernel
package import Wire

/// What a seller is by the sales of one month (contracts/vendas.md "Sistema de Gamificação").
package enum Tier: Int, Sendable, CaseIterable, Comparable {
    case bronze, prata, ouro

    package var name: String {
        switch self {
        case .bronze: "bronze"
        case .prata: "prata"
        case .ouro: "ouro"
        }
    }

    package static func < (a: Tier, b: Tier) -> Bool { a.rawValue < b.rawValue }
}

/// How commissions are computed (contracts/vendas.md "Configuração").
package struct CommissionConfig: Sendable, Equatable {
    /// From how many sales a month on somebody is silver, unless they are gold already.
    package static let silverFrom = 6
    package static let maxRecurrence = 120

    /// From how many sales a month on somebody is gold.
    package var salesGoal = 10
    /// By `Tier`.
    package var mrr = [Percentage(5), Percentage(10), Percentage(20)]
    package var setup = [Percentage(15), Percentage(25), Percentage(40)]
    /// Of the first month of commission, the second, and so on; past its end nothing.
    package var recurrence = [30, 20, 10, 10, 10, 10, 10].map { Percentage($0) }
    /// Since when it is as it is; of the contract's defaults, since the business is here.
    package var updatedAt: Timestamp

    package init(since updatedAt: Timestamp = Timestamp(milliseconds: 0)) { self.updatedAt = updatedAt }

    package func tier(sales: Int) -> Tier {
        if sales >= salesGoal { .ouro } else if sales >= Self.silverFrom { .prata } else { .bronze }
    }

    package func mrrShare(_ tier: Tier) -> Percentage { mrr[tier.rawValue] }
    package func setupShare(_ tier: Tier) -> Percentage { setup[tier.rawValue] }

    /// Of the nth month of commission; none of month 0, and none past the table (DESIGN §8).
    package func recurrence(month: Int) -> Percentage { recurrence.indices.contains(month - 1) ? recurrence[month - 1] : .zero }

    package func write(to writer: inout JSONWriter) {
        writer.object {
            $0.field("id", 1)
            $0.field("sales_goal", salesGoal)
            for tier in Tier.allCases { $0.field("mrr_tier\(tier.rawValue + 1)", raw: mrr[tier.rawValue].description) }
            for tier in Tier.allCases { $0.field("setup_tier\(tier.rawValue + 1)", raw: setup[tier.rawValue].description) }
            $0.list("mrr_recurrence") { list in for percentage in recurrence { list.raw(percentage.description) } }
            $0.field("updated_at", updatedAt.wallClock)
        }
    }

    package var json: [UInt8] {
        var writer = JSONWriter()
        write(to: &writer)
        return writer.bytes
    }
}

/// What is changed of it; what is `nil` stays.
package struct CommissionChanges: Sendable {
    package var salesGoal: Int?
    package var mrr: [Percentage?] = [nil, nil, nil]
    package var setup: [Percentage?] = [nil, nil, nil]
    package var recurrence: [Percentage]?

    package init() {}

    package func applied(to config: CommissionConfig) -> CommissionConfig {
        var config = config
        if let salesGoal { config.salesGoal = salesGoal }
        for tier in 0..<3 {
            if let percentage = mrr[tier] { config.mrr[tier] = percentage }
            if let percentage = setup[tier] { config.setup[tier] = percentage }
        }
        if let recurrence { config.recurrence = recurrence }
        return config
    }
}

/// Every configuration there was, each from a month on: a month that is over keeps the one it was computed with.
package struct CommissionPlan: Sendable, Equatable {
    /// By month, ascending. Before the first, the contract's defaults hold.
    package private(set) var versions: [(from: YearMonth, config: CommissionConfig)] = []
    private let defaults: CommissionConfig

    package init(since: Timestamp = Timestamp(milliseconds: 0)) { defaults = CommissionConfig(since: since) }

    package static func == (a: Self, b: Self) -> Bool {
        a.versions.map(\.from) == b.versions.map(\.from) && a.versions.map(\.config) == b.versions.map(\.config)
    }

    package func config(of month: YearMonth) -> CommissionConfig { versions.last { $0.from <= month }?.config ?? defaults }

    /// Holds from `month` on.
    package mutating func put(_ config: CommissionConfig, from month: YearMonth) {
        versions.removeAll { $0.from == month }
        versions.append((month, config))
        versions.sort { $0.from < $1.from }
    }
}
