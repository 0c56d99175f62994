package import Kernel

// When to stop asking a dependency that does not answer (research/scheduling.md E).
//
//     closed ──(it trips)──▶ open(until) ──(the time is over)──▶ halfOpen(one probe) ──(the probe succeeds)──▶ closed
//       │                     ▲   ▲                                │
//       │                     │   └────────(the probe fails)───────┘
//       └──(throttled, until the instant the dependency named)
//     any ──(forced by a person)──▶ forcedOpen | forcedClosed ──(reset by a person)──▶ closed
//
// It trips by `consecutive` failures, or by the `rate` of failed or slow calls among enough of them in a window.
//
// Invariants
// 1. While open nobody is let through; whoever asks is told how long it will stay so.
// 2. While half open one call at a time is let through, as the probe. The probe's permit is leased: one that has not reported when the lease ends counts as
//    failed, and the next may try. One that was abandoned gives its permit back and decides nothing.
// 3. Every change of state and every probe begins a generation. What is reported under an older one changes nothing: it tells of the time before.
// 4. What a person forced no report and no clock undoes.
// 5. It opens for longer each time it does not stay closed in between, up to a limit; after a quiet time it is patient again.
// 6. Every request is counted once: as rejected, or by what became of it.

/// The circuit breaker of one dependency. Inputs are calls asking to be let through, and what became of them; time and chance come in from outside.
package struct CircuitBreaker: Sendable {
    package enum State: String, Sendable, CaseIterable {
        case closed, open
        case halfOpen = "half_open"
        case forcedOpen = "forced_open"
        case forcedClosed = "forced_closed"

        /// Nobody gets through, whatever they say.
        package var isOpen: Bool { self == .open || self == .forcedOpen }
        /// Everybody gets through.
        package var isClosed: Bool { self == .closed || self == .forcedClosed }
    }

    package enum Admission: Sendable, Equatable {
        /// Go ahead, and report what became of it under this generation.
        case allowed(generation: Int)
        /// Not now; asking again makes sense after this long.
        case refused(retryAfter: Duration)
    }

    /// A person's decision, which stands until a person changes it.
    package struct Force: Sendable, Hashable {
        package let isOpen: Bool
        package let by: String
        package let reason: String
        package let at: Timestamp

        package init(isOpen: Bool, by: String, reason: String, at: Timestamp) {
            self.isOpen = isOpen
            self.by = by
            self.reason = reason
            self.at = at
        }
    }

    /// Why it last opened.
    package enum Cause: String, Sendable { case failures, slow, throttled, probe }

    /// What became of the calls that were asked for.
    package struct Totals: Sendable, Equatable {
        package var succeeded = 0
        package var failed = 0
        /// Abandoned, throttled, or reported too late to say anything.
        package var ignored = 0
        package var rejected = 0
    }

    package var settings: Settings
    package private(set) var state = State.closed
    /// Failures since the last success.
    package private(set) var failures = 0
    /// How often it has opened by itself.
    package private(set) var timesOpened = 0
    package private(set) var openedAt: Timestamp?
    /// Until when it stays open; asking then makes it half open.
    package private(set) var openUntil: Timestamp?
    package private(set) var cause: Cause?
    package private(set) var force: Force?
    package private(set) var totals = Totals()
    private var generation = 0
    /// The lease of the probe that is out.
    private var probeUntil: Timestamp?
    /// Openings in a row, without a quiet time between them.
    private var level = 0
    private var closedAt: Timestamp?
    /// Probes that were counted as failed because their lease had ended; of what they report later nothing is counted any more.
    private var lapsed: [Int] = []
    private var window = CallWindow()

    package init(_ settings: Settings) { self.settings = settings }

    // MARK: Calls

    /// Somebody wants to call.
    package mutating func callRequested(at now: Timestamp) -> Admission {
        switch state {
        case .closed, .forcedClosed: return .allowed(generation: generation)
        case .forcedOpen: return rejected(settings.openFor)
        case .open:
            guard let until = remaining(now), now < until else {
                state = .halfOpen
                return probe(now)
            }
            return rejected(until - now)
        case .halfOpen:
            guard let probeUntil else { return probe(now) }
            // A lease that ends further ahead than it is long was given under a clock that has been set back.
            guard now < probeUntil, probeUntil <= now + settings.probeLease else {
                totals.failed += 1
                failures += 1
                lapsed = lapsed.suffix(15) + [generation]
                return probe(now)
            }
            return rejected(min(.seconds(1), settings.openFor))
        }
    }

    private mutating func rejected(_ wait: Duration) -> Admission {
        totals.rejected += 1
        return .refused(retryAfter: wait)
    }

    /// When the open time ends: as long after now as it was to be, should the clock have been set back.
    private mutating func remaining(_ now: Timestamp) -> Timestamp? {
        guard let since = openedAt, let until = openUntil else { return nil }
        if now < since { (openedAt, openUntil) = (now, now + (until - since)) }
        return openUntil
    }

    private mutating func probe(_ now: Timestamp) -> Admission {
        generation += 1
        probeUntil = now + settings.probeLease
        return .allowed(generation: generation)
    }

    /// - Parameter jitter: from 0 to 1, by chance: how much of a tenth is added to the time it stays open should it open now, so that those who failed together
    ///   do not knock together.
    package mutating func callSucceeded(_ generation: Int, at now: Timestamp, took: Duration = .zero, jitter: Double = 0) {
        guard isCurrent(generation) else { return ignored(generation) }
        totals.succeeded += 1
        failures = 0
        guard state != .halfOpen else { return close(now) }
        guard state == .closed, case .rate(let rate) = settings.trip else { return }
        window.add(isFailure: false, isSlow: rate.slowAfter.map { took >= $0 } ?? false, rate, at: now)
        trip(rate, jitter, now)
    }

    package mutating func callFailed(_ generation: Int, at now: Timestamp, took: Duration = .zero, jitter: Double = 0) {
        guard isCurrent(generation) else { return ignored(generation) }
        totals.failed += 1
        failures += 1
        switch (state, settings.trip) {
        case (.halfOpen, _): open(.probe, jitter, now)
        case (.closed, .consecutive(let threshold)): if failures >= threshold { open(.failures, jitter, now) }
        case (.closed, .rate(let rate)):
            window.add(isFailure: true, isSlow: rate.slowAfter.map { took >= $0 } ?? false, rate, at: now)
            trip(rate, jitter, now)
        // Calls go on because a person said so.
        default: break
        }
    }

    /// The dependency works and asked to be left alone for a while: open for as long as it said, which is nobody's failure.
    package mutating func callThrottled(_ generation: Int, for wait: Duration, at now: Timestamp) {
        guard isCurrent(generation) else { return ignored(generation) }
        totals.ignored += 1
        guard state == .closed || state == .halfOpen else { return }
        open(.throttled, until: now + min(wait, Settings.longestThrottle), now)
    }

    /// The call was given up before anything could be learnt from it, or what was learnt says nothing of the dependency.
    package mutating func callAbandoned(_ generation: Int) {
        ignored(generation)
        guard generation == self.generation else { return }
        probeUntil = nil
    }

    private func isCurrent(_ generation: Int) -> Bool { generation == self.generation && !state.isOpen }
    private mutating func ignored(_ generation: Int) {
        if let index = lapsed.firstIndex(of: generation) { lapsed.remove(at: index) } else { totals.ignored += 1 }
    }

    // MARK: By hand

    /// Closed by hand (`POST /circuit-breakers/{name}/reset`), which also takes back what was forced.
    package mutating func reset() {
        force = nil
        level = 0
        become(.closed)
    }

    /// Kept open or closed until it is reset.
    package mutating func forced(_ force: Force) {
        become(force.isOpen ? .forcedOpen : .forcedClosed)
        self.force = force
    }

    // MARK: Between states

    private mutating func close(_ now: Timestamp) {
        become(.closed)
        closedAt = now
    }

    private mutating func become(_ state: State) {
        self.state = state
        generation += 1
        failures = 0
        (openedAt, openUntil, cause, probeUntil, closedAt) = (nil, nil, nil, nil, nil)
        window = CallWindow()
    }

    private mutating func trip(_ rate: Settings.Rate, _ jitter: Double, _ now: Timestamp) {
        if let cause = window.objection(rate) { open(cause, jitter, now) }
    }

    private mutating func open(_ cause: Cause, _ jitter: Double, _ now: Timestamp) {
        if state == .closed, let closedAt, now >= closedAt + settings.maxOpenFor { level = 0 }
        let full = min(settings.openFor * (1 << min(level, 20)), max(settings.maxOpenFor, settings.openFor))
        level += 1
        open(cause, until: now + full * (1 + 0.1 * min(max(jitter, 0), 1)), now)
    }

    private mutating func open(_ cause: Cause, until: Timestamp, _ now: Timestamp) {
        state = .open
        generation += 1
        timesOpened += 1
        (openedAt, openUntil, self.cause, probeUntil) = (now, until, cause, nil)
        window = CallWindow()
    }
}

/// What a call has to say of the dependency.
package enum CallVerdict: Sendable, Equatable {
    case succeeded
    case failed
    /// It says nothing: the request was at fault, or was given up.
    case ignored
    /// It is well and wants to be left alone for a while.
    case throttled(Duration)
}

extension CircuitBreaker {
    package mutating func callEnded(_ generation: Int, _ verdict: CallVerdict, took: Duration, jitter: Double, at now: Timestamp) {
        switch verdict {
        case .succeeded: callSucceeded(generation, at: now, took: took, jitter: jitter)
        case .failed: callFailed(generation, at: now, took: took, jitter: jitter)
        case .ignored: callAbandoned(generation)
        case .throttled(let wait): callThrottled(generation, for: wait, at: now)
        }
    }
}
