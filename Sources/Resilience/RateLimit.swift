package import Kernel

// The generic cell rate algorithm (ITU-T I.371 Annex A, as a virtual schedule).
//
// All that is kept is one moment: the theoretical arrival time, TAT, at which the last thing that was let through would have come had everything come evenly. What
// is `burst` intervals ahead of it is early and refused:
//
//     TAT' = max(TAT, now) + count × interval        let through when TAT' − now ≤ burst × interval, and then TAT := TAT'
//
// Invariants
// 1. In every stretch of time t, at most burst + rate × t is let through.
// 2. A TAT that is past says nothing that having none would not say: it may be forgotten.
// 3. Whatever the clock does, nobody waits longer than for `burst` intervals: a TAT further ahead comes from a clock that was set back.

/// How much may pass: `perSecond` in the long run, and `burst` at once.
package struct RateLimit: Sendable, Hashable {
    package let perSecond: Int
    package let burst: Int
    /// Nanoseconds from one to the next; rounded up, so that it is never more than was said.
    private let interval: Int64
    /// How far ahead of now a TAT may be.
    private let tolerance: Int64

    package init(perSecond: Int, burst: Int) {
        precondition((1...1_000_000_000).contains(perSecond) && (1...1_000_000_000).contains(burst), "a rate and a burst are from one to a billion")
        self.perSecond = perSecond
        self.burst = burst
        interval = (1_000_000_000 + Int64(perSecond) - 1) / Int64(perSecond)
        tolerance = Int64(burst) * interval
    }

    /// The theoretical arrival time, in nanoseconds since 1970.
    package typealias Arrival = Int64
    /// Of who has not come yet.
    package static let never: Arrival = 0

    package struct Decision: Sendable, Equatable {
        /// How many were let through.
        package let allowed: Int
        /// How many more would be at this moment.
        package let remaining: Int
        /// After this long what was refused would be let through, if nothing else comes; `nil` when nothing was refused, or when it never will be.
        package let retryAfter: Duration?
        /// After this long it is as if nobody had ever come.
        package let resetAfter: Duration
    }

    /// Lets `count` through, or none of them.
    package func decide(_ count: Int, at now: Timestamp, _ arrival: inout Arrival) -> Decision {
        decide(count, granting: count <= burst && room(at: now, arrival) >= count ? count : 0, at: now, &arrival)
    }

    /// Lets as many of `count` through as may pass.
    package func grant(upTo count: Int, at now: Timestamp, _ arrival: inout Arrival) -> Decision {
        decide(count, granting: min(count, room(at: now, arrival)), at: now, &arrival)
    }

    /// Whether an arrival may be forgotten.
    package func isIdle(_ arrival: Arrival, at now: Timestamp) -> Bool { arrival <= Self.nanoseconds(now) }

    private func room(at now: Timestamp, _ arrival: Arrival) -> Int { Int((tolerance - ahead(arrival, now)) / interval) }

    private func decide(_ count: Int, granting granted: Int, at now: Timestamp, _ arrival: inout Arrival) -> Decision {
        // Invariant 3, also when nothing is let through: the clock may be behind for long.
        arrival = min(arrival, Self.nanoseconds(now) + tolerance)
        let ahead = ahead(arrival, now) + Int64(granted) * interval
        if granted > 0 { arrival = Self.nanoseconds(now) + ahead }
        let missing = min(count - granted, burst)
        return Decision(
            allowed: granted,
            remaining: Int((tolerance - ahead) / interval),
            retryAfter: granted == count || count - granted > burst ? nil : .nanoseconds(max(0, ahead + Int64(missing) * interval - tolerance)),
            resetAfter: .nanoseconds(ahead)
        )
    }

    private func ahead(_ arrival: Arrival, _ now: Timestamp) -> Int64 { min(max(arrival - Self.nanoseconds(now), 0), tolerance) }

    private static func nanoseconds(_ time: Timestamp) -> Int64 { time.milliseconds * 1_000_000 }
}

/// One allowance, drawn on from one place.
package struct RateLimiter: Sendable {
    package let limit: RateLimit
    private var arrival = RateLimit.never

    package init(_ limit: RateLimit) { self.limit = limit }

    package mutating func take(_ count: Int = 1, at now: Timestamp) -> RateLimit.Decision { limit.decide(count, at: now, &arrival) }
    package mutating func take(upTo count: Int, at now: Timestamp) -> RateLimit.Decision { limit.grant(upTo: count, at: now, &arrival) }
}
