package import Kernel

package enum SchedulingTables {
    package static let settings = Table(
        "booking_settings",
        since: 11,
        key: ["tenant_id"],
        columns: [Column("tenant_id", .uuid), Column("settings", .json), Column("updated_at", .timestamp)]
    )

    package static let categories = Table(
        "service_categories",
        since: 11,
        key: ["tenant_id", "id"],
        columns: [Column("tenant_id", .uuid), Column("id", .uuid), Column("name", .text), Column("created_at", .timestamp)]
    )

    package static let services = Table(
        "services",
        since: 11,
        key: ["tenant_id", "id"],
        columns: [
            Column("tenant_id", .uuid), Column("id", .uuid), .optional("category_id", .uuid), Column("name", .text), .optional("description", .text),
            Column("duration", .integer), .optional("price", .numeric), Column("is_active", .boolean), Column("images", .textArray),
            .optional("credentials", .json), .optional("promotions", .json), .optional("custom_fields", .json), Column("capacity", .integer),
            .optional("buffer_before_minutes", .integer), .optional("buffer_after_minutes", .integer), .optional("minimum_notice_minutes", .integer),
            .optional("maximum_advance_days", .integer), .optional("start_interval_minutes", .integer), .optional("auto_confirm", .boolean),
            Column("public_booking", .boolean), Column("staff_ids", .textArray), Column("created_at", .timestamp), Column("updated_at", .timestamp),
            .optional("removed_at", .timestamp), Column("max_per_day", .integer, since: 17), Column("max_per_week", .integer, since: 17),
            Column("max_per_month", .integer, since: 17),
        ],
        indexes: [Index("services_by_id", on: ["id"], since: 17)]
    )

    package static let staff = Table(
        "staff",
        since: 11,
        key: ["tenant_id", "id"],
        columns: [
            Column("tenant_id", .uuid), Column("id", .uuid), Column("name", .text), .optional("user_id", .uuid), Column("is_active", .boolean),
            .optional("weekly_hours", .json), Column("overrides", .json), .optional("capacity", .integer), Column("created_at", .timestamp),
            .optional("removed_at", .timestamp),
        ]
    )

    package static let timeOff = Table(
        "time_off",
        since: 11,
        key: ["tenant_id", "id"],
        columns: [
            Column("tenant_id", .uuid), Column("id", .uuid), .optional("staff_id", .uuid), Column("start_time", .timestamp),
            Column("end_time", .timestamp), .optional("reason", .text),
        ],
        indexes: [Index("time_off_by_end", on: ["tenant_id", "end_time"])]
    )

    package static let clients = Table(
        "clients",
        since: 11,
        key: ["tenant_id", "id"],
        columns: [
            Column("tenant_id", .uuid), Column("id", .uuid), Column("name", .text), .optional("whatsapp", .text), .optional("found_by", .text),
            .optional("email", .text), Column("created_at", .timestamp), Column("updated_at", .timestamp), Column("revision", .integer, since: 16),
            Column("email_key", .text, since: 16), Column("search_text", .text, since: 16), Column("notes", .text, since: 16),
            Column("is_active", .boolean, since: 16), Column("is_vip", .boolean, since: 16), Column("communication_preference", .text, since: 16),
            Column("birth_date", .text, since: 16), Column("gender", .text, since: 16), Column("address", .text, since: 16),
            Column("city", .text, since: 16), Column("state", .text, since: 16), Column("zip_code", .text, since: 16),
            Column("source", .text, since: 16), Column("referral_code", .text, since: 16), Column("tags", .textArray, since: 16),
            Column("custom_fields", .json, since: 16), Column("contact_id", .uuid, since: 16), Column("merged_into", .uuid, since: 16),
            Column("removed_at", .timestamp, since: 16), Column("created_month", .text, since: 16),
            // What their appointments come to, and of it what is searched and sorted by.
            Column("tally", .json, since: 16), Column("total_appointments", .integer, since: 16), Column("visits", .integer, since: 16),
            Column("first_appointment_at", .timestamp, since: 16), Column("last_appointment_at", .timestamp, since: 16),
            Column("last_visit_ms", .integer, since: 16), Column("steady_score", .integer, since: 16), Column("total_spent", .numeric, since: 16),
            Column("preferred_services", .textArray, since: 16), Column("favourite_service", .uuid, since: 16),
        ],
        indexes: [
            Index("clients_by_key", on: ["tenant_id", "found_by"]), Index("clients_by_email", on: ["tenant_id", "email_key"], since: 16),
            Index("clients_by_contact", on: ["tenant_id", "contact_id"], since: 16),
            Index("clients_by_merger", on: ["tenant_id", "merged_into"], since: 16),
            Index("clients_by_name", on: ["tenant_id", "search_text", "id"], since: 16),
            Index("clients_by_update", on: ["tenant_id", "updated_at", "id"], since: 16),
            Index("clients_by_creation", on: ["tenant_id", "created_at", "id"], since: 16),
            Index("clients_by_last_appointment", on: ["tenant_id", "last_appointment_at", "id"], since: 16),
        ]
    )

    /// Who changed what of a client, without what it was or became: that is the person's.
    package static let clientChanges = Table(
        "client_changes",
        since: 16,
        key: ["tenant_id", "id"],
        columns: [
            Column("tenant_id", .uuid), Column("id", .uuid), Column("client_id", .uuid), Column("at", .timestamp), Column("kind", .text),
            Column("fields", .textArray), Column("author_kind", .text), .optional("author_id", .uuid), .optional("author_name", .text),
            .optional("other_id", .uuid),
        ],
        indexes: [Index("client_changes_by_client", on: ["tenant_id", "client_id", "at"])]
    )

    /// The last line of defence under the calendar, which decides by itself: none of what blocks may overlap on one lane of one resource, unless it shares a
    /// session; and no seat of a session is given twice. Looked at when a batch is committed: until then rows may come in any order.
    package static let appointments = Table(
        "appointments",
        since: 11,
        key: ["tenant_id", "id"],
        columns: [
            Column("tenant_id", .uuid), Column("id", .uuid), Column("service_id", .uuid), Column("service_name", .text), .optional("staff_id", .uuid),
            Column("resource_id", .uuid), Column("lane", .integer), Column("seat_no", .integer), Column("session_id", .uuid),
            Column("blocked_from", .timestamp), Column("blocked_until", .timestamp), Column("client_id", .uuid), Column("client_name", .text),
            Column("client_whatsapp", .text), .optional("client_email", .text), Column("search_text", .text), Column("start_time", .timestamp),
            Column("end_time", .timestamp), Column("duration_minutes", .integer), Column("timezone", .text), Column("local_start", .text),
            .optional("price", .numeric), Column("status", .text), Column("is_blocking", .boolean), .optional("notes", .text),
            .optional("internal_notes", .text), .optional("source", .text), .optional("custom_fields", .json), .optional("series_id", .uuid),
            Column("revision", .integer), Column("is_forced", .boolean), .optional("forced_reason", .text), .optional("cancel_reason", .text),
            .optional("cancelled_by", .text), .optional("pending_until", .timestamp), Column("manage_token", .text), Column("created_at", .timestamp),
            Column("updated_at", .timestamp), Column("client_moves", .integer, since: 24), Column("client_moves_since", .timestamp, since: 24),
        ],
        indexes: [
            Index("appointments_by_start", on: ["tenant_id", "start_time", "id"]), Index("appointments_by_end", on: ["tenant_id", "end_time"]),
            Index("appointments_by_client", on: ["tenant_id", "client_id", "start_time"]),
            Index("appointments_by_token", on: ["tenant_id", "manage_token"]),
            Index("appointments_by_series", on: ["tenant_id", "series_id"]),
            Index("appointments_by_decision", on: ["tenant_id", "pending_until"], since: 24),
        ],
        exclusions: [
            Exclusion(
                "appointments_no_overlap",
                [
                    ("tenant_id", "="), ("resource_id", "="), ("lane", "="), ("session_id", "<>"),
                    ("tstzrange(blocked_from, blocked_until, '[)')", "&&"),
                ],
                where: "is_blocking AND NOT is_forced"
            ),
            Exclusion(
                "appointments_one_to_a_seat",
                [("tenant_id", "="), ("session_id", "="), ("seat_no", "=")],
                where: "is_blocking AND NOT is_forced"
            ),
        ]
    )

    package static let holds = Table(
        "appointment_holds",
        since: 11,
        key: ["tenant_id", "id"],
        columns: [
            Column("tenant_id", .uuid), Column("id", .uuid), Column("service_id", .uuid), .optional("staff_id", .uuid), Column("lane", .integer),
            Column("seat_no", .integer), Column("session_id", .uuid), Column("blocked_from", .timestamp), Column("blocked_until", .timestamp),
            Column("start_time", .timestamp), Column("end_time", .timestamp), Column("expires_at", .timestamp), .optional("waitlist_id", .uuid),
            Column("held_by", .text, since: 17),
        ]
    )

    package static let waitlist = Table(
        "appointment_waitlist",
        since: 11,
        key: ["tenant_id", "id"],
        columns: [
            Column("tenant_id", .uuid), Column("id", .uuid), Column("service_id", .uuid), .optional("staff_id", .uuid),
            Column("from_time", .timestamp),
            Column("until_time", .timestamp), Column("client_name", .text), Column("client_whatsapp", .text), .optional("client_email", .text),
            Column("token", .text), Column("created_at", .timestamp), Column("status", .text), .optional("hold_id", .uuid),
            .optional("offered_start", .timestamp), .optional("offer_until", .timestamp), Column("ended_at", .timestamp, since: 24),
            Column("origin", .text, since: 24),
        ],
        indexes: [
            Index("appointment_waitlist_by_status", on: ["tenant_id", "status"]),
            Index("appointment_waitlist_by_ending", on: ["tenant_id", "ended_at"], since: 24),
        ]
    )

    package static let all = [settings, categories, services, staff, timeOff, clients, clientChanges, appointments, holds, waitlist]
}
