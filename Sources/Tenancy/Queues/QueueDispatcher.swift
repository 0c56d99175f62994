package import Jobs
package import Kernel
package import Logging
import Notifications
package import Storage
import Synchronization
import Telemetry

// The workers of all queues, over all businesses.
//
//     bell ─▶ round (whose turn) ─▶ offer ─▶ [transport] ─▶ claim ─▶ objection? ─▶ handing over, on disk ─▶ send ─▶ what came of it, on disk
//
// What is decided is decided by the book of each business; here is only who is asked, and how many at once. Where an outside transport is there a ticket goes
// by way of it, and otherwise straight to the worker.

package final class QueueDispatcher: Sendable {
    package struct Settings: Sendable {
        /// Attempts of one queue at once, over all businesses.
        package var concurrency = 32
        /// Of them, those of one business.
        package var perTenant = 8
        /// Businesses whose queues are read on at once.
        package var readers = 4
        /// Whose people may stop the workers of all businesses.
        package var operatorTenant: TenantID?

        package init() {}
    }

    private struct Offer {
        let ticket: QueueTicket
        let until: Timestamp
    }

    private struct State {
        var rounds: [QueueName: QueueRound] = [:]
        /// Whose queues are being read on, and whether that was asked for once more.
        var readers: [TenantID: Bool] = [:]
        /// Not before then, after a failure.
        var readAgainAt: [TenantID: Timestamp] = [:]
        /// Published, and taken by nobody yet. Each has a place at the workers.
        var offers: [QueueMessageID: Offer] = [:]
        var stopped: [QueueName: QueueControl] = [:]
        /// Businesses whose queues may have changed since they were counted.
        var changed: Set<TenantID> = []
        var countAt: [TenantID: Timestamp] = [:]
        /// Came by the transport, and are waiting to be begun.
        var arrived: [Arrival] = []
        /// What sleeps until something is to be looked after (`pause`), until `stop`.
        var pauses: [Aside: Task<Void, Never>] = [:]
        var isStopping = false

        mutating func stop() {
            isStopping = true
            for pause in pauses.values { pause.cancel() }
        }
    }

    private enum Aside: Sendable { case tick, lookAround }

    private struct Arrival: Sendable {
        let ticket: QueueTicket
        let done: CheckedContinuation<Void, Never>
    }

    private let state: Mutex<State>
    private let tenants: Tenants
    private let store: any Store
    private let senders: [OutgoingMessage.Channel: any QueueSender]
    private let transport: (any QueueTransport)?
    private let environment: Environment
    private let rules: QueueRules
    package let settings: Settings
    private let bell: QueueBell
    private let isWatched: @Sendable (TenantID) -> Bool
    private let logger: Logger
    package let census: QueueCensus
    package var operatorTenant: TenantID? { settings.operatorTenant }

    package init(
        tenants: Tenants,
        store: any Store,
        senders: [OutgoingMessage.Channel: any QueueSender],
        transport: (any QueueTransport)? = nil,
        environment: Environment,
        rules: QueueRules,
        settings: Settings = Settings(),
        bell: QueueBell,
        isWatched: @escaping @Sendable (TenantID) -> Bool,
        logger: Logger
    ) {
        self.tenants = tenants
        self.store = store
        self.senders = senders
        self.transport = transport
        self.environment = environment
        self.rules = rules
        self.settings = settings
        self.bell = bell
        self.isWatched = isWatched
        self.logger = logger
        census = QueueCensus(store: store, environment: environment)
        var state = State()
        for queue in QueueName.allCases { state.rounds[queue] = QueueRound(concurrency: settings.concurrency, perTenant: settings.perTenant) }
        self.state = Mutex(state)
    }

    // MARK: The whole server's workers

    package var stopped: [QueueName: QueueControl] { state.withLock { $0.stopped } }

    /// Of all businesses: on an operator's word.
    package func put(_ control: QueueControl, on queue: QueueName) {
        state.withLock { $0.stopped[queue] = control.isSet ? control : nil }
        bell.ring()
    }

    /// As it was before the start.
    package func restore(from store: any Store) async throws(Refusal) {
        for row in try await store.rows(
            .select(from: QueueTables.controls, "WHERE kind = ? AND is_set", [.text(QueueControl.Kind.serverStopped.rawValue)])
        ) {
            guard case .text(let name) = row[1], let queue = QueueName(rawValue: name), let control = QueueControl(row) else { continue }
            state.withLock { $0.stopped[queue] = control }
        }
    }

    /// Attempts of a business under way.
    package func busy(of tenant: TenantID) -> [QueueName: Int] { state.withLock { $0.rounds.mapValues { $0.busy(of: tenant) } } }

    /// No attempt begins from now on.
    package func stop() {
        state.withLock { $0.stop() }
        for sender in senders.values { sender.stop() }
        bell.ring()
    }

    private var isStopping: Bool { state.withLock { $0.isStopping } }

    // MARK: Running

    /// Works until stopped, then lets the attempts under way end.
    package func run() async {
        await withDiscardingTaskGroup { group in
            let aside = Task { await self.runAside() }
            let carrier = transport.map { transport in
                Task { await transport.run(take: { await self.arrived($0) }, lost: { await self.publishAgain() }) }
            }
            for await _ in bell.rings {
                if Task.isCancelled || isStopping { break }
                pump(&group)
            }
            carrier?.cancel()
            let arrived = state.withLock { state in
                defer { state.arrived = [] }
                state.stop()
                return state.arrived
            }
            for arrival in arrived { arrival.done.resume() }
            await carrier?.value
            // Ends by itself, and is not cancelled: a question to the store is not to be left in its middle.
            await aside.value
        }
    }

    private func runAside() async {
        await withDiscardingTaskGroup { group in
            group.addTask { await self.tick() }
            group.addTask { await self.lookAround() }
        }
    }

    /// Sleeps, but not beyond `stop`.
    private func pause(_ aside: Aside, _ duration: Duration) async {
        let sleep = Task { _ = try? await Task.sleep(for: duration) }
        state.withLock { state in
            state.pauses[aside] = sleep
            if state.isStopping { sleep.cancel() }
        }
        await withTaskCancellationHandler {
            await sleep.value
        } onCancel: {
            sleep.cancel()
        }
    }

    private enum Turn: Sendable {
        case offer(QueueName, TenantID)
        case read(TenantID)
        case take(Arrival)
    }

    /// From the transport: what is done with it is not the transport's to end.
    private func arrived(_ ticket: QueueTicket) async {
        await withCheckedContinuation { done in
            let isStopping = state.withLock { state in
                if !state.isStopping { state.arrived.append(Arrival(ticket: ticket, done: done)) }
                return state.isStopping
            }
            if isStopping { done.resume() } else { bell.ring() }
        }
    }

    private func pump(_ group: inout DiscardingTaskGroup) {
        let now = environment.now()
        let wants = bell.taken()
        let turns: [Turn] = state.withLock { state in
            var turns = state.arrived.map { Turn.take($0) }
            state.arrived = []
            for (tenant, wanted) in wants {
                state.changed.insert(tenant)
                for queue in wanted.ready { state.rounds[queue]?.wants(tenant) }
                guard wanted.needsStore else { continue }
                if state.readers[tenant] != nil {
                    state.readers[tenant] = true
                } else if state.readers.count >= settings.readers {
                    state.readAgainAt[tenant] = now
                } else if state.readAgainAt[tenant].map({ $0 <= now }) ?? true {
                    state.readAgainAt[tenant] = nil
                    state.readers[tenant] = false
                    turns.append(.read(tenant))
                }
            }
            for queue in QueueName.allCases where state.stopped[queue] == nil {
                while let tenant = state.rounds[queue]?.next() { turns.append(.offer(queue, tenant)) }
            }
            return turns
        }
        for turn in turns {
            group.addTask {
                switch turn {
                case .offer(let queue, let tenant): await self.offer(queue, tenant)
                case .read(let tenant): await self.read(tenant)
                case .take(let arrival):
                    await self.take(arrival.ticket)
                    arrival.done.resume()
                }
            }
        }
    }

    /// Looks after what nobody is told of: offers that nobody took, reads that failed.
    private func tick() async {
        while !Task.isCancelled {
            await pause(.tick, .milliseconds(250))
            if isStopping { return }
            let now = environment.now()
            let (lost, again): ([QueueTicket], [TenantID]) = state.withLock { state in
                let lost = state.offers.values.filter { $0.until <= now }.map(\.ticket)
                for ticket in lost { drop(ticket, &state) }
                let again = state.readAgainAt.filter { $0.value <= now }.map(\.key)
                for tenant in again { state.readAgainAt[tenant] = nil }
                return (lost, again)
            }
            for ticket in lost { await withdraw(ticket) }
            for tenant in again { bell.ring(tenant, .init(ready: [], needsStore: true)) }
        }
    }

    /// What asks the store, and may have to wait for it: counting, and putting away what is old.
    private func lookAround() async {
        var putAwayAt = ContinuousClock.now + .seconds(5)
        while !Task.isCancelled, !isStopping {
            await pause(.lookAround, .seconds(1))
            // Each may wait for a database that is away: nobody who stops is to wait for more than one of them.
            guard !isStopping else { return }
            await count()
            guard !isStopping else { return }
            await census.takeWhenDue()
            if putAwayAt <= .now {
                await putAwayOld()
                putAwayAt = .now + .seconds(600)
            }
        }
    }

    private func drop(_ ticket: QueueTicket, _ state: inout State) {
        state.offers[ticket.message] = nil
        state.rounds[ticket.queue]?.ended(ticket.tenant)
    }

    // MARK: From the book to a worker

    private func offer(_ queue: QueueName, _ tenant: TenantID) async {
        defer { bell.ring() }
        var found: QueueMessageID?
        if !isStopping {
            do throws(Refusal) { found = try await tenants.use(tenant) { await $0.offerMessage(of: queue) } } catch {
                state.withLock { $0.readAgainAt[tenant] = environment.now() + .seconds(1) }
            }
        }
        guard let found else { return state.withLock { $0.rounds[queue]?.hadNothing(tenant) } }
        let ticket = QueueTicket(queue: queue, tenant: tenant, message: found)
        state.withLock { $0.offers[found] = Offer(ticket: ticket, until: environment.now() + rules.offer) }
        await publish(ticket)
    }

    private func publish(_ ticket: QueueTicket) async {
        if let transport, await transport.publish(ticket) { return }
        await take(ticket)
    }

    private func publishAgain() async {
        let tickets = state.withLock { $0.offers.values.map(\.ticket) }
        if !tickets.isEmpty { logger.notice("tickets of queues are published again", metadata: ["count": "\(tickets.count)"]) }
        await withDiscardingTaskGroup { group in for ticket in tickets { group.addTask { await self.publish(ticket) } } }
    }

    private func withdraw(_ ticket: QueueTicket) async {
        _ = try? await tenants.use(ticket.tenant) { cell throws(Refusal) in try await cell.withdrawOffer(ticket.message).committed() }
    }

    /// A worker has a ticket, from whichever side it came.
    private func take(_ ticket: QueueTicket) async {
        guard !isStopping else { return }
        let isOurs = state.withLock { $0.offers.removeValue(forKey: ticket.message) != nil }
        await attempt(ticket)
        if isOurs { state.withLock { $0.rounds[ticket.queue]?.ended(ticket.tenant) } }
        bell.ring()
    }

    private func attempt(_ ticket: QueueTicket) async {
        guard stopped[ticket.queue] == nil else { return await withdraw(ticket) }
        let token: LeaseToken = environment.moment().id()
        let claimed: QueueMessage?
        do throws(Refusal) {
            claimed = try await tenants.use(ticket.tenant) { cell throws(Refusal) in
                try await cell.claim(ticket.message, token: token).committed()
            }
        } catch {
            // Nothing was done. If it was written after all, the lease runs out.
            logger.warning("a message could not be claimed", metadata: ["message": "\(ticket.message)", "reason": "\(error.code)"])
            return await withdraw(ticket)
        }
        guard let claimed else { return }
        await withDiscardingTaskGroup { group in
            group.addTask { await self.keepAlive(claimed, token, ticket.tenant) }
            let outcome = await carryOut(claimed, token, ticket.tenant)
            if let outcome { await settle(claimed, token, ticket.tenant, outcome) }
            group.cancelAll()
        }
    }

    /// - Returns: `nil` when the message is somebody else's by now, or over.
    private func carryOut(_ message: QueueMessage, _ token: LeaseToken, _ tenant: TenantID) async -> SendOutcome? {
        guard let sender = senders[message.content.channel] else { return .refused(reason: "nenhum remetente para este canal") }
        return await sender.inTurn { await self.carryOut(message, token, tenant, sender) }
    }

    private func carryOut(_ message: QueueMessage, _ token: LeaseToken, _ tenant: TenantID, _ sender: any QueueSender) async -> SendOutcome? {
        if let objection = await sender.objection(to: message.content, of: tenant) { return objection }
        if isStopping { return .postponed(until: environment.now(), reason: "o servidor está parando") }
        do throws(Refusal) {
            let mayBeSent = try await tenants.use(tenant) { cell throws(Refusal) in
                try await cell.handingOver(message, token: token).committed()
            }
            guard mayBeSent else { return nil }
        } catch {
            // It is not on disk that it is being handed over, and so it is not.
            return .postponed(until: environment.now() + .seconds(1), reason: "a alteração não pôde ser gravada")
        }
        return await sender.send(message.content, of: tenant)
    }

    private func keepAlive(_ message: QueueMessage, _ token: LeaseToken, _ tenant: TenantID) async {
        while true {
            do { try await Task.sleep(for: rules.lease / 4) } catch { return }
            let isOurs = try? await tenants.use(tenant) { cell throws(Refusal) in try await cell.heartbeat(message, token: token).committed() }
            if isOurs == false { return }
        }
    }

    /// Tries until it is stored: to forget that a message was sent would leave it in doubt for ever.
    private func settle(_ message: QueueMessage, _ token: LeaseToken, _ tenant: TenantID, _ outcome: SendOutcome) async {
        tenants.telemetry.metrics.queueAttempts.add(1, LabelValues(message.content.queue.rawValue, outcome.name))
        while true {
            do throws(Refusal) {
                let ending = try await tenants.use(tenant) { cell throws(Refusal) in
                    try await cell.ended(message, token: token, outcome).committed()
                }
                guard ending == .superseded else { return }
                logger.warning("an attempt ended after its lease was lost", metadata: ["message": "\(message.id)", "outcome": "\(outcome.name)"])
                guard case .sent(let providerID) = outcome else { return }
                try await tenants.use(tenant) { cell throws(Refusal) in try await sentAfterAll(message.id, providerID, cell) }
                return
            } catch {
                logger.warning("what came of a message could not be stored yet", metadata: ["message": "\(message.id)", "reason": "\(error.code)"])
                do { try await Task.sleep(for: .seconds(1)) } catch { return }
            }
        }
    }

    /// By then the message counts as in doubt, or somebody has it tried again.
    private func sentAfterAll(_ id: QueueMessageID, _ providerID: String?, _ cell: TenantCell) async throws(Refusal) {
        while true {
            let found = try await cell.readingQueues { () async throws(Refusal) in
                try await store.rows(
                    .select(from: QueueTables.messages, "WHERE tenant_id = ? AND id = ?", [.id(cell.tenant), .id(id)], tenant: cell.tenant)
                        .forDeciding
                ).map(QueueMessage.init)
            }
            if try await cell.sentAfterAll(found, providerID).committed() { return }
        }
    }

    // MARK: Reading on

    private func read(_ tenant: TenantID) async {
        var hasFailed = false
        do throws(Refusal) {
            try await tenants.use(tenant) { cell throws(Refusal) in
                let errand = try await cell.queueReadBegan().committed()
                var findings: QueueBook.Findings?
                var problem: Refusal?
                do throws(Refusal) { findings = try await QueueBook.read(errand, of: tenant, rules: rules, from: store) } catch { problem = error }
                try await cell.queueReadEnded(findings).committed()
                if let problem { throw problem }
                try await planAgain(cell)
            }
        } catch {
            hasFailed = true
            logger.warning("a business's queues could not be read on", metadata: ["tenant": "\(tenant)", "reason": "\(error.code)"])
        }
        let isAskedAgain = state.withLock { state in
            let again = state.readers.removeValue(forKey: tenant) ?? false
            if hasFailed { state.readAgainAt[tenant] = environment.now() + .seconds(1) }
            return again && !hasFailed
        }
        if isAskedAgain { bell.ring(tenant, .init(ready: [], needsStore: true)) }
    }

    /// Some of what is booked, where its business's rules have changed.
    package func planAgain(_ cell: TenantCell) async throws(Refusal) {
        let errand = await cell.noticeErrand()
        guard !errand.isEmpty else { return }
        let findings = try await cell.readingQueues { () async throws(Refusal) in
            try await ClientNotices.read(errand, of: cell.tenant, from: store)
        }
        try await cell.noticesRead(errand, findings).committed()
    }

    // MARK: Counting, and putting away

    /// Of businesses that somebody looks at.
    private func count() async {
        let now = environment.now()
        let tenants = state.withLock { state in state.changed.filter { (state.countAt[$0] ?? now) <= now } }
        for tenant in tenants where !isStopping {
            state.withLock {
                $0.changed.remove(tenant)
                $0.countAt[tenant] = nil
            }
            guard isWatched(tenant) else { continue }
            let start = ContinuousClock.now
            try? await self.tenants.use(tenant) { cell throws(Refusal) in try await count(cell) }
            let took = ContinuousClock.now - start
            // What takes long is done seldom.
            if took > .milliseconds(50) { state.withLock { $0.countAt[tenant] = now + took * 20 } }
        }
    }

    /// Counts a business's queues anew, and tells what has changed.
    package func count(_ cell: TenantCell) async throws(Refusal) {
        let stats = try await QueueStats.count(cell.tenant, at: environment.now(), in: store)
        try await cell.queuesCounted(stats).committed()
    }

    /// Finished messages that nobody needs any more, some at a time.
    func putAwayOld() async {
        let now = environment.now()
        let queries: [(String, [SQLValue])] = [
            ("finished_at < ? AND state IN ('sent', 'cancelled', 'dropped')", [.timestamp(now - rules.sentIsKept)]),
            ("finished_at < ? AND state IN ('dead', 'quarantined')", [.timestamp(now - rules.failedIsKept)]),
            ("finished_at < ? AND state = 'forgotten'", [.timestamp(now - rules.keyIsKept)]),
        ]
        for (condition, arguments) in queries where !isStopping {
            do throws(Refusal) {
                // More than that waits for the next time.
                for _ in 0..<1000 where !Task.isCancelled && !isStopping {
                    let query = Query("SELECT DISTINCT tenant_id FROM queue_messages WHERE \(condition) LIMIT 100", arguments, kinds: [.uuid])
                    let found = try await store.rows(query).map { (row) -> TenantID in
                        var row = row
                        return row.id()
                    }
                    for tenant in found { try await putAwayOld(of: tenant, condition, arguments) }
                    if found.isEmpty { break }
                }
            } catch { logger.warning("old messages of queues could not be put away", metadata: ["reason": "\(error.code)"]) }
        }
    }
}

extension QueueDispatcher {
    private func putAwayOld(of tenant: TenantID, _ condition: String, _ arguments: [SQLValue]) async throws(Refusal) {
        try await tenants.use(tenant) { cell throws(Refusal) in
            let found = try await cell.readingQueues { () async throws(Refusal) in
                try await store.rows(
                    .select(from: QueueTables.messages, "WHERE tenant_id = ? AND \(condition) LIMIT 500", [.id(tenant)] + arguments, tenant: tenant)
                ).map(QueueMessage.init)
            }
            try await cell.putAway(found).committed()
        }
    }
}

extension SendOutcome {
    var name: String {
        switch self {
        case .sent: "sent"
        case .dropped: "dropped"
        case .failed: "failed"
        case .postponed: "postponed"
        case .refused: "refused"
        case .unknown: "unknown"
        }
    }
}
