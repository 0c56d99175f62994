/// Sends messages on behalf of a business: the Cloud API, or the simulator that stands in for it.
package protocol WhatsAppSender: Sendable {
    /// One attempt, bounded in time. At most one may be in flight per conversation: the API does not keep the order of parallel ones.
    func send(_ message: OutboundMessage, credentials: WhatsAppCredentials) async -> SendOutcome
}

/// What became of one attempt.
package enum SendOutcome: Sendable, Hashable {
    /// Accepted. `waID` is the number as WhatsApp writes it.
    case sent(wamid: String, waID: String?)
    /// Certainly not sent, and trying again would not help. `title` is a sentence for people, in Portuguese where the code is a known one.
    /// An answer that is no Graph error has its HTTP status for a code.
    case refused(code: Int, title: String, action: ErrorAction)
    /// Certainly not sent; may be tried again, not before `after`.
    case retry(after: Duration?, code: Int?, reason: String)
    /// May have been sent. Never try again blindly: wait for a status that carries the message's callback data, then decide.
    case unknown(reason: String)

    /// The service is unwell, as opposed to this message, recipient or account. Only these may open the breaker.
    package var countsAgainstBreaker: Bool {
        switch self {
        case .sent, .refused: false
        case .retry(_, 429, _): false
        case .retry(_, let code?, _): WhatsAppErrorRule.rule(for: code)?.countsAgainstBreaker ?? true
        case .retry(_, nil, _), .unknown: true
        }
    }
}

/// What a business sends with. The token never shows in a description, and so in no log.
package struct WhatsAppCredentials: Sendable, Hashable, CustomStringConvertible, CustomDebugStringConvertible, CustomReflectable {
    package let phoneNumberID: String
    package let accessToken: String

    package init(phoneNumberID: String, accessToken: String) {
        self.phoneNumberID = phoneNumberID
        self.accessToken = accessToken
    }

    package var description: String { "WhatsAppCredentials(\(phoneNumberID))" }
    package var debugDescription: String { description }
    package var customMirror: Mirror { Mirror(self, children: ["phoneNumberID": phoneNumberID]) }
}
