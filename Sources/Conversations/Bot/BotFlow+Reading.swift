package import Kernel
import OrderedCollections
package import Wire

// A flow from its JSON (protocol/README.md "The bot's flow"). Everything that is wrong is collected, each with its place, before it is refused: whoever edits a
// flow wants to hear all of it at once.

extension BotFlow {
    package static let maxNodes = 500
    package static let maxBytes = 256 * 1024

    /// Reads a flow and checks it as a whole.
    /// - Throws: 422 with every fault.
    package static func read(_ json: JSON?, at location: [String] = ["body"]) throws(Refusal) -> BotFlow {
        var reading = FlowReading()
        let flow = reading.flow(json, at: location)
        if let flow, reading.faults.isEmpty { reading.faults += flow.faults(at: location) }
        guard let flow, reading.faults.isEmpty else { throw .invalid(reading.faults) }
        return flow
    }
}

struct FlowReading {
    var faults: [Refusal.Field] = []

    mutating func flow(_ json: JSON?, at path: [String]) -> BotFlow? {
        guard
            let json = object(
                json,
                path,
                known: [
                    "start", "greeting", "not_understood", "nodes", "keywords", "languages", "hand_off", "hours", "variables", "assistant",
                ]
            )
        else { return nil }
        let source = json.text
        if source.utf8.count > BotFlow.maxBytes { fault(path, "deve ter no máximo \(BotFlow.maxBytes) bytes", "too_long") }
        var nodes: [String: BotFlow.Node] = [:]
        if let members = json["nodes"]?.object, !members.isEmpty {
            if members.count > BotFlow.maxNodes { fault(path + ["nodes"], "deve ter no máximo \(BotFlow.maxNodes) nós", "too_long") }
            for (id, node) in members.prefix(BotFlow.maxNodes) {
                let place = path + ["nodes", id]
                if id.isEmpty || id.unicodeScalars.count > 64 { fault(place, "o nome de um nó deve ter de 1 a 64 caracteres", "string_length") }
                nodes[id] = self.node(node, place)
            }
        } else {
            fault(path + ["nodes"], "deve ser um objeto com pelo menos um nó", "missing")
        }
        let flow = BotFlow(
            start: text(json, "start", path, max: 64),
            greeting: optionalText(json, "greeting", path),
            notUnderstood: optionalText(json, "not_understood", path) ?? "Desculpe, não entendi.",
            nodes: nodes,
            keywords: list(json, "keywords", path, max: 200).map { item, place in
                let item = object(item, place, known: ["words", "next"]) ?? .emptyObject
                return BotFlow.Keyword(words: words(item, "words", place, isRequired: true), next: text(item, "next", place, max: 64))
            },
            languages: list(json, "languages", path, max: 20).map { item, place in
                let item = object(item, place, known: ["words", "code", "text"]) ?? .emptyObject
                return BotFlow.Language(
                    words: words(item, "words", place, isRequired: true).flatMap(BotFlow.words),
                    code: text(item, "code", place, max: 8),
                    text: text(item, "text", place)
                )
            },
            handOff: handOff(json["hand_off"], path + ["hand_off"]),
            hours: json["hours"].flatMap { $0.isNull ? nil : hours($0, path + ["hours"]) },
            variables: variables(json["variables"], path + ["variables"]),
            assistant: json["assistant"].flatMap { $0.isNull ? nil : assistant($0, path + ["assistant"]) },
            json: source
        )
        return flow
    }

    // MARK: Parts

    private mutating func node(_ json: JSON, _ path: [String]) -> BotFlow.Node? {
        guard json.object != nil else {
            fault(path, "deve ser um objeto", "model_type")
            return nil
        }
        switch json["kind"]?.string {
        case "say":
            known(json, ["kind", "text", "next"], path)
            return .say(text: text(json, "text", path), next: optionalText(json, "next", path, max: 64))
        case "menu":
            known(json, ["kind", "text", "options", "footer", "tapped"], path)
            let options = list(json, "options", path, max: 30).map { item, place in
                let item = object(item, place, known: ["key", "title", "keywords", "next"]) ?? .emptyObject
                return BotFlow.Option(
                    key: text(item, "key", place, max: 64),
                    title: text(item, "title", place, max: 200),
                    keywords: words(item, "keywords", place),
                    next: text(item, "next", place, max: 64)
                )
            }
            if options.isEmpty { fault(path + ["options"], "um menu precisa de pelo menos uma opção", "missing") }
            for (index, option) in options.enumerated() where options[..<index].contains(where: { $0.key == option.key }) {
                fault(path + ["options", String(index), "key"], "outra opção já usa '\(option.key)'", "duplicate")
            }
            return .menu(
                BotFlow.Menu(
                    text: text(json, "text", path),
                    options: options,
                    footer: optionalText(json, "footer", path),
                    isTapped: tapped(json, options.map(\.title), path + ["options"], path)
                )
            )
        case "ask":
            known(json, ["kind", "text", "variable", "answer", "retries", "retry_text", "next", "otherwise", "tapped"], path)
            let expected = answer(json["answer"], path + ["answer"])
            var titles: [String] = []
            if case .choice(let choices) = expected { titles = choices.map(\.title) }
            return .ask(
                BotFlow.Question(
                    text: text(json, "text", path),
                    variable: text(json, "variable", path, max: 64),
                    expected: expected,
                    isTapped: tapped(json, titles, path + ["answer", "choices"], path),
                    retries: integer(json, "retries", path, in: 0...10) ?? 2,
                    retryText: optionalText(json, "retry_text", path),
                    next: text(json, "next", path, max: 64),
                    otherwise: optionalText(json, "otherwise", path, max: 64)
                )
            )
        case "branch":
            known(json, ["kind", "variable", "cases", "otherwise"], path)
            return .branch(
                variable: text(json, "variable", path, max: 64),
                cases: list(json, "cases", path, max: 50).map { item, place in
                    let item = object(item, place, known: ["equals", "next"]) ?? .emptyObject
                    return BotFlow.Node.Case(equals: text(item, "equals", place, max: 200), next: text(item, "next", place, max: 64))
                },
                otherwise: text(json, "otherwise", path, max: 64)
            )
        case "assistant":
            known(json, ["kind", "text", "otherwise"], path)
            return .assistant(text: optionalText(json, "text", path), otherwise: optionalText(json, "otherwise", path, max: 64))
        case "hand_off":
            known(json, ["kind", "text", "reason"], path)
            return .handOff(text: optionalText(json, "text", path), reason: optionalText(json, "reason", path, max: 200))
        default:
            fault(path + ["kind"], "deve ser um destes: say, menu, ask, branch, assistant, hand_off", "enum")
            return nil
        }
    }

    /// Whether what there is to choose from is tapped; what WhatsApp would not take for a button or a row is told.
    private mutating func tapped(_ json: JSON, _ titles: [String], _ place: [String], _ path: [String]) -> Bool {
        if let value = json["tapped"], !value.isNull, value.bool == nil { fault(path + ["tapped"], "deve ser true ou false", "bool_type") }
        guard json["tapped"]?.bool == true else { return false }
        if titles.isEmpty { fault(path + ["tapped"], "só há o que tocar em um menu ou em uma pergunta com escolhas", "value_error") }
        if titles.count > BotFlow.Choice.mostRows { fault(place, "no máximo \(BotFlow.Choice.mostRows) para tocar", "too_long") }
        let most = titles.count > BotFlow.Choice.mostButtons ? BotFlow.Choice.longestRow : BotFlow.Choice.longestButton
        for (index, title) in titles.enumerated() where title.unicodeScalars.count > most {
            fault(place + [String(index), "title"], "para tocar, deve ter no máximo \(most) caracteres", "string_too_long")
        }
        return true
    }

    private mutating func answer(_ json: JSON?, _ path: [String]) -> ExpectedAnswer {
        guard let json, json.object != nil else {
            fault(path, "campo obrigatório", "missing")
            return .text(min: 1, max: 1)
        }
        switch json["type"]?.string {
        case "text":
            known(json, ["type", "min", "max"], path)
            let min = integer(json, "min", path, in: 0...4096) ?? 1
            let max = integer(json, "max", path, in: 1...4096) ?? 1000
            guard min <= max else {
                fault(path + ["max"], "deve ser pelo menos min", "int_range")
                return .text(min: 1, max: 1)
            }
            return .text(min: min, max: max)
        case "number":
            known(json, ["type", "min", "max"], path)
            let min = number(json, "min", path) ?? -1e15
            let max = number(json, "max", path) ?? 1e15
            if min > max { fault(path + ["max"], "deve ser pelo menos min", "int_range") }
            return .number(min: min, max: max)
        case "cpf": return .cpf
        case "email": return .email
        case "date": return .date
        case "choice":
            known(json, ["type", "choices"], path)
            let choices = list(json, "choices", path, max: 30).map { item, place in
                let item = object(item, place, known: ["value", "title", "keywords"]) ?? .emptyObject
                return ExpectedAnswer.Choice(
                    value: text(item, "value", place, max: 200),
                    title: text(item, "title", place, max: 200),
                    keywords: words(item, "keywords", place)
                )
            }
            if choices.isEmpty { fault(path + ["choices"], "deve ter pelo menos uma escolha", "missing") }
            return .choice(choices)
        default:
            fault(path + ["type"], "deve ser um destes: text, number, cpf, email, date, choice", "enum")
            return .text(min: 1, max: 1)
        }
    }

    private mutating func handOff(_ json: JSON?, _ path: [String]) -> BotFlow.HandOffRules {
        let json =
            json.flatMap { $0.isNull ? nil : $0 }.flatMap {
                object($0, path, known: ["words", "after_misunderstandings", "text", "deadline_seconds", "deadline_text", "then"])
            } ?? .emptyObject
        let then = optionalText(json, "then", path, max: 16) ?? "wait"
        if BotFlow.HandOffRules.Late(rawValue: then) == nil { fault(path + ["then"], "deve ser wait ou bot", "enum") }
        let deadline = integer(json, "deadline_seconds", path, in: 0...86_400) ?? 600
        return BotFlow.HandOffRules(
            words: Set(words(json, "words", path).flatMap(BotFlow.words)),
            afterMisunderstandings: integer(json, "after_misunderstandings", path, in: 1...20) ?? 3,
            text: optionalText(json, "text", path) ?? "Vou chamar uma pessoa para ajudar você.",
            deadline: deadline == 0 ? nil : .seconds(deadline),
            deadlineText: optionalText(json, "deadline_text", path)
                ?? "Todos os atendentes ainda estão ocupados. Você continua na fila e será atendido assim que possível.",
            then: BotFlow.HandOffRules.Late(rawValue: then) ?? .wait
        )
    }

    private mutating func hours(_ json: JSON, _ path: [String]) -> BotHours? {
        guard let json = object(json, path, known: ["utc_offset", "weekly", "closed_text", "closed"]) else { return nil }
        let offset = optionalText(json, "utc_offset", path, max: 6) ?? "-03:00"
        let offsetMinutes = Self.minutes(offset.dropFirst(), limit: 14 * 60).map { offset.first == "-" ? -$0 : $0 }
        if offsetMinutes == nil || !(offset.first == "-" || offset.first == "+") {
            fault(path + ["utc_offset"], "deve ser como -03:00", "value_error")
        }
        var weekly: [[Range<Int>]] = []
        let days = json["weekly"].flatMap { $0.isNull ? nil : object($0, path + ["weekly"], known: Set(BotHours.days)) }
        for day in days == nil ? [] : BotHours.days {
            weekly.append([])
            for (item, place) in list(days ?? .emptyObject, day, path + ["weekly"], max: 8) {
                let parts = item.string?.split(separator: "-").map { Self.minutes($0, limit: 24 * 60) } ?? []
                guard parts.count == 2, let from = parts[0], let until = parts[1], from < until else {
                    fault(place, "deve ser um intervalo como 08:00-18:00", "value_error")
                    continue
                }
                weekly[weekly.count - 1].append(from..<until)
            }
        }
        return BotHours(
            offsetMinutes: offsetMinutes ?? 0,
            weekly: days == nil ? nil : weekly,
            closedText: text(json, "closed_text", path),
            closed: optionalText(json, "closed", path, max: 64)
        )
    }

    private static func minutes(_ text: Substring, limit: Int) -> Int? {
        let parts = text.split(separator: ":", omittingEmptySubsequences: false).map { $0.count == 2 ? Int($0) : nil }
        guard parts.count == 2, let hours = parts[0], let minutes = parts[1], hours >= 0, (0..<60).contains(minutes) else { return nil }
        let total = hours * 60 + minutes
        return total <= limit ? total : nil
    }

    private mutating func assistant(_ json: JSON, _ path: [String]) -> BotFlow.AssistantRules? {
        guard let json = object(json, path, known: ["instructions", "answers_unknown"]) else { return nil }
        if let value = json["answers_unknown"], value.bool == nil { fault(path + ["answers_unknown"], "deve ser true ou false", "bool_type") }
        return BotFlow.AssistantRules(
            instructions: text(json, "instructions", path, max: 20_000),
            answersUnknown: json["answers_unknown"]?.bool ?? true
        )
    }

    private mutating func variables(_ json: JSON?, _ path: [String]) -> [String: String] {
        guard let json, !json.isNull else { return [:] }
        guard let members = json.object, members.count <= 100 else {
            fault(path, "deve ser um objeto com no máximo 100 textos", "model_type")
            return [:]
        }
        var variables: [String: String] = [:]
        for name in members.keys { variables[name] = optionalText(json, name, path) ?? "" }
        return variables
    }

    // MARK: Fields

    mutating func fault(_ path: [String], _ message: String, _ type: String) {
        // Enough to mend: a body made to be wrong does not make an answer of any length.
        if faults.count < 200 { faults.append(.init(path, message, type: type)) }
    }

    private mutating func object(_ json: JSON?, _ path: [String], known names: Set<String>) -> JSON? {
        guard let json, json.object != nil else {
            fault(path, "deve ser um objeto JSON", "model_type")
            return nil
        }
        known(json, names, path)
        return json
    }

    private mutating func known(_ json: JSON, _ names: Set<String>, _ path: [String]) {
        for name in json.object?.keys ?? [] where !names.contains(name) { fault(path + [name], "campo desconhecido", "extra_forbidden") }
    }

    private mutating func text(_ json: JSON, _ name: String, _ path: [String], max: Int = 4096) -> String {
        if json[name].map(\.isNull) ?? true { fault(path + [name], "campo obrigatório", "missing") }
        return optionalText(json, name, path, max: max) ?? ""
    }

    private mutating func optionalText(_ json: JSON, _ name: String, _ path: [String], max: Int = 4096) -> String? {
        guard let value = json[name], !value.isNull else { return nil }
        guard let text = value.string, !text.utf8.contains(0) else {
            fault(path + [name], "deve ser um texto", "string_type")
            return nil
        }
        guard !text.isEmpty, text.unicodeScalars.count <= max else {
            fault(path + [name], "deve ter de 1 a \(max) caracteres", "string_length")
            return nil
        }
        return text
    }

    private mutating func integer(_ json: JSON, _ name: String, _ path: [String], in range: ClosedRange<Int64>) -> Int? {
        guard let value = json[name], !value.isNull else { return nil }
        guard let number = value.int, range.contains(number) else {
            fault(path + [name], "deve ser um inteiro de \(range.lowerBound) a \(range.upperBound)", "int_range")
            return nil
        }
        return Int(number)
    }

    private mutating func number(_ json: JSON, _ name: String, _ path: [String]) -> Double? {
        switch json[name] {
        case nil, .null?: return nil
        case .int(let value)?: return Double(value)
        case .double(let value)?: return value
        default:
            fault(path + [name], "deve ser um número", "float_type")
            return nil
        }
    }

    private mutating func words(_ json: JSON, _ name: String, _ path: [String], isRequired: Bool = false) -> [String] {
        let items = list(json, name, path, max: 100)
        if isRequired, items.isEmpty { fault(path + [name], "deve ter pelo menos uma palavra", "missing") }
        return items.compactMap { item, place in
            guard let text = item.string, text.unicodeScalars.count <= 200, !BotFlow.words(of: text).isEmpty else {
                fault(place, "deve ser um texto com pelo menos uma palavra", "string_type")
                return nil
            }
            return text
        }
    }

    private mutating func list(_ json: JSON, _ name: String, _ path: [String], max: Int) -> [(JSON, [String])] {
        guard let value = json[name], !value.isNull else { return [] }
        guard let items = value.array, items.count <= max else {
            fault(path + [name], "deve ser uma lista de no máximo \(max) itens", "list_type")
            return []
        }
        return items.enumerated().map { ($0.element, path + [name, String($0.offset)]) }
    }
}
