import Consultores
import Conversations
import CustomerHealth
import Jobs
import Kernel
import Logging
import NIOCore
import NIOEmbedded
import Notifications
import Plans
import Realtime
import Scheduling
import Storage
import Synchronization
import Tenancy
import TestSupport
import Wire

@testable import Transports

/// A session over the real business, hub and gate, with a clock that is told what time it is. What it writes is kept.
final class SessionFixture: Sendable {
    /// Keeps what it is given.
    final class Line: SessionTransport {
        var written: [String] = []
        var closed: CentrifugeDisconnect?
        var session: ClientSession?
        private(set) var hasUnflushed = false

        func deliver(_ message: inout PreparedMessage, _ delivery: Delivery) -> Bool {
            let wasDirty = hasUnflushed
            put(String(buffer: message.payload))
            return !wasDirty
        }
        func write(_ reply: CentrifugeReply) { put(String(decoding: reply.bytes, as: UTF8.self)) }
        private func put(_ text: String) {
            written.append(text)
            hasUnflushed = true
        }
        func flush() { hasUnflushed = false }
        /// When the session is called next, as a registry has it.
        var nextVisit = Timestamp(seconds: 0)
        func visit(at time: Timestamp) { nextVisit = min(nextVisit, time) }
        func close(_ disconnect: CentrifugeDisconnect) { closed = disconnect }
    }

    /// The store, which can be made to fail, or to let its callers wait.
    final class Shelf: Store {
        enum Mood: Sendable { case open, failing, hanging }
        private let store: SQLiteStore
        private let state = Mutex<(mood: Mood, waiting: [CheckedContinuation<Void, Never>])>((.open, []))
        init(store: SQLiteStore) { self.store = store }

        func become(_ mood: Mood) {
            let waiting = state.withLock { state in
                defer { if mood != .hanging { state.waiting = [] } }
                state.mood = mood
                return mood == .hanging ? [] : state.waiting
            }
            for each in waiting { each.resume() }
        }

        private func pass() async throws(Refusal) {
            if state.withLock({ $0.mood == .hanging }) {
                await withCheckedContinuation { continuation in
                    let isOver = state.withLock { state in
                        if state.mood == .hanging { state.waiting.append(continuation) }
                        return state.mood != .hanging
                    }
                    if isOver { continuation.resume() }
                }
            }
            if state.withLock({ $0.mood == .failing }) { throw Refusal(.unavailable, "store_unavailable", "O banco de dados não responde.") }
        }

        func rows(_ query: Query) async throws(Refusal) -> [Row] {
            try await pass()
            return try await store.rows(query)
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
        init(hub: StreamHub) { self.hub = hub }
        func publish(_ events: [Event], tenant: TenantID) { hub.publish(events, tenant: tenant) }
        func runnable(_ jobs: [Job]) {}
        func batchReleased() { hub.wake() }
    }

    private struct Parts {
        let session: ClientSession
        let line: Line
    }

    let clock = ManualEnvironment()
    let shelf: Shelf
    let hub: StreamHub
    private let directory = TemporaryDirectory()
    let loop = NIOAsyncTestingEventLoop()
    let services: SessionServices
    private let parts: NIOLoopBoundBox<Parts>
    private let operations: Operations
    private let principal = Principal(
        tenant: TenantID(UniqueID(high: 7, low: 1)),
        user: UserID(UniqueID(high: 5, low: 1)),
        role: .owner,
        name: "Ana"
    )

    /// Tokens are `<user> <seconds they are good for>`.
    init(_ adjust: (inout SocketSettings) -> Void = { _ in }) async throws {
        let sqlite = try SQLiteStore(
            directory: directory.path,
            schema: Schema(
                StorageTables.all + ConsultorTables.all + ConversationTables.all + DeskTables.all + NoticeTables.all + SchedulingTables.all
                    + NotificationTables.all + QueueTables.all + CustomerTables.all + UsageTables.all
            )
        )
        shelf = Shelf(store: sqlite)
        let (clock, principal, loop) = (clock, principal, loop)
        hub = StreamHub(loops: [loop], environment: clock.environment)
        let gate = Gate(journal: sqlite, outlet: Junction(hub: hub), logger: .silent, activationEnded: { _ in })
        let tenants = Tenants(
            .init(gate: gate, store: shelf, environment: clock.environment, alarms: AlarmClock(), settings: ConversationDesk.Settings()),
            logger: .silent,
            isWatched: { _ in true },
            flow: { _ in .standard(businessName: "Empresa") }
        )
        operations = Operations(tenants: tenants, gate: gate, store: shelf, hub: hub, environment: clock.environment)
        var settings = SocketSettings()
        adjust(&settings)
        services = SessionServices(
            operations: operations,
            authenticate: { token throws(Refusal) in
                let words = token.split(separator: " ")
                guard words.count == 2, let seconds = Int(words[1]) else { throw Refusal(.unauthenticated, "token_invalid", "Não.") }
                guard seconds > 0 else { throw Refusal(.unauthenticated, "token_expired", "Expirou.") }
                let user = words[0] == "ana" ? principal.user : UserID(UniqueID(high: 5, low: 2))
                return Credential(
                    principal: Principal(tenant: principal.tenant, user: user, role: .owner, name: String(words[0])),
                    session: LoginSessionID(UniqueID(high: 9, low: 1)),
                    expiresAt: clock.now + .seconds(seconds)
                )
            },
            stands: { _ in true },
            presence: PresenceBook(grace: .seconds(20), environment: clock.environment),
            admission: Admission(),
            environment: clock.environment,
            settings: settings,
            version: "test"
        )
        let services = services
        parts = try await loop.executeInContext {
            let line = Line()
            let session = ClientSession(services: services, loop: loop, transport: line)
            line.session = session
            return NIOLoopBoundBox(Parts(session: session, line: line), eventLoop: loop)
        }
    }

    private func onLoop<T: Sendable>(_ body: @escaping @Sendable (ClientSession, Line) -> T) async throws -> T {
        let parts = parts
        return try await loop.executeInContext { body(parts.value.session, parts.value.line) }
    }

    func say(_ commands: String...) async throws {
        let frame = ByteBuffer(string: commands.joined(separator: "\n"))
        try await onLoop { session, _ in session.received(frame) }
    }

    /// Lets time pass, as the loop's timer tells it.
    func pass(_ seconds: Int) async throws {
        clock.advance(by: .seconds(seconds))
        let now = clock.now
        try await onLoop { session, line in if line.nextVisit <= now { line.nextVisit = session.timePassed(now) } }
    }

    var written: [String] { get async throws { try await onLoop { _, line in line.written } } }
    var closed: CentrifugeDisconnect? { get async throws { try await onLoop { _, line in line.closed } } }
    func fellBehind(on channel: String) async throws { _ = try await onLoop { session, _ in session.fellBehind(on: channel) } }

    var notices: StreamKey { StreamKey(tenant: principal.tenant, channel: "notices") }
    func post(_ text: String) async throws { _ = try await operations.postNotice(text, clientMessageID: nil, by: principal) }

    /// Waits for a line that holds `text`, from the line numbered `start` on, and gives it.
    @discardableResult func heard(_ text: String, from start: Int = 0) async throws -> String {
        var found: String?
        try await wait(text) {
            found = try await self.written.dropFirst(start).first { $0.contains(text) }
            return found != nil
        }
        return found ?? ""
    }

    func wait(_ what: String, until condition: () async throws -> Bool) async throws {
        for _ in 0..<20_000 {
            await loop.run()
            if try await condition() { return }
            try await Task.sleep(for: .milliseconds(1))
        }
        throw NotHeard(text: what, written: try await written)
    }

    /// Lets everything that is on its way arrive: a command is answered after those before it.
    func settle(_ id: Int) async throws {
        try await say(#"{"id":\#(id),"rpc":{"method":"echo","data":\#(id)}}"#)
        try await heard(#""rpc":{"data":\#(id)}"#)
    }

    struct NotHeard: Error {
        let text: String
        let written: [String]
    }
}
