import Synchronization

#if canImport(Glibc)
    import Glibc
#else
    import Darwin
#endif

/// What a decision needs from outside itself: the time and fresh ids. Handed in at construction, so that a test can hold both still.
package struct Environment: Sendable {
    package var now: @Sendable () -> Timestamp
    package var randomBits: @Sendable () -> (UInt64, UInt64)

    package init(now: @escaping @Sendable () -> Timestamp, randomBits: @escaping @Sendable () -> (UInt64, UInt64)) {
        self.now = now
        self.randomBits = randomBits
    }

    package static let system = Environment(
        now: {
            var time = timespec()
            clock_gettime(CLOCK_REALTIME, &time)
            return Timestamp(milliseconds: Int64(time.tv_sec) * 1000 + Int64(time.tv_nsec) / 1_000_000)
        },
        randomBits: {
            var generator = SystemRandomNumberGenerator()
            return (generator.next(), generator.next())
        }
    )

    package func moment() -> Moment { Moment(now: now(), randomBits: randomBits) }
}

/// The outside facts of one turn: a single time for everything the turn decides, and ids made for that time.
package struct Moment: Sendable {
    package let now: Timestamp
    private let randomBits: @Sendable () -> (UInt64, UInt64)

    package init(now: Timestamp, randomBits: @escaping @Sendable () -> (UInt64, UInt64)) {
        self.now = now
        self.randomBits = randomBits
    }

    package func id<Kind>() -> Identifier<Kind> { Identifier(UniqueID(at: now, random: randomBits())) }
}

/// A clock that stands still until told otherwise, and random bits that count: for tests and simulations.
package final class ManualEnvironment: Sendable {
    private let state: Mutex<(now: Timestamp, count: UInt64)>

    package init(now: Timestamp = Timestamp(seconds: 1_790_000_000)) { state = Mutex((now, 0)) }

    package func advance(by duration: Duration) { state.withLock { $0.now = $0.now + duration } }
    package var now: Timestamp { state.withLock { $0.now } }
    package var environment: Environment {
        Environment(
            now: { self.now },
            randomBits: {
                self.state.withLock {
                    $0.count += 1
                    return ($0.count, $0.count &* 0x9e37_79b9_7f4a_7c15)
                }
            }
        )
    }
}
