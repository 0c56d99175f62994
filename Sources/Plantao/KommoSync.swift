import Kernel
import Logging
import ServiceLifecycle
import StoragePostgres
import Tenancy
import Wire

/// Keeps the portfolio in step with a Kommo Postgres: all of it at the start and once an hour, and in between what has changed. While that cannot be read,
/// everything else goes on.
///
/// A row says nothing of what Kommo is known to have said since (`atualizado_em`), and a field that is wrong leaves the others alone. Whose row is gone when all were
/// read, and gone still when all are read again, has cancelled; a table that has lost more than half of its rows is being filled anew, and says nothing of that.
struct KommoSync: Service {
    struct Configuration {
        var database: PostgresConfiguration
        var interval: Duration
    }

    /// Rows put at a time; and read, where they are found by their number, else more of them.
    private static let page = 500
    private static let pageOfAll = 5000
    /// Between two readings of everything, which also finds what was changed without its `atualizado_em`, and what is gone.
    private static let everything = Duration.seconds(3600)
    /// What was committed late may be older than what was seen.
    private static let overlap = Duration.seconds(300)
    /// Of so few rows all may be gone at once.
    private static let few = 20

    let configuration: Configuration
    let tenant: TenantID
    let operations: Operations
    let logger: Logger

    /// By how much two clocks may differ.
    private static let skew = Duration.seconds(120)
    /// And two zones' from UTC.
    private static let zones = Duration.seconds(14 * 3600)

    /// What is known of the rows, and what was said of them already, so that it is not said anew each time they are read.
    private struct Told {
        var faults: [Int64: String] = [:]
        var unnumbered: Int64 = 0
        /// When all were read.
        var rows: Int?
        var isFailing = false
        var isReloading = false
        /// Times are written in UTC, whatever the database's own clock shows: some would lie ahead of us else.
        var timesAreUTC = false
        /// Whom the plan had no room for when all were read.
        var leftOut = 0
    }

    func run() async throws {
        await cancelWhenGracefulShutdown {
            let database = KommoDatabase(configuration.database)
            var since: Timestamp?
            var lastOfAll = ContinuousClock.now
            var missing: Set<Int64> = []
            var present: Set<Int64> = []
            var told = Told()
            while !Task.isCancelled {
                if since != nil, .now - lastOfAll > Self.everything { since = nil }
                do {
                    let shape = try await database.shape()
                    // Some are gone, whoever they are.
                    if since != nil, try await database.count(shape) < present.count { since = nil }
                    if since == nil { lastOfAll = .now }
                    let isAll = since == nil
                    let read = try await follow(database, shape, since, &told)
                    if isAll {
                        present = read
                        if !shape.hasNumbers { tell(try await database.unnumbered(shape), &told) }
                        missing = try await settle(read, missing, &told)
                        if read.count != told.rows { logger.notice("customers were read from Kommo's database", metadata: ["rows": "\(read.count)"]) }
                        told.rows = read.count
                    } else {
                        present.formUnion(read)
                    }
                    // Who is missing is looked for once more, soon.
                    since = missing.isEmpty && shape.hasTimes ? shape.now.map { $0 - Self.overlap } : nil
                    told.isFailing = false
                } catch {
                    if !told.isFailing, !Task.isCancelled {
                        logger.warning("Kommo's database could not be followed", metadata: ["reason": "\(error)"])
                    }
                    told.isFailing = true
                }
                try? await Task.sleep(for: configuration.interval)
            }
        }
    }

    /// - Returns: whose rows were read.
    private func follow(_ database: KommoDatabase, _ shape: KommoDatabase.Shape, _ since: Timestamp?, _ told: inout Told) async throws -> Set<Int64> {
        var read: Set<Int64> = []
        var after = Int64.min
        let size = shape.hasNumbers ? Self.page : Self.pageOfAll
        var leftOut = 0
        while !Task.isCancelled {
            let rows = try await database.customers(shape, after: after, since: since, limit: size)
            if !told.timesAreUTC, rows.contains(where: isWrittenInUTC) { told.timesAreUTC = true }
            let patches = rows.compactMap { patch($0, &told) }
            if !patches.isEmpty { leftOut += try await operations.upsertCustomersThatFit(patches, tenant) }
            read.formUnion(rows.map(\.id))
            guard let last = rows.last, rows.count == size else { break }
            after = last.id
        }
        try Task.checkCancellation()
        if leftOut > 0, leftOut != told.leftOut, since == nil || told.leftOut == 0 {
            logger.warning("the plan has no room for some of Kommo's customers; they were left out", metadata: ["customers": "\(leftOut)"])
        }
        if since == nil || told.leftOut == 0 { told.leftOut = leftOut }
        return read
    }

    /// By the database's clock it lies ahead of us by less than clocks of two zones differ, and in UTC it does not. What lies further ahead is somebody's mistake.
    private func isWrittenInUTC(_ row: KommoDatabase.Customer) -> Bool {
        guard let shown = row.asOf, let inUTC = row.asOfInUTC else { return false }
        let latest = operations.environment.now() + Self.skew
        return shown > latest && inUTC <= latest && shown <= latest + Self.zones
    }

    /// Of a row, what is right.
    private func patch(_ row: KommoDatabase.Customer, _ told: inout Told) -> CustomerPatch? {
        var fault: String?
        defer {
            if let fault, told.faults[row.id] != fault {
                if told.faults.count < 10_000 { told.faults[row.id] = fault }
                logger.warning(
                    "something of a customer of Kommo's database was left out",
                    metadata: ["client_id": "\(row.id)", "reason": "\(fault)"]
                )
            } else if fault == nil {
                told.faults[row.id] = nil
            }
        }
        guard row.id > 0, let json = try? JSON.parse(row.json) else {
            fault = "client_id is not above 0, or the row is no JSON"
            return nil
        }
        do throws(Refusal) {
            let (changes, faults) = try CustomerPatch.readable(json, at: ["clientes_kommo"])
            if !faults.isEmpty { fault = Refusal.invalid(faults).message }
            return CustomerPatch(id: row.id, changes + [.inSource(true)], asOf: told.timesAreUTC ? row.asOfInUTC : row.asOf)
        } catch {
            fault = error.message
            return nil
        }
    }

    /// After all rows were read: cancels who is gone, and was gone when all were read before.
    /// - Returns: who is gone for the first time.
    private func settle(_ present: Set<Int64>, _ missingBefore: Set<Int64>, _ told: inout Told) async throws -> Set<Int64> {
        let (known, gone) = try await operations.goneFromSource(present, tenant)
        let isReloading = gone.count > Self.few && gone.count > known / 2 || present.isEmpty && !gone.isEmpty
        if isReloading, !told.isReloading {
            logger.warning(
                "Kommo's database has lost most of its rows; nobody is cancelled for it",
                metadata: ["gone": "\(gone.count)", "known": "\(known)"]
            )
        }
        told.isReloading = isReloading
        guard !isReloading, !gone.isEmpty else { return [] }
        let certain = gone.filter(missingBefore.contains)
        if !certain.isEmpty {
            try await operations.removeFromSource(certain, tenant)
            logger.notice("customers were cancelled whose rows are gone from Kommo's database", metadata: ["count": "\(certain.count)"])
        }
        return Set(gone).subtracting(certain)
    }

    private func tell(_ unnumbered: Int64, _ told: inout Told) {
        if unnumbered > 0, unnumbered != told.unnumbered {
            logger.warning("rows of Kommo's database have a client_id that is no number", metadata: ["rows": "\(unnumbered)"])
        }
        told.unnumbered = unnumbered
    }
}
