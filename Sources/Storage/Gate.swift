import Dispatch
package import Kernel
package import Logging
import Synchronization
package import Telemetry

// The output gate and the committer behind it (DESIGN §1).
//
//     enqueue ─▶ inbox ─▶ one batch ─▶ Journal.commit (one transaction, one fsync) ─▶ release, in order
//
// A live actor decides in one turn and enqueues the Change in that same turn, so changes of one actor are in the inbox in the order in which
// they were decided. While one batch is being written, whatever arrives waits and makes the next one: that is all there is to group commit,
// there is no timer. Once a batch is on disk its changes are released one after the other: events to the outlet, then the caller's own release.
//
// Invariants
// 1. Nothing is released before it, and everything enqueued before it, is on disk.
// 2. Releases happen in the order of enqueueing, one at a time. What is registered by a release (a subscription with its position) therefore
//    sees exactly the events of the changes behind it.
// 3. A change decided on state that was not made durable is never written: when a commit fails, every activation with a change in the batch or
//    in the inbox is ended under the same lock that takes new changes in, and an ended activation's changes are refused.
//
// A batch that fails because of what is in it (a broken constraint, which is a defect) is halved until the change at fault stands alone, so that only that
// change and what its activation decided after it are refused.

/// One life of a tenant's live actors, from loading to sleep. When it ends early, its changes are refused and its actors must be dropped.
package final class Activation: Sendable {
    package let tenant: TenantID
    fileprivate let hasEnded = Atomic<Bool>(false)

    package init(tenant: TenantID) { self.tenant = tenant }

    package var isEnded: Bool { hasEnded.load(ordering: .acquiring) }
}

/// Where released changes go. Called from the gate, in order, one call at a time; must not block.
package protocol Outlet: Sendable {
    func publish(_ events: [Event], tenant: TenantID)
    func runnable(_ jobs: [Job])
    /// After the last change of a batch: what was collected may be sent.
    func batchReleased()
    /// What changes had to be counted for, once they are on disk.
    func happened(_ facts: [Fact])
}

extension Outlet {
    package func happened(_ facts: [Fact]) {}
}

package final class Gate: Sendable {
    package struct Limits: Sendable {
        /// Changes waiting at the gate, at the most. Past it commands are refused with 503.
        package var pendingChanges = 50_000
        /// Bytes of events and jobs waiting at the gate, at the most.
        package var pendingBytes = 64 << 20
        /// Changes in one transaction, at the most.
        package var batch = 4096
        /// Meta delivers a webhook again for up to 7 days.
        package var marksAreKeptFor = Duration.seconds(8 * 24 * 3600)

        package init() {}
    }

    /// What the gate has done since it was made.
    package struct Counters: Sendable {
        package var commits = 0
        package var changes = 0
        package var failedCommits = 0
        package var refusedChanges = 0
        package var pending = 0
        package var pendingBytes = 0
        package var largestBatch = 0
    }

    package typealias Release = @Sendable (Result<Void, Refusal>) -> Void

    private struct Pending {
        let change: Change
        let activation: Activation
        let bytes: Int
        let release: Release
        /// From being enqueued to being on disk.
        let span: Span?
    }

    private struct State {
        var inbox: [Pending] = []
        var pendingCount = 0
        var pendingBytes = 0
        /// A drain is running or about to: whatever is put in the inbox will be taken.
        var isDraining = false
        var isStopping = false
        var counters = Counters()
    }

    private let state = Mutex(State())
    private let queue = DispatchQueue(label: "gate", qos: .userInitiated)
    private let journal: any Journal
    private let outlet: any Outlet
    private let logger: Logger
    private let tracer: Tracer?
    package let limits: Limits
    private let activationEnded: @Sendable (Activation) -> Void

    /// - Parameter activationEnded: told when a failed commit has ended an activation; called before the changes at fault are refused, so that
    ///   whoever asks again finds the actors already dropped.
    package init(
        journal: any Journal,
        outlet: any Outlet,
        limits: Limits = Limits(),
        logger: Logger,
        tracer: Tracer? = nil,
        activationEnded: @escaping @Sendable (Activation) -> Void
    ) {
        self.journal = journal
        self.outlet = outlet
        self.limits = limits
        self.logger = logger
        self.tracer = tracer
        self.activationEnded = activationEnded
    }

    package var counters: Counters {
        state.withLock { state in
            var counters = state.counters
            counters.pending = state.pendingCount
            counters.pendingBytes = state.pendingBytes
            return counters
        }
    }

    /// Asked before a command is decided: refuses it while too much waits at the gate or in the journal, or the server is stopping.
    package func admit() throws(Refusal) {
        let refusal: Refusal? = state.withLock { state in
            if state.isStopping { return .stopping }
            if state.pendingCount >= limits.pendingChanges || state.pendingBytes >= limits.pendingBytes { return .overloaded }
            return nil
        }
        if let refusal = refusal ?? journal.objection { throw refusal }
    }

    /// Hands a change over. To be called in the turn that decided it.
    ///
    /// An empty change writes nothing and is released once everything before it is: that is how live state is read safely.
    /// - Parameter release: called once, from the gate, in order: success when the change is on disk and its events are published.
    package func enqueue(_ change: Change, _ activation: Activation, release: @escaping Release) {
        let bytes = change.events.reduce(256) { $0 + $1.payload.count } + change.jobs.reduce(0) { $0 + $1.payload.utf8.count }
        let span = tracer.flatMap { tracer in Trace.current.map { tracer.begin("gate.commit", in: $0) } }
        let (isRefused, mustDrain) = state.withLock { state in
            if activation.isEnded { return (true, false) }
            state.inbox.append(Pending(change: change, activation: activation, bytes: bytes, release: release, span: span))
            state.pendingCount += 1
            state.pendingBytes += bytes
            defer { state.isDraining = true }
            return (false, !state.isDraining)
        }
        if isRefused { return release(.failure(.journalUnavailable)) }
        if mustDrain { queue.async { self.drain() } }
    }

    /// Hands a change over and gives back what waits for it.
    package func enqueue(_ change: Change, _ activation: Activation) -> Ticket {
        let ticket = Ticket()
        enqueue(change, activation) { ticket.settle($0) }
        return ticket
    }

    /// Returns once everything enqueued before is on disk or refused.
    package func barrier() async {
        let ticket = enqueue(Change(), Activation(tenant: TenantID(UniqueID(high: 0, low: 0))))
        _ = try? await ticket.committed()
    }

    /// Lets nothing new be decided, and returns once all that was is on disk.
    package func stop() async {
        state.withLock { $0.isStopping = true }
        await barrier()
    }

    /// Forgets marks that are older than their keeping time. Runs between batches.
    package func forgetOldMarks(now: Timestamp) {
        queue.async {
            do { try self.journal.forgetMarks(before: now - self.limits.marksAreKeptFor) } catch {
                self.logger.warning("old marks could not be deleted", metadata: ["reason": "\(error)"])
            }
        }
    }

    // MARK: The committer, on its queue

    private func drain() {
        while true {
            let batch: [Pending] = state.withLock { state in
                guard !state.inbox.isEmpty else {
                    state.isDraining = false
                    return []
                }
                defer { state.inbox.removeFirst(min(limits.batch, state.inbox.count)) }
                return Array(state.inbox.prefix(limits.batch))
            }
            if batch.isEmpty { return }
            write(batch)
            outlet.batchReleased()
        }
    }

    private func write(_ batch: [Pending]) {
        let writable = batch.filter { !$0.activation.isEnded && !$0.change.isDurablyEmpty }
        do throws(JournalError) {
            let began = tracer == nil ? 0 : Tracer.now()
            if !writable.isEmpty { try journal.commit(writable.map(\.change)) }
            if let tracer { tell(batch, writable.count, began, tracer) }
            state.withLock { state in
                state.counters.changes += writable.count
                if !writable.isEmpty { state.counters.commits += 1 }
                state.counters.largestBatch = max(state.counters.largestBatch, writable.count)
            }
            for pending in batch { release(pending) }
        } catch {
            state.withLock { $0.counters.failedCommits += 1 }
            if error.kind == .content, batch.count > 1 {
                write(Array(batch[..<(batch.count / 2)]))
                write(Array(batch[(batch.count / 2)...]))
            } else {
                logger.error("a commit failed", metadata: ["changes": "\(writable.count)", "reason": "\(error)"])
                refuse(batch, andInbox: error.kind == .environment)
            }
        }
    }

    /// Spans of a batch that is on disk.
    private func tell(_ batch: [Pending], _ size: Int, _ began: UInt64, _ tracer: Tracer) {
        let end = Tracer.now()
        for case let pending in batch {
            guard var span = pending.span else { continue }
            if !pending.change.isDurablyEmpty {
                var commit = tracer.begin("journal.commit", in: span.context, at: began)
                commit.attributes = [("batch.changes", .number(size))]
                tracer.end(commit, at: end)
            }
            span.attributes = [
                ("change.rows", .number(pending.change.rows.count)), ("change.events", .number(pending.change.events.count)),
                ("change.jobs", .number(pending.change.jobs.count)),
            ]
            tracer.end(span, at: end)
        }
        journal.follow(batch.compactMap { $0.change.isDurablyEmpty ? nil : $0.span?.context })
    }

    private func release(_ pending: Pending) {
        settle(pending, pending.activation.isEnded ? .failure(.journalUnavailable) : .success(()))
    }

    private func refuse(_ batch: [Pending], andInbox: Bool) {
        let (refused, ended): ([Pending], [Activation]) = state.withLock { state in
            var refused = batch
            if andInbox {
                refused += state.inbox
                state.inbox = []
            }
            var ended: [Activation] = []
            for pending in refused where !pending.activation.hasEnded.exchange(true, ordering: .acquiringAndReleasing) {
                ended.append(pending.activation)
            }
            return (refused, ended)
        }
        for activation in ended { activationEnded(activation) }
        for pending in refused { settle(pending, .failure(.journalUnavailable)) }
    }

    private func settle(_ pending: Pending, _ result: Result<Void, Refusal>) {
        state.withLock { state in
            state.pendingCount -= 1
            state.pendingBytes -= pending.bytes
            if case .failure = result { state.counters.refusedChanges += 1 }
        }
        if case .success = result {
            if !pending.change.events.isEmpty {
                let span = tracer.flatMap { tracer in pending.span.map { tracer.begin("fanout", .producer, in: $0.context) } }
                outlet.publish(pending.change.events, tenant: pending.activation.tenant)
                if let span { tracer?.end(span) }
            }
            if !pending.change.facts.isEmpty { outlet.happened(pending.change.facts) }
            if !pending.change.jobs.isEmpty { outlet.runnable(pending.change.jobs) }
        }
        pending.release(result)
    }
}
