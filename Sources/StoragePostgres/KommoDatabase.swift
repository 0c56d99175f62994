package import Kernel
import Storage

/// A Postgres of somebody else's that holds Kommo's customers in the table `clientes_kommo` (contracts/ecosys-ms.md "PostgreSQL (Kommo CRM)"). It is only read.
package actor KommoDatabase {
    private let configuration: PostgresConfiguration
    private let thread = DedicatedThread(name: "kommo")
    private var connection: LibPQ?

    package nonisolated var unownedExecutor: UnownedSerialExecutor { thread.asUnownedSerialExecutor() }

    package init(_ configuration: PostgresConfiguration) { self.configuration = configuration }

    isolated deinit { thread.end() }

    /// Why nothing could be read, in words without values of rows.
    package struct Failure: Error, CustomStringConvertible { package let description: String }

    /// Up to `limit` rows as JSON, in the order of `client_id`, behind `after`.
    /// - Parameter since: only those changed since then; `nil` for all.
    package func customers(after: Int64, since: Timestamp?, limit: Int) throws(Failure) -> [String] {
        let condition = since == nil ? "" : " AND t.atualizado_em >= $3"
        var parameters: [PostgresParameter] = [.init(.integer(after)), .init(.integer(Int64(limit)))]
        if let since { parameters.append(.init(.text(since.wallClock))) }
        let given = parameters
        let rows = try run(
            PostgresStatement(
                sql:
                    "SELECT row_to_json(t)::text FROM clientes_kommo t WHERE t.client_id > $1\(condition.replacing("$3", with: "$3::text::timestamp")) ORDER BY t.client_id LIMIT $2",
                parameters: given,
                kinds: [.text]
            )
        )
        return rows.map { row in
            var row = row
            return row.text()
        }
    }

    /// The time there, as its wall clock shows it: what changes from now on is no older.
    package func now() throws(Failure) -> Timestamp? {
        guard var row = try run(PostgresStatement(sql: "SELECT to_char(LOCALTIMESTAMP, 'YYYY-MM-DD\"T\"HH24:MI:SS')", kinds: [.text])).first else {
            return nil
        }
        return Timestamp(wallClock: row.text())
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
