import Jobs
import Kernel
import Notifications
import Scheduling
import TestSupport
import Testing

/// Generated histories against a naive record of what was told: bookings, moves, cancellations, other rules and contacts, workers that crash before and after
/// they have sent, outages, deliveries that come twice.
@Suite struct NoticeHistoryTests {
    private struct Told: Hashable {
        let appointment: AppointmentID
        let revision: String
        let rule: String
        let channel: String
    }

    private struct Told2: Hashable {
        let appointment: AppointmentID
        let start: Timestamp
        let rule: String
        let channel: OutgoingMessage.Channel
    }

    @Test(arguments: 0..<8) func whateverHappensNothingIsToldTwiceOrTooLate(_ round: Int) throws {
        var random = SeededGenerator.fresh("whateverHappensNothingIsToldTwiceOrTooLate(\(round))")
        let zones = ["America/Sao_Paulo", "America/New_York", "Asia/Kolkata", "Australia/Lord_Howe"]
        var office = try Office(zones[round % zones.count], now: "2026-03-06T12:00:00Z", confirmsAtOnce: round.isMultiple(of: 2))
        office.notices.settings.events[.noShow] = [.whatsapp, .email]
        office.notices.settings.quiet = QuietHours(begins: 22 * 60, ends: 7 * 60)
        var record: Set<Told> = []
        var handedOver: Set<String> = []
        /// Taken up by a worker some time: what becomes of these is not the plan's any more.
        var over: Set<String> = []
        var sent = 0
        var isDown = false
        var inHand: [OutgoingMessage] = []
        /// When the appointment was to be for which each message was planned.
        var plannedFor: [String: Timestamp] = [:]
        let numbers = ["+5511987654321", "+5511900000001", "11 97777-6666"]

        for _ in 0..<1000 {
            let all = office.book.appointments.keys.sorted()
            let some = all.randomElement(using: &random)
            switch Int.random(in: 0..<20, using: &random) {
            case 0...2:
                let start = office.now.milliseconds / 900_000 * 900_000 + Int64.random(in: 1...200, using: &random) * 900_000
                _ = try? office.book(Timestamp(milliseconds: start), whatsapp: numbers.randomElement(using: &random)!)
            case 3:
                var move = CalendarBook.Move()
                move.start = Timestamp(milliseconds: (office.now.milliseconds / 900_000 + Int64.random(in: 1...200, using: &random)) * 900_000)
                let wanted = move
                if let some { _ = try? office.turn { try $0.reschedule(some, wanted, $1) } }
            case 4:
                if let some { _ = try? office.turn { try $0.cancel(some, by: ["client", "staff"].randomElement(using: &random)!, reason: nil, $1) } }
            case 5:
                let status: Appointment.Status = Bool.random(using: &random) ? .completed : .noShow
                if let some { _ = try? office.turn { try $0.ended(some, as: status, $1) } }
            case 6: if let some { _ = try? office.turn { try $0.confirm(some, $1) } }
            case 7:
                var details = CalendarBook.Details()
                if Bool.random(using: &random) {
                    details.notes = .some("nota")
                } else {
                    details.clientWhatsapp = numbers.randomElement(using: &random)!
                }
                let wanted = details
                if let some { _ = try? office.turn { try $0.update(some, wanted, $1) } }
            case 8:
                // Other rules, and everything planned again, as far as it is new.
                let minutes = [15, 60, 120, 600, 1440].shuffled(using: &random).prefix(Int.random(in: 0...3, using: &random))
                office.notices.settings.reminders = minutes.map { minutes in
                    var rule = NotificationSettings.Reminder(.minutesBefore(minutes), Bool.random(using: &random) ? [.whatsapp, .email] : [.email])
                    rule.late = Bool.random(using: &random) ? .send : .skip
                    rule.graceMinutes = Int.random(in: 0...120, using: &random)
                    rule.insideLead = Bool.random(using: &random) ? .skip : .sendNow
                    return rule
                }
                office.notices.settings.followUps = Bool.random(using: &random) ? [.init(minutesAfter: 30, [.whatsapp, .email])] : []
                office.notices.settings.quiet =
                    Bool.random(using: &random) ? QuietHours(begins: Int.random(in: 0..<1440, using: &random), ends: 420) : nil
                office.planAgain()
                checkPlans(office, over)
            case 9:
                let isOut = Bool.random(using: &random)
                _ = office.notices.optOuts.put(.whatsapp, numbers.randomElement(using: &random)!, isOut: isOut, .staff, at: office.now)
                if !isOut {
                    office.planAgain()
                    checkPlans(office, over)
                }
            case 10 where Bool.random(using: &random):
                office.book.rules.zone = try #require(Zone.named(zones.randomElement(using: &random)!))
                office.planAgain()
                checkPlans(office, over)
            case 10: isDown = Int.random(in: 0..<4, using: &random) == 0
            case 11...14:
                office.clock.advance(by: .seconds(Int64.random(in: 1...14_400, using: &random)))
                _ = try? office.turn { $0.timePassed($1) }
            default:
                if isDown { break }
                // Workers take what is due, and keep it in their hands while everything else goes on: whatever is called off meanwhile is there still.
                let due = office.queue.waiting.filter { $0.runAt <= office.now }.shuffled(using: &random).prefix(
                    Int.random(in: 1...10, using: &random)
                )
                office.queue.waiting.removeAll { due.contains($0) }
                inHand += due
                over.formUnion(due.compactMap(\.key))
                for message in inHand.shuffled(using: &random).prefix(Int.random(in: 0...8, using: &random)) {
                    guard let key = message.key, let place = inHand.firstIndex(of: message) else { continue }
                    inHand.remove(at: place)
                    // A worker that was given it twice finds that it was handed over.
                    guard !handedOver.contains(key) else { continue }
                    if Int.random(in: 0..<8, using: &random) == 0 { inHand.append(message) }
                    // A crash before the hand-over gives it back.
                    if Int.random(in: 0..<10, using: &random) == 0 {
                        office.queue.waiting.append(message)
                        continue
                    }
                    if message.expiresAt.map({ $0 <= office.now }) ?? false { continue }
                    switch office.verdict(message) {
                    case .drop: break
                    case .putOff(let until, _):
                        #expect(until > office.now)
                        var later = message
                        later.runAt = until
                        office.queue.waiting.append(later)
                    case .tell:
                        handedOver.insert(key)
                        sent += 1
                        try check(message, office, &record, plannedFor: plannedFor[key])
                    }
                }
            }
            for message in office.queue.waiting {
                guard let key = message.key, plannedFor[key] == nil, let notice = ClientNotice(payload: message.payload),
                    case .appointment(let id, _, _) = notice.subject
                else { continue }
                plannedFor[key] = office.book.appointments[id]?.start
            }
        }
        #expect(sent > 20)
        #expect(office.queue.faults.isEmpty)
        // What is told is told of the same appointment, revision, rule and channel once.
        #expect(record.count == sent)
    }

    /// After planning again exactly those reminders wait that the rules ask for, each at its time.
    private func checkPlans(_ office: Office, _ over: Set<String>) {
        var wanted: [String: Timestamp] = [:]
        for appointment in office.book.appointments.values where appointment.status.isBlocking && office.now < appointment.start {
            for rule in office.notices.settings.reminders {
                let due = office.notices.settings.due(rule, before: appointment.start, office.zone)
                for channel in rule.channels where due > office.now {
                    guard let to = NoticeBook.recipient(appointment, channel), !office.notices.optOuts.isOut(channel, to) else { continue }
                    wanted["\(appointment.id) \(rule.key) \(channel.rawValue)"] = due
                }
            }
        }
        func name(_ key: String?) -> String {
            let parts = (key ?? "").split(separator: ":")
            return "\(parts[0]) \(parts[2]) \(parts[3])"
        }
        let others = Set(over.map(name))
        let coming = Set(
            office.book.appointments.values.filter { $0.status.isBlocking && office.now < $0.start }.map { ClientNotice.subject(of: $0.id) }
        )
        let waiting = office.queue.waiting.filter { $0.queue == .reminders && coming.contains($0.subject ?? "") && !over.contains($0.key ?? "") }
        let planned = Dictionary(waiting.map { (name($0.key), $0) }) { first, _ in first }
        #expect(planned.count == waiting.count, "two of one rule wait")
        for (name, due) in wanted where !others.contains(name) { #expect(planned[name]?.runAt == due, "\(name)") }
        let rules = Set(office.notices.settings.reminders.map(\.key))
        for message in waiting {
            #expect(rules.contains(ClientNotice(payload: message.payload)?.rule ?? ""), "\(message.key ?? "") waits, and no rule asks for it")
        }
    }

    private func check(_ message: OutgoingMessage, _ office: Office, _ record: inout Set<Told>, plannedFor: Timestamp?) throws {
        let notice = try #require(ClientNotice(payload: message.payload))
        guard case .appointment(let id, _, _) = notice.subject else { return }
        let parts = try #require(message.key).split(separator: ":").map(String.init)
        #expect(parts.count == 4)
        let isFirst = record.insert(Told(appointment: id, revision: parts[1], rule: parts[2], channel: parts[3])).inserted
        #expect(isFirst, "\(message.key ?? "") twice")
        let appointment = try #require(office.book.appointments[id])
        // As anybody would say it who looks at the calendar.
        switch notice.event {
        case .reminder, .confirmed, .rescheduled, .awaitingApproval:
            #expect(appointment.status == .pending || appointment.status == .confirmed, "\(notice.event) of one that is \(appointment.status)")
            #expect(office.now < appointment.start, "\(notice.event) after the start")
            #expect(appointment.start == plannedFor, "\(notice.event) of a time that it is no longer at")
        case .cancelled, .declined: #expect(appointment.status == .cancelled && office.now < appointment.start)
        case .followUp: #expect(appointment.status == .completed)
        case .noShow: #expect(appointment.status == .noShow)
        case .waitlistOffer: break
        }
        if notice.event == .reminder {
            #expect(
                office.now >= office.notices.settings.reminders.first { $0.key == notice.rule }.map {
                    office.notices.settings.due($0, before: appointment.start, office.zone)
                }!
            )
            if message.channel == .whatsapp { #expect(!office.notices.optOuts.isOut(.whatsapp, message.recipient)) }
        }
        let digits = appointment.clientWhatsapp.filter(\.isNumber)
        let present = message.channel == .email ? appointment.clientEmail : digits.count == 11 ? "55" + digits : digits
        #expect(message.recipient == present)
    }

    /// Where nothing goes wrong, everything that is to be told is: each reminder whose time comes before its appointment's, once.
    @Test(arguments: 0..<4) func everyReminderWhoseTimeComesIsTold(_ round: Int) throws {
        var random = SeededGenerator.fresh("everyReminderWhoseTimeComesIsTold(\(round))")
        var office = try Office()
        let minutes: [Int64] = [60, 180, 1440]
        office.notices.settings.reminders = minutes.map { .init(.minutesBefore(Int($0)), [.whatsapp, .email]) }
        var expected: Set<Told2> = []
        var told: Set<Told2> = []
        for _ in 0..<1500 {
            let some = office.book.appointments.values.filter(\.status.isBlocking).map(\.id).sorted().randomElement(using: &random)
            let start = Timestamp(milliseconds: (office.now.milliseconds / 900_000 + Int64.random(in: 1...150, using: &random)) * 900_000)
            switch Int.random(in: 0..<8, using: &random) {
            case 0: _ = try? office.book(start)
            case 1:
                var move = CalendarBook.Move()
                move.start = start
                let wanted = move
                if let some { _ = try? office.turn { try $0.reschedule(some, wanted, $1) } }
            case 2: if let some { _ = try? office.turn { try $0.cancel(some, by: "staff", reason: nil, $1) } }
            case 3:
                var details = CalendarBook.Details()
                details.notes = .some("nota \(office.now)")
                let wanted = details
                if let some { _ = try? office.turn { try $0.update(some, wanted, $1) } }
            default:
                let before = office.now
                office.clock.advance(by: .seconds(Int64.random(in: 1...3600, using: &random)))
                for appointment in office.book.appointments.values where appointment.status.isBlocking && office.now < appointment.start {
                    for minutes in minutes {
                        let due = Timestamp(milliseconds: appointment.start.milliseconds - minutes * 60_000)
                        guard before < due, due <= office.now else { continue }
                        for channel in OutgoingMessage.Channel.all {
                            expected.insert(
                                Told2(appointment: appointment.id, start: appointment.start, rule: "reminder-\(minutes)m", channel: channel)
                            )
                        }
                    }
                }
                for message in office.queue.waiting where message.runAt <= office.now {
                    office.queue.waiting.removeAll { $0.key == message.key }
                    guard case .tell = office.verdict(message), let notice = ClientNotice(payload: message.payload), notice.event == .reminder,
                        case .appointment(let id, _, _) = notice.subject, let appointment = office.book.appointments[id]
                    else { continue }
                    told.insert(Told2(appointment: id, start: appointment.start, rule: notice.rule, channel: message.channel))
                }
            }
        }
        #expect(expected.count > 50)
        #expect(told == expected)
    }
}
