package import Kernel
package import Logging
import Resilience
package import Storage

// Opening: connect, bring the tables up to date, make sure that it is the database the journal belongs to, and take the writer's lock. Two servers that start at
// once take turns at the tables, and one of them gets the lock.

extension PostgresDatabase {
    /// - Parameter storeID: the database that the journal belongs to; `nil` for a journal that belongs to none yet.
    /// - Throws: `StartupError`.
    package static func open(
        _ configuration: PostgresConfiguration,
        schema: Schema,
        storeID: String?,
        environment: Environment = .system,
        logger: Logger
    ) async throws -> PostgresDatabase {
        let clock = ContinuousClock()
        let end = clock.now + configuration.patience
        let session = try await PostgresSession.open(configuration, until: end, logger: logger)
        try await session.migrate(schema, logger: logger)
        guard let found = try await session.store() else { throw StartupError("DATABASE_URL: the table plantao_store is empty. Restore a backup.") }
        if let storeID, storeID != found.id {
            throw StartupError(
                "DATABASE_URL: \(configuration.redacted) is store \(found.id), and the journal in PLANTAO_DATA belongs to store \(storeID). Set DATABASE_URL as it was; or, if this database is a new beginning, name another PLANTAO_DATA."
            )
        }
        let database = PostgresDatabase(configuration, schema: schema, storeID: found.id, environment: environment)
        var backoff = Backoff(first: .milliseconds(100), limit: .seconds(1))
        var random = SystemRandomNumberGenerator()
        while true {
            do throws(RemoteError) {
                try await database.connect()
                return database
            } catch {
                guard clock.now < end else {
                    await database.close()
                    throw StartupError(
                        "DATABASE_URL: \(error). \(error.description == PostgresLock.heldByAnother ? "Stop it first; or give this one a database of its own." : "Start again once it is well.")"
                    )
                }
            }
            try await clock.sleep(for: backoff.attemptFailed(random: &random))
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
