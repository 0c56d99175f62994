import ArgumentParser
import Foundation
import Logging
import Storage
import StoragePostgres

struct Migrate: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Bring the store's tables up to date, which a start does as well.",
        discussion: "With DATABASE_URL the tables in Postgres, otherwise the embedded store in PLANTAO_DATA."
    )

    @Flag(help: "Change nothing; say what would be done. Exit code 1 when there is something to do.")
    var check = false

    func run() async throws {
        try await StartupError.reported {
            let settings = try Settings(environment: ProcessInfo.processInfo.environment)
            var status = try await Self.status(settings)
            if status.isNewer {
                throw StartupError(
                    "the tables are at schema version \(status.present ?? 0), and this program knows up to \(status.wanted). Use the newer program."
                )
            }
            if !check, !status.pending.isEmpty {
                try await Self.migrate(settings)
                for (number, _) in status.pending { print("migration \(number) done") }
                status = try await Self.status(settings)
            }
            for (number, statements) in status.pending {
                print("-- migration \(number)")
                for statement in statements { print(statement + ";") }
            }
            for difference in status.drift { print("differs: \(difference)") }
            print("schema version \(status.present.map(String.init) ?? "none") of \(status.wanted)\(status.isUpToDate ? ", up to date" : "")")
            if !status.isUpToDate { throw ExitCode(1) }
        }
    }

    static func status(_ settings: Settings) async throws -> SchemaStatus {
        if let database = settings.database { return try await PostgresDatabase.inspect(database, schema: Server.schema).schema }
        return try SQLiteStore.schemaStatus(directory: settings.dataDirectory, schema: Server.schema)
    }

    private static func migrate(_ settings: Settings) async throws {
        if let database = settings.database {
            try await PostgresDatabase.migrate(database, schema: Server.schema, logger: Logger(label: "plantao"))
        } else {
            try SQLiteStore(directory: settings.dataDirectory, schema: Server.schema).close()
        }
    }
}

extension StartupError {
    /// Runs a command; what stops it is said on standard error, with exit code 78 (`EX_CONFIG`).
    static func reported(_ body: () async throws -> Void) async throws {
        // What is stored is people's: nobody else on the machine reads it.
        umask(0o077)
        do { try await body() } catch let error as StartupError {
            FileHandle.standardError.write(Data("plantao: \(error.description)\n".utf8))
            throw ExitCode(78)
        }
    }
}
