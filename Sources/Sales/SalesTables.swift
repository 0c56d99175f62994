package import Kernel
package import Storage
import Wire

package enum SalesTables {
    package static let sellers = Table(
        "sellers",
        since: 12,
        key: ["tenant_id", "id"],
        columns: [
            Column("tenant_id", .uuid), Column("id", .integer), Column("name", .text), .optional("email", .text), Column("is_active", .boolean),
            Column("names", .json, since: 25),
        ]
    )

    /// The commission configurations, each from a month on: `month` counts months since January of the year 0.
    package static let commissionConfigs = Table(
        "commission_configs",
        since: 12,
        key: ["tenant_id", "month"],
        columns: [Column("tenant_id", .uuid), Column("month", .integer), Column("config", .json), Column("updated_at", .timestamp)]
    )

    /// By how much what a customer pays a month became more or less, as it was once noted when it happened. Nothing is added: it follows from the customers
    /// (`MRRMovement.of`). What there is stays, for a store that came through every version is a new one's equal.
    package static let movements = Table(
        "mrr_movements",
        since: 12,
        key: ["tenant_id", "id"],
        columns: [
            Column("tenant_id", .uuid), Column("id", .uuid), Column("customer_id", .integer), Column("seller_id", .integer), Column("kind", .text),
            Column("month", .integer), Column("before_centavos", .integer), Column("after_centavos", .integer), Column("at", .timestamp),
        ],
        indexes: [Index("mrr_movements_by_month", on: ["tenant_id", "month", "id"])]
    )

    package static let all = [sellers, commissionConfigs, movements]
}

extension Seller {
    package init(_ row: Row) {
        var row = row
        let _: TenantID = row.id()
        self.init(
            id: row.integer(),
            name: row.text(),
            email: row.optionalText(),
            isActive: row.boolean(),
            names: row.optionalText().flatMap { Self.names($0) }
        )
        version = row.integer()
    }

    func image(of tenant: TenantID) -> RowImage {
        RowImage(
            SalesTables.sellers,
            version: version,
            values: [.id(tenant), .integer(id), .text(name), .optional(email), .boolean(isActive), .json(storedNames)]
        )
    }

    /// `[[month, name], …]`, months since January of the year 0.
    private var storedNames: String {
        JSON.array(names.map { .array([$0.since.map { .int(Int64($0.index)) } ?? .null, .string($0.name)]) }).text
    }

    private static func names(_ text: String) -> [Name]? {
        let names = (try? JSON.parse(text))?.array?.compactMap { entry -> Name? in
            guard let parts = entry.array, parts.count == 2, let name = parts[1].string else { return nil }
            return Name(since: parts[0].int.map { YearMonth(index: Int32(clamping: $0)) }, name: name)
        }
        return names.flatMap { $0.isEmpty ? nil : $0 }
    }
}

extension CommissionConfig {
    /// What the store has: the fields of `write`, percentages in ten-thousandths.
    var stored: String {
        var writer = JSONWriter()
        writer.object {
            $0.field("sales_goal", salesGoal)
            $0.list("mrr") { list in for percentage in mrr { list.int(percentage.tenThousandths) } }
            $0.list("setup") { list in for percentage in setup { list.int(percentage.tenThousandths) } }
            $0.list("recurrence") { list in for percentage in recurrence { list.int(percentage.tenThousandths) } }
        }
        return String(decoding: writer.bytes, as: UTF8.self)
    }

    init(stored text: String, updatedAt: Timestamp) {
        self.init(since: updatedAt)
        guard let json = try? JSON.parse(text) else { return }
        func percentages(_ name: String) -> [Percentage]? { json[name]?.array?.compactMap(\.int).map { Percentage(tenThousandths: $0) } }
        salesGoal = json["sales_goal"]?.int.map(Int.init) ?? salesGoal
        if let list = percentages("mrr"), list.count == 3 { mrr = list }
        if let list = percentages("setup"), list.count == 3 { setup = list }
        recurrence = percentages("recurrence") ?? recurrence
    }
}
