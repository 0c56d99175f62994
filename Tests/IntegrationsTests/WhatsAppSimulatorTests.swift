import Integrations
import Kernel
import Synchronization
import Testing

@Suite struct WhatsAppSimulatorTests {
    private final class Reports: Sendable {
        let items = Mutex<[WhatsAppItem]>([])
    }

    private let credentials = WhatsAppCredentials(phoneNumberID: "110", accessToken: "")

    @Test func everyMessageIsAcceptedAndReportedAsSentAndThenDelivered() async throws {
        let reports = Reports()
        let clock = ManualEnvironment()
        let simulator = WhatsAppSimulator(environment: clock.environment, delay: .milliseconds(1)) { item in
            reports.items.withLock { $0.append(item) }
        }
        let running = Task { await simulator.run() }

        var wamids: [String] = []
        for number in 1...3 {
            let outcome = await simulator.send(
                OutboundMessage(to: .waID("551198765432\(number)"), body: "oi", callbackData: "job-\(number)"),
                credentials: credentials
            )
            guard case .sent(let wamid, let waID) = outcome else {
                Issue.record("\(outcome)")
                return
            }
            #expect(wamid.hasPrefix("wamid.SIM"))
            #expect(waID == "551198765432\(number)")
            wamids.append(wamid)
        }
        #expect(Set(wamids).count == 3)

        let deadline = ContinuousClock.now + .seconds(60)
        while reports.items.withLock({ $0.count }) < 6, ContinuousClock.now < deadline { try await Task.sleep(for: .milliseconds(2)) }
        running.cancel()
        await running.value
        let items = reports.items.withLock { $0 }
        #expect(items.allSatisfy { $0.phoneNumberID == "110" })
        let updates = items.compactMap { if case .status(let update) = $0.content { update } else { nil } }
        #expect(updates.map(\.wamid) == wamids.flatMap { [$0, $0] })
        #expect(updates.map(\.status) == [.sent, .delivered, .sent, .delivered, .sent, .delivered])
        #expect(updates.map(\.callbackData) == ["job-1", "job-1", "job-2", "job-2", "job-3", "job-3"])
        #expect(updates[0].recipient == WhatsAppIdentity(waID: "5511987654321"))
    }

    @Test func aBusinessScopedRecipientHasNoNumber() async {
        let simulator = WhatsAppSimulator { _ in }
        let outcome = await simulator.send(OutboundMessage(to: .bsuid("BR.9"), body: "oi", callbackData: "job"), credentials: credentials)
        guard case .sent(_, nil) = outcome else {
            Issue.record("\(outcome)")
            return
        }
    }
}
