import Consultores
import Conversations
import Foundation
import Kernel
import Storage
import Tenancy
import Testing
import Wire

/// The bars of research/conversations.md §10 that are about time and numbers, over the real store. Each prints its number; none asserts a time.
@Suite(.serialized) struct DeskBarTests {
    @Test func anOfferFollowsAtOnceWhenOneOfAThousandFreesUp() async throws {
        let (agents, frees) = (1000, 200)
        let house = try House()
        for number in 1...agents {
            var profile = ConsultorProfile(nome: "Agente \(number)", idiomas: ["pt"])
            profile.user = house.agent(UInt64(number)).user
            profile.statusOnline = true
            profile.capacity = 1
            _ = try await house.operations.addConsultor(profile, house.tenant)
        }
        let messages = (0..<(agents + frees)).map { house.message("atendente", from: "55119\(10_000_000 + $0)") }
        for start in stride(from: 0, to: messages.count, by: 200) {
            try await house.operations.receive(Array(messages[start..<min(start + 200, messages.count)]), tenant: house.tenant)
        }
        let offered = try await house.conversations().filter { $0.offer != nil }
        #expect(offered.count == agents, "everybody has one, and \(frees) wait")
        var decided: [Double] = []
        var pushed: [Double] = []
        for conversation in offered.prefix(frees) {
            let consultor = try #require(conversation.offer?.consultor)
            let agent = house.agent(UInt64(consultor))
            _ = try await house.operations.act(.claim, on: conversation.id, by: agent)
            house.clock.advance(by: .milliseconds(1))
            let clock = ContinuousClock()
            let start = clock.now
            let (pending, time) = try await house.tenants.use(house.tenant) { cell throws(Refusal) in
                let pending = await cell.perform(.resolve, on: conversation.id, by: agent, earlier: nil)
                return (pending, clock.now - start)
            }
            _ = try await pending.committed()
            let whole = clock.now - start
            decided.append(Double(time.inMilliseconds) + Double(time.components.attoseconds % 1_000_000_000_000_000) / 1e15)
            pushed.append(Double(whole.inMilliseconds) + Double(whole.components.attoseconds % 1_000_000_000_000_000) / 1e15)
        }
        let after = try await house.conversations()
        #expect(after.filter { $0.offer != nil }.count == agents - frees + frees, "each freed agent was offered the next one")
        #expect(after.filter { $0.state.name == "queued" }.isEmpty)
        func percentile(_ values: [Double], _ part: Double) -> String {
            String(format: "%.2f", values.sorted()[min(values.count - 1, Int(Double(values.count) * part))])
        }
        print(
            "BAR offer latency at \(agents) agents, \(frees) frees: decided p50 \(percentile(decided, 0.5)) p99 \(percentile(decided, 0.99)) ms; on disk and pushed p50 \(percentile(pushed, 0.5)) p99 \(percentile(pushed, 0.99)) ms"
        )
    }

    @Test func fiveHundredWhoAskAtOnceGetNumbersWithoutGapsInOrder() async throws {
        let house = try House()
        try await withThrowingTaskGroup(of: Void.self) { group in
            for number in 0..<500 {
                let message = house.message("atendente", from: "55119\(20_000_000 + number)")
                group.addTask { try await house.operations.receive([message], tenant: house.tenant) }
            }
            try await group.waitForAll()
        }
        let conversations = try await house.conversations()
        let numbers = conversations.compactMap(\.protocolo).sorted()
        #expect(numbers == Array(1...500))
        // A restart in between: the next one goes on.
        house.clock.advance(by: .seconds(1))
        try await house.operations.receive([house.message("atendente", from: "5511930000000")], tenant: house.tenant)
        #expect(try await house.conversations().compactMap(\.protocolo).max() == 501)
        print("BAR protocol numbers: 500 concurrent creates, \(Set(numbers).count) different, from \(numbers.first ?? 0) to \(numbers.last ?? 0)")
    }

    @Test(arguments: [2, 8, 64]) func parallelFirstMessagesOfOneContactMakeOneConversation(_ parallel: Int) async throws {
        let house = try House()
        try await withThrowingTaskGroup(of: Void.self) { group in
            for _ in 0..<parallel {
                let message = house.message("oi")
                group.addTask { try await house.operations.receive([message], tenant: house.tenant) }
            }
            try await group.waitForAll()
        }
        let conversations = try await house.conversations()
        #expect(conversations.count == 1)
        #expect(conversations.first?.unread == parallel)
        print("BAR first messages: \(parallel) at once, \(conversations.count) conversation")
    }
}
