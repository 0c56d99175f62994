import HTTPTypes
import Hummingbird
import Identity
import Kernel
import Tenancy
import Wire

extension API {
    /// The keys with which programs speak for a business (contracts/consultores.md "Segurança"), be it at the doors of its customers and sales.
    func addAPIKeys(to router: Router<APIContext>) {
        let path = "/api/v1/api-keys"
        router.get("\(path)") { request, context -> Response in
            let principal = try await principal(request, context)
            try principal.requireAdministrator()
            let keys = try await register().keys(of: principal.tenant)
            return .json { body in
                body.list("items") { list in
                    if settings.apiKey?.tenant == principal.tenant { Self.writeConfigured(to: &list) }
                    for key in keys { list.object { key.writeMembers(to: &$0) } }
                }
            }
        }
        router.post("\(path)") { request, context -> Response in
            let principal = try await principal(request, context)
            try principal.requireAdministrator()
            var fields = try await request.fields()
            let name = fields.text("name", max: 80)
            var scopes = APIKeyScope.ofConsultores
            if let names = fields.optionalTexts("scopes", maxCount: 16, maxLength: 32) {
                scopes = Set(names.compactMap { APIKeyScope(rawValue: $0) })
                if scopes.isEmpty || names.contains(where: { APIKeyScope(rawValue: $0) == nil }) {
                    fields.refuse("scopes", "deve ter ao menos um de \(APIKeyScope.allCases.map(\.rawValue).joined(separator: ", "))")
                }
            }
            let expiresAt = fields.optionalTime("expires_at")
            if let expiresAt, expiresAt <= environment.now() { fields.refuse("expires_at", "deve estar no futuro") }
            try fields.check()
            let draft = APIKeyDraft(name: name, scopes: scopes, expiresAt: expiresAt, createdBy: principal.name)
            let (key, text) = try await register().create(draft, tenant: principal.tenant)
            return Self.shown(key, text, status: .created)
        }
        router.post("\(path)/:id/rotate") { request, context -> Response in
            let principal = try await principal(request, context)
            try principal.requireAdministrator()
            let id: APIKeyID = try context.identifier(.apiKey)
            var fields = try await request.fields()
            let longest = APIKeys.longestGrace.components.seconds
            let grace = fields.optionalInteger("grace_seconds", in: 0...longest).map { Duration.seconds($0) } ?? APIKeys.usualGrace
            try fields.check()
            let (key, text) = try await register().rotate(id, of: principal.tenant, grace: grace)
            return Self.shown(key, text)
        }
        router.delete("\(path)/:id") { request, context -> Response in
            let principal = try await principal(request, context)
            try principal.requireAdministrator()
            try await register().revoke(try context.identifier(.apiKey), of: principal.tenant)
            return Response(status: .noContent)
        }
    }

    private func register() throws(Refusal) -> APIKeys {
        guard let keys = settings.apiKeys else { throw .stopping }
        return keys
    }

    /// With the key itself, this once.
    private static func shown(_ key: APIKey, _ text: String, status: HTTPResponse.Status = .ok) -> Response {
        .json(status: status) {
            key.writeMembers(to: &$0)
            $0.field("key", text)
        }
    }

    private static func writeConfigured(to list: inout JSONWriter) {
        list.object {
            $0.field("id", JSON.null)
            $0.field("name", "AUTHENTICATION_API_KEY")
            $0.field("prefix", JSON.null)
            $0.field("scopes", strings: APIKeyScope.ofConsultores.map(\.rawValue).sorted())
            $0.field("source", "configuration")
            for name in ["created_by", "created_at", "rotated_at", "previous_until", "expires_at", "last_used_at"] { $0.field(name, JSON.null) }
        }
    }
}
