import Synchronization

/// Wakes the one task that waits at it. A ring while nobody waits is kept for the next wait.
final class Doorbell: Sendable {
    private struct State {
        var isRung = false
        var waiting: (number: Int, continuation: CheckedContinuation<Void, Never>)?
        var waits = 0
    }

    private let state = Mutex(State())

    func ring() {
        state.withLock { state -> CheckedContinuation<Void, Never>? in
            guard let waiting = state.waiting else {
                state.isRung = true
                return nil
            }
            state.waiting = nil
            return waiting.continuation
        }?.resume()
    }

    /// Returns at the next ring, or after `limit`.
    func wait(upTo limit: Duration) async {
        let number = state.withLock { state in
            state.waits += 1
            return state.waits
        }
        let alarm = Task {
            guard (try? await Task.sleep(for: limit)) != nil else { return }
            self.giveUp(number)
        }
        await withCheckedContinuation { continuation in
            let isRung = state.withLock { state in
                if !state.isRung { state.waiting = (number, continuation) }
                defer { state.isRung = false }
                return state.isRung
            }
            if isRung { continuation.resume() }
        }
        alarm.cancel()
    }

    private func giveUp(_ number: Int) {
        state.withLock { state -> CheckedContinuation<Void, Never>? in
            guard let waiting = state.waiting, waiting.number == number else {
                // Not waiting yet: the alarm was quicker than the wait.
                if state.waits == number, state.waiting == nil { state.isRung = true }
                return nil
            }
            state.waiting = nil
            return waiting.continuation
        }?.resume()
    }
}
