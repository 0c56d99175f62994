import HTTPTypes
import Hummingbird
import Kernel
import NIOCore
import OrderedCollections
import Tenancy
import Wire

/// The lists that a user has named: filters and an order, in the words of the list's own query, so that a client asks for a view as it is.
enum SavedViews {
    static let maxCount = 50
    /// What a view may hold: the parameters of `GET /api/v1/conversations/`, but for the page.
    private static let parameters: Set<String> = [
        "state", "assignee", "q", "text", "label", "channel", "language", "unread", "from", "to", "sort", "per_page",
    ]

    static func json(_ stored: String?) -> [UInt8] { Array((stored ?? #"{"views":[],"selected":null}"#).utf8) }

    /// - Returns: JSON, of what was understood and nothing else.
    /// - Parameter check: whether the list's own query would take these parameters; what it objects to is told as the view's.
    static func read(_ body: JSON?, check: (Request) async throws -> Void) async throws -> String {
        var fields = try RequestFields(body)
        let selected = fields.optionalText("selected", min: 1, max: 64)
        guard let given = body?["views"]?.array else { throw Refusal.invalid("views", message: "deve ser uma lista", type: "list_type") }
        guard given.count <= maxCount else { throw Refusal.invalid("views", message: "deve ter no máximo \(maxCount) itens", type: "too_long") }
        var names: Set<String> = []
        var views: [(name: String, query: [(String, String)])] = []
        for (index, view) in given.enumerated() {
            func wrong(_ member: String, _ message: String) -> Refusal { .invalid("views", String(index), member, message: message) }
            guard let name = view["name"]?.string, (1...64).contains(name.unicodeScalars.count), !name.utf8.contains(0) else {
                throw wrong("name", "deve ser um texto de 1 a 64 caracteres")
            }
            guard names.insert(name).inserted else { throw wrong("name", "já há uma lista com este nome") }
            guard case .object(let members)? = view["query"] else { throw wrong("query", "deve ser um objeto") }
            var query: [(String, String)] = []
            for (key, value) in members {
                guard parameters.contains(key) else { throw wrong("query", "não há o parâmetro '\(key.prefix(40))'") }
                guard let text = value.string, text.unicodeScalars.count <= 200, !text.utf8.contains(0) else {
                    throw wrong("query", "'\(key)' deve ser um texto de até 200 caracteres, como na consulta")
                }
                query.append((key, text))
            }
            do { try await check(asked(query)) } catch let refusal as Refusal where !refusal.fields.isEmpty {
                throw Refusal.invalid(
                    refusal.fields.map { .init(["body", "views", String(index), "query"] + $0.location.dropFirst(), $0.message, type: $0.type) }
                )
            }
            views.append((name, query.sorted { $0.0 < $1.0 }))
        }
        try fields.check()
        if let selected, !names.contains(selected) { throw Refusal.invalid("selected", message: "não há uma lista com este nome") }
        var writer = JSONWriter()
        writer.object {
            $0.list("views") { list in
                for view in views {
                    list.object {
                        $0.field("name", view.name)
                        $0.field("query") { query in for (key, value) in view.query { query.field(key, value) } }
                    }
                }
            }
            $0.field("selected", selected)
        }
        return String(decoding: writer.bytes, as: UTF8.self)
    }

    /// The query, as a client would send it.
    private static func asked(_ query: [(String, String)]) -> Request {
        let encoded = query.map { name, value in
            name + "=" + value.utf8.map { byte in "%" + (byte < 16 ? "0" : "") + String(byte, radix: 16) }.joined()
        }
        let head = HTTPRequest(method: .get, scheme: nil, authority: nil, path: "/api/v1/conversations?" + encoded.joined(separator: "&"))
        return Request(head: head, body: RequestBody(buffer: ByteBuffer()))
    }
}
