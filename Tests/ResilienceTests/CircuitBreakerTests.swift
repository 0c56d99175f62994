import Kernel
import Resilience
import TestSupport
import Testing

@Suite struct CircuitBreakerTests {
    private var breaker = CircuitBreaker(.init(failureThreshold: 3, openFor: .seconds(30)))
    private let start = Timestamp(seconds: 1000)

    private func generation(_ admission: CircuitBreaker.Admission) throws -> Int {
        guard case .allowed(let generation) = admission else { throw NotAllowed() }
        return generation
    }
    private struct NotAllowed: Error {}

    private mutating func fail(_ times: Int, at now: Timestamp) throws {
        for _ in 0..<times {
            let generation = try generation(breaker.callRequested(at: now))
            breaker.callFailed(generation, at: now)
        }
    }

    @Test mutating func itOpensAtTheThresholdAndSaysForHowLong() throws {
        try fail(2, at: start)
        #expect(breaker.state == .closed)
        try fail(1, at: start)
        #expect(breaker.state == .open)
        #expect(breaker.callRequested(at: start + .seconds(10)) == .refused(retryAfter: .seconds(20)))
    }

    @Test mutating func aSuccessForgetsTheFailuresBeforeIt() throws {
        try fail(2, at: start)
        breaker.callSucceeded(try generation(breaker.callRequested(at: start)), at: start)
        try fail(2, at: start)
        #expect(breaker.state == .closed)
    }

    @Test mutating func oneProbeIsLetThroughAndDecides() throws {
        try fail(3, at: start)
        let later = start + .seconds(30)
        let probe = try generation(breaker.callRequested(at: later))
        #expect(breaker.state == .halfOpen)
        #expect(breaker.callRequested(at: later) == .refused(retryAfter: .seconds(1)))
        breaker.callFailed(probe, at: later)
        #expect(breaker.state == .open)
        #expect(breaker.callRequested(at: later) == .refused(retryAfter: .seconds(60)), "for longer than the first time")
        breaker.callSucceeded(try generation(breaker.callRequested(at: later + .seconds(60))), at: later + .seconds(60))
        #expect(breaker.state == .closed)
        #expect(breaker.timesOpened == 2)
    }

    @Test mutating func aProbeThatNeverReportsBackDoesNotKeepItShut() throws {
        try fail(3, at: start)
        _ = try generation(breaker.callRequested(at: start + .seconds(30)))
        _ = try generation(breaker.callRequested(at: start + .seconds(60)))
    }

    @Test mutating func aProbeGivenUpMakesRoomForTheNext() throws {
        try fail(3, at: start)
        let probe = try generation(breaker.callRequested(at: start + .seconds(30)))
        breaker.callAbandoned(probe)
        _ = try generation(breaker.callRequested(at: start + .seconds(30)))
    }

    @Test mutating func whatIsReportedOfTheTimeBeforeItOpenedChangesNothing() throws {
        let early = try generation(breaker.callRequested(at: start))
        try fail(3, at: start)
        breaker.callSucceeded(early, at: start)
        #expect(breaker.state == .open)
        let probe = try generation(breaker.callRequested(at: start + .seconds(30)))
        breaker.callFailed(early, at: start + .seconds(31))
        #expect(breaker.state == .halfOpen)
        breaker.callSucceeded(probe, at: start + .seconds(31))
        #expect(breaker.state == .closed)
    }

    @Test mutating func aProbeThatReportsTooLateIsCountedOnce() throws {
        try fail(3, at: start)
        let late = try generation(breaker.callRequested(at: start + .seconds(30)))
        _ = try generation(breaker.callRequested(at: start + .seconds(30) + breaker.settings.probeLease))
        let before = breaker.totals
        breaker.callFailed(late, at: start + .seconds(61))
        breaker.callAbandoned(late)
        #expect(breaker.totals.failed == before.failed)
        // Once for what it said twice.
        #expect(breaker.totals.ignored == before.ignored + 1)
    }

    @Test mutating func aResetClosesIt() throws {
        try fail(3, at: start)
        breaker.reset()
        #expect(breaker.state == .closed)
        _ = try generation(breaker.callRequested(at: start))
    }
}

@Suite struct BackoffTests {
    @Test(arguments: 1...10) func theWaitDoublesUpToTheLimitAndNeverLosesMoreThanHalf(_ seed: UInt64) {
        var random = SeededGenerator(seed: seed)
        var backoff = Backoff(first: .milliseconds(100), limit: .seconds(5))
        for attempt in 0..<40 {
            let full = min(Duration.milliseconds(100) * (1 << min(attempt, 20)), .seconds(5))
            let wait = backoff.attemptFailed(random: &random)
            #expect(wait >= full / 2 && wait <= full, "seed \(seed), attempt \(attempt)")
        }
        backoff.attemptSucceeded()
        #expect(backoff.attemptFailed(random: &random) <= .milliseconds(100))
    }
}
