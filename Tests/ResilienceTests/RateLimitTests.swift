import Kernel
import TestSupport
import Testing

@testable import Resilience

@Suite struct RateLimitTests {
    private func at(_ milliseconds: Int64) -> Timestamp { Timestamp(milliseconds: 1_790_000_000_000 + milliseconds) }

    @Test func aBurstPassesAtOnceAndThenOneAnInterval() {
        var limiter = RateLimiter(RateLimit(perSecond: 10, burst: 3))
        #expect((0..<4).map { _ in limiter.take(at: at(0)).allowed } == [1, 1, 1, 0])
        #expect(limiter.take(at: at(99)).allowed == 0)
        #expect(limiter.take(at: at(100)).allowed == 1)
        #expect(limiter.take(at: at(100)).allowed == 0)
    }

    @Test func aDecisionSaysWhatIsLeftWhenToComeBackAndWhenAllIsAsBefore() {
        var limiter = RateLimiter(RateLimit(perSecond: 10, burst: 3))
        #expect(limiter.take(at: at(0)) == .init(allowed: 1, remaining: 2, retryAfter: nil, resetAfter: .milliseconds(100)))
        #expect(limiter.take(2, at: at(0)) == .init(allowed: 2, remaining: 0, retryAfter: nil, resetAfter: .milliseconds(300)))
        #expect(limiter.take(2, at: at(50)) == .init(allowed: 0, remaining: 0, retryAfter: .milliseconds(150), resetAfter: .milliseconds(250)))
        #expect(limiter.take(2, at: at(200)).allowed == 2)
        #expect(limiter.take(4, at: at(10_000)) == .init(allowed: 0, remaining: 3, retryAfter: nil, resetAfter: .zero))
    }

    @Test func asManyAsMayPassArePassed() {
        var limiter = RateLimiter(RateLimit(perSecond: 10, burst: 3))
        #expect(limiter.take(upTo: 5, at: at(0)) == .init(allowed: 3, remaining: 0, retryAfter: .milliseconds(200), resetAfter: .milliseconds(300)))
        #expect(limiter.take(upTo: 5, at: at(200)).allowed == 2)
        #expect(limiter.take(upTo: 1, at: at(200)).allowed == 0)
    }

    @Test func aClockThatIsSetBackHoldsNobodyUpForLongerThanABurst() {
        var limiter = RateLimiter(RateLimit(perSecond: 10, burst: 3))
        _ = limiter.take(3, at: at(3_600_000))
        let refused = limiter.take(at: at(0))
        #expect(refused.allowed == 0 && refused.retryAfter == .milliseconds(100))
        #expect(limiter.take(at: at(100)).allowed == 1)
        #expect(limiter.take(3, at: at(400)).allowed == 3)
    }

    /// The promise itself, over every pair of moments: never more than the burst and what the rate gives for the time between.
    @Test func inNoWindowDoesMorePassThanTheBurstAndTheRate() {
        var random = SeededGenerator.fresh()
        for _ in 0..<100 {
            let limit = RateLimit(perSecond: Int.random(in: 1...5000, using: &random), burst: Int.random(in: 1...50, using: &random))
            var (limiter, shared) = (RateLimiter(limit), SharedRate(limit))
            var passed: [(at: Int64, count: Int)] = []
            var now: Int64 = 0
            for _ in 0..<300 {
                now += Int64.random(in: 0...1, using: &random) * Int64.random(in: 0...40, using: &random)
                let count = Int.random(in: 1...10, using: &random)
                let whole = Bool.random(using: &random)
                let decision = whole ? limiter.take(count, at: at(now)) : limiter.take(upTo: count, at: at(now))
                #expect(decision == (whole ? shared.take(count, at: at(now)) : shared.take(upTo: count, at: at(now))))
                #expect(decision.allowed <= count && (!whole || decision.allowed == 0 || decision.allowed == count))
                // It says the truth about what would pass now, and about when the rest would.
                var (next, later) = (limiter, limiter)
                #expect(next.take(upTo: .max / 2, at: at(now)).allowed == decision.remaining)
                if let wait = decision.retryAfter {
                    let rest = whole ? count : count - decision.allowed
                    let milliseconds = (wait + .nanoseconds(999_999)).inMilliseconds
                    #expect(later.take(rest, at: at(now + milliseconds)).allowed == rest)
                }
                if decision.allowed > 0 { passed.append((now, decision.allowed)) }
            }
            for first in passed.indices {
                var sum = 0
                for last in first..<passed.count {
                    sum += passed[last].count
                    let seconds = Double(passed[last].at - passed[first].at) / 1000
                    #expect(Double(sum) <= Double(limit.burst) + Double(limit.perSecond) * seconds + 1e-6)
                }
            }
        }
    }

    @Test func whoeverComesEvenlyAtTheRateIsNeverRefused() {
        var limiter = RateLimiter(RateLimit(perSecond: 250, burst: 1))
        for tick in 0..<10_000 as Range<Int64> { #expect(limiter.take(at: at(tick * 4)).allowed == 1) }
    }

    @Test func manyThreadsTogetherGetNoMoreThanOneWould() async {
        let rate = SharedRate(RateLimit(perSecond: 1, burst: 10_000))
        let taken = await withTaskGroup(of: Int.self) { group in
            for _ in 0..<8 { group.addTask { (0..<5_000).reduce(0) { sum, _ in sum + rate.take(at: Timestamp(seconds: 5)).allowed } } }
            return await group.reduce(0, +)
        }
        #expect(taken == 10_000)
    }
}

@Suite struct RateTableTests {
    private func at(_ milliseconds: Int64) -> Timestamp { Timestamp(milliseconds: 1_790_000_000_000 + milliseconds) }

    @Test func eachKeyHasAnAllowanceOfItsOwn() {
        var table = RateTable<String>(RateLimit(perSecond: 1, burst: 1))
        #expect(table.rate(of: "a", at: at(0)).take(at: at(0)).allowed == 1)
        #expect(table.rate(of: "a", at: at(0)).take(at: at(0)).allowed == 0)
        #expect(table.rate(of: "b", at: at(0)).take(at: at(0)).allowed == 1)
    }

    @Test func whatIsIdleAndHeldByNobodyIsForgottenWhenRoomIsNeeded() {
        var table = RateTable<Int>(RateLimit(perSecond: 1, burst: 1), maxKeys: 3)
        let held = table.rate(of: 0, at: at(0))
        _ = table.rate(of: 1, at: at(0)).take(at: at(0))
        _ = table.rate(of: 2, at: at(0)).take(at: at(500))
        // All three count: one is held, and two are not as good as new.
        _ = table.rate(of: 3, at: at(900)).take(at: at(900))
        #expect(table.count == 3)
        // A second later 1 is, and is asked for by nobody.
        #expect(table.rate(of: 4, at: at(2000)).take(at: at(2000)).allowed == 1)
        #expect(table.count == 2)
        #expect(table.rate(of: 0, at: at(2000)) === held)
    }

    @Test func thoseOnTopOfTheBoundShareOneAllowance() {
        var table = RateTable<Int>(RateLimit(perSecond: 1, burst: 1), maxKeys: 2)
        let held = [table.rate(of: 0, at: at(0)), table.rate(of: 1, at: at(0))]
        let passed = (2..<1000).reduce(0) { sum, key in sum + table.rate(of: key, at: at(0)).take(at: at(0)).allowed }
        #expect(passed == 1 && table.count == 2 && held.count == 2)
    }
}
