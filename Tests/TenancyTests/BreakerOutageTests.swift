import Conversations
import Jobs
import Kernel
import Logging
import Resilience
import Storage
import Synchronization
import Tenancy
import TestSupport
import Testing

/// WhatsApp is down for ten minutes, of a clock that is told what time it is (research/conversations.md §10, lesson 16).
@Suite struct BreakerOutageTests {
    /// WhatsApp as far as the outbox can tell.
    private final class Service: MessageSender {
        private struct State {
            var isDown = false
            var attempts = 0
            var accepted: [(to: String, message: MessageID)] = []
        }
        private let state = Mutex(State())

        func goDown() { state.withLock { $0.isDown = true } }
        func comeBack() { state.withLock { $0.isDown = false } }
        var attempts: Int { state.withLock { $0.attempts } }
        var accepted: [(to: String, message: MessageID)] { state.withLock { $0.accepted } }

        func send(_ order: SendOrder, tenant: TenantID) async -> SendResult {
            state.withLock { state in
                state.attempts += 1
                if state.isDown { return .again(after: nil, Message.Failure(code: "unavailable", message: "fora do ar")) }
                state.accepted.append((order.toWaID ?? "", order.message))
                return .sent(externalID: "wamid.\(order.message)")
            }
        }
    }

    @Test func conversationsGoOnWhileItIsDownAndEverythingGoesOutOnceInItsOrder() async throws {
        let house = try House()
        let service = Service()
        let board = BreakerBoard(environment: house.clock.environment)
        let verdict: @Sendable (SendResult) -> CallVerdict = { if case .again = $0 { .failed } else { .succeeded } }
        let worker = OutboxWorker(
            tenants: house.tenants,
            store: house.store,
            sender: service,
            guarding: SendGuard(board: board, dependency: .whatsapp, verdict: verdict),
            environment: house.clock.environment,
            logger: .silent
        )
        let runner = JobRunner(
            workers: [ConversationDesk.sendJobKind: worker],
            store: house.store,
            environment: house.clock.environment,
            logger: .silent
        )
        board.onMoved { tenant, _, _, now in if now.state.isClosed { runner.letGo(ConversationDesk.sendJobKind, of: tenant) } }
        let breaker = board.breaker(.whatsapp, of: house.tenant)
        let running = Task { await runner.run() }
        var handedOver = 0
        /// Ten seconds go by, and the runner has had time to look.
        func tenSecondsPass() async {
            house.clock.advance(by: .seconds(10))
            let jobs = house.jobs
            runner.add(Array(jobs[handedOver...]))
            handedOver = jobs.count
            try? await Task.sleep(for: .milliseconds(120))
        }
        let customers = (1...20).map { "55119000000\($0 + 10)" }

        service.goDown()
        for step in 0..<60 {
            // Each of them writes every half minute, and is answered by the bot until they wait for a person.
            if step % 3 == 0 { try await house.operations.receive(customers.map { house.message("oi \(step)", from: $0) }, tenant: house.tenant) }
            await tenSecondsPass()
        }
        #expect(service.accepted.isEmpty)
        #expect(breaker.breaker.state != .closed)
        #expect(breaker.breaker.timesOpened > 1)
        // What the bot said to those who are in line by now is not sent any more.
        func messages() async throws -> [Message] {
            try await house.store.rows(
                .select(
                    from: ConversationTables.messages,
                    "WHERE tenant_id = ? AND direction = 'out' ORDER BY conversation_id, seq",
                    [.id(house.tenant)]
                )
            ).map(Message.init)
        }
        let withdrawn = try await messages().filter { $0.failure?.code == "withdrawn" }.count
        #expect(runner.waiting + withdrawn == Set(house.jobs.map(\.id)).count && runner.held > 0, "all of them wait")
        // Those that were under way when it opened, and one knock after each open time.
        #expect(service.attempts <= customers.count + 10, "an open breaker keeps the outbox from knocking")

        service.comeBack()
        for _ in 0..<200 where runner.waiting > 0 { await tenSecondsPass() }
        #expect(runner.waiting == 0)
        #expect(breaker.breaker.state == .closed)

        let (written, accepted) = (try await messages(), service.accepted)
        let toBeSent = written.filter { $0.failure?.code != "withdrawn" }
        #expect(written.count >= customers.count * 3 && toBeSent.count == accepted.count && accepted.count >= customers.count)
        #expect(toBeSent.allSatisfy { $0.status == .sent })
        #expect(Set(accepted.map(\.message)).count == accepted.count, "nothing is sent twice")
        let inOrder = Dictionary(grouping: toBeSent, by: \.conversation).mapValues { $0.map(\.id) }
        let sent = Dictionary(grouping: accepted, by: \.to).mapValues { $0.map(\.message) }
        #expect(Set(inOrder.values) == Set(sent.values), "each conversation's in its order")
        print("WhatsApp down for 600 s: \(service.attempts - accepted.count) attempts in vain, 0 lost, 0 twice of \(accepted.count) messages")
        runner.stop()
        await running.value
    }
}
