package import Kernel

extension CalendarBook {
    // MARK: When there is room

    /// What is asked for, with the rules that count for it.
    package struct Wish: Sendable {
        let service: Service
        package let resources: [Resource]
        let length: Int64
        let before: Int64
        let after: Int64
        let step: Int64
        let earliest: Int64
        let latest: Int64

        package var isPossible: Bool { !resources.isEmpty }

        /// What it would take, if it began then.
        func slot(_ start: Int64) -> Slot {
            Slot(service: service.id, start: start, end: start + length, from: start - before, until: start + length + after)
        }
    }

    /// - Throws: when there is no such service, or nobody of that name who does it.
    /// - Parameter isMove: it is booked already, and only moved: also when the service is no longer on offer.
    package func wish(
        _ id: ServiceID,
        staff: StaffID? = nil,
        durationMinutes: Int? = nil,
        isPublic: Bool = false,
        isMove: Bool = false,
        now: Timestamp
    ) throws(Refusal) -> Wish {
        guard let service = services[id], service.removedAt == nil else { throw .notFound(.service) }
        guard service.isActive || isMove, !isPublic || service.isPublic else {
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
            // What begins now is over for whoever would hold it.
            earliest: now.milliseconds + max(notice, 1),
            latest: rules.zone.end(of: lastDay).milliseconds
        )
    }

    func resources(_ service: Service, _ wanted: StaffID?) throws(Refusal) -> [Resource] {
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
    package func slots(_ wish: Wish, in range: Range<Timestamp>) -> [Timestamp] { slots(wish, in: range, ignoring: nil) }

    func slots(_ wish: Wish, in range: Range<Timestamp>, ignoring holder: Holder?) -> [Timestamp] {
        var starts: [Int64] = []
        for resource in wish.resources {
            eachSlot(wish, of: resource, in: range.lowerBound.milliseconds..<range.upperBound.milliseconds, ignoring: holder) { slot, _ in
                starts.append(slot.start)
            }
        }
        // In order already where one is asked, but for a clock that is put back over midnight; runs in order where several are.
        starts.sort()
        var found: [Timestamp] = []
        found.reserveCapacity(starts.count)
        for start in starts where found.last?.milliseconds != start { found.append(Timestamp(milliseconds: start)) }
        return found
    }

    /// The first of them, as many as are wanted.
    func firstSlots(_ wish: Wish, in range: Range<Timestamp>, _ count: Int) -> [Timestamp] {
        let lower = max(range.lowerBound, Timestamp(milliseconds: wish.earliest))
        let upper = min(range.upperBound, Timestamp(milliseconds: wish.latest))
        guard lower < upper else { return [] }
        var found: [Timestamp] = []
        var day = rules.zone.day(of: lower)
        while found.count < count, rules.zone.start(of: day) < upper {
            found += slots(wish, in: max(lower, rules.zone.start(of: day))..<min(upper, rules.zone.end(of: day)))
            day = day + 1
        }
        return Array(found.prefix(count))
    }

    struct WorkingPeriod {
        let start: Int64
        let end: Int64
        /// Where the periods end that follow this one without a break.
        let runEnd: Int64
        let anchor: Int64
    }

    func periods(_ resource: Resource, on day: CivilDay) -> [Period] {
        guard let id = resource.staff, let member = staff.first(where: { $0.id == id }) else { return rules.periods(on: day) }
        if let own = member.overrides[day] { return own }
        if let common = rules.overrides[day] { return common }
        return member.weekly?.days[day.weekday] ?? rules.periods(on: day)
    }

    func bounds(_ period: Period, on day: CivilDay) -> (start: Int64, end: Int64) {
        let zone = rules.zone
        let end = period.closes == 1440 ? zone.end(of: day).milliseconds : zone.closing(local: day.local + Int64(period.closes) * 60_000)
        return (zone.opening(local: day.local + Int64(period.opens) * 60_000), end)
    }

    func working(_ resource: Resource, on day: CivilDay) -> [WorkingPeriod] {
        let periods = periods(resource, on: day)
        var found: [WorkingPeriod] = []
        // Where the clock is put back at the end of one period, the next begins once that has ended, and not at the same time the first time round.
        var ended = Int64.min
        for (index, period) in periods.enumerated() {
            let (opens, end) = bounds(period, on: day)
            let start = max(opens, ended)
            guard start < end else { continue }
            ended = end
            var runEnd = end
            var (next, rest) = (day, periods[(index + 1)...])
            // Over any number of midnights, though hardly anybody is open for a week.
            var days = 0
            while true {
                if let following = rest.first {
                    let (start, end) = bounds(following, on: next)
                    guard start <= runEnd else { break }
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

    func day(of instant: Int64) -> CivilDay { rules.zone.day(of: Timestamp(milliseconds: instant)) }

    func eachSlot(
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
        let common = common(to: resource)
        let isLimited = !rules.limits.isEmpty || !wish.service.limits.isEmpty
        var day = day(of: range.lowerBound)
        while rules.zone.start(of: day).milliseconds < range.upperBound {
            if isLimited, limitReached(wish, on: day, ignoring: holder) != nil {
                day = day + 1
                continue
            }
            for period in working(resource, on: day) {
                // On leave all the while: most searches that find nothing are for months of it.
                if off.contains(where: { $0.start.milliseconds <= period.start && period.end <= $0.end.milliseconds }) { continue }
                let starts = max(period.start, range.lowerBound)..<max(max(period.start, range.lowerBound), min(period.end, range.upperBound))
                rules.zone.forEachStart(in: starts, anchor: period.anchor, step: wish.step) { start in
                    let slot = wish.slot(start)
                    guard slot.end <= period.runEnd else { return }
                    if !off.isEmpty, off.contains(where: { $0.start.milliseconds < slot.end && slot.start < $0.end.milliseconds }) { return }
                    if common.contains(where: { $0.isBusy(slot.from, slot.until, ignoring: holder) }) { return }
                    guard let own else {
                        return body(slot, .begun(slot, wish.service.seats))
                    }
                    if let fit = own.fit(slot, lanes: lanes, seats: wish.service.seats, ignoring: holder) { body(slot, fit) }
                }
            }
            day = day + 1
        }
    }

    /// What the business has keeps everybody busy. Where nobody of the staff is left, what they were given is the business's to keep.
    private func common(to resource: Resource) -> [Occupancy] {
        resource.staff == nil ? occupancy.filter { $0.key.staff != nil }.map(\.value) : occupancy[.business(tenant)].map { [$0] } ?? []
    }

    private func isBusy(_ resource: Resource, _ slot: Slot, ignoring holder: Holder?) -> Bool {
        common(to: resource).contains { $0.isBusy(slot.from, slot.until, ignoring: holder) }
    }

    func lanes(of resource: Resource) -> Int {
        resource.staff.flatMap { id in staff.first { $0.id == id }?.capacity } ?? rules.capacity
    }

    // MARK: One start

    struct Place {
        let resource: Resource
        let slot: Slot
        let fit: Occupancy.Fit

        func placement(_ session: AppointmentID) -> Placement {
            Placement(
                resource: resource,
                lane: fit.lane,
                seat: fit.seat,
                session: fit.session ?? session,
                blocked: Timestamp(milliseconds: fit.blocked.lowerBound)..<Timestamp(milliseconds: fit.blocked.upperBound)
            )
        }
    }

    /// Who gets it: of those with room, whoever has the least on that day; then whoever was given something the longest ago; then the first.
    func place(_ wish: Wish, _ start: Timestamp, ignoring holder: Holder? = nil, preferring: Resource? = nil) -> Place? {
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

    /// Where the staff puts something whatever the rules say: where there is room, as anybody would; else on a lane that is free then; else over what is there.
    /// - Returns: nothing where nobody attends.
    func forcedPlace(_ wish: Wish, _ start: Timestamp, ignoring holder: Holder? = nil, preferring: Resource? = nil, now: Timestamp)
        -> (place: Place, liesOver: Bool)?
    {
        if let place = place(wish, start, ignoring: holder, preferring: preferring) { return (place, false) }
        guard let first = wish.resources.first(where: { $0 == preferring }) ?? wish.resources.first else { return nil }
        let slot = wish.slot(start.milliseconds)
        // Of what is over not everything is here: nothing is known to be free then.
        if start > now {
            for resource in [first] + wish.resources where !isBusy(resource, slot, ignoring: holder) {
                let occupied = occupancy[resource] ?? Occupancy()
                guard let fit = occupied.fit(slot, lanes: lanes(of: resource), seats: wish.service.seats, ignoring: holder) else { continue }
                return (Place(resource: resource, slot: slot, fit: fit), false)
            }
        }
        let fit = (occupancy[first] ?? Occupancy()).fit(slot, lanes: lanes(of: first), seats: 1, ignoring: holder)
        return (Place(resource: first, slot: slot, fit: .begun(slot, 1, lane: fit?.lane ?? 1)), true)
    }

    /// Why there is no room at a start, for whoever wanted it.
    func objection(_ wish: Wish, _ start: Timestamp, ignoring holder: Holder? = nil, now: Timestamp) -> Refusal {
        var refusal: Refusal
        if wish.resources.isEmpty {
            refusal = Refusal(.conflict, "staff_unavailable", "Nenhum profissional ativo atende este serviço.")
        } else if start <= now {
            refusal = Refusal(.conflict, "too_soon", "Este horário já passou.")
        } else if start.milliseconds < wish.earliest {
            refusal = Refusal(.conflict, "too_soon", "Este horário está próximo demais; agende com mais antecedência.")
        } else if start.milliseconds >= wish.latest {
            refusal = Refusal(.conflict, "too_far", "Este horário está distante demais para ser agendado agora.")
        } else if let (scope, isOfService) = limitReached(wish, on: rules.zone.day(of: start), ignoring: holder) {
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
        refusal.lists["alternatives"] = alternatives(wish, to: start, ignoring: holder).map(\.description)
        return refusal
    }

    /// Whether it would do, if nothing were booked.
    func isStart(_ wish: Wish, _ resource: Resource, _ start: Int64) -> Bool {
        working(resource, on: day(of: start)).contains { period in
            var isFound = false
            let range = max(period.start, start)..<max(max(period.start, start), min(period.end, start + 1))
            rules.zone.forEachStart(in: range, anchor: period.anchor, step: wish.step) { isFound = isFound || $0 == start }
            return isFound && start + wish.length <= period.runEnd
        }
    }

    /// The starts nearest to one that cannot be had: of its day, and else of the two weeks that follow.
    func alternatives(_ wish: Wish, to start: Timestamp, ignoring holder: Holder? = nil) -> [Timestamp] {
        let day = rules.zone.day(of: max(start, Timestamp(milliseconds: wish.earliest)))
        var found = slots(wish, in: rules.zone.start(of: day)..<rules.zone.end(of: day), ignoring: holder)
        found.sort { abs($0.milliseconds - start.milliseconds) < abs($1.milliseconds - start.milliseconds) }
        var next = day + 1
        while found.count < Self.maxAlternatives, next.number - day.number <= 14 {
            found += slots(wish, in: rules.zone.start(of: next)..<rules.zone.end(of: next), ignoring: holder)
            next = next + 1
        }
        return found.prefix(Self.maxAlternatives).sorted()
    }
}
