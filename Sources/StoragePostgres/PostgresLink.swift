import Kernel
import Resilience
import Storage
import Synchronization

// One connection with the thread it lives on. It is opened when it is first needed, and again after it was lost, both with the permission of the database's
// circuit breaker; whatever becomes of a call is reported to it.

/// What all connections of one database share: whether it may be asked at all, and what became of it.
final class PostgresHealth: BreakerControl {
    private struct State {
        var breaker: CircuitBreaker
        var lastError: String?
        var connections = 0
        var isClosed = false
    }

    private let state: Mutex<State>
    private let environment: Environment

    init(_ settings: CircuitBreaker.Settings, environment: Environment) {
        state = Mutex(State(breaker: CircuitBreaker(settings)))
        self.environment = environment
    }

    var isClosed: Bool { state.withLock { $0.isClosed } }
    var breaker: CircuitBreaker { state.withLock { $0.breaker } }
    func carryOut(_ order: BreakerOrder) { state.withLock { $0.breaker.carryOut(order) } }
    func close() { state.withLock { $0.isClosed = true } }
    func connectionsChanged(by difference: Int) { state.withLock { $0.connections += difference } }

    func status(waiting: Int) -> RemoteStatus {
        state.withLock { state in
            RemoteStatus(
                breaker: state.breaker.state.rawValue,
                timesOpened: state.breaker.timesOpened,
                connections: state.connections,
                waiting: waiting,
                lastError: state.lastError
            )
        }
    }

    /// - Returns: the generation under which to report.
    func admit() throws(RemoteError) -> Int {
        let now = environment.now()
        let answer: Result<Int, RemoteError> = state.withLock { state in
            if state.isClosed { return .failure(RemoteError(.unavailable(retryAfter: .seconds(1)), "the connection is being closed")) }
            switch state.breaker.callRequested(at: now) {
            case .allowed(let generation): return .success(generation)
            case .refused(let retryAfter):
                return .failure(RemoteError(.unavailable(retryAfter: retryAfter), "the circuit breaker is open (\(state.lastError ?? "no error"))"))
            }
        }
        return try answer.get()
    }

    func succeeded(_ generation: Int) {
        let now = environment.now()
        state.withLock { $0.breaker.callSucceeded(generation, at: now) }
    }

    /// - Parameter saysNothing: about whether the database works.
    func failed(_ generation: Int, _ error: RemoteError, saysNothing: Bool) {
        let now = environment.now()
        state.withLock { state in
            // A row that is refused says that the database works.
            if error.kind == .content { return state.breaker.callSucceeded(generation, at: now) }
            state.lastError = error.description
            if saysNothing { return state.breaker.callAbandoned(generation) }
            state.breaker.callFailed(generation, at: now, jitter: .random(in: 0...1))
        }
    }
}

actor PostgresLink {
    enum Role: Sendable {
        /// Of the store that the journal belongs to, and of no other that its name may come to stand for.
        case reader(storeID: String)
        /// Holds the lock that only one writer of a store has, for as long as the connection lives: a server that was taken for dead finds its connection gone.
        case writer(Claim)
    }

    /// On what terms a journal writes to a store.
    struct Claim: Sendable {
        let storeID: String
        let schemaVersion: Int
        let journalID: String
        /// Changed rows that the journal owes from earlier.
        let owedRows: Int
        /// The journal that wrote last is given up, with whatever it may still owe.
        let takesOver: Bool
    }

    private let configuration: PostgresConfiguration
    private let role: Role
    private let health: PostgresHealth
    private let thread: DedicatedThread
    private var connection: LibPQ?
    private var backoff = Backoff(first: .milliseconds(100), limit: .seconds(5))
    /// The server's process behind the last connection that held the writer's lock.
    private var lastBackend: Int32?
    /// Whether our journal is the one that writes; from then on it must stay so.
    private var isClaimed = false
    /// Another journal has written since ours last did, or ours never has.
    private(set) var isNewToJournal = false

    nonisolated var unownedExecutor: UnownedSerialExecutor { thread.asUnownedSerialExecutor() }

    init(_ configuration: PostgresConfiguration, role: Role, health: PostgresHealth) {
        self.configuration = configuration
        self.role = role
        self.health = health
        if case .writer = role { thread = DedicatedThread(name: "postgres-writer") } else { thread = DedicatedThread(name: "postgres-reader") }
    }

    isolated deinit {
        if connection != nil { health.connectionsChanged(by: -1) }
        thread.end()
    }

    // MARK: Calls

    func write(_ statements: [PostgresStatement]) throws(RemoteError) { _ = try call(statements, isWrite: true) }
    func rows(_ statement: PostgresStatement) throws(RemoteError) -> [Row] { try call([statement], isWrite: false)[0] }

    /// Takes the writer's lock, or says who has it. A connection that has ended meanwhile is opened again.
    func connect() throws(RemoteError) {
        if connection?.hasEnded == true { disconnect() }
        if connection == nil { _ = try call([], isWrite: true) }
    }

    private func call(_ statements: [PostgresStatement], isWrite: Bool) throws(RemoteError) -> [[Row]] {
        let generation = try health.admit()
        do throws(PostgresError) {
            let results = try attempt(statements)
            backoff.attemptSucceeded()
            health.succeeded(generation)
            return results
        } catch {
            if error.endsConnection || connection?.isBroken ?? false { disconnect() }
            var random = SystemRandomNumberGenerator()
            let translated = RemoteError(
                error,
                isWrite: isWrite,
                retryAfter: connection == nil ? backoff.attemptFailed(random: &random) : .milliseconds(200)
            )
            let saysNothing = [.notWriter, .usurped, .server(sqlState: "57014")].contains(error.cause)
            health.failed(generation, translated, saysNothing: saysNothing)
            throw translated
        }
    }

    /// A connection that was opened earlier may have ended since, which says nothing about the database now: once more on a new one. Writing the same rows twice is
    /// harmless.
    private func attempt(_ statements: [PostgresStatement]) throws(PostgresError) -> [[Row]] {
        if let connection {
            do throws(PostgresError) { return try connection.run(statements, deadline: deadline) } catch {
                guard error.cause != .silence, error.endsConnection || connection.isBroken, !health.isClosed else { throw error }
                disconnect()
            }
        }
        let connection = try connected()
        return statements.isEmpty ? [] : try connection.run(statements, deadline: deadline)
    }

    /// Ends the connection, as soon as whatever it is doing has been interrupted.
    func close() { disconnect() }

    /// The server gives a statement up after its timeout, and says so; this is for a server that says nothing at all.
    private var deadline: ContinuousClock.Instant { ContinuousClock.now + (patience ?? configuration.statementTimeout + .seconds(5)) }
    /// For one call.
    private var patience: Duration?

    private func connected() throws(PostgresError) -> LibPQ {
        if let connection { return connection }
        let opened = try LibPQ(configuration, isInterrupted: { [health] in health.isClosed })
        try begin(opened)
        connection = opened
        health.connectionsChanged(by: 1)
        return opened
    }

    private func disconnect() {
        guard connection != nil else { return }
        connection = nil
        health.connectionsChanged(by: -1)
    }

    // MARK: The session

    private func begin(_ connection: LibPQ) throws(PostgresError) {
        let timeout = String(configuration.statementTimeout.inMilliseconds)
        _ = try connection.run(
            [.setting("statement_timeout", timeout), .setting("idle_in_transaction_session_timeout", timeout)],
            deadline: deadline
        )
        if case .reader(let storeID) = role {
            let select = PostgresStatement(sql: "SELECT store_id::text FROM plantao_store", kinds: [.text])
            guard try connection.run([select], deadline: deadline)[0].first?[0] == .text(storeID) else {
                throw PostgresError(cause: .notWriter, description: "this is another database than before: the journal belongs to \(storeID)")
            }
        }
        guard case .writer(let claim) = role else { return }
        let results = try connection.run(
            [
                // The journal lets go of what the database has confirmed, so a confirmation must mean the disk.
                PostgresStatement(
                    sql: "SELECT set_config('synchronous_commit', 'on', false) WHERE current_setting('synchronous_commit') = 'off'",
                    kinds: [.text]
                ),
                PostgresStatement(sql: "SELECT store_id::text, schema_version FROM plantao_store", kinds: [.text, .integer]),
            ],
            deadline: deadline
        )
        guard var row = results[1].first, row.text() == claim.storeID else {
            throw PostgresError(cause: .notWriter, description: "this is another database than before: the journal belongs to \(claim.storeID)")
        }
        let version = row.integer()
        guard version == claim.schemaVersion else {
            throw PostgresError(
                cause: .notWriter,
                description: "the tables are at schema version \(version) now, and this program is for \(claim.schemaVersion)"
            )
        }
        try lock(connection, claim.storeID)
        lastBackend = connection.backendPID
        try introduce(claim, connection)
    }

    /// Only one journal's changes are in a store at a time: what another one has acknowledged and not brought here yet is not there to decide upon. So the next
    /// journal writes only once the last one has said that it owes nothing, or an operator has given it up.
    private func introduce(_ claim: Claim, _ connection: LibPQ) throws(PostgresError) {
        let select = PostgresStatement(sql: "SELECT journal_id::text, journal_owes FROM plantao_store", kinds: [.text, .boolean])
        guard var row = try connection.run([select], deadline: deadline)[0].first else {
            throw PostgresError(cause: .notWriter, description: "the table plantao_store is empty")
        }
        let last = row.optionalText()
        let mayOwe = row.boolean()
        if isClaimed {
            guard last == claim.journalID else {
                throw PostgresError(cause: .usurped, description: "another server took over with journal \(last ?? "none")")
            }
            return
        }
        if last != claim.journalID {
            guard !mayOwe || claim.takesOver else { throw PostgresError(cause: .notWriter, description: PostgresLock.otherJournal) }
            guard claim.owedRows == 0 else {
                throw PostgresError(cause: .usurped, description: "the journal owes \(claim.owedRows) rows from before another server took over")
            }
        }
        isNewToJournal = last != claim.journalID
    }

    /// Makes our journal the one that writes. Nobody else has been able to since it was introduced, as the lock is ours.
    func claim() throws(RemoteError) {
        guard case .writer(let claim) = role else { return }
        _ = try call(
            [
                PostgresStatement(
                    sql: "UPDATE plantao_store SET journal_id = $1::text::uuid, journal_owes = true, journal_since = now()",
                    parameters: [.init(.text(claim.journalID))]
                )
            ],
            isWrite: true
        )
        isClaimed = true
    }

    /// Says that the journal owes nothing.
    func release() throws(RemoteError) {
        guard case .writer(let claim) = role, isClaimed else { return }
        // Who stops does not wait for long; the next start of the same journal is as good.
        patience = .seconds(3)
        defer { patience = nil }
        _ = try call(
            [
                PostgresStatement(
                    sql: "UPDATE plantao_store SET journal_owes = false WHERE journal_id = $1::text::uuid",
                    parameters: [.init(.text(claim.journalID))]
                )
            ],
            isWrite: true
        )
    }

    private func lock(_ connection: LibPQ, _ storeID: String) throws(PostgresError) {
        let key = PostgresLock.writer(of: storeID)
        func isTaken() throws(PostgresError) -> Bool {
            let answer = PostgresStatement(sql: "SELECT pg_try_advisory_lock($1)", parameters: [.init(.integer(key))], kinds: [.boolean])
            return try connection.run([answer], deadline: deadline)[0].first?[0] == .boolean(true)
        }
        if try isTaken() { return }
        // Our own last connection may not have been missed yet by a server whose network broke.
        if let lastBackend {
            let end = PostgresStatement(
                sql: """
                    SELECT pg_terminate_backend(pid, 1000) FROM pg_locks
                    WHERE locktype = 'advisory' AND granted AND (classid::bigint << 32 | objid::bigint) = $1 AND pid = $2::bigint
                    """,
                parameters: [.init(.integer(key)), .init(.integer(Int64(lastBackend)))],
                kinds: [.boolean]
            )
            _ = try connection.run([end], deadline: deadline)
            if try isTaken() { return }
        }
        throw PostgresError(cause: .notWriter, description: PostgresLock.heldByAnother)
    }
}

/// Advisory locks, by number within a database.
enum PostgresLock {
    static let heldByAnother = "another plantao server writes to this database"
    static let otherJournal = "another plantao server's journal may still owe this database changes"
    /// "plantao" in ASCII.
    static let migration: Int64 = 0x0070_6c61_6e74_616f

    static func writer(of storeID: String) -> Int64 {
        let id = UniqueID(storeID)
        return Int64(bitPattern: (id?.high ?? 0) ^ (id?.low ?? 0))
    }
}

extension PostgresStatement {
    static func setting(_ name: String, _ value: String) -> PostgresStatement {
        PostgresStatement(sql: "SELECT set_config($1, $2, false)", parameters: [.init(.text(name)), .init(.text(value))], kinds: [.text])
    }
}
