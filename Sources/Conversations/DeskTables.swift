package import Kernel

/// What a desk keeps beside its conversations.
package enum DeskTables {
    package static let settings = Table(
        "desk_settings",
        since: 7,
        key: ["tenant_id"],
        columns: [Column("tenant_id", .uuid), Column("settings", .json), Column("has_timers", .boolean), Column("updated_at", .timestamp)]
    )

    /// Every transition, numbered without gaps within the tenant.
    package static let audit = Table(
        "audit_log",
        since: 7,
        key: ["tenant_id", "seq"],
        columns: [
            Column("tenant_id", .uuid), Column("seq", .integer), .optional("conversation_id", .uuid), Column("actor_kind", .text),
            .optional("actor_id", .uuid), .optional("actor_name", .text), Column("cause", .text), .optional("from_state", .text),
            .optional("to_state", .text), .optional("from_consultor_id", .integer), .optional("to_consultor_id", .integer), Column("at", .timestamp),
        ],
        indexes: [Index("audit_log_by_conversation", on: ["tenant_id", "conversation_id", "seq"])]
    )

    package static let cannedReplies = Table(
        "canned_replies",
        since: 7,
        key: ["tenant_id", "id"],
        columns: [
            Column("tenant_id", .uuid), Column("id", .uuid), Column("shortcut", .text), Column("text", .text), Column("created_at", .timestamp),
            Column("updated_at", .timestamp),
        ],
        indexes: [Index("canned_replies_by_shortcut", on: ["tenant_id", "shortcut"], isUnique: true)]
    )

    /// Who was named in which note, until they have read it.
    package static let mentions = Table(
        "mentions",
        since: 7,
        key: ["tenant_id", "message_id", "user_id"],
        columns: [
            Column("tenant_id", .uuid), Column("message_id", .uuid), Column("user_id", .uuid), Column("conversation_id", .uuid),
            Column("author_name", .text), Column("text", .text), Column("created_at", .timestamp), .optional("read_at", .timestamp),
        ],
        indexes: [Index("mentions_by_user", on: ["tenant_id", "user_id", "created_at"])]
    )

    package static let all = [settings, audit, cannedReplies, mentions]
}
