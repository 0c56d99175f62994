import Hummingbird
import Kernel
import Tenancy

extension API {
    func addNotices(to router: Router<APIContext>) {
        router.get("/api/v1/notices") { request, context -> Response in
            let principal = try await principal(request, context)
            var before: NoticeID?
            if let text = request.query("before") {
                guard let id = NoticeID(text) else {
                    throw Refusal.invalid([.init(["query", "before"], "deve ser o id de um aviso", type: "uuid_parsing")])
                }
                before = id
            }
            let limit = try request.integer("limit", in: 1...200, default: 50)
            return .json(try await operations.notices(before: before, limit: limit, for: principal))
        }

        // `{text, client_message_id?}` → 201, the notice; everybody who follows `notices` has it by then.
        router.post("/api/v1/notices") { request, context -> Response in
            let principal = try await principal(request, context)
            let (text, key) = try Notice.fields(try await request.json())
            return .json(try await operations.postNotice(text, clientMessageID: key, by: principal).json, status: .created)
        }
    }
}
