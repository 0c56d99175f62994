import Crypto
import Foundation
import HTTPAPI
import Identity
import Integrations
import Jobs
import Kernel
import Logging
import NIOCore
import Notifications
import Resilience
import Scheduling
import Storage
import Tenancy
import Wire

/// Hands e-mails over to the mail server, or says in the log what it would have sent.
struct MailSender: QueueSender {
    let operations: Operations
    /// `nil`: nothing is configured, and the simulator stands in for it.
    let client: SMTPClient?
    let simulator: SimulatedSender
    let breaker: TenantBreaker
    /// The address that mails come from.
    let from: String
    let sender: @Sendable (TenantID) async -> Sender
    let links: UnsubscribeLinks
    /// Connections to the mail server at once: many servers refuse whoever comes with more, and the breaker would take that for an outage.
    let connections: Turnstile
    let environment: Kernel.Environment
    /// What simulated mails say may be said in the log.
    let showsText: Bool
    let logger: Logger

    func objection(to message: OutgoingMessage, of tenant: TenantID) async -> Jobs.SendOutcome? {
        // Looked at without taking the one call that a breaker half open lets through.
        if client != nil, breaker.breaker.state == .open, let until = breaker.breaker.openUntil, until > environment.now() {
            return .postponed(until: until + apart, reason: "o servidor de e-mail está fora do ar")
        }
        if client == nil, let objection = await simulator.objection(to: message, of: tenant) { return objection }
        return await NoticeReader(operations: operations, environment: environment).objection(to: message, of: tenant)
    }

    func send(_ message: OutgoingMessage, of tenant: TenantID) async -> Jobs.SendOutcome {
        let mail: MailMessage
        switch await self.mail(message, tenant) {
        case .success(let written): mail = written
        case .failure(let ended): return ended.outcome
        }
        guard let envelope = SMTPDialogue.Envelope(from: from, to: message.recipient) else {
            return .refused(reason: "o endereço de e-mail não é válido")
        }
        guard let client else {
            logger.notice(
                "an e-mail was not sent: SMTP_SERVER is not set",
                metadata: [
                    "tenant": "\(tenant)", "to": "\(showsText ? message.recipient : "-")", "subject": "\(showsText ? mail.subject : "-")",
                    "text": "\(showsText ? mail.text : "-")",
                ]
            )
            return await simulator.send(message, of: tenant)
        }
        return await handOver(mail, envelope, message, tenant, client)
    }

    func inTurn(_ attempt: @Sendable () async -> Jobs.SendOutcome?) async -> Jobs.SendOutcome? {
        client == nil ? await attempt() : await connections.passing(attempt)
    }

    func stop() { client?.stop() }

    private func handOver(
        _ mail: MailMessage,
        _ envelope: SMTPDialogue.Envelope,
        _ message: OutgoingMessage,
        _ tenant: TenantID,
        _ client: SMTPClient
    ) async -> Jobs.SendOutcome {
        let generation: Int
        switch breaker.callRequested() {
        case .allowed(let allowed): generation = allowed
        case .refused(let retryAfter):
            return .postponed(until: environment.now() + retryAfter + apart, reason: "o servidor de e-mail está fora do ar")
        }
        let start = ContinuousClock.now
        // It may have been called off while a line was made to the server.
        let reader = NoticeReader(operations: operations, environment: environment)
        let result = await client.send(mail.bytes, envelope) { await reader.objection(to: message, of: tenant) == nil }
        let took = ContinuousClock.now - start
        let verdict: CallVerdict
        let answer: Jobs.SendOutcome
        switch result {
        case .sent: (verdict, answer) = (.succeeded, .sent(providerID: mail.id))
        case .refused(_, let reason): (verdict, answer) = (.succeeded, .refused(reason: reason))
        // Whatever there is against it now; if nothing any more, it is begun anew.
        case .withdrawn:
            let objection = await reader.objection(to: message, of: tenant)
            (verdict, answer) = (
                .succeeded, objection ?? .postponed(until: environment.now() + .seconds(1), reason: "a situação mudou durante o envio")
            )
        // What it says of one recipient or of now, as greylisting does, it says in good health.
        case .failed(let code?, let reason) where (450...452).contains(code): (verdict, answer) = (.succeeded, .failed(reason: reason))
        case .failed(_, let reason): (verdict, answer) = (.failed, .failed(reason: reason))
        // However long it is away, that is not the message's fault.
        case .unavailable(_, let reason): (verdict, answer) = (.failed, .postponed(until: environment.now() + Self.pause, reason: reason))
        case .unknown(let reason): (verdict, answer) = (.failed, .unknown(reason: reason))
        }
        breaker.callEnded(generation, verdict, took: took)
        if verdict != .succeeded || answer != .sent(providerID: mail.id) {
            logger.warning("an e-mail was not sent", metadata: ["tenant": "\(tenant)", "key": "\(message.key ?? "-")", "reason": "\(result)"])
        }
        return answer
    }

    /// Before a message is tried again that the server was not there for. While the breaker is open it waits for that.
    private static let pause = Duration.seconds(5)

    /// What waited for the server together does not come back together.
    private var apart: Duration { Duration.seconds(5) * environment.moment().fraction }

    private struct Ended: Error { let outcome: Jobs.SendOutcome }

    private func mail(_ message: OutgoingMessage, _ tenant: TenantID) async -> Result<MailMessage, Ended> {
        let sender = await sender(tenant)
        let domain = from.split(separator: "@").last.map(String.init) ?? "plantao.local"
        // The same for every attempt, so that who receives one twice may know it.
        let id = "\(NoticeReader.digest(message, tenant))@\(domain)"
        var mail = MailMessage(
            from: .init(name: sender.name, address: from),
            to: .init(address: message.recipient),
            subject: "",
            text: "",
            date: environment.now(),
            id: id
        )
        switch await NoticeReader(operations: operations, environment: environment).read(message, of: tenant) {
        case .ended(let outcome): return .failure(Ended(outcome: outcome))
        case .plain(let json):
            guard let text = json["text"]?.string else { return .failure(Ended(outcome: .refused(reason: "a mensagem não tem texto"))) }
            mail.subject = json["subject"]?.string ?? sender.name
            mail.text = text
            mail.html = json["html"]?.string
        case .letter(let letter):
            let link = links.token(.init(tenant: tenant, channel: .email, recipient: message.recipient))
            let unsubscribe = letter.event.isTransactional ? nil : "\(sender.publicURL)/api/notifications/unsubscribe/\(link)"
            let filled = letter.filled(sender, unsubscribe: unsubscribe)
            mail.from.name = letter.settings.senderName ?? sender.name
            mail.replyTo = letter.settings.replyTo
            mail.unsubscribeURL = unsubscribe
            mail.subject = filled.subject
            mail.text = filled.text
            mail.html = filled.html
            if case .appointment(let appointment, _) = letter.subject {
                mail.to.name = appointment.clientName
                let method: CalendarFile.Method? =
                    switch letter.event {
                    case .awaitingApproval, .confirmed, .rescheduled: .request
                    case .cancelled, .declined: .cancel
                    case .reminder, .followUp, .noShow, .waitlistOffer: nil
                    }
                mail.invitation = method.map {
                    .init(
                        text: CalendarFile.text([appointment], businessName: sender.name, method: $0, organizer: letter.settings.replyTo ?? from),
                        method: $0.rawValue
                    )
                }
            }
        }
        return .success(mail)
    }
}

/// Reads what a queued message is about.
struct NoticeReader {
    let operations: Operations
    let environment: Kernel.Environment

    enum Reading {
        case letter(Letter)
        /// It says itself what to send.
        case plain(JSON)
        case ended(Jobs.SendOutcome)
    }

    func read(_ message: OutgoingMessage, of tenant: TenantID) async -> Reading {
        guard let notice = ClientNotice(payload: message.payload) else {
            guard let json = try? JSON.parse(message.payload), json.object != nil else {
                return .ended(.refused(reason: "a mensagem não pode ser lida"))
            }
            return .plain(json)
        }
        do throws(Refusal) {
            switch try await operations.letter(notice, message, of: tenant) {
            case .letter(let letter): return .letter(letter)
            case .dropped(let reason): return .ended(.dropped(reason: reason))
            case .putOff(let until, let reason): return .ended(.postponed(until: until, reason: reason))
            }
        } catch {
            // Nothing can be read now: it is not the message's fault.
            return .ended(.postponed(until: environment.now() + .seconds(Int64(error.retryAfterSeconds ?? 5)), reason: error.message))
        }
    }

    func objection(to message: OutgoingMessage, of tenant: TenantID) async -> Jobs.SendOutcome? {
        if case .ended(let outcome) = await read(message, of: tenant) { outcome } else { nil }
    }

    /// What a message is known by outside: the same whenever it is sent.
    static func digest(_ message: OutgoingMessage, _ tenant: TenantID) -> UniqueID {
        let text = "\(tenant)/\(message.channel.rawValue)/\(message.key ?? "\(message.recipient)/\(message.runAt)/\(message.payload)")"
        let bytes = Array(SHA256.hash(data: Data(text.utf8)))
        func number(_ range: Range<Int>) -> UInt64 { bytes[range].reduce(0) { $0 << 8 | UInt64($1) } }
        return UniqueID(high: number(0..<8), low: number(8..<16))
    }
}

extension Server {
    /// What the queues hand messages over to.
    func messageSenders(
        _ path: OutboundPath,
        _ operations: Operations,
        _ directory: Directory,
        _ breakers: BreakerBoard,
        _ secret: String,
        _ group: any EventLoopGroup,
        _ environment: Kernel.Environment
    ) throws -> [OutgoingMessage.Channel: any QueueSender] {
        let logger = logger
        let breaker = TenantBreaker(settings.breakers[.smtp] ?? .smtp, environment: environment) { before, now in
            guard before != now.state else { return }
            logger.log(
                level: now.state.isOpen ? .warning : .notice,
                "a circuit breaker is \(now.state.rawValue)",
                metadata: ["dependency": "smtp", "was": "\(before.rawValue)", "until": "\(now.openUntil?.description ?? "-")"]
            )
        }
        var client: SMTPClient?
        if let mail = settings.mail {
            client = try SMTPClient(mail.client, group: group)
            breakers.guards(.smtp, breaker)
        }
        let publicURL = settings.publicURL
        let sender: @Sendable (TenantID) async -> Sender = { tenant in
            let known = await directory.tenant(tenant)
            return Sender(name: known?.name ?? "", slug: known?.slug ?? "", publicURL: publicURL)
        }
        return [
            .email: MailSender(
                operations: operations,
                client: client,
                simulator: SimulatedSender(.email, environment: environment, logger: logger),
                breaker: breaker,
                from: settings.mail?.from ?? API.Settings.simulatedMailFrom,
                sender: sender,
                links: UnsubscribeLinks(secret: secret),
                connections: Turnstile(settings.mail?.connections ?? 1),
                environment: environment,
                showsText: !settings.isProduction,
                logger: logger
            ),
            .whatsapp: WhatsAppNotices(
                operations: operations,
                path: path,
                simulator: settings.whatsapp == nil ? SimulatedSender(.whatsapp, environment: environment, logger: logger) : nil,
                breakers: breakers,
                sender: sender,
                environment: environment,
                logger: logger
            ),
        ]
    }
}
