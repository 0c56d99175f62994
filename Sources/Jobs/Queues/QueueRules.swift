package import Kernel

/// The bounds that queues work within.
package struct QueueRules: Sendable {
    /// How long a worker has a message without a sign of life. A sign is given each quarter of it.
    package var lease = Duration.seconds(30)
    /// Before a second attempt at most this long, and twice as long with each further one.
    package var backoff = Duration.seconds(15)
    package var longestBackoff = Duration.seconds(3600)
    /// Workers that a message may bring down before it is put aside.
    package var maxCrashes = 2
    /// How far ahead waiting messages are in memory.
    package var horizon = Duration.seconds(60)
    /// Waiting messages of one queue of one business in memory, about: twice as many are the most.
    package var inMemory = 500
    /// Messages of one business that wait or are being sent, at the most: nobody is let put more in. What its own rules plan is taken up to twice as many.
    package var maxOpen = 100_000
    /// How long a message that was offered to workers waits for one of them.
    package var offer = Duration.seconds(5)
    /// Messages that were put off wait at least this long, and at most the other.
    package var shortestPause = Duration.milliseconds(200)
    package var longestPause = Duration.seconds(86_400)
    /// How long finished messages can be looked at.
    package var sentIsKept = Duration.seconds(7 * 86_400)
    package var failedIsKept = Duration.seconds(30 * 86_400)
    /// How long a key is remembered at least, counted from its message's end.
    package var keyIsKept = Duration.seconds(400 * 86_400)

    package init() {}

    /// How long to wait after so many attempts that failed: anything up to the bound that doubles with each ("full jitter"), so that those who failed together do
    /// not come back together.
    /// - Parameter fraction: 0 to 1, at random.
    package func backoff(afterAttempts attempts: Int, fraction: Double) -> Duration {
        let bound = min(backoff * (1 << min(max(attempts - 1, 0), 20)), longestBackoff)
        return max(shortestPause, bound * fraction)
    }
}

extension Moment {
    /// 0 to 1, at random.
    package var fraction: Double {
        let id: LeaseToken = self.id()
        return Double(id.value.low & 0xffff_ffff) / Double(UInt32.max)
    }
}
