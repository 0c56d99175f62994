import Kernel
import Storage
import Synchronization
import Testing
import Wire

@testable import Conversations

/// What customers and time do to the desk.
@Suite struct DeskTests {
    let bench = Bench()

    // MARK: Receiving

    @Test func aMessageDeliveredTwiceHasOneEffect() async throws {
        let message = bench.message("oi", wamid: "wamid.X")
        let (first, change) = try await bench.receives(message)
        #expect(change.marks.map(\.key) == [message.mark(tenant: tenant)])
        guard case .taken(let id) = first else { throw Surprise("the first one is taken") }
        let before = try await bench.conversation(id)
        let (second, nothing) = try await bench.receives(message)
        #expect(second == .duplicate)
        #expect(nothing.isDurablyEmpty)
        #expect(nothing.events.isEmpty)
        #expect(try await bench.conversation(id) == before)
    }

    @Test func aMessageThatTheJournalKnowsHasNoEffect() async throws {
        let (reception, change) = try await bench.receives(bench.message("oi"), seenBefore: true)
        #expect(reception == .duplicate)
        #expect(change.isDurablyEmpty)
        #expect(await bench.desk.sessions.isEmpty)
        #expect(await bench.desk.contacts.isEmpty)
    }

    @Test func theFirstMessagesOfOneContactMakeOneConversation() async throws {
        let id = try await bench.customer("oi")
        #expect(try await bench.customer("tudo bem?") == id)
        let other = try await bench.customer("oi", from: "5511900000002")
        #expect(other != id)
        #expect(bench.ledger.conversations.count == 2)
        #expect(bench.ledger.contacts.count == 2)
        #expect(try await bench.conversation(id).unread == 2)
    }

    @Test func aContactIsFoundByEitherFormOfItsNumberAndByItsScopedID() async throws {
        func message(_ identity: ContactIdentity, _ wamid: String) -> CustomerMessage {
            CustomerMessage(
                channel: "whatsapp",
                externalID: wamid,
                from: identity,
                name: "Ana",
                kind: "text",
                text: "oi",
                content: nil,
                replyTo: nil,
                sentAt: bench.clock.now
            )
        }
        let forms = ContactIdentity(waIDs: ["5511900000001", "551100000001"], bsuid: nil)
        let (first, _) = try await bench.receives(message(forms, "1"))
        let (second, _) = try await bench.receives(message(ContactIdentity(waIDs: ["551100000001", "5511900000001"], bsuid: "BR.1"), "2"))
        let (third, _) = try await bench.receives(message(ContactIdentity(waIDs: [], bsuid: "BR.1"), "3"))
        #expect(first == second)
        #expect(second == third)
        #expect(bench.ledger.contacts.map(\.bsuid) == ["BR.1"])
        let nobody = ContactIdentity(waIDs: ["1"], bsuid: nil)
        #expect(await bench.desk.missing([forms, nobody]) == [nobody])
        // Once all numbers are read nobody need be looked for who is new; who is not in memory is.
        #expect(await bench.desk.beginsReadingKeys())
        await bench.desk.read(keys: ["w2", "bBR.2"])
        let stored = [ContactIdentity(waIDs: ["02", "2"], bsuid: nil), ContactIdentity(waIDs: ["3"], bsuid: "BR.2")]
        #expect(await bench.desk.strangers([forms, nobody] + stored) == [nobody] + stored)
        #expect(await bench.desk.missing([forms, nobody] + stored) == stored)
    }

    @Test func aNewNameIsTakenOverByTheOpenConversation() async throws {
        let id = try await bench.customer("oi")
        try await bench.receives(bench.message("oi de novo", name: "Ana Maria"))
        #expect(try await bench.conversation(id).contactName == "Ana Maria")
        #expect(bench.ledger.contacts.map(\.name) == ["Ana Maria"])
    }

    @Test func aNumberNeverBelongsToTwoContacts() async throws {
        // One is known by the number, the other by the scoped id alone; then a message shows that they are the same person.
        try await bench.receives(bench.message("oi", from: "5511900000001", bsuid: nil))
        try await bench.receives(bench.message("oi", from: nil, bsuid: "BR.1"))
        try await bench.receives(bench.message("sou eu", from: "5511900000001", bsuid: "BR.1"))
        let numbers = bench.ledger.contacts.compactMap(\.waID)
        #expect(Set(numbers).count == numbers.count, "the store's unique index contacts_by_wa_id refuses this change, and every repetition of it")
    }

    @Test func answersGoToTheNumberThatWhatsAppLastGave() async throws {
        let id = try await bench.customerKnownBy("BR.1", number: "5511900000001")
        #expect(try await bench.customerKnownBy("BR.1", number: "5511988887777") == id)
        #expect(bench.ledger.contacts.map(\.waID) == ["5511988887777"])
        #expect(try await bench.conversation(id).contactNumber == "5511988887777")
    }

    @Test func aFirstMessageTooManyIsRefusedAndLeavesNothingBehind() async throws {
        var settings = ConversationDesk.Settings()
        settings.maxOpenConversations = 1
        let bench = Bench(settings)
        let first = try await bench.customer("oi")
        let refused = bench.message("oi", from: "5511900000002")
        let refusal = await #expect(throws: Refusal.self) { try await bench.receives(refused) }
        #expect(refusal?.kind == .unavailable)
        #expect(await bench.desk.sessions.count == 1)
        try await bench.customer("quem já está continua", from: "5511900000001")
        try await bench.perform(.resolve, on: first, by: admin)
        #expect(try await bench.receives(refused).0 != .duplicate, "a refused message is not remembered")
        #expect(
            bench.ledger.contacts.compactMap(\.waID).sorted() == ["5511900000001", "5511900000002"],
            "the contact's row must be written with its conversation"
        )
    }

    @Test(arguments: [("text", 1), ("image", 1), ("audio", 1), ("reaction", 0), ("system", 0), ("edit", 0)])
    func theBotAnswersWhatSpeaksAndNothingElse(_ kind: String, _ answers: Int) async throws {
        let (_, change) = try await bench.receives(bench.message("oi", kind: kind))
        #expect(change.jobs.count == answers)
        #expect(change.messages("message.created").map { $0["direction"]?.string } == ["in"] + Array(repeating: "out", count: answers))
    }

    @Test func theBotIsSilentWhenTheMessageWasLongerThanADayOnItsWay() async throws {
        let message = bench.message("oi")
        bench.clock.advance(by: .seconds(86_401))
        let (_, change) = try await bench.receives(message)
        #expect(change.jobs.isEmpty)
        #expect(change.messages("message.created").count == 1)
    }

    @Test func theBotIsSilentOnceAPersonIsThere() async throws {
        let id = try await bench.customer("oi")
        try await bench.perform(.claim, on: id, by: maria)
        let (_, change) = try await bench.receives(bench.message("boleto"))
        #expect(change.jobs.isEmpty)
    }

    @Test func anInboundMessageIsToldAsItCame() async throws {
        let (reception, change) = try await bench.receives(bench.message("boleto \"já\"", wamid: "wamid.7"))
        guard case .taken(let id) = reception else { throw Surprise("taken") }
        let message = try #require(change.messages("message.created").first)
        #expect(message["conversation_id"]?.string == id.description)
        #expect(message["seq"]?.int == 1)
        #expect(message["direction"]?.string == "in")
        #expect(message["status"]?.string == "received")
        #expect(message["author"]?["kind"]?.string == "customer")
        #expect(message["author"]?["name"]?.string == "Ana")
        #expect(message["text"]?.string == "boleto \"já\"")
        #expect(message["external_id"]?.string == "wamid.7")
        #expect(message["provider_timestamp"]?.string == bench.clock.now.description)
        #expect(change.types(on: "conversations") == ["conversation.changed"], "one turn tells the list once")
        #expect(change.types(on: "conversation:\(id)") == ["message.created", "message.created", "conversation.changed"])
    }

    // MARK: The hand-off

    @Test func aHandOffIssuesANumberAndOffersAtOnceWhenSomebodyIsThere() async throws {
        bench.pool.arrives(1, maria)
        let id = try await bench.customer("quero um atendente")
        let conversation = try await bench.conversation(id)
        #expect(conversation.protocolo == 1)
        #expect(conversation.state == .offered(.init(consultor: 1, expiresAt: bench.clock.now + .seconds(30)), since: bench.clock.now))
        #expect(bench.pool.busy(1) == [id])
        #expect(await bench.desk.nextDeadline == bench.clock.now + .seconds(30))
        let notice = try #require(bench.ledger.messages.last { $0.direction == .outbound })
        #expect(notice.text.contains("#00001"))
        #expect(notice.authorKind == "bot")
    }

    @Test func withNobodyThereItWaitsAndIsOfferedAsSoonAsSomebodyComes() async throws {
        let id = try await bench.customer("atendente")
        let since = bench.clock.now
        #expect(try await bench.state(id) == .queued(since: since))
        #expect(try parsed(await bench.desk.queueSnapshot())["waiting"]?.array?.map { $0["conversation_id"]?.string } == [id.description])
        bench.clock.advance(by: .seconds(100))
        bench.pool.arrives(1, maria)
        await bench.somebodyCameOrWent()
        #expect(try await bench.state(id) == .offered(.init(consultor: 1, expiresAt: bench.clock.now + .seconds(30)), since: since))
    }

    @Test func whoWaitsLongestIsOfferedFirstAndEachNoticeTellsItsPlace() async throws {
        var ids: [ConversationID] = []
        for number in 1...3 {
            ids.append(try await bench.customer("atendente", from: "551190000000\(number)"))
            bench.clock.advance(by: .seconds(1))
        }
        for (index, id) in ids.enumerated() {
            let notice = bench.ledger.messages.first { $0.conversation == id && $0.direction == .outbound }
            #expect(notice?.text.contains("o número \(index + 1) da fila") == true)
        }
        bench.pool.state.withLock { $0.capacity = 2 }
        bench.pool.arrives(1, maria)
        await bench.somebodyCameOrWent()
        #expect(try await bench.conversation(ids[0]).offer?.consultor == 1)
        #expect(try await bench.conversation(ids[1]).offer?.consultor == 1)
        #expect(try await bench.conversation(ids[2]).offer == nil, "nobody has capacity left")
        let entries = try parsed(await bench.desk.queueSnapshot())["waiting"]?.array
        #expect(entries?.map { $0["conversation_id"]?.string } == ids.map(\.description), "one on offer keeps its place")
        #expect(entries?.map { $0["protocol"]?.string } == ["#00001", "#00002", "#00003"])
        // Freed capacity goes to the next in line within the same turn.
        try await bench.perform(.claim, on: ids[0], by: maria)
        try await bench.perform(.resolve, on: ids[0], by: maria)
        #expect(try await bench.conversation(ids[2]).offer?.consultor == 1)
    }

    @Test func aLanguageThatNobodySpeaksHoldsUpNobodyElse() async throws {
        try await bench.customer("english", from: "5511900000001")
        let english = try await bench.customer("human", from: "5511900000001")
        let portuguese = try await bench.customer("atendente", from: "5511900000002")
        bench.pool.arrives(1, maria)
        await bench.somebodyCameOrWent()
        #expect(try await bench.conversation(english).offer == nil)
        #expect(try await bench.conversation(portuguese).offer?.consultor == 1)
        bench.pool.arrives(2, joao, language: "en")
        await bench.somebodyCameOrWent()
        #expect(try await bench.conversation(english).offer?.consultor == 2)
    }

    // MARK: Offers and time

    @Test func anOfferExpiresExactlyAtItsTimeAndGoesToTheNext() async throws {
        bench.pool.arrives(1, maria)
        bench.pool.arrives(2, joao)
        let id = try await bench.customer("atendente")
        let since = bench.clock.now
        #expect(await bench.time(passes: .milliseconds(29_999)).events.isEmpty)
        #expect(try await bench.conversation(id).offer?.consultor == 1)
        await bench.time(passes: .milliseconds(1))
        #expect(try await bench.state(id) == .offered(.init(consultor: 2, expiresAt: bench.clock.now + .seconds(30)), since: since))
        #expect(bench.pool.state.withLock { $0.missed.map(\.bySilence) } == [true])
        #expect(bench.pool.busy(1).isEmpty)
        #expect(bench.ledger.messages.contains { $0.kind == "activity" && $0.text.contains("Maria") })
    }

    @Test func theOnlyOneThereIsAskedAgain() async throws {
        bench.pool.arrives(1, maria)
        let id = try await bench.customer("atendente")
        await bench.time(passes: .seconds(30))
        #expect(try await bench.conversation(id).offer == .init(consultor: 1, expiresAt: bench.clock.now + .seconds(30)))
        bench.pool.leaves(1)
        await bench.time(passes: .seconds(30))
        #expect(try await bench.state(id).name == "queued")
    }

    @Test func anAlarmThatComesAfterTheOfferWasTakenDoesNothing() async throws {
        bench.pool.arrives(1, maria)
        let id = try await bench.customer("atendente")
        try await bench.perform(.claim, on: id, by: maria)
        let before = try await bench.conversation(id)
        #expect(await bench.time(passes: .seconds(31)).events.isEmpty)
        #expect(try await bench.conversation(id) == before)
        #expect(await bench.desk.nextDeadline == nil)
    }

    @Test func aSnoozeEndsAtItsTimeOrWithTheCustomersNextMessage() async throws {
        let id = try await bench.customer("oi")
        try await bench.perform(.claim, on: id, by: maria)
        let number = bench.pool.attendant(of: maria, bench.moment).0.id
        for byMessage in [false, true] {
            try await bench.perform(.snooze(until: bench.clock.now + .seconds(3600)), on: id, by: maria)
            #expect(try await bench.state(id).name == "snoozed")
            if byMessage { try await bench.customer("voltei") } else { await bench.time(passes: .seconds(3600)) }
            #expect(try await bench.state(id) == .active(consultor: number))
        }
        #expect(await bench.time(passes: .seconds(3600)).events.isEmpty, "the alarm of a snooze that ended early is late")
    }

    // MARK: Snapshots

    @Test func theListShowsAllThatAreNotResolved() async throws {
        let first = try await bench.customer("oi", from: "1")
        let second = try await bench.customer("oi", from: "2")
        try await bench.perform(.resolve, on: first, by: admin)
        let listed = try parsed(await bench.desk.conversationsSnapshot())["conversations"]?.array
        #expect(listed?.map { $0["id"]?.string } == [second.description])
        #expect(listed?.first?["state"]?.string == "bot")
        #expect(listed?.first?["owner"]?.string == "bot")
        #expect(listed?.first?["assignee"] == JSON.null)
        #expect(listed?.first?["version"]?.int == (try await bench.conversation(second).version))
    }

    @Test func aConversationsSnapshotHoldsItsLast50MessagesInOrder() async throws {
        let id = try await bench.customer("oi")
        try await bench.perform(.claim, on: id, by: maria)
        #expect(try parsed(await bench.desk.snapshot(id, bench.moment))["has_more"]?.bool == false)
        for number in 0..<60 { try await bench.perform(.note(text: "\(number)", clientMessageID: nil), on: id, by: maria) }
        let last = try await bench.conversation(id).lastSeq
        let snapshot = try parsed(await bench.desk.snapshot(id, bench.moment))
        #expect(snapshot["messages"]?.array?.compactMap { $0["seq"]?.int } == Array((last - 49)...last))
        #expect(snapshot["has_more"]?.bool == true)
        #expect(snapshot["conversation"]?["assignee"]?["name"]?.string == "Maria")
        #expect(await bench.desk.snapshot(ConversationID(UniqueID(high: 9, low: 9)), bench.moment) == nil)
    }

    @Test func theQueuesEntrySaysWhoIsAsked() async throws {
        bench.pool.arrives(1, maria)
        let id = try await bench.customer("atendente")
        let entry = try #require(try parsed(await bench.desk.queueSnapshot())["waiting"]?.array?.first)
        #expect(entry["conversation_id"]?.string == id.description)
        #expect(entry["since"]?.string == bench.clock.now.description)
        #expect(entry["offer"]?["consultor_id"]?.int == 1)
        #expect(entry["offer"]?["user_id"]?.string == maria.user.description)
        #expect(entry["offer"]?["expires_at"]?.string == (bench.clock.now + .seconds(30)).description)
        let (_, change) = try await bench.perform(.claim, on: id, by: maria)
        #expect(change.types(on: "queue") == ["queue.left"])
        #expect(try parsed(await bench.desk.queueSnapshot())["waiting"]?.array?.isEmpty == true)
    }

    // MARK: What may be forgotten

    @Test func aResolvedConversationIsForgottenTenMinutesAfterItWasLastTouched() async throws {
        let id = try await bench.customer("oi")
        try await bench.perform(.resolve, on: id, by: admin)
        await bench.time(passes: .seconds(599))
        #expect(await bench.desk.has(id))
        await bench.time(passes: .seconds(20))
        #expect(await !bench.desk.has(id))
        await bench.time(passes: .seconds(1200))
        #expect(await bench.desk.messages.isEmpty)
        #expect(await bench.desk.contacts.isEmpty)
        #expect(await bench.desk.contactsByWaID.isEmpty)
        #expect(await bench.desk.marks.isEmpty)
        #expect(await bench.desk.messagesByExternalID.isEmpty)
    }

    @Test func anOpenConversationIsNeverForgotten() async throws {
        let id = try await bench.customer("oi")
        for _ in 0..<10 { await bench.time(passes: .seconds(3600)) }
        #expect(await bench.desk.has(id))
        #expect(try await bench.customer("ainda eu") == id)
    }

    @Test func messagesThatAreNoLongerAmongTheLastAreForgotten() async throws {
        let id = try await bench.customer("oi")
        try await bench.perform(.claim, on: id, by: maria)
        for number in 0..<150 {
            try await bench.perform(.note(text: "\(number)", clientMessageID: nil), on: id, by: maria)
            await bench.time(passes: .seconds(660))
        }
        let held = await bench.desk.messages.count
        #expect(held <= ConversationDesk.recentMessages + 2, "\(held) messages of one conversation are held in memory")
    }

    @Test func aMessageThatHasJustChangedIsKeptWhenItsConversationIsForgotten() async throws {
        let id = try await bench.customer("oi")
        let (_, change) = try await bench.perform(.write(text: "olá", clientMessageID: nil), on: id, by: maria)
        let message = try #require(ConversationDesk.message(of: change.jobs[0]))
        try await bench.perform(.resolve, on: id, by: maria)
        await bench.time(passes: .seconds(595))
        bench.ledger.absorb(
            await bench.desk.reported(StatusReport(externalID: "w", message: message, status: .delivered, failure: nil), bench.moment)
        )
        await bench.time(passes: .seconds(20))
        #expect(await bench.desk.hasMessage(message), "a reading begun before its change could bring an old image back in (Lingering)")
    }

    @Test func whatIsInMemoryIsNewerThanWhatIsAdopted() async throws {
        let id = try await bench.customer("oi")
        let stale = bench.ledger.loaded
        try await bench.perform(.claim, on: id, by: maria)
        let before = try await bench.conversation(id)
        await bench.desk.adopt(stale, bench.moment)
        #expect(try await bench.conversation(id) == before)
    }

    @Test func aResolvedConversationIsBroughtBackByAdoption() async throws {
        let id = try await bench.customer("oi")
        try await bench.perform(.resolve, on: id, by: admin)
        let live = await bench.desk.snapshot(id, bench.moment)
        await bench.time(passes: .seconds(620))
        await bench.time(passes: .seconds(620))
        #expect(await !bench.desk.has(id))
        await #expect(throws: Refusal.notFound(.conversation)) { try await bench.perform(.read, on: id, by: maria) }
        var loaded = ConversationDesk.Loaded()
        loaded.conversations = bench.ledger.conversations
        loaded.contacts = bench.ledger.contacts
        loaded.messages = bench.ledger.messages
        await bench.desk.adopt(loaded, bench.moment)
        #expect(await bench.desk.snapshot(id, bench.moment) == live)
        try await bench.perform(.reopen, on: id, by: maria)
        #expect(try await bench.state(id).name == "active")
    }
}

extension Bench {
    func customerKnownBy(_ bsuid: String, number: String) async throws -> ConversationID {
        let (reception, _) = try await receives(message("oi", from: number, bsuid: bsuid))
        guard case .taken(let id) = reception else { throw Surprise("taken for a duplicate") }
        return id
    }
}
