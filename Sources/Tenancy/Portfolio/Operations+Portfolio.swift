package import CustomerHealth
package import Kernel
package import Sales
import Storage
import Wire

/// Customers, what they do, and who sold to them (contracts/ecosys-ms.md, contracts/vendas.md).
extension Operations {
    /// Customers put in one turn.
    private static let upsertBatch = 500
    /// Activities recorded in one turn.
    private static let activityBatch = 1000

    func withPortfolio<T: Sendable>(_ tenant: TenantID, _ body: (TenantCell) async throws(Refusal) -> T) async throws(Refusal) -> T {
        try await tenants.use(tenant) { cell throws(Refusal) in
            try await cell.bringPortfolio()
            return try await body(cell)
        }
    }

    // MARK: Feeding

    /// In turns of a few hundred, so that nobody waits for all of them. What was read before it began was checked as a whole.
    package func upsertCustomers(_ patches: [CustomerPatch], _ tenant: TenantID) async throws(Refusal) -> (created: Int, updated: Int, unchanged: Int)
    {
        let counts = try await inBatches(
            patches,
            tenant,
            admit: { cell, patches throws(Refusal) in try await cell.admitCustomers(patches) }
        ) { cell, patches in await cell.upsertCustomers(patches) }
        return (counts.created, counts.updated, counts.unchanged)
    }

    /// Those who are known, and of those who are new as many as the plan has room for: nobody is there to read a refusal of all of them.
    /// - Returns: how many were left out.
    package func upsertCustomersThatFit(_ patches: [CustomerPatch], _ tenant: TenantID) async throws(Refusal) -> Int {
        try await inBatches(patches, tenant, admit: { cell, patches throws(Refusal) in try await cell.admitSellers(of: patches) }) { cell, patches in
            await cell.upsertCustomersThatFit(patches)
        }.leftOut
    }

    /// What a CRM says of its leads, in the order in which it says it.
    /// - Throws: 402 if the plan had no room for some who are new, once all others are in: what is told again changes nothing of them.
    package func upsertCustomers(_ reports: [LeadReport], _ tenant: TenantID) async throws(Refusal) -> (created: Int, updated: Int, unchanged: Int) {
        let counts = try await inBatches(
            reports,
            tenant,
            admit: { cell, reports throws(Refusal) in try await cell.admitSellers(of: reports) }
        ) { cell, reports in await cell.upsertCustomersThatFit(reports) }
        if counts.leftOut > 0 {
            throw try await withPortfolio(tenant) { cell throws(Refusal) in await cell.refusal(ofLeftOut: counts.leftOut) }
        }
        return (counts.created, counts.updated, counts.unchanged)
    }

    private func inBatches<Element: Sendable>(
        _ elements: [Element],
        _ tenant: TenantID,
        admit: (TenantCell, [Element]) async throws(Refusal) -> Void = { _, _ in },
        _ put: (TenantCell, [Element]) async -> Pending<CustomerBoard.Upserted>
    ) async throws(Refusal) -> (created: Int, updated: Int, unchanged: Int, leftOut: Int) {
        try await withPortfolio(tenant) { cell throws(Refusal) in
            // All of them at once: what does not fit is refused before any of it is in.
            try await admit(cell, elements)
            var (created, updated, unchanged, leftOut) = (0, 0, 0, 0)
            for start in stride(from: 0, to: elements.count, by: Self.upsertBatch) {
                try gate.admit()
                let upserted = try await put(cell, Array(elements[start..<min(start + Self.upsertBatch, elements.count)])).committed()
                created += upserted.created
                updated += upserted.updated
                unchanged += upserted.unchanged
                leftOut += upserted.leftOut
            }
            return (created, updated, unchanged, leftOut)
        }
    }

    /// Those who were in the database that the portfolio is kept in step with, beside those who are there: how many are known, and who of them is gone.
    package func goneFromSource(_ present: Set<Int64>, _ tenant: TenantID) async throws(Refusal) -> (known: Int, gone: [Int64]) {
        try await withPortfolio(tenant) { cell throws(Refusal) in await cell.goneFromSource(present) }
    }

    package func removeFromSource(_ ids: [Int64], _ tenant: TenantID) async throws(Refusal) {
        _ = try await inBatches(ids, tenant) { cell, ids in await cell.removeFromSource(ids) }
    }

    /// Records all of them, or none if there is a customer among them that is not known. What a crash cuts off goes on where it was when the same is sent again
    /// under the same key.
    /// - Parameters:
    ///   - key: what was recorded under it is not recorded again.
    ///   - keyField: where the request has it.
    package func record(
        _ activities: [Activity],
        key: String?,
        keyField: [String] = ActivityBatch.header,
        _ tenant: TenantID
    ) async throws(Refusal) -> Int {
        let digest = key == nil ? "" : Activity.digest(activities)
        return try await withPortfolio(tenant) { cell throws(Refusal) in
            let numbered = activities.enumerated().map { (line: $0, activity: $1) }
            let batches = stride(from: 0, to: activities.count, by: Self.activityBatch).map { start in
                ActivityBatch(
                    Array(numbered[start..<min(start + Self.activityBatch, activities.count)]),
                    key: key.map { "lista#\(start) \($0)" },
                    digest: digest,
                    keyField: keyField,
                    tenant
                )
            }
            let earlier = try await store.marks(batches.compactMap(\.once?.mark))
            for once in batches.compactMap(\.once) { if let known = earlier[once.mark] { _ = try ActivityBatch.outcome(known, once) } }
            let unknown = await cell.unknownCustomers(activities.map(\.customer))
            guard unknown.isEmpty else { throw Self.unknown(unknown, among: activities) }
            // Once, and not for each: what has begun is to be whole.
            try gate.admit()
            for batch in batches { _ = try await cell.record(batch, earlier: batch.once.flatMap { earlier[$0.mark] }).committed() }
            return activities.count
        }
    }

    /// Records those of a batch that are of customers that there are.
    package func record(_ batch: ActivityBatch, _ tenant: TenantID) async throws(Refusal) -> ActivityBatch.Outcome {
        try gate.admit()
        return try await withPortfolio(tenant) { cell throws(Refusal) in
            let earlier = try await earlier(batch.once?.mark)
            return try await cell.record(batch, earlier: earlier).committed()
        }
    }

    private static func unknown(_ ids: Set<Int64>, among activities: [Activity]) -> Refusal {
        let isSingle = activities.count == 1
        return .invalid(
            activities.enumerated().filter { ids.contains($1.customer) }.prefix(100).map { index, activity in
                .init(
                    isSingle ? ["body", "tenant_id"] : ["body", String(index), "tenant_id"],
                    "não há cliente \(activity.customer)",
                    type: "not_found"
                )
            }
        )
    }

    /// Accesses deleted at a time.
    private static let forgottenAtATime = 1000

    /// Deletes the accesses that are older than `time`. What follows from them was counted when they came, and stays.
    ///
    /// The newest stays as well, however old: further ones are numbered from it on.
    /// - Returns: how many.
    package func forgetLogins(before time: Timestamp, of tenant: TenantID) async throws(Refusal) -> Int {
        var forgotten = 0
        while true {
            let rows = try await store.rows(
                Query(
                    """
                    SELECT id FROM customer_logins WHERE tenant_id = ? AND at < ?
                    AND id < (SELECT MAX(id) FROM customer_logins WHERE tenant_id = ?) ORDER BY at LIMIT ?
                    """,
                    [.id(tenant), .timestamp(time), .id(tenant), .integer(Int64(Self.forgottenAtATime))],
                    kinds: [.integer],
                    tenant: tenant
                )
            )
            guard !rows.isEmpty else { return forgotten }
            try gate.admit()
            var change = Change()
            change.rows = rows.map { row in
                var row = row
                return Login.deletion(row.integer(), of: tenant)
            }
            // Nobody's live state depends on them: nobody has to be woken.
            try await gate.enqueue(change, Activation(tenant: tenant)).committed()
            forgotten += rows.count
        }
    }

    // MARK: Looking

    /// Everything at one moment. It is handed out when all of it is on disk.
    package func portfolio(_ tenant: TenantID) async throws(Refusal) -> PortfolioView {
        try await portfolio(after: nil, tenant).view
    }

    /// What is kept up of all of them together.
    func portfolioSums(_ tenant: TenantID) async throws(Refusal) -> (dashboard: Dashboard, sales: SalesBoard) {
        try await withPortfolio(tenant) { cell throws(Refusal) in try await cell.portfolioSums().committed() }
    }

    /// - Parameter customer: of whom the place behind is looked up.
    func portfolio(after customer: Int64?, _ tenant: TenantID) async throws(Refusal) -> (view: PortfolioView, start: Int) {
        try await withPortfolio(tenant) { cell throws(Refusal) in try await cell.portfolioView(after: customer).committed() }
    }

    package func customer(_ id: Int64, _ tenant: TenantID) async throws(Refusal) -> CustomerDetail {
        try await withPortfolio(tenant) { cell throws(Refusal) in try await cell.customer(id).committed() }
    }

    /// The score at the end of each day on which it moved, oldest first.
    func healthHistory(of id: Int64, from: CivilDate, to: CivilDate, _ tenant: TenantID) async throws(Refusal) -> [(CivilDate, HealthScore)] {
        _ = try await customer(id, tenant)
        // With the one before, which holds at the beginning.
        let rows = try await store.rows(
            .select(
                from: CustomerTables.snapshots,
                """
                WHERE tenant_id = ? AND customer_id = ? AND day <= ? AND day >= COALESCE(
                (SELECT MAX(day) FROM health_snapshots WHERE tenant_id = ? AND customer_id = ? AND day <= ?), ?) ORDER BY day
                """,
                [
                    .id(tenant), .integer(id), .integer(Int64(to.days)), .id(tenant), .integer(id), .integer(Int64(from.days)),
                    .integer(Int64(from.days)),
                ],
                tenant: tenant
            )
        )
        return rows.map { row in
            var row = row
            let _: TenantID = row.id()
            _ = row.integer()
            let day = CivilDate(days: Int32(clamping: row.integer()))
            return (day, HealthScore(engagement: row.integer(), stock: row.integer(), crm: row.integer(), adoption: row.integer()))
        }
    }

    /// What is to be done about customers, newest first.
    func customerActions(isOpen: Bool?, cs: String?, limit: Int, _ tenant: TenantID) async throws(Refusal) -> [CustomerAction] {
        var (condition, arguments): (String, [SQLValue]) = ("", [.id(tenant)])
        if let isOpen { condition += isOpen ? " AND done_at IS NULL" : " AND done_at IS NOT NULL" }
        if let cs {
            condition += " AND cs = ?"
            arguments.append(.text(cs))
        }
        return try await store.rows(
            .select(
                from: CustomerTables.actions,
                "WHERE tenant_id = ?\(condition) ORDER BY id DESC LIMIT ?",
                arguments + [.integer(Int64(limit))],
                tenant: tenant
            )
        ).map(CustomerAction.init)
    }

    /// Somebody has done what was to be done. Once done it stays so.
    func finishAction(_ id: CustomerActionID, by name: String, _ tenant: TenantID) async throws(Refusal) -> CustomerAction {
        try gate.admit()
        return try await withPortfolio(tenant) { cell throws(Refusal) in
            if let action = try await cell.finishAction(id, by: name).committed() { return action }
            let rows = try await store.rows(
                .select(from: CustomerTables.actions, "WHERE tenant_id = ? AND id = ?", [.id(tenant), .id(id)], tenant: tenant)
            )
            guard let action = rows.first.map(CustomerAction.init) else { throw .notFound(.action) }
            return action
        }
    }

    // MARK: Sales

    func putSellers(_ sellers: [Seller], _ tenant: TenantID) async throws(Refusal) -> (created: Int, updated: Int) {
        try gate.admit()
        return try await withPortfolio(tenant) { cell throws(Refusal) in try await cell.putSellers(sellers).committed() }
    }

    package func configureCommission(_ changes: CommissionChanges, _ tenant: TenantID) async throws(Refusal) -> CommissionConfig {
        try gate.admit()
        return try await withPortfolio(tenant) { cell throws(Refusal) in try await cell.configureCommission(changes).committed() }
    }

    /// - Returns: how many derived values were computed anew.
    package func recomputePortfolio(_ tenant: TenantID) async throws(Refusal) -> Int {
        try gate.admit()
        return try await withPortfolio(tenant) { cell throws(Refusal) in try await cell.recomputePortfolio().committed() }
    }

    /// By how much what customers pay moved in a month, by kind: how many, and the sum of differences. Without one, in the month that runs, as far as it has come.
    func mrrMovements(
        _ month: YearMonth?,
        _ tenant: TenantID
    ) async throws(Refusal) -> (month: YearMonth, movements: [MRRMovementKind: (count: Int, sum: Money)]) {
        let view = try await portfolio(tenant)
        return (month ?? view.sales.figures.view.month, view.sales.movements(in: month, view.customers))
    }
}
