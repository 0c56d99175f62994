import Wire

// The machine of the rule-based bot: a menu, keywords, and a way out to a person that always works.
//
// State of one conversation: `Position` (greeted or not, misunderstandings in a row). Input: what the customer wrote. Output: what to say, and
// whether to hand the conversation to a person.
//
// Order of the rules: words for a person, words for a language, the menu's numbers and keywords, and else "not understood" with the menu; the third
// misunderstanding in a row hands over, for nobody should have to guess the magic word.

/// A business's bot, as data.
package struct BotFlow: Sendable {
    package struct Option: Sendable {
        package let number: Int
        package let title: String
        package let keywords: [String]
        /// `nil`: this option is the way to a person.
        package let answer: String?
    }

    package struct Position: Sendable, Equatable {
        package var hasGreeted = false
        package var misunderstandings = 0

        package init() {}
    }

    package struct Reply: Sendable, Equatable {
        package var texts: [String] = []
        package var handsOff = false
        /// The language to go on in.
        package var language: String?
    }

    package let businessName: String
    package let options: [Option]
    package let wordsForAPerson: Set<String>
    package let wordsForALanguage: [String: String]

    package static let misunderstandingsBeforeHandOff = 3

    /// The flow of a business that has not made its own.
    package static func standard(businessName: String) -> BotFlow {
        BotFlow(
            businessName: businessName,
            options: [
                Option(
                    number: 1,
                    title: "Planos e preços",
                    keywords: ["plano", "planos", "preco", "precos", "valor", "valores"],
                    answer: "Temos planos a partir de 300 mega. Um atendente pode montar a melhor proposta para o seu endereço: digite *atendente*."
                ),
                Option(
                    number: 2,
                    title: "Segunda via da fatura",
                    keywords: ["fatura", "boleto", "segunda via", "pagamento", "conta"],
                    answer: "A segunda via da fatura fica na área do cliente, em Financeiro > Faturas. Se preferir, digite *atendente*."
                ),
                Option(
                    number: 3,
                    title: "Suporte técnico",
                    keywords: ["suporte", "lento", "lenta", "sem internet", "caiu", "problema"],
                    answer: "Desligue o roteador da tomada por 30 segundos e ligue de novo. Se não resolver, digite *atendente*."
                ),
                Option(number: 4, title: "Falar com um atendente", keywords: [], answer: nil),
            ],
            wordsForAPerson: [
                "atendente", "atendentes", "atendimento", "humano", "pessoa", "consultor", "agent", "human", "person", "agente", "persona",
            ],
            wordsForALanguage: ["english": "en", "espanol": "es", "portugues": "pt"]
        )
    }

    // MARK: What the customer wrote

    package func answer(to text: String, at position: inout Position) -> Reply {
        let words = Self.words(of: text)
        let isFirst = !position.hasGreeted
        position.hasGreeted = true

        if words.contains(where: wordsForAPerson.contains) {
            position.misunderstandings = 0
            return Reply(handsOff: true, language: language(in: words))
        }
        if let language = language(in: words) {
            position.misunderstandings = 0
            return Reply(texts: [Self.languageIsSet[language] ?? menu], language: language)
        }
        if let option = option(for: words) {
            position.misunderstandings = 0
            guard let answer = option.answer else { return Reply(handsOff: true) }
            return Reply(texts: [answer])
        }
        if isFirst { return Reply(texts: [greeting]) }
        position.misunderstandings += 1
        if position.misunderstandings >= Self.misunderstandingsBeforeHandOff {
            position.misunderstandings = 0
            return Reply(texts: ["Vou chamar uma pessoa para ajudar você."], handsOff: true)
        }
        return Reply(texts: ["Desculpe, não entendi.\n\n" + menu])
    }

    /// Something other than text arrived, which this bot cannot read.
    package func answerToMedia(at position: inout Position) -> Reply { answer(to: "", at: &position) }

    private func language(in words: [String]) -> String? { words.lazy.compactMap { wordsForALanguage[$0] }.first }

    private func option(for words: [String]) -> Option? {
        if words.count == 1, let number = Int(words[0]), let option = options.first(where: { $0.number == number }) { return option }
        let sentence = " " + words.joined(separator: " ") + " "
        return options.first { option in option.keywords.contains { sentence.contains(" \($0) ") } }
    }

    // MARK: What it says

    package var greeting: String { "Olá! Você está falando com \(businessName).\n\n" + menu }

    package var menu: String {
        "Como posso ajudar? Responda com o número:\n" + options.map { "\($0.number) - \($0.title)" }.joined(separator: "\n")
            + "\n\nFor English, type *english*. Para español, escriba *español*."
    }

    private static let languageIsSet = [
        "en": "Sure, let's continue in English. Type *human* to talk to a person.",
        "es": "Claro, seguimos en español. Escriba *agente* para hablar con una persona.",
        "pt": "Certo, seguimos em português. Digite *atendente* para falar com uma pessoa.",
    ]

    package static func handOffNotice(protocolo: String, position: Int, language: String) -> String {
        switch language {
        case "en": "Your protocol number is \(protocolo). You are number \(position) in line; someone will be with you shortly."
        case "es": "Su protocolo es \(protocolo). Usted es el número \(position) en la fila; pronto le atenderemos."
        default: "Seu protocolo é \(protocolo). Você é o número \(position) da fila; já vamos atender você."
        }
    }

    /// Lower-case words without accents: `"É o Atendente?"` gives `["e", "o", "atendente"]`.
    static func words(of text: String) -> [String] {
        var words: [String] = []
        var word = ""
        for scalar in text.prefix(4096).lowercased().unicodeScalars {
            if let plain = plainLetters[scalar] {
                word.append(plain)
            } else if scalar.properties.isAlphabetic || scalar.properties.numericType != nil {
                word.unicodeScalars.append(scalar)
            } else if scalar.properties.generalCategory != .nonspacingMark, !word.isEmpty {
                words.append(word)
                word = ""
            }
        }
        if !word.isEmpty { words.append(word) }
        return words
    }

    private static let plainLetters: [Unicode.Scalar: Character] = {
        var letters: [Unicode.Scalar: Character] = [:]
        for (plain, accented) in [("a", "áàâãä"), ("e", "éèêë"), ("i", "íìîï"), ("o", "óòôõö"), ("u", "úùûü"), ("c", "ç"), ("n", "ñ")] {
            for scalar in accented.unicodeScalars { letters[scalar] = Character(plain) }
        }
        return letters
    }()

    // MARK: Stored

    package static func json(of position: Position) -> String {
        (["greeted": .bool(position.hasGreeted), "misunderstandings": .int(Int64(position.misunderstandings))] as JSON).text
    }

    package static func position(fromJSON text: String) -> Position {
        let json = try? JSON.parse(text)
        var position = Position()
        position.hasGreeted = json?["greeted"]?.bool ?? false
        position.misunderstandings = Int(json?["misunderstandings"]?.int ?? 0)
        return position
    }
}
