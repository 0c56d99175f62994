import Kernel
import Testing

@testable import Jobs

/// What the book decides, one fact after the other. A day's clock stands still until told otherwise.
@Suite struct QueueBookTests {
    private let clock = ManualEnvironment()
    private var now: Timestamp { clock.now }
    private var moment: Moment { clock.environment.moment() }

    /// A book that an expectation can call.
    private final class Bench {
        var book: QueueBook
        init(_ rules: QueueRules) { book = QueueBook(rules: rules) }
        var effects: QueueBook.Effects { book.effects }
        var messages: [QueueMessageID: QueueBook.Held] { book.messages }
        var ready: [QueueName] { book.ready }
        func nextDue(at now: Timestamp) -> Timestamp { book.nextDue(at: now) }
        func needsStore(_ now: Timestamp) -> Bool { book.needsStore(now) }
        func add(_ messages: [OutgoingMessage], _ moment: Moment) -> [QueueMessageID] { book.add(messages, moment) }
        func offer(_ queue: QueueName, _ now: Timestamp) -> QueueMessageID? { book.offer(queue, now) }
        func claim(_ id: QueueMessageID, token: LeaseToken, _ moment: Moment) -> QueueMessage? { book.claim(id, token: token, moment) }
        func handingOver(_ id: QueueMessageID, attempt: Int, token: LeaseToken, _ moment: Moment) -> Bool {
            book.handingOver(id, attempt: attempt, token: token, moment)
        }
        func heartbeat(_ id: QueueMessageID, attempt: Int, token: LeaseToken, _ now: Timestamp) -> Bool {
            book.heartbeat(id, attempt: attempt, token: token, now)
        }
        func ended(_ id: QueueMessageID, attempt: Int, token: LeaseToken, _ outcome: SendOutcome, _ moment: Moment) -> QueueBook.Ending {
            book.ended(id, attempt: attempt, token: token, outcome, moment)
        }
        func carryOut(_ order: QueueBook.Order, on stored: QueueMessage, _ moment: Moment) -> QueueMessage? {
            book.carryOut(order, on: stored, moment)
        }
        func forget(_ stored: QueueMessage, _ moment: Moment) -> QueueBook.Forgetting { book.forget(stored, reason: "removido", moment) }
        func adopt(held message: QueueMessage, _ now: Timestamp) { book.adopt(held: message, now) }
        func timePassed(_ moment: Moment) { book.timePassed(moment) }
        func callOff(_ subject: String, reason: String, _ moment: Moment) { book.callOff(subject, reason: reason, moment) }
        func put(_ control: QueueControl, on queue: QueueName) { book.put(control, on: queue) }
        func readBegan(_ now: Timestamp) -> QueueBook.Errand { book.readBegan(now) }
        func readEnded() { book.readEnded() }
        func confirmed(_ keys: [String], first: [String: QueueMessageID], _ now: Timestamp) { book.confirmed(keys, first: first, now) }
        func adopt(_ reading: QueueBook.Reading, of queue: QueueName, _ now: Timestamp) { book.adopt(reading, of: queue, now) }
        func calledOff(_ subjects: [String: Timestamp], _ found: [QueueMessage], isAll: Bool, _ now: Timestamp) {
            book.calledOff(subjects, found, isAll: isAll, now)
        }
    }

    private func book(_ adjust: (inout QueueRules) -> Void = { _ in }) -> Bench {
        var rules = QueueRules()
        adjust(&rules)
        return Bench(rules)
    }

    private func message(_ name: String = "a", in delay: Duration = .zero, key: String? = nil) -> OutgoingMessage {
        var message = OutgoingMessage(queue: .reminders, channel: .email, recipient: "\(name)@example.com", runAt: now + delay, payload: "{}")
        message.key = key
        return message
    }

    private func token() -> LeaseToken { moment.id() }

    /// The latest image of a message.
    private func row(_ id: QueueMessageID, _ book: Bench) -> QueueMessage? { book.effects.changed.last { $0.id == id } }

    /// Offered, claimed, and being handed over.
    private func sending(_ book: Bench, _ token: LeaseToken) throws -> QueueMessage {
        let id = try #require(book.offer(.reminders, now))
        let claimed = try #require(book.claim(id, token: token, moment))
        #expect(book.handingOver(id, attempt: claimed.attempt, token: token, moment))
        return claimed
    }

    @Test func whatIsSentIsSentAndOver() throws {
        let book = book()
        let id = book.add([message()], moment)[0]
        let token = token()
        let claimed = try sending(book, token)
        #expect(claimed.id == id && claimed.attempt == 1)
        #expect(row(id, book)?.state == .sending, "on disk before it is handed over")
        #expect(book.ended(id, attempt: 1, token: token, .sent(providerID: "x"), moment) == .settled(.sent))
        #expect(row(id, book)?.state == .sent && row(id, book)?.providerID == "x" && row(id, book)?.finishedAt == now)
        #expect(book.offer(.reminders, now) == nil && book.claim(id, token: token, moment) == nil)
        #expect(book.effects.changed.filter { $0.id == id }.map(\.version) == [1, 2, 3, 4], "each image is newer")
    }

    /// Whoever reads the row afterwards, or a copy of it, learns no code.
    @Test func ofALetterAboutTheAccountNoWordIsLeftOnceItIsOver() throws {
        for outcome in [SendOutcome.sent(providerID: nil), .dropped(reason: "x"), .refused(reason: "x"), .unknown(reason: "x")] {
            let book = book()
            var letter = message()
            (letter.subject, letter.payload) = ("account:letter", #"{"text":"123456"}"#)
            let id = book.add([letter], moment)[0]
            let token = token()
            let claimed = try sending(book, token)
            #expect(claimed.content.payload == letter.payload)
            #expect(book.ended(id, attempt: 1, token: token, outcome, moment) != .superseded)
            let over = try #require(row(id, book))
            #expect(over.content.payload == "{}" && over.finishedAt != nil)
            #expect(book.carryOut(.retry, on: over, moment) == nil && book.carryOut(.clear, on: over, moment) == nil)
        }
    }

    @Test func whoeverMayNotReadAMessageSeesNeitherItsWordsNorItsRecipient() {
        var dead = QueueMessage(id: moment.id(), message("ana"), at: now)
        dead.note("refused", "550 <ana@example.com>: no such user", at: now)
        dead.why = "550 <ana@example.com>: no such user"
        let shown = String(decoding: dead.json(at: now, .masked), as: UTF8.self)
        #expect(!shown.contains("ana@") && !shown.contains("payload") && shown.contains("a…@example.com"))
        #expect(String(decoding: dead.json(at: now, .withPayload), as: UTF8.self).contains("\"ana@example.com\""))
    }

    /// A cancellation never overtakes the confirmation that a worker has, nor goes out beside it.
    @Test func ofWhatIsAboutOneThingOneIsInHandAtATime() throws {
        let book = book()
        var (first, second, other, elsewhere) = (message("a"), message("b"), message("c"), message("d"))
        (first.subject, second.subject, other.subject, elsewhere.subject) = ("x:1", "x:1", "x:2", "x:1")
        elsewhere.channel = .whatsapp
        (second.priority, other.priority, elsewhere.priority) = (6, 7, 8)
        let ids = book.add([first, second, other, elsewhere], moment)
        let token = token()
        let claimed = try sending(book, token)
        #expect(claimed.id == ids[0])
        #expect(book.offer(.reminders, now) == ids[2] && book.offer(.reminders, now) == ids[3], "another subject, another channel")
        #expect(book.offer(.reminders, now) == nil && book.claim(ids[1], token: self.token(), moment) == nil)
        #expect(book.ended(ids[0], attempt: 1, token: token, .sent(providerID: nil), moment) == .settled(.sent))
        #expect(book.offer(.reminders, now) == ids[1], "at once")
        #expect(book.claim(ids[1], token: self.token(), moment) != nil)
    }

    @Test func whatWasOfferedBeforeTheOtherWasClaimedWaitsForItToo() throws {
        let book = book()
        var (first, second) = (message("a"), message("b"))
        (first.subject, second.subject, second.priority) = ("x:1", "x:1", 6)
        let ids = book.add([first, second], moment)
        #expect([book.offer(.reminders, now), book.offer(.reminders, now)] == ids)
        let token = token()
        #expect(book.claim(ids[0], token: token, moment) != nil && book.claim(ids[1], token: self.token(), moment) == nil)
        #expect(book.offer(.reminders, now) == nil)
        // Its worker is lost.
        clock.advance(by: .seconds(31))
        book.timePassed(moment)
        #expect(book.offer(.reminders, now) != nil && book.offer(.reminders, now) != nil)
    }

    @Test func whatHasExpiredIsNotTriedAgain() throws {
        let book = book()
        var useless = message()
        useless.expiresAt = now + .seconds(60)
        let id = book.add([useless], moment)[0]
        let token = token()
        _ = try sending(book, token)
        _ = book.ended(id, attempt: 1, token: token, .refused(reason: "x"), moment)
        let dead = try #require(row(id, book))
        clock.advance(by: .seconds(60))
        #expect(book.carryOut(.retry, on: dead, moment) == nil)
        clock.advance(by: .seconds(-1))
        #expect(book.carryOut(.retry, on: dead, moment)?.state == .scheduled)
    }

    @Test func whoeverIsForgottenIsInNoMessage() throws {
        let book = book()
        let ids = book.add([message("ana", key: "k"), message("ana", in: .seconds(3600)), message("ana")], moment)
        book.confirmed(["k"], first: ["k": ids[0]], now)
        for id in ids[...1] {
            let stored = try #require(row(id, book))
            #expect(book.forget(stored, moment) == .done)
        }
        let left = try #require(row(ids[0], book))
        #expect(left.state == .forgotten && left.content.recipient.isEmpty && left.content.payload.isEmpty && left.content.key == "k")
        #expect(book.effects.deleted.map(\.id) == [ids[1]], "nothing is known by it")
        let token = token()
        let claimed = try sending(book, token)
        #expect(claimed.id == ids[2] && book.forget(claimed, moment) == .done && book.forget(claimed, moment) == .nothing)
        // Also over a crash while it is being handed over.
        let after = self.book()
        after.adopt(held: try #require(row(ids[2], book)), now)
        clock.advance(by: .seconds(3600))
        after.timePassed(moment)
        #expect(row(ids[2], after)?.state == .forgotten && row(ids[2], after)?.content.recipient.isEmpty == true)
        #expect(book.ended(ids[2], attempt: 1, token: token, .sent(providerID: "p"), moment) == .settled(.sent))
        #expect(row(ids[2], book)?.state == .forgotten && row(ids[2], book)?.content.recipient.isEmpty == true)
    }

    @Test func whatHasJustEndedIsReadOnceMoreBeforeItIsForgotten() throws {
        let book = book()
        let id = book.add([message("ana")], moment)[0]
        let token = token()
        let read = try sending(book, token)
        _ = book.readBegan(now)
        _ = book.ended(id, attempt: 1, token: token, .sent(providerID: "p"), moment)
        #expect(book.forget(read, moment) == .changedMeanwhile)
        book.readEnded()
        _ = book.readBegan(now)
        #expect(book.forget(try #require(row(id, book)), moment) == .done)
    }

    @Test func ofWhatIsPutAwayItIsKnownWhetherItWasSent() throws {
        let book = book()
        let ids = book.add([message("a", key: "a"), message("b", in: .seconds(60), key: "b")], moment)
        book.confirmed(["a", "b"], first: ["a": ids[0], "b": ids[1]], now)
        let token = token()
        _ = try sending(book, token)
        _ = book.ended(ids[0], attempt: 1, token: token, .sent(providerID: "p"), moment)
        _ = book.carryOut(.cancel(reason: "x"), on: try #require(row(ids[1], book)), moment)
        for id in ids { _ = book.carryOut(.clear, on: try #require(row(id, book)), moment) }
        #expect(row(ids[0], book)?.state == .forgotten && row(ids[0], book)?.why == nil)
        #expect(row(ids[1], book)?.state == .forgotten && row(ids[1], book)?.why == QueueMessage.unsent)
    }

    @Test func whatIsOfferedIsOfferedToOneUntilTheOfferRunsOut() throws {
        let book = book()
        let id = book.add([message()], moment)[0]
        #expect(book.offer(.reminders, now) == id)
        #expect(book.offer(.reminders, now) == nil)
        clock.advance(by: .seconds(5))
        book.timePassed(moment)
        #expect(book.offer(.reminders, now) == id, "nobody took it")
    }

    @Test func aDuplicateTicketFindsTheMessageClaimed() throws {
        let book = book()
        let id = book.add([message()], moment)[0]
        _ = book.offer(.reminders, now)
        #expect(book.claim(id, token: token(), moment) != nil)
        #expect(book.claim(id, token: token(), moment) == nil)
    }

    @Test func priorityComesBeforeTimeAndTimeBeforeOrder() {
        let book = book()
        var late = message("late")
        late.priority = 0
        let ids = book.add([message("b", in: .seconds(-1)), message("a", in: .seconds(-9)), late], moment)
        #expect((0..<3).map { _ in book.offer(.reminders, now) } == [ids[2], ids[1], ids[0]])
    }

    @Test func nothingIsClaimedBeforeItsTime() {
        let book = book()
        let id = book.add([message(in: .seconds(30))], moment)[0]
        #expect(book.offer(.reminders, now) == nil && book.claim(id, token: token(), moment) == nil)
        #expect(book.nextDue(at: now) == now + .seconds(30))
        clock.advance(by: .seconds(30))
        book.timePassed(moment)
        #expect(book.offer(.reminders, now) == id)
    }

    @Test func aFailureIsTriedAgainWithinABoundThatDoubles() throws {
        var rules = QueueRules()
        (rules.backoff, rules.longestBackoff) = (.seconds(10), .seconds(60))
        for (attempts, bound) in [(1, 10), (2, 20), (3, 40), (4, 60), (60, 60)] {
            #expect(rules.backoff(afterAttempts: attempts, fraction: 1) == .seconds(bound))
            #expect(rules.backoff(afterAttempts: attempts, fraction: 0) == rules.shortestPause)
        }
        let book = book()
        let id = book.add([message()], moment)[0]
        let token = token()
        _ = try sending(book, token)
        #expect(book.ended(id, attempt: 1, token: token, .failed(reason: "503"), moment) == .settled(.retryable))
        let again = try #require(row(id, book))
        #expect(again.attempt == 1 && again.lease == nil && again.content.runAt > now && again.content.runAt <= now + .seconds(15))
        #expect(again.errors.map(\.reason) == ["503"])
    }

    @Test func afterItsAttemptsAMessageIsDeadAndAPersonMayRetryIt() throws {
        let book = book()
        var once = message()
        once.maxAttempts = 1
        let id = book.add([once], moment)[0]
        let token = token()
        _ = try sending(book, token)
        #expect(book.ended(id, attempt: 1, token: token, .failed(reason: "503"), moment) == .settled(.dead))
        let dead = try #require(row(id, book))
        #expect(dead.why == "503" && dead.finishedAt == now)
        #expect(book.carryOut(.cancel(reason: "x"), on: dead, moment) == nil)
        let retried = try #require(book.carryOut(.retry, on: dead, moment))
        #expect(retried.state == .scheduled && retried.attempt == 0 && retried.errors.count == 1)
        #expect(book.offer(.reminders, now) == id)
    }

    @Test func whatIsRefusedIsDeadAtOnceAndWhatIsUnknownIsPutAside() throws {
        let book = book()
        let ids = book.add([message("a"), message("b")], moment)
        let token = token()
        var ends: [QueueMessageID: QueueBook.Ending] = [:]
        for outcome in [SendOutcome.refused(reason: "no such number"), .unknown(reason: "cut")] {
            let claimed = try sending(book, token)
            ends[claimed.id] = book.ended(claimed.id, attempt: 1, token: token, outcome, moment)
        }
        #expect(ids.map { ends[$0] } == [.settled(.dead), .settled(.quarantined)])
        #expect(book.offer(.reminders, now) == nil)
    }

    @Test func whatIsPutOffCostsNoAttempt() throws {
        let book = book()
        let id = book.add([message()], moment)[0]
        let token = token()
        _ = try sending(book, token)
        let until = now + .seconds(20)
        #expect(book.ended(id, attempt: 1, token: token, .postponed(until: until, reason: "429"), moment) == .settled(.scheduled))
        #expect(row(id, book)?.attempt == 0 && row(id, book)?.content.runAt == until)
    }

    @Test func aLateFinisherIsSupersededAndOverwritesNothing() throws {
        let book = book { $0.maxCrashes = 5 }
        let id = book.add([message()], moment)[0]
        let (first, second) = (token(), token())
        _ = try #require(book.offer(.reminders, now))
        _ = book.claim(id, token: first, moment)
        clock.advance(by: .seconds(30))
        book.timePassed(moment)
        _ = try #require(book.offer(.reminders, now))
        let claimed = try #require(book.claim(id, token: second, moment))
        #expect(claimed.attempt == 1 && claimed.crashCount == 1, "the lost one did not count")
        let before = row(id, book)
        #expect(book.ended(id, attempt: 1, token: first, .sent(providerID: nil), moment) == .superseded)
        #expect(!book.heartbeat(id, attempt: 1, token: first, now) && !book.handingOver(id, attempt: 1, token: first, moment))
        #expect(row(id, book) == before)
        #expect(book.handingOver(id, attempt: 1, token: second, moment))
    }

    @Test func aLeaseLostWhileSendingIsQuarantinedAndNeverSentByItself() throws {
        let book = book()
        let id = book.add([message()], moment)[0]
        let token = token()
        _ = try sending(book, token)
        clock.advance(by: .seconds(29))
        #expect(book.heartbeat(id, attempt: 1, token: token, now))
        clock.advance(by: .seconds(29))
        book.timePassed(moment)
        #expect(row(id, book)?.state == .sending, "it gave a sign of life")
        clock.advance(by: .seconds(1))
        book.timePassed(moment)
        #expect(row(id, book)?.state == .quarantined && row(id, book)?.why?.hasPrefix("outcome_unknown") == true)
        #expect(book.ended(id, attempt: 1, token: token, .failed(reason: "late"), moment) == .superseded)
        clock.advance(by: .seconds(9999))
        book.timePassed(moment)
        #expect(book.offer(.reminders, now) == nil)
    }

    @Test func aMessageThatBringsTwoWorkersDownIsPutAside() throws {
        let book = book()
        let id = book.add([message()], moment)[0]
        for _ in 0..<2 {
            _ = try #require(book.offer(.reminders, now))
            _ = try #require(book.claim(id, token: token(), moment))
            clock.advance(by: .seconds(30))
            book.timePassed(moment)
        }
        #expect(row(id, book)?.state == .quarantined && row(id, book)?.crashCount == 2)
    }

    @Test func whatIsCalledOffIsNotHandedOver() throws {
        let book = book()
        var messages = [message("a"), message("b"), message("c")]
        for index in messages.indices { messages[index].subject = "appointment:1" }
        messages[2].subject = "appointment:2"
        let ids = book.add(messages, moment)
        let token = token()
        let claimed = try #require(book.offer(.reminders, now).flatMap { book.claim($0, token: token, moment) })
        book.callOff("appointment:1", reason: "remarcado", moment)
        #expect(!book.handingOver(claimed.id, attempt: 1, token: token, moment), "claimed, and not handed over yet")
        #expect(ids.prefix(2).allSatisfy { row($0, book)?.state == .cancelled && row($0, book)?.why == "remarcado" })
        #expect(book.offer(.reminders, now) == ids[2])
    }

    @Test func whatIsCalledOffWhileItIsSentIsNotTriedAgain() throws {
        let book = book()
        var one = message()
        one.subject = "s"
        let id = book.add([one], moment)[0]
        let token = token()
        _ = try sending(book, token)
        book.callOff("s", reason: "cancelado", moment)
        #expect(book.ended(id, attempt: 1, token: token, .failed(reason: "503"), moment) == .settled(.cancelled))
    }

    @Test func whatIsFarAwayIsNotInMemoryAndIsCalledOffWhenItIsMet() throws {
        let book = book()
        var reminder = message(in: .seconds(86_400 * 30))
        reminder.subject = "s"
        let id = book.add([reminder], moment)[0]
        let stored = try #require(row(id, book))
        #expect(book.messages.isEmpty)
        #expect(book.nextDue(at: now) == reminder.runAt)
        clock.advance(by: .seconds(1))
        book.callOff("s", reason: "cancelado", moment)
        // What came under the same subject afterwards stays.
        reminder.recipient = "later"
        let later = book.add([reminder], moment)[0]
        let errand = book.readBegan(now)
        #expect(Array(errand.callOffs.keys) == ["s"])
        book.calledOff(errand.callOffs, [stored, try #require(row(later, book))], isAll: true, now)
        book.readEnded()
        #expect(row(id, book)?.state == .cancelled && row(later, book)?.state == .scheduled)
        #expect(!book.needsStore(now), "and is done with")
    }

    @Test func ofEachKeyThereIsOneMessage() throws {
        let book = book()
        let first = book.add([message("a", key: "k"), message("b", key: "k")], moment)
        #expect(first[0] == first[1] && book.effects.changed.count == 1)
        #expect(book.offer(.reminders, now) == nil, "not before its key was looked up")
        #expect(book.readBegan(now).keys == ["k"])
        book.confirmed(["k"], first: ["k": first[0]], now)
        book.readEnded()
        #expect(book.offer(.reminders, now) == first[0])
    }

    @Test func aKeyThatWasUsedBeforeIsGivenUp() {
        let book = book()
        let id = book.add([message(key: "k")], moment)[0]
        _ = book.readBegan(now)
        let earlier = QueueMessageID(UniqueID(high: 1, low: 1))
        book.confirmed(["k"], first: ["k": earlier], now)
        book.readEnded()
        #expect(book.effects.deleted.map(\.id) == [id] && book.offer(.reminders, now) == nil)
        #expect(book.add([message(key: "k")], moment) == [earlier])
    }

    @Test func aRowReadBeforeADecisionIsNotBelievedAfterIt() throws {
        let book = book()
        let id = book.add([message()], moment)[0]
        let stored = try #require(row(id, book))
        _ = book.readBegan(now)
        let token = token()
        _ = try sending(book, token)
        _ = book.ended(id, attempt: 1, token: token, .sent(providerID: nil), moment)
        var reading = QueueBook.Reading()
        reading.messages = [stored]
        book.adopt(reading, of: .reminders, now)
        #expect(book.carryOut(.cancel(reason: "x"), on: stored, moment) == nil)
        book.readEnded()
        #expect(book.offer(.reminders, now) == nil)
    }

    @Test func whatIsAddedWhileTheRestIsReadIsNotForgotten() {
        let book = book()
        let far = message(in: .seconds(3600))
        _ = book.add([far], moment)
        _ = book.readBegan(now)
        let nearer = message(in: .seconds(600))
        _ = book.add([nearer], moment)
        var reading = QueueBook.Reading()
        reading.beyond = far.runAt
        book.adopt(reading, of: .reminders, now)
        book.readEnded()
        #expect(book.nextDue(at: now) == nearer.runAt)
    }

    @Test func aBacklogIsReadOnByPriorityAndNeverWhole() {
        let book = book { $0.inMemory = 10 }
        let ids = book.add((0..<100).map { message("\($0)") }, moment)
        #expect(book.messages.count == 20, "the rest is in the store")
        var seen: [QueueMessageID] = []
        var stored = book.effects.changed
        while let id = book.offer(.reminders, now) ?? readOn(book, stored) {
            seen.append(id)
            let token = token()
            _ = book.claim(id, token: token, moment)
            _ = book.ended(id, attempt: 1, token: token, .sent(providerID: nil), moment)
            stored.removeAll { $0.id == id }
            #expect(book.messages.count <= 20)
        }
        #expect(Set(seen) == Set(ids) && seen.count == 100)
    }

    private func readOn(_ book: Bench, _ stored: [QueueMessage]) -> QueueMessageID? {
        let errand = book.readBegan(now)
        guard let inMemory = errand.queues[.reminders] else { return nil }
        let limit = 10 + inMemory
        var reading = QueueBook.Reading()
        reading.messages = Array(stored.prefix(limit))
        if stored.count >= limit { (reading.beyond, reading.cutPriority) = (errand.now, 5) }
        book.adopt(reading, of: .reminders, now)
        book.readEnded()
        return book.offer(.reminders, now)
    }

    @Test func aQueueThatRestsBeginsNothingAndLetsWhatIsUnderWayEnd() throws {
        let book = book()
        let ids = book.add([message("a"), message("b")], moment)
        let token = token()
        let claimed = try sending(book, token)
        let maria = Principal(tenant: tenant, user: UserID(UniqueID(high: 1, low: 2)), role: .owner, name: "Maria")
        book.put(QueueControl(.paused, isSet: true, by: maria, reason: "feriado", at: now), on: .reminders)
        let other = try #require(ids.first { $0 != claimed.id })
        #expect(book.offer(.reminders, now) == nil && book.claim(other, token: token, moment) == nil && book.ready.isEmpty)
        #expect(book.ended(claimed.id, attempt: 1, token: token, .sent(providerID: nil), moment) == .settled(.sent))
        book.put(QueueControl(.paused, isSet: false, by: maria, reason: nil, at: now), on: .reminders)
        #expect(book.offer(.reminders, now) == other)
    }

    @Test func whatHasExpiredIsDroppedAlsoWhileItWaits() throws {
        let book = book()
        var one = message()
        one.expiresAt = now + .seconds(10)
        let id = book.add([one], moment)[0]
        clock.advance(by: .seconds(10))
        book.timePassed(moment)
        #expect(row(id, book)?.state == .dropped)
        var two = message()
        two.expiresAt = now + .seconds(1)
        let other = book.add([two], moment)[0]
        let token = token()
        _ = try sending(book, token)
        #expect(
            book.ended(other, attempt: 1, token: token, .failed(reason: "503"), Moment(now: now + .seconds(1)) { (0, 0xffff_ffff) })
                == .settled(.dead)
        )
    }

    @Test func whatIsPutAwayKeepsItsKeyAndNothingElse() throws {
        let book = book()
        let ids = book.add([message("a", key: "k"), message("b")], moment)
        for id in ids {
            var over = try #require(row(id, book))
            over = try #require(book.carryOut(.cancel(reason: "x"), on: over, moment))
            #expect(book.carryOut(.clear, on: over, moment) != nil)
        }
        let left = try #require(row(ids[0], book))
        #expect(left.state == .forgotten && left.content.key == "k" && left.content.recipient.isEmpty && left.content.payload.isEmpty)
        #expect(book.effects.deleted.map(\.id) == [ids[1]])
    }
}

/// Whose turn it is.
@Suite struct QueueRoundTests {
    /// A round that an expectation can call.
    private final class Bench {
        var round: QueueRound
        init(_ concurrency: Int, _ perTenant: Int) { round = QueueRound(concurrency: concurrency, perTenant: perTenant) }
        var busy: Int { round.busy }
        func next() -> TenantID? { round.next() }
        func wants(_ tenant: TenantID) { round.wants(tenant) }
        func ended(_ tenant: TenantID) { round.ended(tenant) }
        func hadNothing(_ tenant: TenantID) { round.hadNothing(tenant) }
    }

    private func tenant(_ number: UInt64) -> TenantID { TenantID(UniqueID(high: 1, low: number)) }

    @Test func businessesTakeTurnsWhateverTheirBacklogs() {
        let round = Bench(6, 6)
        round.wants(tenant(1))
        #expect(round.next() == tenant(1))
        round.wants(tenant(2))
        round.wants(tenant(3))
        #expect((0..<5).map { _ in round.next() } == [1, 2, 3, 1, 2].map { tenant($0) })
        #expect(round.next() == nil, "all workers are busy")
        round.ended(tenant(1))
        #expect(round.next() == tenant(3))
    }

    @Test func aBusinessHasNoMoreThanItsShare() {
        let round = Bench(10, 2)
        round.wants(tenant(1))
        #expect(round.next() != nil && round.next() != nil && round.next() == nil)
        round.wants(tenant(2))
        #expect(round.next() == tenant(2))
    }

    @Test func whoAskedAgainMeanwhileIsNotForgotten() {
        let round = Bench(10, 10)
        round.wants(tenant(1))
        _ = round.next()
        round.wants(tenant(1))
        round.hadNothing(tenant(1))
        #expect(round.next() == tenant(1))
        round.hadNothing(tenant(1))
        #expect(round.next() == nil && round.busy == 0)
    }
}
