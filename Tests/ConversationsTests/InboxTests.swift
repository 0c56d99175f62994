import Kernel
import Testing
import Wire

@testable import Conversations

/// What each person is told of their own work, what supervisors see, and replies that are prepared.
@Suite struct InboxTests {
    let bench = Bench()

    private func events(_ change: Change, on channel: String) -> [JSON] {
        change.events.filter { $0.channel == channel }.compactMap { try? parsed($0.payload) }
    }

    private func attended(by principal: Principal = maria, from number: String = "5511900000001") async throws -> ConversationID {
        let id = try await bench.customer("atendente", from: number)
        try await bench.perform(.claim, on: id, by: principal)
        try await bench.perform(.read, on: id, by: principal)
        return id
    }

    // MARK: Unread

    @Test func whatIsUnreadIsCountedForWhoHasItAndToldWhenItChanges() async throws {
        let channel = "user:\(maria.user)"
        let first = try await attended()
        let second = try await attended(from: "5511900000002")
        for number in ["5511900000001", "5511900000001"] { try await bench.receives(bench.message("alô?", from: number)) }
        let (_, change) = try await bench.receives(bench.message("oi", from: "5511900000002"))
        #expect(events(change, on: channel).map { $0["unread"] } == [["messages": 3, "conversations": 2]])
        let (_, read) = try await bench.perform(.read, on: first, by: maria)
        #expect(events(read, on: channel).map { $0["unread"] } == [["messages": 1, "conversations": 1]])
        let (_, again) = try await bench.perform(.read, on: first, by: maria)
        #expect(again.events.isEmpty)
        // With the conversation goes what is unread in it.
        bench.pool.arrives(2, joao)
        let (_, moved) = try await bench.perform(.transfer(consultor: 2), on: second, by: maria)
        #expect(events(moved, on: channel).map { $0["unread"] } == [["messages": 0, "conversations": 0]])
        #expect(events(moved, on: "user:\(joao.user)").map { $0["unread"] } == [["messages": 1, "conversations": 1]])
        #expect(try parsed(await bench.desk.inboxSnapshot(joao.user))["unread"] == ["messages": 1, "conversations": 1])
    }

    // MARK: Supervision

    @Test func supervisorsSeeWhoHasWhatSinceWhen() async throws {
        let id = try await bench.customer("atendente")
        bench.clock.advance(by: .seconds(5))
        let (_, change) = try await bench.perform(.claim, on: id, by: maria)
        let work = try #require(events(change, on: "supervision").last?["work"])
        #expect(work["name"]?.string == "Maria")
        #expect(work["conversations"]?.array?.first?["since"]?.string == bench.clock.now.description)
        let snapshot = try parsed(await bench.desk.supervisionSnapshot())
        #expect(snapshot["work"]?.array == [work])
        let (_, ended) = try await bench.perform(.resolve, on: id, by: maria)
        #expect(events(ended, on: "supervision").last?["work"]?["conversations"]?.array == [])
        #expect(try parsed(await bench.desk.supervisionSnapshot())["work"]?.array == [])
    }

    // MARK: Mentions

    @Test(arguments: [
        ("@João pode ver?", true), ("veja com a @joao!", true), ("@Jo pode ver?", false), ("sem nome @", false), ("@Maria sou eu", false),
    ]) func aNoteTellsWhomItNames(_ text: String, _ isNamed: Bool) async throws {
        bench.pool.arrives(1, maria)
        bench.pool.arrives(2, joao)
        let id = try await attended()
        let (_, change) = try await bench.perform(.note(text: text, clientMessageID: nil), on: id, by: maria)
        let told = events(change, on: "user:\(joao.user)")
        #expect(told.map { $0["type"]?.string } == (isNamed ? ["mention.created"] : []))
        #expect(events(change, on: "user:\(maria.user)").isEmpty, "nobody mentions themselves")
        #expect(try parsed(await bench.desk.inboxSnapshot(joao.user))["mentions"]?.array?.count == (isNamed ? 1 : 0))
        let (_, read) = try await bench.perform(.read, on: id, by: joao)
        #expect(events(read, on: "user:\(joao.user)").map { $0["type"]?.string } == (isNamed ? ["mentions.read"] : []))
        #expect(try parsed(await bench.desk.inboxSnapshot(joao.user))["mentions"]?.array?.count == 0)
    }

    @Test func aFirstNameThatTwoHaveNamesNobodyAndTheWholeNameOne() async throws {
        let anaLima = Principal(tenant: tenant, user: UserID(UniqueID(high: 2, low: 11)), role: .agent, name: "Ana Lima")
        let anaPaz = Principal(tenant: tenant, user: UserID(UniqueID(high: 2, low: 12)), role: .agent, name: "Ana Paz")
        bench.pool.arrives(11, anaLima)
        bench.pool.arrives(12, anaPaz)
        let id = try await attended()
        try await bench.perform(.note(text: "@Ana olha", clientMessageID: nil), on: id, by: maria)
        #expect(await bench.desk.inbox.mentions.isEmpty)
        try await bench.perform(.note(text: "@ana paz, olha", clientMessageID: nil), on: id, by: maria)
        #expect(await bench.desk.inbox.mentions.keys.map { $0 } == [anaPaz.user])
    }

    // MARK: Canned replies

    @Test func aReplyIsSentByItsShortcutWithWhatIsKnownPutIn() async throws {
        let (reply, change) = try await bench.desk.putCannedReply(
            nil,
            shortcut: "Oi",
            text: "Olá, {{ contact }}! Sou {{agent}}, da {{business}}. Protocolo {{protocol}}. {{other}} {{",
            by: maria,
            bench.moment
        )
        bench.ledger.absorb(change)
        #expect(reply.shortcut == "oi")
        #expect(change.types(on: "desk") == ["canned.changed"])
        let id = try await attended()
        let (answer, _) = try await bench.perform(.canned(shortcut: "OI", clientMessageID: "k"), on: id, by: maria)
        guard case .message(let json) = answer else { throw Surprise("a message") }
        #expect(try parsed(json)["text"]?.string == "Olá, Ana! Sou Maria, da Rede Clara. Protocolo #00001. {{other}} {{")
        #expect(try await bench.refusal(.canned(shortcut: "tchau", clientMessageID: nil), on: id, by: maria).kind == .invalid)
    }

    @Test func aShortcutIsOnesOwn() async throws {
        let (reply, _) = try await bench.desk.putCannedReply(nil, shortcut: "oi", text: "Olá", by: maria, bench.moment)
        await #expect(throws: Refusal.self) { try await bench.desk.putCannedReply(nil, shortcut: "OI", text: "Oi", by: maria, bench.moment) }
        let (same, nothing) = try await bench.desk.putCannedReply(reply.id, shortcut: "oi", text: nil, by: maria, bench.moment)
        #expect(same == reply)
        #expect(nothing.isDurablyEmpty && nothing.events.isEmpty)
        #expect(try await bench.desk.removeCannedReply(reply.id, by: maria, bench.moment).types(on: "desk") == ["canned.removed"])
        await #expect(throws: Refusal.notFound(.cannedReply)) { try await bench.desk.removeCannedReply(reply.id, by: maria, bench.moment) }
    }
}
