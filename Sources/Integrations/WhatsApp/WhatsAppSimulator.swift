package import Kernel

/// Stands in for WhatsApp where no credentials are set: accepts every message, and soon after reports it as sent and as delivered, by the same kind
/// of items a webhook brings. Nothing leaves the machine.
///
/// Statuses are reported while `run()` runs, which belongs to whoever starts the simulator.
package struct WhatsAppSimulator: WhatsAppSender {
    private struct Sent: Sendable {
        let wamid: String
        let message: OutboundMessage
        let phoneNumberID: String
        let reportAt: ContinuousClock.Instant
    }

    /// Messages whose statuses are still to be reported. Past this, as happens only when nobody runs the simulator, new ones get none.
    package static let maxPendingReports = 10_000

    private let environment: Environment
    private let delay: Duration
    private let report: @Sendable (WhatsAppItem) -> Void
    private let pending: AsyncStream<Sent>
    private let continuation: AsyncStream<Sent>.Continuation

    /// - Parameters:
    ///   - delay: from accepting a message to its statuses.
    ///   - report: is given each status, with the number it was sent from.
    package init(environment: Environment = .system, delay: Duration = .milliseconds(150), report: @escaping @Sendable (WhatsAppItem) -> Void) {
        self.environment = environment
        self.delay = delay
        self.report = report
        (pending, continuation) = AsyncStream.makeStream(bufferingPolicy: .bufferingOldest(Self.maxPendingReports))
    }

    package func send(_ message: OutboundMessage, credentials: WhatsAppCredentials) async -> SendOutcome {
        let bits = environment.randomBits()
        let id = UniqueID(at: environment.now(), random: bits)
        let wamid = "wamid.SIM" + id.description.filter { $0 != "-" }.uppercased()
        continuation.yield(Sent(wamid: wamid, message: message, phoneNumberID: credentials.phoneNumberID, reportAt: .now + delay))
        guard case .waID(let number) = message.envelope.recipient else { return .sent(wamid: wamid, waID: nil) }
        return .sent(wamid: wamid, waID: number)
    }

    /// Reports until cancelled. Once only.
    package func run() async {
        // The delay is the same for all, so they are due in the order they were sent.
        for await sent in pending {
            do { try await Task.sleep(until: sent.reportAt) } catch { return }
            for status in [StatusUpdate.Status.sent, .delivered] {
                report(WhatsAppItem(phoneNumberID: sent.phoneNumberID, wabaID: nil, content: .status(update(status, of: sent))))
            }
        }
    }

    private func update(_ status: StatusUpdate.Status, of sent: Sent) -> StatusUpdate {
        let recipient =
            switch sent.message.envelope.recipient {
            case .waID(let number): WhatsAppIdentity(waID: number)
            case .bsuid(let id): WhatsAppIdentity(bsuid: id)
            }
        return StatusUpdate(
            wamid: sent.wamid,
            status: status,
            timestamp: environment.now(),
            recipient: recipient,
            callbackData: sent.message.envelope.callbackData
        )
    }
}
