import Hummingbird
import Kernel
import Tenancy

extension API {
    /// The query of a list of conversations. Empty parameters are no filter, and what cannot be read is a 422 that names it.
    func filter(_ request: Request, _ principal: Principal) async throws -> ConversationFilter {
        var filter = ConversationFilter()
        if let states = request.query("state") {
            for state in states.split(separator: ",").map(String.init) {
                if state == "open" {
                    filter.states.formUnion(ConversationFilter.stateNames.filter { $0 != "resolved" })
                } else if ConversationFilter.stateNames.contains(state) {
                    filter.states.insert(state)
                } else {
                    throw Self.wrong("state", "deve ser um destes: open, \(ConversationFilter.stateNames.joined(separator: ", "))")
                }
            }
        }
        filter.assignee = try await assignee(request, principal)
        filter.text = request.query("q").map { String($0.prefix(100)) }
        filter.messageText = request.query("text").map { String($0.prefix(100)) }
        for name in ["q", "text", "label", "channel", "language"] where request.query(name)?.utf8.contains(0) == true {
            throw Self.wrong(name, "não pode conter o caractere NUL", type: "string_invalid")
        }
        filter.labels = request.query("label").map { $0.split(separator: ",").prefix(10).map(String.init) } ?? []
        filter.channel = request.query("channel").map { String($0.prefix(64)) }
        filter.language = request.query("language").map { String($0.prefix(16)) }
        if let text = request.query("unread") {
            guard let isUnread = ["true": true, "1": true, "false": false, "0": false][text.lowercased()] else {
                throw Self.wrong("unread", "deve ser true ou false", type: "bool_parsing")
            }
            filter.isUnread = isUnread
        }
        filter.from = try Self.time(request, "from", isEnd: false)
        filter.until = try Self.time(request, "to", isEnd: true)
        if let text = request.query("sort") {
            guard let order = ConversationFilter.Order(text) else {
                let columns = ConversationFilter.Order.Column.allCases.map(\.rawValue).joined(separator: ", ")
                throw Self.wrong("sort", "deve ser um destes, com - na frente para a ordem inversa: \(columns)")
            }
            filter.order = order
        }
        return filter
    }

    private func assignee(_ request: Request, _ principal: Principal) async throws -> ConversationFilter.Assignee? {
        switch request.query("assignee") {
        case nil: return nil
        case "none"?: return ConversationFilter.Assignee.none
        case "me"?: return try await operations.consultorID(of: principal.user, principal.tenant).map { .consultor($0) } ?? .nobody
        case let text?:
            if let id = Int64(text) { return .consultor(id) }
            guard let user = UserID(text) else { throw Self.wrong("assignee", "deve ser o id de um consultor ou usuário, me ou none") }
            return try await operations.consultorID(of: user, principal.tenant).map { .consultor($0) } ?? .nobody
        }
    }

    /// A time, or a day in the business's time (`America/Sao_Paulo`, which has kept −03:00 all year since 2019): its beginning, or its end.
    private static func time(_ request: Request, _ name: String, isEnd: Bool) throws(Refusal) -> Timestamp? {
        guard let text = request.query(name) else { return nil }
        // A plus in a query is a space, and times are written with one.
        if let time = Timestamp(rfc3339: text.replacing(" ", with: "+")) { return isEnd ? time + .milliseconds(1) : time }
        guard text.wholeMatch(of: #/\d{4}-\d{2}-\d{2}/#) != nil, let day = Timestamp(rfc3339: text + "T00:00:00-03:00") else {
            throw wrong(name, "deve ser uma data, como 2026-03-01, ou uma data e hora em RFC 3339", type: "datetime_parsing")
        }
        return isEnd ? day + .seconds(86_400) : day
    }

    private static func wrong(_ name: String, _ message: String, type: String = "enum") -> Refusal {
        .invalid([.init(["query", name], message, type: type)])
    }
}
