import Kernel
import Synchronization
import Testing
import Wire

@testable import Conversations

/// What agents do to conversations, and what they may not.
@Suite struct AgentTests {
    let bench = Bench()

    private func consultor(_ principal: Principal) -> Int64 { bench.pool.attendant(of: principal, bench.moment).0.id }

    @Test func whoOnlyWatchesChangesNothing() async throws {
        let id = try await bench.customer("oi")
        let commands: [AgentCommand] = [
            .write(text: "a", clientMessageID: nil), .note(text: "a", clientMessageID: nil), .claim, .decline, .transfer(consultor: 1), .returnToBot,
            .resolve, .reopen,
            .snooze(until: bench.clock.now + .seconds(10)), .read, .label(["a"]),
        ]
        for command in commands {
            let refusal = try await bench.refusal(command, on: id, by: viewer)
            #expect(refusal.kind == .forbidden, "\(command)")
        }
        await #expect(throws: Refusal.self) { try await bench.desk.typing(true, on: id, by: viewer) }
    }

    @Test func aConversationThatDoesNotExistIsNotFound() async throws {
        let nowhere = ConversationID(UniqueID(high: 9, low: 9))
        await #expect(throws: Refusal.notFound(.conversation)) { try await bench.perform(.claim, on: nowhere, by: maria) }
        await #expect(throws: Refusal.notFound(.conversation)) { try await bench.desk.typing(true, on: nowhere, by: maria) }
    }

    // MARK: Claiming

    @Test func ofTwoWhoClaimTheSecondIsToldWhoHasIt() async throws {
        bench.pool.arrives(1, maria)
        bench.pool.arrives(2, joao)
        let id = try await bench.customer("oi")
        try await bench.perform(.claim, on: id, by: maria)
        let refusal = try await bench.refusal(.claim, on: id, by: joao)
        #expect(refusal.kind == .conflict)
        #expect(refusal.code == "conversation_taken")
        #expect(refusal.facts == ["assignee": "Maria", "assignee_id": "1"])
        #expect(refusal.message.contains("Maria"))
        #expect(try await bench.state(id) == .active(consultor: 1))
        #expect(bench.pool.busy(2).isEmpty)
    }

    @Test func manyWhoClaimAtOnceHaveOneWinner() async throws {
        let id = try await bench.customer("oi")
        let desk = bench.desk
        let moment = bench.moment
        let wins = await withTaskGroup(of: Bool.self) { group in
            for number in 1...20 {
                let agent = Principal(tenant: tenant, user: UserID(UniqueID(high: 6, low: UInt64(number))), role: .agent, name: "A\(number)")
                group.addTask { (try? await desk.perform(.claim, on: id, by: agent, earlier: nil, moment)) != nil }
            }
            return await group.reduce(into: 0) { $0 += $1 ? 1 : 0 }
        }
        #expect(wins == 1)
        #expect(bench.pool.state.withLock { $0.busy.values.filter { !$0.isEmpty }.count } == 1)
    }

    @Test func aClaimFromTheBotIssuesANumberAndCountsAsATurn() async throws {
        bench.pool.arrives(1, maria)
        let id = try await bench.customer("oi")
        #expect(try await bench.conversation(id).protocolo == nil)
        try await bench.perform(.claim, on: id, by: maria)
        #expect(try await bench.conversation(id).protocolo == 1)
        #expect(bench.pool.state.withLock { $0.counted } == [1])
        #expect(bench.pool.busy(1) == [id])
    }

    @Test func aClaimOfWhatWaitsKeepsItsNumberAndTakesTheOfferFromWhoHasIt() async throws {
        bench.pool.arrives(1, maria)
        let id = try await bench.customer("atendente")
        #expect(bench.pool.busy(1) == [id])
        try await bench.perform(.claim, on: id, by: joao)
        #expect(try await bench.conversation(id).protocolo == 1)
        #expect(bench.pool.lastNumber == 1)
        #expect(bench.pool.busy(1).isEmpty)
        #expect(bench.pool.busy(consultor(joao)) == [id])
        #expect(try parsed(await bench.desk.json(id))["assignee"]?["name"]?.string == "João")
    }

    @Test func claimingAgainChangesNothing() async throws {
        let id = try await bench.customer("oi")
        try await bench.perform(.claim, on: id, by: maria)
        let before = try await bench.conversation(id)
        try await bench.perform(.claim, on: id, by: maria)
        let after = try await bench.conversation(id)
        #expect(after.state == before.state)
        #expect(after.lastSeq == before.lastSeq)
        #expect(bench.pool.state.withLock { $0.counted.count } == 1)
    }

    @Test func whoIsRefusedIsNotMadeAConsultor() async throws {
        let id = try await bench.customer("oi")
        try await bench.perform(.claim, on: id, by: maria)
        _ = try await bench.refusal(.claim, on: id, by: joao)
        try await bench.perform(.resolve, on: id, by: maria)
        _ = try await bench.refusal(.claim, on: id, by: joao)
        #expect(bench.pool.state.withLock { $0.attendants.count } == 1)
    }

    @Test func aResolvedConversationIsNotClaimed() async throws {
        let id = try await bench.customer("oi")
        try await bench.perform(.resolve, on: id, by: maria)
        #expect(try await bench.refusal(.claim, on: id, by: maria).code == "conversation_resolved")
    }

    // MARK: Declining

    @Test func anOfferDeclinedGoesToTheNextAtOnceAndOnlyWhoIsAskedMayDecline() async throws {
        bench.pool.arrives(1, maria)
        bench.pool.arrives(2, joao)
        let id = try await bench.customer("atendente")
        #expect(try await bench.refusal(.decline, on: id, by: joao).code == "not_offered")
        #expect(try await bench.refusal(.decline, on: id, by: admin).code == "not_offered")
        try await bench.perform(.decline, on: id, by: maria)
        #expect(try await bench.conversation(id).offer?.consultor == 2)
        #expect(bench.pool.state.withLock { $0.missed.map(\.bySilence) } == [false])
        #expect(try await bench.refusal(.decline, on: id, by: maria).code == "not_offered")
    }

    @Test func whoDeclinesIsNotAskedTheSameAgainAtOnceEvenWhenThereIsNobodyElse() async throws {
        bench.pool.arrives(1, maria)
        let id = try await bench.customer("atendente")
        try await bench.perform(.decline, on: id, by: maria)
        #expect(try await bench.state(id).name == "queued")
        await bench.time(passes: .seconds(29))
        #expect(try await bench.state(id).name == "queued")
        await bench.time(passes: .seconds(1))
        #expect(try await bench.conversation(id).offer?.consultor == 1)
    }

    // MARK: Writing

    @Test func aWordOfAPersonEndsTheBots() async throws {
        let id = try await bench.customer("oi")
        let (answer, change) = try await bench.perform(.write(text: "Olá, sou a Maria", clientMessageID: nil), on: id, by: maria)
        guard case .message(let bytes) = answer else { throw Surprise("a message is answered") }
        let message = try parsed(bytes)
        #expect(message["text"]?.string == "Olá, sou a Maria")
        #expect(message["status"]?.string == "queued")
        #expect(message["author"]?["id"]?.string == maria.user.description)
        #expect(try await bench.conversation(id).assignee == consultor(maria))
        #expect(change.jobs.map { ConversationDesk.message(of: $0)?.description } == [message["id"]?.string])
        #expect(change.jobs.first?.runAt == bench.clock.now)
    }

    @Test func aWordTakesOverWhatWaits() async throws {
        bench.pool.arrives(1, maria)
        let id = try await bench.customer("atendente")
        try await bench.perform(.write(text: "eu atendo", clientMessageID: nil), on: id, by: joao)
        #expect(try await bench.conversation(id).assignee == consultor(joao))
        #expect(bench.pool.busy(1).isEmpty)
    }

    @Test func onlyWhoHasItAndAdministratorsWrite() async throws {
        let id = try await bench.customer("oi")
        try await bench.perform(.claim, on: id, by: maria)
        #expect(try await bench.refusal(.write(text: "eu também", clientMessageID: nil), on: id, by: joao).facts["assignee"] == "Maria")
        try await bench.perform(.write(text: "da chefia", clientMessageID: nil), on: id, by: admin)
        #expect(try await bench.conversation(id).assignee == consultor(maria), "an administrator's word takes nothing away")
    }

    @Test func outsideTheWindowNothingIsWrittenAndNotesStillAre() async throws {
        let id = try await bench.customer("oi")
        try await bench.perform(.claim, on: id, by: maria)
        bench.clock.advance(by: .seconds(86_400))
        let refusal = try await bench.refusal(.write(text: "olá?", clientMessageID: nil), on: id, by: maria)
        #expect(refusal.kind.status == 409)
        #expect(refusal.code == "outside_window")
        try await bench.perform(.note(text: "janela fechada", clientMessageID: nil), on: id, by: maria)
        try await bench.customer("voltei")
        try await bench.perform(.write(text: "olá!", clientMessageID: nil), on: id, by: maria)
    }

    @Test func outsideTheWindowAWordDoesNotTakeOver() async throws {
        let id = try await bench.customer("oi")
        bench.clock.advance(by: .seconds(86_400))
        #expect(try await bench.refusal(.write(text: "olá?", clientMessageID: nil), on: id, by: maria).code == "outside_window")
        #expect(bench.pool.state.withLock { $0.attendants.isEmpty })
    }

    @Test func aResolvedConversationIsNotWrittenTo() async throws {
        let id = try await bench.customer("oi")
        try await bench.perform(.resolve, on: id, by: maria)
        #expect(try await bench.refusal(.write(text: "a", clientMessageID: nil), on: id, by: maria).code == "conversation_resolved")
    }

    @Test func aNoteNeverLeavesAndTakesNothingOver() async throws {
        bench.pool.arrives(1, maria)
        for text in ["oi", "atendente"] {
            let id = try await bench.customer(text)
            let state = try await bench.state(id)
            let (answer, change) = try await bench.perform(.note(text: "cuidado", clientMessageID: nil), on: id, by: joao)
            guard case .message(let bytes) = answer else { throw Surprise("a message is answered") }
            #expect(change.jobs.isEmpty)
            #expect(try parsed(bytes)["kind"]?.string == "note")
            #expect(try parsed(bytes)["direction"]?.string == "internal")
            #expect(try await bench.state(id) == state)
        }
    }

    @Test func aMessagePostedAgainWithItsClientIDIsMadeOnce() async throws {
        let id = try await bench.customer("oi")
        for (index, command) in [AgentCommand.write(text: "a", clientMessageID: "c1"), .note(text: "a", clientMessageID: "c2")].enumerated() {
            let (first, change) = try await bench.perform(command, on: id, by: maria)
            guard case .message(let bytes) = first, let made = try parsed(bytes)["id"]?.string else { throw Surprise("made") }
            #expect(try parsed(bytes)["client_message_id"]?.string == "c\(index + 1)")
            #expect(change.marks.map(\.key) == [ConversationDesk.mark(id, clientMessageID: "c\(index + 1)", tenant: tenant)])
            #expect(change.marks.map(\.result) == [made])
            let before = try await bench.conversation(id)
            let (second, nothing) = try await bench.perform(command, on: id, by: maria)
            guard case .earlier(let earlier) = second else { throw Surprise("the second is the first") }
            #expect(earlier.description == made)
            #expect(nothing.isDurablyEmpty)
            #expect(try await bench.conversation(id) == before)
        }
    }

    @Test func aClientIDThatOnlyTheJournalRemembersIsEnough() async throws {
        let id = try await bench.customer("oi")
        let made = MessageID(UniqueID(high: 8, low: 8))
        let (answer, change) = try await bench.perform(.write(text: "a", clientMessageID: "old"), on: id, by: maria, earlier: made.description)
        guard case .earlier(made) = answer else { throw Surprise("\(answer)") }
        #expect(change.isDurablyEmpty)
    }

    @Test func theSameClientIDInAnotherConversationIsAnotherMessage() async throws {
        let one = try await bench.customer("oi", from: "1")
        let two = try await bench.customer("oi", from: "2")
        for id in [one, two] {
            let (answer, _) = try await bench.perform(.write(text: "a", clientMessageID: "c"), on: id, by: maria)
            guard case .message = answer else { throw Surprise("\(answer)") }
        }
    }

    // MARK: The rest

    @Test func whoHasItOrAnAdministratorTransfers() async throws {
        bench.pool.arrives(1, maria)
        bench.pool.arrives(2, joao)
        let id = try await bench.customer("oi")
        #expect(try await bench.refusal(.transfer(consultor: 2), on: id, by: maria).code == "conversation_unassigned")
        try await bench.perform(.claim, on: id, by: maria)
        #expect(try await bench.refusal(.transfer(consultor: 2), on: id, by: joao).code == "conversation_taken")
        #expect(try await bench.refusal(.transfer(consultor: 99), on: id, by: maria).kind == .invalid)
        try await bench.perform(.transfer(consultor: 2), on: id, by: maria)
        #expect(try await bench.state(id) == .active(consultor: 2))
        #expect(bench.pool.busy(1).isEmpty)
        #expect(bench.pool.busy(2) == [id])
        #expect(bench.pool.state.withLock { $0.counted } == [1], "a transfer is not a turn")
        let (_, nothing) = try await bench.perform(.transfer(consultor: 2), on: id, by: joao)
        #expect(nothing.isDurablyEmpty)
        try await bench.perform(.transfer(consultor: 1), on: id, by: admin)
        #expect(try await bench.state(id) == .active(consultor: 1))
    }

    @Test func whatGoesBackToTheBotIsAnsweredByItAgainAndKeepsItsNumber() async throws {
        bench.pool.arrives(1, maria)
        let id = try await bench.customer("atendente")
        try await bench.perform(.claim, on: id, by: maria)
        #expect(try await bench.refusal(.returnToBot, on: id, by: joao).code == "conversation_taken")
        try await bench.perform(.returnToBot, on: id, by: maria)
        #expect(try await bench.state(id) == .bot)
        #expect(bench.pool.busy(1).isEmpty)
        let (_, change) = try await bench.receives(bench.message("bom dia"))
        #expect(change.messages("message.created").last?["text"]?.string?.hasPrefix("Olá! Você está falando com Rede Clara.") == true)
        try await bench.customer("atendente")
        #expect(try await bench.conversation(id).protocolo == 1)
        #expect(bench.pool.lastNumber == 1)
        let (_, nothing) = try await Bench().nothingToReturn()
        #expect(nothing.isDurablyEmpty)
    }

    @Test func anOfferThatGoesBackToTheBotIsWithdrawn() async throws {
        bench.pool.arrives(1, maria)
        let id = try await bench.customer("atendente")
        let (_, change) = try await bench.perform(.returnToBot, on: id, by: joao)
        #expect(try await bench.state(id) == .bot)
        #expect(bench.pool.busy(1).isEmpty)
        #expect(change.types(on: "queue") == ["queue.left"])
    }

    @Test func resolvingFreesWhoHadItAndTheCustomersNextWordBeginsAnother() async throws {
        bench.pool.arrives(1, maria)
        let id = try await bench.customer("atendente")
        try await bench.perform(.claim, on: id, by: maria)
        #expect(try await bench.refusal(.resolve, on: id, by: joao).code == "conversation_taken")
        try await bench.perform(.resolve, on: id, by: maria)
        #expect(try await bench.state(id) == .resolved(at: bench.clock.now))
        #expect(bench.pool.busy(1).isEmpty)
        #expect(bench.pool.state.withLock { $0.closed } == [1])
        #expect(try await bench.conversation(id).unread == 0)
        let (_, nothing) = try await bench.perform(.resolve, on: id, by: joao)
        #expect(nothing.isDurablyEmpty, "resolved once is resolved")
        let next = try await bench.customer("voltei")
        #expect(next != id)
        #expect(try await bench.state(next) == .bot)
    }

    @Test func whatWaitsIsResolvedByAnybodyAndLeavesTheLine() async throws {
        bench.pool.arrives(1, maria)
        let id = try await bench.customer("atendente")
        let (_, change) = try await bench.perform(.resolve, on: id, by: joao)
        #expect(change.types(on: "queue") == ["queue.left"])
        #expect(bench.pool.busy(1).isEmpty)
        #expect(await bench.desk.isQuiet)
    }

    @Test func reopeningGivesItToWhoAsksUnlessTheContactHasAnotherOpen() async throws {
        let id = try await bench.customer("oi")
        #expect(try await bench.refusal(.reopen, on: id, by: maria).code == "conversation_open")
        try await bench.perform(.resolve, on: id, by: maria)
        try await bench.perform(.reopen, on: id, by: joao)
        #expect(try await bench.state(id) == .active(consultor: consultor(joao)))
        #expect(bench.pool.busy(consultor(joao)) == [id])
        #expect(try await bench.customer("ainda aqui") == id)
        try await bench.perform(.resolve, on: id, by: joao)
        let other = try await bench.customer("de novo")
        let refusal = try await bench.refusal(.reopen, on: id, by: maria)
        #expect(refusal.code == "contact_has_open_conversation")
        #expect(refusal.facts["conversation_id"] == other.description)
    }

    @Test func onlyWhoHasItAndAdministratorsSnooze() async throws {
        let id = try await bench.customer("oi")
        let until = bench.clock.now + .seconds(600)
        #expect(try await bench.refusal(.snooze(until: until), on: id, by: maria).code == "conversation_unassigned")
        try await bench.perform(.claim, on: id, by: maria)
        #expect(try await bench.refusal(.snooze(until: until), on: id, by: joao).code == "conversation_taken")
        #expect(try await bench.refusal(.snooze(until: bench.clock.now), on: id, by: maria).kind == .invalid)
        try await bench.perform(.snooze(until: until), on: id, by: admin)
        #expect(try await bench.state(id) == .snoozed(consultor: consultor(maria), until: until))
        #expect(try parsed(await bench.desk.json(id))["snoozed_until"]?.string == until.description)
        #expect(await bench.desk.nextDeadline == until)
    }

    @Test func readingIsForWhoHasItAndLabellingForEveryAgentAndBothSayNothingWhenNothingChanges() async throws {
        let id = try await bench.customer("oi")
        try await bench.perform(.claim, on: id, by: maria)
        for (command, reader) in [(AgentCommand.read, maria), (.label(["vip", "fibra"]), joao)] {
            let (_, change) = try await bench.perform(command, on: id, by: reader)
            #expect(change.types(on: "conversations") == ["conversation.changed"])
            #expect(change.jobs.isEmpty)
            let (_, nothing) = try await bench.perform(command, on: id, by: reader)
            #expect(nothing.isDurablyEmpty)
            #expect(nothing.events.isEmpty)
        }
        #expect(try await bench.conversation(id).unread == 0)
        #expect(try parsed(await bench.desk.json(id))["labels"] == ["vip", "fibra"])
    }

    @Test func typingIsToldAndNotStored() async throws {
        let id = try await bench.customer("oi")
        let before = try await bench.conversation(id)
        let events = try await bench.desk.typing(true, on: id, by: maria)
        #expect(events.count == 1)
        let event = events[0]
        #expect(event.channel == "conversation:\(id)")
        #expect(try parsed(event.payload) == ["type": "typing", "user_id": .string(maria.user.description), "name": "Maria", "typing": true])
        #expect(try await bench.conversation(id) == before)
    }
}

extension Bench {
    /// A conversation that the bot has is returned to it.
    func nothingToReturn() async throws -> (ConversationDesk.Answer, Change) {
        let id = try await customer("oi")
        return try await perform(.returnToBot, on: id, by: maria)
    }
}
