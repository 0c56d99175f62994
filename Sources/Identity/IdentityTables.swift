package import Kernel

package enum IdentityTables {
    package static let tenants = Table(
        "tenants",
        since: 1,
        key: ["id"],
        tenant: "id",
        columns: [
            Column("id", .uuid), Column("name", .text), Column("slug", .text), Column("timezone", .text), .optional("phone_number_id", .text),
            .optional("waba_id", .text), Column("created_at", .timestamp), Column("plan", .text, since: 15),
            Column("template_type", .text, since: 15), Column("whatsapp_number", .text, since: 15),
        ],
        indexes: [
            Index("tenants_by_slug", on: ["slug"], isUnique: true), Index("tenants_by_phone_number_id", on: ["phone_number_id"], isUnique: true),
        ]
    )

    package static let users = Table(
        "users",
        since: 1,
        key: ["tenant_id", "id"],
        columns: [
            Column("tenant_id", .uuid), Column("id", .uuid), Column("email", .text), Column("name", .text), Column("role", .text),
            Column("password_hash", .text), Column("is_active", .boolean), Column("created_at", .timestamp), Column("updated_at", .timestamp),
            .optional("last_login_at", .timestamp), Column("views", .json, since: 5), Column("unverified_since", .timestamp, since: 15),
        ],
        indexes: [Index("users_by_email", on: ["email"], isUnique: true)]
    )

    /// Logins that can be refreshed. A row goes when the login ends.
    package static let loginSessions = Table(
        "login_sessions",
        since: 1,
        key: ["tenant_id", "id"],
        columns: [
            Column("tenant_id", .uuid), Column("id", .uuid), Column("user_id", .uuid), Column("refresh_id", .text), Column("created_at", .timestamp),
            Column("expires_at", .timestamp), Column("address", .text, since: 5), Column("agent", .text, since: 5),
            Column("last_used_at", .timestamp, since: 5), Column("previous_refresh_id", .text, since: 10),
        ]
    )

    /// Who tried to log in, and what came of it (`LoginRecord`). An id says when it was made, so the key is the order.
    package static let loginAudit = Table(
        "login_audit",
        since: 5,
        key: ["tenant_id", "id"],
        columns: [
            Column("tenant_id", .uuid), Column("id", .uuid), Column("at", .timestamp), .optional("user_id", .uuid), Column("email", .text),
            .optional("address", .text), .optional("agent", .text), Column("outcome", .text),
        ],
        indexes: [
            Index("login_audit_by_email", on: ["tenant_id", "email", "id"]), Index("login_audit_by_outcome", on: ["tenant_id", "outcome", "id"]),
            Index("login_audit_by_age", on: ["at"]),
        ]
    )

    /// The codes that prove an address (`EmailCode`), one of each purpose.
    package static let emailCodes = Table(
        "email_codes",
        since: 15,
        key: ["tenant_id", "user_id", "purpose"],
        columns: [
            Column("tenant_id", .uuid), Column("user_id", .uuid), Column("purpose", .text), Column("email", .text), Column("digest", .text),
            Column("expires_at", .timestamp), Column("attempts", .integer), Column("sent_at", .timestamp), Column("sends", .integer),
            Column("counted_from", .timestamp),
        ]
    )

    /// Which plans a business has had (`PlanChange`). An id says when it was made, so the key is the order.
    package static let planChanges = Table(
        "plan_changes",
        since: 15,
        key: ["tenant_id", "id"],
        columns: [
            Column("tenant_id", .uuid), Column("id", .uuid), Column("at", .timestamp), Column("from_plan", .text), Column("to_plan", .text),
            .optional("user_id", .uuid), Column("changed_by", .text),
        ]
    )

    package static let all = [tenants, users, loginSessions, loginAudit, APIKey.table, emailCodes, planChanges]
}
