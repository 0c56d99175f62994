import HTTPTypes
import Hummingbird
import Identity
import Jobs
import Kernel
import Logging
import Scheduling
import Tenancy
import Wire

/// contracts/agendazap.md "Usuários" and UserService: one's profile and business, the proof of one's e-mail, a forgotten password.
extension API {
    func addAccount(to router: Router<APIContext>) {
        router.get("/api/users/profile") { request, context -> Response in
            let principal = try await principal(request, context)
            return .json(try await shown(try await directory.profile(of: principal)))
        }
        router.put("/api/users/profile") { request, context -> Response in
            let principal = try await principal(request, context)
            var fields = try await request.fields()
            let changes = fields.profile()
            let password = fields.optionalText("current_password", max: 256)
            let timezone = fields.optionalText("timezone", min: 1, max: 64)
            if let timezone, Zone.named(timezone) == nil {
                fields.refuse("timezone", "não há fuso horário com este nome; use um como America/Sao_Paulo", type: "timezone")
            }
            try fields.check()
            // Whoever may not change the zone is told so before anything else is changed.
            if timezone != nil { try principal.requireAdministrator() }
            let (profile, letters) = try await directory.changeProfile(
                of: principal,
                changes,
                password: password,
                from: origin(of: request, context)
            )
            if let timezone { _ = try await operations.changeBookingRules(["timezone": .string(timezone)], by: principal) }
            for letter in letters { await sendLater(letter, context) }
            return .json(try await shown(profile))
        }
        router.post("/api/users/change-password") { request, context -> Response in try await changePassword(request, context) }
        router.post("/api/users/verify-email") { request, context -> Response in
            let principal = try await principal(request, context)
            var fields = try await request.fields()
            let code = fields.code(fields.has("verification_code") ? "verification_code" : "code")
            try fields.check()
            let user = try await directory.verifyEmail(of: principal, code: code)
            return .json {
                $0.field("detail", "E-mail confirmado")
                $0.field("email", user.email)
                $0.field("is_verified", user.isVerified)
            }
        }
        router.post("/api/users/verify-email/resend") { request, context -> Response in
            let principal = try await principal(request, context)
            guard let letter = try await directory.verificationCode(of: principal.user, in: principal.tenant) else {
                return .json {
                    $0.field("detail", "Este e-mail já está confirmado")
                    $0.field("is_verified", true)
                }
            }
            try await send(letter)
            return .json(status: .accepted) {
                $0.field("detail", "Enviamos um código para o seu e-mail; ele vale por 30 minutos")
                $0.field("is_verified", false)
            }
        }
        // One answer whether there is such an account or not.
        router.post("/api/auth/forgot-password") { request, context -> Response in
            var fields = try await request.fields()
            let email = fields.text("email", max: 254)
            try fields.check()
            if let letter = try await directory.forgotPassword(email: email, from: origin(of: request, context)) { letters.put(letter) }
            return .json(status: .accepted) {
                $0.field("detail", "Se houver uma conta com este e-mail, enviamos um código para criar uma nova senha; ele vale por 30 minutos")
            }
        }
        router.post("/api/auth/reset-password") { request, context -> Response in
            var fields = try await request.fields()
            let email = fields.text("email", max: 254)
            let code = fields.code("code")
            let password = fields.text("new_password", max: 256)
            try fields.check()
            try await directory.resetPassword(email: email, code: code, to: password, from: origin(of: request, context))
            return .json { $0.field("detail", "Senha alterada; todas as sessões foram encerradas. Entre com a nova senha") }
        }
    }

    /// Of what is done already: a letter that cannot be queued is no reason to say that it is not, and another can be asked for.
    func sendLater(_ letter: AccountLetter, _ context: APIContext) async {
        do { try await send(letter) } catch {
            context.logger.warning("an account letter could not be queued", metadata: ["tenant": "\(letter.tenant)", "reason": "\(error)"])
        }
    }

    /// Into the e-mail queue.
    func send(_ letter: AccountLetter) async throws {
        try await operations.enqueue([letter.message(at: environment.now())], of: letter.tenant)
    }

    /// The contract's object, with what belongs to it.
    private func shown(_ profile: Directory.Profile) async throws -> [UInt8] {
        let (user, tenant) = (profile.user, profile.tenant)
        let zone = try await zone(tenant.id)
        var writer = JSONWriter(capacity: 1024)
        writer.object {
            $0.field("id", user.id.description)
            $0.field("email", user.email)
            $0.field("name", user.name)
            $0.field("role", user.role.rawValue)
            $0.field("business_name", tenant.name)
            $0.field("template_type", tenant.template?.rawValue)
            $0.field("whatsapp_number", tenant.whatsappNumber)
            $0.field("plan_type", tenant.plan.rawValue)
            $0.field("is_active", user.isActive)
            $0.field("is_verified", user.isVerified)
            $0.field("tenant_id", tenant.id.description)
            $0.field("slug", tenant.slug)
            $0.field("timezone", zone.identifier)
            $0.field("created_at", user.createdAt.description)
            $0.field("updated_at", user.updatedAt.description)
            $0.field("last_login_at", user.lastLoginAt?.description)
        }
        return writer.bytes
    }
}

extension RequestFields {
    mutating func template(_ name: String) -> TemplateType? {
        guard let text = optionalText(name, min: 1, max: 32) else { return nil }
        if let template = TemplateType(rawValue: text.lowercased()) { return template }
        refuse(name, "deve ser um destes: \(TemplateType.allCases.map(\.rawValue).joined(separator: ", "))", type: "enum")
        return nil
    }

    /// Six digits, as people paste them: with blanks between or around.
    fileprivate mutating func code(_ name: String) -> String {
        let text = text(name, max: 32).filter { !$0.isWhitespace && $0 != "-" }
        if !text.isEmpty, text.count != 6 || !text.allSatisfy({ $0.isASCII && $0.isNumber }) {
            refuse(name, "deve ter seis dígitos", type: "string_pattern_mismatch")
        }
        return text
    }

    fileprivate mutating func profile() -> ProfileChanges {
        var changes = ProfileChanges()
        changes.name = optionalText("name", min: 1, max: 120)
        changes.email = optionalText("email", min: 1, max: 254)
        changes.businessName = optionalText("business_name", min: 1, max: 120)
        changes.template = template("template_type")
        if has("whatsapp_number") { changes.whatsappNumber = .some(whatsapp("whatsapp_number", isRequired: false)) }
        return changes
    }
}

extension AccountLetter {
    fileprivate func message(at now: Timestamp) -> OutgoingMessage {
        var writer = JSONWriter()
        writer.object {
            $0.field("subject", subject)
            $0.field("text", text)
        }
        var message = OutgoingMessage(
            queue: .email,
            channel: .email,
            recipient: recipient,
            runAt: now,
            payload: String(decoding: writer.bytes, as: UTF8.self)
        )
        // Somebody waits for it at a screen.
        message.priority = 0
        message.subject = Self.subjectOfAccounts
        message.expiresAt = expiresAt
        return message
    }

    /// What account mail is about: it counts for nobody's plan.
    static let subjectOfAccounts = "account:letter"
}
