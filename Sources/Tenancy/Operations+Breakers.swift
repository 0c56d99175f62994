package import Kernel
package import Resilience
import Storage
import Wire

extension Operations {
    /// As the tenant sees them.
    package func breakers(of tenant: TenantID) -> [UInt8] { BreakerReport.json(of: tenant, tenants.breakers) }

    /// Has a breaker do as somebody says. It does once that is on disk, with who said it and why.
    /// - Parameter operatorTenant: the server's own breakers stop everybody: only who runs the server forces them, or takes that back.
    /// - Returns: the breaker as it then is.
    package func order(
        _ order: BreakerOrder,
        _ name: String,
        reason: String?,
        by principal: Principal,
        operatorTenant: TenantID?
    ) async throws(Refusal) -> [UInt8] {
        try principal.requireAdministrator()
        guard let board = tenants.breakers, let dependency = Dependency(rawValue: name) else {
            throw Refusal(.notFound, "not_found", "Não há circuit breaker com este nome.")
        }
        if case .force = order, !board.isUsed(dependency) {
            throw Refusal(.conflict, "breaker_not_in_use", "Esta dependência não está configurada; não há o que abrir ou fechar.")
        }
        let owner = dependency.isShared ? operatorTenant ?? principal.tenant : principal.tenant
        try gate.admit()
        try await tenants.use(principal.tenant) { cell throws(Refusal) in
            try await cell.ordered(order, dependency, reason: reason, by: principal, owner: owner).committed()
            try await cell.breakersChanged().committed()
        }
        // The server's own are told of on their own thread, and may not have heard yet.
        guard let breaker = board.breakers(of: principal.tenant).first(where: { $0.dependency == dependency })?.breaker else {
            throw Refusal(.notFound, "not_found", "Não há circuit breaker com este nome.")
        }
        var writer = JSONWriter(capacity: 512)
        let numbers = board.numbers(dependency, of: principal.tenant)
        BreakerReport.write(dependency, breaker, isUsed: board.isUsed(dependency), numbers: numbers, to: &writer)
        return writer.bytes
    }

    /// What was told to the tenant's breakers, newest first: `{items: [{id, name, action, reason, user: {id, name}, at}], total, page, per_page, total_pages}`.
    /// Who runs the server sees what anybody told those that are everybody's.
    package func breakerOrders(_ page: Page, for principal: Principal) async throws(Refusal) -> [UInt8] {
        try principal.requireAdministrator()
        let rows = try await store.rows(
            .select(
                from: BreakerTables.orders,
                "WHERE tenant_id = ? ORDER BY at DESC, version DESC, id DESC LIMIT ? OFFSET ?",
                [.id(principal.tenant), .integer(Int64(page.size)), .integer(Int64((page.number - 1) * page.size))],
                tenant: principal.tenant
            )
        )
        var count = try await store.rows(
            Query(
                "SELECT COUNT(*) FROM circuit_breaker_orders WHERE tenant_id = ?",
                [.id(principal.tenant)],
                kinds: [.integer],
                tenant: principal.tenant
            )
        ).first
        let total = Int(count?.integer() ?? 0)
        var writer = JSONWriter(capacity: 256 * rows.count + 64)
        writer.object {
            $0.list("items") { list in
                for row in rows {
                    var row = row
                    let _: TenantID = row.id()
                    list.object { item in
                        item.field("id", (row.id() as NoticeID).description)
                        item.field("name", row.text())
                        item.field("action", row.text())
                        item.field("reason", row.optionalText())
                        let user: UserID = row.id()
                        let name = row.text()
                        item.field(
                            "user",
                            object: {
                                $0.field("id", user.description)
                                $0.field("name", name)
                            }
                        )
                        item.field("at", row.timestamp().description)
                    }
                }
            }
            $0.page(page, total: total)
        }
        return writer.bytes
    }

    /// Tells those who look at breakers what has changed of them. Called several times a second.
    package func tellBreakers() async {
        guard let board = tenants.breakers else { return }
        let changed = board.takeChanged()
        for tenant in tenants.awake where changed?.contains(tenant) ?? true {
            // Not waited for: it changes nothing that could be lost, and whoever calls has others to tell.
            _ = try? await tenants.use(tenant) { cell throws(Refusal) in await cell.breakersChanged() }
        }
    }
}
