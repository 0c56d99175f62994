package import Kernel

/// Every table there is, and from it each dialect's DDL, upserts and numbered migrations.
///
/// The definition is the only source: a table, column or index names the version that brought it in (`since`), and migration *n* is what `since: n`
/// adds. So a new store and one that has come through every version end with the same tables.
package struct Schema: Sendable {
    package let tables: [Table]

    package init(_ tables: [Table]) {
        self.tables = tables
        precondition(Set(tables.map(\.name)).count == tables.count, "two tables have the same name")
    }

    /// The version of a store that holds everything defined here.
    package var version: Int {
        tables.flatMap { table in [table.since] + table.columns.compactMap(\.since) + table.indexes.compactMap(\.since) }.max() ?? 0
    }

    /// The statements that bring a store from version `number - 1` to `number`.
    package func migration(_ number: Int, dialect: some Dialect) -> [String] {
        var statements: [String] = []
        for table in tables {
            if table.since == number { statements.append(dialect.create(table, asOf: number)) }
            if table.since < number {
                for column in table.columns where column.since == number { statements.append(dialect.add(column, to: table)) }
            }
            for index in table.indexes where index.since ?? table.since == number { statements.append(dialect.create(index, on: table)) }
            if table.since == number { statements += dialect.exclude(table.exclusions, on: table) }
        }
        return statements
    }
}

/// How one database spells the schema.
package protocol Dialect: Sendable {
    func type(of kind: Column.Kind) -> String
    /// What follows a table's closing parenthesis.
    var tableOptions: String { get }
    /// The statements that add what no two rows may have between them; none where the database cannot say it.
    func exclude(_ exclusions: [Exclusion], on table: Table) -> [String]
}

extension Dialect {
    package func exclude(_ exclusions: [Exclusion], on table: Table) -> [String] { [] }

    package func create(_ table: Table, asOf version: Int) -> String {
        let columns = table.columns.filter { $0.since ?? 0 <= version }.map { "    \(definition(of: $0))" }
        let key = "    PRIMARY KEY (\(table.key.map(quoted).joined(separator: ", ")))"
        return "CREATE TABLE \(quoted(table.name)) (\n\((columns + [key]).joined(separator: ",\n"))\n)\(tableOptions)"
    }

    package func add(_ column: Column, to table: Table) -> String { "ALTER TABLE \(quoted(table.name)) ADD COLUMN \(definition(of: column))" }

    package func create(_ index: Index, on table: Table) -> String {
        "CREATE \(index.isUnique ? "UNIQUE " : "")INDEX \(quoted(index.name)) ON \(quoted(table.name)) (\(index.columns.map(quoted).joined(separator: ", ")))"
    }

    private func definition(of column: Column) -> String { "\(quoted(column.name)) \(type(of: column.kind))\(column.isNullable ? "" : " NOT NULL")" }

    package func quoted(_ name: String) -> String { "\"\(name)\"" }
}

/// SQLite 3.40: uuids, JSON, arrays and exact numbers as text that a person can read, times as milliseconds.
package struct SQLiteDialect: Dialect {
    package init() {}

    package func type(of kind: Column.Kind) -> String {
        switch kind {
        case .uuid, .text, .json, .textArray, .numeric: "TEXT"
        case .integer, .timestamp, .boolean: "INTEGER"
        }
    }

    /// Rows lie in the order of their key, whose first column is the tenant: one tenant's rows are neighbours.
    package var tableOptions: String { " WITHOUT ROWID, STRICT" }

    /// Writes a row unless the one already there is as new or newer.
    package func upsert(_ table: Table) -> String {
        let names = table.columns.map { quoted($0.name) }
        let others = table.columns.map(\.name).filter { !table.key.contains($0) }
        return """
            INSERT INTO \(quoted(table.name)) (\(names.joined(separator: ", "))) VALUES (\(names.map { _ in "?" }.joined(separator: ", ")))
            ON CONFLICT (\(table.key.map(quoted).joined(separator: ", "))) DO UPDATE SET
            \(others.map { "\(quoted($0)) = excluded.\(quoted($0))" }.joined(separator: ", "))
            WHERE excluded."version" > \(quoted(table.name))."version"
            """
    }

    package func delete(from table: Table) -> String {
        "DELETE FROM \(quoted(table.name)) WHERE \(table.key.map { "\(quoted($0)) = ?" }.joined(separator: " AND "))"
    }
}
