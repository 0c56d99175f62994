import Kernel
import Synchronization

// The barrier: a reader waits until what its tenant has committed is stored remotely.

extension WriteBehindStore {
    func wakeReaders() {
        let ready = state.withLock { state in
            let reached = state.queue.flushedThrough
            let ready = state.waiters.filter { $0.value.sequence <= reached }
            for number in ready.keys { state.waiters[number] = nil }
            return ready.values.map(\.continuation)
        }
        for continuation in ready { continuation.resume(returning: true) }
    }

    /// - Returns: whether everything up to `sequence` is stored remotely, at the latest after `patience`.
    func reached(_ sequence: Int64, within patience: Duration) async -> Bool {
        let number: Int? = state.withLock { state in
            if state.queue.flushedThrough >= sequence { return nil }
            state.waiterCount += 1
            return state.waiterCount
        }
        guard let number else { return true }
        defer { state.withLock { _ = $0.givenUp.remove(number) } }
        return await withTaskGroup(of: Bool?.self) { group in
            group.addTask { await self.wait(number, for: sequence) }
            group.addTask {
                // Whoever is cancelled, as by a client that has gone, gives up at once: else nobody would, for as long as the database is away.
                try? await Task.sleep(for: patience)
                self.giveUp(number)
                return nil
            }
            while let answer = await group.next() {
                guard let answer else { continue }
                group.cancelAll()
                return answer
            }
            return false
        }
    }

    func wait(_ number: Int, for sequence: Int64) async -> Bool {
        await withCheckedContinuation { continuation in
            let answer: Bool? = state.withLock { state in
                if state.queue.flushedThrough >= sequence { return true }
                if state.isAbandoned || state.givenUp.remove(number) != nil { return false }
                state.waiters[number] = Waiter(sequence: sequence, continuation: continuation)
                return nil
            }
            if let answer { continuation.resume(returning: answer) } else { bell.ring() }
        }
    }

    /// It has waited long enough, or will have before it has begun.
    func giveUp(_ number: Int) {
        state.withLock { state -> Waiter? in
            guard let waiter = state.waiters.removeValue(forKey: number) else {
                state.givenUp.insert(number)
                return nil
            }
            return waiter
        }?.continuation.resume(returning: false)
    }

    func barrier(_ tenant: TenantID?) async throws(Refusal) {
        let sequence = state.withLock { $0.queue.barrier(for: tenant) }
        let status = database.status
        let outage = state.withLock { $0.queue.flushedThrough < sequence && status.isRefusing ? $0.outage : nil }
        if let outage { throw .storeUnavailable(retryAfterSeconds: seconds(outage.retryAt - environment.now())) }
        guard await reached(sequence, within: settings.barrierPatience) else { throw .storeBehind }
    }

    func seconds(_ duration: Duration) -> Int { max(1, Int((duration.inMilliseconds + 999) / 1000)) }
}
