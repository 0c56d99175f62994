import Conversations
import HTTPTypes
import Hummingbird
import Identity
import Kernel
import Tenancy
import Wire

// The public web chat (DESIGN §7.1): a session is a conversation, and a pair of tokens of the role `visitor` that open it and nothing else.

extension API {
    func addChat(to router: Router<APIContext>) {
        // `{slug | tenant_id, name?}`
        router.post("/api/v1/chat/sessions") { request, context -> Response in
            try allowances.takeChatSession(address(of: request, context), at: environment.now())
            var fields = try await request.fields()
            let slug = fields.optionalText("slug", min: 1, max: 63)
            let id = fields.optionalText("tenant_id", min: 1, max: 64)
            let name = fields.optionalText("name", max: 120).map(Self.trimmed)
            if slug == nil, id == nil { fields.refuse("slug", "informe slug ou tenant_id", type: "missing") }
            try fields.check()
            var found: Tenant?
            if let slug {
                found = directory.tenant(slug: slug)
            } else if let id = id.flatMap({ TenantID($0) }) {
                found = await directory.tenant(id)
            }
            guard let tenant = found else { throw Refusal.notFound(.tenant) }
            let shown = name.flatMap { $0.isEmpty ? nil : $0 } ?? Operations.defaultVisitorName
            let visit = try await operations.visit(tenant.id, name: shown)
            context.notes.note("conversation_id", visit.conversation)
            return try await session(visit, tenant.id, name: shown, status: .created)
        }
        // `{refresh_token}`: the same conversation, or a new one of the same visitor where that one is over.
        router.post("/api/v1/chat/sessions/refresh") { request, context -> Response in
            try allowances.takeChatSession(address(of: request, context), at: environment.now())
            var fields = try await request.fields()
            let token = fields.text("refresh_token", max: 4096)
            try fields.check()
            let visitor = try await directory.visitor(returningWith: token)
            guard let before = Visit(visitor) else { throw TokenIssuer.invalid }
            let visit = try await operations.comeBack(before, visitor.tenant)
            context.notes.note("conversation_id", visit.conversation)
            return try await session(visit, visitor.tenant, name: visitor.name, status: .ok)
        }
    }

    private func session(_ visit: Visit, _ tenant: TenantID, name: String, status: HTTPResponse.Status) async throws(Refusal) -> Response {
        let tokens = try await directory.visitTokens(visit.contact, of: visit.conversation, tenant: tenant, name: name)
        return .json(status: status) {
            $0.field("conversation_id", visit.conversation.description)
            $0.field("channel", "conversation:\(visit.conversation)")
            $0.field("token", tokens.token)
            $0.field("refresh_token", tokens.refreshToken)
            $0.field("token_type", "bearer")
            $0.field("expires_in", tokens.expiresInSeconds)
        }
    }

    private static func trimmed(_ text: String) -> String {
        String(text.drop(while: \.isWhitespace).reversed().drop(while: \.isWhitespace).reversed())
    }
}
