import Kernel
import Logging
import Storage
import Synchronization

@testable import Jobs

let tenant = TenantID(UniqueID(high: 1, low: 0xa))

/// A value that a test can wait to become as it expects: no clock is involved, only the changes themselves.
final class Watched<Value: Sendable>: Sendable {
    private struct Waiter {
        let id: Int
        let isMet: @Sendable (Value) -> Bool
        let continuation: CheckedContinuation<Void, Never>
    }
    private struct State {
        var value: Value
        var waiters: [Waiter] = []
        var lastWaiter = 0
    }
    private let state: Mutex<State>

    init(_ value: Value) { state = Mutex(State(value: value)) }

    var value: Value { state.withLock { $0.value } }

    @discardableResult
    func change<T: Sendable>(_ body: @Sendable (inout Value) -> T) -> T {
        let (result, met) = state.withLock { state -> (T, [Waiter]) in
            let result = body(&state.value)
            let met = state.waiters.filter { $0.isMet(state.value) }
            state.waiters.removeAll { $0.isMet(state.value) }
            return (result, met)
        }
        for waiter in met { waiter.continuation.resume() }
        return result
    }

    /// Returns when the value is as expected, or the test has run out of time.
    func until(_ isMet: @escaping @Sendable (Value) -> Bool) async {
        let id = state.withLock { state in
            state.lastWaiter += 1
            return state.lastWaiter
        }
        await withTaskCancellationHandler {
            await withCheckedContinuation { continuation in
                let isOver = state.withLock { state in
                    if isMet(state.value) || Task.isCancelled { return true }
                    state.waiters.append(Waiter(id: id, isMet: isMet, continuation: continuation))
                    return false
                }
                if isOver { continuation.resume() }
            }
        } onCancel: {
            let waiter = state.withLock { state in
                state.waiters.firstIndex { $0.id == id }.map { state.waiters.remove(at: $0) }
            }
            waiter?.continuation.resume()
        }
    }
}

/// The jobs table, in memory. A reading can be held up between the moment it looked and the moment it answers.
final class FakeStore: Store {
    struct State {
        var jobs: [JobID: Job] = [:]
        var readings = 0
        var failures = 0
        var isHeld = false
        /// Readings that have looked, and not answered yet.
        var looked = 0
    }
    let state = Watched(State())

    func put(_ jobs: [Job]) { state.change { for job in jobs { $0.jobs[job.id] = job } } }
    func end(_ job: Job) { state.change { $0.jobs[job.id] = nil } }

    func rows(_ query: Query) async throws(Refusal) -> [Row] { preconditionFailure("the runner reads jobs only") }
    func tenantsWithJobs() async throws(Refusal) -> [TenantID] { Array(Set(state.value.jobs.values.map(\.tenant))) }
    func jobs(of tenant: TenantID, after lane: String, limit: Int) async throws(Refusal) -> [Job] {
        try await read(limit) { $0.tenant == tenant && $0.lane > lane }
    }
    func jobs(of tenant: TenantID, in lane: String, limit: Int) async throws(Refusal) -> [Job] {
        try await read(limit) { $0.tenant == tenant && $0.lane == lane }
    }

    private func read(_ limit: Int, where isMeant: @escaping @Sendable (Job) -> Bool) async throws(Refusal) -> [Job] {
        let (jobs, fails) = state.change { state -> ([Job], Bool) in
            state.readings += 1
            state.looked += 1
            let fails = state.failures > 0
            if fails { state.failures -= 1 }
            return (state.jobs.values.filter(isMeant).sorted { ($0.lane, $0.order) < ($1.lane, $1.order) }, fails)
        }
        await state.until { !$0.isHeld }
        state.change { $0.looked -= 1 }
        if fails { throw Refusal(.unavailable, "store_unavailable", "made to fail") }
        return Array(jobs.prefix(limit))
    }
    func marks(_ keys: [Mark.Key]) async throws(Refusal) -> [Mark.Key: String] { [:] }
}

/// Does what the test says with each job, and remembers what it was given.
final class FakeWorker: JobWorker {
    struct State {
        var begun: [String] = []
        var interrupted: [String] = []
        var ended: [String] = []
        var running: Set<String> = []
        var mostAtOnce = 0
        var overlapped = false
        /// Jobs that do not end until they are let go.
        var held: Set<String> = []
        var isEverythingHeld = false
        /// What an attempt answers instead of ending, by job; used up from the front.
        var postponements: [String: [Timestamp]] = [:]
        /// Until when jobs whose lanes begin like this are held.
        var heldUntil: [String: Timestamp] = [:]
    }
    let state = Watched(State())
    private let store: FakeStore

    init(_ store: FakeStore) { self.store = store }

    func hold(_ names: String...) { state.change { $0.held.formUnion(names) } }
    func letGo(_ names: String...) { state.change { $0.held.subtract(names) } }

    func attempt(_ job: Job) async -> JobProgress { await carryOut(job, isInterrupted: false) }
    func foundInterrupted(_ job: Job) async -> JobProgress { await carryOut(job, isInterrupted: true) }

    private func carryOut(_ job: Job, isInterrupted: Bool) async -> JobProgress {
        let name = job.payload
        state.change { state in
            if isInterrupted { state.interrupted.append(name) } else { state.begun.append(name) }
            if state.running.contains(where: { $0.prefix { $0 != "-" } == name.prefix { $0 != "-" } }) { state.overlapped = true }
            state.running.insert(name)
            state.mostAtOnce = max(state.mostAtOnce, state.running.count)
        }
        await state.until { !$0.held.contains(name) && !$0.isEverythingHeld }
        let postponed: Timestamp? = state.change { state in
            guard var times = state.postponements[name], !times.isEmpty else { return nil }
            let time = times.removeFirst()
            state.postponements[name] = times
            return time
        }
        if let postponed {
            var later = job
            later.runAt = postponed
            later.attempts += 1
            store.put([later])
            state.change { _ = $0.running.remove(name) }
            return .again(later)
        }
        let held = state.change { state in
            let time = state.heldUntil.first { name.hasPrefix($0.key) }?.value
            if time != nil { state.running.remove(name) }
            return time
        }
        if let held { return .held(until: held) }
        store.end(job)
        state.change { state in
            state.running.remove(name)
            state.ended.append(name)
        }
        return .ended
    }
}

/// A clock that stands still, and counts how often it was looked at: a way to know that the runner has looked for what fell due.
final class CountingClock: Sendable {
    let manual = ManualEnvironment()
    let looks = Watched(0)

    var environment: Environment {
        Environment(
            now: {
                self.looks.change { $0 += 1 }
                return self.manual.now
            },
            randomBits: manual.environment.randomBits
        )
    }

    /// Returns when the clock has been looked at so often again that the runner has gone round completely at least once.
    func runnerWentRound() async {
        let now = looks.value
        await looks.until { $0 >= now + 4 }
    }
}
