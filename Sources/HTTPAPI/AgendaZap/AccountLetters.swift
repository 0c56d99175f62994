import Identity
import Kernel
package import Logging
import Tenancy

/// Letters that nobody may be kept waiting for, as how long an answer takes would tell whether there is such an account: put into the queue beside the answer.
/// Bounded; what finds no room, or is lost with the process, is asked for again by whoever misses it.
package final class AccountLetters: Sendable {
    static let maxWaiting = 1000

    private let stream: AsyncStream<AccountLetter>
    private let continuation: AsyncStream<AccountLetter>.Continuation

    package init() { (stream, continuation) = AsyncStream.makeStream(bufferingPolicy: .bufferingOldest(Self.maxWaiting)) }

    func put(_ letter: AccountLetter) { continuation.yield(letter) }

    /// Until cancelled.
    package func run(_ api: API, logger: Logger) async {
        for await letter in stream {
            do { try await api.accounts(logger).send(letter) } catch {
                logger.warning("an account letter could not be queued", metadata: ["tenant": "\(letter.tenant)", "reason": "\(error)"])
            }
        }
    }
}
