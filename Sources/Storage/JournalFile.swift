import Foundation
import GRDB
import Kernel

/// The local half of a remote store, `journal.sqlite`: what the store is owed, the jobs and marks as they are, and the rows that it would not take.
///
/// Durable like the embedded store: when `commit` returns, the batch is on the disk.
final class JournalFile: Sendable {
    private let file: SQLiteFile
    private let tables: SQLiteTables
    private let schema: Schema

    /// Rows, and about as many bytes, in one block.
    static let blockRows = 500
    static let blockBytes = 256 << 10

    static func path(in directory: String) -> String { directory + "/journal.sqlite" }

    /// - Throws: `StartupError`.
    init(directory: String, schema: Schema) throws {
        let path = Self.path(in: directory)
        file = try SQLiteFile(path: path, erases: false)
        self.schema = schema
        tables = SQLiteTables(Schema(StorageTables.all))
        try file.migrate(to: Schema(StorageTables.all), path: path)
        do {
            try file.pool.writeWithoutTransaction { db in
                try db.execute(
                    sql: """
                        CREATE TABLE IF NOT EXISTS pending (sequence INTEGER PRIMARY KEY, at INTEGER NOT NULL, rows INTEGER NOT NULL, block BLOB NOT NULL) STRICT;
                        CREATE TABLE IF NOT EXISTS quarantine (
                            id INTEGER PRIMARY KEY AUTOINCREMENT, "table" TEXT NOT NULL, key TEXT NOT NULL, tenant_id TEXT, block BLOB NOT NULL,
                            reason TEXT NOT NULL, at INTEGER NOT NULL, attempts INTEGER NOT NULL, UNIQUE ("table", key)
                        ) STRICT;
                        CREATE TABLE IF NOT EXISTS about (name TEXT PRIMARY KEY, value TEXT NOT NULL) STRICT, WITHOUT ROWID;
                        """
                )
            }
        } catch {
            throw StartupError("PLANTAO_DATA: '\(path)' cannot be written (\(error)). Check its permissions and the free space.")
        }
    }

    /// What lies in the journal of `directory`, also while a server runs on it; `nil` when there is none.
    /// - Throws: `StartupError` when it cannot be read: nobody knows then what it owes.
    static func summary(of directory: String) throws -> JournalSummary? {
        let path = path(in: directory)
        var configuration = Configuration()
        configuration.readonly = true
        guard FileManager.default.fileExists(atPath: path) else { return nil }
        do {
            let queue = try DatabaseQueue(path: path, configuration: configuration)
            defer { try? queue.close() }
            return try queue.read { db in
                JournalSummary(
                    storeID: try String.fetchOne(db, sql: "SELECT value FROM about WHERE name = 'store_id'"),
                    owedRows: try Int.fetchOne(db, sql: "SELECT COALESCE(SUM(rows), 0) FROM pending") ?? 0,
                    quarantinedRows: try Int.fetchOne(db, sql: "SELECT COUNT(*) FROM quarantine") ?? 0
                )
            }
        } catch {
            throw StartupError(
                "PLANTAO_DATA: '\(path)' cannot be read (\(error)), so that nobody knows what it owes. Check its permissions, or restore a backup."
            )
        }
    }

    // MARK: The database it belongs to

    /// How the journal introduces itself. Its id is made up the first time.
    func identity(_ random: (UInt64, UInt64)) async throws -> JournalIdentity {
        let fresh = UniqueID(high: random.0, low: random.1).description
        try file.write { db in try db.execute(sql: "INSERT OR IGNORE INTO about (name, value) VALUES ('journal_id', ?)", arguments: [fresh]) }
        return try await file.read { db in
            JournalIdentity(
                id: try String.fetchOne(db, sql: "SELECT value FROM about WHERE name = 'journal_id'") ?? fresh,
                storeID: try String.fetchOne(db, sql: "SELECT value FROM about WHERE name = 'store_id'"),
                owedRows: try Int.fetchOne(db, sql: "SELECT COALESCE(SUM(rows), 0) + (SELECT COUNT(*) FROM quarantine) FROM pending") ?? 0
            )
        }
    }

    /// Makes the journal that of database `storeID`, with the jobs and marks that stand there in place of its own.
    func adopt(storeID: String, jobs: [Job], marks: [Mark]) throws(JournalError) {
        try file.write { db in
            for table in StorageTables.all { try db.execute(sql: "DELETE FROM \"\(table.name)\"") }
            for job in jobs { try self.tables.write(job.image, db) }
            for mark in marks { try self.tables.write(mark.image, db) }
            try db.execute(sql: "INSERT OR REPLACE INTO about (name, value) VALUES ('store_id', ?)", arguments: [storeID])
        }
    }

    // MARK: What is owed

    struct Block: Sendable {
        let sequence: Int64
        let rows: ArraySlice<RowImage>
        let bytes: [UInt8]
    }

    /// The images in blocks, numbered after `last`.
    static func blocks(_ images: [RowImage], after last: Int64) -> [Block] {
        var blocks: [Block] = []
        func add(_ rows: ArraySlice<RowImage>) {
            let bytes = ImageCodec.encode(rows)
            // A few large rows are as good as many small ones.
            if bytes.count > blockBytes, rows.count > 1 {
                let middle = (rows.startIndex + rows.endIndex) / 2
                add(rows[..<middle])
                add(rows[middle...])
            } else {
                blocks.append(Block(sequence: last + Int64(blocks.count) + 1, rows: rows, bytes: bytes))
            }
        }
        for start in stride(from: 0, to: images.count, by: blockRows) { add(images[start..<min(start + blockRows, images.count)]) }
        return blocks
    }

    /// Appends the blocks, writes what the batch says about jobs and marks, deletes the marks that are forgotten, and drops the blocks in `flushed`: in one
    /// transaction.
    func commit(
        _ batch: [Change],
        forgetting forgotten: [RowImage] = [],
        _ blocks: [Block],
        at now: Timestamp,
        dropping flushed: ClosedRange<Int64>?
    ) throws(JournalError) {
        try file.write { db in
            for deletion in forgotten { try self.tables.write(deletion, db) }
            let insert = try db.cachedStatement(sql: "INSERT INTO pending (sequence, at, rows, block) VALUES (?, ?, ?, ?)")
            for block in blocks {
                try insert.execute(arguments: [block.sequence, now.milliseconds, block.rows.count, Data(block.bytes)])
            }
            for change in batch { try self.tables.writeJobsAndMarks(of: change, db) }
            if let flushed { try self.drop(flushed, db) }
        }
    }

    func drop(_ flushed: ClosedRange<Int64>) throws(JournalError) { try file.write { db in try self.drop(flushed, db) } }

    private func drop(_ flushed: ClosedRange<Int64>, _ db: Database) throws {
        try db.cachedStatement(sql: "DELETE FROM pending WHERE sequence BETWEEN ? AND ?").execute(arguments: [flushed.lowerBound, flushed.upperBound])
    }

    struct Pending: Sendable {
        let sequence: Int64
        let at: Timestamp
        let rowCount: Int
        let bytes: Int
        let tenants: Set<TenantID>
    }

    /// Everything that is owed, by age.
    /// - Throws: `StartupError` for a block that this program cannot read.
    func pending() throws -> [Pending] {
        try file.pool.read { db in
            let rows = try GRDB.Row.fetchCursor(db, sql: "SELECT sequence, at, block FROM pending ORDER BY sequence")
            return try Array(
                rows.map { row in
                    let sequence: Int64 = row[0]
                    let block: Data = row[2]
                    do {
                        let images = try ImageCodec.decode(Array(block), self.schema)
                        return Pending(
                            sequence: sequence,
                            at: Timestamp(milliseconds: row[1]),
                            rowCount: images.count,
                            bytes: block.count,
                            tenants: Set(images.compactMap(\.tenant))
                        )
                    } catch {
                        throw StartupError(
                            "PLANTAO_DATA: the journal's block \(sequence) cannot be read (\(error)). If a newer program wrote it, start that one; nothing was changed."
                        )
                    }
                }
            )
        }
    }

    func images(_ sequences: ClosedRange<Int64>) async throws -> [Int64: [RowImage]] {
        let schema = schema
        return try await file.read { db in
            var found: [Int64: [RowImage]] = [:]
            let rows = try GRDB.Row.fetchCursor(
                db,
                sql: "SELECT sequence, block FROM pending WHERE sequence BETWEEN ? AND ?",
                arguments: [sequences.lowerBound, sequences.upperBound]
            )
            while let row = try rows.next() {
                let block: Data = row[1]
                found[row[0]] = try ImageCodec.decode(Array(block), schema)
            }
            return found
        }
    }

    // MARK: Jobs and marks

    func bring(_ rows: [RowImage]) throws(JournalError) {
        try file.write { db in for row in rows { try self.tables.write(row, mayBeOlder: true, db) } }
    }

    func jobs(_ query: Query) async throws -> [Job] { try await file.read { try query.rows($0).map(Job.init) } }
    func tenantsWithJobs() async throws -> [TenantID] { try await file.read { try Query.tenantsWithJobs.rows($0).map(TenantID.init(row:)) } }
    func marks(_ keys: [Mark.Key]) async throws -> [Mark.Key: String] { try await file.read { try Mark.Key.results(of: keys, $0) } }
    func oldMarks(before time: Timestamp) throws -> [Mark.Key] { try file.pool.read { try Mark.Key.old(before: time, $0) } }

    // MARK: Quarantine

    /// Keeps a row that was refused, in place of an earlier image of it.
    func quarantine(_ image: RowImage, reason: String, at now: Timestamp) throws(JournalError) {
        let block = Data(ImageCodec.encode([image]))
        try file.write { db in
            try db.execute(
                sql: """
                    INSERT INTO quarantine ("table", key, tenant_id, block, reason, at, attempts) VALUES (?, ?, ?, ?, ?, ?, 1)
                    ON CONFLICT ("table", key) DO UPDATE SET block = excluded.block, reason = excluded.reason, attempts = attempts + 1
                    """,
                arguments: [image.table.name, Self.text(of: image.key), image.tenant?.description, block, reason, now.milliseconds]
            )
        }
    }

    func release(_ keys: [WriteBehindQueue.RowKey]) throws(JournalError) {
        try file.write { db in
            for key in keys {
                try db.execute(sql: "DELETE FROM quarantine WHERE \"table\" = ? AND key = ?", arguments: [key.table, Self.text(of: key.key)])
            }
        }
    }

    /// The keys of everything that is there.
    func quarantinedKeys() async throws -> Set<WriteBehindQueue.RowKey> {
        let schema = schema
        return try await file.read { db in
            let blocks = try Data.fetchCursor(db, sql: "SELECT block FROM quarantine")
            var keys: Set<WriteBehindQueue.RowKey> = []
            while let block = try blocks.next() {
                for image in try ImageCodec.decode(Array(block), schema) { keys.insert(.init(image)) }
            }
            return keys
        }
    }

    /// One of them; `nil` when it is gone.
    func quarantined(_ id: Int64) async throws -> RowImage? {
        let schema = schema
        return try await file.read { db in
            guard let block = try Data.fetchOne(db, sql: "SELECT block FROM quarantine WHERE id = ?", arguments: [id]) else { return nil }
            return try ImageCodec.decode(Array(block), schema).first
        }
    }

    func quarantinedIDs() async throws -> [Int64] { try await file.read { try Int64.fetchAll($0, sql: "SELECT id FROM quarantine ORDER BY id") } }

    /// The latest images of a table's rows that wait in quarantine.
    func quarantinedImages(of table: String) async throws -> [RowImage] {
        let schema = schema
        return try await file.read { db in
            try Data.fetchAll(db, sql: "SELECT block FROM quarantine WHERE \"table\" = ?", arguments: [table]).flatMap {
                try ImageCodec.decode(Array($0), schema)
            }
        }
    }

    func quarantined(of tenant: TenantID?) async throws -> [(QuarantinedRow, RowImage)] {
        let schema = schema
        return try await file.read { db in
            let rows = try GRDB.Row.fetchCursor(
                db,
                sql:
                    "SELECT id, block, reason, at, attempts FROM quarantine WHERE ?1 IS NULL OR tenant_id IS NULL OR tenant_id = ?1 ORDER BY id LIMIT 10000",
                arguments: [tenant?.description]
            )
            return try Array(
                rows.map { row in
                    let block: Data = row[1]
                    guard let image = try ImageCodec.decode(Array(block), schema).first else {
                        throw ImageCodec.Unreadable(description: "an empty block")
                    }
                    var isDeletion = false
                    if case .deleted = image.content { isDeletion = true }
                    let shown = QuarantinedRow(
                        id: row[0],
                        tenant: image.tenant,
                        table: image.table.name,
                        key: image.key.map(\.asText),
                        version: image.version,
                        isDeletion: isDeletion,
                        reason: row[2],
                        at: Timestamp(milliseconds: row[3]),
                        attempts: row[4]
                    )
                    return (shown, image)
                }
            )
        }
    }

    private static func text(of key: [SQLValue]) -> String { key.map(\.asText).joined(separator: "\u{1f}") }

    func close() { file.close() }
}

extension SQLValue {
    /// For a person to read.
    fileprivate var asText: String {
        switch self {
        case .null: ""
        case .uuid(let id): id.description
        case .text(let text), .json(let text): text
        case .integer(let number): String(number)
        case .boolean(let flag): flag ? "true" : "false"
        case .timestamp(let time): time.description
        case .textArray(let texts): texts.joined(separator: ",")
        case .numeric(let number): number.description
        }
    }
}
