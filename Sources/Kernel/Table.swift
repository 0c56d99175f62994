package import struct Foundation.Decimal

/// The definition of one table, from which both dialects' DDL, upserts and migrations are made.
///
/// Every table of a tenant begins its key with `tenant_id`, and ends its columns with `version`: a number that only grows from one image of
/// a row to the next, so that writing an older image over a newer one does nothing and a replay is harmless.
package struct Table: Sendable, Hashable {
    package let name: String
    package let columns: [Column]
    package let key: [String]
    package let indexes: [Index]
    package let exclusions: [Exclusion]
    /// The schema version that brought the table in.
    package let since: Int
    /// Where the columns of the key stand among `columns`.
    package let keyPositions: [Int]
    /// Which value of the key says whose row it is; `nil` where rows belong to nobody in particular.
    package let tenantPosition: Int?

    /// - Parameters:
    ///   - columns: all but `version`, which is added.
    ///   - tenant: the column of the key that says whose a row is.
    package init(
        _ name: String,
        since: Int,
        key: [String],
        tenant: String = "tenant_id",
        columns: [Column],
        indexes: [Index] = [],
        exclusions: [Exclusion] = []
    ) {
        self.name = name
        self.since = since
        self.key = key
        self.columns = columns + [Column("version", .integer)]
        self.indexes = indexes
        self.exclusions = exclusions
        keyPositions = key.compactMap { name in columns.firstIndex { $0.name == name } }
        tenantPosition = key.firstIndex(of: tenant)
        precondition(keyPositions.count == key.count, "a key column of \(name) is not among its columns")
    }

    package static func == (a: Table, b: Table) -> Bool { a.name == b.name }
    package func hash(into hasher: inout Hasher) { hasher.combine(name) }
}

package struct Column: Sendable {
    package enum Kind: Sendable, CaseIterable {
        case uuid, text, integer, boolean, timestamp, json, textArray
        /// An exact decimal number: money, rates.
        case numeric
    }

    package let name: String
    package let kind: Kind
    package let isNullable: Bool
    /// The schema version that brought the column in, when later than its table. Such a column is nullable.
    package let since: Int?

    package init(_ name: String, _ kind: Kind, isNullable: Bool = false, since: Int? = nil) {
        self.name = name
        self.kind = kind
        self.isNullable = isNullable || since != nil
        self.since = since
    }

    package static func optional(_ name: String, _ kind: Kind) -> Column { Column(name, kind, isNullable: true) }
}

/// What no two rows of a table may have between them, looked at when a transaction is committed. Of Postgres only; where it cannot be said, it is not said.
package struct Exclusion: Sendable {
    package let name: String
    /// Columns, or expressions of them, each with the operator that must not hold for all of these.
    package let elements: [(expression: String, conflictsWith: String)]
    /// Which rows count.
    package let condition: String

    package init(_ name: String, _ elements: [(String, String)], where condition: String) {
        self.name = name
        self.elements = elements.map { (expression: $0.0, conflictsWith: $0.1) }
        self.condition = condition
    }
}

package struct Index: Sendable {
    package let name: String
    package let columns: [String]
    package let isUnique: Bool
    package let since: Int?

    package init(_ name: String, on columns: [String], isUnique: Bool = false, since: Int? = nil) {
        self.name = name
        self.columns = columns
        self.isUnique = isUnique
        self.since = since
    }
}

/// One value of a row. The cases match `Column.Kind`, with `null` where the column allows it.
package enum SQLValue: Sendable, Hashable {
    case null
    case uuid(UniqueID)
    case text(String)
    case integer(Int64)
    case boolean(Bool)
    case timestamp(Timestamp)
    /// JSON text, stored as it is.
    case json(String)
    case textArray([String])
    case numeric(Decimal)

    package static func id<Kind>(_ id: Identifier<Kind>) -> SQLValue { .uuid(id.value) }
    package static func id<Kind>(_ id: Identifier<Kind>?) -> SQLValue { id.map { .uuid($0.value) } ?? .null }
    package static func optional(_ text: String?) -> SQLValue { text.map { .text($0) } ?? .null }
    package static func optional(_ number: Int64?) -> SQLValue { number.map { .integer($0) } ?? .null }
    package static func optional(_ time: Timestamp?) -> SQLValue { time.map { .timestamp($0) } ?? .null }
}

/// A row as it now is, or the fact that it is gone.
package struct RowImage: Sendable {
    package enum Content: Sendable {
        /// One value for each column of the table but `version`, in the order of their definition.
        case values([SQLValue])
        /// One value for each key column.
        case deleted(key: [SQLValue])
    }

    package let table: Table
    package let version: Int64
    package let content: Content

    /// The values of the key columns.
    package var key: [SQLValue] {
        switch content {
        case .values(let values): table.keyPositions.map { values[$0] }
        case .deleted(let key): key
        }
    }

    /// Whose row it is; `nil` for what belongs to nobody in particular.
    package var tenant: TenantID? {
        guard let position = table.tenantPosition, case .uuid(let id) = key[position] else { return nil }
        return TenantID(id)
    }

    package init(_ table: Table, version: Int64, values: [SQLValue]) {
        precondition(
            values.count == table.columns.count - 1,
            "an image of \(table.name) needs \(table.columns.count - 1) values, not \(values.count)"
        )
        self.table = table
        self.version = version
        self.content = .values(values)
    }

    package init(deleting key: [SQLValue], from table: Table, version: Int64) {
        precondition(key.count == table.key.count, "a key of \(table.name) has \(table.key.count) values")
        self.table = table
        self.version = version
        self.content = .deleted(key: key)
    }
}
