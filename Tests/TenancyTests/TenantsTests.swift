import Consultores
import Conversations
import Foundation
import Kernel
import Storage
import Synchronization
import Tenancy
import Testing
import Wire

@Suite struct TenantsTests {
    @Test func manyFirstUsesAtOnceLoadATenantOnce() async throws {
        let house = try House()
        try await withThrowingTaskGroup(of: Void.self) { group in
            for _ in 0..<50 { group.addTask { _ = try await house.operations.consultores(house.tenant) } }
            try await group.waitForAll()
        }
        #expect(house.store.loads == 1)
    }

    @Test func anIdleTenantSleepsAndWakesAsItWas() async throws {
        let house = try House()
        try await house.operations.receive([house.message("oi")], tenant: house.tenant)
        let id = try #require(try await house.conversations().first).id
        let before = try await house.operations.conversation(id, for: house.agent())
        await house.tenants.sweep()
        #expect(house.tenants.awakeCount == 1, "not idle for long enough")
        house.clock.advance(by: .seconds(901))
        await house.tenants.sweep()
        #expect(house.tenants.awakeCount == 0)
        #expect(try await house.operations.conversation(id, for: house.agent()) == before)
        #expect(house.store.loads == 2)
    }

    @Test func aTenantIsKeptAwakeWhileSomebodyWaitsOrWatches() async throws {
        let watched = Mutex(false)
        let house = try House(watched: { _ in watched.withLock { $0 } })
        try await house.operations.receive([house.message("atendente")], tenant: house.tenant)
        house.clock.advance(by: .seconds(901))
        await house.tenants.sweep()
        #expect(house.tenants.awakeCount == 1, "somebody waits for a person")
        let id = try #require(try await house.conversations().first).id
        _ = try await house.operations.act(.claim, on: id, by: house.agent())
        watched.withLock { $0 = true }
        house.clock.advance(by: .seconds(901))
        await house.tenants.sweep()
        #expect(house.tenants.awakeCount == 1, "somebody watches")
        watched.withLock { $0 = false }
        await house.tenants.sweep()
        #expect(house.tenants.awakeCount == 0)
    }

    @Test func pastTheLimitThoseIdleForLongestSleepSooner() async throws {
        var limits = Tenants.Limits()
        limits.awake = 1
        let house = try House(limits: limits)
        _ = try await house.operations.consultores(house.tenant)
        house.clock.advance(by: .seconds(1))
        _ = try await house.operations.consultores(house.other)
        await house.tenants.sweep()
        #expect(house.tenants.awakeCount == 1)
        _ = try await house.operations.consultores(house.other)
        #expect(house.store.loads == 2, "it was the other one that was put to sleep")
    }

    @Test func whatCouldNotBeStoredNeverHappened() async throws {
        let house = try House()
        try await house.operations.receive([house.message("oi", id: "w1")], tenant: house.tenant)
        let id = try #require(try await house.conversations().first).id
        let before = try await house.operations.conversation(id, for: house.agent())
        house.journal.fail(true)
        await #expect(throws: Refusal.journalUnavailable) { _ = try await house.operations.act(.claim, on: id, by: house.agent()) }
        await #expect(throws: Refusal.journalUnavailable) {
            try await house.operations.receive([house.message("e aí", id: "w2")], tenant: house.tenant)
        }
        #expect(try await house.operations.conversation(id, for: house.agent()) == before, "what is shown is what is stored")
        house.journal.fail(false)
        try await house.operations.receive([house.message("e aí", id: "w2"), house.message("oi", id: "w1")], tenant: house.tenant)
        let after = try JSON.parse(try await house.operations.conversation(id, for: house.agent()))
        #expect(after["unread"]?.int == 2, "the refused one is taken now, the first one is a duplicate")
        #expect(after["state"]?.string == "bot")
    }

    @Test func aRefusalWaitsForWhatItRefusesFor() async throws {
        let house = try House()
        try await house.operations.receive([house.message("oi")], tenant: house.tenant)
        let id = try #require(try await house.conversations().first).id
        house.journal.fail(true)
        // The second claim is refused because of the first, which is then not stored: neither may be told of the other.
        async let first = Result { try await house.operations.act(.claim, on: id, by: house.agent(1)) }
        async let second = Result { try await house.operations.act(.claim, on: id, by: house.agent(2)) }
        for result in await [first, second] {
            #expect(throws: Refusal.journalUnavailable) { _ = try result.get() }
        }
    }

    @Test func anOfferRunsOutWhileTheTenantSleepsOrTheDiskIsFull() async throws {
        let house = try House()
        _ = try await house.operations.addConsultor(
            {
                var profile = ConsultorProfileFixture.online
                profile.user = house.agent().user
                return profile
            }(),
            house.tenant
        )
        try await house.operations.receive([house.message("atendente")], tenant: house.tenant)
        #expect(try await house.conversations().first?.state.name == "offered")
        house.clock.advance(by: .seconds(31))
        house.journal.fail(true)
        for tenant in house.alarms.due(at: house.clock.now) {
            await #expect(throws: Refusal.self) {
                try await house.tenants.use(tenant) { cell throws(Refusal) in try await cell.timePassed().committed() }
            }
        }
        house.journal.fail(false)
        house.clock.advance(by: .seconds(2))
        let due = house.alarms.due(at: house.clock.now)
        #expect(due == [house.tenant], "the alarm stands until it has been heard")
        for tenant in due { try await house.tenants.use(tenant) { cell throws(Refusal) in try await cell.timePassed().committed() } }
        let messages = try JSON.parse(
            try await house.operations.messages(
                of: try #require(try await house.conversations().first).id,
                before: nil,
                limit: 50,
                for: house.agent()
            )
        )
        #expect(messages["items"]?.array?.contains { $0["text"]?.string?.contains("não respondeu") == true } == true)
    }

    @Test func numberAndIDOfOnePersonInTwoContactsBlockNobody() async throws {
        let house = try House()
        func delivery(_ number: String?, _ bsuid: String?) -> CustomerMessage {
            CustomerMessage(
                channel: "whatsapp",
                externalID: UUID().uuidString,
                from: ContactIdentity(waIDs: number.map { [$0] } ?? [], bsuid: bsuid),
                name: "Ana",
                kind: "text",
                text: "oi",
                content: nil,
                replyTo: nil,
                sentAt: house.clock.now
            )
        }
        try await house.operations.receive([delivery("5511900000001", nil)], tenant: house.tenant)
        try await house.operations.receive([delivery(nil, "BR.999")], tenant: house.tenant)
        house.clock.advance(by: .seconds(901))
        await house.tenants.sweep()
        try await house.operations.receive([delivery("5511900000001", "BR.999")], tenant: house.tenant)
        try await house.operations.receive([delivery("5511900000001", "BR.999")], tenant: house.tenant)
        #expect(try await house.conversations().count == 2)
        #expect(house.gate.counters.failedCommits == 0)
    }

    @Test func anotherTenantsConversationIsNotThere() async throws {
        let house = try House()
        try await house.operations.receive([house.message("oi")], tenant: house.tenant)
        let id = try #require(try await house.conversations().first).id
        let stranger = house.agent(9, role: .owner, of: house.other)
        await #expect(throws: Refusal.notFound(.conversation)) { _ = try await house.operations.act(.claim, on: id, by: stranger) }
        await #expect(throws: Refusal.notFound(.conversation)) { _ = try await house.operations.conversation(id, for: stranger) }
        await #expect(throws: Refusal.notFound(.conversation)) {
            _ = try await house.operations.messages(of: id, before: nil, limit: 1, for: stranger)
        }
    }
}

extension Result where Failure == any Error {
    fileprivate init(_ body: () async throws -> Success) async {
        do { self = .success(try await body()) } catch { self = .failure(error) }
    }
}
