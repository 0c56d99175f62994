package import Kernel
package import Scheduling
import Storage

package import struct Foundation.Decimal

/// What a list of clients is narrowed down to, and its order (contracts/agendazap.md "Clientes").
package struct ClientFilter: Sendable, Equatable {
    package enum Sort: String, Sendable, CaseIterable {
        case name
        case created = "created_at"
        case updated = "updated_at"
        case first = "first_appointment_at"
        case last = "last_appointment_at"
        case appointments = "total_appointments"
        case score = "frequency_score"
        case spent = "total_spent"
    }

    /// A part of the name, the number in whichever way it is written, or the e-mail.
    package var text: String?
    package var isActive: Bool?
    package var isVIP: Bool?
    package var minAppointments: Int64?
    package var maxAppointments: Int64?
    /// In tenths of a point.
    package var minScore: Int64?
    package var maxScore: Int64?
    package var minSpent: Decimal?
    package var maxSpent: Decimal?
    package var lastFrom: Timestamp?
    package var lastUntil: Timestamp?
    package var createdFrom: Timestamp?
    package var createdUntil: Timestamp?
    /// All of them.
    package var tags: [String] = []
    package var city: String?
    package var state: String?
    package var source: String?
    package var gender: String?
    package var birthMonth: Int?
    package var preferredService: ServiceID?
    package var isRegular: Bool?
    package var hasUpcoming: Bool?
    package var communication: String?
    package var sort = Sort.name
    package var isDescending = false

    package init() {}

    /// The frequency score in tenths, as `ClientMetrics` has it, in the SQL that both stores speak. Takes the present three times.
    private static let score = """
        (COALESCE(steady_score, 0) + CASE WHEN last_visit_ms IS NULL THEN 0 WHEN ? - last_visit_ms <= \(ClientMetrics.freshFor) THEN \(ClientMetrics.recencyTenths) \
        WHEN ? - last_visit_ms >= \(ClientMetrics.forgottenAfter) THEN 0 \
        ELSE \(ClientMetrics.recencyTenths) * (\(ClientMetrics.forgottenAfter) - (? - last_visit_ms)) / \(ClientMetrics.forgottenAfter - ClientMetrics.freshFor) END)
        """
    private static let regular = "COALESCE(visits, 0) >= \(ClientMetrics.regularVisits) AND ? - last_visit_ms < \(ClientMetrics.regularWithin)"
    private static let upcoming = """
        EXISTS (SELECT 1 FROM appointments a WHERE a.tenant_id = clients.tenant_id AND a.client_id = clients.id AND a.start_time > ? \
        AND a.status IN ('pending', 'confirmed'))
        """
    /// Exact in Postgres; in the embedded store, which keeps numbers as text, to fifteen digits.
    private static let spent = "CAST(total_spent AS NUMERIC)"

    static func scored(at now: Timestamp) -> (sql: String, arguments: [SQLValue]) {
        (score, Array(repeating: .integer(now.milliseconds), count: 3))
    }
    static func regular(at now: Timestamp) -> (sql: String, arguments: [SQLValue]) { (regular, [.integer(now.milliseconds)]) }

    /// `WHERE …`, in the SQL that both stores speak.
    func condition(of tenant: TenantID, at now: Timestamp) -> (sql: String, arguments: [SQLValue]) {
        var conditions = ["tenant_id = ? AND removed_at IS NULL AND merged_into IS NULL"]
        var arguments: [SQLValue] = [.id(tenant)]
        func add(_ condition: String, _ values: SQLValue...) {
            conditions.append(condition)
            arguments += values
        }
        if let text {
            let key = Self.isNumber(text) ? PhoneNumber.canonical(text) : nil
            conditions.append("(search_text LIKE ? ESCAPE '\\'\(key == nil ? "" : " OR found_by = ?"))")
            arguments += [.text(Self.pattern(text))] + (key.map { [.text($0)] } ?? [])
        }
        if let isActive { add("COALESCE(is_active, TRUE) = ?", .boolean(isActive)) }
        if let isVIP { add("COALESCE(is_vip, FALSE) = ?", .boolean(isVIP)) }
        if let minAppointments { add("COALESCE(total_appointments, 0) >= ?", .integer(minAppointments)) }
        if let maxAppointments { add("COALESCE(total_appointments, 0) <= ?", .integer(maxAppointments)) }
        let present = SQLValue.integer(now.milliseconds)
        if let minScore { add("\(Self.score) >= ?", present, present, present, .integer(minScore)) }
        if let maxScore { add("\(Self.score) <= ?", present, present, present, .integer(maxScore)) }
        if let minSpent { add("\(Self.spent) >= CAST(? AS NUMERIC)", .numeric(minSpent)) }
        if let maxSpent { add("\(Self.spent) <= CAST(? AS NUMERIC)", .numeric(maxSpent)) }
        if let lastFrom { add("last_appointment_at >= ?", .timestamp(lastFrom)) }
        if let lastUntil { add("last_appointment_at < ?", .timestamp(lastUntil)) }
        if let createdFrom { add("created_at >= ?", .timestamp(createdFrom)) }
        if let createdUntil { add("created_at < ?", .timestamp(createdUntil)) }
        // Of Postgres; the embedded store has one of the same name.
        for tag in tags { add("array_position(tags, ?) IS NOT NULL", .text(tag)) }
        if let preferredService { add("array_position(preferred_services, ?) IS NOT NULL", .text(preferredService.description)) }
        for (column, value) in [("city", city), ("state", state), ("gender", gender)] {
            if let value { add("\(SearchText.sql(column)) = ?", .text(SearchText.folded(value))) }
        }
        if let source { add("source = ?", .text(source)) }
        if let communication { add("COALESCE(communication_preference, 'whatsapp') = ?", .text(communication)) }
        if let birthMonth { add("SUBSTR(birth_date, 6, 2) = ?", .text(birthMonth < 10 ? "0\(birthMonth)" : "\(birthMonth)")) }
        if let isRegular { add(isRegular ? "(\(Self.regular))" : "NOT COALESCE((\(Self.regular)), FALSE)", present) }
        if let hasUpcoming { add(hasUpcoming ? Self.upcoming : "NOT \(Self.upcoming)", .timestamp(now)) }
        return ("WHERE " + conditions.joined(separator: " AND "), arguments)
    }

    /// Ends with what is different for any two, so that nobody is on two pages or on none; who has nothing of it comes last.
    func order(at now: Timestamp) -> (sql: String, arguments: [SQLValue]) {
        let way = isDescending ? "DESC" : "ASC"
        switch sort {
        // It begins with the name, without accents and case.
        case .name: return ("search_text \(way), id \(way)", [])
        case .created, .updated: return ("\(sort.rawValue) \(way), id \(way)", [])
        case .first, .last: return ("CASE WHEN \(sort.rawValue) IS NULL THEN 1 ELSE 0 END, \(sort.rawValue) \(way), id \(way)", [])
        case .appointments: return ("COALESCE(total_appointments, 0) \(way), id \(way)", [])
        case .spent: return ("\(Self.spent) \(way), id \(way)", [])
        case .score:
            let (score, arguments) = Self.scored(at: now)
            return ("\(score) \(way), id \(way)", arguments)
        }
    }

    private static func isNumber(_ text: String) -> Bool {
        text.contains { $0.isASCII && $0.isNumber } && text.allSatisfy { $0.isASCII && ($0.isNumber || " +-().".contains($0)) }
    }

    /// A number is written in many ways, and searched for in one.
    private static func pattern(_ text: String) -> String {
        let wanted = isNumber(text) ? text.filter { $0.isASCII && $0.isNumber } : SearchText.folded(text)
        return "%" + wanted.map { "\\%_".contains($0) ? "\\\($0)" : String($0) }.joined() + "%"
    }
}
