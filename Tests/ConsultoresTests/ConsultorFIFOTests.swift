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
        _ = fifo.attended(2, at: Timestamp(seconds: 11))
        _ = fifo.attended(3, at: Timestamp(seconds: 12))
        #expect(fifo.next(idioma: "pt", forDesk: false)?.id == 1, "longest since its last attendance")
        #expect(fifo.line == [1, 2, 3])
    }

    @Test func turnsWithinOneMomentAndWithAClockThatGoesBackAreStillALine() {
        var fifo = fifo(Self.profile(), Self.profile(), Self.profile())
        let now = Timestamp(seconds: 10)
        var given: [Int64] = []
        for turn in 0..<9 {
            let next = fifo.next(idioma: "pt", forDesk: false)!
            given.append(next.id)
            // The same moment three times, and then an hour earlier.
            _ = fifo.attended(next.id, at: turn < 3 ? now : Timestamp(seconds: 10 - 3600))
        }
        #expect(given == [1, 2, 3, 1, 2, 3, 1, 2, 3])
        let times = fifo.all.compactMap(\.ultimoAtendimento)
        #expect(Set(times).count == 3, "no two at the same moment, so that who reads them sees the order")
        var reloaded = ConsultorFIFO(consultores: fifo.all, lastProtocol: 0)
        #expect(reloaded.line == fifo.line)
        #expect(reloaded.attended(1, at: now)!.ultimoAtendimento! > times.max()!)
    }

    @Test func theNextOfEachLanguageIsTheFirstOfTheLineThatSpeaksIt() {
        var fifo = fifo(Self.profile(["PT", "en"]), Self.profile(["pt"]), Self.profile(["es"], online: false))
        #expect(fifo.nextByLanguage.map(\.idioma) == ["en", "pt"])
        #expect(fifo.nextByLanguage.map(\.id) == [1, 1])
        _ = fifo.attended(1, at: Timestamp(seconds: 1))
        #expect(fifo.nextByLanguage.map(\.id) == [1, 2])
        #expect(fifo.line == [2, 1])
    }

    @Test func whoComesFromElsewhereKeepsTheirIDAndTheirPlaceAndNoIDIsGivenTwice() {
        var fifo = fifo(Self.profile())
        #expect(fifo.added(Self.profile(), id: 40, attended: Timestamp(seconds: 5))?.id == 40)
        #expect(fifo.added(Self.profile(), id: 7, attended: Timestamp(seconds: 4))?.id == 7)
        #expect(fifo.line == [1, 7, 40])
        #expect(fifo.added(Self.profile()).id == 41)
        _ = fifo.removed(7, at: Timestamp(seconds: 6))
        #expect(fifo.added(Self.profile(), id: 7, attended: nil) == nil)
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

    /// Long random histories against a model that knows no line, and sorts everything anew at each question.
    @Test(arguments: 1...40) func itAgreesWithTheNaiveModel(_ seed: UInt64) {
        struct Naive {
            var last: [Int64: Int] = [:]
            var turns = 0
            var state: [Int64: (ativo: Bool, sequencial: Bool, online: Bool)] = [:]
            var languages: [Int64: Set<String>] = [:]
            var busy: [Int64: Set<UInt64>] = [:]
            var order: [Int64] {
                state.filter { $0.value.ativo && $0.value.sequencial && $0.value.online }.map(\.key).sorted {
                    (last[$0] ?? 0, $0) < (last[$1] ?? 0, $1)
                }
            }
            func next(_ language: String, forDesk: Bool) -> Int64? {
                order.first { languages[$0]!.contains(language) && (!forDesk || (busy[$0]?.count ?? 0) < 2) }
            }
        }
        var random = SeededGenerator(seed: seed)
        var fifo = ConsultorFIFO()
        var naive = Naive()
        var issued: [Int64] = []
        var clock = Int64(1000)
        for step in 0..<2000 {
            // It stands still as often as it goes on, and now and then it is set back.
            clock += [0, 0, 1, 7, -500].randomElement(using: &random)!
            let now = Timestamp(milliseconds: max(1, clock))
            let id = Int64.random(in: 1...15, using: &random)
            let isThere = fifo.consultores[id] != nil
            switch Int.random(in: 0..<10, using: &random) {
            case 0 where fifo.all.count < 12:
                let languages = ["pt", "en", "es"].filter { _ in Bool.random(using: &random) }
                let added = fifo.added(Self.profile(languages, online: Bool.random(using: &random)), at: now)
                naive.state[added.id] = (true, true, added.statusOnline)
                naive.languages[added.id] = Set(languages)
            case 1, 2:
                guard isThere else { continue }
                var changes = ConsultorChanges()
                if Bool.random(using: &random) { changes.statusOnline = Bool.random(using: &random) }
                if Int.random(in: 0..<4, using: &random) == 0 { changes.statusAtivo = Bool.random(using: &random) }
                if Int.random(in: 0..<4, using: &random) == 0 { changes.statusAtivoSequencial = Bool.random(using: &random) }
                _ = fifo.changed(id, changes, at: now)
                if let online = changes.statusOnline { naive.state[id]!.online = online }
                if let ativo = changes.statusAtivo { naive.state[id]!.ativo = ativo }
                if let sequencial = changes.statusAtivoSequencial { naive.state[id]!.sequencial = sequencial }
            case 3 where isThere && Int.random(in: 0..<8, using: &random) == 0:
                _ = fifo.removed(id, at: now)
                naive.state[id] = nil
            case 4 where isThere:
                let number = UInt64.random(in: 0...4, using: &random)
                fifo.became(busyWith: conversation(number), id)
                naive.busy[id, default: []].insert(number)
            case 5:
                let number = UInt64.random(in: 0...4, using: &random)
                fifo.became(freeOf: conversation(number), id)
                naive.busy[id]?.remove(number)
            case 6 where Int.random(in: 0..<20, using: &random) == 0:
                // What was stored comes back as it was; who was removed stays so.
                let gone = (1...40).filter { fifo.consultores[$0] == nil && $0 < fifo.nextID }.map { id in
                    var consultor = Consultor(id: id, Self.profile())
                    consultor.removedAt = now
                    return consultor
                }
                fifo = ConsultorFIFO(consultores: (fifo.all + gone).shuffled(using: &random), lastProtocol: fifo.lastProtocol)
                naive.busy = [:]
            default:
                let language = ["pt", "en", "es", "fr"].randomElement(using: &random)!
                let forDesk = Bool.random(using: &random)
                let next = fifo.next(idioma: language, forDesk: forDesk)?.id
                #expect(next == naive.next(language, forDesk: forDesk), "seed \(seed), step \(step), \(language)")
                if let next {
                    _ = fifo.attended(next, at: now)
                    issued.append(fifo.issuedProtocol())
                    naive.turns += 1
                    naive.last[next] = naive.turns
                }
            }
            #expect(fifo.line == naive.order, "seed \(seed), step \(step)")
        }
        #expect(issued == (1...Int64(max(1, issued.count))).map { $0 }, "seed \(seed): every number, in order")
    }
}
