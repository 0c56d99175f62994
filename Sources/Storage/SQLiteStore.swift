import Dispatch
import Foundation
import GRDB
package import Kernel
import Wire

/// The embedded store: journal and tables in one SQLite file, `plantao.sqlite`, in the data directory.
///
/// A batch's rows go straight into their tables in one transaction. WAL with `synchronous=FULL`: when `commit` returns, the batch is on the disk and
/// neither a crash of the process nor of the machine takes it back. Readers see committed batches only.
package final class SQLiteStore: Journal, Store {
    private let pool: DatabasePool
    private let lock: DataDirectoryLock
    private let upserts: [Kernel.Table: String]
    private let deletions: [Kernel.Table: String]

    /// Opens the store, creating and migrating it as needed.
    /// - Throws: `StartupError`, with what is wrong and what to do: another process on the same directory, a schema newer than this program,
    ///   a directory that cannot be written.
    package init(directory: String, schema: Schema) throws {
        do {
            try FileManager.default.createDirectory(atPath: directory, withIntermediateDirectories: true, attributes: [.posixPermissions: 0o700])
        } catch {
            throw StartupError(
                "PLANTAO_DATA: the directory '\(directory)' cannot be created (\(error.localizedDescription)). Name one that this user can write."
            )
        }
        lock = try DataDirectoryLock(directory: directory)

        var configuration = Configuration()
        configuration.journalMode = .wal
        configuration.maximumReaderCount = 4
        configuration.busyMode = .timeout(5)
        configuration.prepareDatabase { db in
            // Debian builds SQLite with SECURE_DELETE, which overwrites what is deleted: twice the writing, for nothing we promise.
            try db.execute(sql: "PRAGMA secure_delete = OFF; PRAGMA temp_store = MEMORY; PRAGMA cache_size = -16000")
        }
        let path = directory + "/plantao.sqlite"
        do {
            pool = try DatabasePool(path: path, configuration: configuration)
            try pool.writeWithoutTransaction { db in
                // GRDB asks for NORMAL in WAL mode, with which a power cut may take the last commits. We have promised them.
                try db.execute(sql: "PRAGMA synchronous = FULL; PRAGMA wal_autocheckpoint = 2000")
            }
        } catch {
            throw StartupError("PLANTAO_DATA: '\(path)' cannot be opened (\(error)). Check its permissions and the free space, or restore a backup.")
        }
        let dialect = SQLiteDialect()
        upserts = Dictionary(uniqueKeysWithValues: schema.tables.map { ($0, dialect.upsert($0)) })
        deletions = Dictionary(uniqueKeysWithValues: schema.tables.map { ($0, dialect.delete(from: $0)) })
        try migrate(to: schema, path: path)
    }

    // MARK: Migrations

    /// `PRAGMA user_version` holds the number of the last migration. Each one is a transaction of its own.
    private func migrate(to schema: Schema, path: String) throws {
        do {
            try pool.writeWithoutTransaction { db in
                let present = try Int.fetchOne(db, sql: "PRAGMA user_version") ?? 0
                guard present <= schema.version else {
                    throw StartupError(
                        "PLANTAO_DATA: '\(path)' is at schema version \(present), and this program knows versions up to \(schema.version). Start the newer program."
                    )
                }
                for number in (present + 1)..<(schema.version + 1) {
                    try db.inTransaction(.immediate) {
                        for statement in schema.migration(number, dialect: SQLiteDialect()) { try db.execute(sql: statement) }
                        try db.execute(sql: "PRAGMA user_version = \(number)")
                        return .commit
                    }
                }
            }
        } catch let error as StartupError {
            throw error
        } catch {
            throw StartupError(
                "PLANTAO_DATA: the schema of '\(path)' could not be brought up to date (\(error)). Nothing was changed; check the free space."
            )
        }
    }

    // MARK: Journal

    package func commit(_ batch: [Change]) throws(JournalError) {
        try write { db in
            for change in batch {
                for row in change.rows { try self.write(row, db) }
                for job in change.jobs { try self.write(job.image, db) }
                for job in change.endedJobs {
                    try db.cachedStatement(sql: "DELETE FROM jobs WHERE tenant_id = ? AND id = ?")
                        .execute(arguments: [job.tenant.description, job.id.description])
                }
                for mark in change.marks { try self.write(mark.image, db) }
            }
        }
    }

    package func forgetMarks(before time: Timestamp) throws(JournalError) {
        try write { db in
            try db.execute(
                sql:
                    "DELETE FROM marks WHERE (tenant_id, scope, key) IN (SELECT tenant_id, scope, key FROM marks WHERE at < ? ORDER BY at LIMIT 5000)",
                arguments: [time.milliseconds]
            )
        }
    }

    private func write(_ row: RowImage, _ db: Database) throws {
        switch row.content {
        case .values(let values):
            guard let sql = upserts[row.table] else { throw JournalError(.content, "the schema has no table \(row.table.name)") }
            var arguments = values.map(\.sqlite)
            arguments.append(row.version.databaseValue)
            try db.cachedStatement(sql: sql).execute(arguments: StatementArguments(arguments))
            // Here every image is written once, in order. One that is not newer than what is there was decided on state that is not the latest, and to
            // pass over it would lose it in silence.
            if db.changesCount == 0 { throw JournalError(.content, "an image of \(row.table.name) is not newer than the one stored") }
        case .deleted(let key):
            guard let sql = deletions[row.table] else { throw JournalError(.content, "the schema has no table \(row.table.name)") }
            try db.cachedStatement(sql: sql).execute(arguments: StatementArguments(key.map(\.sqlite)))
        }
    }

    private func write(_ body: @Sendable (Database) throws -> Void) throws(JournalError) {
        do {
            try pool.writeWithoutTransaction { db in
                try db.inTransaction(.immediate) {
                    try body(db)
                    return .commit
                }
            }
        } catch let error as JournalError {
            throw error
        } catch let error as DatabaseError {
            // The message names the constraint or the system's error; never the values, which are people's.
            let isContent = error.resultCode == .SQLITE_CONSTRAINT || error.resultCode == .SQLITE_MISMATCH || error.resultCode == .SQLITE_TOOBIG
            throw JournalError(isContent ? .content : .environment, "SQLite \(error.extendedResultCode.rawValue): \(error.message ?? "no message")")
        } catch {
            throw JournalError(.environment, "\(type(of: error))")
        }
    }

    // MARK: Store

    package func rows(_ query: Query) async throws(Refusal) -> [Row] {
        do {
            return try await pool.read { db in
                let arguments = StatementArguments(query.arguments.map(\.sqlite))
                // A statement with many arguments is one of many like it, and not worth keeping.
                let statement = try query.arguments.count <= 12 ? db.cachedStatement(sql: query.sql) : db.makeStatement(sql: query.sql)
                var rows: [Row] = []
                let cursor = try GRDB.Row.fetchCursor(statement, arguments: arguments)
                while let row = try cursor.next() {
                    rows.append(
                        Row(
                            try zip(query.kinds.indices, query.kinds).map { index, kind in
                                guard let value = SQLValue(row[index] as DatabaseValue, as: kind) else {
                                    throw UnreadableValue(column: index, kind: kind)
                                }
                                return value
                            }
                        )
                    )
                }
                return rows
            }
        } catch {
            throw Refusal(
                .unavailable,
                error is UnreadableValue ? "store_damaged" : "store_unavailable",
                "O histórico não pode ser lido agora. Tente novamente em instantes.",
                retryAfterSeconds: 1
            )
        }
    }

    /// A value that no program of ours writes: the file was damaged, or altered by hand. Whoever asked gets an error; nobody else is hurt.
    private struct UnreadableValue: Error {
        let column: Int
        let kind: Kernel.Column.Kind
    }

    package func marks(_ keys: [Mark.Key]) async throws(Refusal) -> [Mark.Key: String] {
        do {
            return try await pool.read { db in
                let statement = try db.cachedStatement(sql: "SELECT result FROM marks WHERE tenant_id = ? AND scope = ? AND key = ?")
                var found: [Mark.Key: String] = [:]
                for key in keys {
                    found[key] = try String.fetchOne(statement, arguments: [key.tenant.description, key.scope, key.key])
                }
                return found
            }
        } catch {
            throw Refusal(.unavailable, "store_unavailable", "O registro de entregas não pode ser lido agora. Tente novamente.", retryAfterSeconds: 1)
        }
    }

    package func close() { try? pool.close() }
}

extension SQLValue {
    fileprivate var sqlite: DatabaseValue {
        switch self {
        case .null: .null
        case .uuid(let id): id.description.databaseValue
        case .text(let text), .json(let text): text.databaseValue
        case .integer(let number): number.databaseValue
        case .boolean(let flag): (flag ? 1 : 0).databaseValue
        case .timestamp(let time): time.milliseconds.databaseValue
        case .textArray(let texts): JSON.array(texts.map { .string($0) }).text.databaseValue
        case .numeric(let number): number.description.databaseValue
        }
    }

    /// `nil` for a value that is not of that kind.
    fileprivate init?(_ value: DatabaseValue, as kind: Kernel.Column.Kind) {
        switch (value.storage, kind) {
        case (.null, _): self = .null
        case (.string(let text), .uuid):
            guard let id = UniqueID(text) else { return nil }
            self = .uuid(id)
        case (.string(let text), .text): self = .text(text)
        case (.string(let text), .json): self = .json(text)
        case (.string(let text), .textArray):
            guard let texts = (try? JSON.parse(text))?.array else { return nil }
            self = .textArray(texts.compactMap(\.string))
        case (.string(let text), .numeric):
            guard let number = Decimal(string: text) else { return nil }
            self = .numeric(number)
        case (.int64(let number), .integer): self = .integer(number)
        case (.int64(let number), .boolean): self = .boolean(number != 0)
        case (.int64(let number), .timestamp): self = .timestamp(Timestamp(milliseconds: number))
        default: return nil
        }
    }
}
