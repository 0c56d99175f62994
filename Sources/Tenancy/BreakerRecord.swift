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

    static func change(_ order: BreakerOrder, _ dependency: Dependency, by principal: Principal, _ board: BreakerBoard?, _ moment: Moment) -> Change {
        let (state, action, reason): (String, String, String?) =
            switch order {
            case .reset: ("automatic", "reset", nil)
            case .force(let force): force.isOpen ? ("forced_open", "force-open", force.reason) : ("forced_closed", "force-closed", force.reason)
            }
        let id: Identifier<OrderKind> = moment.id()
        var change = Change()
        change.rows = [
            RowImage(
                BreakerTables.breakers,
                version: board?.nextVersion(at: moment.now) ?? moment.now.milliseconds,
                values: [
                    .id(principal.tenant), .text(dependency.rawValue), .text(state), .optional(reason), .id(principal.user), .text(principal.name),
                    .timestamp(moment.now),
                ]
            ),
            RowImage(
                BreakerTables.orders,
                version: 1,
                values: [
                    .id(principal.tenant), .id(id), .text(dependency.rawValue), .text(action), .optional(reason), .id(principal.user),
                    .text(principal.name), .timestamp(moment.now),
                ]
            ),
        ]
        return change
    }
}

extension BreakerBoard {
    /// Puts back what people had forced before the server was started.
    package func restore(from store: any Store) async throws(Refusal) {
        for row in try await store.rows(.select(from: BreakerTables.breakers, "WHERE state <> 'automatic' ORDER BY at")) {
            var row = row
            let tenant: TenantID = row.id()
            guard let dependency = Dependency(rawValue: row.text()) else { continue }
            let isOpen = row.text() == "forced_open"
            let reason = row.optionalText() ?? ""
            let _: UserID = row.id()
            let name = row.text()
            carryOut(.force(.init(isOpen: isOpen, by: name, reason: reason, at: row.timestamp())), on: dependency, of: tenant)
        }
    }
}
