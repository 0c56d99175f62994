package import Conversations
package import Kernel
package import Resilience
package import Storage
package import Wire

/// Carries out the turns that the bot's assistant takes. Called within a turn of the tenant's actors, and so never waits.
package protocol Consulting: Sendable {
    /// - Parameter ticket: what the turn answers is on disk when it opens; before that the assistant is not asked.
    func began(_ request: ConsultationRequest, tenant: TenantID, after ticket: Ticket)
    func cancelled(_ turn: BotTurnID, of conversation: ConversationID, tenant: TenantID)
}

/// Answers customers in its own words: Gemini, or what stands in for it.
package protocol Assistant: Sendable {
    /// Ends when it is cancelled, and in any case within a bounded time.
    func answer(_ request: ConsultationRequest, tenant: TenantID, with tools: AssistantTools) async -> AssistantAnswer
}

/// What an assistant may do on its way to an answer.
package struct AssistantTools: Sendable {
    /// Shows all that was said so far. `false`: nobody wants to hear more.
    package let show: @Sendable (String) async -> Bool
    /// What became of a protocol of the customer's own, or of their latest.
    package let lookUpProtocol: @Sendable (Int64?) async -> JSON

    package init(show: @escaping @Sendable (String) async -> Bool, lookUpProtocol: @escaping @Sendable (Int64?) async -> JSON) {
        self.show = show
        self.lookUpProtocol = lookUpProtocol
    }
}

package struct AssistantAnswer: Sendable, Equatable {
    package var outcome: ConsultationOutcome
    /// What it says of the service behind it.
    package var verdict: CallVerdict

    package init(_ outcome: ConsultationOutcome, _ verdict: CallVerdict) {
        self.outcome = outcome
        self.verdict = verdict
    }
}

extension BreakerBoard {
    /// Whether a call would be let through now. Asking is not calling: no probe is given out.
    package func wouldAllow(_ dependency: Dependency, of tenant: TenantID) -> Bool { breaker(dependency, of: tenant).wouldAllow }
}

extension TenantBreaker {
    fileprivate var wouldAllow: Bool {
        var copy = breaker
        guard case .allowed = copy.callRequested(at: now) else { return false }
        return true
    }
}
