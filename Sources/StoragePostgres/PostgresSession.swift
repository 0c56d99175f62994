import Kernel
import Logging
import Resilience
import Storage

/// A connection for what is done once, at the start or by an operator: everything that goes wrong is told in sentences.
actor PostgresSession {
    private let configuration: PostgresConfiguration
    private let thread: DedicatedThread
    private var connection: LibPQ?

    nonisolated var unownedExecutor: UnownedSerialExecutor { thread.asUnownedSerialExecutor() }

    private init(_ configuration: PostgresConfiguration) {
        self.configuration = configuration
        thread = DedicatedThread(name: "postgres-session")
    }

    isolated deinit { thread.end() }

    /// Connects, as long as it takes until `end` for a database that cannot be reached yet.
    /// - Throws: `StartupError`.
    static func open(_ configuration: PostgresConfiguration, until end: ContinuousClock.Instant, logger: Logger?) async throws -> PostgresSession {
        let clock = ContinuousClock()
        var configuration = configuration
        configuration.connectTimeout = min(configuration.connectTimeout, max(end - clock.now, .seconds(1)))
        let session = PostgresSession(configuration)
        var backoff = Backoff(first: .milliseconds(100), limit: .seconds(2))
        var random = SystemRandomNumberGenerator()
        var isFirst = true
        while true {
            do throws(PostgresError) {
                try await session.connect()
                return session
            } catch {
                guard error.maySettle, clock.now < end else { throw error.atStart(configuration) }
                if isFirst { logger?.notice("waiting for the database", metadata: ["reason": "\(error)"]) }
                isFirst = false
            }
            try await clock.sleep(for: backoff.attemptFailed(random: &random))
        }
    }

    private func connect() throws(PostgresError) {
        let opened = try LibPQ(configuration, isInterrupted: { false })
        guard opened.serverVersion >= 150_000 else {
            throw PostgresError(cause: .unreadable, description: "the server is version \(opened.serverVersion / 10_000), and 15 or later is needed")
        }
        connection = opened
    }

    private func run(_ statements: [PostgresStatement], seconds: Int = 60) throws -> [[Row]] {
        guard let connection else { throw StartupError("DATABASE_URL: there is no connection.") }
        do throws(PostgresError) { return try connection.run(statements, deadline: ContinuousClock.now + .seconds(seconds)) } catch {
            throw error.atStart(configuration)
        }
    }

    // MARK: The tables

    struct StoreRow {
        let id: String
        let version: Int
    }

    private static var selectStore: PostgresStatement {
        PostgresStatement(sql: "SELECT store_id::text, schema_version FROM plantao_store", kinds: [.text, .integer])
    }

    /// The store that is there; `nil` when there is none.
    func store() throws -> StoreRow? {
        let exists =
            try run([PostgresStatement(sql: "SELECT to_regclass('plantao_store') IS NOT NULL", kinds: [.boolean])])[0].first?[0] == .boolean(true)
        guard exists, var row = try run([Self.selectStore])[0].first else { return nil }
        return StoreRow(id: row.text(), version: Int(row.integer()))
    }

    /// Each migration is a transaction. Whoever comes second waits for the lock, and then finds the work done.
    func migrate(_ schema: Schema, logger: Logger) throws {
        let lock = PostgresStatement(sql: "SELECT pg_advisory_lock($1)", parameters: [.init(.integer(PostgresLock.migration))], kinds: [])
        let unlock = PostgresStatement(sql: "SELECT pg_advisory_unlock($1)", parameters: [.init(.integer(PostgresLock.migration))], kinds: [.boolean])
        let hour = 3600
        _ = try run([lock], seconds: hour)
        defer { _ = try? run([unlock]) }
        if try store() == nil {
            _ = try run([
                PostgresStatement(
                    sql: """
                        CREATE TABLE IF NOT EXISTS plantao_store (
                            is_only boolean PRIMARY KEY DEFAULT true CHECK (is_only), store_id uuid NOT NULL DEFAULT gen_random_uuid(),
                            schema_version integer NOT NULL DEFAULT 0, created_at timestamptz NOT NULL DEFAULT now(),
                            journal_id uuid, journal_owes boolean NOT NULL DEFAULT false, journal_since timestamptz
                        )
                        """
                ),
                PostgresStatement(sql: "INSERT INTO plantao_store DEFAULT VALUES ON CONFLICT DO NOTHING"),
            ])
        }
        let present = try store()?.version ?? 0
        guard present <= schema.version else {
            throw StartupError(
                "DATABASE_URL: \(configuration.redacted) is at schema version \(present), and this program knows versions up to \(schema.version). Start the newer program."
            )
        }
        guard present < schema.version else { return }
        for number in (present + 1)...schema.version {
            var statements = schema.migration(number, dialect: PostgresDialect()).map { PostgresStatement(sql: $0) }
            statements.append(
                PostgresStatement(sql: "UPDATE plantao_store SET schema_version = $1::bigint", parameters: [.init(.integer(Int64(number)))])
            )
            _ = try run(statements, seconds: hour)
            logger.notice("the database's tables were brought up to date", metadata: ["schema_version": "\(number)"])
        }
    }

    // MARK: Looking

    func inspect(_ schema: Schema, _ environment: Environment) throws -> PostgresDatabase.Inspection {
        let clock = ContinuousClock()
        let probe = PostgresStatement(
            sql: "SELECT clock_timestamp(), current_setting('server_version'), current_setting('fsync') = 'on'",
            kinds: [.timestamp, .text, .boolean]
        )
        _ = try run([probe])
        let start = clock.now
        guard var row = try run([probe])[0].first else { throw StartupError("DATABASE_URL: the server gave no answer to a query.") }
        let roundTrip = clock.now - start
        let skew = row.timestamp() - (environment.now() - roundTrip / 2)
        let version = row.text()
        let isSynchronous = row.boolean()
        let store = try store()
        var isWriterPresent = false
        if let store {
            let held = PostgresStatement(
                sql:
                    "SELECT EXISTS (SELECT FROM pg_locks WHERE locktype = 'advisory' AND granted AND (classid::bigint << 32 | objid::bigint) = $1 AND database = (SELECT oid FROM pg_database WHERE datname = current_database()))",
                parameters: [.init(.integer(PostgresLock.writer(of: store.id)))],
                kinds: [.boolean]
            )
            isWriterPresent = try run([held])[0].first?[0] == .boolean(true)
        }
        var status = SchemaStatus(present: store.flatMap { $0.version == 0 ? nil : $0.version }, wanted: schema.version)
        status.plan(schema, PostgresDialect())
        if status.present == schema.version { status.drift = try drift(from: schema) }
        return PostgresDatabase.Inspection(
            serverVersion: "PostgreSQL \(version.prefix { $0 != " " })",
            roundTrip: roundTrip,
            isEncrypted: connection?.isEncrypted ?? false,
            isLocal: configuration.isLocal,
            isWriterPresent: isWriterPresent,
            isSynchronous: isSynchronous,
            clockSkew: skew,
            schema: status
        )
    }

    private func drift(from schema: Schema) throws -> [String] {
        let columns = PostgresStatement(
            sql: """
                SELECT c.relname, a.attname, format_type(a.atttypid, a.atttypmod), a.attnotnull
                FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
                WHERE c.relkind IN ('r', 'p') AND pg_table_is_visible(c.oid)
                """,
            kinds: [.text, .text, .text, .boolean]
        )
        let indexes = PostgresStatement(
            sql: """
                SELECT c.relname, t.relname, i.indisprimary, i.indisunique AND i.indpred IS NULL,
                ARRAY(SELECT COALESCE(a.attname::text, '(expression)') FROM unnest(i.indkey) WITH ORDINALITY k(n, p)
                LEFT JOIN pg_attribute a ON a.attrelid = t.oid AND a.attnum = k.n ORDER BY k.p)
                FROM pg_class c JOIN pg_index i ON i.indexrelid = c.oid JOIN pg_class t ON t.oid = i.indrelid
                WHERE c.relkind IN ('i', 'I') AND i.indisvalid AND pg_table_is_visible(c.oid)
                """,
            kinds: [.text, .text, .boolean, .boolean, .textArray]
        )
        let results = try run([columns, indexes])
        var found: [String: [String: (type: String, isNotNull: Bool)]] = [:]
        for var row in results[0] {
            let table = row.text()
            let column = row.text()
            found[table, default: [:]][column] = (row.text(), row.boolean())
        }
        let tables = Dictionary(uniqueKeysWithValues: schema.tables.map { ($0.name, $0) })
        var indexNames: [String: String] = [:]
        for var row in results[1] {
            let name = row.text()
            guard let table = tables[row.text()] else { continue }
            let (isPrimary, isUnique) = (row.boolean(), row.boolean())
            indexNames[isPrimary ? table.name : name] = Schema.spelling(of: row.textArray(), of: table, isUnique: isUnique)
        }
        let dialect = PostgresDialect()
        return schema.drift(
            indexes: indexNames,
            // As format_type spells them.
            type: { $0 == .timestamp ? "timestamp with time zone" : dialect.type(of: $0).replacing(" COLLATE \"C\"", with: "") },
            columns: { found[$0.name] }
        )
    }
}

extension PostgresError {
    /// Waiting may help: the server is not there yet, starting, or has no room.
    fileprivate var maySettle: Bool {
        switch cause {
        case .connection, .silence: true
        case .server(let state): ["57P01", "57P02", "57P03", "53300", "53400", "25006"].contains(state)
        case .unreadable, .notWriter, .usurped: false
        }
    }

    /// The same for whoever starts the server: what is wrong and what to do.
    fileprivate func atStart(_ configuration: PostgresConfiguration) -> StartupError {
        let whole = configuration.redacted
        let advice =
            switch cause {
            case .server("28P01"), .server("28000"): "Check the user and the password, and pg_hba.conf."
            case .server("3D000"): "Create the database ('createdb \(configuration["dbname"] ?? "")'), or name one that exists."
            case .server("42501"): "Give the user the right to make tables: GRANT CREATE, USAGE ON SCHEMA public TO \(configuration["user"] ?? "…")."
            case .server("25006"): "Name the primary server: this one is read-only."
            case .server("53300"): "Raise max_connections, or lower DATABASE_POOL_SIZE."
            case .connection, .silence: "Check that Postgres runs at \(configuration.place) and may be reached from here."
            case .unreadable, .notWriter, .usurped: "Name another server."
            case .server: "Mend that, and start again; nothing was changed."
            }
        return StartupError("DATABASE_URL: \(whole) cannot be used (\(description)). \(advice)")
    }
}
