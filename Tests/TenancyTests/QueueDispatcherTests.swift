import Jobs
import Kernel
import Storage
import Synchronization
import TestSupport
import Testing

@testable import Tenancy

/// The workers over real cells, a real store and a journal that fails now and then.
@Suite struct QueueDispatcherTests {
    /// Notes what it was handed, and does with it what its recipient says.
    final class Sender: QueueSender {
        let handed = Mutex<[String: Int]>([:])
        let objections = Mutex<[String: SendOutcome]>([:])
        let before = Mutex<(@Sendable () -> Void)?>(nil)
        func objection(to message: OutgoingMessage, of tenant: TenantID) async -> SendOutcome? {
            before.withLock { $0 }?()
            return objections.withLock { $0[message.recipient] }
        }
        /// What comes before the provider's answer.
        let answering = Mutex<(@Sendable () async -> Void)?>(nil)
        func send(_ message: OutgoingMessage, of tenant: TenantID) async -> SendOutcome {
            handed.withLock { $0[message.recipient, default: 0] += 1 }
            await answering.withLock { $0 }?()
            return .sent(providerID: "p-\(message.recipient)")
        }
    }

    let house: House
    let sender = Sender()
    let bell = QueueBell()

    init() throws { house = try House(queueBell: bell) }

    private func dispatcher() -> QueueDispatcher {
        QueueDispatcher(
            tenants: house.tenants,
            store: house.store,
            senders: [.email: sender, .whatsapp: sender],
            environment: house.clock.environment,
            rules: QueueRules(),
            bell: bell,
            isWatched: { _ in false },
            logger: .silent
        )
    }

    private func message(_ recipient: String, key: String? = nil, in delay: Duration = .zero) -> OutgoingMessage {
        var message = OutgoingMessage(queue: .reminders, channel: .email, recipient: recipient, runAt: house.clock.now + delay, payload: "{}")
        message.key = key
        message.subject = "appointment:1"
        return message
    }

    private func states() async throws -> [QueueMessage.State: Int] {
        let query = Query(
            "SELECT state, COUNT(*) FROM queue_messages WHERE tenant_id = ? GROUP BY state",
            [.id(house.tenant)],
            kinds: [.text, .integer]
        )
        var states: [QueueMessage.State: Int] = [:]
        for row in try await house.store.rows(query) {
            var row = row
            if let state = QueueMessage.State(rawValue: row.text()) { states[state] = Int(row.integer()) }
        }
        return states
    }

    /// Runs the workers until `isMet`, while time goes on.
    private func working(_ isMet: () async throws -> Bool) async throws {
        let dispatcher = dispatcher()
        let task = Task { await dispatcher.run() }
        for _ in 0..<4000 {
            if try await isMet() { break }
            for tenant in house.alarms.due(at: house.clock.now) {
                try? await house.tenants.use(tenant) { cell throws(Refusal) in try await cell.timePassed().committed() }
            }
            house.clock.advance(by: .milliseconds(50))
            try await Task.sleep(for: .milliseconds(5))
        }
        dispatcher.stop()
        await task.value
    }

    @Test(.timeLimit(.minutes(2))) func whatIsEnqueuedIsHandedOverOnceAlsoUnderKeysThatComeAgain() async throws {
        for _ in 0..<3 { try await house.operations.enqueue((0..<20).map { message("r\($0)", key: "k\($0)") }, of: house.tenant) }
        try await working { try await states()[.sent] == 20 }
        #expect(sender.handed.withLock { $0.count == 20 && $0.values.allSatisfy { $0 == 1 } })
        #expect(try await states() == [.sent: 20], "of those that came second nothing is left")
    }

    @Test(.timeLimit(.minutes(2))) func aKeyIsRememberedByWhoeverLoadsTheBusinessAnew() async throws {
        try await house.operations.enqueue([message("r", key: "k")], of: house.tenant)
        try await working { try await states()[.sent] == 1 }
        // The live state is dropped.
        house.journal.fail(true)
        await #expect(throws: Refusal.self) { try await house.operations.enqueue([message("x")], of: house.tenant) }
        house.journal.fail(false)
        try await house.operations.enqueue([message("r", key: "k"), message("s", key: "s")], of: house.tenant)
        try await working { try await states() == [.sent: 2] }
        #expect(sender.handed.withLock { $0 } == ["r": 1, "s": 1])
    }

    @Test(.timeLimit(.minutes(2))) func whenTheDiskFailsBeforeTheHandOverNothingIsHandedOver() async throws {
        let house = house
        try await house.operations.enqueue([message("r")], of: house.tenant)
        let times = Mutex(0)
        sender.before.withLock { before in
            before = {
                let isFirst = times.withLock { times in
                    times += 1
                    return times == 1
                }
                house.journal.fail(isFirst)
            }
        }
        // Mended by whoever looks: the worker gives up this attempt, and the lease runs out.
        try await working {
            if times.withLock({ $0 }) == 1, house.journal.failures > 0 {
                #expect(sender.handed.withLock { $0.isEmpty })
                house.journal.fail(false)
            }
            return try await states()[.sent] == 1
        }
        #expect(sender.handed.withLock { $0 } == ["r": 1])
    }

    /// A worker that stood still for longer than its lease, and had handed its message over all the same.
    @Test(.timeLimit(.minutes(2))) func whoSpeaksUpLateCorrectsTheRow() async throws {
        let house = house
        let seen = Mutex<[QueueMessage.State: Int]>([:])
        sender.answering.withLock {
            $0 = {
                house.clock.advance(by: .seconds(60))
                try? await house.tenants.use(house.tenant) { cell throws(Refusal) in try await cell.timePassed().committed() }
                let rows = try? await house.store.rows(.select(from: QueueTables.messages)).map { QueueMessage($0).state }
                seen.withLock { seen in for state in rows ?? [] { seen[state, default: 0] += 1 } }
            }
        }
        try await house.operations.enqueue([message("r")], of: house.tenant)
        try await working { try await states()[.sent] == 1 }
        #expect(seen.withLock { $0 } == [.quarantined: 1])
        #expect(sender.handed.withLock { $0 } == ["r": 1])
        let row = try #require(try await house.store.rows(.select(from: QueueTables.messages)).first.map { QueueMessage($0) })
        #expect(row.providerID == "p-r" && row.why == nil && row.errors.map(\.outcome) == ["lost", "sent"])
    }

    @Test(.timeLimit(.minutes(2))) func anObjectionIsHeardBeforeAnythingIsHandedOver() async throws {
        sender.objections.withLock { $0 = ["r": .dropped(reason: "remarcado")] }
        try await house.operations.enqueue([message("r"), message("s")], of: house.tenant)
        try await working { try await states() == [.dropped: 1, .sent: 1] }
        #expect(sender.handed.withLock { $0 } == ["s": 1])
    }

    @Test(.timeLimit(.minutes(2))) func whatIsOldIsPutAwayAndItsKeyIsRememberedForLonger() async throws {
        sender.objections.withLock { $0 = ["bad": .refused(reason: "no such number")] }
        try await house.operations.enqueue([message("r", key: "k"), message("s"), message("bad")], of: house.tenant)
        try await working { try await states() == [.sent: 2, .dead: 1] }
        await dispatcher().putAwayOld()
        #expect(try await states() == [.sent: 2, .dead: 1], "not yet")
        house.clock.advance(by: .seconds(8 * 86_400))
        await dispatcher().putAwayOld()
        #expect(try await states() == [.forgotten: 1, .dead: 1])
        house.clock.advance(by: .seconds(30 * 86_400))
        await dispatcher().putAwayOld()
        #expect(try await states() == [.forgotten: 1])
        let left = try #require(try await house.store.rows(.select(from: QueueTables.messages)).first.map { QueueMessage($0) })
        #expect(left.content.key == "k" && left.content.recipient.isEmpty && left.content.payload.isEmpty)
        house.clock.advance(by: .seconds(400 * 86_400))
        await dispatcher().putAwayOld()
        #expect(try await states().isEmpty)
    }

    @Test(.timeLimit(.minutes(2))) func twentyThousandRemindersForNextMonthAreNeitherInMemoryNorReadAndCanBeCalledOff() async throws {
        let month = Duration.seconds(30 * 86_400)
        for part in 0..<10 {
            try await house.operations.enqueue(
                (0..<2000).map {
                    var message = message("r\($0)", in: month)
                    message.subject = "appointment:\(part)"
                    return message
                },
                of: house.tenant
            )
        }
        try await house.operations.enqueue([message("now", in: .seconds(2))], of: house.tenant)
        let inMemory = try await house.tenants.use(house.tenant) { cell throws(Refusal) in await cell.queues.reading { $0.inMemoryCount } }
        #expect(inMemory <= 1)
        // Loaded anew it is no more.
        house.journal.fail(true)
        await #expect(throws: Refusal.self) { try await house.operations.enqueue([message("x")], of: house.tenant) }
        house.journal.fail(false)
        let (loaded, next) = try await house.tenants.use(house.tenant) { cell throws(Refusal) in
            await cell.queues.reading { ($0.inMemoryCount, $0.nextDue(at: house.clock.now)) }
        }
        #expect(loaded == 0 && next <= house.clock.now + .seconds(2))
        try await house.tenants.use(house.tenant) { cell throws(Refusal) in
            try await cell.calledOffForTest("appointment:3").committed()
        }
        try await working { try await states() == [.scheduled: 18_000, .cancelled: 2000, .sent: 1] }
        #expect(sender.handed.withLock { $0 } == ["now": 1])
    }
}

extension TenantCell {
    fileprivate func calledOffForTest(_ subject: String) -> Pending<Void> {
        let moment = environment.moment()
        return Pending(.success(()), commit(queues.assumeIsolated { $0.callOff(subject: subject, reason: "cancelado", moment) }))
    }
}
