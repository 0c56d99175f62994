/// What a question takes for an answer, and how the answer is kept.
package enum ExpectedAnswer: Sendable, Equatable {
    package struct Choice: Sendable, Equatable {
        package let value: String
        package let title: String
        package let keywords: [String]
    }

    case text(min: Int, max: Int)
    /// Kept with a point: `1234.5`.
    case number(min: Double, max: Double)
    /// Kept as eleven digits.
    case cpf
    case email
    /// Kept as `2026-03-31`.
    case date
    case choice([Choice])

    /// The answer as it is kept; `nil` when it is none.
    func value(of input: BotFlow.Input) -> String? {
        let text = Self.trimmed(input.text)
        switch self {
        case .text(let min, let max): return (min...max).contains(text.unicodeScalars.count) ? text : nil
        case .number(let min, let max):
            guard let number = Self.number(text), let value = Double(number), value >= min, value <= max else { return nil }
            return number
        case .cpf: return Self.cpf(text)
        case .email: return Self.email(text)
        case .date: return Self.date(text)
        case .choice(let choices):
            if let id = input.choice, let choice = choices.first(where: { $0.value == id }) { return choice.value }
            let words = BotFlow.words(of: text)
            if words.count == 1, let number = Int(words[0]), choices.indices.contains(number - 1) { return choices[number - 1].value }
            return choices.first { choice in ([choice.title] + choice.keywords).contains { BotFlow.words(of: $0) == words } }?.value
        }
    }

    /// What a customer is told whose answer is none.
    var complaint: String {
        switch self {
        case .text(let min, let max): "A resposta deve ter de \(min) a \(max) caracteres. Pode escrever de novo?"
        case .number: "Não reconheci um número. Pode escrever só o número?"
        case .cpf: "Este CPF não confere. Pode conferir os 11 dígitos e enviar de novo?"
        case .email: "Este e-mail não parece certo. Pode enviar de novo, como nome@exemplo.com?"
        case .date: "Não reconheci a data. Pode escrever como 31/12/2026?"
        case .choice: "Escolha uma das opções:"
        }
    }

    /// The choices, to be put under a question.
    var choicesText: String {
        guard case .choice(let choices) = self else { return "" }
        return "\n" + choices.enumerated().map { "\($0.offset + 1) - \($0.element.title)" }.joined(separator: "\n")
    }

    // MARK: Kinds

    /// `1.234,56` and `1234.56` are the same number. A single point with three digits behind it stands between thousands, as Brazilians write.
    private static func number(_ text: String) -> String? {
        var digits = text.filter { !" R$".contains($0) }
        let isNegative = digits.first == "-"
        if isNegative { digits.removeFirst() }
        if digits.contains(",") {
            guard digits.filter({ $0 == "," }).count == 1 else { return nil }
            digits = String(digits.filter { $0 != "." }.map { $0 == "," ? "." : $0 })
        } else {
            let groups: [Substring] = digits.split(separator: Character("."), omittingEmptySubsequences: false)
            if groups.dropFirst().allSatisfy({ $0.count == 3 }) { digits = groups.joined() }
        }
        let parts = digits.split(separator: ".", omittingEmptySubsequences: false)
        guard parts.count <= 2, parts.allSatisfy({ !$0.isEmpty && $0.utf8.allSatisfy { (0x30...0x39).contains($0) } }), digits.utf8.count <= 18 else {
            return nil
        }
        return (isNegative ? "-" : "") + digits
    }

    /// Receita Federal's check digits: each the sum of the digits before it by falling weights, times ten, modulo eleven.
    private static func cpf(_ text: String) -> String? {
        let digits = text.utf8.filter { (0x30...0x39).contains($0) }.map { Int($0) - 0x30 }
        guard digits.count == 11, Set(digits).count > 1 else { return nil }
        for length in [9, 10] {
            let sum = digits.prefix(length).enumerated().reduce(0) { $0 + $1.element * (length + 1 - $1.offset) }
            guard sum * 10 % 11 % 10 == digits[length] else { return nil }
        }
        return digits.map(String.init).joined()
    }

    private static func email(_ text: String) -> String? {
        let parts = text.split(separator: "@", omittingEmptySubsequences: false)
        guard parts.count == 2, !parts[0].isEmpty, text.utf8.count <= 254,
            text.unicodeScalars.allSatisfy({ !$0.properties.isWhitespace && $0.value >= 0x21 && !"<>,;\"()".unicodeScalars.contains($0) })
        else { return nil }
        let labels = parts[1].split(separator: ".", omittingEmptySubsequences: false)
        guard labels.count >= 2, labels.allSatisfy({ !$0.isEmpty && $0.first != "-" && $0.last != "-" }) else { return nil }
        return "\(parts[0])@\(parts[1].lowercased())"
    }

    /// `31/12/2026`, `31-12-2026`, `31.12.2026` or `2026-12-31`.
    private static func date(_ text: String) -> String? {
        let parts = text.split(whereSeparator: { "/-. ".contains($0) })
        guard parts.count == 3, parts.allSatisfy({ $0.utf8.allSatisfy { (0x30...0x39).contains($0) } }) else { return nil }
        let numbers = parts.compactMap { Int($0) }
        guard numbers.count == 3 else { return nil }
        let (year, month, day) = parts[0].count == 4 ? (numbers[0], numbers[1], numbers[2]) : (numbers[2], numbers[1], numbers[0])
        guard (1900...2200).contains(year), (1...12).contains(month) else { return nil }
        let isLeap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0)
        let days = [31, isLeap ? 29 : 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31][month - 1]
        guard (1...days).contains(day) else { return nil }
        func two(_ number: Int) -> String { number < 10 ? "0\(number)" : "\(number)" }
        return "\(year)-\(two(month))-\(two(day))"
    }

    private static func trimmed(_ text: String) -> String {
        var scalars = Substring(text).unicodeScalars
        while scalars.first?.properties.isWhitespace == true { scalars.removeFirst() }
        while scalars.last?.properties.isWhitespace == true { scalars.removeLast() }
        return String(scalars)
    }
}
