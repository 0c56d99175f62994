import Kernel
import Testing

@testable import Scheduling

@Suite struct CalendarBookTests {
    // 2026-03-02 is a Monday; São Paulo is three hours behind UTC.
    private let nine = "2026-03-02T12:00:00Z"

    @Test func aDayHasItsHoursWithoutBreaksAndOverridesReplaceIt() throws {
        var diary = try Diary()
        #expect(try diary.slots("2026-03-02T00:00:00Z", "2026-03-03T00:00:00Z").count == 9)
        #expect(try diary.slots("2026-03-01T03:00:00Z", "2026-03-02T03:00:00Z").isEmpty, "Sunday")
        diary.book.rules.breaks = WeeklyHours(Array(repeating: [Period(720, 750)], count: 7))
        let starts = try diary.slots("2026-03-02T00:00:00Z", "2026-03-03T00:00:00Z").map { diary.book.rules.zone.text($0).dropFirst(11).prefix(5) }
        #expect(starts == ["09:00", "10:00", "11:00", "12:30", "13:30", "14:30", "15:30", "16:30"], "after the break it begins anew")
        diary.book.rules.overrides[try #require(CivilDay("2026-03-02"))] = [Period(600, 720)]
        #expect(try diary.slots("2026-03-02T00:00:00Z", "2026-03-03T00:00:00Z").count == 2)
        diary.book.rules.overrides[try #require(CivilDay("2026-03-02"))] = []
        #expect(try diary.slots("2026-03-02T00:00:00Z", "2026-03-03T00:00:00Z").isEmpty)
    }

    @Test func noticeAdvanceIntervalAndTimeOff() throws {
        var diary = try Diary(now: "2026-03-02T14:10:00Z")
        #expect(try diary.slots("2026-03-02T00:00:00Z", "2026-03-03T00:00:00Z").first == time("2026-03-02T15:00:00Z"))
        diary.book.rules.minimumNoticeMinutes = 120
        #expect(try diary.slots("2026-03-02T00:00:00Z", "2026-03-03T00:00:00Z").first == time("2026-03-02T17:00:00Z"))
        diary.book.rules.startIntervalMinutes = 15
        #expect(try diary.slots("2026-03-02T00:00:00Z", "2026-03-03T00:00:00Z").first == time("2026-03-02T16:15:00Z"))
        diary.book.rules.maximumAdvanceDays = 1
        #expect(try diary.slots("2026-03-03T03:00:00Z", "2026-03-04T03:00:00Z").count == 33)
        #expect(try diary.slots("2026-03-04T03:00:00Z", "2026-03-05T03:00:00Z").isEmpty)
        let off = TimeOff(
            id: diary.moment.id(),
            staff: nil,
            start: try time("2026-03-03T12:00:00Z"),
            end: try time("2026-03-03T20:00:00Z"),
            reason: nil
        )
        diary.book.timeOff[off.id] = off
        #expect(try diary.slots("2026-03-03T03:00:00Z", "2026-03-04T03:00:00Z") == [time("2026-03-03T20:00:00Z")])
        let (early, far) = (try time("2026-03-02T15:15:00Z"), try time("2026-03-05T15:00:00Z"))
        #expect(refusal { try diary.book.book(diary.request(early), diary.moment) } == "too_soon")
        #expect(refusal { try diary.book.book(diary.request(far), diary.moment) } == "too_far")
    }

    @Test func hoursThatGoOnOverMidnightAreOnePeriod() throws {
        var diary = try Diary(durationMinutes: 120)
        diary.book.rules.weekly = WeeklyHours(Array(repeating: [Period(0, 120), Period(1320, 1440)], count: 7))
        let appointment = try diary.book.book(diary.request(try time("2026-03-04T01:00:00Z")), diary.moment)
        #expect(diary.book.rules.zone.text(appointment.start).hasPrefix("2026-03-03T22:00"))
        diary.book.rules.startIntervalMinutes = 60
        #expect(
            try diary.slots("2026-03-05T01:00:00Z", "2026-03-05T06:00:00Z").map { diary.book.rules.zone.text($0).dropFirst(11).prefix(5) } == [
                "22:00", "23:00", "00:00",
            ]
        )
    }

    @Test func buffersOfBothAddUp() throws {
        var diary = try Diary(durationMinutes: 30) { $0.startIntervalMinutes = 5 }
        diary.book.rules.bufferBeforeMinutes = 10
        diary.book.rules.bufferAfterMinutes = 15
        _ = try diary.book.book(diary.request(try time("2026-03-02T15:00:00Z")), diary.moment)
        let free = try diary.slots(nine, "2026-03-02T21:00:00Z")
        #expect(free.last { $0 < (try! time("2026-03-02T15:00:00Z")) } == (try time("2026-03-02T14:05:00Z")))
        #expect(free.first { $0 > (try! time("2026-03-02T15:00:00Z")) } == (try time("2026-03-02T15:55:00Z")))
    }

    @Test func oneTimeHasOneWinnerAndTheOthersAreShownWhereElse() throws {
        var diary = try Diary()
        let start = try time(nine)
        let appointment = try diary.book.book(diary.request(start), diary.moment)
        #expect(appointment.status == .pending && appointment.revision == 0)
        do {
            _ = try diary.book.book(diary.request(start, name: "Bia"), diary.moment)
            Issue.record("booked twice")
        } catch {
            #expect(error.code == "slot_taken")
            #expect(error.lists["alternatives"] == (1...5).map { (start + .seconds($0 * 3600)).description })
        }
        #expect(refusal { try diary.book.book(diary.request(start + .seconds(600)), diary.moment) } == "outside_hours")
        #expect(refusal { try diary.book.book(diary.request(start - .seconds(86_400)), diary.moment) } == "too_soon")
        #expect(diary.book.clients.count == 1)
    }

    @Test func aHoldExpiresExactlyAtItsDeadlineAndUntilThenItsHolderBooks() throws {
        var diary = try Diary()
        let start = try time(nine)
        let hold = try diary.book.hold(diary.cut, staff: nil, start: start, isPublic: true, diary.moment)
        #expect(refusal { try diary.book.hold(diary.cut, staff: nil, start: start, isPublic: true, diary.moment) } == "slot_taken")
        #expect(refusal { try diary.book.book(diary.request(start), diary.moment) } == "slot_taken", "also for whoever does not name it")
        diary.clock.advance(by: .milliseconds(299_999))
        var request = diary.request(start)
        request.hold = hold.id
        var other = diary
        let booked = try diary.book.book(request, diary.moment)
        #expect(booked.start == start && diary.book.holds.isEmpty)

        other.clock.advance(by: .milliseconds(1))
        #expect(refusal { try other.book.book(request, other.moment) } == "hold_expired")
        #expect(other.book.effects.holdsEnded.map(\.id) == [hold.id])
        #expect(try other.book.book(other.request(start), other.moment).start == start)
    }

    @Test func pendingOnesAreGivenUpInTheirTimeAndConfirmedOnesAreNot() throws {
        var diary = try Diary()
        diary.book.rules.pendingMinutes = 30
        let first = try diary.book.book(diary.request(try time(nine)), diary.moment)
        let second = try diary.book.book(diary.request(try time("2026-03-02T13:00:00Z")), diary.moment)
        #expect(try diary.book.confirm(second.id, diary.moment).revision == 1)
        #expect(diary.book.nextDue <= diary.clock.now + .seconds(1800))
        diary.clock.advance(by: .seconds(1800))
        diary.book.timePassed(diary.moment)
        #expect(diary.book.appointments[first.id]?.status == .cancelled && diary.book.appointments[first.id]?.cancelledBy == "system")
        #expect(diary.book.appointments[second.id]?.status == .confirmed)
        #expect(try diary.slots(nine, "2026-03-02T14:00:00Z") == [time(nine)])
    }

    @Test func nothingIsHeldOrBookedOfWhatHasBegun() throws {
        var diary = try Diary()
        diary.book.rules.holdSeconds = 3600
        let start = try time(nine)
        diary.clock.advance(by: start - diary.clock.now - .seconds(4))
        let hold = try diary.book.hold(diary.cut, staff: nil, start: start, isPublic: true, diary.moment)
        #expect(hold.expiresAt == start)
        diary.clock.advance(by: .seconds(4))
        var request = diary.request(start)
        request.hold = hold.id
        #expect(refusal { try diary.book.book(request, diary.moment) } == "hold_expired")
        request.hold = nil
        #expect(refusal { try diary.book.book(request, diary.moment) } == "too_soon")
        #expect(refusal { try diary.book.hold(diary.cut, staff: nil, start: start, isPublic: false, diary.moment) } == "too_soon")
        request.force = "encaixe"
        #expect(try diary.book.book(request, diary.moment).start == start)
    }

    @Test func whereTheClockIsPutBackBetweenTwoPeriodsEachStartIsThereOnceAndInOrder() throws {
        var diary = try Diary("America/New_York", now: "2027-11-01T12:00:00Z", durationMinutes: 30)
        diary.book.rules.weekly = WeeklyHours(Array(repeating: [Period(0, 90), Period(90, 240)], count: 7))
        // 01:30 comes twice, an hour apart.
        let first = try time("2027-11-07T04:00:00Z")
        let all = (0..<10).map { first + .seconds($0 * 1800) }
        #expect(try diary.slots("2027-11-07T04:00:00Z", "2027-11-08T05:00:00Z") == all)
        diary.book.services[diary.cut]?.durationMinutes = 120
        diary.book.services[diary.cut]?.startIntervalMinutes = 30
        #expect(try diary.slots("2027-11-07T04:00:00Z", "2027-11-08T05:00:00Z") == Array(all.prefix(7)), "nor is there a break")
        // A break that the repeated hour swallows.
        diary.book.services[diary.cut]?.durationMinutes = 30
        diary.book.rules.weekly = WeeklyHours(Array(repeating: [Period(0, 75), Period(105, 240)], count: 7))
        let found = try diary.slots("2027-11-07T04:00:00Z", "2027-11-08T05:00:00Z")
        #expect(found == found.sorted() && Set(found).count == found.count)
    }

    @Test func aMonthThatTurnsIsNotShownWhole() throws {
        var diary = try Diary()
        diary.book.rules.limits.perMonth = 2
        let start = try time(nine)
        _ = try diary.book.book(diary.request(start), diary.moment)
        diary.book.effects = .init()
        let hold = try diary.book.hold(diary.cut, staff: nil, start: start + .seconds(3600), isPublic: true, diary.moment)
        #expect(diary.book.effects.turned.count == 1 && diary.book.effects.touched == [hold.place.blocked])
        diary.book.effects = .init()
        var request = diary.request(hold.start)
        request.hold = hold.id
        let booked = try diary.book.book(request, diary.moment)
        #expect(diary.book.effects.turned.isEmpty, "as full as before")
        diary.book.effects = .init()
        _ = try diary.book.cancel(booked.id, by: "staff", reason: nil, diary.moment)
        #expect(diary.book.effects.turned.count == 1)
    }

    @Test func aSeriesKeepsItsWallClockTimeOverTheClocksChange() throws {
        var diary = try Diary("America/New_York", now: "2026-02-20T12:00:00Z")
        let start = try time("2026-03-02T15:00:00Z")
        let weekly = CalendarBook.Recurrence(frequency: .weekly, interval: 1, count: 3, skipsUnavailable: false)
        let (made, _) = try diary.book.book(diary.request(start), weekly, diary.moment)
        #expect(made.map { diary.book.rules.zone.text($0.start).prefix(16) } == ["2026-03-02T10:00", "2026-03-09T10:00", "2026-03-16T10:00"])
        #expect(made[1].start == start + .seconds(7 * 86_400 - 3600))
        #expect(Set(made.map(\.series)).count == 1)
        let before = diary.book.appointments.count
        #expect(refusal { try diary.book.book(diary.request(start + .seconds(-7 * 86_400)), weekly, diary.moment) } == "series_unavailable")
        #expect(diary.book.appointments.count == before, "all or none")
        let skipping = CalendarBook.Recurrence(frequency: .weekly, interval: 1, count: 4, skipsUnavailable: true)
        let second = try diary.book.book(diary.request(start + .seconds(7 * 86_400 - 3600)), skipping, diary.moment)
        #expect(second.made.count == 2 && second.unavailable.count == 2)
        #expect(diary.book.following(made[1].id) == [made[1].id, made[2].id])
    }

    @Test func whatBecomesFreeIsOfferedToWhoWaitsLongestAndThenToTheNext() throws {
        var diary = try Diary()
        diary.book.rules.overrides[try #require(CivilDay("2026-03-02"))] = [Period(540, 600)]
        let start = try time(nine)
        let booked = try diary.book.book(diary.request(start), diary.moment)
        let (bia, caio) = (try diary.wait("Bia", "+5511900000002"), try diary.wait("Caio", "+5511900000003"))
        #expect(try diary.book.join(bia, isPublic: true, diary.moment).status == .waiting)
        diary.clock.advance(by: .seconds(1))
        _ = try diary.book.join(caio, isPublic: true, diary.moment)
        _ = try diary.book.cancel(booked.id, by: "staff", reason: nil, diary.moment)
        #expect(diary.book.waitlist[bia.id]?.status == .offered && diary.book.waitlist[caio.id]?.status == .waiting)
        #expect(refusal { try diary.book.book(diary.request(start), diary.moment) } == "slot_taken", "the offer is a hold")
        diary.clock.advance(by: .seconds(15 * 60))
        diary.book.timePassed(diary.moment)
        #expect(diary.book.waitlist[bia.id]?.status == .lapsed && diary.book.waitlist[caio.id]?.status == .offered)
        #expect(refusal { try diary.book.accept(bia.id, diary.moment) } == "no_offer")
        #expect(try diary.book.accept(caio.id, diary.moment).start == start)
        #expect(diary.book.waitlist[caio.id]?.status == .booked && diary.book.holds.isEmpty)
    }

    @Test func nothingEndsBeforeItBegins() throws {
        var diary = try Diary()
        let booked = try diary.book.book(diary.request(try time(nine)), diary.moment)
        diary.clock.advance(by: .seconds(4 * 3600 - 1))
        #expect(refusal { try diary.book.ended(booked.id, as: .completed, diary.moment) } == "invalid_state")
        #expect(refusal { try diary.book.ended(booked.id, as: .noShow, diary.moment) } == "invalid_state")
        #expect(
            diary.book.appointments[booked.id]?.status == .pending && diary.book.clients.known.values.allSatisfy { $0.tally.count(.completed) == 0 }
        )
        diary.clock.advance(by: .seconds(1))
        #expect(try diary.book.ended(booked.id, as: .noShow, diary.moment).status == .noShow)
    }

    @Test func aHoldOfAnotherLengthIsNotBookedAsIfItWereOfThisOne() throws {
        var diary = try Diary()
        let start = try time("2026-03-02T12:00:00Z")
        var request = diary.request(start)
        request.hold = try diary.book.hold(diary.cut, staff: nil, start: start, durationMinutes: 90, isPublic: false, diary.moment).id
        request.durationMinutes = 30
        do {
            _ = try diary.book.book(request, diary.moment)
            Issue.record("it was booked")
        } catch let error as Refusal {
            #expect(error.code == "hold_mismatch" && error.numbers == ["duration_minutes": 90])
        }
        // Without a word of the length it is what was held.
        request.durationMinutes = nil
        #expect(try diary.book.book(request, diary.moment).durationMinutes == 90)
    }

    @Test func aHoldIsBookedWithWhomItIsOfAndOnce() throws {
        var diary = try Diary()
        let (ana, bia) = (diary.hire("Ana"), diary.hire("Bia"))
        let start = try time(nine)
        var request = diary.request(start)
        request.hold = try diary.book.hold(diary.cut, staff: ana, start: start, isPublic: false, diary.moment).id
        request.staff = bia
        #expect(refusal { try diary.book.book(request, diary.moment) } == "hold_mismatch")
        request.staff = ana
        let weekly = CalendarBook.Recurrence(frequency: .weekly, interval: 1, count: 3, skipsUnavailable: false)
        let (made, _) = try diary.book.book(request, weekly, diary.moment)
        #expect(made.count == 3 && made.allSatisfy { $0.staff == ana } && diary.book.holds.isEmpty)
    }

    @Test func anotherNumberIsWhoeverHasIt() throws {
        var diary = try Diary()
        let ana = try diary.book.book(diary.request(try time(nine)), diary.moment)
        let bia = try diary.book.book(diary.request(try time("2026-03-02T13:00:00Z"), name: "Bia", whatsapp: "+5511900000002"), diary.moment)
        var details = CalendarBook.Details()
        details.clientWhatsapp = "+55 11 90000-0002"
        #expect(try diary.book.update(ana.id, details, diary.moment).client == bia.client)
        #expect(diary.book.clients[bia.client]?.tally.total == 2 && diary.book.clients[ana.client]?.tally.total == 0)
        details.clientWhatsapp = "+5511900000009"
        #expect(try diary.book.update(ana.id, details, diary.moment).client == bia.client, "nobody's: the client keeps theirs")
    }

    @Test func thePublicWritesNothingIntoAClientsRecord() throws {
        var diary = try Diary()
        let first = try diary.book.book(diary.request(try time(nine)), diary.moment)
        var request = diary.request(try time("2026-03-02T13:00:00Z"), name: "Outra Pessoa")
        (request.isPublic, request.clientEmail) = (true, "outra@example.com")
        let second = try diary.book.book(request, diary.moment)
        #expect(second.client == first.client && second.clientEmail == "outra@example.com" && second.clientName == "Outra Pessoa")
        #expect(diary.book.clients[first.client]?.profile.email == nil && diary.book.clients[first.client]?.profile.name == "Ana")
        try diary.book.removeClient(first.client, force: true, erases: false, by: .system, diary.moment)
        request.start = try time("2026-03-02T15:00:00Z")
        _ = try diary.book.book(request, diary.moment)
        let back = try #require(diary.book.clients[first.client])
        #expect(back.isListed && back.profile.name == "Ana" && back.profile.email == nil)
        // The staff knows whom it writes down.
        request.isPublic = false
        request.start = try time("2026-03-02T16:00:00Z")
        _ = try diary.book.book(request, diary.moment)
        #expect(diary.book.clients[first.client]?.profile.email == "outra@example.com")
        // Nor does who waits.
        var waiting = try diary.wait("Zé", "+5511900000001")
        diary.book.rules.overrides[try #require(CivilDay("2026-03-02"))] = [Period(1020, 1080)]
        diary.book.clients.put(
            {
                var client = back; client.profile.email = nil; return client
            }(),
            at: diary.clock.now
        )
        waiting.clientEmail = "ze@example.com"
        _ = try diary.book.join(waiting, isPublic: false, diary.moment)
        _ = try diary.book.accept(waiting.id, diary.moment)
        #expect(diary.book.clients[first.client]?.profile.email == nil)
    }

    @Test func whatIsForgottenLeavesNoReasonEither() throws {
        var diary = try Diary()
        var request = diary.request(try time(nine))
        request.force = "filha da Ana"
        let booked = try diary.book.book(request, diary.moment)
        _ = try diary.book.cancel(booked.id, by: "client", reason: "Ana está doente", diary.moment)
        diary.book.blank([], of: booked.client, diary.moment)
        let blank = try #require(diary.book.appointments[booked.id])
        #expect(blank.cancelReason == nil && blank.isForced && blank.forcedReason == "Encaixe" && blank.isBlank)
        diary.book.blank([], of: booked.client, diary.moment)
        #expect(diary.book.appointments[booked.id]?.revision == blank.revision, "once")
        var details = CalendarBook.Details()
        details.internalNotes = .some("a Ana")
        #expect(try !diary.book.update(booked.id, details, diary.moment).isBlank)
    }

    @Test func whatIsPutBackAsItWasReadChangesNothing() throws {
        var diary = try Diary()
        let made = try diary.book.book(diary.request(try time("2026-03-03T17:00:00Z")), diary.moment)
        // The number is somebody else's by now.
        let author = Author.user(UserID(UniqueID(high: 1, low: 1)), name: "Ana")
        diary.book.appointments[made.id]?.status = .completed
        _ = try diary.book.changeClient(made.client, by: author, diary.moment) { profile, _ throws(Refusal) in profile.whatsapp = "+5511900000009" }
        _ = try diary.book.makeClient(ClientProfile(name: "Bia", whatsapp: "+5511900000001"), by: author, diary.moment)
        var details = CalendarBook.Details()
        (details.clientName, details.clientWhatsapp, details.notes) = (made.clientName, "5511900000001", .some(nil))
        let same = try diary.book.update(made.id, details, diary.moment)
        #expect(same.client == made.client)
        details.clientWhatsapp = made.clientWhatsapp
        let before = try diary.book.update(made.id, details, diary.moment)
        #expect(try diary.book.update(made.id, details, diary.moment).revision == before.revision)
        details.notes = .some("n")
        #expect(try diary.book.update(made.id, details, diary.moment).revision == before.revision + 1)
    }
}
