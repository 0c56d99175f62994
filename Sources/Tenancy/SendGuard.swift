package import Conversations
import Kernel
package import Resilience

/// Stands between the outbox and what it sends through: asks the tenant's breaker before an attempt, and tells it what came of it.
package struct SendGuard: Sendable {
    private let board: BreakerBoard
    private let dependency: Dependency
    private let verdict: @Sendable (SendResult) -> CallVerdict
    /// Whether a result speaks of the number it went out from, rather than of the service.
    private let isOfNumber: @Sendable (SendResult) -> Bool
    /// Whose limit was reached, when a result says that it was too fast.
    let rateLimit: @Sendable (SendResult) -> String?

    /// - Parameter verdict: what a result says of the service; most refusals say nothing against it.
    package init(
        board: BreakerBoard,
        dependency: Dependency,
        verdict: @escaping @Sendable (SendResult) -> CallVerdict,
        isOfNumber: @escaping @Sendable (SendResult) -> Bool = { _ in false },
        rateLimit: @escaping @Sendable (SendResult) -> String? = { _ in nil }
    ) {
        self.board = board
        self.dependency = dependency
        self.verdict = verdict
        self.isOfNumber = isOfNumber
        self.rateLimit = rateLimit
    }

    enum Answer {
        case allowed(Permit)
        case refused(retryAfter: Duration)
    }

    /// - Parameter number: which of several it goes out from; `nil` for the only one, of which everything is the business's.
    func ask(_ tenant: TenantID, _ number: String? = nil) -> Answer {
        let whole = board.breaker(dependency, of: tenant)
        let generation: Int
        switch whole.callRequested() {
        case .allowed(let allowed): generation = allowed
        case .refused(let retryAfter): return .refused(retryAfter: retryAfter)
        }
        var permit = Permit(whole: whole, generation: generation, since: .now, verdict: verdict, isOfNumber: isOfNumber)
        guard let number else { return .allowed(permit) }
        let own = board.breaker(dependency, of: tenant, number: number)
        switch own.callRequested() {
        case .allowed(let generation):
            permit.number = (own, generation)
            return .allowed(permit)
        case .refused(let retryAfter):
            permit.abandon()
            return .refused(retryAfter: retryAfter)
        }
    }

    package struct Permit: Sendable {
        fileprivate let whole: TenantBreaker
        fileprivate let generation: Int
        fileprivate var number: (breaker: TenantBreaker, generation: Int)?
        fileprivate let since: ContinuousClock.Instant
        fileprivate let verdict: @Sendable (SendResult) -> CallVerdict
        fileprivate let isOfNumber: @Sendable (SendResult) -> Bool

        func report(_ result: SendResult) {
            let (verdict, took) = (verdict(result), ContinuousClock.now - since)
            guard let number else { return whole.callEnded(generation, verdict, took: took) }
            let isNumbers = isOfNumber(result)
            // What speaks of the one says nothing of the other, except that something got through, which is good news of both.
            whole.callEnded(generation, isNumbers && verdict != .succeeded ? .ignored : verdict, took: took)
            number.breaker.callEnded(number.generation, isNumbers || verdict == .succeeded ? verdict : .ignored, took: took)
        }

        func abandon() {
            whole.callEnded(generation, .ignored, took: .zero)
            number.map { $0.breaker.callEnded($0.generation, .ignored, took: .zero) }
        }
    }
}
