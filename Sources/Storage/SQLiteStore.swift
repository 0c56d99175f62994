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
        file = try SQLiteFile(path: path)
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
            for key in try Mark.Key.old(before: time, db) { try self.tables.write(key.deletion, db) }
        }
    }

    // MARK: Store

    package func rows(_ query: Query) async throws(Refusal) -> [Row] {
        do { return try await file.read(query.rows) } catch {
            throw error is UnreadableValue ? .storeDamaged : .storeUnavailable()
        }
    }

    package func jobs(limit: Int) async throws(Refusal) -> [Job] { try await rows(.oldestJobs(limit)).map(Job.init) }

    package func marks(_ keys: [Mark.Key]) async throws(Refusal) -> [Mark.Key: String] {
        do { return try await file.read { try Mark.Key.results(of: keys, $0) } } catch { throw .storeUnavailable() }
    }

    package var status: StoreStatus { StoreStatus(kind: .sqlite) }
    package func quarantined(of tenant: TenantID?) async throws(Refusal) -> [QuarantinedRow] { [] }
    package func retryQuarantined(_ ids: [Int64]) async throws(Refusal) -> Int { 0 }

    package func close() {
        file.close()
        lock.release()
    }
}
