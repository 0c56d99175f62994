package import Kernel
package import Wire

/// Reads the fields of a request's body, and collects what is wrong with all of them before it refuses: 422 in FastAPI's list form.
package struct RequestFields {
    private let members: JSON
    private let location: [String]
    private var errors: [Refusal.Field] = []

    /// - Parameter json: `nil` or null for a body that was left out, which is an object without members.
    package init(_ json: JSON?, location: String = "body") throws(Refusal) { try self.init(json, at: [location]) }

    /// - Parameter location: where the object lies, such as `body`, `3` for the fourth of a list.
    package init(_ json: JSON?, at location: [String]) throws(Refusal) {
        switch json {
        case nil, .null?: members = .emptyObject
        case .object?: members = json ?? .null
        default: throw .invalid([.init(location, "deve ser um objeto JSON", type: "model_type")])
        }
        self.location = location
    }

    package mutating func refuse(_ name: String, _ message: String, type: String = "value_error") {
        errors.append(.init(location + [name], message, type: type))
    }

    /// What was wrong so far.
    package var faults: [Refusal.Field] { errors }

    /// To be called once everything was read.
    /// - Throws: a 422 that names every field at fault.
    package func check() throws(Refusal) { if !errors.isEmpty { throw .invalid(errors) } }

    /// Whether the client named the field at all, be it as null.
    package func has(_ name: String) -> Bool { members[name] != nil }

    private func value(_ name: String) -> JSON? { members[name].flatMap { $0.isNull ? nil : $0 } }

    /// What the client gave, for what has a form of its own. `nil` for nothing and for null.
    package func json(_ name: String) -> JSON? { value(name) }

    // MARK: Optional

    package mutating func optionalText(_ name: String, min: Int = 0, max: Int) -> String? {
        guard let value = value(name) else { return nil }
        guard let text = value.string else {
            refuse(name, "deve ser um texto", type: "string_type")
            return nil
        }
        // SQLite and Postgres end a text at NUL; nobody types one.
        guard !text.utf8.contains(0) else {
            refuse(name, "não pode conter o caractere NUL", type: "string_invalid")
            return nil
        }
        let isBlank = text.unicodeScalars.allSatisfy(\.properties.isWhitespace)
        guard !(min > 0 && isBlank), text.count >= min else {
            refuse(name, min == 1 ? "não pode ser vazio" : "deve ter pelo menos \(min) caracteres", type: "string_too_short")
            return nil
        }
        // Counted in Unicode scalars: what looks like one character may be made of any number of them.
        guard text.unicodeScalars.count <= max else {
            refuse(name, "deve ter no máximo \(max) caracteres", type: "string_too_long")
            return nil
        }
        return text
    }

    package mutating func optionalInteger(_ name: String, in range: ClosedRange<Int64>) -> Int64? {
        guard let value = value(name) else { return nil }
        // 12.0 is a whole number, as JavaScript and pydantic have it.
        guard let number = Self.whole(value) else {
            refuse(name, "deve ser um número inteiro", type: "int_type")
            return nil
        }
        guard range.contains(number) else {
            refuse(
                name,
                "deve estar entre \(range.lowerBound) e \(range.upperBound)",
                type: number < range.lowerBound ? "greater_than_equal" : "less_than_equal"
            )
            return nil
        }
        return number
    }

    private static func whole(_ value: JSON) -> Int64? {
        switch value {
        case .int(let number): number
        case .double(let number): Int64(exactly: number)
        default: nil
        }
    }

    package mutating func optionalBool(_ name: String) -> Bool? {
        guard let value = value(name) else { return nil }
        guard let flag = value.bool else {
            refuse(name, "deve ser true ou false", type: "bool_type")
            return nil
        }
        return flag
    }

    package mutating func optionalTexts(_ name: String, maxCount: Int, maxLength: Int) -> [String]? {
        guard let value = value(name) else { return nil }
        guard let elements = value.array, elements.allSatisfy({ $0.string != nil }) else {
            refuse(name, "deve ser uma lista de textos", type: "list_type")
            return nil
        }
        let texts = elements.compactMap(\.string)
        guard texts.count <= maxCount else {
            refuse(name, "deve ter no máximo \(maxCount) itens", type: "too_long")
            return nil
        }
        guard texts.allSatisfy({ !$0.isEmpty && $0.unicodeScalars.count <= maxLength && !$0.utf8.contains(0) }) else {
            refuse(name, "cada item deve ter de 1 a \(maxLength) caracteres", type: "string_length")
            return nil
        }
        return texts
    }

    package mutating func optionalIntegers(_ name: String, maxCount: Int) -> [Int64]? {
        guard let value = value(name) else { return nil }
        let numbers = value.array?.compactMap(\.int)
        guard let numbers, numbers.count == value.array?.count, numbers.count <= maxCount else {
            refuse(name, "deve ser uma lista de no máximo \(maxCount) números inteiros", type: "list_type")
            return nil
        }
        return numbers
    }

    package mutating func optionalTime(_ name: String) -> Timestamp? {
        guard let text = optionalText(name, max: 64) else { return nil }
        guard let time = Timestamp(rfc3339: text) else {
            refuse(name, "deve ser uma data e hora em RFC 3339, como 2026-03-01T09:30:00-03:00", type: "datetime_parsing")
            return nil
        }
        return time
    }

    /// A number, or the digits of one: as other systems' exports have them.
    package mutating func optionalNumber(_ name: String, in range: ClosedRange<Int64>) -> Int64? {
        let text: String
        switch value(name) {
        case .string(let given)?: text = given
        // `2.00`, as a database's exact numbers come.
        case .double(let given)?: text = Int64(exactly: given).map { String($0) } ?? given.description
        default: return optionalInteger(name, in: range)
        }
        if text.isEmpty { return nil }
        guard let number = Int64(text) else {
            refuse(name, "deve ser um número inteiro", type: "int_parsing")
            return nil
        }
        guard range.contains(number) else {
            refuse(name, "deve estar entre \(range.lowerBound) e \(range.upperBound)", type: "int_range")
            return nil
        }
        return number
    }

    /// The decimal digits of a number, or of a text that is one; the shortest that mean the number that was sent.
    private mutating func decimal(_ name: String) -> String? {
        switch value(name) {
        case .int(let number)?: return String(number)
        // Written with an exponent, it is smaller than any centavo or larger than any amount.
        case .double(let number)? where number.magnitude < 1e-4: return "0"
        case .double(let number)?: return number.description
        case .string(let text)?: return text
        case nil: return nil
        default: return ""
        }
    }

    package mutating func optionalMoney(_ name: String) -> Money? {
        guard let text = decimal(name) else { return nil }
        guard let amount = Money(decimal: text), amount >= .zero else {
            refuse(name, "deve ser um valor de 0 a \(Money.max), como 299.90", type: "decimal_parsing")
            return nil
        }
        return amount
    }

    package mutating func optionalPercentage(_ name: String) -> Percentage? {
        guard let value = value(name) else { return nil }
        guard let percentage = Self.percentage(value) else {
            refuse(name, "deve ser um percentual de 0 a 100, com até quatro casas decimais", type: "decimal_range")
            return nil
        }
        return percentage
    }

    package mutating func optionalPercentages(_ name: String, maxCount: Int) -> [Percentage]? {
        guard let value = value(name) else { return nil }
        let percentages = value.array?.map(Self.percentage)
        guard let percentages, !percentages.contains(nil), percentages.count <= maxCount else {
            refuse(name, "deve ser uma lista de até \(maxCount) percentuais de 0 a 100, com até quatro casas decimais", type: "list_type")
            return nil
        }
        return percentages.compactMap { $0 }
    }

    private static func percentage(_ value: JSON) -> Percentage? {
        switch value {
        case .int(let number): Percentage(percent: Double(number))
        case .double(let number): Percentage(percent: number)
        case .string(let text): Percentage(decimal: text)
        default: nil
        }
    }

    /// What other systems write where there is no date.
    private static let noDates: Set<String> = ["", "0000-00-00", "0001-01-01", "9999-12-31"]

    /// A date, or a date and time without regard to the zone. An empty one is none, and so are the first and the last day there are.
    package mutating func optionalWallClock(_ name: String) -> Timestamp? {
        guard let text = optionalText(name, max: 64), !Self.noDates.contains(String(text.prefix(10))) else { return nil }
        guard let time = Timestamp(wallClock: text) else {
            refuse(name, "deve ser uma data como 2024-03-15 ou 2024-03-15T10:30:00", type: "datetime_parsing")
            return nil
        }
        guard CivilDate.sane.contains(CivilDate(time)) else {
            refuse(name, "deve ser uma data de 1970 a 2100", type: "datetime_range")
            return nil
        }
        return time
    }

    /// `2024-12`; an empty one is none.
    package mutating func optionalMonth(_ name: String) -> YearMonth? {
        guard let text = optionalText(name, max: 64), !text.isEmpty else { return nil }
        guard let month = YearMonth(text), CivilDate.sane.contains(month.firstDay) else {
            refuse(name, "deve ser um mês como 2024-12", type: "month_parsing")
            return nil
        }
        return month
    }

    // MARK: Required. When they are wrong they stand in for themselves until `check`.

    package mutating func text(_ name: String, min: Int = 1, max: Int) -> String {
        if value(name) == nil { missing(name) }
        return optionalText(name, min: min, max: max) ?? ""
    }
    package mutating func integer(_ name: String, in range: ClosedRange<Int64>) -> Int64 {
        if value(name) == nil { missing(name) }
        return optionalInteger(name, in: range) ?? range.lowerBound
    }
    package mutating func number(_ name: String, in range: ClosedRange<Int64>) -> Int64 {
        if value(name) == nil { missing(name) }
        return optionalNumber(name, in: range) ?? range.lowerBound
    }
    package mutating func bool(_ name: String) -> Bool {
        if value(name) == nil { missing(name) }
        return optionalBool(name) ?? false
    }
    package mutating func texts(_ name: String, maxCount: Int, maxLength: Int) -> [String] {
        if value(name) == nil { missing(name) }
        return optionalTexts(name, maxCount: maxCount, maxLength: maxLength) ?? []
    }
    package mutating func time(_ name: String) -> Timestamp {
        if value(name) == nil { missing(name) }
        return optionalTime(name) ?? Timestamp(milliseconds: 0)
    }

    private mutating func missing(_ name: String) { refuse(name, "campo obrigatório", type: "missing") }
}
