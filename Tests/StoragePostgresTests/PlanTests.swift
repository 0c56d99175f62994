import Consultores
import Conversations
import CustomerHealth
import Foundation
import Identity
import Jobs
import Kernel
import Logging
import NIOEmbedded
import Notifications
import Plans
import Realtime
import Scheduling
import Storage
import Synchronization
import TestSupport
import Testing

@testable import StoragePostgres
@testable import Tenancy

/// The queries that the product makes, asked of Postgres with a million messages: each must find what it looks for by an index.
@Suite struct PlanTests {
    /// Passes queries on to the database, and remembers them.
    private final class RecordingStore: Store {
        private let database: PostgresDatabase
        private let seen = Mutex<[String: Query]>([:])
        init(_ database: PostgresDatabase) { self.database = database }
        var queries: [Query] { seen.withLock { Array($0.values) } }

        func rows(_ query: Query) async throws(Refusal) -> [Row] {
            seen.withLock { $0[query.sql] = query }
            do throws(RemoteError) { return try await database.rows(query) } catch { throw Refusal(.unavailable, "store", "\(error)") }
        }
        func marks(_ keys: [Mark.Key]) async throws(Refusal) -> [Mark.Key: String] { [:] }
        func tenantsWithJobs() async throws(Refusal) -> [TenantID] { [] }
        func jobs(of tenant: TenantID, after lane: String, limit: Int) async throws(Refusal) -> [Job] { [] }
        func jobs(of tenant: TenantID, in lane: String, limit: Int) async throws(Refusal) -> [Job] { [] }
    }

    private struct NoJournal: Journal {
        func commit(_ batch: [Change]) throws(JournalError) {}
        func forgetMarks(before time: Timestamp) throws(JournalError) {}
    }
    private struct NoOutlet: Outlet {
        func publish(_ events: [Event], tenant: TenantID) {}
        func runnable(_ jobs: [Job]) {}
        func batchReleased() {}
    }

    private static let schema = Schema(
        StorageTables.all + IdentityTables.all + ConsultorTables.all + ConversationTables.all + DeskTables.all + NoticeTables.all
            + SchedulingTables.all + NotificationTables.all + QueueTables.all + CustomerTables.all + UsageTables.all
    )
    /// Numbers as ids: `id(table, 7)` is the seventh row's.
    private static func id(_ table: UInt64, _ number: UInt64) -> UniqueID {
        UniqueID(high: table << 32 | 0x7000, low: 0x8000_0000_0000_0000 | number)
    }
    private static func sqlID(_ table: Int, _ expression: String) -> String {
        "('0000000\(table)-0000-7000-8000-' || lpad(to_hex(\(expression)), 12, '0'))::uuid"
    }

    /// Twenty thousand conversations of ten tenants, with fifty messages each; one in fifty is not resolved.
    private func fill(_ cluster: PostgresCluster, _ database: String) async throws {
        let tenant = Self.sqlID(1, "n % 10")
        for statement in [
            """
            INSERT INTO contacts SELECT \(tenant), \(Self.sqlID(2, "n")), 'Contact ' || n, '55119' || lpad(n::text, 8, '0'), NULL, now(), now(), 1
            FROM generate_series(0, 19999) n
            """,
            """
            INSERT INTO conversations SELECT \(tenant), \(Self.sqlID(3, "n")), \(Self.sqlID(2, "n")), 'Contact ' || n, '55119' || lpad(n::text, 8, '0'), 'whatsapp',
            CASE WHEN n % 50 < 1 THEN 'active' ELSE 'resolved' END, CASE WHEN n % 50 < 1 THEN n % 7 END, NULL, NULL, NULL, NULL, n, '#' || n, 'pt', '{}', 0, '{}', NULL,
            49, NULL, now() - n * interval '1 minute', now() - n * interval '1 minute', 1 FROM generate_series(0, 19999) n
            """,
            """
            INSERT INTO messages SELECT \(tenant), \(Self.sqlID(3, "n")), s, \(Self.sqlID(4, "n * 50 + s")), 'text', 'in', 'contact', NULL, 'Ana', 'a message', NULL, 'received',
            NULL, NULL, NULL, 'wamid.' || n || '.' || s, NULL, now(), NULL, 1 FROM generate_series(0, 19999) n, generate_series(0, 49) s
            """,
            "INSERT INTO protocolos SELECT \(tenant), n, '#' || n, n % 7, \(Self.sqlID(3, "n")), now(), 1 FROM generate_series(0, 19999) n",
            """
            INSERT INTO queue_messages SELECT \(Self.sqlID(1, "n % 100")), \(Self.sqlID(6, "n")), 'appointment_reminders', 'email', 'a@example.com', 'k' || n, 's' || n / 10,
            CASE WHEN n % 300 < 30 THEN 'scheduled' WHEN n % 300 < 33 THEN 'dead' ELSE 'sent' END, 5, now() + (n % 5000 - 100) * interval '1 minute', NULL, 0, 8, 0, NULL, NULL,
            '{}', '[]', NULL, NULL, now(), CASE WHEN n % 300 < 30 THEN NULL ELSE now() END, 1 FROM generate_series(0, 199999) n
            """,
            """
            INSERT INTO clients (tenant_id, id, name, whatsapp, found_by, email_key, search_text, is_active, is_vip, tags, contact_id, created_at, updated_at,
            created_month, tally, total_appointments, visits, last_appointment_at, last_visit_ms, steady_score, total_spent, preferred_services, version)
            SELECT \(tenant), \(Self.sqlID(6, "n")), 'Client ' || n, '+5511' || 900000000 + n, '5511' || 900000000 + n, 'c' || n || '@example.com',
            'client ' || n || ' 5511' || 900000000 + n, n % 9 > 0, n % 20 = 0, ARRAY['fiel'], \(Self.sqlID(2, "n")), now() - n * interval '1 hour', now(), '2026-03',
            '{"spent": "0"}', n % 7, n % 7, now() - n * interval '1 minute', 1790000000000 - n, 100, n, '{}', 1 FROM generate_series(0, 39999) n
            """,
            """
            INSERT INTO appointments (tenant_id, id, service_id, service_name, resource_id, lane, seat_no, session_id, blocked_from, blocked_until, client_id,
            client_name, client_whatsapp, search_text, start_time, end_time, duration_minutes, timezone, local_start, status, is_blocking, revision, is_forced,
            manage_token, created_at, updated_at, version) SELECT \(tenant), \(Self.sqlID(7, "n * 4 + s")), \(Self.sqlID(8, "n % 5")), 'Corte', \(tenant), 1, 1,
            \(Self.sqlID(7, "n * 4 + s")), t, t + interval '1 hour', \(Self.sqlID(6, "n")), 'Client', '', '', t, t + interval '1 hour', 60, 'UTC', '', 'completed',
            false, 0, false, 't' || n, t, t, 1 FROM generate_series(0, 39999) n, generate_series(0, 3) s, LATERAL (SELECT now() - (n + s * 40000) * interval '1 hour' AS t) x
            """,
            "ANALYZE",
        ] { try await cluster.sql(statement, in: database) }
    }

    @Test func everyQueryFindsItsRowsByAnIndexAmongAMillionMessages() async throws {
        let cluster = await PostgresCluster.shared
        let configuration = try await cluster.database()
        let database = try await PostgresDatabase.open(configuration, schema: Self.schema, journal: .fresh(), logger: .silent)
        try await fill(cluster, configuration.database)
        let store = RecordingStore(database)
        let environment = Environment.system
        let gate = Gate(journal: NoJournal(), outlet: NoOutlet(), logger: .silent, activationEnded: { _ in })
        let tenants = Tenants(
            .init(gate: gate, store: store, environment: environment, alarms: AlarmClock(), settings: ConversationDesk.Settings()),
            logger: .silent,
            isWatched: { _ in false },
            flow: { _ in .standard(businessName: "Empresa") }
        )
        let hub = StreamHub(loops: [EmbeddedEventLoop](), environment: environment)
        let operations = Operations(tenants: tenants, gate: gate, store: store, hub: hub, environment: environment)
        let tenant = TenantID(Self.id(1, 3))
        let agent = Principal(tenant: tenant, user: UserID(Self.id(5, 1)), role: .admin, name: "Maria")

        // Everything that reads: waking, lists with each filter, history by page, a resolved conversation, a known contact, a message by each of its names.
        for filter in [
            ConversationFilter(), with { $0.states = ["active"] }, with { $0.states = ["active", "queued"] }, with { $0.assignee = .consultor(3) },
            with { $0.assignee = ConversationFilter.Assignee.none }, with { $0.text = "contact 1" }, with { $0.messageText = "a message" },
            with { $0.labels = ["vip"] }, with { $0.channel = "whatsapp" }, with { $0.order = .init(.created, isDescending: true) },
            with { $0.order = .init(.queued, isDescending: false) }, with { $0.order = .init(.name, isDescending: false) },
            with { $0.from = Timestamp(seconds: 1_700_000_000) },
        ] { _ = try await operations.conversations(filter, Page(number: 2, size: 50), for: agent) }
        let conversation = ConversationID(Self.id(3, 1003))
        let newest = try await operations.messages(of: conversation, before: nil, limit: 20, for: agent)
        #expect(String(decoding: newest, as: UTF8.self).contains("has_more"))
        _ = try await operations.messages(of: conversation, before: MessageID(Self.id(4, 1003 * 50 + 20)), limit: 20, for: agent)
        _ = try await operations.conversation(conversation, for: agent)
        _ = try await ConversationDesk.contacts([ContactIdentity(waIDs: ["5511900001003", "551190000100"], bsuid: "b")], tenant: tenant, from: store)
        _ = try await ConversationDesk.message(externalID: "wamid.1003.7", tenant: tenant, from: store)

        for filter in [
            protocols { _ in }, protocols { $0.consultor = 3 }, protocols { $0.numero = 1003 }, protocols { $0.conversation = conversation },
            protocols { $0.from = Timestamp(seconds: 4_000_000_000) }, protocols { $0.isNewestFirst = true },
        ] { _ = try await operations.protocols(filter, tenant) }
        _ = try await operations.history(ofProtocol: 1003, tenant)

        // The queues: what is read on, counted, listed, looked up by a key, called off, tried again and put away.
        var errand = QueueBook.Errand()
        (errand.now, errand.queues, errand.keys, errand.callOffs) = (environment.now(), [.reminders: 0], ["k103", "k7"], ["s10": environment.now()])
        _ = try await QueueBook.read(errand, of: tenant, rules: QueueRules(), from: store)
        _ = try await QueueStats.count(tenant, at: environment.now(), in: store)
        for states: Set<String> in [[], ["dead"], ["available", "scheduled"]] {
            _ = try await operations.queueMessages(.reminders, states: states, Page(number: 1, size: 20), for: agent)
        }
        _ = try await operations.queueMessage(QueueMessageID(Self.id(6, 103)), in: .reminders, for: agent)
        _ = try await operations.perform(.clearFailed(.reminders), by: agent)

        let client = ClientID(Self.id(6, 1003))
        for filter in [
            clients { _ in }, clients { $0.text = "client 1003" }, clients { $0.text = "+55 11 90000-1003" }, clients { $0.isVIP = true },
            clients { $0.minScore = 500 }, clients { $0.tags = ["fiel"] }, clients { $0.hasUpcoming = true }, clients { $0.isRegular = false },
            clients { $0.lastFrom = Timestamp(seconds: 1_700_000_000) }, clients { $0.minSpent = 10 },
            clients { ($0.sort, $0.isDescending) = (.score, true) },
            clients { $0.sort = .last }, clients { $0.sort = .created }, clients { $0.sort = .spent },
        ] { _ = try await operations.clients(filter, Page(number: 2, size: 50), tenant) }
        _ = try await operations.clientAnalytics(tenant)
        _ = try await operations.clientHistory(client, only: Set(Operations.HistoryKind.allCases), Page(number: 1, size: 20), tenant)
        _ = try await operations.duplicateClients(Page(), tenant)
        _ = try await operations.client(client, tenant)
        let booking = BookingRequest(service: ServiceID(Self.id(8, 1)), start: environment.now(), clientName: "A", clientWhatsapp: "11 90000-1013")
        await #expect(throws: Refusal.self) { try await operations.book(booking, key: nil, who: "w", digest: "d", tenant) }

        #expect(store.queries.count >= 50)
        for query in store.queries {
            let plan = try await database.rows(Query("EXPLAIN " + query.sql, query.arguments, kinds: [.text])).map { row in
                var row = row
                return row.text()
            }.joined(separator: "\n")
            #expect(!plan.contains("Seq Scan on messages") && !plan.contains("Seq Scan on conversations"), "\(query.sql)\n\(plan)")
            #expect(!plan.contains("Seq Scan on queue_messages"), "\(query.sql)\n\(plan)")
            #expect(!plan.contains("Seq Scan on contacts") && !plan.contains("Seq Scan on protocolos"), "\(query.sql)\n\(plan)")
            #expect(!plan.contains("Seq Scan on clients") && !plan.contains("Seq Scan on appointments"), "\(query.sql)\n\(plan)")
        }
        await database.close()
    }

    private func protocols(_ change: (inout ProtocoloFilter) -> Void) -> ProtocoloFilter {
        var filter = ProtocoloFilter()
        change(&filter)
        return filter
    }

    private func clients(_ change: (inout ClientFilter) -> Void) -> ClientFilter {
        var filter = ClientFilter()
        change(&filter)
        return filter
    }

    private func with(_ change: (inout ConversationFilter) -> Void) -> ConversationFilter {
        var filter = ConversationFilter()
        change(&filter)
        return filter
    }
}
