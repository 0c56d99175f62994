import DequeModule
import Foundation
package import Kernel
package import Logging
import Synchronization
package import Telemetry

// The store behind a network: a local journal that every change is safe in, and a flusher that brings it to the remote database.
//
//     Gate ─▶ commit: journal.sqlite (fsync) ─▶ WriteBehindQueue ─▶ the flusher ─▶ RemoteDatabase.write
//                                                                     │ written: the blocks are dropped with the gate's next commit
//     rows(query) ─▶ the barrier: what that tenant committed is written ─▶ RemoteDatabase.rows
//
// Invariants
// 1. The gate waits for the local disk alone. Nothing that the remote database does or leaves undone holds a commit up.
// 2. A block leaves the journal only when each of its rows is stored remotely or lies in quarantine.
// 3. Who reads a tenant's rows sees everything that this tenant had committed when the read began, or gets an error: never a part of it.
// 4. Images reach the remote database by age, and by one writer; so what is there is, row by row, what the journal said at some moment.

/// What a remote store is owed, and how it goes.
package struct WriteBehindStatus: Sendable {
    /// Changed rows not written yet, and their bytes in the journal.
    package var depth = 0
    package var bytes = 0
    package var blocks = 0
    /// How long ago the oldest of them was committed.
    package var lag = Duration.zero
    package var batchSize = 0
    /// Changed rows done with since the start, and the images that were written for them.
    package var flushedRows = 0
    package var writtenImages = 0
    package var batches = 0
    package var failedBatches = 0
    package var quarantined = 0
    /// Rows refused because they would have taken what another has (SQLSTATE 23P01): a decision was wrong.
    package var exclusions = 0
    package var lastBatchTook = Duration.zero
    /// A bound of the journal is reached: commands are refused.
    package var isFull = false
    package var maxBytes = 0
    package var maxAge: Duration?
    package var remote: RemoteStatus
}

package final class WriteBehindStore: ManagedStore {
    package struct Settings: Sendable {
        package var queue = WriteBehindQueue.Settings()
        /// Bytes owed, at the most; past it commands are refused with 503.
        package var maxBytes = 4 << 30
        /// Age of the oldest that is owed, at the most; past it commands are refused with 503. `nil` for no bound.
        package var maxAge: Duration? = .seconds(24 * 3600)
        /// How long a reader waits for what its tenant committed.
        package var barrierPatience = Duration.seconds(2)
        /// How long the start waits for the journal to get shorter.
        package var startPatience = Duration.seconds(30)
        /// How long the end waits for the journal to be empty.
        package var stopPatience = Duration.seconds(10)
        /// Told how long each batch took that the database has taken.
        package var batchWritten: (@Sendable (Duration) -> Void)?
        package var tracer: Tracer?

        package init() {}
    }

    struct Waiter {
        let sequence: Int64
        let continuation: CheckedContinuation<Bool, Never>
    }

    /// Rows in quarantine that are to be tried again.
    struct Retry {
        var ids: Deque<Int64>
        var taken = 0
        /// `nil`: the server is stopping.
        let continuation: CheckedContinuation<Int?, Never>
    }

    struct State {
        var queue: WriteBehindQueue
        /// Blocks up to here are gone from the journal.
        var dropped: Int64
        var waiters: [Int: Waiter] = [:]
        var waiterCount = 0
        /// Waiters whose time was over before they had begun.
        var givenUp: Set<Int> = []
        var retries: Deque<Retry> = []
        var quarantined: Set<WriteBehindQueue.RowKey> = []
        var isStopping = false
        /// Another journal writes to the database now.
        var isUsurped = false
        /// Whatever is still owed stays in the journal.
        var isAbandoned = false
        /// Since when the remote database has not been reached, and when it is tried next.
        var outage: (since: Timestamp, retryAt: Timestamp)?
        var status: WriteBehindStatus
        var followed = FollowedSpans()

        /// Blocks that the journal need not keep, a few at a time.
        var droppable: ClosedRange<Int64>? {
            queue.flushedThrough > dropped ? (dropped + 1)...min(queue.flushedThrough, dropped + 256) : nil
        }
    }

    private let lock: DataDirectoryLock
    let file: JournalFile
    let database: any RemoteDatabase
    let settings: Settings
    let environment: Environment
    let logger: Logger
    let state: Mutex<State>
    let bell = Doorbell()
    private let flusher = Mutex<Task<Void, Never>?>(nil)

    /// Opens the journal, connects, and brings over what an earlier run still owed.
    /// - Parameter connect: opens the database, and introduces the journal to it.
    /// - Throws: `StartupError`.
    package static func open(
        directory: String,
        schema: Schema,
        settings: Settings = Settings(),
        environment: Environment = .system,
        logger: Logger,
        connect: (JournalIdentity) async throws -> any RemoteDatabase
    ) async throws -> WriteBehindStore {
        let lock = try DataDirectoryLock(directory: directory)
        let file = try JournalFile(directory: directory, schema: schema)
        let journal = try await file.identity(environment.randomBits())
        let database = try await connect(journal)
        do {
            if journal.storeID == nil || database.isNewToJournal { try await adopt(database, file, logger) }
            // Only now: a start that ends before it is told again that it is new here.
            do throws(RemoteError) { try await database.claim() } catch {
                throw StartupError("DATABASE_URL: \(error). Start again once it is well.")
            }
            let store = try await WriteBehindStore(lock, file, database, settings, environment, logger)
            try await store.start()
            return store
        } catch {
            await database.close()
            file.close()
            throw error
        }
    }

    /// A journal without a past here, or whose past is over, takes over the jobs and marks of the database.
    private static func adopt(_ database: any RemoteDatabase, _ file: JournalFile, _ logger: Logger) async throws {
        do {
            let jobs = try await database.all(StorageTables.jobs).map(Job.init)
            let marks = try await database.all(StorageTables.marks).map(Mark.init)
            try file.adopt(storeID: database.storeID, jobs: jobs, marks: marks)
            if !jobs.isEmpty || !marks.isEmpty {
                logger.notice("the journal took over what the database holds", metadata: ["jobs": "\(jobs.count)", "marks": "\(marks.count)"])
            }
        } catch let error as RemoteError {
            throw StartupError("DATABASE_URL: the jobs and marks in the database cannot be read (\(error)). Start again once it is well.")
        }
    }

    /// What lies in a journal in `directory`; `nil` when there is none.
    /// - Throws: `StartupError` when it cannot be read.
    package static func summary(of directory: String) throws -> JournalSummary? { try JournalFile.summary(of: directory) }

    private init(
        _ lock: DataDirectoryLock,
        _ file: JournalFile,
        _ database: any RemoteDatabase,
        _ settings: Settings,
        _ environment: Environment,
        _ logger: Logger
    ) async throws {
        let pending = try file.pending()
        let before = (pending.first?.sequence ?? 1) - 1
        var queue = WriteBehindQueue(settings.queue, flushedThrough: before)
        for block in pending {
            queue.committed(
                .init(sequence: block.sequence, at: block.at, bytes: block.bytes, rowCount: block.rowCount, rows: nil),
                tenants: block.tenants
            )
        }
        var status = WriteBehindStatus(remote: database.status)
        status.maxBytes = settings.maxBytes
        status.maxAge = settings.maxAge
        var state = State(queue: queue, dropped: before, status: status)
        state.quarantined = try await file.quarantinedKeys()
        self.state = Mutex(state)
        self.lock = lock
        self.file = file
        self.database = database
        self.settings = settings
        self.environment = environment
        self.logger = logger
    }

    private func start() async throws {
        flusher.withLock { $0 = Task { await self.flush() } }
        var owed = state.withLock { $0.queue.rows }
        if owed > 0 { logger.notice("bringing the database up to date before serving", metadata: ["rows": "\(owed)"]) }
        while owed > 0 {
            if await reached(state.withLock { $0.queue.lastSequence }, within: settings.startPatience) { break }
            let left = state.withLock { $0.queue.rows }
            guard left < owed else {
                await stopFlusher()
                throw StartupError(
                    "DATABASE_URL: the journal owes the database \(left) rows, and it has taken none of them for \(settings.startPatience.inMilliseconds / 1000) seconds (\(database.status.lastError ?? "no error")). Nothing is lost; start again once the database is well."
                )
            }
            owed = left
        }
        let ids = try await file.quarantinedIDs()
        if !ids.isEmpty {
            let taken = await retry(ids) ?? 0
            logger.warning("rows in quarantine were tried again", metadata: ["rows": "\(ids.count)", "taken": "\(taken)"])
        }
    }

    // MARK: Journal

    package func commit(_ batch: [Change]) throws(JournalError) {
        var images: [RowImage] = []
        for change in batch {
            images += change.rows
            images += change.jobs.map(\.image)
            images += change.endedJobs.map(\.deletion)
            images += change.marks.map(\.image)
        }
        try append(images) { blocks, now, flushed throws(JournalError) in try file.commit(batch, blocks, at: now, dropping: flushed) }
    }

    package func forgetMarks(before time: Timestamp) throws(JournalError) {
        let keys: [Mark.Key]
        do { keys = try file.oldMarks(before: time) } catch { throw JournalError(.environment, "\(type(of: error))") }
        if keys.isEmpty { return }
        // Past any mark's own version, which is its time.
        let deletions = keys.map { $0.deletion(version: time.milliseconds) }
        try append(deletions) { blocks, now, flushed throws(JournalError) in
            try file.commit([], forgetting: deletions, blocks, at: now, dropping: flushed)
        }
    }

    /// Only the gate calls this, one call at a time.
    private func append(
        _ images: [RowImage],
        _ write: ([JournalFile.Block], Timestamp, ClosedRange<Int64>?) throws(JournalError) -> Void
    ) throws(JournalError) {
        let (last, flushed, isUsurped) = state.withLock { ($0.queue.lastSequence, $0.droppable, $0.isUsurped) }
        if isUsurped { throw JournalError(.environment, "another server took over the database") }
        let blocks = JournalFile.blocks(images, after: last)
        let now = environment.now()
        try write(blocks, now, flushed)
        state.withLock { state in
            if let flushed { state.dropped = max(state.dropped, flushed.upperBound) }
            for block in blocks {
                state.queue.committed(
                    .init(sequence: block.sequence, at: now, bytes: block.bytes.count, rowCount: block.rows.count, rows: Array(block.rows)),
                    tenants: Set(block.rows.compactMap(\.tenant))
                )
            }
        }
        bell.ring()
    }

    package var objection: Refusal? {
        let now = environment.now()
        return state.withLock { $0.isUsurped ? .usurped : isFull($0, now) ? .journalFull : nil }
    }

    private func isFull(_ state: State, _ now: Timestamp) -> Bool {
        if state.queue.bytes >= settings.maxBytes { return true }
        guard let maxAge = settings.maxAge, let oldest = state.queue.oldest else { return false }
        return now - oldest >= maxAge
    }

    // MARK: Store

    package func rows(_ query: Query) async throws(Refusal) -> [Row] {
        try await barrier(query.tenant)
        if query.isForDeciding, let tenant = query.tenant, holdsBack(tenant) { throw .rowsHeldBack }
        do throws(RemoteError) { return try await database.rows(query) } catch {
            switch error.kind {
            case .unavailable(let retryAfter): throw .storeUnavailable(retryAfterSeconds: seconds(retryAfter))
            case .timedOut: throw .storeUnavailable(retryAfterSeconds: 5)
            case .usurped: throw .usurped
            case .content:
                logger.error("the database could not answer a query", metadata: ["reason": "\(error)"])
                throw .storeDamaged
            }
        }
    }

    package func holdsBack(_ tenant: TenantID) -> Bool {
        let own = StorageTables.all.map(\.name)
        return state.withLock { state in
            !state.quarantined.isEmpty && state.quarantined.contains { $0.tenant == tenant && !own.contains($0.table) }
        }
    }

    package func everything(in table: Kernel.Table) async throws(Refusal) -> [Row] {
        let rows = try await rows(.select(from: table))
        let held: [RowImage]
        do { held = try await file.quarantinedImages(of: table.name) } catch { throw .storeUnavailable() }
        if held.isEmpty { return rows }
        // The latest of each, wherever it lies.
        var latest: [WriteBehindQueue.RowKey: Row?] = [:]
        for image in held {
            if case .values(let values) = image.content {
                latest[.init(image)] = Row(values + [.integer(image.version)])
            } else {
                latest[.init(image)] = .some(nil)
            }
        }
        let others = rows.filter { row in latest[.init(table, table.keyPositions.map { row[$0] })] == nil }
        return others + latest.values.compactMap { $0 }
    }

    package func marks(_ keys: [Mark.Key]) async throws(Refusal) -> [Mark.Key: String] {
        do { return try await file.marks(keys) } catch { throw .storeUnavailable() }
    }

    package func tenantsWithJobs() async throws(Refusal) -> [TenantID] {
        do { return try await file.tenantsWithJobs() } catch { throw .storeUnavailable() }
    }
    package func jobs(of tenant: TenantID, after lane: String, limit: Int) async throws(Refusal) -> [Job] {
        do { return try await file.jobs(.jobs(of: tenant, after: lane, limit)) } catch { throw .storeUnavailable() }
    }
    package func jobs(of tenant: TenantID, in lane: String, limit: Int) async throws(Refusal) -> [Job] {
        do { return try await file.jobs(.jobs(of: tenant, in: lane, limit)) } catch { throw .storeUnavailable() }
    }

    package func quarantined(of tenant: TenantID?) async throws(Refusal) -> [QuarantinedRow] {
        do { return try await file.quarantined(of: tenant).map(\.0) } catch { throw .storeUnavailable() }
    }

    package func retryQuarantined(_ ids: [Int64]) async throws(Refusal) -> Int {
        if ids.isEmpty { return 0 }
        if let outage = state.withLock({ $0.outage }) { throw .storeUnavailable(retryAfterSeconds: seconds(outage.retryAt - environment.now())) }
        guard let taken = await retry(ids) else { throw .stopping }
        return taken
    }

    package var status: StoreStatus {
        let now = environment.now()
        let remote = database.status
        let status = state.withLock { state in
            var status = state.status
            status.depth = state.queue.rows
            status.bytes = state.queue.bytes
            status.blocks = state.queue.segmentCount
            status.lag = state.queue.oldest.map { max(now - $0, .zero) } ?? .zero
            status.batchSize = state.queue.batchSize
            status.flushedRows = state.queue.doneRows
            status.quarantined = state.quarantined.count
            status.isFull = isFull(state, now)
            status.remote = remote
            return status
        }
        return StoreStatus(kind: .postgres, writeBehind: status)
    }

    package func bring(_ rows: [RowImage]) async throws {
        do throws(RemoteError) { try await database.write(rows) } catch {
            throw JournalError(error.kind == .content ? .content : .environment, error.description)
        }
        try file.bring(rows.filter { StorageTables.all.contains($0.table) })
    }

    package func close() async {
        state.withLock { $0.isStopping = true }
        bell.ring()
        let last = state.withLock { $0.queue.lastSequence }
        let isWritten = await reached(last, within: settings.stopPatience)
        if !isWritten {
            logger.warning(
                "stopping while the database is still owed changes; they are safe in the journal and go there with the next start",
                metadata: ["rows": "\(state.withLock { $0.queue.rows })"]
            )
        }
        await stopFlusher { isWritten && self.state.withLock { $0.quarantined.isEmpty && $0.queue.flushedThrough == $0.queue.lastSequence } }
        // What is written is not owed any more, also to whoever looks at the file.
        while let droppable = state.withLock({ $0.droppable }) {
            do throws(JournalError) { try file.drop(droppable) } catch {
                logger.warning("the journal could not be shortened", metadata: ["reason": "\(error)"])
                break
            }
            state.withLock { $0.dropped = droppable.upperBound }
        }
        file.close()
        lock.release()
    }

    /// Ends the flusher, whatever it is doing, and the connections.
    /// - Parameter owesNothing: asked once nothing more is committed: the database may then be told so.
    private func stopFlusher(owesNothing: () -> Bool = { false }) async {
        state.withLock { state in
            state.isStopping = true
            state.isAbandoned = true
        }
        bell.ring()
        if owesNothing() { try? await database.release() }
        await database.close()
        await flusher.withLock { $0 }?.value
        let (unheard, waiting) = state.withLock { state in
            defer {
                state.retries = []
                state.waiters = [:]
            }
            return (state.retries, state.waiters.values)
        }
        for retry in unheard { retry.continuation.resume(returning: nil) }
        for waiter in waiting { waiter.continuation.resume(returning: false) }
    }
}

extension RemoteDatabase {
    /// Every row of a table, page by page in the order of its key.
    func all(_ table: Kernel.Table) async throws(RemoteError) -> [Row] {
        let key = table.key.map { "\"\($0)\"" }.joined(separator: ", ")
        let places = table.key.map { _ in "?" }.joined(separator: ", ")
        let pageSize: Int64 = 5000
        var all: [Row] = []
        var last: [SQLValue]?
        while true {
            let condition = last == nil ? "" : "WHERE (\(key)) > (\(places)) "
            let page = try await rows(.select(from: table, condition + "ORDER BY \(key) LIMIT ?", (last ?? []) + [.integer(pageSize)]))
            all += page
            guard page.count == pageSize, let row = page.last else { return all }
            last = table.keyPositions.map { row[$0] }
        }
    }
}
