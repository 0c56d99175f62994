import CustomerHealth
import Kernel
import TestSupport
import Testing

/// Golden tables from the text of contracts/ecosys-ms.md "Health Scores".
@Suite struct HealthScoreTests {
    private func facts(_ change: (inout HealthFacts) -> Void) -> HealthScore {
        var facts = HealthFacts()
        change(&facts)
        return HealthScore(facts)
    }

    private func pillar(_ pillar: HealthScore.Pillar, _ change: (inout HealthFacts) -> Void) -> Double { pillar.value(facts(change)) }

    @Test(arguments: [(0, 1.0), (3, 1.0), (4, 0.9), (7, 0.9), (8, 0.6), (14, 0.6), (15, 0.2), (30, 0.2), (31, 0.0), (9999, 0.0)])
    func theLastAccess(_ days: Int, _ score: Double) {
        #expect(pillar(.engajamento) { $0.days[0] = Int32(days) } == score / 2)
    }

    @Test(
        arguments: [
            (0, 0.0), (1, 0.15), (2, 0.15), (6, 0.15), (7, 0.3), (11, 0.3), (12, 0.5), (25, 0.5), (26, 0.7), (40, 0.7), (41, 1.0), (75, 1.0),
            (76, 1.2),
        ]
    )
    func theNumberOfAccesses(_ count: Int, _ score: Double) {
        #expect(pillar(.engajamento) { $0.counts[0] = Int32(count) } == score / 2)
    }

    @Test func engagementIsNeverMoreThanOne() {
        #expect(
            pillar(.engajamento) {
                $0.days[0] = 0
                $0.counts[0] = 76
            } == 1
        )
    }

    @Test(arguments: [(0, 1.0), (3, 1.0), (4, 0.8), (7, 0.8), (8, 0.5), (14, 0.5), (15, 0.2), (30, 0.2), (31, 0.0), (9999, 0.0)])
    func theLastMovementAndTheLastLead(_ days: Int, _ score: Double) {
        #expect(pillar(.movimentacaoEstoque) { $0.days[1] = Int32(days) } == score / 4)
        #expect(pillar(.movimentacaoEstoque) { $0.days[2] = Int32(days) } == score / 4)
        #expect(pillar(.crm) { $0.days[3] = Int32(days) } == score / 2)
    }

    @Test(
        arguments: [(0, 0.0), (1, 0.2), (5, 0.2), (6, 0.4), (15, 0.4), (16, 0.6), (30, 0.6), (31, 0.8), (50, 0.8), (51, 1.0), (1000, 1.0)]
    )
    func theNumberOfMovements(_ count: Int, _ score: Double) {
        #expect(pillar(.movimentacaoEstoque) { $0.counts[1] = Int32(count) } == score / 4)
        #expect(pillar(.movimentacaoEstoque) { $0.counts[2] = Int32(count) } == score / 4)
    }

    @Test(arguments: [(0, 0.0), (1, 0.2), (5, 0.2), (6, 0.4), (10, 0.4), (11, 0.6), (20, 0.6), (21, 0.8), (30, 0.8), (31, 1.0)])
    func theNumberOfLeads(_ count: Int, _ score: Double) { #expect(pillar(.crm) { $0.counts[3] = Int32(count) } == score / 2) }

    @Test(arguments: [(false, 0, 0.0), (false, 1, 0.25), (false, 2, 0.5), (false, 9, 0.5), (true, 0, 0.5), (true, 1, 0.75), (true, 2, 1.0)])
    func adoption(_ hasEConversa: Bool, _ integrators: Int, _ score: Double) {
        #expect(
            pillar(.adoption) {
                $0.hasEConversa = hasEConversa
                $0.integrators = integrators
            } == score
        )
    }

    /// The contract's four worked examples, and what they come to together.
    @Test func theContractsExample() {
        let score = facts {
            $0.counts = SIMD4(45, 120, 110, 25)
            $0.days = SIMD4(2, 1, 1, 3)
            $0.hasEConversa = true
            $0.integrators = 2
        }
        #expect(HealthScore.Pillar.engajamento.value(score) == 1.0)
        #expect(HealthScore.Pillar.movimentacaoEstoque.value(score) == 1.0)
        #expect(HealthScore.Pillar.crm.value(score) == 0.9)
        #expect(HealthScore.Pillar.adoption.value(score) == 1.0)
        #expect(Double(score.total) / 400 == 0.98)
        #expect(score.category == .campeao)
    }

    @Test func ofWhomNothingIsKnownEverythingIsZero() {
        let score = HealthScore(HealthFacts())
        #expect(score.total == 0 && score.category == .critico && HealthFacts().daysSince(.login) == 9999)
    }

    /// A category begins above its limit, not on it.
    @Test(arguments: [
        (0, "Crítico"), (120, "Crítico"), (121, "Normal"), (240, "Normal"), (241, "Saudável"), (320, "Saudável"), (321, "Campeão"), (400, "Campeão"),
    ])
    func categoryEdges(_ total: Int, _ name: String) { #expect(HealthScore.category(total).name == name) }

    /// Against the formulas as they are written, in exact fractions, for every combination of bands.
    @Test func theTotalIsTheWeightedSumOfThePillars() {
        var random = SeededGenerator.fresh()
        for _ in 0..<5000 {
            let score = facts {
                $0.counts = SIMD4((0..<4).map { _ in Int32.random(in: 0...90, using: &random) })
                $0.days = SIMD4((0..<4).map { _ in Int32.random(in: 0...40, using: &random) })
                $0.hasEConversa = Bool.random(using: &random)
                $0.integrators = Int.random(in: 0...3, using: &random)
            }
            let pillars = HealthScore.Pillar.allCases.map { $0.value(score) }
            let total = pillars[0] * 0.30 + pillars[1] * 0.30 + pillars[2] * 0.20 + pillars[3] * 0.20
            #expect(abs(total - Double(score.total) / 400) < 1e-9)
            #expect(pillars.allSatisfy { (0...1).contains($0) })
            #expect(HealthScore.Pillar.allCases.reduce(0) { $0 + $1.contribution(score) } == score.total)
        }
    }
}
