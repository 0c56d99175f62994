import Jobs
import Kernel
import Notifications
import Scheduling
import Testing

@Suite struct NoticeBookTests {
    @Test func aBookingIsConfirmedAtOnceAndRemindedOf() throws {
        var office = try Office()
        let made = try office.book(try time("2026-03-04T18:00:00Z"))
        #expect(
            office.planned == [
                "confirmed email 2026-03-02T12:00", "confirmed whatsapp 2026-03-02T12:00", "reminder-1440m email 2026-03-03T18:00",
                "reminder-1440m whatsapp 2026-03-03T18:00", "reminder-60m whatsapp 2026-03-04T17:00",
            ]
        )
        #expect(office.queue.waiting.allSatisfy { $0.expiresAt == made.start && $0.subject == "appointment:\(made.id)" })
        #expect(Set(office.queue.waiting.compactMap(\.key)).contains("\(made.id):0:reminder-60m:whatsapp"))
        #expect(Set(office.queue.waiting.map(\.recipient)) == ["5511987654321", "ana@example.com"])
        #expect(office.queue.waiting.first { $0.runAt == office.now }?.queue == .confirmations)
    }

    @Test func whatIsPendingWaitsAndIsThenConfirmedOrDeclined() throws {
        var office = try Office(confirmsAtOnce: false)
        let one = try office.book(try time("2026-03-04T18:00:00Z"))
        #expect(office.planned.first == "awaiting_approval email 2026-03-02T12:00")
        let waiting = office.queue.waiting
        _ = try office.turn { try $0.confirm(one.id, $1) }
        // Its reminders stay as they were; that it waits is not told any more.
        #expect(office.planned.contains("confirmed whatsapp 2026-03-02T12:00"))
        #expect(office.queue.waiting.count { $0.key?.contains("reminder") ?? false } == 3)
        #expect(waiting.filter { $0.key?.contains("awaiting") ?? false }.allSatisfy { office.verdict($0) != .tell })

        let other = try office.book(try time("2026-03-05T18:00:00Z"))
        _ = try office.turn { try $0.cancel(other.id, by: "staff", reason: "férias", $1) }
        #expect(office.queue.waiting.filter { $0.subject == "appointment:\(other.id)" }.map(\.queue) == [.cancellations, .cancellations])
        #expect(office.planned.contains("declined email 2026-03-02T12:00"))
    }

    @Test func whatIsMovedIsPlannedAnewAndNothingOfBeforeIsTold() throws {
        var office = try Office()
        let made = try office.book(try time("2026-03-04T18:00:00Z"))
        let before = office.queue.waiting
        var move = CalendarBook.Move()
        move.start = try time("2026-03-06T18:00:00Z")
        let wanted = move
        let moved = try office.turn { try $0.reschedule(made.id, wanted, $1) }
        #expect(
            office.planned == [
                "rescheduled email 2026-03-02T12:00", "rescheduled whatsapp 2026-03-02T12:00", "reminder-1440m email 2026-03-05T18:00",
                "reminder-1440m whatsapp 2026-03-05T18:00", "reminder-60m whatsapp 2026-03-06T17:00",
            ]
        )
        #expect(office.queue.waiting.allSatisfy { $0.key?.contains(":\(moved.revision):") ?? false })
        // Even where a worker has them in its hands.
        #expect(before.allSatisfy { office.verdict($0) == .drop("o agendamento mudou depois") })
        let rescheduled = try #require(office.queue.waiting.first { $0.key?.contains("rescheduled") ?? false })
        let notice = try #require(ClientNotice(payload: rescheduled.payload))
        #expect(notice.subject == .appointment(made.id, revision: moved.revision, former: made.start))
    }

    /// Nobody's telephone is to ring for each time that somebody moves an appointment to and fro.
    @Test func ofWhatAClientMovesToAndFroTheLastIsTold() throws {
        var office = try Office()
        let made = try office.book(try time("2026-03-04T18:00:00Z"))
        var move = CalendarBook.Move()
        move.isByClient = true
        for day in 5...8 {
            move.start = try time("2026-03-0\(day)T18:00:00Z")
            let wanted = move
            _ = try office.turn { try $0.reschedule(made.id, wanted, $1) }
            office.clock.advance(by: .seconds(5))
        }
        let told = office.queue.waiting.filter { $0.key?.contains("rescheduled") ?? false }
        #expect(
            told.map { ClientNotice(payload: $0.payload)?.subject }.allSatisfy {
                $0 == .appointment(made.id, revision: 4, former: move.start! - .seconds(86_400))
            }
        )
        #expect(told.count == 2 && told.allSatisfy { $0.runAt == office.now + .seconds(55) && office.verdict($0) == .tell })
    }

    @Test func aNoteChangesNothingOfWhatIsPlanned() throws {
        var office = try Office()
        let made = try office.book(try time("2026-03-04T18:00:00Z"))
        let before = office.queue.waiting
        var details = CalendarBook.Details()
        details.notes = .some("janela")
        let wanted = details
        let changed = try office.turn { try $0.update(made.id, wanted, $1) }
        #expect(changed.revision == made.revision + 1 && office.queue.waiting == before)
        #expect(before.filter { $0.runAt == office.now }.allSatisfy { office.verdict($0) == .tell })
    }

    @Test func whoeverIsReachedByAnotherNumberLearnsHowThingsStand() throws {
        var office = try Office()
        let made = try office.book(try time("2026-03-04T18:00:00Z"))
        let before = office.queue.waiting
        try office.pass(to: "2026-03-02T13:00:00Z")
        var details = CalendarBook.Details()
        details.clientWhatsapp = "11 91234-5678"
        let wanted = details
        _ = try office.turn { try $0.update(made.id, wanted, $1) }
        let added = office.queue.waiting.filter { !before.contains($0) }
        #expect(added.allSatisfy { $0.recipient == "5511912345678" && $0.channel == .whatsapp } && added.count == 3)
        // The former number is told nothing more; the e-mail goes on as it was.
        #expect(before.filter { $0.channel == .whatsapp }.allSatisfy { office.verdict($0) != .tell })
        #expect(before.filter { $0.key?.contains("confirmed:email") ?? false }.allSatisfy { office.verdict($0) == .tell })
    }

    @Test func nothingIsToldAfterTheStartOrToWhomItIsNotFor() throws {
        var office = try Office()
        let made = try office.book(try time("2026-03-04T18:00:00Z"))
        let messages = office.queue.waiting
        try office.pass(to: "2026-03-04T18:00:00Z")
        #expect(messages.allSatisfy { office.verdict($0) == .drop("o agendamento já começou") })
        _ = try office.turn { try $0.ended(made.id, as: .completed, $1) }
        #expect(messages.allSatisfy { office.verdict($0) != .tell })
    }

    @Test func lateRemindersAreSentOrSkippedByTheirRule() throws {
        var office = try Office()
        var rule = NotificationSettings.Reminder(.minutesBefore(120), [.email])
        rule.late = .skip
        rule.graceMinutes = 30
        office.notices.settings.reminders = [rule]
        _ = try office.book(try time("2026-03-04T18:00:00Z"))
        let reminder = try #require(office.queue.waiting.last)
        try office.pass(to: "2026-03-04T15:59:00Z")
        #expect(office.verdict(reminder) == .putOff(until: try time("2026-03-04T16:00:00Z"), "ainda não é hora"))
        try office.pass(to: "2026-03-04T16:30:00Z")
        #expect(office.verdict(reminder) == .tell)
        try office.pass(to: "2026-03-04T16:30:16Z")
        #expect(office.verdict(reminder) == .drop("atrasado"))
        office.notices.settings.reminders[0].late = .send
        #expect(office.verdict(reminder) == .tell)
        office.notices.settings.reminders = []
        #expect(office.verdict(reminder) == .drop("a regra não existe mais"))
    }

    @Test func whatIsBookedInsideARemindersTimeIsSkippedOrSentNow() throws {
        var office = try Office()
        office.notices.settings.reminders = [.init(.minutesBefore(1440), [.email])]
        _ = try office.book(try time("2026-03-02T18:00:00Z"))
        #expect(office.planned == ["confirmed email 2026-03-02T12:00", "confirmed whatsapp 2026-03-02T12:00"])
        office.notices.settings.reminders[0].insideLead = .sendNow
        _ = try office.book(try time("2026-03-02T19:00:00Z"))
        #expect(office.planned.count { $0 == "reminder-1440m email 2026-03-02T12:00" } == 1)
    }

    @Test func quietHoursMoveRemindersToTheirEndOrBeforeTheyBegin() throws {
        var office = try Office()
        office.notices.settings.quiet = QuietHours(begins: 22 * 60, ends: 7 * 60)
        office.notices.settings.reminders = [.init(.minutesBefore(120), [.email])]
        office.notices.settings.events = [:]
        // 08:30 in São Paulo: two hours before is 06:30, which becomes 07:00.
        _ = try office.book(try time("2026-03-04T11:30:00Z"))
        #expect(office.planned == ["reminder-120m email 2026-03-04T10:00"])
        // 06:30: the quiet hours end after it, so that it is told at 21:45 of the day before.
        office.queue.waiting = []
        _ = try office.book(try time("2026-03-05T09:30:00Z"))
        #expect(office.planned == ["reminder-120m email 2026-03-05T00:45"])
        // 00:30: 22:30 is quiet as well.
        office.queue.waiting = []
        _ = try office.book(try time("2026-03-06T03:30:00Z"))
        #expect(office.planned == ["reminder-120m email 2026-03-06T00:45"])
        // What an outage has made late waits for the end of the quiet hours, if that is before the start.
        let reminder = try #require(office.queue.waiting.first)
        try office.pass(to: "2026-03-06T00:59:00Z")
        #expect(office.verdict(reminder) == .tell)
        try office.pass(to: "2026-03-06T01:30:00Z")
        #expect(office.verdict(reminder) == .drop("horário de silêncio até o início"))
    }

    @Test func quietHoursThatWereSetLaterCountForWhatIsOnTime() throws {
        var office = try Office()
        office.notices.settings.followUps = [.init(minutesAfter: 60, [.email])]
        let made = try office.book(try time("2026-03-02T13:00:00Z"))
        try office.pass(to: "2026-03-02T14:00:00Z")
        _ = try office.turn { try $0.ended(made.id, as: .completed, $1) }
        let followUp = try #require(office.queue.waiting.first { ClientNotice(payload: $0.payload)?.event == .followUp })
        try office.pass(to: followUp.runAt.description)
        #expect(office.verdict(followUp) == .tell)
        // 11:00 to 13:00, and it is 12:00.
        office.notices.settings.quiet = QuietHours(begins: 11 * 60, ends: 13 * 60)
        #expect(office.verdict(followUp) == .putOff(until: try time("2026-03-02T16:00:00Z"), "horário de silêncio"))
        try office.pass(to: "2026-03-02T16:00:00Z")
        #expect(office.verdict(followUp) == .tell)
    }

    @Test func theDayBeforeIsByTheClockAlsoWhereTheClockIsPutForwardOrBack() throws {
        var office = try Office("America/New_York", now: "2026-03-02T12:00:00Z")
        office.notices.settings.events = [:]
        // 02:30 of 8 March does not exist: the first instant after it is 03:00 EDT, 07:00 UTC.
        office.notices.settings.reminders = [.init(.daysBefore(1, at: 150), [.email])]
        _ = try office.book(try time("2026-03-09T16:00:00Z"))
        #expect(office.planned == ["reminder-1d-150 email 2026-03-08T07:00"])
        // 01:30 of 1 November exists twice: once it is told, at the first, 05:30 UTC.
        office.queue.waiting = []
        office.notices.settings.reminders = [.init(.daysBefore(1, at: 90), [.email])]
        _ = try office.book(try time("2026-11-02T16:00:00Z"))
        #expect(office.planned == ["reminder-1d-90 email 2026-11-01T05:30"])
        // Hours before are hours, whatever the clock shows: 24 h before 09:00 EDT on the 8th is 08:00 EST on the 7th.
        office.queue.waiting = []
        office.notices.settings.reminders = [.init(.minutesBefore(1440), [.email])]
        _ = try office.book(try time("2026-03-08T13:00:00Z"))
        #expect(office.planned == ["reminder-1440m email 2026-03-07T13:00"])
    }

    @Test func quietHoursEndWhereTheClockIsPutForwardOverTheirEnd() throws {
        let zone = try #require(Zone.named("America/New_York"))
        let quiet = try #require(QuietHours(begins: 23 * 60, ends: 150))
        let range = try #require(quiet.around(try time("2026-03-08T06:30:00Z"), zone))
        #expect(range == (try time("2026-03-08T04:00:00Z"))..<(try time("2026-03-08T07:00:00Z")))
        #expect(quiet.around(try time("2026-03-08T07:00:00Z"), zone) == nil)
        // 01:30 comes twice on 1 November; the quiet hours end with the second.
        let autumn = try #require(QuietHours(begins: 23 * 60, ends: 90))
        let long = try #require(autumn.around(try time("2026-11-01T05:45:00Z"), zone))
        #expect(long.upperBound == (try time("2026-11-01T06:30:00Z")))
    }

    @Test func followUpsComeAfterCompletionAndNotWhereNobodyCame() throws {
        var office = try Office()
        office.notices.settings.followUps = [.init(minutesAfter: 120, [.whatsapp])]
        office.notices.settings.events[.noShow] = [.email]
        let made = try office.book(try time("2026-03-02T13:00:00Z"))
        try office.pass(to: "2026-03-02T13:30:00Z")
        _ = try office.turn { try $0.ended(made.id, as: .completed, $1) }
        #expect(office.planned == ["follow_up-120m whatsapp 2026-03-02T15:30"])
        let followUp = try #require(office.queue.waiting.first)
        _ = try office.turn { try $0.ended(made.id, as: .noShow, $1) }
        #expect(office.planned == ["no_show email 2026-03-02T13:30"])
        #expect(office.verdict(followUp) != .tell)
    }

    @Test func whoWantsNoRemindersIsStillToldOfWhatTheyBooked() throws {
        var office = try Office()
        #expect(office.notices.optOuts.put(.whatsapp, "+55 11 98765-4321", isOut: true, .whatsapp, at: office.now) != nil)
        // WhatsApp may write the same number without its ninth digit.
        #expect(office.notices.optOuts.isOut(.whatsapp, "551187654321") && office.notices.optOuts.isOut(.whatsapp, "11987654321"))
        let made = try office.book(try time("2026-03-04T18:00:00Z"))
        #expect(office.planned.filter { $0.contains("whatsapp") } == ["confirmed whatsapp 2026-03-02T12:00"])
        // And what was planned before they said so is not told.
        let email = try #require(office.queue.waiting.first { $0.key?.hasSuffix("reminder-1440m:email") ?? false })
        #expect(office.notices.optOuts.put(.email, "ANA@example.com", isOut: true, .link, at: office.now) != nil)
        try office.pass(to: "2026-03-03T18:00:00Z")
        #expect(office.verdict(email) == .drop("o cliente não quer receber"))
        // Back again: what is still to come is planned.
        #expect(office.notices.optOuts.put(.whatsapp, "5511987654321", isOut: false, .whatsapp, at: office.now) != nil)
        #expect(office.book.appointments[made.id] != nil)
        office.planAgain()
        #expect(office.planned.contains("reminder-60m whatsapp 2026-03-04T17:00"))
    }

    @Test func newRulesCountForWhatIsBookedAndNothingIsToldTwice() throws {
        var office = try Office()
        _ = try office.book(try time("2026-03-04T18:00:00Z"))
        let before = office.queue.waiting
        office.notices.settings.reminders.append(.init(.minutesBefore(300), [.email]))
        for _ in 0..<3 { office.planAgain() }
        #expect(office.queue.waiting.count == before.count + 1)
        #expect(office.planned.contains("reminder-300m email 2026-03-04T13:00"))
    }

    @Test func whatIsPlannedFollowsTheRulesTheQuietHoursAndTheZone() throws {
        var office = try Office()
        var before = NotificationSettings.Reminder(.daysBefore(1, at: 18 * 60), [.email])
        office.notices.settings.reminders = [before, .init(.minutesBefore(60), [.email])]
        _ = try office.book(try time("2026-03-06T11:30:00Z"))
        func reminders() -> [String] { office.planned.filter { $0.hasPrefix("reminder") } }
        #expect(reminders() == ["reminder-1d-1080 email 2026-03-05T21:00", "reminder-60m email 2026-03-06T10:30"])
        // Another zone: the same time of the day before is another instant.
        office.book.rules.zone = try #require(Zone.named("America/Manaus"))
        office.planAgain()
        #expect(reminders() == ["reminder-1d-1080 email 2026-03-05T22:00", "reminder-60m email 2026-03-06T10:30"])
        // Quiet hours that reach into it, and are over again.
        office.notices.settings.quiet = QuietHours(begins: 17 * 60, ends: 6 * 60 + 45)
        office.planAgain()
        #expect(
            reminders() == ["reminder-60m email 2026-03-06T10:45", "reminder-1d-1080 email 2026-03-06T10:45"].sorted { $0 > $1 }
                || reminders().allSatisfy { $0.hasSuffix("10:45") }
        )
        office.notices.settings.quiet = nil
        office.planAgain()
        #expect(reminders() == ["reminder-1d-1080 email 2026-03-05T22:00", "reminder-60m email 2026-03-06T10:30"])
        // A rule that is gone, and one that is there again.
        office.notices.settings.reminders = []
        office.planAgain()
        #expect(reminders().isEmpty)
        before.graceMinutes = 5
        office.notices.settings.reminders = [before]
        office.planAgain()
        #expect(reminders() == ["reminder-1d-1080 email 2026-03-05T22:00"])
        office.planAgain()
        #expect(reminders().count == 1)
    }

    @Test func whatShouldHaveComeByTheNewRulesComesNowAndWhatNobodyAskedForThenDoesNot() throws {
        var office = try Office("America/Manaus")
        var rule = NotificationSettings.Reminder(.daysBefore(0, at: 9 * 60), [.email])
        rule.late = .skip
        rule.graceMinutes = 5
        office.notices.settings.reminders = [rule, .init(.minutesBefore(60), [.email])]
        _ = try office.book(try time("2026-03-04T18:00:00Z"))
        try office.pass(to: "2026-03-04T12:30:00Z")
        // In São Paulo it is half past nine already: they are reminded now, and not as somebody who is late.
        office.book.rules.zone = try #require(Zone.named("America/Sao_Paulo"))
        office.planAgain()
        let moved = try #require(office.queue.waiting.first { $0.key?.contains("reminder-0d-540") ?? false })
        #expect(moved.runAt == office.now && office.verdict(moved) == .tell)
        // Another rule whose time is over is not made up for.
        office.notices.settings.reminders = [.init(.minutesBefore(600), [.email])]
        office.planAgain()
        #expect(office.planned.filter { $0.hasPrefix("reminder") }.isEmpty)
        try office.pass(to: "2026-03-04T17:30:00Z")
        office.notices.settings.reminders = [.init(.minutesBefore(60), [.email])]
        office.planAgain()
        #expect(office.planned.filter { $0.hasPrefix("reminder") }.isEmpty, "its time came while no rule asked for it")
    }

    @Test func aSeriesIsConfirmedOnceAndRemindedOfEachTime() throws {
        var office = try Office()
        let request = BookingRequest(
            service: office.cut,
            start: try time("2026-03-04T18:00:00Z"),
            clientName: "Ana",
            clientWhatsapp: "+5511987654321"
        )
        _ = try office.turn {
            try $0.book(request, .init(frequency: .weekly, interval: 1, count: 4, skipsUnavailable: false), $1)
        }
        #expect(office.planned.count { $0.hasPrefix("confirmed") } == 1)
        #expect(office.planned.count { $0.hasPrefix("reminder-60m") } == 4)
    }

    @Test func anOfferIsToldWhileItStands() throws {
        var office = try Office()
        office.book.rules.weekly = WeeklyHours([[]] + Array(repeating: [Period(900, 930)], count: 6))
        let start = try time("2026-03-04T18:00:00Z")
        let made = try office.book(start)
        let entry = WaitlistEntry(
            id: office.moment.id(),
            service: office.cut,
            staff: nil,
            from: start,
            until: start + .seconds(1800),
            clientName: "Bia",
            clientWhatsapp: "+5511900000002",
            clientEmail: nil,
            office.moment
        )
        _ = try office.turn { try $0.join(entry, isPublic: false, $1) }
        #expect(!office.planned.contains { $0.hasPrefix("waitlist") })
        _ = try office.turn { try $0.cancel(made.id, by: "client", reason: nil, $1) }
        let offer = try #require(office.queue.waiting.first { $0.subject == "waitlist:\(entry.id)" })
        #expect(office.verdict(offer) == .tell && offer.recipient == "5511900000002" && offer.expiresAt == office.now + .seconds(900))
        _ = try office.turn { try $0.leave(entry.id, $1) }
        #expect(office.verdict(offer) == .drop("a oferta não vale mais") && !office.queue.waiting.contains(offer))
    }

    @Test func aRuleOfItsOwnForEachChannelIsWrittenByItsOwnTemplate() throws {
        var office = try Office()
        var (short, long) = (
            NotificationSettings.Reminder(.minutesBefore(1440), [.whatsapp]), NotificationSettings.Reminder(.minutesBefore(1440), [.email])
        )
        (short.template, long.template) = (try #require(TemplateName("reminder_curto")), try #require(TemplateName("reminder_longo")))
        office.notices.settings.reminders = [short, long]
        _ = try office.book(try time("2026-03-04T18:00:00Z"))
        let reminders = office.queue.waiting.filter { $0.queue == .reminders }
        #expect(reminders.count == 2)
        for message in reminders {
            let notice = try #require(ClientNotice(payload: message.payload))
            let name = office.notices.templateName(notice, message.channel)
            #expect(name == (message.channel == .email ? long.template : short.template))
            #expect(
                office.notices.isTold(notice, by: .email, to: "ana@example.com") && office.notices.isTold(notice, by: .whatsapp, to: "5511987654321")
            )
        }
    }
}
