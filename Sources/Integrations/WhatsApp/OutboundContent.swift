package import Wire

/// What a message to a customer says (research/conversations.md §5.5). Limits are WhatsApp's, which refuses what is past them with error 100.
package enum OutboundContent: Sendable, Hashable {
    case text(body: String, previewsLink: Bool)
    /// `id` is what an upload gave.
    case media(kind: InboundMedia.Kind, id: String, caption: String?, filename: String?)
    /// An empty emoji takes the reaction back.
    case reaction(messageID: String, emoji: String)
    case buttons(Interactive, [Button])
    case list(Interactive, button: String, [Section])
    /// The only thing that may be sent outside the 24-hour window.
    case template(name: String, language: String, components: [JSON])
    case location(latitude: Double, longitude: Double, name: String?, address: String?)

    /// What a message with buttons or a list says around them.
    package struct Interactive: Sendable, Hashable {
        package var body: String
        package var header: String?
        package var footer: String?

        package init(body: String, header: String? = nil, footer: String? = nil) {
            self.body = body
            self.header = header
            self.footer = footer
        }
    }

    package struct Button: Sendable, Hashable {
        package var id: String
        package var title: String
        package init(id: String, title: String) {
            self.id = id
            self.title = title
        }
    }

    package struct Section: Sendable, Hashable {
        package struct Row: Sendable, Hashable {
            package var id: String
            package var title: String
            package var description: String?
            package init(id: String, title: String, description: String? = nil) {
                self.id = id
                self.title = title
                self.description = description
            }
        }

        package var title: String?
        package var rows: [Row]
        package init(title: String?, rows: [Row]) {
            self.title = title
            self.rows = rows
        }
    }

    /// WhatsApp's name for it, under which its members stand in the request.
    var type: String {
        switch self {
        case .text: "text"
        case .media(let kind, _, _, _): kind.rawValue
        case .reaction: "reaction"
        case .buttons, .list: "interactive"
        case .template: "template"
        case .location: "location"
        }
    }

    func write(to writer: inout JSONWriter) {
        switch self {
        case .text(let body, let previewsLink):
            writer.field("body", body)
            writer.field("preview_url", previewsLink)
        case .media(let kind, let id, let caption, let filename):
            writer.field("id", id)
            if let caption, kind != .audio, kind != .sticker { writer.field("caption", caption) }
            if let filename, kind == .document { writer.field("filename", filename) }
        case .reaction(let message, let emoji):
            writer.field("message_id", message)
            writer.field("emoji", emoji)
        case .buttons(let interactive, let buttons):
            interactive.write("button", to: &writer) { action in
                action.list("buttons") { list in
                    for button in buttons {
                        list.object {
                            $0.field("type", "reply")
                            $0.field("reply") { reply in
                                reply.field("id", button.id)
                                reply.field("title", button.title)
                            }
                        }
                    }
                }
            }
        case .list(let interactive, let button, let sections):
            interactive.write("list", to: &writer) { action in
                action.field("button", button)
                action.list("sections") { list in for section in sections { section.write(to: &list) } }
            }
        case .template(let name, let language, let components):
            writer.field("name", name)
            writer.field("language") { $0.field("code", language) }
            if !components.isEmpty { writer.field("components", .array(components)) }
        case .location(let latitude, let longitude, let name, let address):
            writer.field("latitude", latitude)
            writer.field("longitude", longitude)
            if let name { writer.field("name", name) }
            if let address { writer.field("address", address) }
        }
    }
}

extension OutboundContent.Interactive {
    fileprivate func write(_ type: String, to writer: inout JSONWriter, action: (inout JSONWriter) -> Void) {
        writer.field("type", type)
        if let header {
            writer.field("header") {
                $0.field("type", "text")
                $0.field("text", header)
            }
        }
        writer.field("body") { $0.field("text", body) }
        if let footer { writer.field("footer") { $0.field("text", footer) } }
        writer.field("action", object: action)
    }
}

extension OutboundContent.Section {
    fileprivate func write(to list: inout JSONWriter) {
        list.object {
            if let title { $0.field("title", title) }
            $0.list("rows") { array in
                for row in rows {
                    array.object {
                        $0.field("id", row.id)
                        $0.field("title", row.title)
                        if let description = row.description { $0.field("description", description) }
                    }
                }
            }
        }
    }
}
