package import Kernel
import Synchronization

/// One allowance that many threads draw on. They share a number and no lock.
package final class SharedRate: Sendable {
    package let limit: RateLimit
    private let arrival = Atomic<RateLimit.Arrival>(RateLimit.never)

    package init(_ limit: RateLimit) { self.limit = limit }

    package func take(_ count: Int = 1, at now: Timestamp) -> RateLimit.Decision { draw { limit.decide(count, at: now, &$0) } }
    package func take(upTo count: Int, at now: Timestamp) -> RateLimit.Decision { draw { limit.grant(upTo: count, at: now, &$0) } }

    func isIdle(at now: Timestamp) -> Bool { limit.isIdle(arrival.load(ordering: .relaxed), at: now) }

    private func draw(_ decide: (inout RateLimit.Arrival) -> RateLimit.Decision) -> RateLimit.Decision {
        var before = arrival.load(ordering: .relaxed)
        while true {
            var after = before
            let decision = decide(&after)
            // Nothing was let through: there is nothing to write.
            if after == before { return decision }
            let (isExchanged, found) = arrival.weakCompareExchange(expected: before, desired: after, ordering: .relaxed)
            if isExchanged { return decision }
            before = found
        }
    }
}

/// The allowances of many keys, each under the same limit.
///
/// Bounded: what nobody holds and is as good as new is forgotten when room is needed. While all of `maxKeys` are in use, those who come on top share one
/// allowance, so that making up keys gains nothing.
package struct RateTable<Key: Hashable & Sendable>: Sendable {
    package let limit: RateLimit
    package let maxKeys: Int
    private var rates: [Key: SharedRate] = [:]
    private let forTheRest: SharedRate
    private var sweptAt: Timestamp?

    package init(_ limit: RateLimit, maxKeys: Int = 100_000) {
        self.limit = limit
        self.maxKeys = maxKeys
        forTheRest = SharedRate(limit)
    }

    package var count: Int { rates.count }

    /// The allowance of a key. Whoever holds on to it keeps it from being forgotten.
    package mutating func rate(of key: Key, at now: Timestamp) -> SharedRate {
        if let rate = rates[key] { return rate }
        if rates.count >= maxKeys { forgetIdle(now) }
        guard rates.count < maxKeys else { return forTheRest }
        let rate = SharedRate(limit)
        rates[key] = rate
        return rate
    }

    package mutating func forgetIdle(_ now: Timestamp) {
        // Going through all of them for each newcomer would be what a bound is to prevent.
        if let sweptAt, rates.count >= maxKeys, now < sweptAt + .seconds(1), now >= sweptAt { return }
        sweptAt = now
        var idle: [Key] = []
        // By index: a loop over the values would hold all of them.
        var index = rates.startIndex
        while index != rates.endIndex {
            if isKnownUniquelyReferenced(&rates.values[index]), rates.values[index].isIdle(at: now) { idle.append(rates.keys[index]) }
            rates.formIndex(after: &index)
        }
        for key in idle { rates[key] = nil }
    }
}
