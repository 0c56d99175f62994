package import Kernel
package import Logging
import Resilience
package import Storage

// Opening: connect, bring the tables up to date, make sure that it is the database the journal belongs to, and take the writer's lock. Two servers that start at
// once take turns at the tables, and one of them gets the lock.

extension PostgresDatabase {
    /// - Parameter journal: which may belong to another database, or be another one than the last that wrote here.
    /// - Throws: `StartupError`.
    package static func open(
        _ configuration: PostgresConfiguration,
        schema: Schema,
        journal: JournalIdentity,
        environment: Environment = .system,
        logger: Logger
    ) async throws -> PostgresDatabase {
        let clock = ContinuousClock()
        let end = clock.now + configuration.patience
        let session = try await PostgresSession.open(configuration, until: end, logger: logger)
        if let storeID = journal.storeID {
            let found = try await session.store()?.id
            guard found == storeID else {
                throw StartupError(
                    "DATABASE_URL: \(configuration.redacted) is \(found.map { "store \($0)" } ?? "an empty database"), and the journal in PLANTAO_DATA belongs to store \(storeID). Set DATABASE_URL as it was; or, if this database is a new beginning, name another PLANTAO_DATA."
                )
            }
        }
        try await session.migrate(schema, logger: logger)
        guard let found = try await session.store() else { throw StartupError("DATABASE_URL: the table plantao_store is empty. Restore a backup.") }
        let claim = PostgresLink.Claim(
            storeID: found.id,
            schemaVersion: schema.version,
            journalID: journal.id,
            owedRows: journal.owedRows,
            takesOver: configuration.takesOver
        )
        let database = PostgresDatabase(configuration, schema: schema, claim: claim, environment: environment)
        var backoff = Backoff(first: .milliseconds(100), limit: .seconds(1))
        var random = SystemRandomNumberGenerator()
        while true {
            do throws(RemoteError) {
                try await database.connect()
                return database
            } catch {
                guard error.kind != .usurped, clock.now < end else {
                    await database.close()
                    throw StartupError("DATABASE_URL: \(error). \(advice(error))")
                }
            }
            try await clock.sleep(for: backoff.attemptFailed(random: &random))
        }
    }

    private static func advice(_ error: RemoteError) -> String {
        switch error.description {
        case PostgresLock.heldByAnother: "Stop it first; or give this one a database of its own."
        case PostgresLock.otherJournal:
            "Start that server again and stop it in order, or start this one with that one's PLANTAO_DATA. If it is lost for good, set DATABASE_TAKE_OVER=1 for one start: what it had not brought to the database is then lost."
        default:
            error.kind == .usurped
                ? "Those rows cannot be merged. Move PLANTAO_DATA away to keep them, and start with an empty one." : "Start again once it is well."
        }
    }

    /// Brings the tables up to date and nothing else.
    /// - Throws: `StartupError`.
    package static func migrate(_ configuration: PostgresConfiguration, schema: Schema, logger: Logger) async throws {
        let session = try await PostgresSession.open(configuration, until: ContinuousClock.now + configuration.patience, logger: logger)
        try await session.migrate(schema, logger: logger)
    }

    package struct Inspection: Sendable {
        package var serverVersion: String
        package var roundTrip: Duration
        package var isEncrypted: Bool
        /// The way there does not leave this machine.
        package var isLocal: Bool
        /// Somebody has the writer's lock.
        package var isWriterPresent: Bool
        /// What it has confirmed outlives a crash of its machine.
        package var isSynchronous: Bool
        /// Its clock less ours.
        package var clockSkew: Duration
        package var schema: SchemaStatus
    }

    /// Looks, and changes nothing.
    /// - Throws: `StartupError`.
    package static func inspect(_ configuration: PostgresConfiguration, schema: Schema, environment: Environment = .system) async throws -> Inspection
    {
        let session = try await PostgresSession.open(configuration, until: ContinuousClock.now + configuration.patience, logger: nil)
        return try await session.inspect(schema, environment)
    }
}
