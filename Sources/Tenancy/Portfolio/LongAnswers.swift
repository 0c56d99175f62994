import Kernel
import Synchronization

/// Answers that are read and written page by page, each with a page in memory and for as long as it takes: of each business, as many at once as there may be.
final class LongAnswers: Sendable {
    /// Held while an answer is under way; given back when it ends, or is given up.
    final class Turn: Sendable {
        private let answers: LongAnswers
        private let tenant: TenantID
        private let isOver = Atomic<Bool>(false)

        fileprivate init(_ answers: LongAnswers, _ tenant: TenantID) { (self.answers, self.tenant) = (answers, tenant) }

        deinit { end() }

        func end() { if !isOver.exchange(true, ordering: .relaxed) { answers.ended(tenant) } }
    }

    private let atOnce: Int
    private let underWay = Mutex<[TenantID: Int]>([:])

    init(atOnce: Int = 4) { self.atOnce = atOnce }

    func begin(_ tenant: TenantID) throws(Refusal) -> Turn {
        let begins = underWay.withLock { underWay in
            let count = underWay[tenant] ?? 0
            guard count < atOnce else { return false }
            underWay[tenant] = count + 1
            return true
        }
        guard begins else {
            throw Refusal(
                .tooMany,
                "too_many_answers",
                "Já há \(atOnce) respostas longas em andamento; tente novamente quando uma delas terminar.",
                retryAfterSeconds: 1
            )
        }
        return Turn(self, tenant)
    }

    private func ended(_ tenant: TenantID) {
        underWay.withLock { underWay in
            let count = underWay[tenant] ?? 0
            underWay[tenant] = count > 1 ? count - 1 : nil
        }
    }
}
