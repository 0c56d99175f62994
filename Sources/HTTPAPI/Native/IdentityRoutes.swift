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
            let template = fields.template("template_type")
            let number = fields.whatsapp("whatsapp_number", isRequired: false)
            try fields.check()
            let (tenant, owner) = try await directory.createTenant(
                // Shown to anybody on the public page: not the address that somebody logs in with.
                name: business ?? "Meu negócio",
                slug: nil,
                ownerEmail: email,
                ownerName: name ?? business ?? email,
                password: password,
                plan: settings.defaultPlan,
                template: template,
                whatsappNumber: number,
                isVerified: false,
                from: origin
            )
            if let letter = try? await directory.verificationCode(of: owner.id, in: tenant.id) { await accounts(context).sendLater(letter) }
            return .json(Self.json(try await directory.login(identifier: email, password: password, from: origin)), status: .created)
        }
        for path in ["/api/v1/auth", "/api/auth"] {
            router.post("\(path)/login") { request, context -> Response in
                // The OAuth2 password form of the ISP contract, or JSON.
                var fields = try await request.formFields(["email", "username", "password"])
                let identifier = Self.identifier(&fields)
                let password = fields.text("password", max: 256)
                try fields.check()
                return .json(
                    Self.json(try await directory.login(identifier: identifier, password: password, from: origin(of: request, context)))
                )
            }
            router.post("\(path)/refresh") { request, context -> Response in
                var fields = try await request.formFields(["refresh_token"])
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

    /// `email`, or `username` where that is left out, null or blank.
    private static func identifier(_ fields: inout RequestFields) -> String {
        let given = ["email", "username"].map { name in (name, fields.optionalText(name, max: 254)) }
        if let text = given.compactMap(\.1).first(where: { !$0.allSatisfy(\.isWhitespace) }) { return text }
        // What is of a wrong type has been refused already.
        guard given.allSatisfy({ $0.1 != nil || fields.json($0.0) == nil }) else { return "" }
        return fields.text(fields.has("email") ? "email" : "username", max: 254)
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
