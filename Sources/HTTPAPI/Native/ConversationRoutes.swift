import Conversations
import HTTPTypes
import Hummingbird
import Kernel
import Tenancy
import Wire

extension API {
    func addConversations(to router: Router<APIContext>) {
        let base = "/api/v1/conversations"
        router.get("\(base)") { request, context -> Response in
            let principal = try await principal(request, context)
            return .json(try await operations.conversations(try await filter(request, principal), try request.page(), for: principal))
        }
        router.get("\(base)/:id") { request, context -> Response in
            let principal = try await anybody(request, context)
            let id: ConversationID = try context.identifier(.conversation)
            if let visit = try visit(principal, id) { return .json(try await operations.conversation(of: visit, principal.tenant)) }
            return .json(try await operations.conversation(id, for: principal))
        }
        router.get("\(base)/:id/messages") { request, context -> Response in
            let principal = try await anybody(request, context)
            let id: ConversationID = try context.identifier(.conversation)
            _ = try visit(principal, id)
            var before: MessageID?
            if let text = request.query("before") {
                guard let message = MessageID(text) else {
                    throw Refusal.invalid([.init(["query", "before"], "deve ser o id de uma mensagem", type: "uuid_parsing")])
                }
                before = message
            }
            let limit = try request.integer("limit", in: 1...200, default: 50)
            return .json(try await operations.messages(of: id, before: before, limit: limit, for: principal))
        }
        router.post("\(base)/:id/typing") { request, context -> Response in
            let principal = try await anybody(request, context)
            let id: ConversationID = try context.identifier(.conversation)
            _ = try visit(principal, id)
            var fields = try await request.fields()
            let isTyping = fields.optionalBool("typing") ?? true
            try fields.check()
            return .json(try await operations.typing(isTyping, on: id, by: principal))
        }
        router.post("\(base)/:id/messages/:message_id/resend") { request, context -> Response in
            let principal = try await principal(request, context)
            let id: ConversationID = try context.identifier(.conversation)
            guard let message = context.parameters.get("message_id").flatMap({ MessageID($0) }) else { throw Refusal.notFound(.message) }
            return .json(try await operations.act(.resend(message), on: id, by: principal).json)
        }
        for verb in AgentCommand.verbs {
            router.post("\(base)/:id/\(verb)") { request, context -> Response in
                let principal = try await anybody(request, context)
                let id: ConversationID = try context.identifier(.conversation)
                if let visit = try visit(principal, id) {
                    let answer = try await operations.act(verb, try await request.json(), on: visit, by: principal)
                    return .json(answer.json, status: answer.isNew ? .created : .ok)
                }
                guard let command = try AgentCommand.read(verb: verb, try await request.json()) else { throw HTTPError(.notFound) }
                let answer = try await operations.act(command, on: id, by: principal)
                return .json(answer.json, status: answer.isNew ? .created : .ok)
            }
        }
    }

    /// A visitor's web chat, if that is who asks. Any conversation but their own is refused, whether there is one or not.
    func visit(_ principal: Principal, _ id: ConversationID) throws(Refusal) -> Visit? {
        guard let visit = Visit(principal) else { return nil }
        guard visit.conversation == id else { throw .visitorOnly }
        return visit
    }
}
