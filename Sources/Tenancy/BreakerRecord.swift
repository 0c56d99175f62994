package import Kernel
import Resilience
package import Storage

// What people told circuit breakers. A forced state stands until somebody takes it back, so it outlives the server; everything that was told is kept, with who
// and why.

package enum BreakerTables {
    /// What stands now.
    package static let breakers = Table(
        "circuit_breakers",
        since: 4,
        key: ["tenant_id", "name"],
        columns: [
            Column("tenant_id", .uuid), Column("name", .text), Column("state", .text), .optional("reason", .text), Column("user_id", .uuid),
            Column("user_name", .text), Column("at", .timestamp),
        ]
    )

    /// The record of it.
    package static let orders = Table(
        "circuit_breaker_orders",
        since: 4,
        key: ["tenant_id", "id"],
        columns: [
            Column("tenant_id", .uuid), Column("id", .uuid), Column("name", .text), Column("action", .text), .optional("reason", .text),
            Column("user_id", .uuid), Column("user_name", .text), Column("at", .timestamp),
        ]
    )

    package static let all = [breakers, orders]
}

enum BreakerRecord {
    private enum OrderKind {}

    /// What stands is the owner's: of a breaker that is everybody's there is one row, and whoever runs the server sees every order, as does who gave it.
    static func change(
        _ order: BreakerOrder,
        _ dependency: Dependency,
        reason: String?,
        by principal: Principal,
        owner: TenantID,
        version: Int64,
        _ moment: Moment
    ) -> Change {
        let (state, action, at): (String, String, Timestamp) =
            switch order {
            case .reset: ("automatic", "reset", moment.now)
            case .force(let force): force.isOpen ? ("forced_open", "force-open", force.at) : ("forced_closed", "force-closed", force.at)
            }
        var change = Change()
        change.rows = [
            RowImage(
                BreakerTables.breakers,
                version: version,
                values: [
                    .id(owner), .text(dependency.rawValue), .text(state), .optional(reason), .id(principal.user), .text(principal.name),
                    .timestamp(at),
                ]
            )
        ]
        for tenant in owner == principal.tenant ? [owner] : [owner, principal.tenant] {
            let id: Identifier<OrderKind> = moment.id()
            change.rows.append(
                RowImage(
                    BreakerTables.orders,
                    version: version,
                    values: [
                        .id(tenant), .id(id), .text(dependency.rawValue), .text(action), .optional(reason), .id(principal.user),
                        .text(principal.name), .timestamp(moment.now),
                    ]
                )
            )
        }
        return change
    }
}

extension BreakerBoard {
    /// Puts back what people had forced before the server was started.
    /// - Parameter operatorTenant: of those who run the server. What another business's row says of a breaker that is everybody's counts for nothing.
    package func restore(from store: any Store, operatorTenant: TenantID?) async throws(Refusal) {
        for row in try await store.rows(.select(from: BreakerTables.breakers, "ORDER BY at, version")) {
            var row = row
            let tenant: TenantID = row.id()
            let dependency = Dependency(rawValue: row.text())
            let state = row.text()
            let reason = row.optionalText() ?? ""
            let _: UserID = row.id()
            let name = row.text()
            let at = row.timestamp()
            let version = row.integer()
            guard let dependency, !dependency.isShared || tenant == operatorTenant else {
                sawOrder(version: version)
                continue
            }
            let force = CircuitBreaker.Force(isOpen: state == "forced_open", by: name, reason: reason, at: at)
            restore(state == "automatic" ? nil : force, on: dependency, of: tenant, version: version)
        }
    }
}
