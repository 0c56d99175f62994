package import Conversations
package import Kernel
import Storage

extension Operations {
    /// Shows what a client was told in the conversation they have open, else in the last one they had. Where there is none, none is begun.
    package func show(_ told: ToldByWhatsApp, to tenant: TenantID) async throws(Refusal) {
        try await tenants.use(tenant) { cell throws(Refusal) in
            try await bringIn([ContactIdentity(waIDs: told.waIDs, bsuid: nil)], cell)
            guard let (contact, open) = await cell.place(of: told.waIDs) else { return }
            var place = open
            if place == nil { place = try await lastConversation(of: contact, tenant) }
            guard let place else { return }
            try await bringIn(place, cell)
            try await cell.told(told, in: place).committed()
        }
    }

    private func lastConversation(of contact: ContactID, _ tenant: TenantID) async throws(Refusal) -> ConversationID? {
        let rows = try await store.rows(
            Query(
                "SELECT id FROM conversations WHERE tenant_id = ? AND contact_id = ? AND channel <> '\(Conversation.webChannel)' ORDER BY created_at DESC LIMIT 1",
                [.id(tenant), .id(contact)],
                kinds: [.uuid],
                tenant: tenant
            )
        )
        guard var row = rows.first else { return nil }
        return row.id()
    }
}
