import Kernel
import Resilience
import TestSupport
import Testing

@Suite struct BreakerRateTests {
    private let start = Timestamp(seconds: 10_000)
    private var breaker = CircuitBreaker(
        .init(
            trip: .rate(.init(window: .seconds(10), minimumCalls: 10, failurePercent: 50, slowAfter: .seconds(5), slowPercent: 80)),
            openFor: .seconds(30)
        )
    )

    private mutating func call(_ count: Int, fails: Bool, took: Duration = .zero, at now: Timestamp) {
        for _ in 0..<count {
            guard case .allowed(let generation) = breaker.callRequested(at: now) else { continue }
            breaker.callEnded(generation, fails ? .failed : .succeeded, took: took, jitter: 0, at: now)
        }
    }

    @Test mutating func tooFewCallsSayNothing() {
        call(9, fails: true, at: start)
        #expect(breaker.state == .closed)
        call(1, fails: true, at: start)
        #expect(breaker.state == .open)
        #expect(breaker.cause == .failures)
    }

    @Test mutating func halfOfThemOpenItAndFewerDoNot() {
        call(11, fails: false, at: start)
        call(10, fails: true, at: start)
        #expect(breaker.state == .closed)
        call(1, fails: true, at: start)
        #expect(breaker.state == .open)
    }

    @Test mutating func whatIsOlderThanTheWindowIsForgotten() {
        call(9, fails: true, at: start)
        call(9, fails: true, at: start + .seconds(11))
        #expect(breaker.state == .closed)
    }

    @Test mutating func slowCallsOpenItThoughTheySucceed() {
        call(2, fails: false, at: start)
        call(8, fails: false, took: .seconds(6), at: start)
        #expect(breaker.state == .open)
        #expect(breaker.cause == .slow)
    }
}

@Suite struct BreakerOrderTests {
    private let start = Timestamp(seconds: 10_000)
    private var breaker = CircuitBreaker(.init(failureThreshold: 1, openFor: .seconds(30)))

    private mutating func failOnce(at now: Timestamp) {
        guard case .allowed(let generation) = breaker.callRequested(at: now) else {
            Issue.record("not let through")
            return
        }
        breaker.callFailed(generation, at: now)
    }
    private func wait(_ admission: CircuitBreaker.Admission) -> Duration? {
        if case .refused(let wait) = admission { wait } else { nil }
    }

    @Test mutating func itOpensLongerEachTimeUpToALimitAndIsPatientAgainAfterAQuietTime() {
        var now = start
        for expected in [30, 60, 120, 120] as [Int] {
            failOnce(at: now)
            #expect(breaker.openUntil == now + .seconds(expected))
            now = now + .seconds(expected)
        }
        guard case .allowed(let probe) = breaker.callRequested(at: now) else {
            Issue.record("no probe")
            return
        }
        breaker.callSucceeded(probe, at: now)
        failOnce(at: now + .seconds(119))
        #expect(wait(breaker.callRequested(at: now + .seconds(119))) == .seconds(120))
        now = now + .seconds(239)
        guard case .allowed(let next) = breaker.callRequested(at: now) else {
            Issue.record("no probe")
            return
        }
        breaker.callSucceeded(next, at: now)
        failOnce(at: now + .seconds(120))
        #expect(wait(breaker.callRequested(at: now + .seconds(120))) == .seconds(30))
    }

    @Test mutating func chanceAddsATenthAtTheMost() {
        guard case .allowed(let generation) = breaker.callRequested(at: start) else {
            Issue.record("not let through")
            return
        }
        breaker.callFailed(generation, at: start, jitter: 1)
        #expect(breaker.openUntil == start + .seconds(33))
    }

    @Test mutating func whoAsksToBeLeftAloneIsLeftAloneForAsLongAsItSaid() {
        guard case .allowed(let generation) = breaker.callRequested(at: start) else {
            Issue.record("not let through")
            return
        }
        breaker.callThrottled(generation, for: .seconds(500), at: start)
        #expect(breaker.cause == .throttled)
        #expect(wait(breaker.callRequested(at: start)) == .seconds(500))
        #expect(breaker.failures == 0)
        failOnce(at: start + .seconds(500))
        #expect(breaker.openUntil == start + .seconds(530), "it was nobody's failure")
    }

    @Test mutating func whatAPersonForcedNothingUndoes() {
        guard case .allowed(let early) = breaker.callRequested(at: start) else {
            Issue.record("not let through")
            return
        }
        breaker.forced(.init(isOpen: true, by: "Ana", reason: "teste", at: start))
        breaker.callSucceeded(early, at: start)
        #expect(wait(breaker.callRequested(at: start + .seconds(100_000))) != nil)
        #expect(breaker.state == .forcedOpen)
        breaker.forced(.init(isOpen: false, by: "Ana", reason: "teste", at: start))
        for _ in 0..<10 { failOnce(at: start) }
        #expect(breaker.state == .forcedClosed)
        breaker.reset()
        #expect(breaker.state == .closed && breaker.force == nil)
    }

    @Test mutating func aClockThatIsSetBackKeepsNobodyOutForLonger() {
        failOnce(at: start)
        let earlier = Timestamp(seconds: 5000)
        #expect(wait(breaker.callRequested(at: earlier)) == .seconds(30))
        guard case .allowed = breaker.callRequested(at: earlier + .seconds(30)) else {
            Issue.record("still shut")
            return
        }
        guard case .allowed = breaker.callRequested(at: earlier - .seconds(4000)) else {
            Issue.record("a lease of another time")
            return
        }
    }
}

/// Random calls, reports, orders and clocks: what must hold after each of them.
@Suite struct BreakerModelTests {
    @Test(arguments: 1...200) func neverMoreThanOneProbeAndEveryRequestIsCountedOnce(_ seed: UInt64) {
        var random = SeededGenerator(seed: seed)
        let rate = CircuitBreaker.Settings.Rate(window: .seconds(10), minimumCalls: 4, failurePercent: 50)
        var breaker = CircuitBreaker(
            .init(trip: Bool.random(using: &random) ? .consecutive(3) : .rate(rate), openFor: .seconds(30), probeLease: .seconds(20))
        )
        var now = Timestamp(seconds: 100_000)
        var out: [Int] = []
        /// The permit that half open has given, and when.
        var probe: (generation: Int, at: Timestamp)?
        var requested = 0
        for _ in 0..<2000 {
            let before = breaker.state
            switch Int.random(in: 0..<100, using: &random) {
            case 0..<45:
                requested += 1
                switch breaker.callRequested(at: now) {
                case .allowed(let generation):
                    #expect(!breaker.state.isOpen, "seed \(seed)")
                    if breaker.state == .halfOpen {
                        if let probe { #expect(now >= probe.at + .seconds(20) || now < probe.at, "seed \(seed): two probes at once") }
                        probe = (generation, now)
                    }
                    out.append(generation)
                case .refused(let wait):
                    #expect(breaker.state != .closed && breaker.state != .forcedClosed, "seed \(seed)")
                    #expect(wait > .zero && wait <= .seconds(132), "seed \(seed): \(wait)")
                }
            case 45..<85:
                guard let index = out.indices.randomElement(using: &random) else { continue }
                let generation = out.remove(at: index)
                let verdicts: [CallVerdict] = [.succeeded, .succeeded, .failed, .failed, .ignored]
                breaker.callEnded(
                    generation,
                    verdicts.randomElement(using: &random)!,
                    took: .zero,
                    jitter: .random(in: 0...1, using: &random),
                    at: now
                )
                if generation == probe?.generation { probe = nil }
                if before == .forcedOpen || before == .forcedClosed { #expect(breaker.state == before, "seed \(seed)") }
            case 85..<95: now = now + .seconds(Int.random(in: 0...40, using: &random))
            case 95: now = now - .seconds(Int.random(in: 0...1000, using: &random))
            case 96: breaker.forced(.init(isOpen: .random(using: &random), by: "a", reason: "b", at: now))
            default: if Int.random(in: 0..<3, using: &random) == 0 { breaker.reset() }
            }
            if breaker.state != .halfOpen { probe = nil }
        }
        for generation in out { breaker.callAbandoned(generation) }
        let totals = breaker.totals
        // A lease that ran out is counted as failed at once, and its report, should it come, as ignored.
        #expect(totals.succeeded + totals.failed + totals.ignored + totals.rejected >= requested, "seed \(seed)")
        // It always comes back by itself, unless somebody forced it.
        if breaker.state == .open || breaker.state == .halfOpen {
            now = now + .seconds(2000)
            guard case .allowed = breaker.callRequested(at: now) else {
                Issue.record("seed \(seed): stuck in \(breaker.state)")
                return
            }
        }
    }
}
