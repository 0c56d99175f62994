package import Kernel
package import Storage
package import Wire

package enum MRRMovementKind: String, Sendable, CaseIterable {
    case new, expansion, contraction, churn, reactivation
}

/// One change of what a customer pays a month: new, more, less, gone or back again.
package struct MRRMovement: Sendable, Equatable {
    package let kind: MRRMovementKind
    package let customer: Int64
    package let before: Money
    package let after: Money
    package let month: YearMonth

    /// What follows from a customer having become another: at most two, for somebody who is brought in having left already.
    package static func between(_ before: Customer?, _ after: Customer, today: CivilDate) -> [MRRMovement] {
        func movement(_ kind: MRRMovementKind, _ from: Money, _ to: Money, _ day: CivilDate?) -> MRRMovement {
            MRRMovement(kind: kind, customer: after.id, before: from, after: to, month: (day ?? today).month)
        }
        let now = after.isCancelled ? Money.zero : after.valor
        guard let before else {
            guard after.valor > .zero else { return [] }
            let joined = movement(.new, .zero, after.valor, after.dayOfAdhesion)
            return after.isCancelled ? [joined, movement(.churn, after.valor, .zero, after.dayOfCancellation)] : [joined]
        }
        let then = before.isCancelled ? Money.zero : before.valor
        guard now != then else { return [] }
        if now == .zero { return [movement(after.isCancelled ? .churn : .contraction, then, now, after.dayOfCancellation)] }
        if then == .zero {
            return [
                before.isCancelled
                    ? movement(.reactivation, then, now, nil) : movement(.new, then, now, before.valor > .zero ? nil : after.dayOfAdhesion)
            ]
        }
        return [movement(now > then ? .expansion : .contraction, then, now, nil)]
    }

    func image(_ id: UniqueID, seller: Int64, tenant: TenantID, at now: Timestamp) -> RowImage {
        RowImage(
            SalesTables.movements,
            version: 1,
            values: [
                .id(tenant), .uuid(id), .integer(customer), .integer(seller), .text(kind.rawValue), .integer(Int64(month.index)),
                .integer(before.centavos), .integer(after.centavos), .timestamp(now),
            ]
        )
    }
}
