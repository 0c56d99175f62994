package import Conversations
package import Kernel
package import Wire

// What an agent sends beside plain words, from the body of `POST …/{id}/messages` (protocol/README.md "What messages carry"). Limits are WhatsApp's
// (research/conversations.md §5.5): what it would refuse is refused here, while somebody is there to mend it.

extension Outgoing {
    private static let kinds = ["buttons", "list", "template", "location"]

    /// `nil` for plain words: a text that quotes nothing.
    package static func read(_ body: JSON?, _ fields: inout RequestFields) throws(Refusal) -> Outgoing? {
        let named = kinds.filter { fields.has($0) && body?[$0]?.isNull == false }
        let replyTo: MessageID? = fields.optionalText("reply_to", min: 1, max: 64).flatMap { text in
            guard let id = MessageID(text) else {
                fields.refuse("reply_to", "deve ser o id de uma mensagem desta conversa", type: "uuid_parsing")
                return nil
            }
            return id
        }
        guard named.count <= 1 else {
            fields.refuse(named[1], "uma mensagem leva só um destes: \(kinds.joined(separator: ", "))")
            return nil
        }
        guard let kind = named.first, let value = body?[kind] else {
            guard let replyTo else { return nil }
            return Outgoing(kind: "text", text: fields.text("text", max: AgentCommand.maxTextCharacters), replyTo: replyTo)
        }
        var content = JSON.emptyObject
        var text: String
        switch kind {
        case "buttons":
            text = fields.text("text", max: 1024)
            content = content.adding("buttons", buttons(value, &fields))
            content = around(content, &fields)
        case "list":
            text = fields.text("text", max: 1024)
            content = content.adding("list", list(value, &fields))
            content = around(content, &fields)
        case "template":
            let (template, line) = template(value, &fields)
            text = fields.optionalText("text", max: AgentCommand.maxTextCharacters) ?? line
            content = content.adding("template", template)
        default:
            let (location, line) = location(value, &fields)
            text = line
            content = location
        }
        let type = kind == "buttons" || kind == "list" ? "interactive" : kind
        return Outgoing(kind: type, text: text, content: content.text, replyTo: replyTo)
    }

    /// `header` and `footer`.
    private static func around(_ content: JSON, _ fields: inout RequestFields) -> JSON {
        var content = content
        if let header = fields.optionalText("header", min: 1, max: 60) { content = content.adding("header", .string(header)) }
        if let footer = fields.optionalText("footer", min: 1, max: 60) { content = content.adding("footer", .string(footer)) }
        return content
    }

    /// A member of an element, with what is wrong with it put under the element's own name.
    private static func text(_ json: JSON, _ name: String, in field: String, max: Int, required: Bool = true, _ fields: inout RequestFields)
        -> String?
    {
        guard let value = json[name], !value.isNull else {
            if required { fields.refuse(field, "falta \(name)", type: "missing") }
            return nil
        }
        guard let text = value.string, (1...max).contains(text.unicodeScalars.count), !text.utf8.contains(0) else {
            fields.refuse(field, "\(name) deve ser um texto de 1 a \(max) caracteres")
            return nil
        }
        return text
    }

    private static func buttons(_ value: JSON, _ fields: inout RequestFields) -> JSON {
        guard let elements = value.array, (1...3).contains(elements.count) else {
            fields.refuse("buttons", "deve ser uma lista de 1 a 3 botões", type: "list_type")
            return .null
        }
        var ids: Set<String> = []
        let buttons = elements.map { element -> JSON in
            let id = text(element, "id", in: "buttons", max: 256, &fields)
            let title = text(element, "title", in: "buttons", max: 20, &fields)
            if let id, !ids.insert(id).inserted { fields.refuse("buttons", "dois botões têm o mesmo id") }
            return ["id": .string(id ?? ""), "title": .string(title ?? "")]
        }
        return .array(buttons)
    }

    private static func list(_ value: JSON, _ fields: inout RequestFields) -> JSON {
        guard let sections = value["sections"]?.array, (1...10).contains(sections.count) else {
            fields.refuse("list", "sections deve ser uma lista de 1 a 10 seções", type: "list_type")
            return .null
        }
        let button = text(value, "button", in: "list", max: 20, &fields)
        var ids: Set<String> = []
        var rowCount = 0
        let read = sections.map { section -> JSON in
            var members: JSON = .emptyObject
            // WhatsApp wants a title where there is more than one section.
            if let title = text(section, "title", in: "list", max: 24, required: sections.count > 1, &fields) {
                members = members.adding("title", .string(title))
            }
            let rows = section["rows"]?.array ?? []
            if rows.isEmpty { fields.refuse("list", "cada seção deve ter linhas") }
            rowCount += rows.count
            return members.adding(
                "rows",
                .array(
                    rows.prefix(10).map { row in
                        let id = text(row, "id", in: "list", max: 200, &fields)
                        if let id, !ids.insert(id).inserted { fields.refuse("list", "duas linhas têm o mesmo id") }
                        var members: JSON = [
                            "id": .string(id ?? ""), "title": .string(text(row, "title", in: "list", max: 24, &fields) ?? ""),
                        ]
                        if let description = text(row, "description", in: "list", max: 72, required: false, &fields) {
                            members = members.adding("description", .string(description))
                        }
                        return members
                    }
                )
            )
        }
        if rowCount > 10 { fields.refuse("list", "uma lista tem no máximo 10 linhas ao todo") }
        return ["button": .string(button ?? ""), "sections": .array(read)]
    }

    /// `{name, language?, category?, parameters?: [text], components?: [object]}`. `parameters` fill the body's variables in order; `components` is WhatsApp's own
    /// shape, for templates with headers or buttons.
    private static func template(_ value: JSON, _ fields: inout RequestFields) -> (JSON, String) {
        let name = text(value, "name", in: "template", max: 512, &fields) ?? ""
        if !name.utf8.allSatisfy({ ($0 >= 0x61 && $0 <= 0x7a) || ($0 >= 0x30 && $0 <= 0x39) || $0 == 0x5f }) {
            fields.refuse("template", "name tem só letras minúsculas, dígitos e _")
        }
        let language = text(value, "language", in: "template", max: 15, required: false, &fields) ?? "pt_BR"
        var parameters: [String] = []
        if let given = value["parameters"], !given.isNull {
            if let texts = given.array?.compactMap(\.string), texts.count == given.array?.count, texts.count <= 32,
                texts.allSatisfy({ (1...1024).contains($0.unicodeScalars.count) })
            {
                parameters = texts
            } else {
                fields.refuse("template", "parameters deve ser uma lista de textos", type: "list_type")
            }
        }
        var template: JSON = ["name": .string(name), "language": .string(language), "parameters": .array(parameters.map { .string($0) })]
        if let category = text(value, "category", in: "template", max: 32, required: false, &fields) {
            if !["marketing", "utility", "authentication"].contains(category) {
                fields.refuse("template", "category deve ser marketing, utility ou authentication", type: "enum")
            }
            template = template.adding("category", .string(category))
        }
        if let components = value["components"], !components.isNull {
            if let objects = components.array, objects.count <= 16, objects.allSatisfy({ $0.object != nil }), components.bytes.count <= 8192 {
                template = template.adding("components", components)
            } else {
                fields.refuse("template", "components deve ser uma lista de objetos", type: "list_type")
            }
        }
        return (template, parameters.isEmpty ? "[Modelo \(name)]" : "[Modelo \(name)] \(parameters.joined(separator: " · "))")
    }

    private static func location(_ value: JSON, _ fields: inout RequestFields) -> (JSON, String) {
        func degrees(_ name: String, _ limit: Double) -> Double {
            let number: Double? =
                switch value[name] {
                case .double(let number): number
                case .int(let number): Double(number)
                default: nil
                }
            guard let number, abs(number) <= limit else {
                fields.refuse("location", "\(name) deve ser um número de -\(Int(limit)) a \(Int(limit))")
                return 0
            }
            return number
        }
        let (latitude, longitude) = (degrees("latitude", 90), degrees("longitude", 180))
        let name = text(value, "name", in: "location", max: 200, required: false, &fields)
        let address = text(value, "address", in: "location", max: 300, required: false, &fields)
        var location: JSON = ["latitude": .double(latitude), "longitude": .double(longitude)]
        location = location.adding("name", name.map { .string($0) } ?? .null).adding("address", address.map { .string($0) } ?? .null)
        return (location, (name ?? address).map { "[Localização] \($0)" } ?? "[Localização]")
    }
}
