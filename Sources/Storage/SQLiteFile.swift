import GRDB
import Kernel
import Wire

#if canImport(FoundationEssentials)
    import FoundationEssentials
#else
    import Foundation
#endif

/// One SQLite database of ours on the disk, opened so that a commit that returned outlives a power cut.
struct SQLiteFile {
    let pool: DatabasePool

    /// - Parameter erases: what is deleted or written over is overwritten, so that whoever is forgotten is: for what stays. Debian builds SQLite so; for what is
    ///   only on its way it is twice the writing for nothing.
    /// - Throws: `StartupError`.
    init(path: String, erases: Bool) throws {
        var configuration = Configuration()
        configuration.journalMode = .wal
        configuration.maximumReaderCount = 4
        configuration.busyMode = .timeout(5)
        configuration.prepareDatabase { db in
            db.add(function: Self.arrayPosition)
            db.add(function: Self.translate)
            try db.execute(sql: "PRAGMA secure_delete = \(erases ? "ON" : "OFF"); PRAGMA temp_store = MEMORY; PRAGMA cache_size = -16000")
        }
        do {
            pool = try DatabasePool(path: path, configuration: configuration)
            try pool.writeWithoutTransaction { db in
                // GRDB asks for NORMAL in WAL mode, with which a power cut may take the last commits. We have promised them.
                try db.execute(sql: "PRAGMA synchronous = FULL; PRAGMA wal_autocheckpoint = 2000")
            }
        } catch {
            throw StartupError("PLANTAO_DATA: '\(path)' cannot be opened (\(error)). Check its permissions and the free space, or restore a backup.")
        }
    }

    /// Postgres' function of the same name, for an array as it is stored here: where in it a text is, from 1, or NULL.
    private static let arrayPosition = DatabaseFunction("array_position", argumentCount: 2, pure: true) { values in
        guard let array = String.fromDatabaseValue(values[0]), let wanted = String.fromDatabaseValue(values[1]) else { return nil }
        return (try? JSON.parse(array))?.array?.firstIndex { $0.string == wanted }.map { $0 + 1 }
    }

    /// Postgres' function of the same name: each character that stands in the second text becomes the one in its place in the third, or goes where there is none.
    private static let translate = DatabaseFunction("translate", argumentCount: 3, pure: true) { values in
        guard let text = String.fromDatabaseValue(values[0]), let from = String.fromDatabaseValue(values[1]),
            let to = String.fromDatabaseValue(values[2])
        else { return nil }
        if text.utf8.allSatisfy({ $0 < 0x80 }), from.utf8.allSatisfy({ $0 >= 0x80 }) { return text }
        let (letters, others) = (Array(from.unicodeScalars), Array(to.unicodeScalars))
        var translated = String.UnicodeScalarView()
        for scalar in text.unicodeScalars {
            guard let index = letters.firstIndex(of: scalar) else {
                translated.append(scalar)
                continue
            }
            if index < others.count { translated.append(others[index]) }
        }
        return String(translated)
    }

    /// Brings the tables up to date. `PRAGMA user_version` holds the number of the last migration; each one is a transaction of its own.
    func migrate(to schema: Schema, path: String) throws {
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

    /// One transaction, on disk when it returns.
    func write(_ body: @Sendable (Database) throws -> Void) throws(JournalError) {
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

    func read<Value: Sendable>(_ body: @escaping @Sendable (Database) throws -> Value) async throws -> Value { try await pool.read(body) }

    func close() { try? pool.close() }
}

/// The statements that write the images of a schema's rows into its SQLite tables.
struct SQLiteTables {
    private let upserts: [Kernel.Table: String]
    private let deletions: [Kernel.Table: String]

    init(_ schema: Schema) {
        let dialect = SQLiteDialect()
        upserts = Dictionary(uniqueKeysWithValues: schema.tables.map { ($0, dialect.upsert($0)) })
        deletions = Dictionary(uniqueKeysWithValues: schema.tables.map { ($0, dialect.delete(from: $0)) })
    }

    /// - Parameter mayBeOlder: an image that is not newer than what is there is passed over.
    func write(_ row: RowImage, mayBeOlder: Bool = false, _ db: Database) throws {
        switch row.content {
        case .values(let values):
            guard let sql = upserts[row.table] else { throw JournalError(.content, "the schema has no table \(row.table.name)") }
            var arguments = values.map(\.sqlite)
            arguments.append(row.version.databaseValue)
            try db.cachedStatement(sql: sql).execute(arguments: StatementArguments(arguments))
            // Here every image is written once, in order. One that is not newer than what is there was decided on state that is not the latest, and to
            // pass over it would lose it in silence.
            if db.changesCount == 0, !mayBeOlder { throw JournalError(.content, "an image of \(row.table.name) is not newer than the one stored") }
        case .deleted(let key):
            guard let sql = deletions[row.table] else { throw JournalError(.content, "the schema has no table \(row.table.name)") }
            try db.cachedStatement(sql: sql).execute(arguments: StatementArguments(key.map(\.sqlite)))
        }
    }

    /// What a change leaves in the tables of the change path itself.
    func writeJobsAndMarks(of change: Change, _ db: Database) throws {
        for job in change.jobs { try write(job.image, db) }
        for job in change.endedJobs { try write(job.deletion, db) }
        for mark in change.marks { try write(mark.image, db) }
    }
}

extension Query {
    func rows(_ db: Database) throws -> [Row] {
        let arguments = StatementArguments(arguments.map(\.sqlite))
        // A statement with many arguments is one of many like it, and not worth keeping.
        let statement = try self.arguments.count <= 12 ? db.cachedStatement(sql: sql) : db.makeStatement(sql: sql)
        var rows: [Row] = []
        let cursor = try GRDB.Row.fetchCursor(statement, arguments: arguments)
        while let row = try cursor.next() {
            rows.append(
                Row(
                    try zip(kinds.indices, kinds).map { index, kind in
                        guard let value = SQLValue(row[index] as DatabaseValue, as: kind) else { throw UnreadableValue(column: index, kind: kind) }
                        return value
                    }
                )
            )
        }
        return rows
    }
}

/// A value that no program of ours writes: the file was damaged, or altered by hand. Whoever asked gets an error; nobody else is hurt.
struct UnreadableValue: Error {
    let column: Int
    let kind: Kernel.Column.Kind
}

extension Mark.Key {
    /// Those of `keys` that are marked, with their results.
    static func results(of keys: [Mark.Key], _ db: Database) throws -> [Mark.Key: String] {
        let statement = try db.cachedStatement(sql: "SELECT result FROM marks WHERE tenant_id = ? AND scope = ? AND key = ?")
        var found: [Mark.Key: String] = [:]
        for key in keys { found[key] = try String.fetchOne(statement, arguments: [key.tenant.description, key.scope, key.key]) }
        return found
    }

    /// The oldest marks from before `time`, a few thousand at the most.
    static func old(before time: Timestamp, _ db: Database) throws -> [Mark.Key] {
        try Query(
            "SELECT tenant_id, scope, key FROM marks WHERE at < ? ORDER BY at LIMIT 5000",
            [.timestamp(time)],
            kinds: [.uuid, .text, .text]
        ).rows(db).map { row in
            var row = row
            return Mark.Key(tenant: row.id(), scope: row.text(), key: row.text())
        }
    }
}

extension SQLValue {
    var sqlite: DatabaseValue {
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
