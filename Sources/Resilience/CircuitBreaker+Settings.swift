import Kernel

extension CircuitBreaker {
    package struct Settings: Sendable, Equatable {
        package enum Trip: Sendable, Equatable {
            /// So many failures in a row.
            case consecutive(Int)
            case rate(Rate)
        }

        /// A share of the calls in a window, once there are enough of them to say anything.
        package struct Rate: Sendable, Equatable {
            package var window: Duration
            package var minimumCalls: Int
            /// Out of a hundred.
            package var failurePercent: Int
            /// Calls that took this long are slow, and too many of those open it as well. `nil`: no call is too slow.
            package var slowAfter: Duration?
            package var slowPercent: Int

            package init(window: Duration, minimumCalls: Int, failurePercent: Int, slowAfter: Duration? = nil, slowPercent: Int = 100) {
                precondition(window > .zero && minimumCalls > 0, "a rate is taken over a time and at least one call")
                precondition((1...100).contains(failurePercent) && (1...100).contains(slowPercent), "a share is from 1 to 100 percent")
                self.window = window
                self.minimumCalls = minimumCalls
                self.failurePercent = failurePercent
                self.slowAfter = slowAfter
                self.slowPercent = slowPercent
            }
        }

        package var trip: Trip
        /// How long it stays open before one call may try, the first time.
        package var openFor: Duration
        /// Doubling from time to time, at the most; also how long it must stay closed to begin with `openFor` again.
        package var maxOpenFor: Duration
        /// How long a probe has to report.
        package var probeLease: Duration

        package static let longestThrottle = Duration.seconds(24 * 3600)

        package init(trip: Trip, openFor: Duration, maxOpenFor: Duration? = nil, probeLease: Duration? = nil) {
            self.trip = trip
            self.openFor = openFor
            self.maxOpenFor = maxOpenFor ?? openFor * 4
            self.probeLease = probeLease ?? openFor
        }

        package init(failureThreshold: Int, openFor: Duration, probeLease: Duration? = nil) {
            precondition(failureThreshold > 0, "a breaker opens after at least one failure")
            self.init(trip: .consecutive(failureThreshold), openFor: openFor, probeLease: probeLease)
        }

        /// Failures that open it: in a row, or at the least.
        package var failureThreshold: Int {
            get {
                switch trip {
                case .consecutive(let count): count
                case .rate(let rate): max(1, (rate.minimumCalls * rate.failurePercent + 99) / 100)
                }
            }
            set { trip = .consecutive(newValue) }
        }

        // contracts/isp-support.md "Circuit breakers".
        package static let whatsapp = Settings(failureThreshold: 3, openFor: .seconds(30))
        package static let database = Settings(failureThreshold: 5, openFor: .seconds(60))
        package static let gemini = Settings(failureThreshold: 3, openFor: .seconds(45))
        package static let redis = Settings(failureThreshold: 3, openFor: .seconds(30))
        // A mail is a dozen steps, each of which a server may take its time for.
        package static let smtp = Settings(failureThreshold: 3, openFor: .seconds(60), probeLease: .seconds(300))
        // A hand-off is several calls, each with a time-out of its own.
        package static let pipedrive = Settings(failureThreshold: 3, openFor: .seconds(30), probeLease: .seconds(300))
    }
}

/// The calls of the last while, in ten buckets of which the oldest falls out. A running sum: adding to it and asking it take the same time however many there are.
struct CallWindow: Sendable {
    private struct Bucket {
        var number: Int64 = -1
        var calls = 0
        var failures = 0
        var slow = 0
    }

    private static let count = 10
    private var buckets: [Bucket] = []
    private var calls = 0
    private var failures = 0
    private var slow = 0
    private var latest: Int64 = 0

    mutating func add(isFailure: Bool, isSlow: Bool, _ rate: CircuitBreaker.Settings.Rate, at now: Timestamp) {
        let width = max(1, rate.window.inMilliseconds / Int64(Self.count))
        // A clock that is set back adds to the bucket that was the latest.
        let number = max(now.milliseconds / width, latest)
        if buckets.isEmpty { buckets = Array(repeating: Bucket(), count: Self.count) }
        latest = number
        for index in buckets.indices where buckets[index].number >= 0 && buckets[index].number <= number - Int64(Self.count) {
            calls -= buckets[index].calls
            failures -= buckets[index].failures
            slow -= buckets[index].slow
            buckets[index] = Bucket()
        }
        let index = Int(number % Int64(Self.count))
        buckets[index].number = number
        buckets[index].calls += 1
        calls += 1
        if isFailure {
            buckets[index].failures += 1
            failures += 1
        }
        if isSlow {
            buckets[index].slow += 1
            slow += 1
        }
    }

    func objection(_ rate: CircuitBreaker.Settings.Rate) -> CircuitBreaker.Cause? {
        guard calls >= rate.minimumCalls else { return nil }
        if failures * 100 >= rate.failurePercent * calls { return .failures }
        if rate.slowAfter != nil, slow * 100 >= rate.slowPercent * calls { return .slow }
        return nil
    }
}
