package import Conversations
package import Kernel
import Logging
import Telemetry

/// What stands between anything that is sent to a customer and what it is sent through: the breaker, what stops an account, and how fast a number may go. One for
/// all that goes out, so that what one of them learns the others know.
package struct OutboundPath: Sendable {
    let tenants: Tenants
    let sender: any MessageSender
    let guarding: SendGuard?
    let stops: AccountStops
    /// An account was stopped: people are to be told.
    let accountStopped: @Sendable (TenantID, _ number: String?, Message.Failure) async -> Void
    let pace = NumberPace()
    let environment: Environment
    let logger: Logger

    package enum Admission {
        /// The permit is to be given to `send`, or abandoned.
        case go(SendGuard.Permit?)
        case wait(until: Timestamp)
    }

    /// Which of a business's numbers something goes out from, where it has several and each has trouble of its own.
    package func number(_ wanted: String?, of tenant: TenantID) async -> String? {
        guard await sender.hasSeveralNumbers(tenant) else { return nil }
        return await sender.number(wanted, of: tenant)
    }

    /// - Parameter number: which of several it goes out from; `nil` for the only one.
    package func admit(_ tenant: TenantID, _ number: String?) -> Admission {
        var permit: SendGuard.Permit?
        if let guarding {
            switch guarding.ask(tenant, number) {
            case .allowed(let allowed): permit = allowed
            case .refused(let retryAfter): return .wait(until: environment.now() + retryAfter)
            }
        }
        let now = environment.now()
        if let until = stops.holds(tenant, number, at: now) ?? pace.ask(tenant, number, at: now) {
            permit?.abandon()
            return .wait(until: until)
        }
        return .go(permit)
    }

    /// One attempt, and what is to be learnt from it.
    package func send(_ order: SendOrder, _ tenant: TenantID, _ number: String?, _ permit: SendGuard.Permit?) async -> SendResult {
        let start = ContinuousClock.now
        let result = await tenants.telemetry.span("outbox.send", .client, begins: true) { await sender.send(order, tenant: tenant) }
        count(result, took: .now - start)
        permit?.report(result)
        await learn(from: result, tenant, number)
        return result
    }

    private func count(_ result: SendResult, took: Duration) {
        let metrics = tenants.telemetry.metrics
        let outcome: (call: String, message: String?) =
            switch result {
            case .sent: ("sent", "sent")
            case .refused: ("refused", "failed")
            case .again, .held: ("retry", nil)
            case .stopped: ("refused", nil)
            case .unknown: ("unknown", "unknown")
            }
        metrics.whatsappCalls.observe(took, LabelValues("messages", outcome.call))
        if let message = outcome.message { metrics.messagesSent.add(1, LabelValues("whatsapp", message)) }
        if let scope = guarding?.rateLimit(result) { metrics.whatsappRateLimits.add(1, LabelValues(scope)) }
    }

    /// What one message's fate says about its number, and about the whole account.
    private func learn(from result: SendResult, _ tenant: TenantID, _ number: String?) async {
        switch result {
        case .stopped(_, let failure):
            let (isNews, number) = stops.refused(tenant, number, failure, at: environment.now())
            if isNews { await accountStopped(tenant, number, failure) }
        case .sent, .refused: if stops.passed(tenant, number) { logger.notice("an account sends again", metadata: ["tenant": "\(tenant)"]) }
        case .held(let after, let failure) where failure.code == Self.numberIsTooFast:
            pace.tooFast(tenant, number, waiting: after ?? .seconds(1), at: environment.now())
        case .again, .held, .unknown: break
        }
    }

    private static let numberIsTooFast = "130429"
}
