package import Kernel

/// The queues of contracts/agendazap.md "Tipos de Filas", by the contract's names.
package enum QueueName: String, Sendable, Hashable, CaseIterable {
    case confirmations = "appointment_confirmations"
    case reminders = "appointment_reminders"
    case cancellations = "appointment_cancellations"
    case followUps = "appointment_follow_ups"
    case whatsapp = "whatsapp_messages"
    case email = "email_notifications"
}

/// Something that is to be sent to somebody, as whoever wants it sent says it.
package struct OutgoingMessage: Sendable, Equatable {
    package enum Channel: String, Sendable { case whatsapp, email }

    package var queue: QueueName
    package var channel: Channel
    /// A telephone number or an e-mail address, by the channel.
    package var recipient: String
    /// Of each key of a business there is one message, ever: `<appointment>:<revision>:<rule>:<channel>`. Another under the same key is not taken.
    package var key: String?
    /// The key was made in this turn, of something that had no such revision before: nobody can have used it, and nobody has to look. Not stored.
    package var isKeyNew = false
    /// What it is about, such as `appointment:<id>`: what is about one thing is called off together.
    package var subject: String?
    /// From 0, which comes first, to 9.
    package var priority = 5
    package var runAt: Timestamp
    /// From then on it is of no use to anybody, and is given up.
    package var expiresAt: Timestamp?
    package var maxAttempts = 8
    /// JSON, in the sender's own shape: the template and what stands in it.
    package var payload: String

    package init(queue: QueueName, channel: Channel, recipient: String, runAt: Timestamp, payload: String) {
        self.queue = queue
        self.channel = channel
        self.recipient = recipient
        self.runAt = runAt
        self.payload = payload
    }

    package static let ofTheAccount = "account:"
    /// Codes, alerts of usage: the server's own letters to those who have an account. Whoever reads such a code is taken for who may read that mailbox: so
    /// nobody is shown these letters here, whatever their role, and once they are over their words are gone.
    package var isOfTheAccount: Bool { subject?.hasPrefix(Self.ofTheAccount) ?? false }

    /// Enough of the recipient to tell one from another, and not enough to write to them.
    package var maskedRecipient: String {
        guard !recipient.isEmpty else { return "" }
        guard let at = recipient.lastIndex(of: "@") else { return "…" + recipient.suffix(recipient.count > 7 ? 4 : 0) }
        return recipient[..<at].prefix(1) + "…" + recipient[at...]
    }
}

/// Hands messages over to a provider.
package protocol QueueSender: Sendable {
    /// Waits for whatever it takes an attempt, as for a connection of which there are only so many, and has it made then. By now nothing is on disk of its
    /// being handed over: who waits here when the process ends has surely not been sent.
    func inTurn(_ attempt: @Sendable () async -> SendOutcome?) async -> SendOutcome?
    /// Looked at just before the message is handed over, and before that is on disk: whether it is still to be sent.
    /// - Returns: `nil` when it is; else what becomes of it.
    func objection(to message: OutgoingMessage, of tenant: TenantID) async -> SendOutcome?
    /// One attempt. By now it is on disk that the message is being handed over: it is not sent a second time after a crash.
    func send(_ message: OutgoingMessage, of tenant: TenantID) async -> SendOutcome
    /// The server ends: an attempt that has surely sent nothing yet, and would wait for somebody, ends as `postponed`.
    func stop()
}

extension QueueSender {
    package func inTurn(_ attempt: @Sendable () async -> SendOutcome?) async -> SendOutcome? { await attempt() }
    package func stop() {}
}

package enum SendOutcome: Sendable, Equatable {
    /// The provider has taken it, under its own id where it gives one.
    case sent(providerID: String?)
    /// Not to be sent any more: called off, changed since, too late, not wanted.
    case dropped(reason: String)
    /// Surely not sent; tried again after a pause.
    case failed(reason: String)
    /// Nothing was tried: throttled, a breaker is open, quiet hours. Costs no attempt.
    case postponed(until: Timestamp, reason: String)
    /// Surely not sent, and never will be: a number that does not exist.
    case refused(reason: String)
    /// It may have been sent: not tried again by itself.
    case unknown(reason: String)
}

extension SendOutcome {
    /// Nothing has gone out, whatever was tried.
    package var isSurelyNotSent: Bool {
        switch self {
        case .sent, .unknown: false
        case .dropped, .failed, .postponed, .refused: true
        }
    }
}
