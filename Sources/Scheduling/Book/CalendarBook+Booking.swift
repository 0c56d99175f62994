package import Kernel

extension CalendarBook {
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

    mutating func keep(_ place: Place, seconds: Int, waitlist: WaitlistID?, owner: Asker.Owner?, _ moment: Moment) -> Hold {
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
    mutating func end(_ hold: Hold, lapsed: Bool) {
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

    mutating func made(_ request: BookingRequest, _ moment: Moment) throws(Refusal) -> Appointment {
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
            guard request.staff == nil || request.staff == hold.place.resource.staff else {
                throw Refusal(.conflict, "hold_mismatch", "A reserva temporária é de outro profissional.")
            }
            let minutes = Int((hold.end - hold.start).inMilliseconds / 60_000)
            guard request.durationMinutes == nil || request.durationMinutes == minutes else {
                var refusal = Refusal(
                    .conflict,
                    "hold_mismatch",
                    "A reserva temporária é de \(minutes) minutos; agende com esta duração, ou reserve de novo com outra."
                )
                refusal.numbers = ["duration_minutes": minutes]
                throw refusal
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
            try requireNear(request.start, moment.now)
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
        // What was held was free: it takes its seat like any other, whatever was said of force.
        appointment.forcedReason = held == nil ? request.force : nil
        if service.confirmsAtOnce ?? rules.confirmsAtOnce {
            appointment.status = .confirmed
        } else {
            appointment.pendingUntil = rules.pendingMinutes.map { moment.now + .seconds($0 * 60) }
        }
        took(.appointment(id), service.id, start, end, placement, isForced: appointment.isForced)
        allowance.take(.appointment)
        put(appointment, at: moment.now)
        due(appointment.pendingUntil)
        if let entry = held?.waitlist, waitlist[entry]?.status == .offered {
            waitlist[entry]?.status = .booked
            effects.waitlist.append(entry)
        }
        return appointment
    }

    /// Over the rules' own bounds the staff may put something, but not where nobody meant to: another year typed by mistake.
    func requireNear(_ start: Timestamp, _ now: Timestamp) throws(Refusal) {
        guard abs(start.milliseconds - now.milliseconds) <= Int64(Self.maxForcedYears * 366) * 86_400_000 else {
            throw .invalid(
                "start_time",
                message: "deve estar a no máximo \(Self.maxForcedYears) anos de hoje, também num encaixe",
                type: "date_range"
            )
        }
    }

    mutating func put(_ appointment: Appointment, at now: Timestamp) {
        clients.counted(appointments[appointment.id], appointment, at: now)
        if !effects.appointments.contains(appointment.id) {
            effects.appointments.append(appointment.id)
            effects.before[appointment.id] = appointments[appointment.id]
        }
        appointments[appointment.id] = appointment
    }

    /// Puts back an entry of the waiting list with the version that its row was given. What is over is remembered for a while: the store has it.
    mutating func keep(_ entry: WaitlistEntry, at now: Timestamp) {
        waitlist[entry.id] = entry
        if !entry.isOpen { endedWaiting.append((entry.id, now)) }
    }

    mutating func forgetEnded(at now: Timestamp) {
        let over = endedWaiting.prefix { $0.at + Self.endedLast <= now }.count
        let count = max(over, endedWaiting.count - Self.maxEnded)
        guard count > 0 else { return }
        for (id, _) in endedWaiting.prefix(count) where waitlist[id].map({ !$0.isOpen }) ?? false { waitlist[id] = nil }
        endedWaiting.removeFirst(count)
    }
}
