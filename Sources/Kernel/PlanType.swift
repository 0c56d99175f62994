/// What a business has subscribed to (contracts/agendazap.md "Sistema de Planos e Limites"), from the smallest to the largest.
package enum PlanType: String, Sendable, Hashable, CaseIterable, Comparable {
    case free, starter, pro, enterprise

    /// Whatever the case: the contract writes `FREE` in its text and `free` in its examples.
    package init?(_ text: some StringProtocol) { self.init(rawValue: text.lowercased()) }

    package var rank: Int { Self.allCases.firstIndex(of: self) ?? 0 }
    package static func < (a: PlanType, b: PlanType) -> Bool { a.rank < b.rank }
}
