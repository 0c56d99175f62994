import Conversations
package import Kernel
import Storage

/// What a list of conversations is narrowed down to, and its order.
package struct ConversationFilter: Sendable {
    package enum Assignee: Sendable {
        case none
        case consultor(Int64)
        /// A user who is not a consultor has nothing.
        case nobody
    }

    package struct Order: Sendable, Equatable {
        package enum Column: String, Sendable, CaseIterable {
            case updated = "updated_at"
            case created = "created_at"
            /// Who waits longest; those who do not wait come last.
            case queued = "queued_at"
            case unread
            case name
        }

        package let column: Column
        package let isDescending: Bool

        package init(_ column: Column, isDescending: Bool) {
            self.column = column
            self.isDescending = isDescending
        }

        package static let latestFirst = Order(.updated, isDescending: true)

        /// A column's name, with a minus in front for the other way round.
        package init?(_ text: String) {
            guard let column = Column(rawValue: String(text.drop { $0 == "-" })), !text.hasPrefix("--") else { return nil }
            self.init(column, isDescending: text.hasPrefix("-"))
        }

        /// Ends with what is different for any two, so that no conversation is on two pages or on none.
        var sql: String {
            let way = isDescending ? "DESC" : "ASC"
            return switch column {
            case .updated: "updated_at \(way), id \(way)"
            case .created: "created_at \(way), id \(way)"
            case .queued: "CASE WHEN queued_at IS NULL THEN 1 ELSE 0 END, queued_at \(way), id \(way)"
            case .unread: "unread \(way), updated_at DESC, id DESC"
            case .name: "LOWER(contact_name) \(way), id \(way)"
            }
        }
    }

    package var states: Set<String> = []
    package var assignee: Assignee?
    /// A part of the name, the number or the protocol.
    package var text: String?
    /// A part of a message, among the `messagesSearched` latest of the conversations that fit the rest.
    package var messageText: String?
    package var labels: [String] = []
    package var channel: String?
    package var language: String?
    /// Whether something of the customer's is unread.
    package var isUnread: Bool?
    /// When they began: not before the one, and before the other.
    package var from: Timestamp?
    package var until: Timestamp?
    package var order = Order.latestFirst

    package static let stateNames = ["bot", "queued", "offered", "active", "snoozed", "resolved"]
    /// Texts have no index: this is what bounds a search in them.
    package static let messagesSearched = 2000

    package init() {}

    /// `WHERE …`, in the SQL that both stores speak.
    func condition(of tenant: TenantID) -> (sql: String, arguments: [SQLValue]) {
        var conditions = ["tenant_id = ?"]
        var arguments: [SQLValue] = [.id(tenant)]
        func add(_ condition: String, _ values: SQLValue...) {
            conditions.append(condition)
            arguments += values
        }
        if !states.isEmpty {
            conditions.append("state IN (\(states.map { _ in "?" }.joined(separator: ", ")))")
            arguments += states.sorted().map { .text($0) }
        }
        switch assignee {
        case nil: break
        case .none?: add("state IN ('bot', 'queued', 'offered')")
        case .nobody?: add("1 = 0")
        case .consultor(let id)?: add("consultor_id = ? AND state IN ('active', 'snoozed')", .integer(id))
        }
        if let text, !text.isEmpty {
            let pattern = SQLValue.text(Self.pattern(text))
            // A number is written in many ways, and stored in one.
            let isNumber = text.allSatisfy { $0.isASCII && ($0.isNumber || " +-().".contains($0)) }
            let digits = text.filter { $0.isASCII && $0.isNumber }
            let number = isNumber && !digits.isEmpty ? SQLValue.text("%\(digits)%") : pattern
            add(
                "(\(SearchText.sql("contact_name")) LIKE ? ESCAPE '\\' OR contact_number LIKE ? ESCAPE '\\' OR protocolo LIKE ? ESCAPE '\\')",
                pattern,
                number,
                pattern
            )
        }
        // Of Postgres; the embedded store has one of the same name.
        for label in labels { add("array_position(labels, ?) IS NOT NULL", .text(label)) }
        if let channel { add("channel = ?", .text(channel)) }
        if let language { add("language = ?", .text(language)) }
        if let isUnread { add(isUnread ? "unread > 0" : "unread = 0") }
        if let from { add("created_at >= ?", .timestamp(from)) }
        if let until { add("created_at < ?", .timestamp(until)) }
        let plain = "WHERE " + conditions.joined(separator: " AND ")
        guard let messageText, !messageText.isEmpty else { return (plain, arguments) }
        return (
            """
            WHERE tenant_id = ? AND id IN (SELECT c.id FROM (SELECT id FROM conversations \(plain) ORDER BY updated_at DESC, id DESC LIMIT ?) c
            WHERE EXISTS (SELECT 1 FROM messages m WHERE m.tenant_id = ? AND m.conversation_id = c.id AND m.kind <> 'activity'
            AND \(SearchText.sql("m.text")) LIKE ? ESCAPE '\\'))
            """,
            [.id(tenant)] + arguments + [.integer(Int64(Self.messagesSearched)), .id(tenant), .text(Self.pattern(messageText))]
        )
    }

    private static func pattern(_ text: String) -> String {
        "%" + SearchText.folded(text).map { "\\%_".contains($0) ? "\\\($0)" : String($0) }.joined() + "%"
    }
}
