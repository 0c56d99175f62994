package import Conversations
package import Kernel
import Storage
package import Wire

// How a business runs its desk, the replies it has prepared, and the record of what happened.

extension DeskSettings {
    static func load(_ tenant: TenantID, from store: any Store) async throws(Refusal) -> DeskSettings {
        let rows = try await store.rows(.select(from: DeskTables.settings, "WHERE tenant_id = ?", [.id(tenant)], tenant: tenant).forDeciding)
        guard var row = rows.first else { return DeskSettings() }
        let _: TenantID = row.id()
        let text = row.text()
        _ = row.boolean()
        _ = row.timestamp()
        // What was valid once is, or the defaults are: a desk opens in any case.
        let stored = try? DeskSettings().changed(by: try? JSON.parse(text))
        var settings = stored ?? DeskSettings()
        settings.version = row.integer()
        return settings
    }
}

extension Operations {
    // MARK: Settings

    package func deskSettings(for principal: Principal) async throws(Refusal) -> [UInt8] {
        try await tenants.use(principal.tenant) { cell throws(Refusal) in try await cell.deskSettings().committed() }
    }

    package func changeDeskSettings(_ json: JSON?, by principal: Principal) async throws(Refusal) -> [UInt8] {
        try principal.requireAdministrator()
        try gate.admit()
        return try await tenants.use(principal.tenant) { cell throws(Refusal) in try await cell.changeDeskSettings(json, by: principal).committed() }
    }

    // MARK: Canned replies

    package func cannedReplies(for principal: Principal) async throws(Refusal) -> [CannedReply] {
        try await tenants.use(principal.tenant) { cell throws(Refusal) in try await cell.cannedReplies().committed() }
    }

    package func cannedReply(_ id: CannedReplyID, for principal: Principal) async throws(Refusal) -> CannedReply {
        try await tenants.use(principal.tenant) { cell throws(Refusal) in try await cell.cannedReply(id).committed() }
    }

    /// - Parameter id: of the one to change; `nil` makes one.
    package func putCannedReply(_ id: CannedReplyID?, _ json: JSON?, by principal: Principal) async throws(Refusal) -> CannedReply {
        guard principal.role.canAttend else { throw .viewerOnly }
        var fields = try RequestFields(json)
        let isNew = id == nil
        let shortcut = isNew ? fields.text("shortcut", max: 64) : fields.optionalText("shortcut", min: 1, max: 64)
        if let shortcut, shortcut.contains(where: \.isWhitespace) { fields.refuse("shortcut", "não pode conter espaços") }
        let text =
            isNew
            ? fields.text("text", max: AgentCommand.maxTextCharacters) : fields.optionalText("text", min: 1, max: AgentCommand.maxTextCharacters)
        try fields.check()
        try gate.admit()
        return try await tenants.use(principal.tenant) { cell throws(Refusal) in
            try await cell.putCannedReply(id, shortcut: shortcut, text: text, by: principal).committed()
        }
    }

    package func removeCannedReply(_ id: CannedReplyID, by principal: Principal) async throws(Refusal) {
        guard principal.role.canAttend else { throw .viewerOnly }
        try gate.admit()
        try await tenants.use(principal.tenant) { cell throws(Refusal) in try await cell.removeCannedReply(id, by: principal).committed() }
    }

    // MARK: Wrap-up

    package func wrappedUp(_ id: Int64, _ tenant: TenantID) async throws(Refusal) -> [UInt8] {
        try gate.admit()
        return try await tenants.use(tenant) { cell throws(Refusal) in try await cell.wrappedUp(id).committed() }
    }

    // MARK: Audit

    /// `{items, has_more}`, newest first: what happened before the entry `before`, to one conversation or in the whole tenant.
    package func audit(
        of conversation: ConversationID?,
        before: Int64?,
        limit: Int,
        for principal: Principal
    ) async throws(Refusal) -> [UInt8] {
        var conditions = ["tenant_id = ?"]
        var arguments: [SQLValue] = [.id(principal.tenant)]
        if let conversation {
            let exists = try await store.rows(
                Query(
                    "SELECT 1 FROM conversations WHERE tenant_id = ? AND id = ?",
                    [.id(principal.tenant), .id(conversation)],
                    kinds: [.integer],
                    tenant: principal.tenant
                )
            )
            guard !exists.isEmpty else { throw .notFound(.conversation) }
            conditions.append("conversation_id = ?")
            arguments.append(.id(conversation))
        } else {
            try principal.requireAdministrator()
        }
        if let before {
            conditions.append("seq < ?")
            arguments.append(.integer(before))
        }
        let rows = try await store.rows(
            .select(
                from: DeskTables.audit,
                "WHERE \(conditions.joined(separator: " AND ")) ORDER BY seq DESC LIMIT ?",
                arguments + [.integer(Int64(limit + 1))],
                tenant: principal.tenant
            )
        )
        var writer = JSONWriter(capacity: 256 * rows.count + 64)
        writer.object {
            $0.list("items") { for row in rows.prefix(limit) { AuditEntry(row).write(to: &$0) } }
            $0.field("has_more", rows.count > limit)
        }
        return writer.bytes
    }
}
