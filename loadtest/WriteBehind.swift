import ArgumentParser
import CPostgres
import Conversations
import Foundation
import Kernel
import Logging
import Storage
import StoragePostgres
import Synchronization
import TestSupport

/// Rows a second into Postgres: through the write-behind flusher, one by one as a backend without one would, and by COPY. A Postgres of its own, with `fsync`.
struct WriteBehind: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Rows per second into Postgres: the write-behind flusher beside one row per commit and COPY, in the same run."
    )

    @Option(help: "Rows for the flusher and for COPY.") var rows = 100_000
    @Option(help: "Rows one by one.") var directRows = 4_000
    @Option(help: "How often everything is measured; the middle counts.") var rounds = 3
    @Option(help: "Also write the figures here, as JSON.") var json: String?

    private static let schema = Schema(StorageTables.all + ConversationTables.all)
    private static let table = ConversationTables.messages

    func run() async throws {
        let cluster = PostgresCluster(isDurable: true)
        defer { cluster.kill() }
        var figures: [String: [Double]] = [:]
        for round in 1...rounds {
            let database = try await PostgresDatabase.open(
                try PostgresConfiguration(url: cluster.url("postgres")),
                schema: Self.schema,
                journal: JournalIdentity(id: UUID().uuidString, storeID: nil, owedRows: 0),
                logger: .silent
            )
            try await database.claim()
            FileHandle.standardError.write(Data("round \(round) of \(rounds)\n".utf8))
            figures["one by one", default: []].append(try await oneByOne(database, round))
            try await database.release()
            await database.close()
            figures["COPY, 10,000 rows a commit", default: []].append(try copy(cluster, round))
            figures["write-behind", default: []].append(try await flushed(cluster, round))
        }
        func middle(_ name: String) -> Double { figures[name]!.sorted()[rounds / 2] }
        let (direct, copied) = (middle("one by one"), middle("COPY, 10,000 rows a commit"))
        print(
            "rows of messages, 200 bytes of text each, into a table with its primary key and two unique indexes; \(rows) rows, the middle of \(rounds) rounds\n"
        )
        print("| way | rows/s | against one by one | against COPY |\n| --- | ---: | ---: | ---: |")
        for name in ["one by one", "write-behind", "COPY, 10,000 rows a commit"] {
            print(
                "| \(name) | \(Int(middle(name))) | \(String(format: "%.1f×", middle(name) / direct)) | \(String(format: "%.2f×", middle(name) / copied)) |"
            )
        }
        if let json {
            try JSONSerialization.data(withJSONObject: figures, options: [.prettyPrinted, .sortedKeys]).write(to: URL(fileURLWithPath: json))
        }
    }

    private func message(_ number: Int, _ round: Int, _ kind: UInt64) -> RowImage {
        let high = 0x01a0_0000_0000_7000 + UInt64(number / 50)
        let id = UniqueID(high: 0x01a0_0000_0000_7000 &+ UInt64(number) << 16, low: kind << 32 | UInt64(round))
        return RowImage(
            Self.table,
            version: 1,
            values: [
                .uuid(UniqueID(high: 1, low: kind << 8 | UInt64(round))), .uuid(UniqueID(high: high, low: 1)), .integer(Int64(number % 50)),
                .uuid(id),
                .text("text"), .text("in"), .text("contact"), .null, .text("Ana"), .text(String(repeating: "x", count: 200)), .null,
                .text("received"),
                .null, .null, .null, .text("wamid.\(kind).\(round).\(number)"), .null, .timestamp(Timestamp(seconds: 1_790_000_000 + Int64(number))),
                .null,
            ]
        )
    }

    /// One statement, one commit and one round trip for each row, with the same client.
    private func oneByOne(_ database: PostgresDatabase, _ round: Int) async throws -> Double {
        let images = (0..<directRows).map { message($0, round, 1) }
        let start = ContinuousClock.now
        for image in images { try await database.write([image]) }
        return Double(directRows) / (ContinuousClock.now - start).inSeconds
    }

    /// From the moment the database is there until it is owed nothing: read back from the journal where that is larger than memory, coalesced, sent, committed, noted.
    private func flushed(_ cluster: PostgresCluster, _ round: Int) async throws -> Double {
        let directory = TemporaryDirectory()
        var settings = WriteBehindStore.Settings()
        settings.stopPatience = .seconds(60)
        let gate = Turnstile()
        let store = try await WriteBehindStore.open(directory: directory.path, schema: Self.schema, settings: settings, logger: .silent) { journal in
            Held(
                database: try await PostgresDatabase.open(
                    try PostgresConfiguration(url: cluster.url("postgres")),
                    schema: Self.schema,
                    journal: journal,
                    logger: .silent
                ),
                turnstile: gate
            )
        }
        // As the gate commits under load: some dozens of changes a commit.
        for first in stride(from: 0, to: rows, by: 64) {
            try store.commit(
                (first..<min(first + 64, rows)).map { number in
                    var change = Change()
                    change.rows = [message(number, round, 2)]
                    return change
                }
            )
        }
        let start = ContinuousClock.now
        gate.open()
        while store.status.writeBehind?.depth != 0 { try await Task.sleep(for: .milliseconds(1)) }
        let took = ContinuousClock.now - start
        await store.close()
        return Double(rows) / took.inSeconds
    }

    /// The text of the rows is made beforehand, and only sending it is measured.
    private func copy(_ cluster: PostgresCluster, _ round: Int) throws -> Double {
        let batch = 10_000
        let batches = stride(from: 0, to: rows, by: batch).map { first in
            (first..<min(first + batch, rows)).map { line(message($0, round, 3)) }.joined()
        }
        guard let connection = PQconnectdb(cluster.url("postgres").replacingOccurrences(of: "+asyncpg", with: "")) else {
            throw Subject.Failure(description: "libpq")
        }
        defer { PQfinish(connection) }
        let columns = Self.table.columns.map { "\"\($0.name)\"" }.joined(separator: ", ")
        let start = ContinuousClock.now
        for text in batches {
            PQclear(PQexec(connection, "COPY messages (\(columns)) FROM STDIN"))
            _ = PQputCopyData(connection, text, Int32(text.utf8.count))
            _ = PQputCopyEnd(connection, nil)
            while let result = PQgetResult(connection) {
                defer { PQclear(result) }
                guard PQresultStatus(result) == PGRES_COMMAND_OK else {
                    throw Subject.Failure(description: String(cString: PQresultErrorMessage(result)))
                }
            }
        }
        return Double(rows) / (ContinuousClock.now - start).inSeconds
    }

    private func line(_ image: RowImage) -> String {
        guard case .values(let values) = image.content else { return "" }
        let fields = values.map { value in
            switch value {
            case .uuid(let id): id.description
            case .text(let text): text
            case .integer(let number): String(number)
            case .timestamp(let time): time.description
            default: "\\N"
            }
        }
        return (fields + [String(image.version)]).joined(separator: "\t") + "\n"
    }
}

/// Lets everybody through once it is open.
private final class Turnstile: Sendable {
    private let isOpen = Mutex(false)
    func open() { isOpen.withLock { $0 = true } }
    func pass() async { while !isOpen.withLock({ $0 }) { try? await Task.sleep(for: .milliseconds(1)) } }
}

/// A database that is written to only once the measurement begins.
private struct Held: RemoteDatabase {
    let database: PostgresDatabase
    let turnstile: Turnstile

    var storeID: String { database.storeID }
    var isNewToJournal: Bool { database.isNewToJournal }
    func claim() async throws(RemoteError) { try await database.claim() }
    func attend() async throws(RemoteError) { try await database.attend() }
    func release() async throws(RemoteError) { try await database.release() }
    var status: RemoteStatus { database.status }
    func write(_ images: [RowImage]) async throws(RemoteError) {
        await turnstile.pass()
        try await database.write(images)
    }
    func rows(_ query: Query) async throws(RemoteError) -> [Row] { try await database.rows(query) }
    func close() async { await database.close() }
}

extension Duration {
    var inSeconds: Double { inMilliseconds / 1000 }
}
