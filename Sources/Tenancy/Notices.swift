package import Kernel
package import Storage
package import Wire

// What the business tells everybody who works for it, at once, on the channel `notices` (DESIGN §7.1).

package enum NoticeTables {
    package static let notices = Table(
        "notices",
        since: 2,
        key: ["tenant_id", "id"],
        columns: [
            Column("tenant_id", .uuid), Column("id", .uuid), Column("text", .text), Column("author_id", .uuid), Column("author_name", .text),
            .optional("client_message_id", .text), Column("created_at", .timestamp),
        ]
    )

    package static let all = [notices]
}

package enum NoticeKind {}
package typealias NoticeID = Identifier<NoticeKind>

package struct Notice: Sendable, Hashable {
    package static let maxCharacters = 4000

    package let id: NoticeID
    package let text: String
    package let author: UserID
    package let authorName: String
    package let clientMessageID: String?
    package let createdAt: Timestamp

    package init(id: NoticeID, text: String, by principal: Principal, clientMessageID: String?, at now: Timestamp) {
        self.id = id
        self.text = text
        author = principal.user
        authorName = principal.name
        self.clientMessageID = clientMessageID
        createdAt = now
    }

    package init(_ row: Row) {
        var row = row
        let _: TenantID = row.id()
        id = row.id()
        text = row.text()
        author = row.id()
        authorName = row.text()
        clientMessageID = row.optionalText()
        createdAt = row.timestamp()
    }

    func image(of tenant: TenantID) -> RowImage {
        RowImage(
            NoticeTables.notices,
            version: 1,
            values: [
                .id(tenant), .id(id), .text(text), .id(author), .text(authorName), .optional(clientMessageID), .timestamp(createdAt),
            ]
        )
    }

    /// `{id, text, author: {id, name}, created_at}`
    package func write(to writer: inout JSONWriter) {
        writer.object { members in
            members.field("id", id.description)
            members.field("text", text)
            members.field(
                "author",
                object: {
                    $0.field("id", author.description)
                    $0.field("name", authorName)
                }
            )
            members.field("created_at", createdAt.description)
        }
    }

    /// What a notice is posted with: `{text, client_message_id?}`.
    package static func fields(_ json: JSON?) throws(Refusal) -> (text: String, clientMessageID: String?) {
        var fields = try RequestFields(json)
        let text = fields.text("text", max: maxCharacters)
        let key = fields.optionalText("client_message_id", min: 1, max: 128)
        try fields.check()
        return (text, key)
    }

    package var json: [UInt8] {
        var writer = JSONWriter(capacity: text.utf8.count + 200)
        write(to: &writer)
        return writer.bytes
    }
}

/// The latest notices of one tenant, oldest first: what somebody who comes in now should still see.
struct NoticeBoard: Sendable {
    /// In the snapshot, and in memory.
    static let shown = 20

    private(set) var notices: [Notice]
    /// Made once for all who come before the next notice: everybody is subscribed by connecting, thousands at once after a cut.
    private var encoded: [UInt8]?

    /// - Parameter loaded: newest first, as they are read.
    init(loaded: [Notice]) { notices = loaded.reversed() }

    static func load(_ tenant: TenantID, from store: any Store) async throws(Refusal) -> NoticeBoard {
        NoticeBoard(
            loaded: try await store.rows(
                .select(
                    from: NoticeTables.notices,
                    "WHERE tenant_id = ? ORDER BY id DESC LIMIT ?",
                    [.id(tenant), .integer(Int64(shown))],
                    tenant: tenant
                )
            ).map(Notice.init)
        )
    }

    /// The notice that was made under this key already.
    func earlier(_ clientMessageID: String, by author: UserID) -> Notice? {
        notices.last { $0.clientMessageID == clientMessageID && $0.author == author }
    }

    mutating func put(_ notice: Notice) {
        encoded = nil
        notices.append(notice)
        if notices.count > Self.shown { notices.removeFirst() }
    }

    /// `{notices: […]}`
    mutating func snapshot() -> [UInt8] {
        if let encoded { return encoded }
        var writer = JSONWriter()
        writer.object { $0.list("notices") { for notice in notices { notice.write(to: &$0) } } }
        encoded = writer.bytes
        return writer.bytes
    }
}

extension Mark.Key {
    /// A key is its author's own.
    static func notice(_ clientMessageID: String, by principal: Principal) -> Mark.Key {
        Mark.Key(tenant: principal.tenant, scope: "notice", key: "\(principal.user) \(clientMessageID)")
    }
}

extension Operations {
    /// Shows a notice to everybody of the tenant. The same `clientMessageID` of the same author makes one notice, however often it is posted.
    package func postNotice(_ text: String, clientMessageID: String?, by principal: Principal) async throws(Refusal) -> Answer {
        try principal.requireAdministrator()
        try gate.admit()
        let notice = try await tenants.use(principal.tenant) { cell throws(Refusal) in
            var earlier: NoticeID?
            if let clientMessageID {
                let key = Mark.Key.notice(clientMessageID, by: principal)
                earlier = try await store.marks([key])[key].flatMap { NoticeID($0) }
            }
            if let earlier {
                let rows = try await store.rows(
                    .select(
                        from: NoticeTables.notices,
                        "WHERE tenant_id = ? AND id = ?",
                        [.id(principal.tenant), .id(earlier)],
                        tenant: principal.tenant
                    )
                )
                if let notice = rows.first.map(Notice.init) { return notice }
            }
            return try await cell.postNotice(text, clientMessageID: clientMessageID, by: principal).committed()
        }
        return Answer(notice.json, isNew: true)
    }

    /// `{items, has_more}`, newest first: those before the notice `before`, or the newest.
    package func notices(before: NoticeID?, limit: Int, for principal: Principal) async throws(Refusal) -> [UInt8] {
        let rows = try await store.rows(
            .select(
                from: NoticeTables.notices,
                "WHERE tenant_id = ? \(before == nil ? "" : "AND id < ?") ORDER BY id DESC LIMIT ?",
                [.id(principal.tenant)] + (before.map { [.id($0)] } ?? []) + [.integer(Int64(limit + 1))],
                tenant: principal.tenant
            )
        )
        var writer = JSONWriter(capacity: 256 * rows.count + 64)
        writer.object {
            $0.list("items") { for row in rows.prefix(limit) { Notice(row).write(to: &$0) } }
            $0.field("has_more", rows.count > limit)
        }
        return writer.bytes
    }
}
