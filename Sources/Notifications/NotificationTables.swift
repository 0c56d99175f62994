package import Kernel

package enum NotificationTables {
    package static let settings = Table(
        "notification_settings",
        since: 14,
        key: ["tenant_id"],
        columns: [
            Column("tenant_id", .uuid), Column("settings", .json),
            // Appointments that are booked already have been planned for by them.
            Column("is_applied", .boolean), Column("updated_at", .timestamp),
        ]
    )

    /// What a business has written in place of the templates that there are. One that was taken away stays, as it was, with `removed_at`.
    package static let templates = Table(
        "notification_templates",
        since: 14,
        key: ["tenant_id", "event", "channel"],
        columns: [
            Column("tenant_id", .uuid), Column("event", .text), Column("channel", .text), Column("template", .json), Column("updated_at", .timestamp),
            .optional("removed_at", .timestamp),
        ]
    )

    /// Who wants no messages but those about what they have booked.
    package static let optOuts = Table(
        "notification_opt_outs",
        since: 14,
        key: ["tenant_id", "channel", "recipient"],
        columns: [
            Column("tenant_id", .uuid), Column("channel", .text), Column("recipient", .text), Column("is_out", .boolean), Column("source", .text),
            Column("updated_at", .timestamp),
        ]
    )

    /// Of which revision of an appointment its client is being told, by each channel: what stands in the messages' keys.
    package static let told = Table(
        "appointment_notices",
        since: 14,
        key: ["tenant_id", "appointment_id"],
        columns: [
            Column("tenant_id", .uuid), Column("appointment_id", .uuid), Column("whatsapp_revision", .integer), Column("email_revision", .integer),
            Column("forget_at", .timestamp),
        ],
        indexes: [Index("appointment_notices_by_end", on: ["tenant_id", "forget_at"])]
    )

    package static let all = [settings, templates, optOuts, told]
}
