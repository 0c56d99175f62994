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
            try await take(items, from: bytes, context)
            return .json { $0.field("status", "ok") }
        }

        router.get("/api/v1/whatsapp/status") { request, context -> Response in
            let principal = try await principal(request, context)
            let tenant = await directory.tenant(principal.tenant)
            let setAside = try await operations.setAsideCount()
            return .json {
                $0.field("mode", settings.isSimulated ? "simulator" : "cloud_api")
                $0.field("phone_number_id", tenant?.phoneNumberID)
                $0.field("webhook", settings.whatsappSignature == nil ? "closed" : "open")
                $0.field("deliveries_set_aside", setAside)
            }
        }
    }

    /// Hands each item to the business whose number it is for. An element that cannot be read hurts nobody but itself.
    func take(_ items: [WhatsAppItem], from body: [UInt8], _ context: APIContext) async throws(Refusal) {
        var messages: [TenantID: [CustomerMessage]] = [:]
        var reports: [TenantID: [StatusReport]] = [:]
        var unreadable = 0
        var unknownNumber = 0
        for item in items {
            guard let tenant = await directory.tenant(phoneNumberID: item.phoneNumberID) else {
                unknownNumber += 1
                continue
            }
            switch item.content {
            case .message(let message): messages[tenant.id, default: []].append(CustomerMessage(message))
            case .status(let update): reports[tenant.id, default: []].append(StatusReport(update))
            case .unreadable(let reason, _):
                unreadable += 1
                context.logger.warning("an element of a delivery could not be read", metadata: ["reason": "\(reason)"])
            // What the business wrote on its own handset, and account notices, are not taken in yet.
            case .echo, .notification: break
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

extension CustomerMessage {
    init(_ message: InboundMessage) {
        self.init(
            channel: "whatsapp",
            externalID: message.wamid,
            from: ContactIdentity(waIDs: message.customer.waID.map(BrazilianPhone.variants(of:)) ?? [], bsuid: message.customer.bsuid),
            name: message.profileName ?? message.username,
            kind: message.type,
            text: message.text,
            content: message.contentJSON,
            replyTo: message.context.quotedWamid,
            sentAt: message.providerTimestamp
        )
    }
}

extension InboundMessage {
    /// What the customer said, where they said it in words; else one line on what they sent.
    fileprivate var text: String {
        switch content {
        case .text(let body): body
        case .interactiveReply(_, let title): title
        case .button(_, let text): text
        default: summary
        }
    }

    /// What a bot or a screen needs beside the text.
    fileprivate var contentJSON: String? {
        var writer = JSONWriter()
        switch content {
        case .text, .unsupported, .flowReply, .order, .contacts, .system, .edit, .revoke: return nil
        case .media(let media):
            writer.object {
                $0.field("media_id", media.id)
                $0.field("mime_type", media.mimeType)
                $0.field("sha256", media.sha256)
                $0.field("caption", media.caption)
                $0.field("filename", media.filename)
                $0.field("voice", media.isVoice)
            }
        case .location(let location):
            writer.object {
                $0.field("latitude", .double(location.latitude))
                $0.field("longitude", .double(location.longitude))
                $0.field("name", location.name)
                $0.field("address", location.address)
            }
        case .reaction(let message, let emoji):
            writer.object {
                $0.field("message_id", message)
                $0.field("emoji", emoji)
            }
        case .interactiveReply(let id, let title):
            writer.object {
                $0.field("id", id)
                $0.field("title", title)
            }
        case .button(let payload, let text):
            writer.object {
                $0.field("payload", payload)
                $0.field("text", text)
            }
        case .unknown(let raw): return raw
        }
        return String(decoding: writer.bytes, as: UTF8.self)
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
            failure: failure ?? (status == .failed ? Message.Failure(code: "failed", message: "O WhatsApp não entregou a mensagem") : nil)
        )
    }
}
