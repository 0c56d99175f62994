import Consultores
import Kernel
import Testing

/// Whose turn it is at the desk under each of a business's rules, and the pause after a conversation.
@Suite struct AssignmentTests {
    private func fifo(_ count: Int, policy: AssignmentRules.Policy, wrapUp: Duration = .zero) -> ConsultorFIFO {
        var fifo = ConsultorFIFO()
        fifo.rules.policy = policy
        fifo.rules.wrapUp = wrapUp
        for number in 1...count {
            var profile = ConsultorProfile(nome: "C\(number)", idiomas: number == count ? ["pt", "en"] : ["pt"])
            profile.statusOnline = true
            profile.capacity = 2
            profile.user = UserID(UniqueID(high: 7, low: UInt64(number)))
            _ = fifo.added(profile)
        }
        // Later ones are idle for longer.
        for number in (1...count).reversed() { _ = fifo.attended(Int64(number), at: Timestamp(seconds: Int64(100 - number))) }
        return fifo
    }

    private func conversation(_ number: UInt64) -> ConversationID { ConversationID(UniqueID(high: 1, low: number)) }

    @Test func longestIdleIgnoresHowMuchTheyHave() {
        var fifo = fifo(3, policy: .longestIdle)
        fifo.became(busyWith: conversation(1), 3)
        #expect(fifo.next(AttendantSearch(language: "pt"), forDesk: true)?.id == 3)
    }

    @Test func leastLoadedTakesWhoHasFewestAndThenWhoIsIdleForLongest() {
        var fifo = fifo(3, policy: .leastLoaded)
        #expect(fifo.next(AttendantSearch(language: "pt"), forDesk: true)?.id == 3, "all have nothing: idle for longest")
        fifo.became(busyWith: conversation(1), 3)
        #expect(fifo.next(AttendantSearch(language: "pt"), forDesk: true)?.id == 2)
        fifo.became(busyWith: conversation(2), 2)
        #expect(fifo.next(AttendantSearch(language: "pt"), forDesk: true)?.id == 1)
        #expect(fifo.next(idioma: "pt", forDesk: false)?.id == 3, "the contract's da-vez knows no policy")
    }

    @Test func preferredFirstTakesWhoAttendedThemLastIfTheyCan() {
        var fifo = fifo(3, policy: .preferredFirst)
        let search = AttendantSearch(language: "pt", preferred: 1)
        #expect(fifo.next(search, forDesk: true)?.id == 1)
        for number in 1...2 { fifo.became(busyWith: conversation(UInt64(number)), 1) }
        #expect(fifo.next(search, forDesk: true)?.id == 3, "full")
        #expect(fifo.next(AttendantSearch(language: "en", preferred: 2), forDesk: true)?.id == 3, "the language comes first")
    }

    @Test func whoWrapsUpIsOfferedNothingUntilItsTimeIsOverOrTheySaySo() {
        var fifo = fifo(1, policy: .longestIdle, wrapUp: .seconds(60))
        let now = Timestamp(seconds: 1000)
        #expect(fifo.finished(1, at: now)?.wrapUpUntil == now + .seconds(60))
        #expect(fifo.next(AttendantSearch(language: "pt"), forDesk: true) == nil)
        #expect(fifo.staffing(idioma: "pt").free == 0)
        #expect(fifo.nextWrapUpEnd == now + .seconds(60))
        #expect(fifo.wrapUpsOver(at: now + .seconds(59)) == [])
        // A second conversation ends meanwhile: the alarm of the first is late.
        _ = fifo.finished(1, at: now + .seconds(30))
        #expect(fifo.wrapUpsOver(at: now + .seconds(60)) == [])
        #expect(fifo.wrapUpsOver(at: now + .seconds(90)) == [1])
        #expect(fifo.wrappedUp(1)?.wrapUpUntil == nil)
        #expect(fifo.wrappedUp(1) == nil, "once")
        #expect(fifo.next(AttendantSearch(language: "pt"), forDesk: true)?.id == 1)
    }

    @Test func withoutAWrapUpNothingIsToBeStored() {
        var fifo = fifo(1, policy: .longestIdle)
        #expect(fifo.finished(1, at: Timestamp(seconds: 1)) == nil)
    }

    @Test func whoSpeaksTwoLanguagesCountsHalfForEach() {
        let fifo = fifo(3, policy: .longestIdle)
        #expect(fifo.staffing(idioma: "pt") == staffing(online: 3, seats: 5, free: 6))
        #expect(fifo.staffing(idioma: "EN") == staffing(online: 1, seats: 1, free: 2))
        #expect(fifo.staffing(idioma: "es") == Staffing())
    }

    private func staffing(online: Int, seats: Double, free: Int) -> Staffing {
        var staffing = Staffing()
        staffing.online = online
        staffing.seats = seats
        staffing.free = free
        return staffing
    }

    @Test func howManySilencesAreTooManyIsTheBusinesssToSay() {
        var fifo = fifo(1, policy: .longestIdle)
        fifo.rules.awayAfterMissed = 3
        #expect(fifo.keptSilent(1) == nil)
        #expect(fifo.keptSilent(1) == nil)
        let away = fifo.keptSilent(1, at: Timestamp(seconds: 9))
        #expect(away?.statusOnline == false)
        #expect(away?.statusSince == Timestamp(seconds: 9))
    }
}
