package import Kernel

/// How a store's tables compare to what this program expects. Looking changes nothing.
package struct SchemaStatus: Sendable {
    /// The version the tables are at; `nil` when there are none yet.
    package var present: Int?
    package var wanted: Int
    /// What a migration would do, by number.
    package var pending: [(number: Int, statements: [String])] = []
    /// Tables, columns and indexes that are not as they should be at this version: somebody altered them by hand.
    package var drift: [String] = []

    package init(present: Int?, wanted: Int) {
        self.present = present
        self.wanted = wanted
    }

    package var isNewer: Bool { present ?? 0 > wanted }
    package var isUpToDate: Bool { present == wanted && drift.isEmpty }
}

extension SchemaStatus {
    /// Lists what a migration would do.
    package mutating func plan(_ schema: Schema, _ dialect: some Dialect) {
        let present = present ?? 0
        guard present < schema.version else { return }
        for number in (present + 1)...schema.version { pending.append((number, schema.migration(number, dialect: dialect))) }
    }
}

extension Schema {
    /// What of this is missing or different in a store.
    /// - Parameters:
    ///   - indexes: all that are there by name, each as its table, columns and whether it is unique: `messages (tenant_id, id) UNIQUE`. The primary keys as `messages` and so on.
    ///   - type: how the store names the type of a column.
    ///   - columns: those of a table by name; `nil` when the table is missing.
    package func drift(
        indexes: [String: String],
        type: (Column.Kind) -> String,
        columns: (Table) -> [String: (type: String, isNotNull: Bool)]?
    ) -> [String] {
        var drift: [String] = []
        for table in tables {
            guard let found = columns(table) else {
                drift.append("table \(table.name) is missing")
                continue
            }
            for column in table.columns {
                guard let (name, isNotNull) = found[column.name] else {
                    drift.append("column \(table.name).\(column.name) is missing")
                    continue
                }
                if name != type(column.kind) { drift.append("column \(table.name).\(column.name) is of type \(name)") }
                if isNotNull == column.isNullable { drift.append("column \(table.name).\(column.name) differs in NOT NULL") }
            }
            for index in table.indexes {
                let wanted = Self.spelling(of: index.columns, of: table, isUnique: index.isUnique)
                guard let present = indexes[index.name] else {
                    drift.append("index \(index.name) is missing")
                    continue
                }
                if present != wanted { drift.append("index \(index.name) is on \(present)") }
            }
            let key = Self.spelling(of: table.key, of: table, isUnique: true)
            if indexes[table.name] != key { drift.append("the primary key of \(table.name) is \(indexes[table.name] ?? "missing")") }
        }
        return drift
    }

    /// An index in words, to be compared.
    package static func spelling(of columns: [String], of table: Table, isUnique: Bool) -> String {
        "\(table.name) (\(columns.joined(separator: ", ")))\(isUnique ? " UNIQUE" : "")"
    }
}
