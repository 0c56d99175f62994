import Integrations
import Jobs
import Kernel
import Resilience
import Tenancy
import Wire

/// Sends the texts of `whatsapp_messages` (`{"text": …}`) through the Cloud API.
struct WhatsAppTextSender: QueueSender {
    let client: WhatsAppCloudClient
    let credentials: @Sendable (TenantID, _ phoneNumberID: String?) async -> WhatsAppCredentials?
    let breakers: BreakerBoard
    let environment: Kernel.Environment

    func objection(to message: OutgoingMessage, of tenant: TenantID) async -> Jobs.SendOutcome? {
        guard breakers.wouldAllow(.whatsapp, of: tenant) else {
            return .postponed(until: environment.now() + .seconds(5), reason: "o circuit breaker do WhatsApp está aberto")
        }
        guard await credentials(tenant, nil) != nil else { return .refused(reason: "o WhatsApp desta empresa não está configurado") }
        return nil
    }

    func send(_ message: OutgoingMessage, of tenant: TenantID) async -> Jobs.SendOutcome {
        guard let text = (try? JSON.parse(message.payload))?["text"]?.string else { return .refused(reason: "a mensagem não tem texto") }
        guard let credentials = await credentials(tenant, nil) else { return .refused(reason: "o WhatsApp desta empresa não está configurado") }
        let number = message.recipient.filter { $0.isASCII && $0.isNumber }
        let outbound = OutboundMessage(to: .waID(number), body: text, callbackData: message.key ?? "queue")
        switch await client.send(outbound, credentials: credentials) {
        case .sent(let wamid, _): return .sent(providerID: wamid)
        case .refused(_, let title, _): return .refused(reason: title)
        case .retry(let after?, _, let reason): return .postponed(until: environment.now() + after, reason: reason)
        case .retry(nil, _, let reason): return .failed(reason: reason)
        case .unknown(let reason): return .unknown(reason: reason)
        }
    }
}
