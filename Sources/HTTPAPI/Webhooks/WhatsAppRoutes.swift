package import Conversations
import HTTPTypes
import Hummingbird
import Identity
package import Integrations
import Kernel
import Logging
import Tenancy
import Wire

extension API {
    /// Meta sends up to 3 MB (research/conversations.md §5.1).
    static let maxDeliveryBytes = 4 << 20

    func addWhatsApp(to router: Router<APIContext>) {
        router.get("/api/webhooks/whatsapp") { request, _ -> Response in
            guard let token = settings.whatsappVerifyToken, request.query("hub.mode") == "subscribe", request.query("hub.verify_token") == token,
                let challenge = request.query("hub.challenge")
            else { throw Refusal(.forbidden, "verify_token_invalid", "O token de verificação não confere.") }
            return .text(challenge)
        }

        // 200 means that every element is on disk. Anything else, and Meta delivers again; what was taken is known by its wamid.
        router.post("/api/webhooks/whatsapp") { request, context -> Response in
            let bytes = try await request.bytes(upTo: Self.maxDeliveryBytes)
            guard let signature = settings.whatsappSignature else {
                throw Refusal(.forbidden, "webhook_closed", "O webhook está fechado: WHATSAPP_APP_SECRET não foi configurado.")
            }
            switch signature.verdict(on: bytes, header: request.headers[HTTPField.Name("X-Hub-Signature-256")!]) {
            case .valid: break
            case .missing: throw Refusal(.unauthenticated, "signature_missing", "Falta o cabeçalho X-Hub-Signature-256.")
            case .malformed, .wrong: throw Refusal(.forbidden, "signature_wrong", "A assinatura não confere com o corpo.")
            }
            let items: [WhatsAppItem]
            do throws(WhatsAppDelivery.Failure) { items = try WhatsAppDelivery.items(in: bytes) } catch {
                throw Refusal(.malformed, "not_a_delivery", "O corpo não é uma entrega do WhatsApp.")
            }
            settings.whatsapp?.delivered(at: environment.now())
            try await take(items, from: bytes, context)
            return .json { $0.field("status", "ok") }
        }

        addWhatsAppNumbers(to: router)
    }

    /// Whose number it is: a registered one's, or the one the server is configured with.
    private func tenant(of phoneNumberID: String?) async -> TenantID? {
        if let id = phoneNumberID.flatMap({ settings.whatsapp?.numbers.tenant(of: $0) }) { return id }
        return await directory.tenant(phoneNumberID: phoneNumberID)?.id
    }

    /// Hands each item to the business whose number it is for. An element that cannot be read hurts nobody but itself.
    func take(_ items: [WhatsAppItem], from body: [UInt8], _ context: APIContext) async throws(Refusal) {
        var messages: [TenantID: [CustomerMessage]] = [:]
        var reports: [TenantID: [StatusReport]] = [:]
        var unreadable = 0
        var unknownNumber = 0
        for item in items {
            guard let tenant = await tenant(of: item.phoneNumberID) else {
                unknownNumber += 1
                continue
            }
            switch item.content {
            case .message(let message): messages[tenant, default: []].append(CustomerMessage(message, phoneNumberID: item.phoneNumberID))
            case .echo(let message):
                messages[tenant, default: []].append(CustomerMessage(message, phoneNumberID: item.phoneNumberID, isEcho: true))
            case .status(let update): reports[tenant, default: []].append(StatusReport(update))
            case .unreadable(let reason, _):
                unreadable += 1
                context.logger.warning("an element of a delivery could not be read", metadata: ["reason": "\(reason)"])
            // Of accounts and templates, not of conversations.
            case .notification(let field, _): context.notes.note("notification", field)
            }
        }
        context.notes.note("messages", messages.values.reduce(0) { $0 + $1.count })
        context.notes.note("statuses", reports.values.reduce(0) { $0 + $1.count })
        if unreadable > 0 { context.notes.note("unreadable", unreadable) }
        if unknownNumber > 0 { context.notes.note("unknown_number", unknownNumber) }
        if unreadable + unknownNumber > 0 {
            try await operations.setAside(body, reason: "\(unreadable) unreadable, \(unknownNumber) for unknown numbers")
        }
        // One business that cannot take its part now keeps no other from taking theirs; the delivery comes again, and those know it by then.
        var refused: Refusal?
        for (tenant, messages) in messages {
            do throws(Refusal) { try await operations.receive(messages, tenant: tenant) } catch { refused = error }
        }
        for (tenant, reports) in reports {
            do throws(Refusal) { try await operations.report(reports, tenant: tenant) } catch { refused = error }
        }
        if let refused { throw refused }
    }
}

extension StatusReport {
    package init(_ update: StatusUpdate) {
        let status: Message.Status =
            switch update.status {
            case .sent: .sent
            case .delivered: .delivered
            case .read, .played: .read
            case .failed: .failed
            }
        let failure = update.errors.first.map { error in
            Message.Failure(code: String(error.code), message: WhatsAppErrorRule.rule(for: error.code)?.meaning ?? error.title)
        }
        self.init(
            externalID: update.wamid,
            message: update.callbackData.flatMap { MessageID($0) },
            status: status,
            failure: failure ?? (status == .failed ? Message.Failure(code: "failed", message: "O WhatsApp não entregou a mensagem") : nil),
            at: update.timestamp,
            isPlayed: update.status == .played
        )
    }
}
