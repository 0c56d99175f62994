import Kernel

// The machine that walks a flow. State of one conversation: `Position`. Input: what the customer wrote. Output: `Reply`.
//
// Order of the rules: words for a person, words for a language, what the node that waits expects (a menu also knows the flow's keywords), then the assistant, and
// else "not understood". Enough misunderstandings in a row hand over, for nobody should have to guess the magic word.

extension BotFlow {
    package func answer(_ input: Input, at position: inout Position, _ context: Context) -> Reply {
        let words = Self.words(of: input.text)
        if asksForAPerson(words) {
            position.misunderstandings = 0
            return Reply(handsOff: true, cause: .asked, reason: "O cliente pediu uma pessoa", language: language(in: words)?.code)
        }
        if let language = language(in: words) {
            position.misunderstandings = 0
            if position.node == nil, nodes[start]?.waits == true { settle(at: start, &position) }
            return Reply(texts: [filled(language.text, position, context)], language: language.code)
        }
        let isFirst = position.node == nil
        switch nodes[position.node ?? start] {
        case .menu(let menu):
            if isFirst { settle(at: start, &position) }
            if let next = target(input, words, in: menu) { return go(to: next, &position, context) }
            if isFirst { return begin(&position, context) }
            if context.canConsult, assistant?.answersUnknown == true { return Reply(consults: true) }
            let again = "\(filled(notUnderstood, position, context))\n\n\(rendered(menu, position, context))"
            return misunderstood(&position, context, again: again, menu.choices)
        case .ask(let question) where !isFirst:
            return answered(question, input, &position, context)
        case .assistant(_, let otherwise) where !isFirst:
            if let next = keyword(words)?.next { return go(to: next, &position, context) }
            if context.canConsult { return Reply(consults: true) }
            guard let otherwise else {
                return Reply(
                    texts: [filled(handOff.text, position, context)],
                    handsOff: true,
                    cause: .assistantAway,
                    reason: "O assistente não pôde responder"
                )
            }
            return go(to: otherwise, &position, context)
        default:
            if let next = keyword(words)?.next { return go(to: next, &position, context) }
            return begin(&position, context)
        }
    }

    /// Whether the words ask for a person: then there is nothing to wait for.
    package func asksForAPerson(_ text: String) -> Bool { asksForAPerson(Self.words(of: text)) }

    private func asksForAPerson(_ words: [String]) -> Bool { words.contains { handOff.words.contains($0) || Self.wordsForAPerson.contains($0) } }

    private func begin(_ position: inout Position, _ context: Context) -> Reply {
        var opening = greeting.map { [filled($0, position, context)] } ?? []
        var first = start
        if let hours, !(hours.weekly.map { hours.isOpen(at: context.now, $0) } ?? context.isOpen) {
            opening.append(filled(hours.closedText, position, context))
            first = hours.closed ?? start
        }
        var reply = go(to: first, &position, context)
        // The greeting and what comes first are one message.
        let together = (opening + reply.texts.prefix(1)).joined(separator: "\n\n")
        reply.texts = (together.isEmpty ? [] : [together]) + reply.texts.dropFirst()
        return reply
    }

    /// Says and does what lies on the way to the next node that waits.
    private func go(to first: String, _ position: inout Position, _ context: Context) -> Reply {
        var reply = Reply()
        var id = first
        // Checked flows have no loops without input; a bound costs nothing.
        for _ in 0...nodes.count {
            switch nodes[id] {
            case .say(let text, let next):
                reply.texts.append(filled(text, position, context))
                guard let next else {
                    settle(at: position.menu ?? start, &position)
                    return reply
                }
                id = next
            case .menu(let menu):
                reply.texts.append(rendered(menu, position, context))
                reply.choices = menu.choices
                settle(at: id, &position)
                return reply
            case .ask(let question):
                reply.texts.append(rendered(question, question.text, position, context))
                reply.choices = question.choices
                settle(at: id, &position)
                return reply
            case .branch(let variable, let cases, let otherwise):
                let value = position.variables[variable] ?? variables[variable]
                id = cases.first { $0.equals == value }?.next ?? otherwise
            case .assistant(let text, let otherwise):
                settle(at: id, &position)
                if !context.canConsult {
                    if let otherwise {
                        id = otherwise
                        continue
                    }
                    reply.texts.append(filled(handOff.text, position, context))
                    reply.handsOff = true
                    reply.cause = .assistantAway
                    reply.reason = "O assistente não está disponível"
                    return reply
                }
                if let text { reply.texts.append(filled(text, position, context)) }
                return reply
            case .handOff(let text, let reason):
                if let text { reply.texts.append(filled(text, position, context)) }
                reply.handsOff = true
                reply.reason = reason
                position.misunderstandings = 0
                return reply
            case nil:
                reply.handsOff = true
                return reply
            }
        }
        reply.handsOff = true
        return reply
    }

    private func settle(at id: String, _ position: inout Position) {
        position.misunderstandings = 0
        guard let node = nodes[id], node.waits else {
            // Where the flow begins nothing waits: the next message begins it anew.
            position.node = nil
            return
        }
        position.node = id
        if case .menu = node { position.menu = id }
    }

    private func misunderstood(_ position: inout Position, _ context: Context, again text: String, _ choices: [Choice]) -> Reply {
        position.misunderstandings += 1
        if position.misunderstandings >= handOff.afterMisunderstandings {
            position.misunderstandings = 0
            return Reply(
                texts: [filled(handOff.text, position, context)],
                handsOff: true,
                cause: .misunderstood,
                reason: "O bot não entendeu o cliente"
            )
        }
        return Reply(texts: [text], choices: choices)
    }

    private func answered(_ question: Question, _ input: Input, _ position: inout Position, _ context: Context) -> Reply {
        if let value = question.expected.value(of: input) {
            position.variables[question.variable] = value
            return go(to: question.next, &position, context)
        }
        position.misunderstandings += 1
        guard position.misunderstandings > question.retries else {
            let again = rendered(question, question.retryText ?? question.expected.complaint, position, context)
            return Reply(texts: [again], choices: question.choices)
        }
        position.misunderstandings = 0
        guard let otherwise = question.otherwise else {
            return Reply(
                texts: [filled(handOff.text, position, context)],
                handsOff: true,
                cause: .answersRefused,
                reason: "As respostas do cliente não foram aceitas"
            )
        }
        return go(to: otherwise, &position, context)
    }

    // MARK: What was meant

    private func language(in words: [String]) -> Language? { languages.first { language in words.contains { language.words.contains($0) } } }

    private func target(_ input: Input, _ words: [String], in menu: Menu) -> String? {
        if let choice = input.choice, let option = menu.options.first(where: { $0.key == choice }) { return option.next }
        // `1`, ` 1. `, `*1*`: a number whatever stands around it.
        if words.count == 1, let option = menu.options.first(where: { Self.words(of: $0.key) == words }) { return option.next }
        if let option = menu.options.first(where: { Self.words(of: $0.title) == words }) { return option.next }
        let sentence = Self.sentence(words)
        if let option = menu.options.first(where: { $0.keywords.contains { sentence.contains(Self.sentence(Self.words(of: $0))) } }) {
            return option.next
        }
        return keyword(words)?.next
    }

    private func keyword(_ words: [String]) -> Keyword? {
        let sentence = Self.sentence(words)
        return keywords.first { $0.words.contains { sentence.contains(Self.sentence(Self.words(of: $0))) } }
    }

    private static func sentence(_ words: [String]) -> String { " " + words.joined(separator: " ") + " " }

    // MARK: What it says

    func rendered(_ menu: Menu, _ position: Position, _ context: Context) -> String {
        var text = filled(menu.text, position, context)
        if !menu.isTapped { text += "\n" + menu.options.map { "\($0.key) - \($0.title)" }.joined(separator: "\n") }
        if let footer = menu.footer { text += "\n\n" + filled(footer, position, context) }
        return text
    }

    private func rendered(_ question: Question, _ text: String, _ position: Position, _ context: Context) -> String {
        filled(text, position, context) + (question.isTapped ? "" : question.expected.choicesText)
    }

    /// Variables that every flow has.
    static let ownVariables: Set<String> = ["nome"]

    /// A text with its `{{variables}}` filled in.
    func filled(_ text: String, _ position: Position, _ context: Context) -> String {
        guard text.contains("{{") else { return text }
        var result = ""
        var rest = text[...]
        while let open = rest.firstRange(of: "{{"), let close = rest[open.upperBound...].firstRange(of: "}}") {
            result += rest[..<open.lowerBound]
            let name = Self.trimmed(rest[open.upperBound..<close.lowerBound])
            result += position.variables[name] ?? variables[name] ?? (name == "nome" ? context.contactName : "")
            rest = rest[close.upperBound...]
        }
        return result + rest
    }

    /// The names between double braces.
    static func variableNames(in text: String) -> [String] {
        var names: [String] = []
        var rest = text[...]
        while let open = rest.firstRange(of: "{{"), let close = rest[open.upperBound...].firstRange(of: "}}") {
            names.append(trimmed(rest[open.upperBound..<close.lowerBound]))
            rest = rest[close.upperBound...]
        }
        return names
    }

    private static func trimmed(_ text: Substring) -> String { text.split(separator: " ").joined(separator: " ") }

    package static func handOffNotice(protocolo: String, position: Int, language: String) -> String {
        switch language {
        case "en": "Your protocol number is \(protocolo). You are number \(position) in line; someone will be with you shortly."
        case "es": "Su protocolo es \(protocolo). Usted es el número \(position) en la fila; pronto le atenderemos."
        default: "Seu protocolo é \(protocolo). Você é o número \(position) da fila; já vamos atender você."
        }
    }

    // MARK: Words

    /// Lower-case words without accents: `"É o Atendente?"` gives `["e", "o", "atendente"]`.
    static func words(of text: String) -> [String] {
        var words: [String] = []
        var word = ""
        for scalar in text.prefix(4096).lowercased().unicodeScalars {
            if let plain = plainLetters[scalar] {
                word.append(plain)
            } else if scalar.properties.isAlphabetic || scalar.properties.numericType != nil {
                word.unicodeScalars.append(scalar)
            } else if scalar.properties.generalCategory != .nonspacingMark, scalar.properties.generalCategory != .enclosingMark, !word.isEmpty {
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
}

extension BotFlow.Menu {
    var choices: [BotFlow.Choice] { isTapped ? options.map { .init(id: $0.key, title: $0.title) } : [] }
}

extension BotFlow.Question {
    var choices: [BotFlow.Choice] {
        guard isTapped, case .choice(let choices) = expected else { return [] }
        return choices.map { .init(id: $0.value, title: $0.title) }
    }
}
