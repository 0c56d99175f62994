package import Kernel

// The machine of a business's calendar (contracts/agendazap.md "Agendamentos", research/scheduling.md A5 and §6). No I/O; time and ids come in.
//
//     hold ──▶ held ──book──▶ pending | confirmed
//               │ expired, released         │ cancel, decline, expired        ▲ an offer of the waiting list is a hold
//               ▼                           ▼                                 │
//              free ─────────────────────────────▶ who waits longest for such a time
//
// `slots` is the one answer to "when is there room": it is listed, held, booked, moved and offered by.
//
// Rules of a start: it lies in a working period at a whole number of intervals from the period's beginning by the wall clock, and what begins there ends within
// the periods that follow one another without a break; it is not before now + notice, nor after the day that is `maximumAdvanceDays` ahead; nobody of whom it is
// asked is off meanwhile; with its buffers it overlaps nothing that has buffers (they add up); and no limit of the day, week or month is reached by then.
//
// Invariants
// 1. On one lane of one resource no two sessions overlap, buffers counted, but those that the staff forced; no seat of a session is given twice.
// 2. A hold lasts until its deadline and not at it; what holds a time books it, whoever asks in between.
// 3. Unless it was forced, nothing is booked or held by which a limit is passed; and `tally` has the start of each.
// 4. Whatever is decided at `now` is decided as if everything due by then had been done at its time.
package struct CalendarBook: Sendable {
    package let tenant: TenantID
    package var rules = BookingRules()
    package var services: [ServiceID: Service] = [:]
    package var categories: [CategoryID: ServiceCategory] = [:]
    package var staff: [StaffMember] = []
    package var timeOff: [TimeOffID: TimeOff] = [:]
    package private(set) var appointments: [AppointmentID: Appointment] = [:]
    package private(set) var holds: [HoldID: Hold] = [:]
    package private(set) var waitlist: [WaitlistID: WaitlistEntry] = [:]
    package var clients = ClientLedger()
    private var occupancy: [Resource: Occupancy] = [:]
    /// From this month and week on.
    var tally = Tally()
    /// Who of the staff was given something last, by a count.
    private var lastGiven: [StaffID: Int] = [:]
    private var given = 0
    /// Not later than anything falls due.
    package private(set) var nextDue = Timestamp.distantFuture
    package var effects = Effects()
    /// What the plan still allows, in this turn.
    package var allowance = Allowance.unlimited

    /// What happened since it was last taken.
    package struct Effects: Sendable {
        package var appointments: [AppointmentID] = []
        /// As those of them were that are not new.
        package var before: [AppointmentID: Appointment] = [:]
        /// Where those stood that have been moved or are new: the former start.
        package var formerStarts: [AppointmentID: Timestamp] = [:]
        package var holdsMade: [Hold] = []
        package var holdsEnded: [Hold] = []
        package var waitlist: [WaitlistID] = []
        /// Times at which there may be more room than before, or less.
        package var touched: [Range<Timestamp>] = []

        package init() {}

        package var isEmpty: Bool {
            appointments.isEmpty && holdsMade.isEmpty && holdsEnded.isEmpty && waitlist.isEmpty && touched.isEmpty
        }
    }

    package static let maxHolds = 2000
    package static let maxWaiting = 5000
    package static let maxAlternatives = 5

    package init(tenant: TenantID) { self.tenant = tenant }

    // MARK: Loading

    /// - Parameter isCounted: it is in the tally already.
    package mutating func adopt(_ appointment: Appointment, isCounted: Bool = false) {
        guard appointments[appointment.id] == nil else { return }
        if !isCounted, appointment.status != .cancelled { adoptCount(appointment.service, appointment.start) }
        appointments[appointment.id] = appointment
        if appointment.status.isBlocking {
            occupy(.appointment(appointment.id), appointment.service, appointment.start, appointment.end, appointment.place)
        }
        due(appointment.status == .pending ? appointment.pendingUntil : nil)
    }

    /// Something that begins then, of which no more needs to be known.
    package mutating func adoptCount(_ service: ServiceID, _ start: Timestamp) { tally.add(service, start) }

    package mutating func adopt(_ hold: Hold) {
        adoptCount(hold.service, hold.start)
        holds[hold.id] = hold
        occupy(.hold(hold.id), hold.service, hold.start, hold.end, hold.place)
        due(hold.expiresAt)
    }

    package mutating func adopt(_ entry: WaitlistEntry) { waitlist[entry.id] = entry }

    /// Forgets appointments that ended before a time, and what is over of the waiting list: the store has them.
    package mutating func forget(before time: Timestamp) {
        for appointment in appointments.values where appointment.end < time { appointments[appointment.id] = nil }
        let today = rules.zone.day(of: time)
        tally.forget(before: rules.zone.start(of: min(today.firstOfMonth, today + -6)))
        for resource in occupancy.keys { occupancy[resource]?.forget(before: time.milliseconds) }
        for entry in waitlist.values where entry.until < time && entry.status != .offered { waitlist[entry.id] = nil }
    }

    // MARK: When there is room

    /// What is asked for, with the rules that count for it.
    package struct Wish: Sendable {
        let service: Service
        let resources: [Resource]
        let length: Int64
        let before: Int64
        let after: Int64
        let step: Int64
        let earliest: Int64
        let latest: Int64

        package var isPossible: Bool { !resources.isEmpty }
    }

    /// - Throws: when there is no such service, or nobody of that name who does it.
    package func wish(_ id: ServiceID, staff: StaffID? = nil, durationMinutes: Int? = nil, isPublic: Bool = false, now: Timestamp) throws(Refusal)
        -> Wish
    {
        guard let service = services[id], service.removedAt == nil else { throw .notFound(.service) }
        guard service.isActive, !isPublic || service.isPublic else {
            throw Refusal(.conflict, "service_inactive", "Este serviço não está disponível para agendamento.")
        }
        let notice = Int64(service.minimumNoticeMinutes ?? rules.minimumNoticeMinutes) * 60_000
        let lastDay = rules.zone.day(of: now) + (service.maximumAdvanceDays ?? rules.maximumAdvanceDays)
        return Wish(
            service: service,
            resources: try resources(service, staff),
            length: Int64(durationMinutes ?? service.durationMinutes) * 60_000,
            before: Int64(service.bufferBeforeMinutes ?? rules.bufferBeforeMinutes) * 60_000,
            after: Int64(service.bufferAfterMinutes ?? rules.bufferAfterMinutes) * 60_000,
            step: Int64(service.startIntervalMinutes ?? rules.startIntervalMinutes ?? service.durationMinutes) * 60_000,
            earliest: now.milliseconds + notice,
            latest: rules.zone.end(of: lastDay).milliseconds
        )
    }

    private func resources(_ service: Service, _ wanted: StaffID?) throws(Refusal) -> [Resource] {
        let active = staff.filter { $0.isActive && $0.removedAt == nil && (service.staff.isEmpty || service.staff.contains($0.id)) }
        if let wanted {
            guard staff.contains(where: { $0.id == wanted && $0.removedAt == nil }) else { throw .notFound(.staff) }
            guard active.contains(where: { $0.id == wanted }) else {
                throw Refusal(.conflict, "staff_unavailable", "Este profissional não atende este serviço.")
            }
            return [.staff(wanted)]
        }
        if !active.isEmpty { return active.map { .staff($0.id) } }
        return staff.contains { $0.isActive && $0.removedAt == nil } ? [] : [.business(tenant)]
    }

    /// The starts in a range at which there is room, in order.
    package func slots(_ wish: Wish, in range: Range<Timestamp>, ignoring hold: HoldID? = nil) -> [Timestamp] {
        var starts: [Int64] = []
        let holder = hold.map { Holder.hold($0) }
        for resource in wish.resources {
            eachSlot(wish, of: resource, in: range.lowerBound.milliseconds..<range.upperBound.milliseconds, ignoring: holder) { slot, _ in
                starts.append(slot.start)
            }
        }
        // Already in order where one is asked; runs in order where several are.
        if wish.resources.count > 1 { starts.sort() }
        var found: [Timestamp] = []
        found.reserveCapacity(starts.count)
        for start in starts where found.last?.milliseconds != start { found.append(Timestamp(milliseconds: start)) }
        return found
    }

    private struct WorkingPeriod {
        let start: Int64
        let end: Int64
        /// Where the periods end that follow this one without a break.
        let runEnd: Int64
        let anchor: Int64
    }

    private func periods(_ resource: Resource, on day: CivilDay) -> [Period] {
        guard let id = resource.staff, let member = staff.first(where: { $0.id == id }) else { return rules.periods(on: day) }
        if let own = member.overrides[day] { return own }
        if let common = rules.overrides[day] { return common }
        return member.weekly?.days[day.weekday] ?? rules.periods(on: day)
    }

    private func bounds(_ period: Period, on day: CivilDay) -> (start: Int64, end: Int64) {
        let zone = rules.zone
        let end = period.closes == 1440 ? zone.end(of: day).milliseconds : zone.closing(local: day.local + Int64(period.closes) * 60_000)
        return (zone.opening(local: day.local + Int64(period.opens) * 60_000), end)
    }

    private func working(_ resource: Resource, on day: CivilDay) -> [WorkingPeriod] {
        let periods = periods(resource, on: day)
        var found: [WorkingPeriod] = []
        for (index, period) in periods.enumerated() {
            let (start, end) = bounds(period, on: day)
            guard start < end else { continue }
            var runEnd = end
            var (next, rest) = (day, periods[(index + 1)...])
            // Over any number of midnights, though hardly anybody is open for a week.
            var days = 0
            while true {
                if let following = rest.first {
                    let (start, end) = bounds(following, on: next)
                    guard start == runEnd else { break }
                    runEnd = max(runEnd, end)
                    rest = rest.dropFirst()
                } else {
                    guard days < 7, rules.zone.end(of: next).milliseconds == runEnd else { break }
                    (next, days) = (next + 1, days + 1)
                    rest = self.periods(resource, on: next)[...]
                    if rest.isEmpty { break }
                }
            }
            found.append(WorkingPeriod(start: start, end: end, runEnd: runEnd, anchor: day.local + Int64(period.opens) * 60_000))
        }
        return found
    }

    private func day(of instant: Int64) -> CivilDay { rules.zone.day(of: Timestamp(milliseconds: instant)) }

    private func eachSlot(
        _ wish: Wish,
        of resource: Resource,
        in range: Range<Int64>,
        ignoring holder: Holder?,
        _ body: (Slot, Occupancy.Fit) -> Void
    ) {
        let range = max(range.lowerBound, wish.earliest)..<max(max(range.lowerBound, wish.earliest), min(range.upperBound, wish.latest))
        guard !range.isEmpty else { return }
        let off = timeOff.isEmpty ? [] : timeOff.values.filter { $0.staff == nil || $0.staff == resource.staff }
        let lanes = lanes(of: resource)
        let own = occupancy[resource]
        let common = resource.staff == nil ? nil : occupancy[.business(tenant)]
        let isLimited = !rules.limits.isEmpty || !wish.service.limits.isEmpty
        var day = day(of: range.lowerBound)
        while rules.zone.start(of: day).milliseconds < range.upperBound {
            if isLimited, limitReached(wish, on: day, ignoring: holder) != nil {
                day = day + 1
                continue
            }
            for period in working(resource, on: day) {
                let starts = max(period.start, range.lowerBound)..<max(max(period.start, range.lowerBound), min(period.end, range.upperBound))
                rules.zone.forEachStart(in: starts, anchor: period.anchor, step: wish.step) { start in
                    let slot = Slot(
                        service: wish.service.id,
                        start: start,
                        end: start + wish.length,
                        from: start - wish.before,
                        until: start + wish.length + wish.after
                    )
                    guard slot.end <= period.runEnd else { return }
                    if !off.isEmpty, off.contains(where: { $0.start.milliseconds < slot.end && slot.start < $0.end.milliseconds }) { return }
                    if let common, common.isBusy(slot.from, slot.until, ignoring: holder) { return }
                    guard let own else {
                        return body(slot, Occupancy.Fit(lane: 1, seat: 1, session: nil, seatsLeft: wish.service.seats))
                    }
                    if let fit = own.fit(slot, lanes: lanes, seats: wish.service.seats, ignoring: holder) { body(slot, fit) }
                }
            }
            day = day + 1
        }
    }

    private func lanes(of resource: Resource) -> Int {
        resource.staff.flatMap { id in staff.first { $0.id == id }?.capacity } ?? rules.capacity
    }

    // MARK: One start

    private struct Place {
        let resource: Resource
        let slot: Slot
        let fit: Occupancy.Fit

        func placement(_ session: AppointmentID) -> Placement {
            Placement(
                resource: resource,
                lane: fit.lane,
                seat: fit.seat,
                session: fit.session ?? session,
                blocked: Timestamp(milliseconds: slot.from)..<Timestamp(milliseconds: slot.until)
            )
        }
    }

    /// Who gets it: of those with room, whoever has the least on that day; then whoever was given something the longest ago; then the first.
    private func place(_ wish: Wish, _ start: Timestamp, ignoring holder: Holder? = nil, preferring: Resource? = nil) -> Place? {
        var found: [Place] = []
        for resource in wish.resources {
            eachSlot(wish, of: resource, in: start.milliseconds..<(start.milliseconds + 1), ignoring: holder) {
                found.append(Place(resource: resource, slot: $0, fit: $1))
            }
        }
        if let preferred = found.first(where: { $0.resource == preferring }) { return preferred }
        guard found.count > 1 else { return found.first }
        // A session that has begun to fill is filled.
        if let joined = found.first(where: { $0.fit.session != nil }) { return joined }
        let day = rules.zone.day(of: start)
        let range = rules.zone.start(of: day).milliseconds..<rules.zone.end(of: day).milliseconds
        func load(_ place: Place) -> (Int, Int) {
            (occupancy[place.resource]?.count(in: range) ?? 0, place.resource.staff.flatMap { lastGiven[$0] } ?? 0)
        }
        return found.min { load($0) < load($1) }
    }

    /// Why there is no room at a start, for whoever wanted it.
    private func objection(_ wish: Wish, _ start: Timestamp, now: Timestamp) -> Refusal {
        var refusal: Refusal
        if wish.resources.isEmpty {
            refusal = Refusal(.conflict, "staff_unavailable", "Nenhum profissional ativo atende este serviço.")
        } else if start.milliseconds < now.milliseconds {
            refusal = Refusal(.conflict, "too_soon", "Este horário já passou.")
        } else if start.milliseconds < wish.earliest {
            refusal = Refusal(.conflict, "too_soon", "Este horário está próximo demais; agende com mais antecedência.")
        } else if start.milliseconds >= wish.latest {
            refusal = Refusal(.conflict, "too_far", "Este horário está distante demais para ser agendado agora.")
        } else if let (scope, isOfService) = limitReached(wish, on: rules.zone.day(of: start), ignoring: nil) {
            let period = [BookingLimits.Scope.day: "deste dia", .week: "desta semana", .month: "deste mês"][scope] ?? ""
            refusal = Refusal(
                .conflict,
                "limit_reached",
                "Os agendamentos \(period) estão esgotados.",
                facts: ["scope": scope.rawValue, "limit_of": isOfService ? "service" : "business"]
            )
        } else if wish.resources.contains(where: { isStart(wish, $0, start.milliseconds) }) {
            refusal = Refusal(.conflict, wish.service.seats > 1 ? "capacity_full" : "slot_taken", "Este horário não está mais disponível.")
        } else {
            refusal = Refusal(.conflict, "outside_hours", "Este horário está fora do expediente ou não é um início possível.")
        }
        refusal.lists["alternatives"] = alternatives(wish, to: start).map(\.description)
        return refusal
    }

    /// Whether it would do, if nothing were booked.
    private func isStart(_ wish: Wish, _ resource: Resource, _ start: Int64) -> Bool {
        working(resource, on: day(of: start)).contains { period in
            var isFound = false
            let range = max(period.start, start)..<max(max(period.start, start), min(period.end, start + 1))
            rules.zone.forEachStart(in: range, anchor: period.anchor, step: wish.step) { isFound = isFound || $0 == start }
            return isFound && start + wish.length <= period.runEnd
        }
    }

    /// The starts nearest to one that cannot be had: of its day, and else of the two weeks that follow.
    package func alternatives(_ wish: Wish, to start: Timestamp) -> [Timestamp] {
        let day = rules.zone.day(of: max(start, Timestamp(milliseconds: wish.earliest)))
        var found = slots(wish, in: rules.zone.start(of: day)..<rules.zone.end(of: day))
        found.sort { abs($0.milliseconds - start.milliseconds) < abs($1.milliseconds - start.milliseconds) }
        var next = day + 1
        while found.count < Self.maxAlternatives, next.number - day.number <= 14 {
            found += slots(wish, in: rules.zone.start(of: next)..<rules.zone.end(of: next))
            next = next + 1
        }
        return found.prefix(Self.maxAlternatives).sorted()
    }

    // MARK: Occupying

    private mutating func occupy(_ holder: Holder, _ service: ServiceID, _ start: Timestamp, _ end: Timestamp, _ place: Placement) {
        occupancy[place.resource, default: Occupancy()].add(holder, service, start: start.milliseconds, end: end.milliseconds, place)
    }

    private mutating func took(_ holder: Holder, _ service: ServiceID, _ start: Timestamp, _ end: Timestamp, _ place: Placement) {
        occupy(holder, service, start, end, place)
        begins(service, start)
        if let staff = place.resource.staff {
            given += 1
            lastGiven[staff] = given
        }
        effects.touched.append(place.blocked)
    }

    private mutating func freed(_ holder: Holder, _ place: Placement) {
        occupancy[place.resource]?.remove(holder, place)
        effects.touched.append(place.blocked)
    }

    private mutating func due(_ time: Timestamp?) { if let time { nextDue = min(nextDue, time) } }

    // MARK: Time

    /// Does what is due.
    package mutating func timePassed(_ moment: Moment) {
        guard nextDue <= moment.now else { return }
        let now = moment.now
        for hold in holds.values.filter({ $0.expiresAt <= now }).sorted(by: { $0.id < $1.id }) { end(hold, lapsed: true) }
        for appointment in appointments.values.filter({ $0.status == .pending && $0.pendingUntil.map { $0 <= now } ?? false }).sorted(by: {
            $0.id < $1.id
        }) {
            cancel(appointment, by: "system", reason: "Não confirmado a tempo", now)
        }
        nextDue = .distantFuture
        for hold in holds.values { due(hold.expiresAt) }
        for appointment in appointments.values where appointment.status == .pending { due(appointment.pendingUntil) }
        offerWhatIsFree(moment)
    }

    // MARK: Holds

    package mutating func hold(
        _ service: ServiceID,
        staff: StaffID?,
        start: Timestamp,
        durationMinutes: Int? = nil,
        isPublic: Bool,
        seconds: Int? = nil,
        by asker: Asker? = nil,
        _ moment: Moment
    ) throws(Refusal) -> Hold {
        timePassed(moment)
        guard holds.count < Self.maxHolds else {
            throw Refusal(.tooMany, "too_many_holds", "Há reservas temporárias demais; tente novamente em instantes.", retryAfterSeconds: 5)
        }
        let wish = try wish(service, staff: staff, durationMinutes: durationMinutes, isPublic: isPublic, now: moment.now)
        guard let place = place(wish, start) else { throw objection(wish, start, now: moment.now) }
        return keep(place, seconds: seconds ?? rules.holdSeconds, waitlist: nil, owner: asker?.owner, moment)
    }

    private mutating func keep(_ place: Place, seconds: Int, waitlist: WaitlistID?, owner: Asker.Owner?, _ moment: Moment) -> Hold {
        let hold = Hold(
            id: moment.id(),
            service: place.slot.service,
            place: place.placement(moment.id()),
            start: Timestamp(milliseconds: place.slot.start),
            end: Timestamp(milliseconds: place.slot.end),
            expiresAt: moment.now + .seconds(seconds),
            waitlist: waitlist,
            owner: owner
        )
        holds[hold.id] = hold
        took(.hold(hold.id), hold.service, hold.start, hold.end, hold.place)
        due(hold.expiresAt)
        effects.holdsMade.append(hold)
        return hold
    }

    /// Lets a held time go. One that is gone already is gone.
    package mutating func release(_ id: HoldID, by asker: Asker? = nil, _ moment: Moment) throws(Refusal) {
        timePassed(moment)
        guard let hold = holds[id] else { throw .notFound(.hold) }
        if let asker, !asker.mayUse(hold) { throw asker.refusal(hold) }
        end(hold, lapsed: true)
        offerWhatIsFree(moment)
    }

    /// - Parameter lapsed: nobody booked it, so that whoever it was offered to has let it pass.
    private mutating func end(_ hold: Hold, lapsed: Bool) {
        holds[hold.id] = nil
        freed(.hold(hold.id), hold.place)
        beginsNoMore(hold.service, hold.start)
        effects.holdsEnded.append(hold)
        guard let id = hold.waitlist, lapsed, waitlist[id]?.status == .offered else { return }
        waitlist[id]?.status = .lapsed
        effects.waitlist.append(id)
    }

    // MARK: Booking

    package mutating func book(_ request: BookingRequest, _ moment: Moment) throws(Refusal) -> Appointment {
        timePassed(moment)
        let appointment = try made(request, moment)
        offerWhatIsFree(moment)
        return appointment
    }

    private mutating func made(_ request: BookingRequest, _ moment: Moment) throws(Refusal) -> Appointment {
        try allowance.check(.appointment)
        let id: AppointmentID = moment.id()
        // Before anything is changed: the client may have to be read first.
        let known = try Client.key(whatsapp: request.clientWhatsapp, email: request.clientEmail).flatMap { key throws(Refusal) in
            try clients.find(key: key, at: moment.now)
        }
        if known.map({ !$0.isListed }) ?? true { try allowance.check(.client) }
        var held: Hold?
        if let wanted = request.hold {
            guard let hold = holds[wanted] else {
                var refusal = Refusal(.conflict, "hold_expired", "A reserva temporária expirou ou foi liberada; escolha o horário de novo.")
                if let wish = try? wish(request.service, staff: request.staff, isPublic: request.isPublic, now: moment.now) {
                    refusal.lists["alternatives"] = alternatives(wish, to: request.start).map(\.description)
                }
                throw refusal
            }
            if let asker = request.asker, !asker.mayUse(hold) { throw asker.refusal(hold) }
            guard hold.service == request.service, hold.start == request.start else {
                throw Refusal(.conflict, "hold_mismatch", "A reserva temporária é de outro serviço ou horário.")
            }
            held = hold
        }
        let placement: Placement
        let (start, end): (Timestamp, Timestamp)
        guard let service = services[request.service] else { throw .notFound(.service) }
        if let held {
            // It was in `slots` when it was held, and nobody else could come in between.
            end = held.end
            start = held.start
            placement = held.place
            self.end(held, lapsed: false)
        } else if request.force != nil {
            let wish = try wish(request.service, staff: request.staff, durationMinutes: request.durationMinutes, now: moment.now)
            guard let resource = wish.resources.first else { throw objection(wish, request.start, now: moment.now) }
            start = request.start
            end = start + .milliseconds(wish.length)
            let slot = Slot(
                service: service.id,
                start: start.milliseconds,
                end: end.milliseconds,
                from: start.milliseconds - wish.before,
                until: end.milliseconds + wish.after
            )
            let fit = occupancy[resource]?.fit(slot, lanes: lanes(of: resource), seats: 1, ignoring: nil)
            placement = Place(resource: resource, slot: slot, fit: .init(lane: fit?.lane ?? 1, seat: 1, session: nil, seatsLeft: 1)).placement(id)
        } else {
            let wish = try wish(
                request.service,
                staff: request.staff,
                durationMinutes: request.durationMinutes,
                isPublic: request.isPublic,
                now: moment.now
            )
            guard let place = place(wish, request.start) else { throw objection(wish, request.start, now: moment.now) }
            start = Timestamp(milliseconds: place.slot.start)
            end = Timestamp(milliseconds: place.slot.end)
            placement = place.placement(id)
        }
        var appointment = Appointment(
            id: id,
            service: service,
            place: placement,
            start: start,
            end: end,
            request,
            client: try client(of: request, moment),
            zone: rules.zone,
            moment
        )
        appointment.forcedReason = request.force
        if service.confirmsAtOnce ?? rules.confirmsAtOnce {
            appointment.status = .confirmed
        } else {
            appointment.pendingUntil = rules.pendingMinutes.map { moment.now + .seconds($0 * 60) }
        }
        took(.appointment(id), service.id, start, end, placement)
        allowance.take(.appointment)
        put(appointment, at: moment.now)
        due(appointment.pendingUntil)
        if let entry = held?.waitlist, waitlist[entry]?.status == .offered {
            waitlist[entry]?.status = .booked
            effects.waitlist.append(entry)
        }
        return appointment
    }

    mutating func put(_ appointment: Appointment, at now: Timestamp) {
        clients.counted(appointments[appointment.id], appointment, at: now)
        if !effects.appointments.contains(appointment.id) {
            effects.appointments.append(appointment.id)
            effects.before[appointment.id] = appointments[appointment.id]
        }
        appointments[appointment.id] = appointment
    }

    /// Puts back an entry of the waiting list with the version that its row was given.
    mutating func keep(_ entry: WaitlistEntry) { waitlist[entry.id] = entry }

    // MARK: An appointment's life

    private func present(_ id: AppointmentID, revision: Int64? = nil) throws(Refusal) -> Appointment {
        guard let appointment = appointments[id] else { throw .notFound(.appointment) }
        if let revision, revision != appointment.revision {
            throw Refusal(
                .conflict,
                "stale_revision",
                "O agendamento foi alterado por outra pessoa; recarregue e tente de novo.",
                facts: ["revision": String(appointment.revision)]
            )
        }
        return appointment
    }

    private static func wrongState(_ appointment: Appointment) -> Refusal {
        Refusal(
            .conflict,
            "invalid_state",
            "Isto não pode ser feito com um agendamento no estado \(appointment.status.rawValue).",
            facts: ["status": appointment.status.rawValue]
        )
    }

    package mutating func confirm(_ id: AppointmentID, revision: Int64? = nil, _ moment: Moment) throws(Refusal) -> Appointment {
        timePassed(moment)
        var appointment = try present(id, revision: revision)
        if appointment.status == .confirmed { return appointment }
        guard appointment.status == .pending else { throw Self.wrongState(appointment) }
        appointment.status = .confirmed
        appointment.pendingUntil = nil
        return changed(appointment, moment.now)
    }

    mutating func changed(_ appointment: Appointment, _ now: Timestamp) -> Appointment {
        var appointment = appointment
        appointment.revision += 1
        appointment.updatedAt = now
        put(appointment, at: now)
        return appointment
    }

    /// - Parameter by: `client`, who has to keep to the cut-off, or `staff`.
    package mutating func cancel(_ id: AppointmentID, by: String, reason: String?, revision: Int64? = nil, _ moment: Moment) throws(Refusal)
        -> Appointment
    {
        timePassed(moment)
        let appointment = try present(id, revision: revision)
        if appointment.status == .cancelled { return appointment }
        guard appointment.status.isBlocking else { throw Self.wrongState(appointment) }
        if by == "client" { try keepToCutoff(appointment, moment.now) }
        let cancelled = cancel(appointment, by: by, reason: reason, moment.now)
        offerWhatIsFree(moment)
        return cancelled
    }

    /// What has not been confirmed is not taken on.
    package mutating func decline(_ id: AppointmentID, reason: String?, revision: Int64? = nil, _ moment: Moment) throws(Refusal) -> Appointment {
        timePassed(moment)
        if let known = appointments[id], known.status != .pending { throw Self.wrongState(known) }
        return try cancel(id, by: "staff", reason: reason, revision: revision, moment)
    }

    @discardableResult mutating func cancel(_ appointment: Appointment, by: String, reason: String?, _ now: Timestamp) -> Appointment {
        var appointment = appointment
        appointment.status = .cancelled
        appointment.cancelledBy = by
        appointment.cancelReason = reason
        appointment.pendingUntil = nil
        freed(.appointment(appointment.id), appointment.place)
        beginsNoMore(appointment.service, appointment.start)
        return changed(appointment, now)
    }

    private func keepToCutoff(_ appointment: Appointment, _ now: Timestamp) throws(Refusal) {
        let until = appointment.start - .seconds(rules.cutoffMinutes * 60)
        guard now < until else {
            throw Refusal(
                .conflict,
                "policy_cutoff",
                "O prazo para alterar este agendamento terminou; fale com a empresa.",
                facts: ["until": until.description]
            )
        }
    }

    /// It took place (`completed`), or nobody came (`noShow`).
    package mutating func ended(_ id: AppointmentID, as status: Appointment.Status, revision: Int64? = nil, _ moment: Moment) throws(Refusal)
        -> Appointment
    {
        timePassed(moment)
        var appointment = try present(id, revision: revision)
        if appointment.status == status { return appointment }
        // One may be told from the other later.
        guard appointment.status != .cancelled else { throw Self.wrongState(appointment) }
        if appointment.status.isBlocking { freed(.appointment(id), appointment.place) }
        appointment.status = status
        appointment.pendingUntil = nil
        let result = changed(appointment, moment.now)
        offerWhatIsFree(moment)
        return result
    }

    package struct Move: Sendable {
        package var start: Timestamp?
        /// `.some(nil)`: whoever has room.
        package var staff: StaffID??
        package var durationMinutes: Int?
        package var force: String?
        package var revision: Int64?
        package var isByClient = false

        package init() {}
    }

    package mutating func reschedule(_ id: AppointmentID, _ move: Move, _ moment: Moment) throws(Refusal) -> Appointment {
        timePassed(moment)
        var appointment = try present(id, revision: move.revision)
        guard appointment.status.isBlocking else { throw Self.wrongState(appointment) }
        if move.isByClient { try keepToCutoff(appointment, moment.now) }
        let staff: StaffID? = move.staff ?? (move.isByClient ? nil : appointment.staff)
        let start = move.start ?? appointment.start
        let wish = try wish(
            appointment.service,
            staff: staff,
            durationMinutes: move.durationMinutes ?? appointment.durationMinutes,
            isPublic: move.isByClient,
            now: moment.now
        )
        let holder = Holder.appointment(id)
        let placement: Placement
        if let reason = move.force {
            guard let resource = wish.resources.first(where: { $0 == appointment.place.resource }) ?? wish.resources.first else {
                throw objection(wish, start, now: moment.now)
            }
            let blocked = (start - .milliseconds(wish.before))..<(start + .milliseconds(wish.length + wish.after))
            placement = Placement(resource: resource, lane: 1, seat: 1, session: moment.id(), blocked: blocked)
            appointment.forcedReason = reason
        } else {
            guard let place = place(wish, start, ignoring: holder, preferring: appointment.place.resource) else {
                throw objection(wish, start, now: moment.now)
            }
            placement = place.placement(moment.id())
            appointment.forcedReason = nil
        }
        freed(holder, appointment.place)
        beginsNoMore(appointment.service, appointment.start)
        effects.formerStarts[id] = appointment.start
        appointment.place = placement
        appointment.start = start
        appointment.end = start + .milliseconds(wish.length)
        appointment.durationMinutes = Int(wish.length / 60_000)
        appointment.timezone = rules.zone.identifier
        if move.isByClient, appointment.status == .confirmed, !(wish.service.confirmsAtOnce ?? rules.confirmsAtOnce) {
            appointment.status = .pending
            appointment.pendingUntil = rules.pendingMinutes.map { moment.now + .seconds($0 * 60) }
            due(appointment.pendingUntil)
        }
        took(holder, appointment.service, appointment.start, appointment.end, placement)
        let result = changed(appointment, moment.now)
        offerWhatIsFree(moment)
        return result
    }

    /// What does not touch the time.
    package struct Details: Sendable {
        package var clientName: String?
        package var clientWhatsapp: String?
        package var clientEmail: String??
        package var notes: String??
        package var internalNotes: String??
        package var customFields: String??

        package init() {}

        package var isEmpty: Bool {
            clientName == nil && clientWhatsapp == nil && clientEmail == nil && notes == nil && internalNotes == nil && customFields == nil
        }
    }

    package mutating func update(_ id: AppointmentID, _ details: Details, revision: Int64? = nil, _ moment: Moment) throws(Refusal) -> Appointment {
        timePassed(moment)
        var appointment = try present(id, revision: revision)
        if let name = details.clientName { appointment.clientName = name }
        if let whatsapp = details.clientWhatsapp { appointment.clientWhatsapp = whatsapp }
        if let email = details.clientEmail { appointment.clientEmail = email }
        if let notes = details.notes { appointment.notes = notes }
        if let notes = details.internalNotes { appointment.internalNotes = notes }
        if let fields = details.customFields { appointment.customFields = fields }
        return changed(appointment, moment.now)
    }

    // MARK: Series

    package struct Recurrence: Sendable {
        package enum Frequency: String, Sendable, CaseIterable { case daily, weekly, monthly }

        package let frequency: Frequency
        package let interval: Int
        package let count: Int
        /// Times that are not to be had are left out; else none is booked.
        package let skipsUnavailable: Bool

        package static let maxCount = 104

        package init(frequency: Frequency, interval: Int, count: Int, skipsUnavailable: Bool) {
            self.frequency = frequency
            self.interval = interval
            self.count = count
            self.skipsUnavailable = skipsUnavailable
        }
    }

    /// The starts of a series, at the same time by the wall clock; one that the clock skips is `nil`, and a month without the day has none.
    package func starts(_ recurrence: Recurrence, from start: Timestamp) -> [Timestamp?] {
        let first = rules.zone.day(of: start)
        let time = rules.zone.local(start.milliseconds) - first.local
        return (0..<recurrence.count).map { number in
            let day: CivilDay?
            switch recurrence.frequency {
            case .daily: day = first + number * recurrence.interval
            case .weekly: day = first + number * recurrence.interval * 7
            case .monthly: day = first.adding(months: number * recurrence.interval)
            }
            return day.flatMap { rules.zone.instants(local: $0.local + time).first }.map { Timestamp(milliseconds: $0) }
        }
    }

    package mutating func book(
        _ request: BookingRequest,
        _ recurrence: Recurrence,
        _ moment: Moment
    ) throws(Refusal) -> (made: [Appointment], unavailable: [String]) {
        timePassed(moment)
        var trial = self
        var made: [Appointment] = []
        var unavailable: [String] = []
        var failure: Refusal?
        let series: SeriesID = moment.id()
        for start in starts(recurrence, from: request.start) {
            guard let start else {
                unavailable.append("-")
                continue
            }
            var one = request
            one.start = start
            one.series = series
            do throws(Refusal) { made.append(try trial.made(one, moment)) } catch {
                guard error.kind == .conflict else { throw error }
                failure = failure ?? error
                unavailable.append(start.description)
            }
        }
        if !unavailable.isEmpty, !recurrence.skipsUnavailable || made.isEmpty {
            var refusal = Refusal(.conflict, "series_unavailable", "Alguns horários da série não estão disponíveis; nada foi agendado.")
            refusal.lists["unavailable"] = unavailable
            refusal.lists["alternatives"] = failure?.lists["alternatives"]
            throw refusal
        }
        self = trial
        return (made, unavailable)
    }

    /// Those of a series that are still to come, from one on.
    package func following(_ id: AppointmentID) -> [AppointmentID] {
        guard let appointment = appointments[id], let series = appointment.series else { return [id] }
        return appointments.values.filter { $0.series == series && $0.start >= appointment.start && $0.status.isBlocking }
            .sorted { $0.start < $1.start }.map(\.id)
    }

    // MARK: The waiting list

    package mutating func join(_ entry: WaitlistEntry, isPublic: Bool, _ moment: Moment) throws(Refusal) -> WaitlistEntry {
        timePassed(moment)
        guard waitlist.count < Self.maxWaiting else {
            throw Refusal(.tooMany, "waitlist_full", "A lista de espera está cheia.", retryAfterSeconds: 60)
        }
        _ = try wish(entry.service, staff: entry.staff, isPublic: isPublic, now: moment.now)
        waitlist[entry.id] = entry
        effects.waitlist.append(entry.id)
        offer(to: [entry.id], moment)
        return waitlist[entry.id] ?? entry
    }

    package mutating func leave(_ id: WaitlistID, _ moment: Moment) throws(Refusal) -> WaitlistEntry {
        timePassed(moment)
        guard let entry = waitlist[id] else { throw .notFound(.waitlistEntry) }
        guard entry.status == .waiting || entry.status == .offered else { return entry }
        waitlist[id]?.status = .left
        effects.waitlist.append(id)
        if let hold = entry.hold.flatMap({ holds[$0] }) { end(hold, lapsed: false) }
        offerWhatIsFree(moment)
        return waitlist[id] ?? entry
    }

    /// Books what was offered.
    package mutating func accept(_ id: WaitlistID, _ moment: Moment) throws(Refusal) -> Appointment {
        timePassed(moment)
        guard let entry = waitlist[id] else { throw .notFound(.waitlistEntry) }
        guard entry.status == .offered, let hold = entry.hold, let start = entry.offeredStart else {
            throw Refusal(.conflict, "no_offer", "Não há oferta em aberto para esta espera.", facts: ["status": entry.status.rawValue])
        }
        var request = BookingRequest(service: entry.service, start: start, clientName: entry.clientName, clientWhatsapp: entry.clientWhatsapp)
        request.clientEmail = entry.clientEmail
        request.hold = hold
        request.source = "waitlist"
        return try made(request, moment)
    }

    /// Times that have become free go to those who wait, the longest first; each as a hold of theirs, so that nobody comes in between.
    mutating func offerWhatIsFree(_ moment: Moment) {
        guard !waitlist.isEmpty, !effects.touched.isEmpty else { return }
        let touched = effects.touched
        let waiting = waitlist.values.filter { entry in
            entry.status == .waiting && touched.contains { $0.lowerBound < entry.until + .seconds(86_400) && entry.from < $0.upperBound }
        }
        offer(to: waiting.sorted { ($0.createdAt, $0.id) < ($1.createdAt, $1.id) }.map(\.id), moment)
    }

    /// Whoever waits under a client's number or e-mail waits no more, and is forgotten.
    mutating func forgetWaiting(under keys: Set<String>, _ moment: Moment) {
        for var entry in waitlist.values where Client.key(whatsapp: entry.clientWhatsapp, email: entry.clientEmail).map(keys.contains) ?? false {
            if entry.status == .waiting || entry.status == .offered { entry.status = .left }
            entry.clientName = Appointment.blankName
            entry.clientWhatsapp = ""
            entry.clientEmail = nil
            waitlist[entry.id] = entry
            effects.waitlist.append(entry.id)
            if let hold = entry.hold.flatMap({ holds[$0] }) { end(hold, lapsed: false) }
        }
        offerWhatIsFree(moment)
    }

    private mutating func offer(to entries: [WaitlistID], _ moment: Moment) {
        for id in entries {
            guard var entry = waitlist[id], entry.status == .waiting, holds.count < Self.maxHolds,
                let wish = try? wish(entry.service, staff: entry.staff, now: moment.now),
                let start = slots(wish, in: entry.from..<entry.until).first, let place = place(wish, start)
            else { continue }
            let hold = keep(place, seconds: rules.waitlistOfferMinutes * 60, waitlist: id, owner: nil, moment)
            entry.status = .offered
            entry.hold = hold.id
            entry.offeredStart = hold.start
            entry.offerUntil = hold.expiresAt
            waitlist[id] = entry
            effects.waitlist.append(id)
        }
    }
}

extension CivilDay {
    /// The same day of a later month; `nil` where that month has none.
    func adding(months: Int) -> CivilDay? {
        let parts = description.split(separator: "-").compactMap { Int($0) }
        let month = parts[1] - 1 + months
        func two(_ number: Int) -> String { number < 10 ? "0\(number)" : "\(number)" }
        return CivilDay("\(parts[0] + month / 12)-\(two(month % 12 + 1))-\(two(parts[2]))")
    }
}
