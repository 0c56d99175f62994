import CustomerHealth
import Kernel
import TestSupport
import Testing

@Suite struct CustomerVitalsTests {
    /// Noon in São Paulo.
    private let now = Timestamp(rfc3339: "2026-03-31T15:00:00Z")!
    private func days(_ count: Int) -> Duration { .seconds(count * 86_400) }

    @Test func whatHappenedCountsForThirtyDaysAndThenNoMore() {
        for ago in [0, 1, 29, 30, 31, 32, 400] {
            var vitals = CustomerVitals()
            vitals.happened(.login, at: now - days(ago), now: now)
            let facts = vitals.facts(at: now)
            #expect(facts.count(.login) == (ago <= 30 ? 1 : 0), "\(ago) days ago")
            #expect(facts.daysSince(.login) == ago)
        }
    }

    @Test func theClockAloneMakesItOlder() {
        var vitals = CustomerVitals()
        vitals.happened(.lead, at: now, now: now)
        #expect(vitals.facts(at: now + days(4) - .milliseconds(1)).daysSince(.lead) == 3, "whole days that have passed")
        #expect(vitals.facts(at: now + days(4)).daysSince(.lead) == 4)
        #expect(vitals.facts(at: now + days(30)).count(.lead) == 1)
        #expect(vitals.facts(at: now + days(31)).count(.lead) == 0)
    }

    @Test func whatComesLateIsCountedOnItsDay() {
        var vitals = CustomerVitals()
        vitals.happened(.entrada, at: now, now: now)
        vitals.happened(.entrada, at: now - days(20), now: now)
        #expect(vitals.facts(at: now).count(.entrada) == 2)
        #expect(vitals.facts(at: now).daysSince(.entrada) == 0)
        #expect(vitals.facts(at: now + days(11)).count(.entrada) == 1, "the older one has left the window")
    }

    @Test func whatIsAheadOfOurClockIsNow() {
        var vitals = CustomerVitals()
        vitals.happened(.saida, at: now + days(1), now: now)
        #expect(vitals.facts(at: now).daysSince(.saida) == 0 && vitals.facts(at: now).count(.saida) == 1)
    }

    @Test func theNextDecayIsWhenTheScoreBecomesAnother() {
        var random = SeededGenerator.fresh()
        for _ in 0..<200 {
            var vitals = CustomerVitals()
            for _ in 0..<Int.random(in: 1...60, using: &random) {
                let kind = ActivityKind.allCases.randomElement(using: &random)!
                vitals.happened(kind, at: now - .seconds(Int.random(in: 0...40 * 86_400, using: &random)), now: now)
            }
            var at = now
            // Until nothing decays any more, nothing changes between two looks.
            for _ in 0..<200 {
                let next = vitals.nextDecay(after: at)
                let score = vitals.score(at: at)
                if next == .distantFuture {
                    #expect(vitals.score(at: at + days(60)) == score)
                    break
                }
                #expect(next > at)
                #expect(vitals.score(at: next - .milliseconds(1)) == score)
                for _ in 0..<3 {
                    let between = Timestamp(milliseconds: Int64.random(in: at.milliseconds..<next.milliseconds, using: &random))
                    #expect(vitals.score(at: between) == score)
                }
                at = next
            }
        }
    }

    @Test func whatIsShownStaysUntilItsTime() {
        var random = SeededGenerator.fresh()
        for _ in 0..<500 {
            var vitals = CustomerVitals()
            for _ in 0..<Int.random(in: 0...6, using: &random) {
                vitals.happened(
                    ActivityKind.allCases.randomElement(using: &random)!,
                    at: now - .seconds(Int.random(in: 0...40 * 86_400, using: &random)),
                    now: now
                )
            }
            let until = vitals.shownUntil(after: now)
            #expect(until > now && vitals.facts(at: until - .milliseconds(1)) == vitals.facts(at: now))
        }
    }

    @Test func trendsCompareWithTheEndOfAnEarlierDay() {
        var vitals = CustomerVitals()
        vitals.scored(HealthScore(engagement: 10, stock: 0, crm: 0, adoption: 0), at: now)
        #expect(vitals.total(daysAgo: 0, at: now) == 30 && vitals.total(daysAgo: 1, at: now) == nil)
        vitals.scored(HealthScore(engagement: 20, stock: 0, crm: 0, adoption: 0), at: now + days(10))
        #expect(vitals.total(daysAgo: 1, at: now + days(10)) == 30)
        #expect(vitals.total(daysAgo: 7, at: now + days(16)) == 30 && vitals.total(daysAgo: 7, at: now + days(17)) == 60)
        #expect(vitals.total(daysAgo: 30, at: now + days(39)) == 30 && vitals.total(daysAgo: 31, at: now + days(400)) == 60)
    }
}
