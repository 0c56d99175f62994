package import Kernel
package import Storage

package enum UsageTables {
    /// How much of a resource was used in a period, and what was told of it. The rows of earlier periods stay: they are the history.
    package static let meters = Table(
        "usage_meters",
        since: 15,
        key: ["tenant_id", "resource", "period"],
        columns: [
            Column("tenant_id", .uuid), Column("resource", .text), Column("period", .text), Column("used", .integer), Column("told", .integer),
            Column("updated_at", .timestamp),
        ]
    )

    package static let all = [meters]
}

/// One resource in one period, as it is stored.
package struct MeterRow: Sendable {
    package let resource: PlanResource
    package let period: CivilDate
    package let meter: Usage.Meter

    /// `nil` for a resource that this program does not know.
    package init?(_ row: Row) {
        var row = row
        let _: TenantID = row.id()
        let name = row.text()
        let date = row.text()
        let used = Int(row.integer())
        let told = Int(row.integer())
        _ = row.timestamp()
        guard let resource = PlanResource(rawValue: name), let period = CivilDate(date) else { return nil }
        self.resource = resource
        self.period = period
        meter = Usage.Meter(used: used, told: told, version: row.integer())
    }

    package static func image(_ resource: PlanResource, _ meter: Usage.Meter, _ period: Period, tenant: TenantID, at now: Timestamp) -> RowImage {
        RowImage(
            UsageTables.meters,
            version: meter.version,
            values: [
                .id(tenant), .text(resource.rawValue), .text(period.first.description), .integer(Int64(meter.used)), .integer(Int64(meter.told)),
                .timestamp(now),
            ]
        )
    }
}
