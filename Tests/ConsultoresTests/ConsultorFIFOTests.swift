import Consultores
import Kernel
import TestSupport
import Testing

@Suite struct ConsultorFIFOTests {
    private static func profile(_ idiomas: [String] = ["pt"], online: Bool = true, linked: Bool = true, capacity: Int = 2) -> ConsultorProfile {
        var profile = ConsultorProfile(nome: "C", idiomas: idiomas)
        profile.statusOnline = online
        profile.capacity = capacity
        if linked { profile.user = UserID(UniqueID(high: 7, low: 7)) }
        return profile
    }

    private func fifo(_ profiles: ConsultorProfile...) -> ConsultorFIFO {
        var fifo = ConsultorFIFO()
        for profile in profiles { _ = fifo.added(profile) }
        return fifo
    }

    private func conversation(_ number: UInt64) -> ConversationID { ConversationID(UniqueID(high: 1, low: number)) }

    @Test func whoNeverAttendedComesFirstAndThenTheLowestID() {
        var fifo = fifo(Self.profile(), Self.profile(), Self.profile())
        #expect(fifo.next(idioma: "pt", forDesk: false)?.id == 1)
        _ = fifo.attended(1, at: Timestamp(seconds: 10))
        #expect(fifo.next(idioma: "pt", forDesk: false)?.id == 2)
        _ = fifo.attended(2, at: Timestamp(seconds: 5))
        _ = fifo.attended(3, at: Timestamp(seconds: 7))
        #expect(fifo.next(idioma: "pt", forDesk: false)?.id == 2, "longest since its last attendance")
        _ = fifo.attended(2, at: Timestamp(seconds: 7))
        #expect(fifo.next(idioma: "pt", forDesk: false)?.id == 2, "equal times: the lowest id")
    }

    @Test func onlyWhoIsActiveInTurnOnlineAndSpeaksTheLanguageIsEligible() {
        var inactive = Self.profile()
        inactive.statusAtivo = false
        var outOfTurn = Self.profile()
        outOfTurn.statusAtivoSequencial = false
        let fifo = fifo(inactive, outOfTurn, Self.profile(online: false), Self.profile(["en"]))
        #expect(fifo.next(idioma: "pt", forDesk: false) == nil)
        #expect(fifo.next(idioma: "EN", forDesk: false)?.id == 4)
    }

    @Test func theDeskAsksForALinkedUserAndForCapacityAndTheContractDoesNot() {
        var fifo = fifo(Self.profile(linked: false), Self.profile(capacity: 1))
        #expect(fifo.next(idioma: "pt", forDesk: false)?.id == 1)
        #expect(fifo.next(idioma: "pt", forDesk: true)?.id == 2)
        fifo.became(busyWith: conversation(1), 2)
        fifo.became(busyWith: conversation(1), 2)
        #expect(fifo.busyCount(2) == 1, "one conversation counts once")
        #expect(fifo.next(idioma: "pt", forDesk: true) == nil)
        fifo.became(freeOf: conversation(1), 2)
        #expect(fifo.next(idioma: "pt", forDesk: true)?.id == 2)
    }

    @Test func aConnectionHoldsWhoIsOnlineUntilTheyAreOffline() {
        var fifo = fifo(Self.profile(), Self.profile(online: false))
        #expect(fifo.consultores[1]?.isHeldByConnection == false, "put online by hand")
        #expect(fifo.wasConnected(2) == nil, "who is offline is not held by anything")
        #expect(fifo.wasConnected(1)?.isHeldByConnection == true)
        #expect(fifo.wasConnected(1) == nil, "once is enough")
        var offline = ConsultorChanges()
        offline.statusOnline = false
        #expect(fifo.changed(1, offline)?.isHeldByConnection == false)
        var online = ConsultorChanges()
        online.statusOnline = true
        #expect(fifo.changed(1, online)?.isHeldByConnection == false)
        _ = fifo.wasConnected(1)
        for _ in 1..<AssignmentRules().awayAfterMissed { #expect(fifo.keptSilent(1) == nil) }
        #expect(fifo.keptSilent(1)?.isHeldByConnection == false)
    }

    @Test func whoJustMissedIsAskedAgainOnlyWhenThereIsNobodyElse() {
        let two = fifo(Self.profile(), Self.profile())
        #expect(two.next(AttendantSearch(language: "pt", skipping: 1), forDesk: true)?.id == 2)
        let one = fifo(Self.profile())
        #expect(one.next(AttendantSearch(language: "pt", skipping: 1), forDesk: true)?.id == 1)
    }

    @Test func twoSilencesInARowPutSomebodyOfflineAndAnAnswerBetweenDoesNot() {
        var fifo = fifo(Self.profile())
        #expect(fifo.keptSilent(1) == nil)
        fifo.answered(1)
        #expect(fifo.keptSilent(1) == nil)
        #expect(fifo.keptSilent(1)?.statusOnline == false)
        #expect(fifo.next(idioma: "pt", forDesk: true) == nil)
    }

    @Test func anIDAndANumberAreNeverGivenTwice() {
        var fifo = fifo(Self.profile(), Self.profile())
        let removed = fifo.removed(2, at: Timestamp(seconds: 1))
        #expect(fifo.added(Self.profile()).id == 3)
        var reloaded = ConsultorFIFO(consultores: fifo.all + [removed!], lastProtocol: 41)
        #expect(reloaded.all.map(\.id) == [1, 3])
        #expect(reloaded.issuedProtocol() == 42)
        #expect(reloaded.issuedProtocol() == 43)
    }

    @Test(arguments: [(1, "#00001"), (99_999, "#99999"), (100_000, "#100000"), (1_234_567, "#1234567")])
    func aProtocolHasAtLeastFiveDigits(_ number: Int64, _ text: String) { #expect(protocolText(number) == text) }

    /// Long random histories against a model that sorts everything anew at each question.
    @Test(arguments: 1...30) func itAgreesWithTheNaiveModel(_ seed: UInt64) {
        struct Naive {
            var last: [Int64: Timestamp?] = [:]
            var online: Set<Int64> = []
            var languages: [Int64: String] = [:]
            var busy: [Int64: Set<UInt64>] = [:]
            func next(_ language: String) -> Int64? {
                online.filter { languages[$0] == language && (busy[$0]?.count ?? 0) < 2 }.min { a, b in
                    let left = last[a].flatMap { $0?.milliseconds } ?? Int64.min
                    let right = last[b].flatMap { $0?.milliseconds } ?? Int64.min
                    return (left, a) < (right, b)
                }
            }
        }
        var random = SeededGenerator(seed: seed)
        var fifo = ConsultorFIFO()
        var naive = Naive()
        for step in 0..<500 {
            let id = Int64.random(in: 1...12, using: &random)
            switch Int.random(in: 0..<7, using: &random) {
            case 0:
                let language = ["pt", "en"].randomElement(using: &random)!
                let added = fifo.added(Self.profile([language]))
                naive.last[added.id] = .some(nil)
                naive.online.insert(added.id)
                naive.languages[added.id] = language
            case 1 where fifo.consultores[id] != nil:
                var changes = ConsultorChanges()
                changes.statusOnline = Bool.random(using: &random)
                _ = fifo.changed(id, changes)
                if changes.statusOnline == true { naive.online.insert(id) } else { naive.online.remove(id) }
            case 2 where fifo.consultores[id] != nil:
                _ = fifo.removed(id, at: Timestamp(seconds: 1))
                naive.online.remove(id)
                naive.busy[id] = nil
            case 3 where fifo.consultores[id] != nil:
                let time = Timestamp(seconds: Int64.random(in: 0...50, using: &random))
                _ = fifo.attended(id, at: time)
                naive.last[id] = time
            case 4 where fifo.consultores[id] != nil:
                let number = UInt64.random(in: 0...4, using: &random)
                fifo.became(busyWith: conversation(number), id)
                naive.busy[id, default: []].insert(number)
            case 5:
                let number = UInt64.random(in: 0...4, using: &random)
                fifo.became(freeOf: conversation(number), id)
                naive.busy[id]?.remove(number)
            default:
                for language in ["pt", "en", "fr"] {
                    #expect(fifo.next(idioma: language, forDesk: true)?.id == naive.next(language), "seed \(seed), step \(step)")
                }
            }
        }
    }
}
