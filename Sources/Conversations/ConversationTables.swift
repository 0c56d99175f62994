package import Kernel

package enum ConversationTables {
    package static let contacts = Table(
        "contacts",
        since: 1,
        key: ["tenant_id", "id"],
        columns: [
            Column("tenant_id", .uuid), Column("id", .uuid), Column("name", .text), .optional("wa_id", .text), .optional("bsuid", .text),
            Column("created_at", .timestamp), Column("updated_at", .timestamp), Column("last_consultor_id", .integer, since: 7),
            Column("name_curated", .boolean, since: 8),
            Column("merged_into", .uuid, since: 9), Column("merged_wa_id", .text, since: 9), Column("merged_bsuid", .text, since: 9),
            Column("answered_wa_id", .text, since: 9), Column("unreachable_since", .timestamp, since: 9),
            Column("templates_paused_until", .timestamp, since: 9),
        ],
        indexes: [
            Index("contacts_by_wa_id", on: ["tenant_id", "wa_id"], isUnique: true),
            Index("contacts_by_bsuid", on: ["tenant_id", "bsuid"], isUnique: true),
            Index("contacts_by_merger", on: ["tenant_id", "merged_into"], since: 9),
            Index("contacts_by_merged_wa_id", on: ["tenant_id", "merged_wa_id"], since: 9),
            Index("contacts_by_merged_bsuid", on: ["tenant_id", "merged_bsuid"], since: 9),
            Index("contacts_by_answered_wa_id", on: ["tenant_id", "answered_wa_id"], since: 9),
        ]
    )

    package static let conversations = Table(
        "conversations",
        since: 1,
        key: ["tenant_id", "id"],
        columns: [
            Column("tenant_id", .uuid), Column("id", .uuid), Column("contact_id", .uuid), Column("contact_name", .text),
            .optional("contact_number", .text),
            Column("channel", .text), Column("state", .text), .optional("consultor_id", .integer), .optional("queued_at", .timestamp),
            .optional("offer_expires_at", .timestamp), .optional("snoozed_until", .timestamp), .optional("resolved_at", .timestamp),
            .optional("protocolo_id", .integer), .optional("protocolo", .text), Column("language", .text), Column("bot", .json),
            Column("unread", .integer),
            Column("labels", .textArray), .optional("window_expires_at", .timestamp), Column("last_seq", .integer), .optional("last_message", .json),
            Column("created_at", .timestamp), Column("updated_at", .timestamp), Column("phone_number_id", .text, since: 6),
            Column("state_since", .timestamp, since: 7),
            Column("asked_at", .timestamp, since: 7), Column("first_answered_at", .timestamp, since: 7), Column("owed_since", .timestamp, since: 7),
            Column("sla", .json, since: 7), Column("satisfaction_until", .timestamp, since: 7), Column("satisfaction", .json, since: 7),
            Column("contact_unreachable_since", .timestamp, since: 9), Column("contact_paused_until", .timestamp, since: 9),
        ],
        indexes: [
            Index("conversations_by_update", on: ["tenant_id", "updated_at"]),
            Index("conversations_by_state", on: ["tenant_id", "state", "updated_at"]),
            Index("conversations_by_contact", on: ["tenant_id", "contact_id", "created_at"]),
            Index("conversations_by_consultor", on: ["tenant_id", "consultor_id", "updated_at"]),
            Index("conversations_by_creation", on: ["tenant_id", "created_at"], since: 5),
            Index("conversations_by_satisfaction", on: ["tenant_id", "satisfaction_until"], since: 7),
        ]
    )

    package static let messages = Table(
        "messages",
        since: 1,
        key: ["tenant_id", "conversation_id", "seq"],
        columns: [
            Column("tenant_id", .uuid), Column("conversation_id", .uuid), Column("seq", .integer), Column("id", .uuid), Column("kind", .text),
            Column("direction", .text), Column("author_kind", .text), .optional("author_id", .uuid), .optional("author_name", .text),
            Column("text", .text), .optional("content", .json), Column("status", .text), .optional("error_code", .text),
            .optional("error_message", .text),
            .optional("client_message_id", .text), .optional("external_id", .text), .optional("reply_to", .text), Column("created_at", .timestamp),
            .optional("provider_at", .timestamp), Column("annotations", .json, since: 6),
        ],
        indexes: [
            Index("messages_by_id", on: ["tenant_id", "id"], isUnique: true),
            Index("messages_by_external_id", on: ["tenant_id", "external_id"], isUnique: true),
        ]
    )

    /// Webhook deliveries of which something could not be read, or was for a number that is nobody's: whole, as they came, for a person to look at.
    package static let setAside = Table(
        "set_aside_deliveries",
        since: 1,
        key: ["id"],
        columns: [Column("id", .uuid), Column("received_at", .timestamp), Column("reason", .text), Column("body", .text)],
        indexes: [Index("set_aside_deliveries_by_age", on: ["received_at"])]
    )

    package static let all = [contacts, conversations, messages, setAside, FlowVersion.table]
}
