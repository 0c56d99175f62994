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
// The rows are the truth. What is in memory is the beginning of them, and each business has its own beginning, so that nobody's backlog stands before
// anybody else's jobs (research/conversations.md §10, lesson 19):
//
// - A business's rows are read lane by lane, in the order of the lanes' names, as far as its share of the memory goes; what has been read is up to `read`.
// - Of a lane no more than `perLane` jobs are in memory. A lane that has more is cut: it reads itself on once those have ended, and new jobs of it stay in the
//   store with the rest, lest they overtake.
// - Lanes that wait for a time, or for what they need, take no part of the share: however many there are, those behind them are read.
// - Whoever has fewer attempts under way than it is due begins before whoever has more; kinds have slots of their own.

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
        /// Attempts of one kind under way at once.
        package var concurrency = 64
        /// Of kinds that are to have another number.
        package var concurrencyOfKind: [String: Int] = [:]
        /// Attempts of one kind that a business may always have under way, up to twice the number above over all of them.
        package var guaranteed = 4
        /// Jobs in memory that could run, over all businesses.
        package var inMemory = 20_000
        /// Of one lane.
        package var perLane = 32

        package init() {}

        fileprivate func slots(_ kind: String) -> Int { concurrencyOfKind[kind] ?? concurrency }
    }

    private struct Lane {
        let tenant: TenantID
        let kind: String
        var jobs: [Job] = []
        var isRunning = false
        /// In its share's `startable`.
        var isListed = false
        var notBefore: Timestamp?
        /// Waits for what its first job needs.
        var isHeld = false
        /// There are more in the store.
        var isCut = false
        /// How many more, as far as they have been counted.
        var elsewhere = 0
        /// What has been added while the lane reads itself on; `nil` while it does not.
        var addedWhileReading: [Job]?

        /// What it takes of its tenant's share.
        var weight: Int { notBefore == nil ? jobs.count : 0 }
    }

    /// What of a business is in the store and not in memory.
    private enum Backlog {
        /// Lanes after `read` have not been looked at. New jobs of those stay there, lest they overtake.
        case inStore
        /// Being read; what has been added meanwhile comes behind, and what has ended meanwhile may be among the rows but is over.
        case reading(added: [Job], ended: Set<JobID>)
        case none
    }

    private struct Business {
        var backlog: Backlog
        /// The last lane that was read.
        var read = ""
        var known: Set<JobID> = []
        /// What its lanes take of its share.
        var weight = 0
        var lanes = 0

        var isOver: Bool { if case .none = backlog { lanes == 0 } else { false } }
    }

    /// The attempts of one kind.
    private struct Slots {
        var running = 0
        /// Businesses with something to begin, each once, first come first served.
        var round: Deque<TenantID> = []
        var shares: [TenantID: Share] = [:]

        mutating func list(_ lane: String, of tenant: TenantID) {
            shares[tenant, default: Share()].startable.append(lane)
            guard shares[tenant]?.isListed == false else { return }
            shares[tenant]?.isListed = true
            round.append(tenant)
        }

        mutating func ended(of tenant: TenantID) {
            running -= 1
            shares[tenant]?.running -= 1
            if let share = shares[tenant], !share.isListed, share.running == 0 { shares[tenant] = nil }
        }
    }

    private struct Share {
        /// Lanes to look at, each once, first come first served.
        var startable: Deque<String> = []
        var running = 0
        var isListed = false
    }

    private struct State {
        var lanes: [String: Lane] = [:]
        var businesses: [TenantID: Business] = [:]
        var slots: [String: Slots] = [:]
        /// Whether it is known who has rows.
        var areListed = false
        /// Cut lanes with nothing left in memory.
        var hungry: Set<String> = []
        var isStopping = false

        var known: Int { businesses.values.reduce(0) { $0 + $1.known.count } }
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
        // Never holds more than there are slots: a job is put in only when there is room for it to run.
        (starts, starter) = AsyncStream.makeStream(bufferingPolicy: .unbounded)
    }

    /// Jobs that wait, as far as they have been counted.
    package var waiting: Int { state.withLock { state in state.known + state.lanes.values.reduce(0) { $0 + $1.elsewhere } } }

    /// Jobs that a change has just stored. Called from the gate, in its order.
    package func add(_ jobs: [Job]) {
        state.withLock { state in
            for job in jobs where job.state == .ready { add(job, &state) }
            pump(&state)
        }
    }

    private func add(_ job: Job, _ state: inout State) {
        let tenant = job.tenant
        if state.businesses[tenant] == nil { state.businesses[tenant] = Business(backlog: state.areListed ? .none : .inStore) }
        switch state.businesses[tenant]?.backlog {
        case .inStore:
            // Lanes that were read are whole in memory, or know that they are not.
            if let read = state.businesses[tenant]?.read, job.lane <= read { insert(job, &state) }
        case .reading(let added, let ended): state.businesses[tenant]?.backlog = .reading(added: added + [job], ended: ended)
        case Backlog.none?, nil:
            if let weight = state.businesses[tenant]?.weight, weight >= share(state), state.lanes[job.lane] == nil {
                // From here on lanes are read in their order again; those that are known are in memory.
                state.businesses[tenant]?.backlog = .inStore
                state.businesses[tenant]?.read = ""
            } else {
                insert(job, &state)
            }
        }
    }

    /// How many jobs that could run a business has in memory, at the most.
    private func share(_ state: State) -> Int { max(1, limits.inMemory / max(1, state.businesses.count)) }

    private func insert(_ job: Job, _ state: inout State) {
        guard state.businesses[job.tenant]?.known.contains(job.id) == false else { return }
        var lane = state.lanes[job.lane] ?? Lane(tenant: job.tenant, kind: job.kind)
        if lane.addedWhileReading != nil {
            lane.addedWhileReading?.append(job)
        } else if lane.isCut || lane.jobs.count >= limits.perLane {
            lane.isCut = true
            lane.elsewhere += 1
        } else {
            state.businesses[job.tenant]?.known.insert(job.id)
            // Nearly always last. Behind the one that runs in any case.
            var place = lane.jobs.count
            while place > (lane.isRunning ? 1 : 0), lane.jobs[place - 1].order > job.order { place -= 1 }
            lane.jobs.insert(job, at: place)
        }
        put(lane, job.lane, &state)
        list(job.lane, &state)
    }

    /// Every change of a lane goes through here, which keeps count of what it takes.
    private func put(_ lane: Lane, _ name: String, _ state: inout State) {
        let isOver = lane.jobs.isEmpty && !lane.isCut && lane.addedWhileReading == nil && !lane.isRunning
        let before = state.lanes[name]
        state.businesses[lane.tenant]?.weight += (isOver ? 0 : lane.weight) - (before?.weight ?? 0)
        state.businesses[lane.tenant]?.lanes += (isOver ? 0 : 1) - (before == nil ? 0 : 1)
        state.lanes[name] = isOver ? nil : lane
        if lane.jobs.isEmpty, lane.isCut, lane.addedWhileReading == nil, !lane.isRunning { state.hungry.insert(name) }
        if isOver, state.businesses[lane.tenant]?.isOver == true { state.businesses[lane.tenant] = nil }
    }

    private func list(_ name: String, _ state: inout State) {
        guard let lane = state.lanes[name], !lane.isListed, !lane.isRunning, !lane.jobs.isEmpty else { return }
        state.lanes[name]?.isListed = true
        // In place: a copy of what may be many lanes for each of them would be very many.
        state.slots[lane.kind, default: Slots()].list(name, of: lane.tenant)
    }

    private func pump(_ state: inout State) {
        guard !state.isStopping else { return }
        let now = environment.now()
        for kind in state.slots.keys { pump(kind, now, &state) }
    }

    /// One lane of each business in turn.
    private func pump(_ kind: String, _ now: Timestamp, _ state: inout State) {
        guard var slots = state.slots.removeValue(forKey: kind) else { return }
        let (most, all) = (limits.slots(kind), 2 * limits.slots(kind))
        // Once everybody in the round has been passed over, nobody can begin.
        var passedOver = 0
        while passedOver < slots.round.count, slots.running < all, let tenant = slots.round.popFirst() {
            guard slots.running < most || slots.shares[tenant]?.running ?? 0 < min(limits.guaranteed, most / 2) else {
                slots.round.append(tenant)
                passedOver += 1
                continue
            }
            guard var share = slots.shares.removeValue(forKey: tenant) else { continue }
            while let name = share.startable.popFirst() {
                guard let job = begin(name, now, &state) else { continue }
                passedOver = 0
                share.running += 1
                slots.running += 1
                starter.yield(job)
                break
            }
            share.isListed = !share.startable.isEmpty
            if share.isListed { slots.round.append(tenant) }
            if share.isListed || share.running > 0 { slots.shares[tenant] = share }
        }
        state.slots[kind] = slots
    }

    /// - Returns: the lane's next job, if its time has come.
    private func begin(_ name: String, _ now: Timestamp, _ state: inout State) -> Job? {
        guard var lane = state.lanes[name] else { return nil }
        lane.isListed = false
        defer { put(lane, name, &state) }
        guard !lane.isRunning, let job = lane.jobs.first else { return nil }
        if let time = lane.notBefore ?? (job.runAt > now ? job.runAt : nil), time > now {
            lane.notBefore = time
            return nil
        }
        lane.isRunning = true
        lane.notBefore = nil
        lane.isHeld = false
        return job
    }

    /// How many of a tenant's jobs wait, as far as they have been counted.
    package func waiting(_ tenant: TenantID) -> Int {
        state.withLock { state in
            (state.businesses[tenant]?.known.count ?? 0) + state.lanes.values.reduce(0) { $0 + ($1.tenant == tenant ? $1.elsewhere : 0) }
        }
    }

    /// How many jobs of a kind wait, of those in memory.
    package func waiting(_ kind: String) -> Int {
        state.withLock { $0.lanes.values.reduce(0) { $0 + $1.jobs.lazy.filter { $0.kind == kind }.count } }
    }

    /// What kept a tenant's jobs waiting is over: those that were to be tried later are tried now.
    package func hasten(_ tenant: TenantID) {
        let now = environment.now()
        state.withLock { state in
            for (name, found) in state.lanes where found.tenant == tenant && !found.isRunning && found.notBefore != nil && !found.jobs.isEmpty {
                var lane = found
                lane.notBefore = nil
                lane.isHeld = false
                lane.jobs[0].runAt = min(lane.jobs[0].runAt, now)
                put(lane, name, &state)
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
            for (name, found) in state.lanes where found.isHeld && found.tenant == tenant && found.kind == kind {
                var lane = found
                lane.isHeld = false
                lane.notBefore = nil
                put(lane, name, &state)
                list(name, &state)
            }
            pump(&state)
        }
    }

    /// Jobs whose lanes are held up.
    package var held: Int { state.withLock { state in state.lanes.values.reduce(0) { $0 + ($1.isHeld ? $1.jobs.count + $1.elsewhere : 0) } } }

    /// No attempt begins from now on.
    package func stop() { state.withLock { $0.isStopping = true } }

    /// Whether an attempt is under way, or about to begin.
    var isBusy: Bool { state.withLock { $0.slots.values.contains { $0.running > 0 || !$0.round.isEmpty } } }

    var inMemory: Int { state.withLock { $0.known } }

    func wakePostponed() {
        let now = environment.now()
        state.withLock { state in
            for (name, lane) in state.lanes where !lane.isRunning && lane.notBefore.map({ $0 <= now }) ?? true { list(name, &state) }
            pump(&state)
        }
    }

    // MARK: Reading

    private func readStore() async {
        do throws(Refusal) {
            try await listBusinesses()
            for name in state.withLock({ $0.hungry }) { try await readOn(name) }
            for tenant in state.withLock({ Array($0.businesses.keys) }) { try await read(tenant) }
        } catch {
            logger.warning("jobs could not be read from the store", metadata: ["reason": "\(error.code)"])
        }
    }

    /// Once: who has rows from before. Those who get some later begin with nothing in the store.
    private func listBusinesses() async throws(Refusal) {
        guard !state.withLock({ $0.areListed }) else { return }
        let tenants = try await store.tenantsWithJobs()
        state.withLock { state in
            for tenant in tenants where state.businesses[tenant] == nil { state.businesses[tenant] = Business(backlog: .inStore) }
            state.areListed = true
        }
    }

    /// The next lanes of a business that has room for them.
    private func read(_ tenant: TenantID) async throws(Refusal) {
        let due: (after: String, count: Int)? = state.withLock { state in
            guard let business = state.businesses[tenant], case .inStore = business.backlog else { return nil }
            let share = share(state)
            guard business.weight < max(1, share / 2) else { return nil }
            state.businesses[tenant]?.backlog = .reading(added: [], ended: [])
            return (business.read, share - business.weight)
        }
        guard let due else { return }
        do throws(Refusal) {
            let stored = try await store.jobs(of: tenant, after: due.after, limit: due.count)
            state.withLock { state in
                guard case .reading(let added, let ended)? = state.businesses[tenant]?.backlog else { return }
                for job in stored where !ended.contains(job.id) { insert(job, &state) }
                if stored.count < due.count {
                    state.businesses[tenant]?.backlog = .none
                } else if let last = stored.last {
                    state.businesses[tenant]?.backlog = .inStore
                    state.businesses[tenant]?.read = last.lane
                    cut(last, &state)
                }
                for job in added { add(job, &state) }
                forget(tenant, &state)
                pump(&state)
            }
        } catch {
            state.withLock { state in
                state.businesses[tenant]?.backlog = .inStore
            }
            throw error
        }
    }

    /// The last lane of a reading may go on in the store.
    private func cut(_ last: Job, _ state: inout State) {
        var lane = state.lanes[last.lane] ?? Lane(tenant: last.tenant, kind: last.kind)
        lane.isCut = true
        put(lane, last.lane, &state)
    }

    private func forget(_ tenant: TenantID, _ state: inout State) {
        if state.businesses[tenant]?.isOver == true { state.businesses[tenant] = nil }
    }

    /// A cut lane has come to the end of what was in memory.
    private func readOn(_ name: String) async throws(Refusal) {
        let tenant: TenantID? = state.withLock { state in
            state.hungry.remove(name)
            guard var lane = state.lanes[name], lane.jobs.isEmpty, lane.isCut, lane.addedWhileReading == nil else { return nil }
            lane.addedWhileReading = []
            put(lane, name, &state)
            return lane.tenant
        }
        guard let tenant else { return }
        do throws(Refusal) {
            let stored = try await store.jobs(of: tenant, in: name, limit: limits.perLane)
            state.withLock { state in
                guard var lane = state.lanes[name], let added = lane.addedWhileReading else { return }
                lane.addedWhileReading = nil
                lane.isCut = false
                lane.elsewhere = max(0, lane.elsewhere - stored.count)
                let isWhole = stored.count < limits.perLane
                if isWhole { lane.elsewhere = 0 }
                state.lanes[name]?.addedWhileReading = nil
                for job in stored {
                    state.businesses[tenant]?.known.insert(job.id)
                    lane.jobs.append(job)
                }
                lane.isCut = !isWhole
                put(lane, name, &state)
                if isWhole { for job in added { insert(job, &state) } }
                list(name, &state)
                forget(tenant, &state)
                pump(&state)
            }
        } catch {
            state.withLock { state in
                state.lanes[name]?.addedWhileReading = nil
                state.hungry.insert(name)
            }
            throw error
        }
    }

    // MARK: One job

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
            guard var lane = state.lanes[job.lane] else { return }
            state.slots[lane.kind]?.ended(of: job.tenant)
            lane.isRunning = false
            switch progress {
            case .ended:
                lane.jobs.removeFirst()
                state.businesses[job.tenant]?.known.remove(job.id)
                if case .reading(let added, let ended)? = state.businesses[job.tenant]?.backlog {
                    state.businesses[job.tenant]?.backlog = .reading(added: added, ended: ended.union([job.id]))
                }
            case .again(let next):
                lane.jobs[0] = next
                lane.notBefore = next.runAt
            case .held(let time):
                lane.notBefore = time
                lane.isHeld = true
            }
            put(lane, job.lane, &state)
            list(job.lane, &state)
            pump(&state)
        }
    }
}
