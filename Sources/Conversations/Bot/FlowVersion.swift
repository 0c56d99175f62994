package import Kernel
package import Storage
package import Wire

/// One version of a business's flow. Never altered and never deleted: conversations finish on the version that they began with.
package struct FlowVersion: Sendable {
    package let number: Int64
    package let flow: BotFlow
    package let authorID: UserID
    package let authorName: String
    package let createdAt: Timestamp
    /// Whether new conversations begin with it.
    package internal(set) var isActive: Bool
    package private(set) var version: Int64 = 0

    package static let table = Table(
        "bot_flows",
        since: 6,
        key: ["tenant_id", "number"],
        columns: [
            Column("tenant_id", .uuid), Column("number", .integer), Column("flow", .text), Column("author_id", .uuid), Column("author_name", .text),
            Column("created_at", .timestamp), Column("is_active", .boolean),
        ]
    )

    init(number: Int64, flow: BotFlow, by principal: Principal, at now: Timestamp) {
        self.number = number
        self.flow = flow
        authorID = principal.user
        authorName = principal.name
        createdAt = now
        isActive = true
    }

    /// `nil` for what no version of this program has written.
    package init?(_ row: Row) {
        var row = row
        let _: TenantID = row.id()
        number = row.integer()
        let json = row.text()
        authorID = row.id()
        authorName = row.text()
        createdAt = row.timestamp()
        isActive = row.optionalBoolean() ?? false
        version = row.integer()
        // It was checked when it was stored. Rules that came later do not take a business's bot away.
        var reading = FlowReading()
        guard let flow = reading.flow(try? JSON.parse(json), at: []) else { return nil }
        self.flow = flow
    }

    mutating func image(tenant: TenantID) -> RowImage {
        version += 1
        return RowImage(
            Self.table,
            version: version,
            values: [
                .id(tenant), .integer(number), .text(flow.json), .id(authorID), .text(authorName), .timestamp(createdAt), .boolean(isActive),
            ]
        )
    }

    /// `{version, author, created_at, active, flow?}`
    package func write(to writer: inout JSONWriter, withFlow: Bool) {
        writer.object {
            $0.field("version", number)
            $0.field("author") { author in
                author.field("id", authorID.description)
                author.field("name", authorName)
            }
            $0.field("created_at", createdAt.description)
            $0.field("active", isActive)
            if withFlow { $0.field("flow", raw: flow.json) }
        }
    }
}
