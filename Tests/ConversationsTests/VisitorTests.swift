import Kernel
import Testing
import Wire

@testable import Conversations

@Suite struct VisitorTests {
    /// Every kind of thing that happens at a desk, in a web chat: what goes to the visitor's stream is there because it was chosen.
    @Test func nothingOfTheDesksOwnEntersAVisitorsStream() async throws {
        let bench = Bench()
        bench.pool.arrives(1, maria)
        var change = Change()
        let visit = await bench.desk.visited(name: "Ana", bench.moment)
        let id = visit.conversation
        for (number, text) in ["oi", "atendente"].enumerated() {
            change.append(try await bench.desk.visitorWrote(text, clientMessageID: "k\(number)", on: visit, earlier: nil, bench.moment).1)
        }
        for command: AgentCommand in [
            .claim, .note(text: "segredo", clientMessageID: nil), .label(["vip"]), .write(text: "olá", clientMessageID: "interno-1"), .read,
            .snooze(until: bench.clock.now + .seconds(60)), .returnToBot, .resolve,
        ] {
            change.append(try await bench.desk.perform(command, on: id, by: maria, earlier: nil, bench.moment).1)
        }
        let told = change.events.filter { $0.audience == .visitor }
        #expect(told.allSatisfy { $0.channel == "conversation:\(id)" })
        let text = told.map { String(decoding: $0.payload, as: UTF8.self) }.joined(separator: "\n")
        for secret in ["segredo", "vip", maria.user.description, "activity", "note", "interno-1"] { #expect(!text.contains(secret)) }
        #expect(text.contains("olá") && text.contains("\"resolved\""))
        #expect(change.jobs.isEmpty, "what is written in a web chat is not sent anywhere")
        let snapshot = String(decoding: try await bench.desk.visitorSnapshot(visit, bench.moment), as: UTF8.self)
        for secret in ["segredo", "vip", maria.user.description, "activity"] { #expect(!snapshot.contains(secret)) }
        #expect(snapshot.contains("olá"))
    }

    @Test func aWhatsAppConversationHasNoVisitorsSide() async throws {
        let bench = Bench()
        let (_, change) = try await bench.receives(bench.message("oi"))
        #expect(change.events.allSatisfy { $0.audience == .staff })
        let id = try await bench.customer("e agora")
        let contact = try await bench.conversation(id).contact
        await #expect(throws: Refusal.notFound(.conversation)) {
            try await bench.desk.visitorSnapshot(Visit(conversation: id, contact: contact, name: "Ana"), bench.moment)
        }
    }

    @Test func anotherContactsTokenWritesNothing() async throws {
        let bench = Bench()
        let ana = await bench.desk.visited(name: "Ana", bench.moment)
        let bia = await bench.desk.visited(name: "Bia", bench.moment)
        _ = try await bench.desk.visitorWrote("oi", clientMessageID: "k", on: ana, earlier: nil, bench.moment)
        let mixed = Visit(conversation: ana.conversation, contact: bia.contact, name: "Bia")
        await #expect(throws: Refusal.notFound(.conversation)) {
            try await bench.desk.visitorWrote("oi", clientMessageID: "k", on: mixed, earlier: nil, bench.moment)
        }
        await #expect(throws: Refusal.notFound(.conversation)) { try await bench.desk.visitorRead(mixed, bench.moment) }
        await #expect(throws: Refusal.notFound(.conversation)) { try await bench.desk.returned(mixed, bench.moment) }
    }

    @Test func aWebChatBeginsWithItsFirstWord() async throws {
        let bench = Bench()
        for _ in 0..<30 { _ = await bench.desk.visited(name: "Curioso", bench.moment) }
        let visit = await bench.desk.visited(name: "Ana", bench.moment)
        #expect(await bench.desk.openByContact.isEmpty)
        #expect(await bench.desk.knows(visit.conversation))
        let seen = try parsed(try await bench.desk.visitorSnapshot(visit, bench.moment))
        #expect(seen["conversation"]?["state"] == "bot" && seen["conversation"]?["contact"]?["name"] == "Ana" && seen["messages"]?.array == [])
        #expect(try await bench.desk.returned(visit, bench.moment) == visit)
        #expect(try await bench.desk.visitorRead(visit, bench.moment).1.rows.isEmpty)
        let (_, change) = try await bench.desk.visitorWrote("oi", clientMessageID: "k", on: visit, earlier: nil, bench.moment)
        bench.ledger.absorb(change)
        #expect(bench.ledger.conversations.map(\.id) == [visit.conversation] && bench.ledger.contacts.map(\.name) == ["Ana"])
        #expect(change.types(on: "conversations") == ["conversation.changed"])
    }

    @Test func whoReloadsThePageAfterTheEndCanStillSayHowItWas() async throws {
        let bench = Bench()
        var settings = await bench.desk.deskSettings
        settings.asksSatisfaction = true
        _ = await bench.desk.govern(settings, by: admin, bench.moment)
        let visit = await bench.desk.visited(name: "Ana", bench.moment)
        _ = try await bench.desk.visitorWrote("atendente", clientMessageID: "k", on: visit, earlier: nil, bench.moment)
        for command in [AgentCommand.claim, .resolve] {
            _ = try await bench.desk.perform(command, on: visit.conversation, by: maria, earlier: nil, bench.moment)
        }
        #expect(try await bench.desk.returned(visit, bench.moment) == visit)
        _ = try await bench.desk.visitorWrote("5", clientMessageID: "nota", on: visit, earlier: nil, bench.moment)
        #expect(try await bench.conversation(visit.conversation).satisfaction?.score == 5)
        // Then it is over: the page is given another, which does not keep the first from being opened again.
        let next = try await bench.desk.returned(visit, bench.moment)
        #expect(next.conversation != visit.conversation && next.contact == visit.contact)
        _ = try await bench.desk.perform(.reopen, on: visit.conversation, by: maria, earlier: nil, bench.moment)
        #expect(try await bench.desk.returned(next, bench.moment).conversation == next.conversation)
        await #expect(throws: Refusal.self) {
            try await bench.desk.visitorWrote("oi", clientMessageID: "k2", on: next, earlier: nil, bench.moment)
        }
        #expect(try await bench.desk.returned(visit, bench.moment) == visit)
    }

    @Test func nobodysWindowClosesAWebChat() async throws {
        let bench = Bench()
        let visit = await bench.desk.visited(name: "Ana", bench.moment)
        _ = try await bench.desk.visitorWrote("oi", clientMessageID: "k", on: visit, earlier: nil, bench.moment)
        bench.clock.advance(by: .seconds(3 * 86_400))
        let (_, change) = try await bench.desk.perform(
            .write(text: "ainda aí?", clientMessageID: nil),
            on: visit.conversation,
            by: maria,
            earlier: nil,
            bench.moment
        )
        #expect(change.messages("message.created").contains { $0["text"] == "ainda aí?" && $0["status"] == "sent" })
    }

    @Test func whatAVisitorHasReadIsReadAndStaysSo() async throws {
        let bench = Bench()
        let visit = await bench.desk.visited(name: "Ana", bench.moment)
        _ = try await bench.desk.visitorWrote("oi", clientMessageID: "k", on: visit, earlier: nil, bench.moment)
        let (_, change) = try await bench.desk.visitorRead(visit, bench.moment)
        #expect(change.messages("message.changed").allSatisfy { $0["status"] == "read" } && !change.messages("message.changed").isEmpty)
        let (_, again) = try await bench.desk.visitorRead(visit, bench.moment)
        #expect(again.rows.isEmpty)
    }
}
