package import Kernel

// When to stop asking a dependency that does not answer.
//
//     closed ──(threshold failures in a row)──▶ open ──(openFor has passed)──▶ halfOpen ──(the probe succeeds)──▶ closed
//                                                ▲                                │
//                                                └──────────(the probe fails)─────┘
//
// Invariants
// 1. While open nobody is let through; whoever asks is told how long it will stay so.
// 2. While half open one call at a time is let through, as the probe. A probe that never reports back is taken for failed after `openFor`.
// 3. What is reported of a call that began before the breaker last opened changes nothing: it tells of the time before.

/// The circuit breaker of one dependency. Inputs are calls asking to be let through, and what became of them; time comes in from outside.
package struct CircuitBreaker: Sendable {
    package struct Settings: Sendable {
        /// Failures in a row that open it.
        package var failureThreshold: Int
        /// How long it stays open before one call may try.
        package var openFor: Duration

        package init(failureThreshold: Int, openFor: Duration) {
            precondition(failureThreshold > 0, "a breaker opens after at least one failure")
            self.failureThreshold = failureThreshold
            self.openFor = openFor
        }

        /// contracts/isp-support.md "Circuit breakers".
        package static let database = Settings(failureThreshold: 5, openFor: .seconds(60))
        package static let redis = Settings(failureThreshold: 3, openFor: .seconds(30))
    }

    package enum State: String, Sendable { case closed, open, halfOpen = "half_open" }

    package enum Admission: Sendable, Equatable {
        /// Go ahead, and report what became of it under this generation.
        case allowed(generation: Int)
        /// Not now; asking again makes sense after this long.
        case refused(retryAfter: Duration)
    }

    package let settings: Settings
    package private(set) var state = State.closed
    /// Failures since the last success.
    package private(set) var failures = 0
    /// How often it has opened.
    package private(set) var timesOpened = 0
    package private(set) var openedAt: Timestamp?
    private var generation = 0
    private var probeBegan: Timestamp?

    package init(_ settings: Settings) { self.settings = settings }

    /// Somebody wants to call.
    package mutating func callRequested(at now: Timestamp) -> Admission {
        switch state {
        case .closed: return .allowed(generation: generation)
        case .open:
            guard let until = openedAt.map({ $0 + settings.openFor }), now < until else {
                state = .halfOpen
                return probe(now)
            }
            return .refused(retryAfter: until - now)
        case .halfOpen:
            guard let probeBegan, now < probeBegan + settings.openFor else { return probe(now) }
            return .refused(retryAfter: min(.seconds(1), settings.openFor))
        }
    }

    private mutating func probe(_ now: Timestamp) -> Admission {
        generation += 1
        probeBegan = now
        return .allowed(generation: generation)
    }

    package mutating func callSucceeded(_ generation: Int) {
        guard generation == self.generation, state != .open else { return }
        state = .closed
        failures = 0
        openedAt = nil
        probeBegan = nil
    }

    package mutating func callFailed(_ generation: Int, at now: Timestamp) {
        guard generation == self.generation, state != .open else { return }
        failures += 1
        if state == .halfOpen || failures >= settings.failureThreshold {
            state = .open
            openedAt = now
            timesOpened += 1
            self.generation += 1
            probeBegan = nil
        }
    }

    /// The call was given up before anything could be learnt from it.
    package mutating func callAbandoned(_ generation: Int) {
        guard generation == self.generation else { return }
        probeBegan = nil
    }

    /// Closed by hand (`POST /circuit-breakers/{name}/reset`).
    package mutating func reset() {
        state = .closed
        failures = 0
        openedAt = nil
        probeBegan = nil
        generation += 1
    }
}
