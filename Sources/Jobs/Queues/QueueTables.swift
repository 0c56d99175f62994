package import Kernel

package enum QueueTables {
    /// A message on its way, and after it: what is finished stays for a while, and its key longer than that.
    package static let messages = Table(
        "queue_messages",
        since: 13,
        key: ["tenant_id", "id"],
        columns: [
            Column("tenant_id", .uuid), Column("id", .uuid), Column("queue", .text), Column("channel", .text), Column("recipient", .text),
            .optional("key", .text), .optional("subject", .text), Column("state", .text), Column("priority", .integer), Column("run_at", .timestamp),
            .optional("expires_at", .timestamp), Column("attempt", .integer), Column("max_attempts", .integer), Column("crash_count", .integer),
            .optional("lease_until", .timestamp), .optional("lease_token", .uuid), Column("payload", .text), Column("errors", .json),
            .optional("provider_id", .text), .optional("why", .text), Column("created_at", .timestamp), .optional("finished_at", .timestamp),
            Column("charged_at", .timestamp, since: 18),
        ],
        indexes: [
            Index("queue_messages_by_queue", on: ["tenant_id", "queue", "state", "run_at"]),
            Index("queue_messages_by_key", on: ["tenant_id", "key"]),
            Index("queue_messages_by_subject", on: ["tenant_id", "subject"]),
            Index("queue_messages_by_creation", on: ["tenant_id", "queue", "created_at", "id"]),
            Index("queue_messages_by_state", on: ["state", "run_at", "tenant_id", "queue"]),
            Index("queue_messages_by_finish", on: ["state", "finished_at"]),
            Index("queue_messages_by_provider", on: ["tenant_id", "provider_id"], since: 19),
        ]
    )

    /// Who has said that a queue is to rest, and why. The latest word of each kind.
    package static let controls = Table(
        "queue_controls",
        since: 13,
        key: ["tenant_id", "queue", "kind"],
        columns: [
            Column("tenant_id", .uuid), Column("queue", .text), Column("kind", .text), Column("is_set", .boolean), .optional("by_id", .uuid),
            Column("by_name", .text), .optional("reason", .text), Column("changed_at", .timestamp),
        ]
    )

    /// Subjects whose earlier messages are not to be sent, until each of those has been told so.
    package static let callOffs = Table(
        "queue_call_offs",
        since: 13,
        key: ["tenant_id", "subject"],
        columns: [Column("tenant_id", .uuid), Column("subject", .text), Column("reason", .text), Column("called_off_at", .timestamp)]
    )

    package static let all = [messages, controls, callOffs]
}
