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

    @Test func whoAsksTwiceWaitsOnceAndAStrangerIsNotShownTheFirst() throws {
        var (diary, _) = try full()
        let first = try diary.book.join(try diary.wait("Bia", "+55 (11) 90000-0002"), isPublic: true, diary.moment)
        #expect(try diary.book.join(try diary.wait("Bia", "+5511900000002"), isPublic: true, diary.moment).id == first.id)
        #expect(refusal { try diary.book.join(try diary.wait("Zé", "+5511900000002"), isPublic: true, diary.moment) } == "already_waiting")
        #expect(try diary.book.join(try diary.wait("Bia Silva", "+5511900000002"), isPublic: false, diary.moment).token == first.token)
        #expect(try diary.book.join(try diary.wait("Bia", "+5511900000002", on: "2026-03-03"), isPublic: true, diary.moment).id != first.id)
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
        #expect(try diary.book.join(try diary.wait("Bia", "+5511900000002", on: "2026-04-01"), isPublic: true, diary.moment).isOpen)
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
}
