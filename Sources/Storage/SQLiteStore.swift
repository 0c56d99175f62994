import Foundation
import GRDB
package import Kernel

/// The embedded store: journal and tables in one SQLite file, `plantao.sqlite`, in the data directory.
///
/// A batch's rows go straight into their tables in one transaction. WAL with `synchronous=FULL`: when `commit` returns, the batch is on the disk and
/// neither a crash of the process nor of the machine takes it back. Readers see committed batches only.
package final class SQLiteStore: ManagedStore {
    private let file: SQLiteFile
    private let lock: DataDirectoryLock
    private let tables: SQLiteTables

    /// Opens the store, creating and migrating it as needed.
    /// - Throws: `StartupError`, with what is wrong and what to do: another process on the same directory, a schema newer than this program,
    ///   a directory that cannot be written.
    package init(directory: String, schema: Schema) throws {
        lock = try DataDirectoryLock(directory: directory)
        let path = Self.path(in: directory)
        file = try SQLiteFile(path: path, erases: true)
        tables = SQLiteTables(schema)
        try file.migrate(to: schema, path: path)
    }

    package static func path(in directory: String) -> String { directory + "/plantao.sqlite" }

    // MARK: Journal

    package func commit(_ batch: [Change]) throws(JournalError) {
        try file.write { db in
            for change in batch {
                for row in change.rows { try self.tables.write(row, db) }
                try self.tables.writeJobsAndMarks(of: change, db)
            }
        }
    }

    package func forgetMarks(before time: Timestamp) throws(JournalError) {
        try file.write { db in
            for key in try Mark.Key.old(before: time, db) { try self.tables.write(key.deletion(version: time.milliseconds), db) }
        }
    }

    /// The write-ahead log has pages as they were: it is emptied, once no reader needs it. Nobody waits for one.
    package func purge() async {
        for _ in 0..<20 {
            let isEmpty = try? await file.pool.writeWithoutTransaction { db in
                try db.execute(sql: "PRAGMA busy_timeout = 0")
                defer { try? db.execute(sql: "PRAGMA busy_timeout = 5000") }
                return try Int.fetchOne(db, sql: "PRAGMA wal_checkpoint(TRUNCATE)") == 0
            }
            if isEmpty ?? false { return }
            try? await Task.sleep(for: .milliseconds(50))
        }
    }

    // MARK: Store

    package func rows(_ query: Query) async throws(Refusal) -> [Row] {
        do { return try await file.read(query.rows) } catch {
            throw error is UnreadableValue ? .storeDamaged : .storeUnavailable()
        }
    }

    package func tenantsWithJobs() async throws(Refusal) -> [TenantID] { try await rows(.tenantsWithJobs).map(TenantID.init(row:)) }
    package func jobs(of tenant: TenantID, after lane: String, limit: Int) async throws(Refusal) -> [Job] {
        try await rows(.jobs(of: tenant, after: lane, limit)).map(Job.init)
    }
    package func jobs(of tenant: TenantID, in lane: String, limit: Int) async throws(Refusal) -> [Job] {
        try await rows(.jobs(of: tenant, in: lane, limit)).map(Job.init)
    }

    package func marks(_ keys: [Mark.Key]) async throws(Refusal) -> [Mark.Key: String] {
        do { return try await file.read { try Mark.Key.results(of: keys, $0) } } catch { throw .storeUnavailable() }
    }

    package var status: StoreStatus { StoreStatus(kind: .sqlite) }
    package func quarantined(of tenant: TenantID?) async throws(Refusal) -> [QuarantinedRow] { [] }
    package func retryQuarantined(_ ids: [Int64]) async throws(Refusal) -> Int { 0 }

    package func bring(_ rows: [RowImage]) async throws {
        try file.write { db in for row in rows { try self.tables.write(row, mayBeOlder: true, db) } }
    }

    package func close() {
        file.close()
        lock.release()
    }
}

// MARK: Looking without touching

extension SQLiteStore {
    /// The state of the tables in `directory`, also while a server runs on them.
    /// - Throws: `StartupError`.
    package static func schemaStatus(directory: String, schema: Schema) throws -> SchemaStatus {
        let path = path(in: directory)
        var status = SchemaStatus(present: nil, wanted: schema.version)
        guard FileManager.default.fileExists(atPath: path) else {
            status.plan(schema, SQLiteDialect())
            return status
        }
        var configuration = Configuration()
        configuration.readonly = true
        do {
            let queue = try DatabaseQueue(path: path, configuration: configuration)
            defer { try? queue.close() }
            try queue.read { db in
                let present = try Int.fetchOne(db, sql: "PRAGMA user_version") ?? 0
                status.present = present == 0 ? nil : present
                status.plan(schema, SQLiteDialect())
                guard status.present == schema.version else { return }
                var found: [String: [String: (type: String, isNotNull: Bool)]] = [:]
                var indexes: [String: String] = [:]
                for table in schema.tables {
                    for row in try GRDB.Row.fetchAll(db, sql: "SELECT name, type, \"notnull\" FROM pragma_table_info(?)", arguments: [table.name]) {
                        found[table.name, default: [:]][row[0]] = (row[1], row[2])
                    }
                    for row in try GRDB.Row.fetchAll(db, sql: "SELECT name, \"unique\", origin FROM pragma_index_list(?)", arguments: [table.name]) {
                        let name: String = row[0]
                        let columns = try String.fetchAll(db, sql: "SELECT name FROM pragma_index_info(?)", arguments: [name])
                        indexes[row[2] == "pk" ? table.name : name] = Schema.spelling(of: columns, of: table, isUnique: row[1])
                    }
                }
                status.drift = schema.drift(indexes: indexes, type: SQLiteDialect().type, columns: { found[$0.name] })
            }
        } catch {
            throw StartupError("PLANTAO_DATA: '\(path)' cannot be read (\(error)). Check its permissions, or restore a backup.")
        }
        return status
    }

    /// What SQLite itself finds wrong with the file; empty when it is sound.
    package static func damage(directory: String) throws -> [String] {
        let path = path(in: directory)
        guard FileManager.default.fileExists(atPath: path) else { return [] }
        var configuration = Configuration()
        configuration.readonly = true
        let queue = try DatabaseQueue(path: path, configuration: configuration)
        defer { try? queue.close() }
        return try queue.read { try String.fetchAll($0, sql: "PRAGMA quick_check(20)") }.filter { $0 != "ok" }
    }
}
