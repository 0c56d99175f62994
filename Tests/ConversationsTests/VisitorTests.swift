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
        let (visit, opened) = try await bench.desk.visited(name: "Ana", bench.moment)
        change.append(opened)
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
        let snapshot = String(decoding: await bench.desk.visitorSnapshot(id, bench.moment) ?? [], as: UTF8.self)
        for secret in ["segredo", "vip", maria.user.description, "activity"] { #expect(!snapshot.contains(secret)) }
        #expect(snapshot.contains("olá"))
    }

    @Test func aWhatsAppConversationHasNoVisitorsSide() async throws {
        let bench = Bench()
        let (_, change) = try await bench.receives(bench.message("oi"))
        #expect(change.events.allSatisfy { $0.audience == .staff })
        let id = try await bench.customer("e agora")
        #expect(await bench.desk.visitorSnapshot(id, bench.moment) == nil)
    }

    @Test func anotherContactsTokenWritesNothing() async throws {
        let bench = Bench()
        let (ana, _) = try await bench.desk.visited(name: "Ana", bench.moment)
        let (bia, _) = try await bench.desk.visited(name: "Bia", bench.moment)
        let mixed = Visit(conversation: ana.conversation, contact: bia.contact)
        await #expect(throws: Refusal.notFound(.conversation)) {
            try await bench.desk.visitorWrote("oi", clientMessageID: "k", on: mixed, earlier: nil, bench.moment)
        }
        await #expect(throws: Refusal.notFound(.conversation)) { try await bench.desk.visitorRead(mixed, bench.moment) }
        await #expect(throws: Refusal.notFound(.conversation)) { try await bench.desk.returned(mixed, bench.moment) }
    }

    @Test func nobodysWindowClosesAWebChat() async throws {
        let bench = Bench()
        let (visit, _) = try await bench.desk.visited(name: "Ana", bench.moment)
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
        let (visit, _) = try await bench.desk.visited(name: "Ana", bench.moment)
        _ = try await bench.desk.visitorWrote("oi", clientMessageID: "k", on: visit, earlier: nil, bench.moment)
        let (_, change) = try await bench.desk.visitorRead(visit, bench.moment)
        #expect(change.messages("message.changed").allSatisfy { $0["status"] == "read" } && !change.messages("message.changed").isEmpty)
        let (_, again) = try await bench.desk.visitorRead(visit, bench.moment)
        #expect(again.rows.isEmpty)
    }
}
