package import Kernel
package import Storage

/// One change of a business's plan, for its history.
package struct PlanChange: Sendable, Equatable {
    package let tenant: TenantID
    package let id: Identifier<PlanChange>
    package let at: Timestamp
    package let from: PlanType
    package let to: PlanType
    /// `nil` when whoever runs the server did it.
    package let user: UserID?
    package let by: String

    init(tenant: TenantID, from: PlanType, to: PlanType, user: UserID?, by: String, _ moment: Moment) {
        self.tenant = tenant
        id = moment.id()
        at = moment.now
        self.from = from
        self.to = to
        self.user = user
        self.by = by
    }

    package init(_ row: Row) {
        var row = row
        tenant = row.id()
        id = row.id()
        at = row.timestamp()
        from = PlanType(row.text()) ?? .free
        to = PlanType(row.text()) ?? .free
        user = row.optionalID()
        by = row.text()
    }

    var image: RowImage {
        RowImage(
            IdentityTables.planChanges,
            version: 1,
            values: [.id(tenant), .id(id), .timestamp(at), .text(from.rawValue), .text(to.rawValue), .id(user), .text(by)]
        )
    }
}
