import Kernel
import Testing

@testable import Jobs

/// What is decided of messages that were planned already, or thought to be over.
@Suite struct QueueBookRevisingTests {
    /// A book that an expectation can call.
    private final class Shelf {
        var book: QueueBook
        init(_ rules: QueueRules = QueueRules()) { book = QueueBook(rules: rules) }
        var rules: QueueRules { book.rules }
        var effects: QueueBook.Effects { book.effects }
        var openCount: Int { book.openCount }
        var inMemoryCount: Int { book.inMemoryCount }
        var undelivered: [String: String] { book.undelivered }
        var undeliveredInOrder: Int { book.undeliveredInOrder.count }
        func hasRoom(for count: Int, isOwn: Bool) -> Bool { book.hasRoom(for: count, isOwn: isOwn) }
        func nextDue(at now: Timestamp) -> Timestamp { book.nextDue(at: now) }
        func add(_ messages: [OutgoingMessage], _ moment: Moment) -> [QueueMessageID] { book.add(messages, moment) }
        func offer(_ queue: QueueName, _ now: Timestamp) -> QueueMessageID? { book.offer(queue, now) }
        func claim(_ id: QueueMessageID, token: LeaseToken, _ moment: Moment) -> QueueMessage? { book.claim(id, token: token, moment) }
        func handingOver(_ id: QueueMessageID, attempt: Int, token: LeaseToken, _ moment: Moment) -> Bool {
            book.handingOver(id, attempt: attempt, token: token, moment)
        }
        func ended(_ id: QueueMessageID, attempt: Int, token: LeaseToken, _ outcome: SendOutcome, _ moment: Moment) -> QueueBook.Ending {
            book.ended(id, attempt: attempt, token: token, outcome, moment)
        }
        func carryOut(_ order: QueueBook.Order, on stored: QueueMessage, _ moment: Moment) -> QueueMessage? {
            book.carryOut(order, on: stored, moment)
        }
        func timePassed(_ moment: Moment) { book.timePassed(moment) }
        func readBegan(_ now: Timestamp) -> QueueBook.Errand { book.readBegan(now) }
        func readEnded() { book.readEnded() }
        func confirmed(_ keys: [String], first: [String: QueueMessageID], _ now: Timestamp) { book.confirmed(keys, first: first, now) }
        func putAway(_ message: QueueMessage) { book.putAway(message) }
        func asTheyAre(_ stored: [QueueMessage], about subject: String, in queue: QueueName) -> [QueueMessage]? {
            book.asTheyAre(stored, about: subject, in: queue)
        }
        func revise(_ message: QueueMessage, to content: OutgoingMessage?, _ moment: Moment) { book.revise(message, to: content, moment) }
        func sentAfterAll(_ stored: QueueMessage, providerID: String?, _ moment: Moment) -> Bool {
            book.sentAfterAll(stored, providerID: providerID, moment)
        }
        func deliveryFailed(_ providerID: String, reason: String) { book.deliveryFailed(providerID, reason: reason) }
        func undelivered(_ stored: QueueMessage, reason: String, _ moment: Moment) -> Bool {
            book.undelivered(stored, reason: reason, moment)
        }
    }

    private let clock = ManualEnvironment()
    private var now: Timestamp { clock.now }
    private var moment: Moment { clock.environment.moment() }

    private func message(_ name: String = "a", in delay: Duration = .zero, key: String? = nil) -> OutgoingMessage {
        var message = OutgoingMessage(queue: .reminders, channel: .email, recipient: "\(name)@example.com", runAt: now + delay, payload: "{}")
        message.key = key
        message.subject = "appointment:1"
        return message
    }

    private func last(_ book: Shelf, _ id: QueueMessageID) throws -> QueueMessage {
        try #require(book.effects.changed.last { $0.id == id })
    }

    /// In a worker's hands, on its way to the provider.
    private func sending(_ book: Shelf, _ id: QueueMessageID) throws -> (attempt: Int, token: LeaseToken) {
        let token: LeaseToken = moment.id()
        let (now, moment) = (now, moment)
        #expect(book.offer(.reminders, now) == id)
        let claimed = try #require(book.claim(id, token: token, moment))
        let goes = book.handingOver(id, attempt: claimed.attempt, token: token, moment)
        #expect(goes)
        return (claimed.attempt, token)
    }

    // MARK: Rules that change

    @Test func whatWaitsIsMovedEarlierOrLaterWhereverItIs() throws {
        let book = Shelf()
        let id = book.add([message(in: .seconds(86_400))], moment)[0]
        #expect(book.inMemoryCount == 0)
        _ = book.readBegan(now)
        let stored = try last(book, id)
        let found = try #require(book.asTheyAre([stored], about: "appointment:1", in: .reminders))
        var content = message(in: .seconds(10))
        book.revise(found[0], to: content, moment)
        book.readEnded()
        #expect(book.inMemoryCount == 1 && book.nextDue(at: now) == content.runAt)
        #expect(try last(book, id).version == stored.version + 1)
        // And out of memory again.
        content.runAt = now + .seconds(7200)
        let there = try #require(book.asTheyAre([], about: "appointment:1", in: .reminders))
        book.revise(there[0], to: content, moment)
        #expect(book.inMemoryCount == 0 && book.openCount == 1)
    }

    @Test func whatIsWithdrawnIsAsIfItHadNeverBeenOnceItIsAskedForAgain() throws {
        let book = Shelf()
        let id = book.add([message(in: .seconds(30), key: "k")], moment)[0]
        book.confirmed(["k"], first: ["k": id], now)
        book.revise(try #require(book.asTheyAre([], about: "appointment:1", in: .reminders))[0], to: nil, moment)
        let withdrawn = try last(book, id)
        #expect(withdrawn.state == .cancelled && withdrawn.isWithdrawn && book.openCount == 0 && book.inMemoryCount == 0)
        #expect(book.add([message(key: "k")], moment) == [id], "its key is used")
        book.revise(withdrawn, to: message(key: "k"), moment)
        #expect(book.offer(.reminders, now) == nil, "its key is looked up again: it may have been withdrawn before that was done")
        book.confirmed(["k"], first: ["k": id], now)
        #expect(book.offer(.reminders, now) == id && book.openCount == 1)
        #expect(try last(book, id).finishedAt == nil)
    }

    @Test func whatIsInSomebodysHandsOrOverIsNotRevised() throws {
        let book = Shelf()
        let id = book.add([message()], moment)[0]
        let hands = try sending(book, id)
        let count = book.effects.changed.count
        book.revise(try #require(book.asTheyAre([], about: "appointment:1", in: .reminders))[0], to: nil, moment)
        #expect(book.effects.changed.count == count)
        _ = book.ended(id, attempt: hands.attempt, token: hands.token, .sent(providerID: nil), moment)
        let sent = try last(book, id)
        book.revise(sent, to: message(), moment)
        #expect(try last(book, id) == sent)
    }

    @Test func whatHasChangedSinceItWasReadIsReadOnceMore() throws {
        let book = Shelf()
        let id = book.add([message(in: .seconds(86_400))], moment)[0]
        _ = book.readBegan(now)
        let stored = try last(book, id)
        let cancelled = book.carryOut(.cancel(reason: "x"), on: stored, moment)
        #expect(cancelled != nil)
        #expect(book.asTheyAre([stored], about: "appointment:1", in: .reminders) == nil)
        book.readEnded()
    }

    @Test func ofWhatWasWithdrawnNothingIsLeftOnceItIsPutAway() throws {
        let book = Shelf()
        let id = book.add([message(in: .seconds(86_400), key: "k")], moment)[0]
        book.revise(try last(book, id), to: nil, moment)
        book.putAway(try last(book, id))
        #expect(book.effects.deleted.map(\.id) == [id])
        #expect(book.add([message(key: "k")], moment) != [id], "its key may be used again")
    }

    // MARK: Keys

    @Test func aKeyThatWasMadeInThisTurnIsLookedUpNowhere() {
        let book = Shelf()
        var new = message(key: "k")
        new.isKeyNew = true
        let ids = book.add([new, message("b", key: "l")], moment)
        #expect(book.offer(.reminders, now) == ids[0] && book.offer(.reminders, now) == nil)
        let errand = book.readBegan(now)
        #expect(errand.keys == ["l"])
        #expect(book.add([new], moment) == [ids[0]])
    }

    // MARK: Late news

    @Test func whoWasThoughtDeadAndSaysThatItWasSentIsBelieved() throws {
        let book = Shelf()
        let id = book.add([message()], moment)[0]
        let hands = try sending(book, id)
        clock.advance(by: book.rules.lease)
        book.timePassed(moment)
        let lost = try last(book, id)
        #expect(lost.state == .quarantined)
        #expect(book.ended(id, attempt: hands.attempt, token: hands.token, .sent(providerID: "p"), moment) == .superseded)
        _ = book.readBegan(now)
        let isDone = book.sentAfterAll(lost, providerID: "p", moment)
        #expect(isDone)
        let sent = try last(book, id)
        #expect(sent.state == .sent && sent.providerID == "p" && sent.why == nil && sent.finishedAt == now && sent.version == lost.version + 1)
        #expect(book.openCount == 0)
        // What has changed since it was read is read once more.
        let again = book.sentAfterAll(lost, providerID: "p", moment)
        #expect(!again)
    }

    @Test func whatAPersonHasTriedAgainMeanwhileIsNotSentASecondTimeWhereThatCanStillBeHelped() throws {
        let book = Shelf()
        let id = book.add([message()], moment)[0]
        _ = try sending(book, id)
        clock.advance(by: book.rules.lease)
        book.timePassed(moment)
        let retried = book.carryOut(.retry, on: try last(book, id), moment)
        #expect(retried?.state == .scheduled)
        let isDone = book.sentAfterAll(try last(book, id), providerID: nil, moment)
        #expect(isDone)
        #expect(try last(book, id).state == .sent)
        #expect(book.offer(.reminders, now) == nil && book.openCount == 0)
        // Where it is being handed over already it is not tried a third time.
        let other = book.add([message("b")], moment)[0]
        let hands = try sending(book, other)
        let isKnown = book.sentAfterAll(try last(book, other), providerID: nil, moment)
        #expect(isKnown)
        #expect(book.ended(other, attempt: hands.attempt, token: hands.token, .failed(reason: "x"), moment) == .settled(.cancelled))
    }

    @Test func whatAProviderTookAndCouldNotDeliverIsDeadWhicheverNewsComesFirst() throws {
        let book = Shelf()
        let first = book.add([message()], moment)[0]
        var hands = try sending(book, first)
        _ = book.ended(first, attempt: hands.attempt, token: hands.token, .sent(providerID: "p1"), moment)
        let sent = try last(book, first)
        book.deliveryFailed("p1", reason: "sem WhatsApp (131026)")
        let isDone = book.undelivered(sent, reason: "sem WhatsApp (131026)", moment)
        #expect(isDone)
        let dead = try last(book, first)
        #expect(dead.state == .dead && dead.why == "undelivered: sem WhatsApp (131026)" && dead.errors.last?.outcome == "undelivered")
        #expect(book.offer(.reminders, now) == nil)
        let again = book.undelivered(dead, reason: "x", moment)
        #expect(!again)
        // The news of it is faster than the answer to our own request.
        let second = book.add([message("b")], moment)[0]
        hands = try sending(book, second)
        book.deliveryFailed("p2", reason: "r")
        #expect(book.ended(second, attempt: hands.attempt, token: hands.token, .sent(providerID: "p2"), moment) == .settled(.dead))
        #expect(try last(book, second).why == "undelivered: r" && book.openCount == 0)
        for number in 0..<3 * QueueBook.maxUndelivered { book.deliveryFailed("x\(number)", reason: "r") }
        #expect(book.undelivered.count == QueueBook.maxUndelivered && book.undeliveredInOrder == QueueBook.maxUndelivered)
    }

    // MARK: Room

    @Test func pastTheBoundNobodyPutsMoreInAndWhatRulesPlanIsDeadFromTheBeginningPastTwice() throws {
        var rules = QueueRules()
        rules.maxOpen = 2
        let book = Shelf(rules)
        let ids = book.add([message("a"), message("b", in: .seconds(86_400))], moment)
        #expect(!book.hasRoom(for: 1, isOwn: false) && book.hasRoom(for: 2, isOwn: true) && !book.hasRoom(for: 3, isOwn: true))
        let more = book.add([message("c"), message("d"), message("e", key: "k")], moment)
        #expect(book.openCount == 4 && book.effects.foundNoRoom == [.reminders: 1])
        let refused = try last(book, more[2])
        #expect(refused.state == .dead && refused.why?.hasPrefix("queue_full") == true && refused.version == 1)
        #expect(book.add([message("e", key: "k")], moment) == [more[2]])
        let retried = book.carryOut(.retry, on: refused, moment)
        #expect(retried == nil, "there is no room for it yet")
        for id in ids + more.prefix(2) { _ = book.carryOut(.cancel(reason: "x"), on: try last(book, id), moment) }
        #expect(book.openCount == 0)
        let tried = book.carryOut(.retry, on: refused, moment)
        #expect(tried?.state == .scheduled && book.openCount == 1)
    }
}
