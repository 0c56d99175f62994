import Conversations
import Hummingbird
import Kernel
import Tenancy
import Wire

extension API {
    func addDesk(to router: Router<APIContext>) {
        router.get("/api/v1/desk/settings") { request, context -> Response in
            .json(try await operations.deskSettings(for: try await principal(request, context)))
        }
        router.put("/api/v1/desk/settings") { request, context -> Response in
            let principal = try await principal(request, context)
            return .json(try await operations.changeDeskSettings(try await request.json(), by: principal))
        }

        let replies = "/api/v1/canned-replies"
        router.get("\(replies)") { request, context -> Response in
            let principal = try await principal(request, context)
            let page = try request.page()
            let all = try await operations.cannedReplies(for: principal)
            let start = min((page.number - 1) * page.size, all.count)
            return .json {
                $0.list("items") { for reply in all[start..<min(start + page.size, all.count)] { reply.write(to: &$0) } }
                $0.page(page, total: all.count)
            }
        }
        router.post("\(replies)") { request, context -> Response in
            let principal = try await principal(request, context)
            return .json(try await operations.putCannedReply(nil, try await request.json(), by: principal).json, status: .created)
        }
        router.get("\(replies)/:id") { request, context -> Response in
            let principal = try await principal(request, context)
            return .json(try await operations.cannedReply(try context.identifier(.cannedReply), for: principal).json)
        }
        router.put("\(replies)/:id") { request, context -> Response in
            let principal = try await principal(request, context)
            let id: CannedReplyID = try context.identifier(.cannedReply)
            return .json(try await operations.putCannedReply(id, try await request.json(), by: principal).json)
        }
        router.delete("\(replies)/:id") { request, context -> Response in
            let principal = try await principal(request, context)
            try await operations.removeCannedReply(try context.identifier(.cannedReply), by: principal)
            return Response(status: .noContent)
        }

        router.get("/api/v1/audit") { request, context -> Response in try await audit(of: nil, request, context) }
        router.get("/api/v1/conversations/:id/audit") { request, context -> Response in
            let conversation: ConversationID = try context.identifier(.conversation)
            return try await audit(of: conversation, request, context)
        }
    }

    private func audit(of conversation: ConversationID?, _ request: Request, _ context: APIContext) async throws -> Response {
        let principal = try await principal(request, context)
        var before: Int64?
        if let text = request.query("before") {
            guard let seq = Int64(text), seq > 0 else {
                throw Refusal.invalid([.init(["query", "before"], "deve ser o número (seq) de um registro", type: "int_parsing")])
            }
            before = seq
        }
        let limit = try request.integer("limit", in: 1...200, default: 50)
        return .json(try await operations.audit(of: conversation, before: before, limit: limit, for: principal))
    }
}
