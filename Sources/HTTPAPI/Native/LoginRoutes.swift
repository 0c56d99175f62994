import HTTPTypes
import Hummingbird
import Identity
import Kernel
import Tenancy
import Wire

// One's own logins, one's password, and the record of who logged in.

extension API {
    func addLogins(to router: Router<APIContext>) {
        let base = "/api/v1/auth"
        router.get("\(base)/me") { request, context -> Response in
            let principal = try await principal(request, context)
            guard let user = try await directory.user(principal.tenant, principal.user) else { throw TokenIssuer.invalid }
            return .json(user.json)
        }
        router.get("\(base)/sessions") { request, context -> Response in
            let (principal, current) = try await login(request, context)
            let page = try request.page()
            let sessions = try await directory.sessions(of: principal.user)
            let start = min((page.number - 1) * page.size, sessions.count)
            return .json {
                $0.list("items") { list in
                    for session in sessions[start..<min(start + page.size, sessions.count)] { session.write(to: &list, current: current) }
                }
                $0.page(page, total: sessions.count)
            }
        }
        // All but the one that asks.
        router.delete("\(base)/sessions") { request, context -> Response in
            let (principal, current) = try await login(request, context)
            let ended = try await directory.endSessions(of: principal, current: current, one: nil)
            return .json { $0.field("ended", ended) }
        }
        router.delete("\(base)/sessions/:id") { request, context -> Response in
            let (principal, current) = try await login(request, context)
            _ = try await directory.endSessions(of: principal, current: current, one: try context.identifier(.session))
            return Response(status: .noContent)
        }
        router.post("\(base)/password") { request, context -> Response in try await changePassword(request, context) }
        router.get("\(base)/audit") { request, context -> Response in
            let principal = try await principal(request, context)
            guard principal.role == .owner else { throw Refusal(.forbidden, "owner_only", "Só um proprietário vê o registro de logins.") }
            let page = try request.page()
            var outcome: LoginRecord.Outcome?
            if let text = request.query("outcome") {
                outcome = LoginRecord.Outcome(rawValue: text)
                if outcome == nil {
                    let allowed = LoginRecord.Outcome.allCases.map(\.rawValue).joined(separator: ", ")
                    throw Refusal.invalid([.init(["query", "outcome"], "deve ser um destes: \(allowed)", type: "enum")])
                }
            }
            let (records, total) = try await directory.loginRecords(
                of: principal.tenant,
                email: request.query("email"),
                outcome: outcome,
                offset: (page.number - 1) * page.size,
                limit: page.size
            )
            return .json {
                $0.list("items") { list in for record in records { record.write(to: &list) } }
                $0.page(page, total: total)
            }
        }
    }

    /// `{current_password, new_password}`
    func changePassword(_ request: Request, _ context: APIContext) async throws -> Response {
        let (principal, current) = try await login(request, context)
        var fields = try await request.fields()
        let old = fields.text("current_password", max: 256)
        let new = fields.text("new_password", max: 256)
        try fields.check()
        try await directory.changePassword(of: principal, session: current, from: old, to: new, origin: origin(of: request, context))
        return .json { $0.field("detail", "Senha alterada; as outras sessões foram encerradas") }
    }

    /// Who asks, and the login that they do it with.
    private func login(_ request: Request, _ context: APIContext) async throws -> (Principal, LoginSessionID) {
        let claims = try await claims(request)
        guard let session = claims.session else { throw Refusal.visitorOnly }
        context.notes.note("user_id", claims.principal.user)
        return (claims.principal, session)
    }
}

extension LoginSession {
    /// `{id, created_at, last_used_at, expires_at, address, agent, current}`
    fileprivate func write(to writer: inout JSONWriter, current: LoginSessionID) {
        writer.object {
            $0.field("id", id.description)
            $0.field("created_at", createdAt.description)
            $0.field("last_used_at", lastUsedAt.description)
            $0.field("expires_at", expiresAt.description)
            $0.field("address", origin.address)
            $0.field("agent", origin.agent)
            $0.field("current", id == current)
        }
    }
}

extension LoginRecord {
    /// `{id, at, user_id, email, address, agent, outcome}`
    fileprivate func write(to writer: inout JSONWriter) {
        writer.object {
            $0.field("id", id.description)
            $0.field("at", at.description)
            $0.field("user_id", user?.description)
            $0.field("email", email)
            $0.field("address", origin.address)
            $0.field("agent", origin.agent)
            $0.field("outcome", outcome.rawValue)
        }
    }
}
