import HTTPTypes
import Hummingbird
import Identity
import Kernel

/// Who asks at the doors of contracts/consultores.md: a program with an `api-key`, or a user of the business.
struct ConsultorCaller: Sendable {
    let tenant: TenantID
    /// Whose idempotency keys these are.
    let credential: String
    /// For the record.
    let name: String
    /// `nil` for a program.
    let principal: Principal?
}

/// What a user must be to do something.
enum ConsultorRole {
    case anybody
    case attends
    case administers
}

extension ConsultorCaller {
    /// As the audit trail names them; a program is nobody in particular.
    var author: Author { principal.map { .user($0.user, name: $0.name) } ?? .system }
}

extension API {
    /// - Throws: 401 without a credential or with a wrong one; 403 when the key was not made for `scope`, or the user may not.
    func caller(
        _ scope: APIKeyScope,
        _ role: ConsultorRole,
        _ request: Request,
        _ context: APIContext
    ) async throws -> ConsultorCaller {
        if let caller = try programme(scope, request) {
            context.notes.note("api_key", caller.name)
            try weigh(.tenant(caller.tenant), request, context)
            return caller
        }
        let principal = try await principal(request, context)
        switch role {
        case .anybody: break
        case .attends: guard principal.role.canAttend else { throw Refusal.viewerOnly }
        case .administers: try principal.requireAdministrator()
        }
        return ConsultorCaller(tenant: principal.tenant, credential: principal.user.description, name: principal.name, principal: principal)
    }

    /// `nil` when no key was sent.
    private func programme(_ scope: APIKeyScope, _ request: Request) throws(Refusal) -> ConsultorCaller? {
        guard let given = request.headers[HTTPField.Name("api-key")!] else { return nil }
        if let key = settings.apiKey, Secret.isEqual(given, key.value) {
            return ConsultorCaller(tenant: key.tenant, credential: "configuration", name: "AUTHENTICATION_API_KEY", principal: nil)
        }
        switch settings.apiKeys?.verify(given) ?? .unknown {
        case .unknown: throw Refusal(.unauthenticated, "api_key_invalid", "api-key inválida.")
        case .expired: throw Refusal(.unauthenticated, "api_key_expired", "Esta api-key expirou ou foi trocada; use a nova.")
        case .good(let key):
            guard key.scopes.contains(scope) else {
                throw Refusal(
                    .forbidden,
                    "scope_missing",
                    "Esta api-key não dá acesso a este endereço: falta-lhe o escopo \(scope.rawValue).",
                    facts: ["scope": scope.rawValue]
                )
            }
            return ConsultorCaller(tenant: key.tenant, credential: key.id.description, name: key.name, principal: nil)
        }
    }
}
