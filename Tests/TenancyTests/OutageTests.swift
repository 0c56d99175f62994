import Conversations
import Kernel
import Logging
import Storage
import Synchronization
import Tenancy
import TestSupport
import Testing
import Wire

@testable import Jobs

/// WhatsApp away for ten minutes of virtual time, over the real desk, gate, store, outbox and job runner: only the clock and the far end are made up.
@Suite struct OutageTests {
    /// Takes messages while it is up. When it goes down some are taken whose answers never arrive.
    final class FarEnd: MessageSender {
        struct State {
            var isUp = true
            /// How many more are taken without an answer, once down.
            var lostAnswers = 0
            var taken: [(message: MessageID, to: String, text: String, at: Timestamp)] = []
            var attemptsWhileDown = 0
            var inFlight: Set<String> = []
            var overlapped = false
            var unanswered: [MessageID] = []
        }
        let state = Mutex(State())
        private let clock: ManualEnvironment

        init(clock: ManualEnvironment) { self.clock = clock }

        func send(_ order: SendOrder, tenant: TenantID) async -> SendResult {
            let to = order.toWaID ?? ""
            state.withLock { if !$0.inFlight.insert(to).inserted { $0.overlapped = true } }
            await Task.yield()
            let now = clock.now
            return state.withLock { state in
                state.inFlight.remove(to)
                if state.isUp {
                    state.taken.append((order.message, to, order.text, now))
                    return .sent(externalID: "wamid.\(order.message)")
                }
                if state.lostAnswers > 0 {
                    state.lostAnswers -= 1
                    state.taken.append((order.message, to, order.text, now))
                    state.unanswered.append(order.message)
                    return .unknown
                }
                state.attemptsWhileDown += 1
                return .held(after: nil, Message.Failure(code: "unavailable", message: "fora do ar"))
            }
        }
    }

    @Test(.timeLimit(.minutes(3))) func tenMinutesWithoutWhatsAppLoseNothingRepeatNothingAndKeepTheOrder() async throws {
        var random = SeededGenerator.fresh()
        let house = try House()
        let far = FarEnd(clock: house.clock)
        let runner = JobRunner(
            workers: [
                ConversationDesk.sendJobKind: OutboxWorker(
                    tenants: house.tenants,
                    store: house.store,
                    sender: far,
                    environment: house.clock.environment,
                    logger: .silent
                )
            ],
            store: house.store,
            environment: house.clock.environment,
            logger: .silent
        )
        house.connect(runner)
        let running = Task { await runner.run() }
        let agent = house.agent(role: .admin)
        let people = (1...12).map { "55119000000\($0 < 10 ? "0" : "")\($0)" }
        for person in people { try await house.operations.receive([house.message("atendente", from: person)], tenant: house.tenant) }
        var ids: [String: ConversationID] = [:]
        for conversation in try await house.conversations() {
            ids[conversation.contactNumber ?? ""] = conversation.id
            _ = try await house.operations.act(.claim, on: conversation.id, by: agent)
        }
        #expect(ids.count == people.count)
        try await settle(runner)

        far.state.withLock {
            $0.isUp = false
            $0.lostAnswers = 3
        }
        let down = house.clock.now
        var written: [String: [String]] = [:]
        var inbound = 0
        while house.clock.now < down + .seconds(600) {
            for person in people where Int.random(in: 0..<4, using: &random) == 0 {
                let id = try #require(ids[person])
                if Bool.random(using: &random) {
                    try await house.operations.receive([house.message("oi \(inbound)", from: person)], tenant: house.tenant)
                    inbound += 1
                } else {
                    let text = "\(person) \(written[person, default: []].count)"
                    _ = try await house.operations.act(.write(text: text, clientMessageID: nil), on: id, by: agent)
                    written[person, default: []].append(text)
                }
            }
            try await settle(runner)
            house.clock.advance(by: .seconds(5))
            runner.wakePostponed()
        }
        try await settle(runner)
        let total = written.values.reduce(0) { $0 + $1.count }
        let before = far.state.withLock { $0 }
        #expect(before.unanswered.count == 3)
        let waiting = runner.waiting
        #expect(waiting == total - 3, "everything else waits")
        #expect(
            try await house.store.rows(.select(from: ConversationTables.messages, "WHERE tenant_id = ? AND direction = 'in'", [.id(house.tenant)]))
                .count == inbound + people.count
        )

        far.state.withLock { $0.isUp = true }
        let up = house.clock.now
        while runner.waiting > 0 {
            house.clock.advance(by: .seconds(1))
            runner.wakePostponed()
            try await settle(runner)
        }
        let took = house.clock.now - up
        let after = far.state.withLock { $0 }
        let own = after.taken.filter { written[$0.to]?.contains($0.text) == true }
        #expect(own.count == total, "each one once")
        #expect(Set(own.map(\.message)).count == total)
        for person in people { #expect(own.filter { $0.to == person }.map(\.text) == written[person] ?? [], "in the order they were written") }
        #expect(!after.overlapped, "one in flight for each conversation")
        #expect(took <= ConversationDesk.longestHold + .seconds(1), "and soon after it came back")

        // What was taken without an answer is shown as unknown, until a status tells.
        func statuses() async throws -> [MessageID: Message.Status] {
            let rows = try await house.store.rows(.select(from: ConversationTables.messages, "WHERE tenant_id = ?", [.id(house.tenant)]))
            return Dictionary(uniqueKeysWithValues: rows.map(Message.init).map { ($0.id, $0.status) })
        }
        let shown = try await statuses()
        #expect(shown.filter { $0.value == .unknown }.map(\.key).sorted() == after.unanswered.sorted())
        let reports = after.unanswered.map { StatusReport(externalID: "wamid.\($0)", message: $0, status: .delivered, failure: nil) }
        try await house.operations.report(reports, tenant: house.tenant)
        let settled = try await statuses()
        #expect(after.unanswered.allSatisfy { settled[$0] == .delivered })
        #expect(!settled.values.contains { [.queued, .sending, .unknown, .failed].contains($0) })
        print(
            "outage of 600 s: \(total) messages and \(inbound) from customers meanwhile, \(after.attemptsWhileDown) attempts in vain, \(waiting) waiting at its end, all out \(took) after it, 0 twice, 0 out of order"
        )
        runner.stop()
        running.cancel()
        await running.value
    }

    /// Until nobody is at work: what waits, waits for the clock.
    private func settle(_ runner: JobRunner) async throws {
        repeat { try await Task.sleep(for: .milliseconds(2)) } while runner.isBusy
    }
}
