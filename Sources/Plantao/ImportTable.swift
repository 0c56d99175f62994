import Foundation
import Wire

/// The columns that a file may have, and what is meant by what stands in them: as the API has its fields, or as spreadsheets in Brazil write them.
struct ImportTable: Sendable {
    struct Unreadable: Error {
        let reason: String
        init(_ reason: String) { self.reason = reason }
    }

    private let required: [String]
    private let texts: [String]
    private var amounts: [String] = []
    /// As a wall clock shows them.
    private var days: [String] = []
    private var moments: [String] = []
    private var flags: [String] = []

    private var columns: [String] { required + texts + amounts + days + moments + flags }

    static let customers = ImportTable(
        required: ["client_id"],
        texts: [
            "nome", "slug", "razao_social", "cnpj", "vendedor", "vendedor_id", "cs", "status", "pipeline", "email", "motivos_churn",
            "descricao_cancelamento", "parcelas_atrasadas", "vale_desde",
        ],
        amounts: ["valor", "setup_value"],
        days: ["data_adesao", "data_start_onboarding", "data_end_onboarding", "data_cancelamento", "criado_em", "atualizado_em"]
    )
    static let activities = ImportTable(
        required: ["tenant_id", "tipo"],
        texts: ["usuario_nome", "usuario_email", "nome"],
        moments: ["ocorrido_em"],
        flags: ["ativo"]
    )

    private init(
        required: [String],
        texts: [String],
        amounts: [String] = [],
        days: [String] = [],
        moments: [String] = [],
        flags: [String] = []
    ) {
        (self.required, self.texts, self.amounts, self.days, self.moments, self.flags) = (required, texts, amounts, days, moments, flags)
    }

    /// What is wrong with a first line.
    func fault(in names: [String]) -> String? {
        for name in required where !names.contains(name) {
            return "the first line names the columns, and '\(name)' is not among them."
        }
        for (index, name) in names.enumerated() {
            if !columns.contains(name) { return "there is no column '\(name)'; there may be \(columns.joined(separator: ", "))." }
            if names.firstIndex(of: name) != index { return "the column '\(name)' is there twice." }
        }
        return nil
    }

    func object(_ names: [String], _ values: [String]) throws(Unreadable) -> JSON {
        var object = JSON.emptyObject
        for (name, value) in zip(names, values) where !value.isEmpty {
            object = object.adding(name, try json(name, value))
        }
        return object
    }

    private func json(_ name: String, _ value: String) throws(Unreadable) -> JSON {
        if amounts.contains(name) { return .string(try Self.amount(value, name)) }
        if days.contains(name) { return .string(Self.day(value) ?? value) }
        if moments.contains(name) { return .string(Self.moment(value)) }
        guard flags.contains(name) else { return .string(value) }
        switch value.lowercased() {
        case "true", "1", "sim", "s": return true
        case "false", "0", "não", "nao", "n": return false
        default: return .string(value)
        }
    }

    /// `1234.56`, of that or of `1.234,56`, `1,234.56`, `R$ 10`. What may be meant either way is not guessed.
    static func amount(_ value: String, _ name: String) throws(Unreadable) -> String {
        var text = value.filter { !$0.isWhitespace }
        if text.uppercased().hasPrefix("R$") { text = String(text.dropFirst(2)) }
        let marks = text.filter { $0 == "." || $0 == "," }
        guard let last = marks.last, let place = text.lastIndex(of: last) else { return text }
        let isThousands = marks.dropLast().contains(last)
        let decimals = text.distance(from: place, to: text.endIndex) - 1
        let whole = text[..<place]
        if marks.count == 1, decimals == 3, (1...3).contains(whole.count), whole != "0" {
            throw Unreadable(
                "\(name): '\(value)' tanto pode ser milhar como decimal; escreva \(whole)\(text[text.index(after: place)...]),00 ou \(whole).\(text.suffix(decimals).prefix(2))"
            )
        }
        if isThousands { return text.filter { $0 != last } }
        return whole.filter { $0 != "." && $0 != "," } + "." + text[text.index(after: place)...]
    }

    /// `2024-01-31T10:30:00-03:00`, of `31/01/2024 10:30`, `2024-01-31 10:30:00` or one of the days alone: what has no zone is São Paulo's, however it is written. What
    /// has one stays as it is, and so does what is neither.
    static func moment(_ value: String) -> String {
        let text = day(value) ?? value
        guard let date = text.wholeMatch(of: #/([0-9]{4}-[0-9]{2}-[0-9]{2})([T ]([0-9:.]+))?/#) else { return value }
        let time = date.3 ?? "00:00"
        return "\(date.1)T\(time)\(time.utf8.count == 5 ? ":00" : "")-03:00"
    }

    /// `2024-01-31` or `2024-01-31T10:30:00`, of `31/01/2024` and `31/01/2024 10:30`. `nil` for what is written otherwise.
    static func day(_ value: String) -> String? {
        let parts = value.split(separator: " ", maxSplits: 1)
        let numbers = (parts.first ?? "").split(separator: "/", omittingEmptySubsequences: false)
        guard numbers.count == 3, numbers.map(\.utf8.count) == [2, 2, 4] else { return nil }
        let day = "\(numbers[2])-\(numbers[1])-\(numbers[0])"
        guard parts.count == 2 else { return day }
        return "\(day)T\(parts[1])\(parts[1].utf8.count == 5 ? ":00" : "")"
    }
}
