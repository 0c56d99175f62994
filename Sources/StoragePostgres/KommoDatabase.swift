package import Kernel
import Storage

/// A Postgres of somebody else's that holds Kommo's customers in the table `clientes_kommo` (contracts/ecosys-ms.md "PostgreSQL (Kommo CRM)"). It is only read.
///
/// What its columns are of is looked up: `client_id` may be a text or a number with a fraction that is nothing, and `atualizado_em` may not be there at all.
package actor KommoDatabase {
    private let configuration: PostgresConfiguration
    private let thread = DedicatedThread(name: "kommo")
    private var connection: LibPQ?

    package nonisolated var unownedExecutor: UnownedSerialExecutor { thread.asUnownedSerialExecutor() }

    package init(_ configuration: PostgresConfiguration) { self.configuration = configuration }

    isolated deinit { thread.end() }

    /// Why nothing could be read, in words without values of rows.
    package struct Failure: Error, CustomStringConvertible { package let description: String }

    package struct Customer: Sendable {
        package let id: Int64
        /// All of its columns, as an object.
        package let json: String
        /// `atualizado_em`, by the clock of the database.
        package let asOf: Timestamp?
        /// The same, if it was written in UTC whatever the database's clock shows.
        package let asOfInUTC: Timestamp?
    }

    package struct Shape: Sendable {
        /// Rows are found by `client_id` without looking at all of them.
        package let hasNumbers: Bool
        package let hasTimes: Bool
        /// The time there, as its wall clock shows it: what changes from now on is no older.
        package let now: Timestamp?

        fileprivate var id: String {
            hasNumbers
                ? "t.client_id"
                : "CASE WHEN t.client_id::text ~ '^ *[0-9]{1,18}(\\.0*)? *$' THEN trunc(t.client_id::text::numeric)::bigint END"
        }
    }

    package func shape() throws(Failure) -> Shape {
        let rows = try run(
            PostgresStatement(
                sql: """
                    SELECT a.attname::text, t.typname::text, to_char(LOCALTIMESTAMP, 'YYYY-MM-DD"T"HH24:MI:SS')
                    FROM pg_attribute a JOIN pg_type t ON t.oid = a.atttypid
                    WHERE a.attrelid = 'clientes_kommo'::regclass AND a.attnum > 0 AND a.attname IN ('client_id', 'atualizado_em')
                    """,
                kinds: [.text, .text, .text]
            )
        )
        var types: [String: String] = [:]
        var now: Timestamp?
        for var row in rows {
            types[row.text()] = row.text()
            now = Timestamp(wallClock: row.text())
        }
        guard let id = types["client_id"] else { throw Failure(description: "clientes_kommo has no column client_id") }
        return Shape(
            hasNumbers: ["int2", "int4", "int8"].contains(id),
            hasTimes: ["timestamp", "timestamptz", "date"].contains(types["atualizado_em"]),
            now: now
        )
    }

    /// How many customers there are: rows without a number are nobody's, and a number that is there twice is one customer.
    package func count(_ shape: Shape) throws(Failure) -> Int64 {
        var rows = try run(PostgresStatement(sql: "SELECT count(DISTINCT \(shape.id)) FROM clientes_kommo t", kinds: [.integer]))
        return rows.isEmpty ? 0 : rows[0].integer()
    }

    /// Up to `limit` rows in the order of their numbers, behind `after`.
    /// - Parameter since: only those changed since then, and those that do not say when they were; `nil` for all.
    package func customers(_ shape: Shape, after: Int64, since: Timestamp?, limit: Int) throws(Failure) -> [Customer] {
        var parameters: [PostgresParameter] = [.init(.integer(after)), .init(.integer(Int64(limit)))]
        var condition = ""
        if let since, shape.hasTimes {
            condition = " AND (t.atualizado_em >= $3::text::timestamp OR t.atualizado_em IS NULL)"
            parameters.append(.init(.text(since.wallClock)))
        }
        let given = parameters
        let (format, time) = (#"'YYYY-MM-DD"T"HH24:MI:SS'"#, "t.atualizado_em")
        let times =
            shape.hasTimes
            ? "to_char(\(time)::timestamptz AT TIME ZONE 'UTC', \(format)), to_char(\(time)::timestamp, \(format))" : "NULL::text, NULL::text"
        let rows = try run(
            PostgresStatement(
                sql: """
                    SELECT i.id::bigint, row_to_json(t)::text, \(times) FROM clientes_kommo t CROSS JOIN LATERAL (SELECT \(shape.id) AS id) i
                    WHERE i.id > $1\(condition) ORDER BY i.id LIMIT $2
                    """,
                parameters: given,
                kinds: [.integer, .text, .text, .text]
            )
        )
        return rows.map { row in
            var row = row
            func time() -> Timestamp? { row.optionalText().flatMap { Timestamp(wallClock: $0) } }
            return Customer(id: row.integer(), json: row.text(), asOf: time(), asOfInUTC: time())
        }
    }

    /// Rows whose `client_id` is no number.
    package func unnumbered(_ shape: Shape) throws(Failure) -> Int64 {
        var rows = try run(
            PostgresStatement(sql: "SELECT count(*) FROM clientes_kommo t WHERE \(shape.id) IS NULL", kinds: [.integer])
        )
        return rows.isEmpty ? 0 : rows[0].integer()
    }

    private func run(_ statement: PostgresStatement) throws(Failure) -> [Row] {
        do throws(PostgresError) {
            let open: LibPQ
            if let connection { open = connection } else { open = try LibPQ(configuration, isInterrupted: { false }) }
            connection = open
            return try open.run([statement], deadline: .now + configuration.statementTimeout).first ?? []
        } catch {
            if error.endsConnection { connection = nil }
            throw Failure(description: error.description)
        }
    }
}
