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

    private func withPortfolio<T: Sendable>(_ tenant: TenantID, _ body: (TenantCell) async throws(Refusal) -> T) async throws(Refusal) -> T {
        try await tenants.use(tenant) { cell throws(Refusal) in
            try await cell.bringPortfolio()
            return try await body(cell)
        }
    }

    // MARK: Feeding

    /// In turns of a few hundred, so that nobody waits for all of them. What was read before it began was checked as a whole.
    package func upsertCustomers(_ patches: [CustomerPatch], _ tenant: TenantID) async throws(Refusal) -> (created: Int, updated: Int, unchanged: Int)
    {
        try await withPortfolio(tenant) { cell throws(Refusal) in
            // All of them at once: what does not fit is refused before any of it is in.
            try await cell.admitCustomers(patches)
            var (created, updated, unchanged) = (0, 0, 0)
            for start in stride(from: 0, to: patches.count, by: Self.upsertBatch) {
                try gate.admit()
                let upserted = try await cell.upsertCustomers(Array(patches[start..<min(start + Self.upsertBatch, patches.count)])).committed()
                created += upserted.created
                updated += upserted.updated
                unchanged += upserted.unchanged
            }
            return (created, updated, unchanged)
        }
    }

    /// Records all of them, or none if there is a customer among them that is not known.
    /// - Parameter key: what was recorded under it is not recorded again.
    /// - Returns: how many were recorded; the first time's, if this is not the first.
    package func record(_ activities: [Activity], key: String?, _ tenant: TenantID) async throws(Refusal) -> Int {
        try await withPortfolio(tenant) { cell throws(Refusal) in
            let mark = key.map { Mark.Key(tenant: tenant, scope: "atividades", key: $0) }
            if let mark, let earlier = try await store.marks([mark])[mark] { return Int(earlier) ?? 0 }
            let unknown = await cell.unknownCustomers(activities.map(\.customer))
            guard unknown.isEmpty else { throw Self.unknown(unknown, among: activities) }
            var start = 0
            repeat {
                try gate.admit()
                let end = min(start + Self.activityBatch, activities.count)
                // The mark goes with the last of them: until then, nothing says that all of them are in.
                let isLast = end == activities.count
                try await cell.record(
                    Array(activities[start..<end]),
                    mark: isLast ? mark.map { Mark($0, at: now, result: String(activities.count)) } : nil
                ).committed()
                start = end
            } while start < activities.count
            return activities.count
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

    /// Which of these customers there are not.
    package func unknownCustomers(_ ids: [Int64], _ tenant: TenantID) async throws(Refusal) -> Set<Int64> {
        try await withPortfolio(tenant) { cell throws(Refusal) in await cell.unknownCustomers(ids) }
    }

    // MARK: Looking

    /// Those of these that there are.
    package func customers(_ ids: [Int64], _ tenant: TenantID) async throws(Refusal) -> [Int64: Customer] {
        try await withPortfolio(tenant) { cell throws(Refusal) in try await cell.customers(ids).committed() }
    }

    /// Everything at one moment. It is handed out when all of it is on disk.
    package func portfolio(_ tenant: TenantID) async throws(Refusal) -> PortfolioView {
        try await withPortfolio(tenant) { cell throws(Refusal) in try await cell.portfolioView().committed() }
    }

    package func customer(_ id: Int64, _ tenant: TenantID) async throws(Refusal) -> CustomerDetail {
        try await withPortfolio(tenant) { cell throws(Refusal) in try await cell.customer(id).committed() }
    }

    /// The accesses of the last 30 days, newest first: since the beginning of the day 30 days ago, as they are counted.
    package func logins(of id: Int64, _ tenant: TenantID) async throws(Refusal) -> [Login] {
        let customer = try await customer(id, tenant)
        let from = BusinessZone.start(of: BusinessZone.today(customer.now) + -CustomerVitals.windowDays)
        return try await store.rows(
            .select(
                from: CustomerTables.logins,
                "WHERE tenant_id = ? AND customer_id = ? AND at >= ? ORDER BY at DESC, id DESC",
                [.id(tenant), .integer(id), .timestamp(from)],
                tenant: tenant
            )
        ).map(Login.init)
    }

    /// The score at the end of each day on which it moved, oldest first.
    package func healthHistory(of id: Int64, from: CivilDate, to: CivilDate, _ tenant: TenantID) async throws(Refusal) -> [(CivilDate, HealthScore)] {
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
    package func customerActions(isOpen: Bool?, cs: String?, limit: Int, _ tenant: TenantID) async throws(Refusal) -> [CustomerAction] {
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
    package func finishAction(_ id: CustomerActionID, by name: String, _ tenant: TenantID) async throws(Refusal) -> CustomerAction {
        try gate.admit()
        return try await tenants.use(tenant) { cell throws(Refusal) in
            let rows = try await store.rows(
                .select(from: CustomerTables.actions, "WHERE tenant_id = ? AND id = ?", [.id(tenant), .id(id)], tenant: tenant)
            )
            guard var action = rows.first.map(CustomerAction.init) else { throw .notFound(.action) }
            guard action.doneAt == nil else { return action }
            action.finished(by: name, at: now)
            try await cell.finishAction(action).committed()
            return action
        }
    }

    // MARK: Sales

    package func putSellers(_ sellers: [Seller], _ tenant: TenantID) async throws(Refusal) -> (created: Int, updated: Int) {
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
    package func mrrMovements(
        _ month: YearMonth?,
        _ tenant: TenantID
    ) async throws(Refusal) -> (month: YearMonth, movements: [MRRMovementKind: (count: Int, sum: Money)]) {
        let view = try await portfolio(tenant)
        return (month ?? view.sales.figures.view.month, view.sales.movements(in: month, view.customers))
    }
}
