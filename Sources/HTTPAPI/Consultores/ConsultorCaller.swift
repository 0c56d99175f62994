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
    static let apiKey = HTTPField.Name("api-key")!

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
        guard let given = request.headers[Self.apiKey] else { return nil }
        if let key = settings.apiKey, Secret.isEqual(given, key.value) {
            return ConsultorCaller(tenant: key.tenant, credential: "configuration", name: "AUTHENTICATION_API_KEY", principal: nil)
        }
        let key = try registeredKey(given, [scope])
        return ConsultorCaller(tenant: key.tenant, credential: key.id.description, name: key.name, principal: nil)
    }

    /// The business's own key of this text.
    /// - Parameter scopes: any of them is enough; the first is what is missed.
    func registeredKey(_ text: String, _ scopes: [APIKeyScope]) throws(Refusal) -> APIKey {
        switch settings.apiKeys?.verify(text) ?? .unknown {
        case .unknown: throw Refusal(.unauthenticated, "api_key_invalid", "api-key inválida.")
        case .expired: throw Refusal(.unauthenticated, "api_key_expired", "Esta api-key expirou ou foi trocada; use a nova.")
        case .good(let key):
            guard scopes.contains(where: key.scopes.contains) else {
                let scope = scopes[0].rawValue
                throw Refusal(
                    .forbidden,
                    "scope_missing",
                    "Esta api-key não dá acesso a este endereço: falta-lhe o escopo \(scope).",
                    facts: ["scope": scope]
                )
            }
            return key
        }
    }
}
