package import Kernel
import OrderedCollections
package import Resilience
package import Storage
import Synchronization

/// Postgres, with one connection that writes and a pool of them that read.
package final class PostgresDatabase: RemoteDatabase {
    private struct Pool {
        var idle: [PostgresLink] = []
        var count = 0
        /// By the number of the wait, first come first served.
        var waiting: OrderedDictionary<Int, CheckedContinuation<Turn, Never>> = [:]
        var waits = 0
    }

    package let storeID: String
    package var isNewToJournal: Bool { isNew.withLock { $0 } }
    private let isNew = Mutex(false)
    private let configuration: PostgresConfiguration
    private let health: PostgresHealth
    private let writer: PostgresLink
    private let pool = Mutex(Pool())
    private let upserts: [Kernel.Table: String]
    private let deletions: [Kernel.Table: String]

    init(_ configuration: PostgresConfiguration, schema: Schema, claim: PostgresLink.Claim, environment: Environment) {
        self.configuration = configuration
        storeID = claim.storeID
        health = PostgresHealth(configuration.breaker, environment: environment)
        writer = PostgresLink(configuration, role: .writer(claim), health: health)
        let dialect = PostgresDialect()
        upserts = Dictionary(uniqueKeysWithValues: schema.tables.map { ($0, dialect.upsert($0)) })
        deletions = Dictionary(uniqueKeysWithValues: schema.tables.map { ($0, dialect.delete(from: $0)) })
    }

    /// What stands before every connection.
    package var breaker: any BreakerControl { health }

    package var status: RemoteStatus { health.status(waiting: pool.withLock { $0.waiting.count }) }

    // MARK: Writing

    /// Statements for each table's deletions and then for its rows, all in one round trip and one commit. What is deleted makes room for what is written,
    /// whichever came first, as no row is among both.
    package func write(_ images: [RowImage]) async throws(RemoteError) {
        guard !images.isEmpty else { return }
        try await writer.write(try statements(images))
    }

    /// Takes the lock that only one writer has, and introduces the journal.
    func connect() async throws(RemoteError) {
        try await writer.connect()
        let isNew = await writer.isNewToJournal
        self.isNew.withLock { $0 = isNew }
    }

    package func claim() async throws(RemoteError) { try await writer.claim() }
    package func attend() async throws(RemoteError) { try await writer.connect() }
    package func release() async throws(RemoteError) { try await writer.release() }

    /// Several statements for a large batch, so that the server begins while the rest is being written down.
    private static let rowsInStatement = 1000

    private static func keys(of gone: ArraySlice<RowImage>, _ table: Kernel.Table) -> [PostgresParameter] {
        table.keyPositions.enumerated().map { position, column in
            PostgresParameter(column: table.columns[column].kind, count: gone.count) { gone.lazy.map { $0.key[position] } }
        } + [PostgresParameter(column: .integer, count: gone.count) { gone.lazy.map { .integer($0.version) } }]
    }

    private static func columns(of rows: ArraySlice<RowImage>, _ table: Kernel.Table) -> [PostgresParameter] {
        table.columns.dropLast().enumerated().map { position, column in
            PostgresParameter(column: column.kind, count: rows.count) {
                rows.lazy.map { image in if case .values(let values) = image.content { values[position] } else { .null } }
            }
        } + [PostgresParameter(column: .integer, count: rows.count) { rows.lazy.map { .integer($0.version) } }]
    }

    func statements(_ images: [RowImage]) throws(RemoteError) -> [PostgresStatement] {
        var order: [Kernel.Table] = []
        var written: [Kernel.Table: [RowImage]] = [:]
        var deleted: [Kernel.Table: [RowImage]] = [:]
        for image in images {
            if written[image.table] == nil, deleted[image.table] == nil { order.append(image.table) }
            if case .deleted = image.content {
                deleted[image.table, default: []].append(image)
            } else {
                written[image.table, default: []].append(image)
            }
        }
        var statements: [PostgresStatement] = []
        for table in order {
            guard let upsert = upserts[table], let deletion = deletions[table] else {
                throw RemoteError(.content, "the schema has no table \(table.name)")
            }
            for gone in (deleted[table] ?? []).chunks(of: Self.rowsInStatement) {
                statements.append(PostgresStatement(sql: deletion, parameters: Self.keys(of: gone, table)))
            }
            for rows in (written[table] ?? []).chunks(of: Self.rowsInStatement) {
                statements.append(PostgresStatement(sql: upsert, parameters: Self.columns(of: rows, table)))
            }
        }
        return statements
    }

    // MARK: Reading

    package func rows(_ query: Query) async throws(RemoteError) -> [Row] {
        let statement = PostgresStatement(
            sql: PostgresDialect.numbered(query.sql),
            parameters: query.arguments.map { PostgresParameter($0) },
            kinds: query.kinds
        )
        let link = try await takeLink()
        defer { putBack(link) }
        return try await link.rows(statement)
    }

    private enum Place {
        case link(PostgresLink)
        case wait(Int)
        case full
    }

    /// What became of a wait.
    private enum Turn {
        case link(PostgresLink)
        case tooLong
        case closing
    }

    private func takeLink() async throws(RemoteError) -> PostgresLink {
        let place = pool.withLock { pool -> Place in
            if let link = pool.idle.popLast() { return .link(link) }
            if pool.count < configuration.poolSize + configuration.maxOverflow {
                pool.count += 1
                return .link(PostgresLink(configuration, role: .reader(storeID: storeID), health: health))
            }
            guard pool.waiting.count < configuration.maxWaitingReads else { return .full }
            pool.waits += 1
            return .wait(pool.waits)
        }
        switch place {
        case .link(let link): return link
        case .full: throw RemoteError(.unavailable(retryAfter: .seconds(1)), "\(configuration.maxWaitingReads) reads are waiting for a connection")
        case .wait(let number):
            let alarm = Task {
                guard (try? await Task.sleep(for: configuration.readPatience)) != nil else { return }
                pool.withLock { $0.waiting.removeValue(forKey: number) }?.resume(returning: .tooLong)
            }
            defer { alarm.cancel() }
            let turn = await withCheckedContinuation { (continuation: CheckedContinuation<Turn, Never>) in
                // One may have come back meanwhile; closing answers everybody.
                let turn = pool.withLock { pool -> Turn? in
                    if health.isClosed { return .closing }
                    if let link = pool.idle.popLast() { return .link(link) }
                    pool.waiting[number] = continuation
                    return nil
                }
                if let turn { continuation.resume(returning: turn) }
            }
            switch turn {
            case .link(let link): return link
            case .tooLong: throw RemoteError(.unavailable(retryAfter: .seconds(1)), "all connections are busy")
            case .closing: throw RemoteError(.unavailable(retryAfter: .seconds(1)), "the connection is being closed")
            }
        }
    }

    private func putBack(_ link: PostgresLink) {
        let next = pool.withLock { pool -> CheckedContinuation<Turn, Never>? in
            if !pool.waiting.isEmpty { return pool.waiting.removeFirst().value }
            if pool.idle.count < configuration.poolSize, !health.isClosed { pool.idle.append(link) } else { pool.count -= 1 }
            return nil
        }
        next?.resume(returning: .link(link))
    }

    package func close() async {
        health.close()
        let (waiting, idle) = pool.withLock { pool in
            defer {
                pool.waiting = [:]
                pool.count -= pool.idle.count
                pool.idle = []
            }
            return (pool.waiting.values, pool.idle)
        }
        for continuation in waiting { continuation.resume(returning: .closing) }
        // Those under way are interrupted, and end when they come back.
        for link in idle + [writer] { await link.close() }
    }
}

extension Array {
    /// Consecutive pieces with at most `size` elements.
    fileprivate func chunks(of size: Int) -> [ArraySlice<Element>] {
        stride(from: 0, to: count, by: size).map { self[$0..<Swift.min($0 + size, count)] }
    }
}
