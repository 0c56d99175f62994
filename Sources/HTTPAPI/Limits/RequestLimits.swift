import Hummingbird
import Kernel
package import Resilience
import Synchronization

/// How many requests may come: of each user to each endpoint and altogether, and of each address from those who have not said who they are.
package struct RequestLimits: Sendable {
    /// What a request counts as.
    package enum Class: String, Sendable, CaseIterable {
        case login, webhooks
        /// Of one user to one endpoint: a method and a route. One that is flooded leaves the others alone.
        case reads, writes
        /// As these two, and dearer: searches in texts, and files.
        case searches, media
        /// Of one user to all endpoints.
        case overall
        case publicReads = "public_reads"
        case publicWrites = "public_writes"

        init(_ request: Request, isRead: Bool) {
            let path = request.uri.path
            if path.hasSuffix("/media") || path.hasSuffix("/media/") {
                self = .media
            } else if isRead, request.query("text") != nil {
                self = .searches
            } else {
                self = isRead ? .reads : .writes
            }
        }
    }

    /// `nil` for no limit. Generous: they are there for clients that run wild, not to slow anybody who works.
    package var limits: [Class: RateLimit] = [
        .login: RateLimit(perSecond: 20, burst: 1000),
        .webhooks: RateLimit(perSecond: 10_000, burst: 20_000),
        .reads: RateLimit(perSecond: 10_000, burst: 20_000),
        .writes: RateLimit(perSecond: 10_000, burst: 20_000),
        .searches: RateLimit(perSecond: 50, burst: 200),
        .media: RateLimit(perSecond: 100, burst: 500),
        .overall: RateLimit(perSecond: 20_000, burst: 40_000),
        .publicReads: RateLimit(perSecond: 2_000, burst: 5_000),
        .publicWrites: RateLimit(perSecond: 500, burst: 2_000),
    ]
    /// Whose `X-Forwarded-For` is believed.
    package var trustedProxies: [AddressRange] = []

    package init() {}
}

/// Who has asked how much. Split, so that those who ask at the same time seldom meet.
final class RequestBook: Sendable {
    enum Key: Hashable, Sendable {
        case user(TenantID, UserID)
        case tenant(TenantID)
        case address(ClientAddress)
        /// Of somebody, to one endpoint.
        indirect case endpoint(String, Key)
    }

    typealias Decision = (limit: RateLimit, decision: RateLimit.Decision)

    private final class Shard: Sendable {
        let rates: Mutex<[RequestLimits.Class: RateTable<Key>]>

        init(_ limits: [RequestLimits.Class: RateLimit]) { rates = Mutex(limits.mapValues { RateTable($0, maxKeys: RequestBook.maxKeys) }) }
    }

    private static let shardCount = 16
    /// Of each class in each part.
    private static let maxKeys = 10_000
    private let shards: [Shard]
    private let environment: Kernel.Environment
    private let refused = RequestLimits.Class.allCases.map { _ in Refused() }

    private final class Refused: Sendable { let count = Atomic<Int>(0) }

    init(_ limits: RequestLimits, environment: Kernel.Environment) {
        shards = (0..<Self.shardCount).map { _ in Shard(limits.limits) }
        self.environment = environment
    }

    /// `nil` where there is no limit.
    func take(_ kind: RequestLimits.Class, _ key: Key) -> Decision? {
        let now = environment.now()
        let rate = shards[abs(key.hashValue % Self.shardCount)].rates.withLock { $0[kind]?.rate(of: key, at: now) }
        guard let rate else { return nil }
        let decision = rate.take(at: now)
        if decision.allowed == 0, let index = RequestLimits.Class.allCases.firstIndex(of: kind) {
            refused[index].count.wrappingAdd(1, ordering: .relaxed)
        }
        return (rate.limit, decision)
    }

    var refusals: [(RequestLimits.Class, Int)] { zip(RequestLimits.Class.allCases, refused).map { ($0, $1.count.load(ordering: .relaxed)) } }
}

extension Refusal {
    static func tooManyRequests(_ kind: RequestLimits.Class, _ limit: RateLimit, _ decision: RateLimit.Decision) -> Refusal {
        let seconds = max(1, (decision.retryAfter ?? .seconds(1)).inWholeSecondsUp)
        return Refusal(
            .tooMany,
            "rate_limited",
            "Requisições demais; tente novamente em \(seconds) s.",
            facts: ["limit": "\(limit.perSecond)/s", "class": kind.rawValue],
            retryAfterSeconds: seconds
        )
    }
}

extension Duration {
    var inWholeSecondsUp: Int { Int((inMilliseconds + 999) / 1000) }
}
