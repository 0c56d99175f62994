import Kernel
import Testing

@testable import Scheduling

/// Where what is booked, forced and moved is put: lanes, seats and persons.
@Suite struct PlacementTests {
    // 2026-03-02 is a Monday; São Paulo is three hours behind UTC.
    private let nine = "2026-03-02T12:00:00Z"

    @Test func aMoveKeepsIdAndCountsRevisionAndItsOldTimeIsFree() throws {
        var diary = try Diary(durationMinutes: 60) { $0.startIntervalMinutes = 30 }
        let booked = try diary.book.book(diary.request(try time(nine)), diary.moment)
        var move = CalendarBook.Move()
        move.start = try time("2026-03-02T12:30:00Z")
        let moved = try diary.book.reschedule(booked.id, move, diary.moment)
        #expect(moved.id == booked.id && moved.revision == 1 && moved.start == move.start, "it does not stand in its own way")
        #expect(try diary.slots(nine, "2026-03-02T14:00:00Z") == [time("2026-03-02T13:30:00Z")])
        move.revision = 0
        #expect(refusal { try diary.book.reschedule(booked.id, move, diary.moment) } == "stale_revision")
        move.revision = 1
        move.start = try time("2026-03-01T12:30:00Z")
        #expect(refusal { try diary.book.reschedule(booked.id, move, diary.moment) } == "too_soon")
        #expect(diary.book.appointments[booked.id]?.start == moved.start, "refused, nothing happened")
    }

    @Test func clientsKeepToTheCutoffAndStaffNeedNot() throws {
        var diary = try Diary()
        diary.book.rules.cutoffMinutes = 120
        let booked = try diary.book.book(diary.request(try time(nine)), diary.moment)
        diary.clock.advance(by: .seconds(2 * 3600))
        #expect(refusal { try diary.book.cancel(booked.id, by: "client", reason: nil, diary.moment) } == "policy_cutoff")
        let cancelled = try diary.book.cancel(booked.id, by: "staff", reason: "doença", diary.moment)
        #expect(cancelled.status == .cancelled && cancelled.cancelReason == "doença")
        #expect(try diary.book.cancel(booked.id, by: "staff", reason: nil, diary.moment).revision == 1, "a second time changes nothing")
        #expect(refusal { try diary.book.confirm(booked.id, diary.moment) } == "invalid_state")
        #expect(refusal { try diary.book.ended(booked.id, as: .completed, diary.moment) } == "invalid_state")
    }

    @Test func anyStaffGoesToWhoHasTheLeast() throws {
        var diary = try Diary()
        let (ana, bia) = (diary.hire("Ana"), diary.hire("Bia"))
        let given = try (0..<4).map { hour in
            try diary.book.book(diary.request(try time(nine) + .seconds(hour / 2 * 3600)), diary.moment).staff
        }
        #expect(Set(given[0...1]) == [ana, bia] && Set(given[2...3]) == [ana, bia])
        #expect(refusal { try diary.book.book(diary.request(try time(nine)), diary.moment) } == "slot_taken")
        var request = diary.request(try time("2026-03-02T15:00:00Z"))
        request.staff = bia
        #expect(try diary.book.book(request, diary.moment).staff == bia)
        #expect(refusal { try diary.book.book(request, diary.moment) } == "slot_taken")
        #expect(try diary.slots("2026-03-02T15:00:00Z", "2026-03-02T16:00:00Z").count == 1, "somebody else has room")
        #expect(try diary.slots("2026-03-02T15:00:00Z", "2026-03-02T16:00:00Z", staff: bia).isEmpty)
    }

    @Test func aClassHasAsManySeatsAsItHas() throws {
        var diary = try Diary { $0.seats = 3 }
        let start = try time(nine)
        let booked = try (1...3).map { try diary.book.book(diary.request(start, whatsapp: "+55119000\($0)"), diary.moment) }
        #expect(Set(booked.map(\.place.session)).count == 1 && booked.map(\.place.seat) == [1, 2, 3])
        #expect(refusal { try diary.book.book(diary.request(start), diary.moment) } == "capacity_full")
        _ = try diary.book.cancel(booked[0].id, by: "staff", reason: nil, diary.moment)
        #expect(try diary.book.book(diary.request(start), diary.moment).place.seat == 1)
        #expect(diary.book.clients.count == 4)
    }

    /// One that was forced over a full class has begun no class of its own: nobody joins it, also once it is read again.
    @Test func aForcedOneOverAFullClassOpensNoSeats() throws {
        var diary = try Diary { $0.seats = 3 }
        let start = try time(nine)
        let booked = try (1...3).map { try diary.book.book(diary.request(start, whatsapp: "+55119000\($0)"), diary.moment) }
        var request = diary.request(start, whatsapp: "+551190004")
        request.force = "encaixe"
        let forced = try diary.book.book(request, diary.moment)
        #expect(refusal { try diary.book.book(diary.request(start), diary.moment) } == "capacity_full")
        // Nor does it when it is moved there.
        var elsewhere = diary
        let other = try elsewhere.book.book(elsewhere.request(start + .seconds(3600)), elsewhere.moment)
        var move = CalendarBook.Move()
        (move.start, move.force) = (start, "encaixe")
        _ = try elsewhere.book.reschedule(other.id, move, elsewhere.moment)
        _ = try elsewhere.book.cancel(forced.id, by: "staff", reason: nil, elsewhere.moment)
        #expect(refusal { try elsewhere.book.book(elsewhere.request(start), elsewhere.moment) } == "capacity_full")
        var again = CalendarBook(tenant: business)
        (again.rules, again.services) = (diary.book.rules, diary.book.services)
        for appointment in diary.book.appointments.values { again.adopt(appointment) }
        #expect(again.slots(try again.wish(diary.cut, now: diary.clock.now), in: start..<(start + .seconds(1))).isEmpty)
        // A seat that becomes free stays so as long as the other lies over it.
        _ = try diary.book.cancel(booked[0].id, by: "staff", reason: nil, diary.moment)
        #expect(refusal { try diary.book.book(diary.request(start), diary.moment) } == "capacity_full")
        _ = try diary.book.cancel(forced.id, by: "staff", reason: nil, diary.moment)
        #expect(try diary.book.book(diary.request(start), diary.moment).place.session == booked[1].place.session)
    }

    @Test func whatTheLastOfTheStaffHasIsNotGivenAgainOnceTheyAreGone() throws {
        var diary = try Diary()
        _ = diary.hire("Ana")
        let start = try time(nine)
        _ = try diary.book.book(diary.request(start), diary.moment)
        diary.book.staff[0].isActive = false
        #expect(refusal { try diary.book.book(diary.request(start), diary.moment) } == "slot_taken")
        #expect(try diary.book.book(diary.request(start + .seconds(3600)), diary.moment).staff == nil)
        diary.book.staff.removeAll()
        #expect(refusal { try diary.book.hold(diary.cut, staff: nil, start: start, isPublic: true, diary.moment) } == "slot_taken")
    }

    /// Where there is room, force takes nothing but its seat; that it was forced is a note.
    @Test func whatIsForcedWhereThereIsRoomTakesItsSeat() throws {
        var diary = try Diary { $0.seats = 10 }
        let start = try time(nine)
        for number in 1...3 { _ = try diary.book.book(diary.request(start, whatsapp: "+55119000\(number)"), diary.moment) }
        var request = diary.request(start, whatsapp: "+551190004")
        request.force = "encaixe"
        let forced = try diary.book.book(request, diary.moment)
        #expect(forced.isForced && !forced.liesOver && forced.place.seat == 4)
        let next = try diary.book.book(diary.request(start), diary.moment)
        #expect(next.place.session == forced.place.session && next.place.seat == 5)
        // Also where it begins the class, and outside the hours; not where not all is known.
        request.start = start - .seconds(3600)
        let early = try diary.book.book(request, diary.moment)
        #expect(!early.liesOver)
        request.start = diary.clock.now
        #expect(try diary.book.book(request, diary.moment).liesOver)
        // Whoever has room is given it.
        var two = try Diary()
        let (ana, bia) = (two.hire("Ana"), two.hire("Bia"))
        var first = two.request(start)
        first.staff = ana
        _ = try two.book.book(first, two.moment)
        var second = two.request(start)
        second.force = "encaixe"
        let given = try two.book.book(second, two.moment)
        #expect(given.staff == bia && !given.liesOver)
    }

    @Test func aForcedMoveTakesALaneThatIsFree() throws {
        var diary = try Diary()
        diary.book.rules.capacity = 2
        let start = try time(nine)
        _ = try diary.book.book(diary.request(start), diary.moment)
        let other = try diary.book.book(diary.request(start + .seconds(3600)), diary.moment)
        var move = CalendarBook.Move()
        (move.start, move.force) = (start, "encaixe")
        let moved = try diary.book.reschedule(other.id, move, diary.moment)
        #expect(moved.place.lane == 2 && moved.isForced && !moved.liesOver)
        #expect(refusal { try diary.book.book(diary.request(start), diary.moment) } == "slot_taken", "two at a time, and no third")
    }

    @Test func whatIsMovedWithinAFullDayIsToldWhatStandsInItsWay() throws {
        var diary = try Diary { $0.limits.perDay = 2 }
        let start = try time(nine)
        _ = try diary.book.book(diary.request(start), diary.moment)
        let second = try diary.book.book(diary.request(start + .seconds(3600)), diary.moment)
        var move = CalendarBook.Move()
        move.start = start
        do {
            _ = try diary.book.reschedule(second.id, move, diary.moment)
            Issue.record("two at one time")
        } catch {
            #expect(error.code == "slot_taken")
            #expect(error.lists["alternatives"] == (1...5).map { (start + .seconds($0 * 3600)).description }, "of the same day, and its own as well")
        }
    }

    @Test func aClientMovesAnAppointmentAFewTimesADay() throws {
        var diary = try Diary()
        let booked = try diary.book.book(diary.request(try time(nine)), diary.moment)
        var move = CalendarBook.Move()
        move.isByClient = true
        let times = [try time("2026-03-02T14:00:00Z"), try time("2026-03-02T15:00:00Z")]
        for number in 0..<Int(CalendarBook.maxMovesByClient) {
            move.start = times[number % 2]
            _ = try diary.book.reschedule(booked.id, move, diary.moment)
        }
        move.start = times[1]
        do {
            _ = try diary.book.reschedule(booked.id, move, diary.moment)
            Issue.record("moved once more")
        } catch { #expect(error.code == "too_many_moves" && error.kind == .tooMany && error.retryAfterSeconds == 86_401) }
        // What was stored says so, too.
        var again = CalendarBook(tenant: business)
        (again.rules, again.services) = (diary.book.rules, diary.book.services)
        again.adopt(try #require(diary.book.appointments[booked.id]))
        #expect(refusal { try again.reschedule(booked.id, move, diary.moment) } == "too_many_moves")
        move.isByClient = false
        _ = try diary.book.reschedule(booked.id, move, diary.moment)
        (move.isByClient, move.start) = (true, try time("2026-03-05T15:00:00Z"))
        diary.book.appointments[booked.id]?.clientMoves?.since = diary.clock.now - .seconds(86_400)
        #expect(try diary.book.reschedule(booked.id, move, diary.moment).clientMoves?.count == 1)
    }

    @Test func forcedOnesStandOverOthersAndKeepOthersOut() throws {
        var diary = try Diary()
        _ = try diary.book.book(diary.request(try time(nine)), diary.moment)
        var request = diary.request(try time("2026-03-02T12:20:00Z"))
        request.force = "urgência"
        let forced = try diary.book.book(request, diary.moment)
        #expect(forced.isForced)
        #expect(refusal { try diary.book.book(diary.request(try time("2026-03-02T13:00:00Z")), diary.moment) } == "slot_taken")
        _ = try diary.book.cancel(forced.id, by: "staff", reason: nil, diary.moment)
        #expect(try diary.book.book(diary.request(try time("2026-03-02T13:00:00Z")), diary.moment).isForced == false)
    }

    @Test(arguments: [false, true]) func whatIsForcedLiesWithinFiveYears(isMove: Bool) throws {
        var diary = try Diary()
        var made = try diary.book.book(diary.request(try time("2026-03-02T12:00:00Z")), diary.moment)
        for (text, isNear) in [
            ("2031-03-01T12:00:00Z", true), ("2031-03-07T12:00:00Z", false), ("2021-03-05T12:00:00Z", true), ("2020-03-01T12:00:00Z", false),
        ] {
            let start = try time(text)
            let code = refusal {
                if isMove {
                    var move = CalendarBook.Move()
                    (move.start, move.force) = (start, "encaixe")
                    made = try diary.book.reschedule(made.id, move, diary.moment)
                } else {
                    var request = diary.request(start)
                    request.force = "encaixe"
                    _ = try diary.book.book(request, diary.moment)
                }
            }
            #expect(code == (isNear ? nil : "validation_error"), "\(text)")
        }
    }

    @Test func onlyAnotherTimePersonOrLengthIsAMove() throws {
        var diary = try Diary()
        let ana = diary.hire("Ana")
        let start = try time("2026-03-02T12:00:00Z")
        let made = try diary.book.book(diary.request(start), diary.moment)
        func moves(_ change: (inout CalendarBook.Move) -> Void) -> Bool {
            var move = CalendarBook.Move()
            (move.start, move.staff, move.durationMinutes) = (start, .some(ana), 60)
            change(&move)
            return diary.book.changes(made, by: move)
        }
        #expect(!moves { _ in } && !moves { $0.staff = .some(nil) } && !diary.book.changes(made, by: CalendarBook.Move()))
        #expect(moves { $0.start = start + .seconds(60) } && moves { $0.staff = .some(diary.hire("Bia")) } && moves { $0.durationMinutes = 30 })
    }

    @Test func whatIsNoLongerOnOfferIsStillMovedByTheStaff() throws {
        var diary = try Diary()
        let booked = try diary.book.book(diary.request(try time(nine)), diary.moment)
        diary.book.services[diary.cut]?.isActive = false
        var move = CalendarBook.Move()
        move.start = try time("2026-03-02T15:00:00Z")
        #expect(try diary.book.reschedule(booked.id, move, diary.moment).start == move.start)
        (move.isByClient, move.start) = (true, try time("2026-03-02T16:00:00Z"))
        #expect(refusal { try diary.book.reschedule(booked.id, move, diary.moment) } == "service_inactive")
        #expect(refusal { try diary.book.book(diary.request(try time(nine)), diary.moment) } == "service_inactive")
    }

    /// What was booked when there were more places takes one of those that are left.
    @Test func ofFewerPlacesNoMoreAreBooked() throws {
        var diary = try Diary { $0.startIntervalMinutes = 30 }
        diary.book.rules.capacity = 2
        for start in ["2026-03-02T17:00:00Z", "2026-03-02T17:30:00Z"] { _ = try diary.book.book(diary.request(try time(start)), diary.moment) }
        diary.book.rules.capacity = 1
        #expect(refusal { try diary.book.book(diary.request(try time("2026-03-02T18:00:00Z")), diary.moment) } == "slot_taken")
        #expect(
            try diary.slots("2026-03-02T16:00:00Z", "2026-03-02T19:00:00Z") == [try time("2026-03-02T16:00:00Z"), try time("2026-03-02T18:30:00Z")]
        )
    }

    @Test func aClassThatHasBegunToFillIsFilledWhateverBuffersAreByNow() throws {
        var diary = try Diary { $0.seats = 3 }
        let start = try time("2026-03-02T17:00:00Z")
        let first = try diary.book.book(diary.request(start), diary.moment)
        (diary.book.rules.bufferBeforeMinutes, diary.book.rules.bufferAfterMinutes) = (15, 30)
        let second = try diary.book.book(diary.request(start, whatsapp: "+5511900000002"), diary.moment)
        #expect(second.place.session == first.place.session && second.place.blocked == first.place.blocked)
        #expect(try diary.slots("2026-03-02T17:00:00Z", "2026-03-02T17:00:01Z") == [start])
        diary.book.rules.bufferBeforeMinutes = 0
        _ = try diary.book.book(diary.request(start, whatsapp: "+5511900000003"), diary.moment)
        #expect(refusal { try diary.book.book(diary.request(start, whatsapp: "+5511900000004"), diary.moment) } == "capacity_full")
    }

    /// As after an answer that got lost.
    @Test func aMoveToWhereItIsChangesNothing() throws {
        var diary = try Diary()
        let made = try diary.book.book(diary.request(try time("2026-03-03T17:00:00Z")), diary.moment)
        var move = CalendarBook.Move()
        (move.start, move.isByClient) = (try time("2026-03-03T18:00:00Z"), true)
        let moved = try diary.book.reschedule(made.id, move, diary.moment)
        let confirmed = try diary.book.confirm(made.id, diary.moment)
        for _ in 0..<10 {
            let again = try diary.book.reschedule(made.id, move, diary.moment)
            #expect(again.status == .confirmed && again.revision == confirmed.revision && again.clientMoves?.count == moved.clientMoves?.count)
        }
        move.isByClient = false
        #expect(try diary.book.reschedule(made.id, move, diary.moment).revision == confirmed.revision)
    }

    /// The one that moves is in nobody's way: neither where it lies over a class nor where it is alone in one.
    @Test func whatMovesIsNotInItsOwnWay() throws {
        var diary = try Diary { $0.seats = 3 }
        let start = try time(nine)
        let first = try diary.book.book(diary.request(start), diary.moment)
        var request = diary.request(start + .seconds(1800), whatsapp: "+5511900000002")
        request.force = "encaixe"
        let over = try diary.book.book(request, diary.moment)
        #expect(over.liesOver)
        var move = CalendarBook.Move()
        move.start = start
        let joined = try diary.book.reschedule(over.id, move, diary.moment)
        #expect(joined.place.session == first.place.session && !joined.liesOver)
        // Its own class, of which it is all there is, is no room that would be kept from the rules of now.
        let alone = try diary.book.book(diary.request(start + .seconds(3600), whatsapp: "+5511900000003"), diary.moment)
        diary.book.rules.bufferBeforeMinutes = 15
        move.start = alone.start
        move.force = "encaixe"
        #expect(try diary.book.reschedule(alone.id, move, diary.moment).liesOver)
    }

    @Test func whoeverAsksForAnybodyKeepsWhoTheyHave() throws {
        var diary = try Diary()
        let ana = diary.hire("Ana")
        let made = try diary.book.book(diary.request(try time(nine)), diary.moment)
        let bia = diary.hire("Bia")
        var move = CalendarBook.Move()
        (move.start, move.staff) = (made.start, .some(nil))
        let kept = try diary.book.reschedule(made.id, move, diary.moment)
        #expect(kept.staff == ana && kept.revision == made.revision)
        // Who no longer attends it is somebody else's to follow.
        diary.book.staff[0].isActive = false
        #expect(try diary.book.reschedule(made.id, move, diary.moment).staff == bia)
    }
}
