import DequeModule
package import Kernel
package import Logging
package import Storage
import Synchronization

// Carries out the durable intentions that changes leave behind (the transactional outbox, DESIGN §1).
//
// Jobs of one lane run one at a time, by `order`; lanes run beside one another, up to a limit. A job that is to be tried again holds its lane up, and no other:
// order within a conversation matters more than speed, and one conversation's trouble is not another's.
//
// The rows are the truth. What is in memory is the beginning of them: when more are waiting than memory should hold, the rest is read in once there is room.

/// Carries out jobs of one kind.
package protocol JobWorker: Sendable {
    /// One attempt. The worker itself commits what came of it.
    func attempt(_ job: Job) async -> JobProgress
    /// The job was found in the middle of an attempt whose outcome nobody knows, after a crash.
    func foundInterrupted(_ job: Job) async -> JobProgress
}

package enum JobProgress: Sendable {
    /// Over, and no longer stored.
    case ended
    /// To be attempted again, at `job.runAt`.
    case again(Job)
    /// Not attempted: what it needs is out of order, until this time or until it is let go (`letGo`). Stored as it was.
    case held(until: Timestamp)
}

package final class JobRunner: Sendable {
    package struct Limits: Sendable {
        /// Attempts under way at once.
        package var concurrency = 64
        /// Jobs in memory, at the most.
        package var inMemory = 20_000

        package init() {}
    }

    private struct Lane {
        var jobs: [Job] = []
        var isRunning = false
        /// In `State.startable`.
        var isListed = false
        var notBefore: Timestamp?
        /// Waits for what its first job needs.
        var isHeld = false
    }

    /// What is in the store and not in memory.
    private enum Backlog {
        /// Rows that have not been read: at the start, and when more came than memory should hold. New jobs stay there with them, lest they overtake.
        case inStore
        /// Being read; what has been added meanwhile comes behind, and what has ended meanwhile may be among the rows but is over.
        case reading(added: [Job], ended: Set<JobID>)
        case none
    }

    private struct State {
        var lanes: [String: Lane] = [:]
        var known: Set<JobID> = []
        var running = 0
        var backlog = Backlog.inStore
        var isStopping = false
        /// Lanes to look at, each once, first come first served.
        var startable: Deque<String> = []
    }

    private let state = Mutex(State())
    private let workers: [String: any JobWorker]
    private let environment: Environment
    private let store: any Store
    private let limits: Limits
    private let logger: Logger
    private let starts: AsyncStream<Job>
    private let starter: AsyncStream<Job>.Continuation

    package init(workers: [String: any JobWorker], store: any Store, environment: Environment, limits: Limits = Limits(), logger: Logger) {
        self.workers = workers
        self.store = store
        self.environment = environment
        self.limits = limits
        self.logger = logger
        // Never holds more than `concurrency`: a job is put in only when there is room for it to run.
        (starts, starter) = AsyncStream.makeStream(bufferingPolicy: .unbounded)
    }

    package var waiting: Int { state.withLock { $0.known.count } }

    /// Jobs that a change has just stored. Called from the gate, in its order.
    package func add(_ jobs: [Job]) {
        state.withLock { state in
            for job in jobs where job.state == .ready { add(job, &state) }
            pump(&state)
        }
    }

    private func add(_ job: Job, _ state: inout State) {
        switch state.backlog {
        case .inStore: break
        case .reading(let added, let ended): state.backlog = .reading(added: added + [job], ended: ended)
        case .none: if state.known.count < limits.inMemory { insert(job, &state) } else { state.backlog = .inStore }
        }
    }

    private func insert(_ job: Job, _ state: inout State) {
        guard state.known.insert(job.id).inserted else { return }
        var lane = state.lanes[job.lane] ?? Lane()
        // Nearly always last. Behind the one that runs in any case.
        var place = lane.jobs.count
        while place > (lane.isRunning ? 1 : 0), lane.jobs[place - 1].order > job.order { place -= 1 }
        lane.jobs.insert(job, at: place)
        state.lanes[job.lane] = lane
        list(job.lane, &state)
    }

    private func list(_ name: String, _ state: inout State) {
        guard state.lanes[name]?.isListed == false else { return }
        state.lanes[name]?.isListed = true
        state.startable.append(name)
    }

    private func pump(_ state: inout State) {
        guard !state.isStopping else { return }
        let now = environment.now()
        while state.running < limits.concurrency, let name = state.startable.popFirst() {
            state.lanes[name]?.isListed = false
            guard var lane = state.lanes[name], !lane.isRunning, let job = lane.jobs.first else { continue }
            if let time = lane.notBefore ?? (job.runAt > now ? job.runAt : nil), time > now {
                lane.notBefore = time
                state.lanes[name] = lane
                continue
            }
            lane.isRunning = true
            lane.notBefore = nil
            lane.isHeld = false
            state.lanes[name] = lane
            state.running += 1
            starter.yield(job)
        }
    }

    /// How many of a tenant's jobs wait, of those in memory.
    package func waiting(_ tenant: TenantID) -> Int {
        state.withLock { $0.lanes.values.reduce(0) { $0 + $1.jobs.lazy.filter { $0.tenant == tenant }.count } }
    }

    /// How many jobs of a kind wait, of those in memory.
    package func waiting(_ kind: String) -> Int {
        state.withLock { $0.lanes.values.reduce(0) { $0 + $1.jobs.lazy.filter { $0.kind == kind }.count } }
    }

    /// What kept a tenant's jobs waiting is over: those that were to be tried later are tried now.
    package func hasten(_ tenant: TenantID) {
        let now = environment.now()
        state.withLock { state in
            for (name, lane) in state.lanes where !lane.isRunning {
                guard lane.notBefore != nil, let first = lane.jobs.first, first.tenant == tenant else { continue }
                state.lanes[name]?.notBefore = nil
                state.lanes[name]?.isHeld = false
                state.lanes[name]?.jobs[0].runAt = min(first.runAt, now)
                list(name, &state)
            }
            pump(&state)
        }
    }

    // MARK: Running

    /// Carries out jobs until stopped, then lets the attempts under way end.
    package func run() async {
        await withDiscardingTaskGroup { group in
            group.addTask {
                // Looks for what has fallen due, and for rows that are not in memory yet.
                while !Task.isCancelled, !self.state.withLock({ $0.isStopping }) {
                    await self.readStore()
                    self.wakePostponed()
                    try? await Task.sleep(for: .milliseconds(100))
                }
                self.starter.finish()
            }
            for await job in starts { group.addTask { await self.carryOut(job) } }
        }
    }

    /// What a tenant's jobs of this kind need is in order again: those held go on at once.
    package func letGo(_ kind: String, of tenant: TenantID) {
        state.withLock { state in
            for (name, lane) in state.lanes where lane.isHeld && lane.jobs.first?.tenant == tenant && lane.jobs.first?.kind == kind {
                state.lanes[name]?.isHeld = false
                state.lanes[name]?.notBefore = nil
                list(name, &state)
            }
            pump(&state)
        }
    }

    /// Jobs whose lanes are held up.
    package var held: Int { state.withLock { state in state.lanes.values.reduce(0) { $0 + ($1.isHeld ? $1.jobs.count : 0) } } }

    /// No attempt begins from now on.
    package func stop() { state.withLock { $0.isStopping = true } }

    /// Whether an attempt is under way, or about to begin.
    var isBusy: Bool { state.withLock { $0.running > 0 || !$0.startable.isEmpty } }

    func wakePostponed() {
        let now = environment.now()
        state.withLock { state in
            for (name, lane) in state.lanes where !lane.isRunning && lane.notBefore.map({ $0 <= now }) ?? true { list(name, &state) }
            pump(&state)
        }
    }

    private func readStore() async {
        let isDue = state.withLock { state in
            guard case .inStore = state.backlog, state.known.count < limits.inMemory / 2 else { return false }
            state.backlog = .reading(added: [], ended: [])
            return true
        }
        guard isDue else { return }
        do throws(Refusal) {
            let stored = try await store.jobs(limit: limits.inMemory)
            state.withLock { state in
                guard case .reading(let added, let ended) = state.backlog else { return }
                for job in stored where !ended.contains(job.id) { insert(job, &state) }
                state.backlog = stored.count < limits.inMemory ? .none : .inStore
                for job in added { add(job, &state) }
                pump(&state)
            }
        } catch {
            state.withLock { $0.backlog = .inStore }
            logger.warning("jobs could not be read from the store", metadata: ["reason": "\(error.code)"])
        }
    }

    private func carryOut(_ job: Job) async {
        var progress: JobProgress
        if let worker = workers[job.kind] {
            progress = job.state == .attempting ? await worker.foundInterrupted(job) : await worker.attempt(job)
        } else {
            logger.error("nobody carries out jobs of this kind", metadata: ["kind": "\(job.kind)"])
            var later = job
            later.runAt = environment.now() + .seconds(60)
            progress = .again(later)
        }
        state.withLock { state in
            state.running -= 1
            guard var lane = state.lanes[job.lane] else { return }
            lane.isRunning = false
            switch progress {
            case .ended:
                lane.jobs.removeFirst()
                state.known.remove(job.id)
                if case .reading(let added, let ended) = state.backlog { state.backlog = .reading(added: added, ended: ended.union([job.id])) }
            case .again(let next):
                lane.jobs[0] = next
                lane.notBefore = next.runAt
            case .held(let time):
                lane.notBefore = time
                lane.isHeld = true
            }
            state.lanes[job.lane] = lane.jobs.isEmpty ? nil : lane
            list(job.lane, &state)
            pump(&state)
        }
    }
}
