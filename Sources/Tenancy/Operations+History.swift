import Conversations
package import Kernel
import Storage
import Wire

// What is read from the store, behind what was committed. Everything that was acknowledged is there.

package struct Page: Sendable {
    package var number: Int
    package var size: Int

    package static let maxSize = 200
    package static let maxNumber = 100_000

    package init(number: Int = 1, size: Int = 50) {
        self.number = number
        self.size = size
    }
}

extension Operations {
    /// `{items, total, page, per_page, total_pages}`, in the filter's order: by default the latest first.
    package func conversations(_ filter: ConversationFilter, _ page: Page, for principal: Principal) async throws(Refusal) -> [UInt8] {
        let (rest, arguments) = filter.condition(of: principal.tenant)
        let counted = try await store.rows(
            Query("SELECT COUNT(*) FROM conversations \(rest)", arguments, kinds: [.integer], tenant: principal.tenant)
        )
        var total = 0
        if var row = counted.first { total = Int(row.integer()) }
        let rows = try await store.rows(
            .select(
                from: ConversationTables.conversations,
                rest + " ORDER BY \(filter.order.sql) LIMIT ? OFFSET ?",
                arguments + [.integer(Int64(page.size)), .integer(Int64((page.number - 1) * page.size))],
                tenant: principal.tenant
            )
        )
        let conversations = rows.map(Conversation.init)
        let items = try await tenants.use(principal.tenant) { cell throws(Refusal) in try await cell.json(conversations).committed() }
        var writer = JSONWriter(capacity: items.count + 128)
        writer.object {
            $0.field("items", raw: items)
            $0.page(page, total: total)
        }
        return writer.bytes
    }

    /// `{items, has_more}`, oldest first: the last `limit` messages before the message `before`, or the very last.
    package func messages(
        of id: ConversationID,
        before: MessageID?,
        limit: Int,
        for principal: Principal
    ) async throws(Refusal) -> [UInt8] {
        let isVisitor = principal.role == .visitor
        let exists = try await store.rows(
            Query(
                "SELECT 1 FROM conversations WHERE tenant_id = ? AND id = ?",
                [.id(principal.tenant), .id(id)],
                kinds: [.integer],
                tenant: principal.tenant
            )
        )
        // A web chat may not have begun.
        guard isVisitor || !exists.isEmpty else { throw .notFound(.conversation) }
        var condition = ""
        var arguments: [SQLValue] = [.id(principal.tenant), .id(id)]
        if let before {
            guard let message = try await ConversationDesk.message(before, tenant: principal.tenant, from: store), message.conversation == id else {
                throw .notFound(.message)
            }
            condition = "AND seq < ?"
            arguments.append(.integer(message.seq))
        }
        let rows = try await store.rows(
            .select(
                from: ConversationTables.messages,
                "WHERE tenant_id = ? AND conversation_id = ? \(condition)\(isVisitor ? " AND direction <> 'internal'" : "") ORDER BY seq DESC LIMIT ?",
                arguments + [.integer(Int64(limit + 1))],
                tenant: principal.tenant
            )
        )
        let messages = rows.prefix(limit).reversed().map(Message.init)
        var writer = JSONWriter(capacity: 512 * messages.count + 64)
        writer.object {
            $0.list("items") { for message in messages { message.write(to: &$0, for: principal.audience) } }
            $0.field("has_more", rows.count > limit)
        }
        return writer.bytes
    }
}

extension JSONWriter {
    /// What follows the items of every list of ours.
    package mutating func page(_ page: Page, total: Int) {
        field("total", total)
        field("page", page.number)
        field("per_page", page.size)
        field("total_pages", (total + page.size - 1) / page.size)
    }
}
