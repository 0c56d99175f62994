import Kernel
import Resilience
import Synchronization

// How fast a number may send. WhatsApp allows 20, 80 or 1000 messages a second, by what the number is, and does not say which (research/conversations.md §5.6):
// so each begins with no limit, and gets one with the first error 130429, from how fast it went. The bucket is the number's: its conversations wait in turn
// instead of each knocking for itself. Whoever is not refused for a while is let go faster again, until nothing is left of the limit.

package final class NumberPace: Sendable {
    private struct Key: Hashable {
        let tenant: TenantID
        /// `nil`: the only one.
        let number: String?
    }

    private struct Number {
        /// What went out in the second that `second` begins, and in the one before.
        var second = Timestamp(milliseconds: 0)
        var sent = 0
        var sentBefore = 0
        var limiter: RateLimiter?
        /// When the limit was last set.
        var limitedAt = Timestamp(milliseconds: 0)
        var pausedUntil = Timestamp(milliseconds: 0)

        mutating func counts(at now: Timestamp) {
            if now - second >= .seconds(1) || now < second {
                sentBefore = now - second < .seconds(2) ? sent : 0
                (second, sent) = (now, 0)
            }
            sent += 1
        }
    }

    /// Above this nobody is limited.
    private static let fastest = 1000
    private static let recovery = Duration.seconds(10)

    private let numbers = Mutex<[Key: Number]>([:])

    package init() {}

    /// - Returns: until when a send from this number is to wait; `nil`: it goes now, and is counted.
    func ask(_ tenant: TenantID, _ number: String?, at now: Timestamp) -> Timestamp? {
        numbers.withLock { numbers in
            let key = Key(tenant: tenant, number: number)
            guard numbers[key, default: Number()].pausedUntil <= now else { return numbers[key]?.pausedUntil }
            if let limiter = numbers[key]?.limiter, let since = numbers[key]?.limitedAt, now - since >= Self.recovery {
                let faster = limiter.limit.perSecond * 5 / 4 + 1
                numbers[key]?.limiter = faster > Self.fastest ? nil : RateLimiter(Self.limit(faster))
                numbers[key]?.limitedAt = now
            }
            if let decision = numbers[key]?.limiter?.take(at: now), decision.allowed == 0 { return now + (decision.retryAfter ?? .seconds(1)) }
            numbers[key, default: Number()].counts(at: now)
            return nil
        }
    }

    /// A send from this number was refused as too fast.
    func tooFast(_ tenant: TenantID, _ number: String?, waiting: Duration, at now: Timestamp) {
        numbers.withLock { numbers in
            let key = Key(tenant: tenant, number: number)
            var found = numbers[key, default: Number()]
            // Of many refused at once the first says what there is to say.
            if found.pausedUntil <= now {
                let went = found.limiter?.limit.perSecond ?? max(found.sent, found.sentBefore)
                found.limiter = RateLimiter(Self.limit(max(1, went * 3 / 4)))
                found.limitedAt = now
            }
            found.pausedUntil = max(found.pausedUntil, now + waiting)
            numbers[key] = found
        }
    }

    /// Messages a second, where there is a limit.
    func limit(_ tenant: TenantID, _ number: String?) -> Int? {
        numbers.withLock { $0[Key(tenant: tenant, number: number)]?.limiter?.limit.perSecond }
    }

    private static func limit(_ perSecond: Int) -> RateLimit { RateLimit(perSecond: perSecond, burst: max(1, perSecond / 4)) }
}
