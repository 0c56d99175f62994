package import Kernel
package import Storage

/// What Pipedrive has of one conversation.
package struct PipedriveLink: Sendable, Equatable {
    package static let table = Table(
        "pipedrive_links",
        since: 8,
        key: ["tenant_id", "conversation_id"],
        columns: [
            Column("tenant_id", .uuid), Column("conversation_id", .uuid), Column("contact_id", .uuid), .optional("person_id", .integer),
            .optional("deal_id", .integer), .optional("activity_id", .integer), .optional("owner_id", .integer), .optional("error", .text),
            Column("synced_at", .timestamp), .optional("person_changed_at", .timestamp),
        ],
        indexes: [
            Index("pipedrive_links_by_contact", on: ["tenant_id", "contact_id", "synced_at"]),
            Index("pipedrive_links_by_person", on: ["tenant_id", "person_id"]),
        ]
    )

    package let conversation: ConversationID
    package let contact: ContactID
    package var person: Int64?
    package var deal: Int64?
    package var activity: Int64?
    package var owner: Int64?
    /// Why it went no further.
    package var error: String?
    package var syncedAt: Timestamp
    /// When the person was changed in Pipedrive, as far as we have heard: what is older is late.
    package var personChangedAt: Timestamp?
    private var version: Int64 = 0

    package init(conversation: ConversationID, contact: ContactID, at now: Timestamp) {
        self.conversation = conversation
        self.contact = contact
        syncedAt = now
    }

    package init(_ row: Row) {
        var row = row
        let _: TenantID = row.id()
        conversation = row.id()
        contact = row.id()
        person = row.optionalInteger()
        deal = row.optionalInteger()
        activity = row.optionalInteger()
        owner = row.optionalInteger()
        error = row.optionalText()
        syncedAt = row.timestamp()
        personChangedAt = row.optionalTimestamp()
        version = row.integer()
    }

    package mutating func image(tenant: TenantID) -> RowImage {
        version += 1
        return RowImage(
            Self.table,
            version: version,
            values: [
                .id(tenant), .id(conversation), .id(contact), .optional(person), .optional(deal), .optional(activity), .optional(owner),
                .optional(error), .timestamp(syncedAt), .optional(personChangedAt),
            ]
        )
    }

    // MARK: Reading

    package static func of(_ conversation: ConversationID, tenant: TenantID, from store: any Store) async throws(Refusal) -> PipedriveLink? {
        try await store.rows(
            .select(from: table, "WHERE tenant_id = ? AND conversation_id = ?", [.id(tenant), .id(conversation)], tenant: tenant).forDeciding
        ).first.map(PipedriveLink.init)
    }

    /// What is known of the customer from earlier conversations, the latest first.
    package static func ofContact(_ contact: ContactID, tenant: TenantID, from store: any Store) async throws(Refusal) -> [PipedriveLink] {
        try await store.rows(
            .select(
                from: table,
                "WHERE tenant_id = ? AND contact_id = ? AND person_id IS NOT NULL ORDER BY synced_at DESC LIMIT 20",
                [.id(tenant), .id(contact)],
                tenant: tenant
            ).forDeciding
        ).map(PipedriveLink.init)
    }

    package static func ofPerson(_ person: Int64, tenant: TenantID, from store: any Store) async throws(Refusal) -> [PipedriveLink] {
        try await store.rows(
            .select(from: table, "WHERE tenant_id = ? AND person_id = ? LIMIT 1000", [.id(tenant), .integer(person)], tenant: tenant).forDeciding
        ).map(PipedriveLink.init)
    }
}
