package import Kernel
import Synchronization

/// The wait for one change to be on disk.
package final class Ticket: Sendable {
    private enum State {
        case open([CheckedContinuation<Result<Void, Refusal>, Never>])
        case settled(Result<Void, Refusal>)
    }

    private let state = Mutex(State.open([]))

    package init() {}

    package func settle(_ result: Result<Void, Refusal>) {
        let waiting = state.withLock { state -> [CheckedContinuation<Result<Void, Refusal>, Never>] in
            guard case .open(let waiting) = state else { preconditionFailure("a ticket is settled once") }
            state = .settled(result)
            return waiting
        }
        for continuation in waiting { continuation.resume(returning: result) }
    }

    /// Returns when the change is on disk.
    /// - Throws: `Refusal.journalUnavailable` when it could not be written; nothing of it happened.
    package func committed() async throws(Refusal) {
        let result = await withCheckedContinuation { continuation in
            let settled = state.withLock { state -> Result<Void, Refusal>? in
                switch state {
                case .settled(let result): return result
                case .open(let waiting):
                    state = .open(waiting + [continuation])
                    return nil
                }
            }
            if let settled { continuation.resume(returning: settled) }
        }
        try result.get()
    }
}

/// What a turn answers, held back until the change that it made is on disk. A refusal is held back as well: what it refuses for may itself not be on
/// disk yet, and nobody is told what a crash can undo.
package struct Pending<Answer: Sendable>: Sendable {
    private let answer: Result<Answer, Refusal>
    private let ticket: Ticket

    package init(_ answer: Result<Answer, Refusal>, _ ticket: Ticket) {
        self.answer = answer
        self.ticket = ticket
    }

    package func committed() async throws(Refusal) -> Answer {
        try await ticket.committed()
        return try answer.get()
    }
}
