import HTTPTypes
import Hummingbird
import Identity
import Kernel
import Tenancy
import Wire

extension API {
    /// Register, login, refresh and logout, under the names of both contracts.
    func addIdentity(to router: Router<APIContext>) {
        router.post("/api/auth/register") { request, context -> Response in
            let origin = origin(of: request, context)
            var fields = try await request.fields()
            let email = fields.text("email", max: 254)
            let password = fields.text("password", max: 256)
            let business = fields.optionalText("business_name", min: 1, max: 120)
            let name = fields.optionalText("name", min: 1, max: 120)
            try fields.check()
            _ = try await directory.createTenant(
                name: business ?? email,
                slug: nil,
                ownerEmail: email,
                ownerName: name ?? business ?? email,
                password: password,
                from: origin
            )
            return .json(Self.json(try await directory.login(identifier: email, password: password, from: origin)), status: .created)
        }
        for path in ["/api/v1/auth", "/api/auth"] {
            router.post("\(path)/login") { request, context -> Response in
                let bytes = try await request.bytes(upTo: Request.maxBodyBytes)
                var fields: RequestFields
                // The OAuth2 password form of the ISP contract, or JSON, which `curl -d` calls a form as well.
                let isForm = request.headers[.contentType]?.lowercased().hasPrefix("application/x-www-form-urlencoded") == true
                if isForm, bytes.first != UInt8(ascii: "{") {
                    fields = try RequestFields(Request.form(bytes))
                } else {
                    fields = try RequestFields(try Request.json(bytes))
                }
                let identifier = fields.has("email") ? fields.text("email", max: 254) : fields.text("username", max: 254)
                let password = fields.text("password", max: 256)
                try fields.check()
                return .json(
                    Self.json(try await directory.login(identifier: identifier, password: password, from: origin(of: request, context)))
                )
            }
            router.post("\(path)/refresh") { request, context -> Response in
                var fields = try await request.fields()
                let token = fields.text("refresh_token", max: 4096)
                try fields.check()
                return .json(Self.json(try await directory.refresh(token, from: origin(of: request, context))))
            }
            router.post("\(path)/logout") { request, context -> Response in
                guard let session = try await claims(request).session else { throw Refusal.visitorOnly }
                try await directory.logout(session, from: origin(of: request, context))
                return .json { $0.field("detail", "Sessão encerrada") }
            }
        }
    }

    func origin(of request: Request, _ context: APIContext) -> LoginOrigin {
        LoginOrigin(address: address(of: request, context), agent: request.headers[.userAgent])
    }

    private static func json(_ login: LoginResult) -> [UInt8] {
        var writer = JSONWriter(capacity: 1024)
        writer.object {
            $0.field("access_token", login.accessToken)
            $0.field("refresh_token", login.refreshToken)
            $0.field("token_type", "bearer")
            $0.field("expires_in", login.expiresInSeconds)
            $0.key("user")
            login.user.write(to: &$0)
        }
        return writer.bytes
    }
}

extension User {
    func write(to writer: inout JSONWriter) {
        writer.object {
            $0.field("id", id.description)
            $0.field("email", email)
            $0.field("name", name)
            $0.field("role", role.rawValue)
            $0.field("is_active", isActive)
            $0.field("tenant_id", tenant.description)
            $0.field("created_at", createdAt.description)
            $0.field("last_login_at", lastLoginAt?.description)
        }
    }

    var json: [UInt8] {
        var writer = JSONWriter()
        write(to: &writer)
        return writer.bytes
    }
}
