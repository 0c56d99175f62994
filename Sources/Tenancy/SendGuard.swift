package import Conversations
import Kernel
package import Resilience

/// Stands between the outbox and what it sends through: asks the tenant's breaker before an attempt, and tells it what came of it.
package struct SendGuard: Sendable {
    private let board: BreakerBoard
    private let dependency: Dependency
    private let verdict: @Sendable (SendResult) -> CallVerdict
    /// Whose limit was reached, when a result says that it was too fast.
    let rateLimit: @Sendable (SendResult) -> String?

    /// - Parameter verdict: what a result says of the service; most refusals say nothing against it.
    package init(
        board: BreakerBoard,
        dependency: Dependency,
        verdict: @escaping @Sendable (SendResult) -> CallVerdict,
        rateLimit: @escaping @Sendable (SendResult) -> String? = { _ in nil }
    ) {
        self.board = board
        self.dependency = dependency
        self.verdict = verdict
        self.rateLimit = rateLimit
    }

    enum Answer {
        case allowed(Permit)
        case refused(retryAfter: Duration)
    }

    func ask(_ tenant: TenantID) -> Answer {
        let breaker = board.breaker(dependency, of: tenant)
        switch breaker.callRequested() {
        case .allowed(let generation): return .allowed(Permit(breaker: breaker, generation: generation, since: .now, verdict: verdict))
        case .refused(let retryAfter): return .refused(retryAfter: retryAfter)
        }
    }

    struct Permit {
        fileprivate let breaker: TenantBreaker
        fileprivate let generation: Int
        fileprivate let since: ContinuousClock.Instant
        fileprivate let verdict: @Sendable (SendResult) -> CallVerdict

        func report(_ result: SendResult) { breaker.callEnded(generation, verdict(result), took: .now - since) }
        func abandon() { breaker.callEnded(generation, .ignored, took: .zero) }
    }
}
