package import Kernel
package import Telemetry

/// A store whose every read and commit is timed.
package struct MeasuredStore: ManagedStore {
    private let base: any ManagedStore
    private let durations: HistogramFamily

    package init(_ base: any ManagedStore, _ durations: HistogramFamily) {
        self.base = base
        self.durations = durations
    }

    private func timed<T, Failure: Error>(_ operation: String, _ body: () throws(Failure) -> T) throws(Failure) -> T {
        let start = ContinuousClock.now
        defer { durations.observe(.now - start, LabelValues(operation)) }
        return try body()
    }

    private func timed<T, Failure: Error>(_ operation: String, _ body: () async throws(Failure) -> T) async throws(Failure) -> T {
        let start = ContinuousClock.now
        defer { durations.observe(.now - start, LabelValues(operation)) }
        return try await body()
    }

    // MARK: Journal

    package func commit(_ batch: [Change]) throws(JournalError) { try timed("commit") { () throws(JournalError) in try base.commit(batch) } }
    package func forgetMarks(before time: Timestamp) throws(JournalError) { try base.forgetMarks(before: time) }
    package var objection: Refusal? { base.objection }
    package func follow(_ spans: [SpanContext]) { base.follow(spans) }

    // MARK: Store

    package func rows(_ query: Query) async throws(Refusal) -> [Row] {
        try await timed("read") { () async throws(Refusal) in try await base.rows(query) }
    }
    package func everything(in table: Table) async throws(Refusal) -> [Row] {
        try await timed("read") { () async throws(Refusal) in try await base.everything(in: table) }
    }
    package func purge() async { await base.purge() }
    package func holdsBack(_ tenant: TenantID) -> Bool { base.holdsBack(tenant) }
    package func marks(_ keys: [Mark.Key]) async throws(Refusal) -> [Mark.Key: String] {
        try await timed("marks") { () async throws(Refusal) in try await base.marks(keys) }
    }
    package func tenantsWithJobs() async throws(Refusal) -> [TenantID] {
        try await timed("read") { () async throws(Refusal) in try await base.tenantsWithJobs() }
    }
    package func jobs(of tenant: TenantID, after lane: String, limit: Int) async throws(Refusal) -> [Job] {
        try await timed("read") { () async throws(Refusal) in try await base.jobs(of: tenant, after: lane, limit: limit) }
    }
    package func jobs(of tenant: TenantID, in lane: String, limit: Int) async throws(Refusal) -> [Job] {
        try await timed("read") { () async throws(Refusal) in try await base.jobs(of: tenant, in: lane, limit: limit) }
    }

    // MARK: Operators

    package var status: StoreStatus { base.status }
    package func quarantined(of tenant: TenantID?) async throws(Refusal) -> [QuarantinedRow] { try await base.quarantined(of: tenant) }
    package func retryQuarantined(_ ids: [Int64]) async throws(Refusal) -> Int { try await base.retryQuarantined(ids) }
    package func bring(_ rows: [RowImage]) async throws { try await base.bring(rows) }
    package func close() async { await base.close() }
}
