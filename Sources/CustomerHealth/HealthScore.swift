// The health score (contracts/ecosys-ms.md "Health Scores"). The written formulas are the specification; the sample answers are illustrations (DESIGN §8).
//
//     score_engajamento          = (recency of the last access + number of accesses) / 2, at most 1
//     score_movimentacao_estoque = (last entry + number of entries + last exit + number of exits) / 4
//     score_crm                  = (last lead + number of leads) / 2
//     score_adoption             = (eConversa + integrators) / 2
//     score_total                = 0.30 × engagement + 0.30 × stock + 0.20 × CRM + 0.20 × adoption
//
//     categoria: > 0.8 Campeão, > 0.6 Saudável, > 0.3 Normal, else Crítico
//
// Every band is a whole number of twentieths or tenths, so every score is a whole number of its own unit: all is computed in integers, and a score that is
// 0.8 is 0.8 and not a little more. Exactly one access, movement or lead counts in the lowest band.

/// What moves a score, and is counted by day.
package enum ActivityKind: Int, Sendable, CaseIterable {
    case login, entrada, saida, lead
}

/// What a score is computed from.
package struct HealthFacts: Sendable, Equatable {
    /// What the contract says of whom nothing is known.
    package static let never = 9999

    /// In the last 30 days, by `ActivityKind`.
    package var counts = SIMD4<Int32>.zero
    /// Whole days since the last one, by `ActivityKind`; `never` without one.
    package var days = SIMD4<Int32>(repeating: Int32(never))
    package var hasEConversa = false
    package var integrators = 0

    package init() {}

    package func count(_ kind: ActivityKind) -> Int { Int(counts[kind.rawValue]) }
    package func daysSince(_ kind: ActivityKind) -> Int { Int(days[kind.rawValue]) }
}

package enum HealthCategory: UInt8, Sendable, CaseIterable {
    case critico, normal, saudavel, campeao

    package var name: String {
        switch self {
        case .critico: "Crítico"
        case .normal: "Normal"
        case .saudavel: "Saudável"
        case .campeao: "Campeão"
        }
    }

    /// contracts/ecosys-ms.md "Ações Recomendadas por Categoria".
    package var action: (text: String, priority: String) {
        switch self {
        case .critico: ("Ação imediata, risco de churn", "Crítica")
        case .normal: ("Reunião de alinhamento, treinar time", "Alta")
        case .saudavel: ("Monitorar, incentivar uso de features", "Média")
        case .campeao: ("Manter engajamento, buscar upsell", "Baixa")
        }
    }

    /// The highest score that is still below this category, in units of `HealthScore.total`.
    var floor: Int {
        switch self {
        case .critico: 0
        case .normal: 120
        case .saudavel: 240
        case .campeao: 320
        }
    }
}

package struct HealthScore: Sendable, Equatable {
    /// In fortieths.
    package let engagement: UInt8
    /// In fortieths.
    package let stock: UInt8
    /// In twentieths.
    package let crm: UInt8
    /// In quarters.
    package let adoption: UInt8

    package static let totalUnits = 400
    /// In four-hundredths: 3/400 = 0.30/40, 4/400 = 0.20/20, 20/400 = 0.20/4.
    package var total: Int { Int(engagement) * 3 + Int(stock) * 3 + Int(crm) * 4 + Int(adoption) * 20 }
    package var category: HealthCategory { Self.category(total) }

    package static func category(_ total: Int) -> HealthCategory {
        HealthCategory.allCases.last { total > $0.floor } ?? .critico
    }

    package init(_ facts: HealthFacts) {
        engagement = UInt8(min(40, Self.accessRecency(facts.daysSince(.login)) + Self.accessCount(facts.count(.login))))
        stock = UInt8(
            Self.recency(facts.daysSince(.entrada)) + Self.movementCount(facts.count(.entrada)) + Self.recency(facts.daysSince(.saida))
                + Self.movementCount(facts.count(.saida))
        )
        crm = UInt8(Self.recency(facts.daysSince(.lead)) + Self.leadCount(facts.count(.lead)))
        adoption = UInt8((facts.hasEConversa ? 2 : 0) + min(2, facts.integrators))
    }

    /// As it was stored.
    package init(engagement: Int64, stock: Int64, crm: Int64, adoption: Int64) {
        self.engagement = UInt8(clamping: engagement)
        self.stock = UInt8(clamping: stock)
        self.crm = UInt8(clamping: crm)
        self.adoption = UInt8(clamping: adoption)
    }

    // MARK: Bands

    /// In twentieths.
    static func accessRecency(_ days: Int) -> Int {
        switch days {
        case ...3: 20
        case ...7: 18
        case ...14: 12
        case ...30: 4
        default: 0
        }
    }

    /// In twentieths.
    static func accessCount(_ count: Int) -> Int {
        switch count {
        case 76...: 24
        case 41...: 20
        case 26...: 14
        case 12...: 10
        case 7...: 6
        case 1...: 3
        default: 0
        }
    }

    /// In tenths; of movements and of leads.
    static func recency(_ days: Int) -> Int {
        switch days {
        case ...3: 10
        case ...7: 8
        case ...14: 5
        case ...30: 2
        default: 0
        }
    }

    /// In tenths.
    static func movementCount(_ count: Int) -> Int {
        switch count {
        case 51...: 10
        case 31...: 8
        case 16...: 6
        case 6...: 4
        case 1...: 2
        default: 0
        }
    }

    /// In tenths.
    static func leadCount(_ count: Int) -> Int {
        switch count {
        case 31...: 10
        case 21...: 8
        case 11...: 6
        case 6...: 4
        case 1...: 2
        default: 0
        }
    }

    /// After how many days since the last one a score falls without anything happening.
    static let decayDays = [4, 8, 15, 31]
}

extension HealthScore {
    /// A pillar, what it is in a score, and how much of the total that makes, in four-hundredths.
    package enum Pillar: String, Sendable, CaseIterable {
        case engajamento
        case movimentacaoEstoque = "movimentacao_estoque"
        case crm, adoption

        package func value(_ score: HealthScore) -> Double {
            switch self {
            case .engajamento: Double(score.engagement) / 40
            case .movimentacaoEstoque: Double(score.stock) / 40
            case .crm: Double(score.crm) / 20
            case .adoption: Double(score.adoption) / 4
            }
        }

        package func contribution(_ score: HealthScore) -> Int {
            switch self {
            case .engajamento: Int(score.engagement) * 3
            case .movimentacaoEstoque: Int(score.stock) * 3
            case .crm: Int(score.crm) * 4
            case .adoption: Int(score.adoption) * 20
            }
        }
    }
}
