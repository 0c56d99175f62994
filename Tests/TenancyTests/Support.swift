import Consultores
import Conversations
import CustomerHealth
import Foundation
import Jobs
import Kernel
import Logging
import NIOEmbedded
import Notifications
import Plans
import Realtime
import Resilience
import Sales
import Scheduling
import Storage
import Synchronization
import Tenancy
import TestSupport

/// A server without doors: the real store, gate and hub, with a clock that is told what time it is and a journal that can be made to fail.
final class House: Sendable {
    /// The store, until it is told to fail.
    final class FragileJournal: Journal {
        private let store: SQLiteStore
        private let failing = Mutex(false)
        private let count = Mutex(0)
        init(store: SQLiteStore) { self.store = store }
        /// How often it has failed.
        var failures: Int { count.withLock { $0 } }
        func fail(_ fails: Bool) { failing.withLock { $0 = fails } }
        func commit(_ batch: [Change]) throws(JournalError) {
            if failing.withLock({ $0 }) {
                count.withLock { $0 += 1 }
                throw JournalError(.environment, "made to fail")
            }
            try store.commit(batch)
        }
        func forgetMarks(before time: Timestamp) throws(JournalError) { try store.forgetMarks(before: time) }
    }

    /// The store, which counts how often a tenant is loaded, and keeps what it was asked.
    final class CountingStore: Store {
        private let store: SQLiteStore
        private let count = Mutex(0)
        private let asked = Mutex<[String]>([])
        init(store: SQLiteStore) { self.store = store }
        var loads: Int { count.withLock { $0 } }
        func rows(_ query: Query) async throws(Refusal) -> [Row] {
            if query.sql.contains("MAX(id) FROM protocolos") { count.withLock { $0 += 1 } }
            asked.withLock { $0.append(query.sql) }
            return try await store.rows(query)
        }
        /// Since this was last asked.
        func takeAsked() -> [String] {
            asked.withLock { asked in
                defer { asked = [] }
                return asked
            }
        }
        func marks(_ keys: [Mark.Key]) async throws(Refusal) -> [Mark.Key: String] { try await store.marks(keys) }
        func tenantsWithJobs() async throws(Refusal) -> [TenantID] { try await store.tenantsWithJobs() }
        func jobs(of tenant: TenantID, after lane: String, limit: Int) async throws(Refusal) -> [Job] {
            try await store.jobs(of: tenant, after: lane, limit: limit)
        }
        func jobs(of tenant: TenantID, in lane: String, limit: Int) async throws(Refusal) -> [Job] {
            try await store.jobs(of: tenant, in: lane, limit: limit)
        }
    }

    private final class Junction: Outlet {
        let hub: StreamHub
        let tenants = Mutex<Tenants?>(nil)
        let jobs = Mutex<[Job]>([])
        init(hub: StreamHub) { self.hub = hub }
        let events = Mutex<[Event]>([])
        func publish(_ events: [Event], tenant: TenantID) {
            self.events.withLock { $0 += events }
            hub.publish(events, tenant: tenant)
        }
        let runner = Mutex<JobRunner?>(nil)
        func runnable(_ jobs: [Job]) {
            self.jobs.withLock { $0 += jobs }
            runner.withLock { $0 }?.add(jobs)
        }
        func batchReleased() { hub.wake() }
    }

    let clock = ManualEnvironment()
    private let directory = TemporaryDirectory()
    let journal: FragileJournal
    let store: CountingStore
    let gate: Gate
    let hub: StreamHub
    let tenants: Tenants
    let operations: Operations
    let alarms = AlarmClock()
    let breakers: BreakerBoard
    private let junction: Junction

    let tenant = TenantID(UniqueID(high: 0x01a0_0000_0000_7000, low: 0x8000_0000_0000_0001))
    let other = TenantID(UniqueID(high: 0x01a0_0000_0000_7000, low: 0x8000_0000_0000_0002))

    init(
        limits: Tenants.Limits = Tenants.Limits(),
        watched: @escaping @Sendable (TenantID) -> Bool = { _ in false },
        plans: PlanCatalogue = .standard,
        account: @escaping @Sendable (TenantID) -> AccountStanding = { _ in .unlimited },
        queueBell: QueueBell = QueueBell()
    ) throws {
        let logger = Logger.silent
        let sqlite = try SQLiteStore(
            directory: directory.path,
            schema: Schema(
                StorageTables.all + ConsultorTables.all + ConversationTables.all + DeskTables.all + NoticeTables.all + BreakerTables.all
                    + SchedulingTables.all + NotificationTables.all + QueueTables.all + CustomerTables.all + SalesTables.all + UsageTables.all
            )
        )
        journal = FragileJournal(store: sqlite)
        store = CountingStore(store: sqlite)
        hub = StreamHub(loops: [EmbeddedEventLoop](), environment: clock.environment)
        let junction = Junction(hub: hub)
        self.junction = junction
        gate = Gate(journal: journal, outlet: junction, logger: logger, activationEnded: { a in junction.tenants.withLock { $0 }?.drop(a) })
        breakers = BreakerBoard(environment: clock.environment)
        // The bot answers every message as it comes.
        var settings = ConversationDesk.Settings()
        settings.burst.quiet = .zero
        tenants = Tenants(
            .init(
                gate: gate,
                store: store,
                environment: clock.environment,
                alarms: alarms,
                settings: settings,
                breakers: breakers,
                slug: { _ in "casa" },
                plans: plans,
                account: account,
                queueBell: queueBell
            ),
            limits: limits,
            logger: logger,
            isWatched: watched,
            flow: { _ in .standard(businessName: "Empresa") }
        )
        operations = Operations(tenants: tenants, gate: gate, store: store, hub: hub, environment: clock.environment)
        let made = tenants
        junction.tenants.withLock { $0 = made }
    }

    /// Jobs go to the runner from now on.
    func connect(_ runner: JobRunner) { junction.runner.withLock { $0 = runner } }

    var jobs: [Job] { junction.jobs.withLock { $0 } }
    /// What has been told on a channel.
    func told(on channel: String) -> [String] {
        junction.events.withLock { $0 }.filter { $0.channel == channel }.map { String(decoding: $0.payload, as: UTF8.self) }
    }

    func agent(_ number: UInt64 = 1, role: Role = .agent, of tenant: TenantID? = nil) -> Principal {
        Principal(tenant: tenant ?? self.tenant, user: UserID(UniqueID(high: 5, low: number)), role: role, name: "Agente \(number)")
    }

    func message(_ text: String, from number: String = "5511900000001", id: String = UUID().uuidString) -> CustomerMessage {
        CustomerMessage(
            channel: "whatsapp",
            externalID: id,
            from: ContactIdentity(waIDs: [number], bsuid: nil),
            name: "Ana",
            kind: "text",
            text: text,
            content: nil,
            replyTo: nil,
            sentAt: clock.now
        )
    }

    /// A service to book.
    func service() async throws -> ServiceID {
        try await operations.arrange(by: agent(role: .owner)) { _, moment throws(Refusal) in
            Service(id: moment.id(), name: "Corte", durationMinutes: 30, at: moment.now)
        } put: {
            $0.put($1)
        }.id
    }

    /// Books whatever there is already.
    /// - Parameter delay: until it begins.
    @discardableResult
    func book(_ service: ServiceID, in delay: Duration, whatsapp: String = "+5511900000001") async throws -> Appointment {
        var request = BookingRequest(service: service, start: clock.now + delay, clientName: "Ana", clientWhatsapp: whatsapp)
        request.force = "encaixe"
        let wanted = request
        return try await operations.changeCalendar(of: tenant) { book, moment throws(Refusal) in try book.book(wanted, moment) }
    }

    func conversations(_ tenant: TenantID? = nil) async throws -> [Conversation] {
        try await store.rows(.select(from: ConversationTables.conversations, "WHERE tenant_id = ? ORDER BY id", [.id(tenant ?? self.tenant)]))
            .map(Conversation.init)
    }
}
