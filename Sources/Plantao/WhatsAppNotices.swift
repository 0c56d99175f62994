import Conversations
import Integrations
import Jobs
import Kernel
import Logging
import Notifications
import Resilience
import Tenancy
import Wire

/// Hands notices over to WhatsApp, by the same way as the desk's messages: freely within 24 hours of the client's last message, else by the template that
/// WhatsApp has approved.
struct WhatsAppNotices: QueueSender {
    let operations: Operations
    let path: OutboundPath
    /// Stands in for WhatsApp where that is not configured, and takes everything at any time.
    let simulator: SimulatedSender?
    let breakers: BreakerBoard
    let sender: @Sendable (TenantID) async -> Sender
    let environment: Kernel.Environment
    let logger: Logger

    private typealias Approved = (name: String, language: String, parameters: [String])

    private static let windowIsClosed = "131047"

    func objection(to message: OutgoingMessage, of tenant: TenantID) async -> Jobs.SendOutcome? {
        if let simulator {
            if let objection = await simulator.objection(to: message, of: tenant) { return objection }
        } else if !breakers.wouldAllow(.whatsapp, of: tenant) {
            return .postponed(
                until: environment.now() + .seconds(5) * (1 + environment.moment().fraction),
                reason: "o circuit breaker do WhatsApp está aberto"
            )
        }
        return await NoticeReader(operations: operations, environment: environment).objection(to: message, of: tenant)
    }

    func send(_ message: OutgoingMessage, of tenant: TenantID) async -> Jobs.SendOutcome {
        guard let recipient = Recipient.number(message.recipient) else { return .refused(reason: "o número de WhatsApp não é válido") }
        var text: String
        var approved: (name: String, language: String, parameters: [String])?
        let isPlain: Bool
        switch await NoticeReader(operations: operations, environment: environment).read(message, of: tenant) {
        case .ended(let outcome): return outcome
        case .plain(let json):
            guard let given = json["text"]?.string, !given.isEmpty else { return .refused(reason: "a mensagem não tem texto") }
            (text, isPlain) = (given, true)
        case .letter(let letter):
            let filled = letter.filled(await sender(tenant), unsubscribe: nil)
            (text, approved, isPlain) = (filled.text, filled.approved, false)
        }
        if text.unicodeScalars.count > 4096 { text = String(String.UnicodeScalarView(text.unicodeScalars.prefix(4096))) }
        if let simulator { return await shown(await simulator.send(message, of: tenant), recipient, text, nil, tenant) }
        let (isOpen, number): (Bool, String?)
        do throws(Refusal) {
            let window = try await operations.window(to: BrazilianPhone.variants(of: recipient), of: tenant)
            (isOpen, number) = (window.isOpen, window.phoneNumberID)
        } catch {
            return .postponed(until: environment.now() + .seconds(Int64(error.retryAfterSeconds ?? 5)), reason: error.message)
        }
        // What somebody wrote for this one client is tried in any case: WhatsApp says whether it may be.
        guard isOpen || isPlain || approved != nil else {
            return .dropped(reason: "fora da janela de 24 horas do WhatsApp, e sem modelo aprovado configurado para este aviso")
        }
        let first = isOpen || isPlain ? nil : approved
        let outcome = await attempt(message, recipient, text, first, from: number, tenant)
        guard case .refused(let failure) = outcome, failure.code == Self.windowIsClosed, isOpen || isPlain, let approved else {
            return await shown(answer(outcome), recipient, text, first, tenant)
        }
        // The window has closed meanwhile: surely not sent.
        return await shown(answer(await attempt(message, recipient, text, approved, from: number, tenant)), recipient, text, approved, tenant)
    }

    /// Whoever attends to the client sees what they were told. Where that cannot be stored now they were told all the same.
    private func shown(
        _ outcome: Jobs.SendOutcome,
        _ recipient: String,
        _ text: String,
        _ approved: Approved?,
        _ tenant: TenantID
    ) async -> Jobs.SendOutcome {
        guard case .sent(let id?) = outcome else { return outcome }
        let told = ToldByWhatsApp(waIDs: BrazilianPhone.variants(of: recipient), text: text, template: approved.map(Self.content), externalID: id)
        do throws(Refusal) { try await operations.show(told, to: tenant) } catch {
            logger.warning("what a client was told is not in their conversation", metadata: ["tenant": "\(tenant)", "reason": "\(error.code)"])
        }
        return outcome
    }

    private static func content(_ approved: Approved) -> String {
        var writer = JSONWriter()
        writer.object { object in
            object.field("template") {
                $0.field("name", approved.name)
                $0.field("language", approved.language)
                $0.field("parameters", strings: approved.parameters)
            }
        }
        return String(decoding: writer.bytes, as: UTF8.self)
    }

    private enum Attempt {
        case sent(String)
        case refused(Message.Failure)
        case other(Jobs.SendOutcome)
    }

    private func attempt(
        _ message: OutgoingMessage,
        _ recipient: String,
        _ text: String,
        _ approved: (name: String, language: String, parameters: [String])?,
        from wanted: String?,
        _ tenant: TenantID
    ) async -> Attempt {
        let number = await path.number(wanted, of: tenant)
        // It may have been called off while its way was looked for.
        if let objection = await NoticeReader(operations: operations, environment: environment).objection(to: message, of: tenant) {
            return .other(objection)
        }
        let permit: SendGuard.Permit?
        switch path.admit(tenant, number) {
        case .go(let allowed): permit = allowed
        case .wait(let until): return .other(.postponed(until: until, reason: "o WhatsApp está indisponível ou no limite de envio"))
        }
        let order = SendOrder(
            message: MessageID(NoticeReader.digest(message, tenant)),
            toWaID: recipient,
            toBSUID: nil,
            kind: approved == nil ? "text" : "template",
            text: text,
            content: approved.map(Self.content),
            replyTo: nil,
            phoneNumberID: number ?? wanted
        )
        let now = environment.now()
        switch await path.send(order, tenant, number, permit) {
        case .sent(let id, _): return .sent(id)
        case .refused(let failure): return .refused(failure)
        case .again(_, let failure): return .other(.failed(reason: "\(failure.message) (\(failure.code))"))
        case .held(let after, let failure):
            return .other(.postponed(until: now + (after ?? .seconds(15)), reason: "\(failure.message) (\(failure.code))"))
        case .stopped(let after, let failure): return .other(.postponed(until: now + after, reason: "\(failure.message) (\(failure.code))"))
        case .unknown: return .other(.unknown(reason: "a resposta do WhatsApp não chegou"))
        }
    }

    private func answer(_ attempt: Attempt) -> Jobs.SendOutcome {
        switch attempt {
        case .sent(let id): .sent(providerID: id)
        case .refused(let failure): .refused(reason: "\(failure.message) (\(failure.code))")
        case .other(let outcome): outcome
        }
    }
}
