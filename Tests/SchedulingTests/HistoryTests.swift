import Kernel
import TestSupport
import Testing

@testable import Scheduling

/// Generated histories of bookings, holds, moves, cancellations and time, against a model that knows nothing but minutes: a bitmap for each lane.
@Suite struct HistoryTests {
    private static let days = 4
    private static let mostLanes = 3
    private static let zero = Timestamp(seconds: 1_772_409_600)  // Monday, 2026-03-02T00:00:00Z

    /// What stands in the calendar, as far as the model knows.
    private struct Entry {
        var resource: Resource
        var lane: Int
        var session: AppointmentID
        var service: ServiceID
        var start: Int
        var minutes: Range<Int>
        var seat: Int
        var expires: Timestamp?
        var liesOver = false
    }

    private struct Model {
        var entries: [Holder: Entry] = [:]

        /// Which session has each minute of a lane; minutes that two have are named.
        func bitmap(_ resource: Resource, _ lane: Int, without holder: Holder? = nil) -> (minutes: [AppointmentID?], clashes: Int) {
            var minutes = [AppointmentID?](repeating: nil, count: (HistoryTests.days + 2) * 1440)
            var clashes = 0
            let here = entries.filter { $0.value.resource == resource && $0.value.lane == lane && $0.key != holder }.map(\.value)
            for entry in here where !entry.liesOver {
                for minute in entry.minutes {
                    if let other = minutes[minute], other != entry.session { clashes += 1 }
                    minutes[minute] = entry.session
                }
            }
            // What lies over others keeps out whatever comes.
            for entry in here where entry.liesOver { for minute in entry.minutes { minutes[minute] = entry.session } }
            return (minutes, clashes)
        }

        /// Whether there is room, asked minute by minute.
        func hasRoom(_ service: Service, _ start: Int, _ resources: [Resource], lanes: Int, before: Int, after: Int, without holder: Holder? = nil)
            -> Bool
        {
            let (day, minute) = (start / 1440, start % 1440)
            // 09:00–12:00 and 13:00–18:00; the fourth day is off from 15:00.
            let period = minute < 720 ? 540..<720 : 780..<1080
            guard period.contains(minute), minute + service.durationMinutes <= period.upperBound, (minute - period.lowerBound) % 15 == 0 else {
                return false
            }
            if day == 3, minute + service.durationMinutes > 900 { return false }
            return isFree(service, start, resources, lanes: lanes, before: before, after: after, without: holder)
        }

        /// The same, whatever the hours are.
        func isFree(_ service: Service, _ start: Int, _ resources: [Resource], lanes: Int, before: Int, after: Int, without holder: Holder? = nil)
            -> Bool
        {
            for resource in resources {
                let range = start - before..<start + service.durationMinutes + after
                // There may have been more lanes once: whatever stands there is somebody's time.
                let all = (1...HistoryTests.mostLanes).map { bitmap(resource, $0, without: holder).minutes }
                let isFull = range.contains { minute in all.count { $0[minute] != nil } >= lanes }
                for lane in 1...HistoryTests.mostLanes {
                    if lane <= lanes, !isFull, range.allSatisfy({ all[lane - 1][$0] == nil }) { return true }
                    let mates = entries.filter {
                        $0.key != holder && $0.value.resource == resource && $0.value.lane == lane && $0.value.service == service.id
                            && $0.value.start == start && !$0.value.liesOver
                    }
                    let isOverlaid = entries.contains { id, entry in
                        id != holder && entry.liesOver && entry.resource == resource && entry.lane == lane
                            && mates.values.contains { $0.minutes.overlaps(entry.minutes) }
                    }
                    if !mates.isEmpty, mates.count < service.seats, !isOverlaid { return true }
                }
            }
            return false
        }
    }

    @Test(arguments: 0..<6) func theBookDecidesAsTheMinutesDo(_ round: Int) throws {
        var random = SeededGenerator.fresh("theBookDecidesAsTheMinutesDo(\(round))")
        let clock = ManualEnvironment(now: Self.zero)
        func moment() -> Moment { clock.environment.moment() }
        var book = CalendarBook(tenant: business)
        book.rules.zone = try #require(Zone.named("UTC"))
        book.rules.weekly = WeeklyHours(Array(repeating: [Period(540, 1080)], count: 7))
        book.rules.breaks = WeeklyHours(Array(repeating: [Period(720, 780)], count: 7))
        book.rules.startIntervalMinutes = 15
        book.rules.maximumAdvanceDays = Self.days - 1
        var lanes = round % 2 + 1
        book.rules.capacity = lanes
        var (before, after) = round % 3 == 0 ? (0, 0) : (5, 10)
        book.rules.bufferBeforeMinutes = before
        book.rules.bufferAfterMinutes = after
        if round % 3 == 2 { book.rules.pendingMinutes = 90 }
        if round % 3 == 1 { book.rules.holdSeconds = 3 * 3600 }
        // 2026-03-02 is a Monday, and all of the days are of one week.
        if round % 2 == 1 { (book.rules.limits.perDay, book.rules.limits.perWeek) = (9, 26) }
        let (mostOfDay, mostOfWeek, mostOfService) = (book.rules.limits.perDay, book.rules.limits.perWeek, round == 4 ? 3 : nil)
        var resources = [Resource.business(business)]
        if round >= 3 {
            for name in ["Ana", "Bia"] { book.staff.append(StaffMember(id: moment().id(), name: name, at: clock.now)) }
            resources = book.staff.map { .staff($0.id) }
        }
        let off = TimeOff(
            id: moment().id(),
            staff: nil,
            start: Self.zero + .seconds((3 * 1440 + 900) * 60),
            end: Self.zero + .seconds(5 * 86_400),
            reason: nil
        )
        book.timeOff[off.id] = off
        var services: [Service] = []
        for (length, seats) in [(30, 1), (45, 1), (60, 3)] {
            var service = Service(id: moment().id(), name: "S\(length)", durationMinutes: length, at: clock.now)
            service.seats = seats
            if length == 45 { service.limits.perDay = mostOfService }
            book.services[service.id] = service
            services.append(service)
        }
        var model = Model()
        var outcomes: [String: Int] = [:]

        func minute(_ time: Timestamp) -> Int { Int((time - Self.zero).inMilliseconds / 60_000) }
        func entry(_ place: Placement, _ service: ServiceID, _ start: Timestamp, _ expires: Timestamp?) -> Entry {
            Entry(
                resource: place.resource,
                lane: place.lane,
                session: place.session,
                service: service,
                start: minute(start),
                minutes: minute(place.blocked.lowerBound)..<minute(place.blocked.upperBound),
                seat: place.seat,
                expires: expires
            )
        }

        /// In an order that is the same whenever the seed is.
        func blocking() -> [AppointmentID] { book.appointments.values.filter(\.status.isBlocking).map(\.id).sorted() }

        for step in 0..<1500 {
            let service = services.randomElement(using: &random)!
            // Mostly in the morning of two days, so that they meet.
            let start = Int.random(in: 0..<Self.days, using: &random) * 1440 + 525 + Int.random(in: 0..<40, using: &random) * (step % 7 == 0 ? 7 : 15)
            let time = Self.zero + .seconds(start * 60)
            // The business attends more at a time, or fewer, and leaves more time between two, or less.
            if round >= 2, step % 50 == 49 {
                lanes = Int.random(in: 1...Self.mostLanes, using: &random)
                book.rules.capacity = lanes
                if round % 2 == 0 {
                    (before, after) = [(0, 0), (5, 10), (15, 0), (0, 20)].randomElement(using: &random)!
                    (book.rules.bufferBeforeMinutes, book.rules.bufferAfterMinutes) = (before, after)
                }
            }
            // What is due is over, for the model as well.
            model.entries = model.entries.filter { $0.value.expires.map { $0 > clock.now } ?? true }
            let isInTime = time > clock.now && start < Self.days * 1440
            func isFull(_ holder: Holder?, _ service: Service) -> Bool {
                let others = model.entries.filter { $0.key != holder }.map(\.value)
                let ofDay = others.filter { $0.start / 1440 == start / 1440 }
                return mostOfDay.map { ofDay.count >= $0 } ?? false || mostOfWeek.map { others.count >= $0 } ?? false
                    || service.durationMinutes == 45 && mostOfService.map { most in ofDay.count { $0.service == service.id } >= most } ?? false
            }
            func expected(_ holder: Holder? = nil, _ service: Service) -> Bool {
                isInTime && !isFull(holder, service)
                    && model.hasRoom(service, start, resources, lanes: lanes, before: before, after: after, without: holder)
            }
            /// What the staff forces takes a place like any other where there is one, and lies over what is there only where there is none.
            func lies(_ service: Service, without holder: Holder? = nil) -> Bool {
                time <= clock.now || !model.isFree(service, start, resources, lanes: lanes, before: before, after: after, without: holder)
            }
            let wish = try book.wish(service.id, now: clock.now)
            switch Int.random(in: 0..<12, using: &random) {
            case 0...3:
                let (should, isListed) = (
                    expected(nil, service),
                    {
                        var copy = book; copy.timePassed(moment()); return copy.slots(wish, in: time..<(time + .milliseconds(1))).contains(time)
                    }()
                )
                #expect(should == isListed, "step \(step): listed")
                let request = BookingRequest(service: service.id, start: time, clientName: "C", clientWhatsapp: "+55\(step % 50)")
                do {
                    let made = try book.book(request, moment())
                    #expect(should, "step \(step): booked")
                    model.entries[.appointment(made.id)] = entry(made.place, made.service, made.start, made.pendingUntil)
                    outcomes["booked", default: 0] += 1
                } catch {
                    #expect(!should, "step \(step): \(error.code)")
                    outcomes[error.code, default: 0] += 1
                }
            case 4...5:
                let should = expected(nil, service)
                do {
                    let made = try book.hold(service.id, staff: nil, start: time, isPublic: true, moment())
                    #expect(should && made.expiresAt == min(clock.now + .seconds(book.rules.holdSeconds), time), "step \(step): held")
                    model.entries[.hold(made.id)] = entry(made.place, made.service, made.start, made.expiresAt)
                    outcomes["held", default: 0] += 1
                } catch { #expect(!should, "step \(step): \(error.code)") }
            case 6:
                guard let hold = book.holds.values.sorted(by: { $0.id < $1.id }).randomElement(using: &random) else { break }
                var request = BookingRequest(service: hold.service, start: hold.start, clientName: "H", clientWhatsapp: "+1")
                request.hold = hold.id
                let isLive = hold.expiresAt > clock.now
                do {
                    let made = try book.book(request, moment())
                    #expect(isLive)
                    model.entries[.hold(hold.id)] = nil
                    model.entries[.appointment(made.id)] = entry(made.place, made.service, made.start, made.pendingUntil)
                    outcomes["booked a hold", default: 0] += 1
                } catch { #expect(!isLive && error.code == "hold_expired", "step \(step): \(error.code)") }
            case 7:
                guard let id = blocking().randomElement(using: &random), let appointment = book.appointments[id] else { break }
                var move = CalendarBook.Move()
                move.start = time
                move.staff = .some(nil)
                let service = try #require(book.services[appointment.service])
                let isOver = appointment.status == .pending && appointment.pendingUntil.map { $0 <= clock.now } ?? false
                // To where it is already nothing has to change: anybody is whoever has it.
                let should = !isOver && (appointment.start == time || expected(.appointment(id), service))
                do {
                    let moved = try book.reschedule(id, move, moment())
                    #expect(should, "step \(step): moved")
                    var one = entry(moved.place, moved.service, moved.start, moved.status == .pending ? moved.pendingUntil : nil)
                    one.liesOver = moved.liesOver
                    model.entries[.appointment(id)] = one
                    outcomes["moved", default: 0] += 1
                } catch { #expect(!should, "step \(step): \(error.code)") }
            case 8:
                guard let id = blocking().randomElement(using: &random) else { break }
                do {
                    let changed = try Bool.random(using: &random) ? book.cancel(id, by: "staff", reason: nil, moment()) : book.confirm(id, moment())
                    if changed.status == .cancelled { model.entries[.appointment(id)] = nil } else { model.entries[.appointment(id)]?.expires = nil }
                } catch { #expect(error.code == "invalid_state") }
            case 9:
                // The staff puts one over whatever is there, or moves one there; where few may be made, only the latter.
                guard step % 2 == 0 else { break }
                if round % 2 == 1 || step % 4 == 0,
                    let id = blocking().randomElement(using: &random)
                {
                    var move = CalendarBook.Move()
                    (move.start, move.staff, move.force) = (time, .some(nil), "encaixe")
                    let service = try #require(book.services[book.appointments[id]?.service ?? service.id])
                    let should = lies(service, without: .appointment(id))
                    guard let moved = try? book.reschedule(id, move, moment()) else { break }
                    #expect(moved.liesOver == should && moved.isForced, "step \(step): forced to another time")
                    var one = entry(moved.place, moved.service, moved.start, moved.status == .pending ? moved.pendingUntil : nil)
                    one.liesOver = moved.liesOver
                    model.entries[.appointment(id)] = one
                } else if round % 2 == 0 {
                    var request = BookingRequest(service: service.id, start: time, clientName: "F", clientWhatsapp: "+55\(step % 50)")
                    request.force = "encaixe"
                    let should = lies(service)
                    let made = try book.book(request, moment())
                    #expect(made.liesOver == should && made.isForced, "step \(step): forced")
                    var one = entry(made.place, made.service, made.start, made.pendingUntil)
                    one.liesOver = made.liesOver
                    model.entries[.appointment(made.id)] = one
                }
                outcomes["forced", default: 0] += 1
            default: clock.advance(by: .seconds(Int.random(in: 0...400, using: &random)))
            }
            if step % 10 == 0 {
                book.timePassed(moment())
                model.entries = model.entries.filter { $0.value.expires.map { $0 > clock.now } ?? true }
                let blocking = book.appointments.values.filter { $0.status.isBlocking }
                #expect(
                    Set(blocking.map { Holder.appointment($0.id) } + book.holds.keys.map { .hold($0) }) == Set(model.entries.keys),
                    "step \(step)"
                )
                for resource in resources {
                    for lane in 1...Self.mostLanes { #expect(model.bitmap(resource, lane).clashes == 0, "step \(step): two sessions in one minute") }
                }
                for mates in Dictionary(grouping: model.entries.values, by: \.session).values {
                    #expect(
                        Set(mates.map(\.seat)).count == mates.count && mates.count <= (book.services[mates[0].service]?.seats ?? 0),
                        "step \(step): seats"
                    )
                }
                book.effects = CalendarBook.Effects()
            }
        }
        print(outcomes.sorted { $0.key < $1.key })
        #expect(
            // Far below what any history shows (50, 10, 20 and 50 at the fewest): it is chance that decides.
            outcomes["booked", default: 0] > 10 && outcomes["moved", default: 0] > 0 && outcomes["held", default: 0] > 3
                && outcomes["forced", default: 0] > 10,
            "nothing was going on"
        )

        // What was stored and is read again decides the same.
        var again = CalendarBook(tenant: business)
        (again.rules, again.services, again.staff, again.timeOff) = (book.rules, book.services, book.staff, book.timeOff)
        for appointment in book.appointments.values { again.adopt(appointment) }
        for hold in book.holds.values { again.adopt(hold) }
        for service in services {
            let range = Self.zero..<(Self.zero + .seconds(6 * 86_400))
            #expect(
                again.slots(try again.wish(service.id, now: clock.now), in: range) == book.slots(try book.wish(service.id, now: clock.now), in: range)
            )
        }
    }

    @Test func aMonthOfABusyCalendarIsFoundQuickly() throws {
        var diary = try Diary("America/Sao_Paulo", now: "2026-03-01T03:00:00Z", durationMinutes: 30) { $0.startIntervalMinutes = 15 }
        for name in ["Ana", "Bia", "Caio"] { _ = diary.hire(name) }
        var random = SeededGenerator.fresh()
        var booked = 0
        for _ in 0..<2000 {
            let start =
                try time("2026-03-01T12:00:00Z")
                + .seconds(Int.random(in: 0..<31, using: &random) * 86_400 + Int.random(in: 0..<36, using: &random) * 900)
            if (try? diary.book.book(diary.request(start), diary.moment)) != nil { booked += 1 }
        }
        #expect(booked > 700)
        let wish = try diary.book.wish(diary.cut, now: diary.clock.now)
        let began = ContinuousClock.now
        let found = diary.book.slots(wish, in: try time("2026-03-01T03:00:00Z")..<time("2026-04-01T03:00:00Z"))
        print("a month with \(booked) appointments: \(found.count) starts in \(ContinuousClock.now - began)")
        #expect(found.count > 100 && found == found.sorted())
    }
}
