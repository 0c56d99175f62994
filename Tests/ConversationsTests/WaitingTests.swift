import Kernel
import TestSupport
import Testing

@testable import Conversations

/// The three small structures that keep time and order, each against a model that does it the slow way.
@Suite struct WaitingTests {
    private static func id(_ number: Int) -> ConversationID { ConversationID(UniqueID(high: 5, low: UInt64(number))) }

    private static func place(_ number: Int, since: Int64, protocolo: Int64) -> WaitingLine.Place {
        .init(since: Timestamp(milliseconds: since), protocolo: protocolo, conversation: id(number))
    }

    @Test func whoWaitedLongestIsFirstAndAtEqualTimesTheLowestProtocol() {
        var line = WaitingLine()
        line.enter(Self.place(1, since: 20, protocolo: 1))
        line.enter(Self.place(2, since: 10, protocolo: 9))
        line.enter(Self.place(3, since: 10, protocolo: 2))
        #expect(line.places.map(\.conversation) == [Self.id(3), Self.id(2), Self.id(1)])
        #expect([1, 2, 3, 4].map { line.position(of: Self.id($0)) } == [3, 2, 1, nil])
    }

    @Test func enteringTwiceIsEnteringOnceAndAnotherTimeMoves() {
        var line = WaitingLine()
        for _ in 0..<2 { line.enter(Self.place(1, since: 10, protocolo: 1)) }
        line.enter(Self.place(2, since: 20, protocolo: 2))
        #expect(line.places.count == 2)
        line.enter(Self.place(1, since: 30, protocolo: 1))
        #expect(line.places.map(\.conversation) == [Self.id(2), Self.id(1)])
        #expect(line.leave(Self.id(1)) == true)
        #expect(line.leave(Self.id(1)) == false)
        #expect(!line.contains(Self.id(1)))
        #expect(line.contains(Self.id(2)))
    }

    @Test(arguments: 1...20) func theLineAgreesWithAModelThatSortsAnew(_ seed: UInt64) {
        var random = SeededGenerator(seed: seed)
        var line = WaitingLine()
        var naive: [ConversationID: WaitingLine.Place] = [:]
        for step in 0..<400 {
            let number = Int.random(in: 1...25, using: &random)
            if Int.random(in: 0..<3, using: &random) > 0 {
                let place = Self.place(number, since: Int64.random(in: 0...8, using: &random), protocolo: Int64.random(in: 1...4, using: &random))
                line.enter(place)
                naive[place.conversation] = place
            } else {
                #expect(line.leave(Self.id(number)) == (naive.removeValue(forKey: Self.id(number)) != nil), "seed \(seed), step \(step)")
            }
            let sorted = naive.values.sorted {
                ($0.since.milliseconds, $0.protocolo, $0.conversation) < ($1.since.milliseconds, $1.protocolo, $1.conversation)
            }
            #expect(line.places == sorted, "seed \(seed), step \(step)")
            #expect(
                line.position(of: Self.id(number)) == sorted.firstIndex { $0.conversation == Self.id(number) }.map { $0 + 1 },
                "seed \(seed), step \(step)"
            )
        }
    }

    // MARK: Deadlines

    private static func ending(_ number: Int, at time: Int64, _ kind: Int) -> Conversation {
        let contact = Contact(id: ContactID(UniqueID(high: 3, low: 1)), name: "Ana", waID: nil, bsuid: nil, at: Timestamp(milliseconds: 0))
        var conversation = Conversation(id: id(number), contact: contact, channel: "whatsapp", language: "pt", at: Timestamp(milliseconds: 0))
        let until = Timestamp(milliseconds: time)
        conversation.state =
            switch kind {
            case 0: .offered(.init(consultor: 1, expiresAt: until), since: Timestamp(milliseconds: 0))
            case 1: .snoozed(consultor: 1, until: until)
            case 2: .queued(since: until)
            case 3: .active(consultor: 1)
            case 4: .resolved(at: until)
            default: .bot
            }
        return conversation
    }

    @Test func onlyOffersAndSnoozesFallDueAndExactlyAtTheirTime() {
        var deadlines = Deadlines()
        func note(_ conversation: Conversation) {
            deadlines.set(conversation.id, at: ConversationDesk.nextLook(conversation, DeskSettings(), missed: nil))
        }
        for kind in 2...5 { note(Self.ending(kind, at: 10, kind)) }
        #expect(deadlines.next == nil)
        note(Self.ending(1, at: 20, 1))
        note(Self.ending(0, at: 10, 0))
        note(Self.ending(0, at: 10, 0))
        #expect(deadlines.next == Timestamp(milliseconds: 10))
        #expect(deadlines.due(at: Timestamp(milliseconds: 9)) == [])
        #expect(deadlines.due(at: Timestamp(milliseconds: 10)) == [Self.id(0)], "noted twice, due once")
        #expect(deadlines.next == Timestamp(milliseconds: 20))
        #expect(deadlines.due(at: Timestamp(milliseconds: 100)) == [Self.id(1)])
        #expect(deadlines.next == nil)
    }

    @Test(arguments: 1...20) func deadlinesAgreeWithAModelThatLooksAtAll(_ seed: UInt64) {
        var random = SeededGenerator(seed: seed)
        var deadlines = Deadlines()
        var naive: [Int: Int64] = [:]
        for step in 0..<400 {
            if Int.random(in: 0..<3, using: &random) > 0 {
                let at = Int64.random(in: 0...60, using: &random)
                let number = Int.random(in: 1...12, using: &random)
                let kind = Int.random(in: 0...5, using: &random)
                let conversation = Self.ending(number, at: at, kind)
                deadlines.set(conversation.id, at: ConversationDesk.nextLook(conversation, DeskSettings(), missed: nil))
                // An offer or a snooze sets its time in place of an earlier one; the others have none.
                naive[number] = kind <= 1 ? at : nil
            } else {
                let now = Int64.random(in: 0...60, using: &random)
                let due = naive.filter { $0.value <= now }.sorted { ($0.value, $0.key) < ($1.value, $1.key) }
                #expect(deadlines.due(at: Timestamp(milliseconds: now)) == due.map { Self.id($0.key) }, "seed \(seed), step \(step)")
                for (number, _) in due { naive[number] = nil }
            }
            #expect(deadlines.next?.milliseconds == naive.values.min(), "seed \(seed), step \(step)")
        }
    }

    // MARK: Lingering

    @Test func aKeyIsForgottenOnceNobodyTouchedItForLongEnough() {
        var lingering = Lingering<String>()
        lingering.touch("a", at: Timestamp(seconds: 100))
        lingering.touch("b", at: Timestamp(seconds: 110))
        #expect(lingering.expired(before: Timestamp(seconds: 100)) == [])
        lingering.touch("a", at: Timestamp(seconds: 130))
        #expect(lingering.expired(before: Timestamp(seconds: 120)) == ["b"])
        #expect(lingering.count == 1)
        #expect(lingering.expired(before: Timestamp(seconds: 131)) == ["a"])
        #expect(lingering.expired(before: Timestamp(seconds: 1000)) == [])
        #expect(lingering.count == 0)
    }

    @Test(arguments: 1...20) func lingeringAgreesWithAModelThatLooksAtAll(_ seed: UInt64) {
        var random = SeededGenerator(seed: seed)
        var lingering = Lingering<Int>()
        var naive: [Int: Int64] = [:]
        var now: Int64 = 0
        for step in 0..<600 {
            now += Int64.random(in: 0...15, using: &random)
            let key = Int.random(in: 1...20, using: &random)
            switch Int.random(in: 0..<8, using: &random) {
            case 0, 1:
                let time = now - 60
                let expected = naive.filter { $0.value < time }.map(\.key).sorted()
                #expect(lingering.expired(before: Timestamp(seconds: time)).sorted() == expected, "seed \(seed), step \(step)")
                for key in expected { naive[key] = nil }
            default:
                lingering.touch(key, at: Timestamp(seconds: now))
                naive[key] = now - now % 10
            }
            #expect(lingering.count == naive.count, "seed \(seed), step \(step)")
        }
    }
}
