import DequeModule
import Foundation
import Synchronization

/// A thread for calls that block, as the executor of the one actor that makes them: the pool that everything else runs on is never held up.
final class DedicatedThread: SerialExecutor {
    private struct State {
        var jobs: Deque<UnownedJob> = []
        var isEnded = false
    }

    private let state = Mutex(State())
    private let condition = NSCondition()

    init(name: String) {
        let thread = Thread { self.work() }
        thread.name = name
        thread.stackSize = 1 << 20
        thread.start()
    }

    func enqueue(_ job: consuming ExecutorJob) {
        // The job may be the last of its actor, which is then gone with its reference to this thread before we have rung.
        let own = Unmanaged.passRetained(self)
        defer { own.release() }
        let job = UnownedJob(job)
        state.withLock { $0.jobs.append(job) }
        wake()
    }

    /// The thread ends once what was enqueued is done.
    func end() {
        state.withLock { $0.isEnded = true }
        wake()
    }

    private func wake() {
        condition.lock()
        condition.signal()
        condition.unlock()
    }

    private func work() {
        while true {
            condition.lock()
            while state.withLock({ $0.jobs.isEmpty && !$0.isEnded }) { condition.wait() }
            condition.unlock()
            guard let job = state.withLock({ $0.jobs.popFirst() }) else { return }
            job.runSynchronously(on: asUnownedSerialExecutor())
        }
    }
}
