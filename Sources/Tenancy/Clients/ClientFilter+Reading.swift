import Foundation
package import Kernel
import OrderedCollections
package import Scheduling
import Wire

extension ClientFilter {
    /// Reads a filter, of an address or of a body, where everything is text. Dates are days of the business, both inclusive.
    /// - Parameters:
    ///   - location: where its fields lie.
    ///   - value: the text of a field; `nil` for one that is left out.
    /// - Throws: a 422 that names every field at fault.
    package static func read(at location: [String], _ zone: Zone, _ value: @escaping (String) -> String?) throws(Refusal) -> ClientFilter {
        var reader = Reader(location: location, zone: zone, value: value)
        var filter = ClientFilter()
        filter.text = reader.text("query") ?? reader.text("q")
        filter.isActive = reader.flag("is_active")
        filter.isVIP = reader.flag("is_vip")
        filter.minAppointments = reader.integer("min_appointments", in: 0...1_000_000)
        filter.maxAppointments = reader.integer("max_appointments", in: 0...1_000_000)
        // Whoever has exactly that many points fits both.
        filter.minScore = reader.decimal("min_frequency_score", upTo: 100).map { Int64(($0.double * 10).rounded(.up)) }
        filter.maxScore = reader.decimal("max_frequency_score", upTo: 100).map { Int64(($0.double * 10).rounded(.down)) }
        filter.minSpent = reader.decimal("min_spent", upTo: 1_000_000_000_000)
        filter.maxSpent = reader.decimal("max_spent", upTo: 1_000_000_000_000)
        filter.lastFrom = reader.day("last_appointment_from").map(zone.start(of:))
        filter.lastUntil = reader.day("last_appointment_to").map(zone.end(of:))
        filter.createdFrom = reader.day("created_from").map(zone.start(of:))
        filter.createdUntil = reader.day("created_to").map(zone.end(of:))
        filter.tags = (reader.text("tags") ?? "").split(separator: ",").map { $0.trimmed }.filter { !$0.isEmpty }
        if filter.tags.count > 20 { reader.refuse("tags", "no máximo 20 etiquetas", "too_long") }
        filter.city = reader.text("city")
        filter.state = reader.text("state")
        filter.source = reader.text("source")
        filter.gender = reader.text("gender")
        filter.birthMonth = reader.integer("birth_month", in: 1...12).map(Int.init)
        if let text = reader.text("preferred_service") {
            filter.preferredService = ServiceID(text)
            if filter.preferredService == nil { reader.refuse("preferred_service", "deve ser um UUID", "uuid_parsing") }
        }
        filter.isRegular = reader.flag("is_regular_customer")
        filter.hasUpcoming = reader.flag("has_upcoming")
        filter.communication = reader.choice("communication_preference", ClientProfile.Communication.allCases)?.rawValue
        filter.sort = reader.choice("sort_by", ClientFilter.Sort.allCases) ?? .name
        switch reader.text("sort_order") {
        case nil, "asc"?: break
        case "desc"?: filter.isDescending = true
        default: reader.refuse("sort_order", "deve ser asc ou desc", "enum")
        }
        guard reader.errors.isEmpty else { throw .invalid(reader.errors) }
        return filter
    }

    /// The fields there are.
    static let names: Set<String> = [
        "query", "q", "is_active", "is_vip", "min_appointments", "max_appointments", "min_frequency_score", "max_frequency_score", "min_spent",
        "max_spent", "last_appointment_from", "last_appointment_to", "created_from", "created_to", "tags", "city", "state", "source", "gender",
        "birth_month", "preferred_service", "is_regular_customer", "has_upcoming", "communication_preference", "sort_by", "sort_order",
    ]

    /// The filter of a body. A field that there is not would narrow nothing down, and everybody be changed: it is refused.
    static func read(_ json: JSON, _ zone: Zone) throws(Refusal) -> ClientFilter {
        let location = ["body", "filter"]
        guard let members = json.object else { throw .invalid([.init(location, "deve ser um objeto JSON", type: "model_type")]) }
        let unknown = members.keys.filter { !names.contains($0) }
        guard unknown.isEmpty else { throw .invalid(unknown.map { .init(location + [$0], "não é um filtro", type: "extra_forbidden") }) }
        guard !members.isEmpty else { throw .invalid([.init(location, "informe ao menos um filtro", type: "missing")]) }
        return try read(at: location, zone) { name in
            switch members[name] {
            case .string(let text)?: return text.isEmpty ? nil : text
            case .int(let number)?: return String(number)
            case .double(let number)?: return String(number)
            case .bool(let flag)?: return String(flag)
            case .array(let list)?: return list.compactMap(\.string).joined(separator: ",")
            default: return nil
            }
        }
    }

    private struct Reader {
        let location: [String]
        let zone: Zone
        let value: (String) -> String?
        var errors: [Refusal.Field] = []

        init(location: [String], zone: Zone, value: @escaping (String) -> String?) {
            self.location = location
            self.zone = zone
            self.value = value
        }

        mutating func refuse(_ name: String, _ message: String, _ type: String) { errors.append(.init(location + [name], message, type: type)) }

        mutating func text(_ name: String) -> String? {
            guard let text = value(name) else { return nil }
            guard text.utf8.count <= 1000, !text.utf8.contains(0) else {
                refuse(name, "deve ter no máximo 1000 bytes", "string_too_long")
                return nil
            }
            return text
        }

        mutating func flag(_ name: String) -> Bool? {
            guard let text = text(name) else { return nil }
            switch text.lowercased() {
            case "true", "1": return true
            case "false", "0": return false
            default:
                refuse(name, "deve ser true ou false", "bool_parsing")
                return nil
            }
        }

        mutating func integer(_ name: String, in range: ClosedRange<Int64>) -> Int64? {
            guard let text = text(name) else { return nil }
            guard let number = Int64(text), range.contains(number) else {
                refuse(name, "deve ser um inteiro de \(range.lowerBound) a \(range.upperBound)", "int_parsing")
                return nil
            }
            return number
        }

        mutating func decimal(_ name: String, upTo max: Decimal) -> Decimal? {
            guard let text = text(name) else { return nil }
            let isPlain = text.utf8.count <= 24 && text.allSatisfy { $0.isASCII && ($0.isNumber || $0 == ".") }
            guard isPlain, let number = Decimal(string: text), number >= 0, number <= max else {
                refuse(name, "deve ser um número de 0 a \(max)", "float_parsing")
                return nil
            }
            return number
        }

        mutating func day(_ name: String) -> CivilDay? {
            guard let text = text(name) else { return nil }
            if let day = CivilDay(text) { return day }
            guard let time = Timestamp(rfc3339: text) else {
                refuse(name, "deve ser uma data como 2026-03-01", "date_parsing")
                return nil
            }
            return zone.day(of: time)
        }

        mutating func choice<Choice: RawRepresentable<String>>(_ name: String, _ choices: [Choice]) -> Choice? {
            guard let text = text(name) else { return nil }
            guard let choice = Choice(rawValue: text) else {
                refuse(name, "deve ser um destes: \(choices.map(\.rawValue).joined(separator: ", "))", "enum")
                return nil
            }
            return choice
        }
    }
}

extension Decimal {
    fileprivate var double: Double { Double(description) ?? 0 }
}

extension Substring {
    fileprivate var trimmed: String {
        String(drop { $0 == " " }.reversed().drop { $0 == " " }.reversed())
    }
}
