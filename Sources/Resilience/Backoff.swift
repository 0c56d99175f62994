/// How long to wait before the next attempt: doubling from `first` up to `limit`, of which a random half is taken off, so that those who failed together do not
/// come back together.
package struct Backoff: Sendable {
    package let first: Duration
    package let limit: Duration
    private var attempts = 0

    package init(first: Duration, limit: Duration) {
        self.first = first
        self.limit = limit
    }

    /// An attempt failed: the wait before the next one.
    package mutating func attemptFailed(random: inout some RandomNumberGenerator) -> Duration {
        let full = min(first * (1 << min(attempts, 20)), limit)
        attempts += 1
        return full * Double.random(in: 0.5...1, using: &random)
    }

    package mutating func attemptSucceeded() { attempts = 0 }
}
