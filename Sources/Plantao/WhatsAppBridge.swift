import Conversations
import Identity
import Integrations
import Kernel
import Logging
import Resilience
import Tenancy

/// Sends the desk's messages through WhatsApp, or through the simulator.
struct WhatsAppBridge: MessageSender {
    let sender: any WhatsAppSender
    let credentials: @Sendable (TenantID) async -> WhatsAppCredentials?
    let logger: Logger

    /// What the result of a send says of WhatsApp itself, as opposed to this message, recipient or account (research/conversations.md §10, lesson 16).
    static func verdict(_ result: SendResult) -> CallVerdict {
        switch result {
        case .sent, .refused: return .succeeded
        case .unknown: return .failed
        case .again(let after, let failure):
            guard let code = Int(failure.code) else { return .failed }
            switch (WhatsAppErrorRule.rule(for: code), code) {
            case (let rule?, _) where rule.countsAgainstBreaker: return .failed
            case (let rule?, _) where rule.action == .backOffAccount: return .throttled(after ?? rule.action.wait ?? .seconds(300))
            case (_?, _): return .succeeded
            case (nil, 429): return .throttled(after ?? .seconds(1))
            case (nil, _): return .failed
            }
        }
    }

    /// Whose limit a send has run into, if any.
    static func rateLimit(_ result: SendResult) -> String? {
        guard case .again(_, let failure) = result, let code = Int(failure.code) else { return nil }
        switch WhatsAppErrorRule.rule(for: code)?.action {
        case .backOffAccount: return "account"
        case .slowNumber: return "number"
        case .parkConversation: return "pair"
        default: return code == 429 ? "unknown" : nil
        }
    }

    func send(_ order: SendOrder, tenant: TenantID) async -> SendResult {
        guard let credentials = await credentials(tenant) else {
            return .refused(Message.Failure(code: "no_credentials", message: "O WhatsApp desta empresa não está configurado"))
        }
        let recipient: OutboundEnvelope.Recipient
        if let waID = order.toWaID {
            recipient = .waID(waID)
        } else if let bsuid = order.toBSUID {
            recipient = .bsuid(bsuid)
        } else {
            return .refused(Message.Failure(code: "no_recipient", message: "O contato não tem número nem identificador"))
        }
        let message = OutboundText(to: recipient, body: order.text, replyingTo: order.replyTo, callbackData: order.message.description)
        switch await sender.send(message, credentials: credentials) {
        case .sent(let wamid, _): return .sent(externalID: wamid)
        case .refused(let code, let title, let action):
            logger.warning(
                "WhatsApp refused a message",
                metadata: ["message": "\(order.message)", "code": .stringConvertible(code), "action": "\(action.rawValue)"]
            )
            return .refused(Message.Failure(code: String(code), message: title))
        case .retry(let after, let code, let reason):
            logger.info("a message will be sent again", metadata: ["message": "\(order.message)", "code": "\(code ?? 0)", "reason": "\(reason)"])
            return .again(after: after, Message.Failure(code: code.map(String.init) ?? "unavailable", message: "O WhatsApp não aceitou a mensagem"))
        case .unknown(let reason):
            logger.warning("whether a message was sent is not known", metadata: ["message": "\(order.message)", "reason": "\(reason)"])
            return .unknown
        }
    }
}
