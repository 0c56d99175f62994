import DequeModule
import Kernel
import Logging
import Synchronization

// Rows in quarantine, tried again.

extension WriteBehindStore {
    /// A few at a time: what is owed goes on being written meanwhile.
    static let retriesInTurn = 20

    func retryWhatIsAsked() async {
        guard var retry = state.withLock({ $0.retries.popFirst() }) else { return }
        var goesOn = true
        for _ in 0..<Self.retriesInTurn {
            guard goesOn, let id = retry.ids.popFirst() else { break }
            switch await tryAgain(id) {
            case .taken: retry.taken += 1
            case .refused: break
            case .unreachable: goesOn = false
            }
        }
        if goesOn, !retry.ids.isEmpty {
            let rest = retry
            state.withLock { $0.retries.append(rest) }
        } else {
            retry.continuation.resume(returning: retry.taken)
        }
    }

    enum Attempt { case taken, refused, unreachable }

    func tryAgain(_ id: Int64) async -> Attempt {
        let image: RowImage
        do {
            guard let found = try await file.quarantined(id) else { return .refused }
            image = found
        } catch {
            logger.warning("quarantine could not be read", metadata: ["reason": "\(error)"])
            return .unreachable
        }
        do throws(RemoteError) { try await database.write([image]) } catch {
            guard error.kind == .content else { return .unreachable }
            do throws(JournalError) { try file.quarantine(image, reason: error.description, at: environment.now()) } catch {
                logger.warning("the quarantine could not be brought up to date", metadata: ["reason": "\(error)"])
            }
            return .refused
        }
        return release([image]) ? .taken : .refused
    }

    /// - Returns: how many were taken; `nil` when the server is stopping.
    func retry(_ ids: [Int64]) async -> Int? {
        await withCheckedContinuation { continuation in
            let isAsked = state.withLock { state in
                if state.isStopping { return false }
                state.retries.append(Retry(ids: Deque(ids), continuation: continuation))
                return true
            }
            if isAsked { bell.ring() } else { continuation.resume(returning: nil) }
        }
    }
}
