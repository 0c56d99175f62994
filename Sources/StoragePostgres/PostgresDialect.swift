import Kernel
import Storage

/// Postgres 15: native types. Text compares by its bytes, as in SQLite, so that a list has one order whichever store it comes from.
struct PostgresDialect: Dialect {

    func type(of kind: Column.Kind) -> String {
        switch kind {
        case .uuid: "uuid"
        case .text: "text COLLATE \"C\""
        case .integer: "bigint"
        case .boolean: "boolean"
        case .timestamp: "timestamptz"
        case .json: "jsonb"
        case .textArray: "text[]"
        case .numeric: "numeric"
        }
    }

    var tableOptions: String { "" }

    /// `btree_gist` comes with Postgres and lets a range be looked at together with plain columns; whoever owns the database may switch it on.
    func exclude(_ exclusions: [Exclusion], on table: Kernel.Table) -> [String] {
        guard !exclusions.isEmpty else { return [] }
        return ["CREATE EXTENSION IF NOT EXISTS btree_gist"]
            + exclusions.map { exclusion in
                let elements = exclusion.elements.map { "\($0.expression) WITH \($0.conflictsWith)" }.joined(separator: ", ")
                return """
                    ALTER TABLE \(quoted(table.name)) ADD CONSTRAINT \(quoted(exclusion.name))
                    EXCLUDE USING gist (\(elements)) WHERE (\(exclusion.condition)) DEFERRABLE INITIALLY DEFERRED
                    """
            }
    }

    /// Writes as many rows as the arrays are long, one array for each column, unless the one already there is as new or newer.
    ///
    /// An array of arrays would be taken apart by `unnest`, so arrays travel as the text of one.
    func upsert(_ table: Table) -> String {
        let names = table.columns.map { quoted($0.name) }
        let arrays = table.columns.enumerated().map { "$\($0 + 1)::\(Self.array(of: $1.kind))" }
        let values = table.columns.enumerated().map { "u.c\($0)\($1.kind == .textArray ? "::text[]" : "")" }
        let others = table.columns.map(\.name).filter { !table.key.contains($0) }
        return """
            INSERT INTO \(quoted(table.name)) (\(names.joined(separator: ", ")))
            SELECT \(values.joined(separator: ", ")) FROM unnest(\(arrays.joined(separator: ", "))) AS u(\(names.indices.map { "c\($0)" }.joined(separator: ", ")))
            ON CONFLICT (\(table.key.map(quoted).joined(separator: ", "))) DO UPDATE SET
            \(others.map { "\(quoted($0)) = excluded.\(quoted($0))" }.joined(separator: ", "))
            WHERE excluded."version" > \(quoted(table.name))."version"
            """
    }

    /// Deletes as many rows as the arrays are long: one array for each key column, and one of versions, past which a row stays.
    func delete(from table: Table) -> String {
        let kinds = table.keyPositions.map { table.columns[$0].kind } + [.integer]
        let arrays = kinds.enumerated().map { "$\($0 + 1)::\(Self.array(of: $1))" }
        let conditions = table.key.enumerated().map { "t.\(quoted($1)) = u.c\($0)" }
        return """
            DELETE FROM \(quoted(table.name)) AS t USING unnest(\(arrays.joined(separator: ", "))) AS u(\(kinds.indices.map { "c\($0)" }.joined(separator: ", ")))
            WHERE \(conditions.joined(separator: " AND ")) AND t."version" <= u.c\(table.key.count)
            """
    }

    private static func array(of kind: Column.Kind) -> String {
        switch kind {
        case .uuid: "uuid[]"
        case .text, .textArray: "text[]"
        case .integer: "bigint[]"
        case .boolean: "boolean[]"
        case .timestamp: "timestamptz[]"
        case .json: "jsonb[]"
        case .numeric: "numeric[]"
        }
    }

    /// `?` as `$1`, `$2`, …, as Postgres counts them. No query of ours has a question mark that means anything else.
    static func numbered(_ sql: String) -> String {
        var number = 0
        var text = ""
        text.reserveCapacity(sql.utf8.count + 16)
        for character in sql {
            if character == "?" {
                number += 1
                text += "$\(number)"
            } else {
                text.append(character)
            }
        }
        return text
    }
}
