package import Kernel

extension CalendarBook {
    /// - Parameter isPublic: asked by its client, who is shown no more than is theirs.
    package func present(_ id: AppointmentID, revision: Int64? = nil, isPublic: Bool = false) throws(Refusal) -> Appointment {
        guard let appointment = appointments[id] else { throw .notFound(.appointment) }
        if let revision, revision != appointment.revision {
            throw .stale("O agendamento", revision: appointment.revision, current: appointment.json(of: owner, isPublic: isPublic))
        }
        return appointment
    }

    static func wrongState(_ appointment: Appointment) -> Refusal {
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
        let appointment = try present(id, revision: revision, isPublic: by == "client")
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

    func keepToCutoff(_ appointment: Appointment, _ now: Timestamp) throws(Refusal) {
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
        guard moment.now >= appointment.start else {
            throw Refusal(
                .conflict,
                "invalid_state",
                "O agendamento ainda não começou; cancele-o, se não vai acontecer.",
                facts: ["status": appointment.status.rawValue, "start_time": appointment.start.description]
            )
        }
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

        /// Whether it is for another time, somebody else, or another length than there is.
        package func changes(_ appointment: Appointment) -> Bool {
            (start ?? appointment.start) != appointment.start || (durationMinutes ?? appointment.durationMinutes) != appointment.durationMinutes
                || (staff ?? appointment.staff) != appointment.staff
        }
    }

    package mutating func reschedule(_ id: AppointmentID, _ move: Move, _ moment: Moment) throws(Refusal) -> Appointment {
        timePassed(moment)
        var appointment = try present(id, revision: move.revision, isPublic: move.isByClient)
        guard appointment.status.isBlocking else { throw Self.wrongState(appointment) }
        if move.isByClient { try keepToCutoff(appointment, moment.now) }
        let staff: StaffID? = move.staff ?? (move.isByClient ? nil : appointment.staff)
        let start = move.start ?? appointment.start
        let wish = try wish(
            appointment.service,
            staff: staff,
            durationMinutes: move.durationMinutes ?? appointment.durationMinutes,
            isPublic: move.isByClient,
            isMove: !move.isByClient,
            now: moment.now
        )
        let holder = Holder.appointment(id)
        let placement: Placement
        if let reason = move.force {
            try requireNear(start, moment.now)
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
        took(holder, appointment.service, appointment.start, appointment.end, placement, isForced: appointment.isForced)
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
        if let whatsapp = details.clientWhatsapp {
            appointment.clientWhatsapp = whatsapp
            // It is whoever has the number. One that nobody has is this appointment's alone: the client keeps theirs.
            if let key = Client.key(whatsapp: whatsapp, email: nil), let known = try clients.find(key: key, at: moment.now), known.isListed {
                appointment.client = known.id
            }
        }
        if let email = details.clientEmail { appointment.clientEmail = email }
        if let notes = details.notes { appointment.notes = notes }
        if let notes = details.internalNotes { appointment.internalNotes = notes }
        if let fields = details.customFields { appointment.customFields = fields }
        return changed(appointment, moment.now)
    }
}
