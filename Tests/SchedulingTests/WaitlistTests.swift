import Kernel
import Testing

@testable import Scheduling

/// Who waits, for how long, and what they are offered.
@Suite struct WaitlistTests {
    // 2026-03-02 is a Monday; São Paulo is three hours behind UTC.
    private let nine = "2026-03-02T12:00:00Z"

    /// A day with one hour, which is taken.
    private func full() throws -> (diary: Diary, booked: Appointment) {
        var diary = try Diary()
        diary.book.rules.overrides[try #require(CivilDay("2026-03-02"))] = [Period(540, 600)]
        let booked = try diary.book.book(diary.request(try time(nine)), diary.moment)
        return (diary, booked)
    }

    @Test func whoAsksTwiceWaitsOnceAndNobodyIsShownTheFirstByThePublicPage() throws {
        var (diary, _) = try full()
        let first = try diary.book.join(try diary.wait("Bia", "+55 (11) 90000-0002"), isPublic: true, diary.moment)
        // Whoever knows all that was said knows it, and is nobody for that.
        for name in ["Bia", "Zé"] {
            #expect(refusal { try diary.book.join(try diary.wait(name, "+5511900000002"), isPublic: true, diary.moment) } == "already_waiting")
        }
        #expect(try diary.book.join(try diary.wait("Bia Silva", "+5511900000002"), isPublic: false, diary.moment).token == first.token)
        #expect(try diary.book.join(try diary.wait("Bia", "+5511900000002", on: "2026-03-03"), isPublic: false, diary.moment).id != first.id)
        _ = try diary.book.leave(first.id, diary.moment)
        #expect(try diary.book.join(try diary.wait("Zé", "+5511900000002"), isPublic: true, diary.moment).status == .waiting, "the first has left")
    }

    @Test func nobodyWaitsForWhatCannotBeBooked() throws {
        var (diary, _) = try full()
        diary.book.rules.maximumAdvanceDays = 30
        #expect(refusal { try diary.book.join(try diary.wait("Bia", "+5511900000002", on: "2026-04-02"), isPublic: true, diary.moment) } == "too_far")
        #expect(
            refusal { try diary.book.join(try diary.wait("Bia", "+5511900000002", on: "2200-01-01"), isPublic: false, diary.moment) } == "too_far"
        )
        #expect(
            refusal { try diary.book.join(try diary.wait("Bia", "+5511900000002", on: "2026-03-01"), isPublic: true, diary.moment) } == "too_soon"
        )
        #expect(try diary.book.join(try diary.wait("Bia", "+5511900000002", on: "2026-04-01"), isPublic: false, diary.moment).isOpen)
    }

    @Test func whoLeftOrWaitedInVainTakesNobodysPlace() throws {
        var (diary, _) = try full()
        for number in 0..<CalendarBook.maxWaiting {
            diary.book.adopt(try diary.wait("C", "+55119\(10_000_000 + number)"))
        }
        #expect(refusal { try diary.book.join(try diary.wait("Bia", "+5511900000002"), isPublic: true, diary.moment) } == "waitlist_full")
        _ = try diary.book.leave(try #require(diary.book.waitlist.keys.first), diary.moment)
        #expect(try diary.book.join(try diary.wait("Bia", "+5511900000002"), isPublic: true, diary.moment).isOpen)
        // Their day is over, and they wait no more; all of them are told, and forgotten in time.
        diary.clock.advance(by: .seconds(86_400))
        #expect(diary.book.nextDue <= diary.clock.now)
        diary.book.timePassed(diary.moment)
        #expect(diary.book.waitlist.values.allSatisfy { !$0.isOpen })
        for id in Set(diary.book.effects.waitlist) { diary.book.keep(diary.book.waitlist[id]!, at: diary.clock.now) }
        diary.book.forgetEnded(at: diary.clock.now)
        #expect(diary.book.waitlist.count <= CalendarBook.maxEnded)
        diary.clock.advance(by: CalendarBook.endedLast)
        diary.book.forgetEnded(at: diary.clock.now)
        #expect(diary.book.waitlist.isEmpty)
    }

    @Test func ofManyWhoWaitAllAreTriedInTurnsOfSome() throws {
        var (diary, booked) = try full()
        // Those who came first can have nothing of what becomes free: they want another who does not work.
        let ana = diary.hire("Ana") { $0.weekly = WeeklyHours(Array(repeating: [], count: 7)) }
        diary.book.staff[0].capacity = 1
        for number in 0..<(CalendarBook.maxTried + 50) {
            let plain = try diary.wait("C", "+55119\(10_000_000 + number)")
            let picky = WaitlistEntry(
                id: plain.id,
                service: plain.service,
                staff: number < CalendarBook.maxTried + 49 ? ana : nil,
                from: plain.from,
                until: plain.until,
                clientName: plain.clientName,
                clientWhatsapp: plain.clientWhatsapp,
                clientEmail: nil,
                diary.moment
            )
            _ = try diary.book.join(picky, isPublic: false, diary.moment)
            diary.clock.advance(by: .milliseconds(1))
        }
        let last = try #require(diary.book.waitlist.values.first { $0.staff == nil })
        diary.book.staff.removeAll()
        diary.book.effects = .init()
        _ = try diary.book.cancel(booked.id, by: "staff", reason: nil, diary.moment)
        #expect(diary.book.waitlist[last.id]?.status == .waiting && diary.book.nextDue <= diary.clock.now, "not yet, but at once")
        diary.book.effects = .init()
        diary.book.timePassed(diary.moment)
        #expect(diary.book.waitlist[last.id]?.status == .offered)
        diary.book.effects = .init()
        #expect(diary.book.nextDue > diary.clock.now, "and then there is nothing more to try")
    }

    @Test func whatOtherRulesOpenIsOffered() throws {
        var (diary, _) = try full()
        let bia = try diary.book.join(try diary.wait("Bia", "+5511900000002"), isPublic: true, diary.moment)
        diary.book.effects = .init()
        diary.book.offerAnew(diary.moment)
        #expect(diary.book.waitlist[bia.id]?.status == .waiting && diary.book.effects.touched.isEmpty)
        diary.book.rules.overrides = [:]
        diary.book.offerAnew(diary.moment)
        #expect(try diary.book.waitlist[bia.id]?.offeredStart == time("2026-03-02T13:00:00Z"))
        #expect(diary.book.effects.touched.count == 1, "of what was given away, and of nothing else")
    }

    @Test func thePublicBooksWhatThereIsAndWaitsForWhatThereIsNot() throws {
        var diary = try Diary()
        let bia = try diary.wait("Bia", "+5511900000002")
        let first = try time(nine)
        do {
            _ = try diary.book.join(bia, isPublic: true, diary.moment)
            Issue.record("waits while there is room")
        } catch {
            #expect(error.code == "slots_available")
            #expect(error.lists["alternatives"] == (0..<5).map { (first + .seconds($0 * 3600)).description })
        }
        #expect(diary.book.holds.isEmpty && diary.book.waitlist.isEmpty)
        #expect(
            try diary.book.join(try diary.wait("Bia", "+5511900000002"), isPublic: false, diary.moment).status == .offered,
            "the staff's are served"
        )
    }

    @Test func oneAddressKeepsFewPlacesInTheWaitingList() throws {
        var (diary, _) = try full()
        func wait(_ number: Int, from origin: String?) throws -> WaitlistEntry {
            var entry = try diary.wait("C", "+55119\(10_000_000 + number)")
            entry.origin = origin
            return try diary.book.join(entry, isPublic: true, diary.moment)
        }
        var first: WaitlistEntry?
        for number in 0..<CalendarBook.maxWaitingOfAddress { first = try wait(number, from: "192.0.2.1") }
        #expect(refusal { try wait(100, from: "192.0.2.1") } == "too_many_waiting")
        #expect(try wait(101, from: "192.0.2.2").isOpen && wait(102, from: nil).isOpen)
        _ = try diary.book.leave(try #require(first).id, diary.moment)
        #expect(try wait(103, from: "192.0.2.1").isOpen)
    }

    /// What is taken is no reason to look for anything, and of what is freed only that is looked at.
    @Test func onlyWhatWasFreedIsOffered() throws {
        var diary = try Diary()
        // Of two that can be attended at a time: what is taken leaves room beside it.
        diary.book.rules.capacity = 2
        let three = try time("2026-03-02T18:00:00Z")
        let booked = try diary.book.book(diary.request(three), diary.moment)
        var bia = try diary.wait("Bia", "+5511900000002")
        bia.version = 1
        diary.book.adopt(bia)
        let other = try diary.book.book(diary.request(try time("2026-03-02T13:00:00Z")), diary.moment)
        #expect(diary.book.waitlist[bia.id]?.status == .waiting, "nothing became free")
        let hold = try diary.book.hold(diary.cut, staff: nil, start: try time(nine), isPublic: false, diary.moment)
        var request = diary.request(try time(nine))
        request.hold = hold.id
        _ = try diary.book.book(request, diary.moment)
        #expect(diary.book.waitlist[bia.id]?.status == .waiting, "what was held is booked, and never free")
        _ = try diary.book.cancel(booked.id, by: "staff", reason: nil, diary.moment)
        #expect(diary.book.waitlist[bia.id]?.offeredStart == three)
        // Of something long that is moved away, what begins before it and reaches into it.
        var caio = try diary.wait("Caio", "+5511900000003")
        caio.version = 1
        diary.book.adopt(caio)
        diary.book.rules.startIntervalMinutes = 30
        _ = try diary.book.cancel(other.id, by: "staff", reason: nil, diary.moment)
        #expect(try diary.book.waitlist[caio.id]?.offeredStart == time("2026-03-02T12:30:00Z"))
    }

    /// However many wait for members who are on leave for months: each day of each of them is searched once in a turn, and a turn searches some hundreds of days.
    @Test func whatIsSearchedInOneTurnIsBounded() throws {
        var (diary, booked) = try full()
        diary.book.staff.removeAll()
        let away = (0..<10).map { number in diary.hire("A\(number)") { $0.weekly = WeeklyHours(Array(repeating: [], count: 7)) } }
        let from = try time("2026-03-02T03:00:00Z")
        for number in 0..<CalendarBook.maxTried {
            let plain = try diary.wait("C", "+55119\(10_000_000 + number)")
            diary.book.adopt(
                WaitlistEntry(
                    id: plain.id,
                    service: plain.service,
                    staff: away[number % 10],
                    // No two of them ask for the same.
                    from: from + .seconds(number),
                    until: from + .seconds(92 * 86_400 + number),
                    clientName: plain.clientName,
                    clientWhatsapp: plain.clientWhatsapp,
                    clientEmail: nil,
                    diary.moment
                )
            )
            diary.clock.advance(by: .milliseconds(1))
        }
        diary.book.offerAnew(diary.moment)
        #expect(!diary.book.untried.isEmpty && diary.book.nextDue <= diary.clock.now)
        var turns = 1
        while !diary.book.untried.isEmpty, turns < 100 {
            diary.book.timePassed(diary.moment)
            turns += 1
        }
        #expect(turns <= 10 * 93 / CalendarBook.maxDaysSearched + 2, "\(turns) turns")
        #expect(diary.book.freedForUntried.isEmpty && diary.book.nextDue > diary.clock.now)
        // One hour that becomes free is all that is looked at.
        _ = try diary.book.cancel(booked.id, by: "staff", reason: nil, diary.moment)
        #expect(diary.book.untried.isEmpty)
    }

    @Test func whatCanBeBookedNoMoreIsNotHeldAndWhoWasOfferedItWaitsOn() throws {
        var diary = try Diary()
        let (ana, bia) = (diary.hire("Ana"), diary.hire("Bia"))
        let start = try time(nine)
        let guest = try diary.book.hold(diary.cut, staff: ana, start: start, isPublic: true, by: Asker(.guest), diary.moment)
        let other = try diary.book.hold(diary.cut, staff: bia, start: start, isPublic: false, diary.moment)
        let plain = try diary.wait("Caio", "+5511900000003")
        let offered = try diary.book.join(
            WaitlistEntry(
                id: plain.id,
                service: plain.service,
                staff: ana,
                from: plain.from,
                until: plain.until,
                clientName: "Caio",
                clientWhatsapp: "+5511900000003",
                clientEmail: nil,
                diary.moment
            ),
            isPublic: false,
            diary.moment
        )
        #expect(offered.status == .offered && diary.book.holds.count == 3)
        diary.book.staff.removeAll { $0.id == ana }
        diary.book.effects = .init()
        diary.book.offerAnew(diary.moment)
        let given = try #require(offered.hold)
        #expect(Array(diary.book.holds.keys) == [other.id] && Set(diary.book.effects.holdsEnded.map(\.id)) == [guest.id, given])
        #expect(diary.book.waitlist[offered.id]?.status == .waiting && diary.book.waitlist[offered.id]?.hold == nil)
        var request = diary.request(start)
        (request.hold, request.isPublic, request.asker) = (guest.id, true, Asker(.guest))
        #expect(refusal { try diary.book.book(request, diary.moment) } == "hold_expired")
        // The same of a service that is on offer no more.
        diary.book.services[diary.cut]?.isActive = false
        diary.book.offerAnew(diary.moment)
        #expect(diary.book.holds.isEmpty)
    }

    @Test func whatEndedIsRememberedInOrderAndWhoWaitsIsNotForgottenUnanswered() throws {
        var (diary, _) = try full()
        let bia = try diary.wait("Bia", "+5511900000002", on: "2026-02-20")
        diary.book.adopt(bia)
        diary.book.forget(before: diary.clock.now)
        diary.book.timePassed(diary.moment)
        #expect(diary.book.waitlist[bia.id]?.status == .lapsed && diary.book.effects.waitlist == [bia.id])
        var caio = try diary.wait("Caio", "+5511900000003")
        (caio.status, caio.endedAt) = (.left, diary.clock.now - .seconds(3000))
        diary.book.adopt(ended: caio)
        #expect(diary.book.waitlist[caio.id]?.status == .left)
        diary.clock.advance(by: .seconds(600))
        diary.book.forgetEnded(at: diary.clock.now)
        #expect(diary.book.waitlist[caio.id] == nil)
    }

    /// Who had not had their turn when the server ended is not known by now.
    @Test func afterAStartWhoWaitsIsTriedOnceMore() throws {
        var (diary, booked) = try full()
        let bia = try diary.book.join(try diary.wait("Bia", "+5511900000002"), isPublic: true, diary.moment)
        _ = try diary.book.cancel(booked.id, by: "staff", reason: nil, diary.moment)
        #expect(diary.book.waitlist[bia.id]?.status == .offered)
        // As if it had ended before she was offered what is free.
        var again = CalendarBook(tenant: business)
        (again.rules, again.services) = (diary.book.rules, diary.book.services)
        again.adopt(bia)
        again.triesAllWhoWait(at: diary.clock.now)
        #expect(again.nextDue <= diary.clock.now)
        again.timePassed(diary.moment)
        #expect(again.waitlist[bia.id]?.status == .offered)
    }
}
