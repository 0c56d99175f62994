package import Kernel
package import Telemetry

package import struct Foundation.Decimal

/// Where committed changes go. One writer at a time: only the `Gate` calls `commit`.
package protocol Journal: Sendable {
    /// Writes every change of the batch in one transaction, and returns once it is on disk.
    func commit(_ batch: [Change]) throws(JournalError)
    /// Forgets marks older than `time`, at most a few thousand at a time.
    func forgetMarks(before time: Timestamp) throws(JournalError)
    /// Changes of these spans were just committed: what becomes of them is told as spans too.
    func follow(_ spans: [SpanContext])
    /// Why nothing more may be decided now, when so much is owed already that its bound is reached.
    var objection: Refusal? { get }
}

extension Journal {
    package var objection: Refusal? { nil }
    package func follow(_ spans: [SpanContext]) {}
}

/// Why a batch was not written. Nothing of it was.
package struct JournalError: Error, CustomStringConvertible {
    package enum Kind: Sendable, Equatable {
        /// The disk is full, gone or failing: the next batch would fare no better.
        case environment
        /// Something in this batch cannot be written, such as a second row under a unique key.
        case content
    }

    package let kind: Kind
    package let description: String

    package init(_ kind: Kind, _ description: String) {
        self.kind = kind
        self.description = description
    }
}

/// Where committed rows are read from.
package protocol Store: Sendable {
    func rows(_ query: Query) async throws(Refusal) -> [Row]
    /// All rows of a table as they were last committed, wherever they lie.
    func everything(in table: Table) async throws(Refusal) -> [Row]
    /// Whether rows of this tenant wait in quarantine: what is stored is then not what was committed, and nothing may be decided on it.
    func holdsBack(_ tenant: TenantID) -> Bool
    /// The results of those of `keys` that were marked, read from the journal itself: it answers even when a remote store does not.
    func marks(_ keys: [Mark.Key]) async throws(Refusal) -> [Mark.Key: String]
    /// Whose jobs there are, read from the journal itself.
    func tenantsWithJobs() async throws(Refusal) -> [TenantID]
    /// A tenant's first `limit` jobs of the lanes whose names come after `lane`, by lane and order; read from the journal itself.
    func jobs(of tenant: TenantID, after lane: String, limit: Int) async throws(Refusal) -> [Job]
    /// The first `limit` jobs of one lane, by order; read from the journal itself.
    func jobs(of tenant: TenantID, in lane: String, limit: Int) async throws(Refusal) -> [Job]
    /// Somebody was forgotten: what was written over is not to lie about on the disk, as far as it is this store's to say.
    func purge() async
}

extension Store {
    package func everything(in table: Table) async throws(Refusal) -> [Row] { try await rows(.select(from: table)) }
    package func holdsBack(_ tenant: TenantID) -> Bool { false }
    package func purge() async {}
}

/// What an operator asks of a store beside its rows.
package protocol ManagedStore: Store, Journal {
    var status: StoreStatus { get }
    /// Rows that the store would not take, oldest first.
    /// - Parameter tenant: whose, with those that are nobody's; `nil` for everybody's.
    func quarantined(of tenant: TenantID?) async throws(Refusal) -> [QuarantinedRow]
    /// Tries these once more.
    /// - Returns: how many of them the store has taken now.
    func retryQuarantined(_ ids: [Int64]) async throws(Refusal) -> Int
    /// Writes rows that come from another store, straight to where they belong. One that is as new or newer already stays.
    /// - Throws: `JournalError`.
    func bring(_ rows: [RowImage]) async throws
    /// Writes what can be written in reasonable time, and ends.
    func close() async
}

/// How the store is, for operators.
package struct StoreStatus: Sendable {
    package enum Kind: String, Sendable { case sqlite, postgres }

    package let kind: Kind
    /// What a store behind a network is owed; `nil` for an embedded one.
    package var writeBehind: WriteBehindStatus?

    package init(kind: Kind, writeBehind: WriteBehindStatus? = nil) {
        self.kind = kind
        self.writeBehind = writeBehind
    }
}

/// A row that the remote store refused for what is in it, and that waits for a person.
package struct QuarantinedRow: Sendable, Equatable {
    package let id: Int64
    package let tenant: TenantID?
    package let table: String
    /// The key's values in the order of its columns, as text.
    package let key: [String]
    package let version: Int64
    package let isDeletion: Bool
    /// The database's words.
    package let reason: String
    package let at: Timestamp
    package let attempts: Int
}

extension Refusal {
    static func storeUnavailable(retryAfterSeconds: Int = 1) -> Refusal {
        Refusal(
            .unavailable,
            "store_unavailable",
            "O histórico não pode ser lido agora. Tente novamente em instantes.",
            retryAfterSeconds: retryAfterSeconds
        )
    }
    /// What was just committed has not reached the store in the time a reader waits for it.
    static let storeBehind = Refusal(
        .unavailable,
        "store_behind",
        "O banco de dados está atrasado em relação às últimas alterações. Tente novamente em instantes.",
        retryAfterSeconds: 1
    )
    static let storeDamaged = Refusal(
        .unavailable,
        "store_damaged",
        "O histórico não pode ser lido agora. Tente novamente em instantes.",
        retryAfterSeconds: 1
    )
    /// Rows of the tenant wait in quarantine.
    static let rowsHeldBack = Refusal(
        .unavailable,
        "rows_held_back",
        "O banco de dados recusou linhas desta empresa; até que a causa seja corrigida, nada pode ser decidido sobre elas (GET /api/v1/storage).",
        retryAfterSeconds: 30
    )
    /// Another server took over the database, on an operator's word.
    static let usurped = Refusal(
        .unavailable,
        "usurped",
        "Outro servidor assumiu este banco de dados; nada foi alterado. Use o outro servidor.",
        retryAfterSeconds: 30
    )
    /// The journal's bound is reached: the remote store has been away for too long.
    static let journalFull = Refusal(
        .unavailable,
        "journal_full",
        "O banco de dados está fora do ar há tempo demais e o diário local atingiu seu limite; nada foi alterado.",
        retryAfterSeconds: 10
    )
}

/// One `SELECT`, in the SQL that both dialects speak, with `?` for each argument.
package struct Query: Sendable {
    package let sql: String
    package let arguments: [SQLValue]
    /// What each column of the result is, in order.
    package let kinds: [Column.Kind]
    /// Whose rows are asked for: what this tenant has committed is in the answer. `nil` for what everybody has.
    package let tenant: TenantID?
    /// Decisions follow from the answer: it is refused where it could not be whole.
    package var isForDeciding = false

    package init(_ sql: String, _ arguments: [SQLValue] = [], kinds: [Column.Kind], tenant: TenantID? = nil) {
        self.sql = sql
        self.arguments = arguments
        self.kinds = kinds
        self.tenant = tenant
    }

    /// The same query, for what decisions follow from.
    package var forDeciding: Query {
        var query = self
        query.isForDeciding = true
        return query
    }

    /// All columns of `table`, in the order of their definition.
    /// - Parameter rest: `WHERE … ORDER BY … LIMIT …`
    package static func select(from table: Table, _ rest: String = "", _ arguments: [SQLValue] = [], tenant: TenantID? = nil) -> Query {
        Query(
            "SELECT \(table.columns.map { "\"\($0.name)\"" }.joined(separator: ", ")) FROM \"\(table.name)\" \(rest)",
            arguments,
            kinds: table.columns.map(\.kind),
            tenant: tenant
        )
    }
}

/// One row of a result, read from left to right.
///
/// A value of another type than asked for means that the code and the schema disagree, which is a defect: it stops the program with a sentence.
package struct Row: Sendable {
    private let values: [SQLValue]
    private var position = 0

    package init(_ values: [SQLValue]) { self.values = values }

    /// The value of one column, by its number.
    package subscript(column: Int) -> SQLValue { values[column] }

    package mutating func next() -> SQLValue {
        defer { position += 1 }
        return values[position]
    }

    package mutating func id<Kind>() -> Identifier<Kind> {
        guard let value: Identifier<Kind> = optionalID() else { mismatch("a uuid") }
        return value
    }
    package mutating func optionalID<Kind>() -> Identifier<Kind>? {
        switch next() {
        case .uuid(let value): Identifier(value)
        case .null: nil
        default: mismatch("a uuid")
        }
    }
    package mutating func text() -> String {
        guard let value = optionalText() else { mismatch("text") }
        return value
    }
    package mutating func optionalText() -> String? {
        switch next() {
        case .text(let value), .json(let value): value
        case .null: nil
        default: mismatch("text")
        }
    }
    package mutating func integer() -> Int64 {
        guard let value = optionalInteger() else { mismatch("an integer") }
        return value
    }
    package mutating func optionalInteger() -> Int64? {
        switch next() {
        case .integer(let value): value
        case .null: nil
        default: mismatch("an integer")
        }
    }
    package mutating func boolean() -> Bool {
        guard case .boolean(let value) = next() else { mismatch("a boolean") }
        return value
    }
    package mutating func optionalBoolean() -> Bool? {
        switch next() {
        case .boolean(let value): value
        case .null: nil
        default: mismatch("a boolean")
        }
    }
    package mutating func timestamp() -> Timestamp {
        guard let value = optionalTimestamp() else { mismatch("a timestamp") }
        return value
    }
    package mutating func optionalTimestamp() -> Timestamp? {
        switch next() {
        case .timestamp(let value): value
        case .null: nil
        default: mismatch("a timestamp")
        }
    }
    package mutating func numeric() -> Decimal {
        guard let value = optionalNumeric() else { mismatch("a number") }
        return value
    }
    package mutating func optionalNumeric() -> Decimal? {
        switch next() {
        case .numeric(let value): value
        case .null: nil
        default: mismatch("a number")
        }
    }
    package mutating func textArray() -> [String] {
        guard case .textArray(let value) = next() else { mismatch("an array of text") }
        return value
    }

    private func mismatch(_ expected: String) -> Never {
        fatalError("column \(position - 1) of a row is \(values[position - 1]), where \(expected) was expected")
    }
}
