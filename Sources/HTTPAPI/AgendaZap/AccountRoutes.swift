import HTTPTypes
import Hummingbird
import Identity
import Jobs
import Kernel
import Logging
import Tenancy
import Wire

/// contracts/agendazap.md "Usuários" and UserService: one's profile and business, the proof of one's e-mail, a forgotten password.
extension API {
    func addAccount(to router: Router<APIContext>) {
        router.get("/api/users/profile") { request, context -> Response in
            let principal = try await principal(request, context)
            return .json(try await accounts(context).profile(of: principal))
        }
        router.put("/api/users/profile") { request, context -> Response in
            let principal = try await principal(request, context)
            let revision = try request.seenRevision
            return .json(
                try await accounts(context).changeProfile(
                    try await request.json(),
                    revision: revision,
                    by: principal,
                    from: origin(of: request, context)
                )
            )
        }
        router.post("/api/users/change-password") { request, context -> Response in try await changePassword(request, context) }
        router.post("/api/users/verify-email") { request, context -> Response in
            let principal = try await principal(request, context)
            return .json(try await accounts(context).verifyEmail(try await request.json(), by: principal))
        }
        router.post("/api/users/verify-email/resend") { request, context -> Response in
            let (json, isSent) = try await accounts(context).resendCode(to: try await principal(request, context))
            return .json(json, status: isSent ? .accepted : .ok)
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

    func accounts(_ context: APIContext) -> Accounts { accounts(context.logger) }
    func accounts(_ logger: Logger) -> Accounts { Accounts(directory, operations, settings, environment, logger: logger) }
}

extension RequestFields {
    mutating func template(_ name: String) -> TemplateType? {
        guard let text = optionalText(name, min: 1, max: 32) else { return nil }
        if let template = TemplateType(rawValue: text.lowercased()) { return template }
        refuse(name, "deve ser um destes: \(TemplateType.allCases.map(\.rawValue).joined(separator: ", "))", type: "enum")
        return nil
    }

    /// Six digits, as people paste them: with blanks between or around.
    mutating func code(_ name: String) -> String {
        let text = text(name, max: 32).filter { !$0.isWhitespace && $0 != "-" }
        if !text.isEmpty, text.count != 6 || !text.allSatisfy({ $0.isASCII && $0.isNumber }) {
            refuse(name, "deve ter seis dígitos", type: "string_pattern_mismatch")
        }
        return text
    }

    mutating func profile() -> ProfileChanges {
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
    func message(at now: Timestamp) -> OutgoingMessage {
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
