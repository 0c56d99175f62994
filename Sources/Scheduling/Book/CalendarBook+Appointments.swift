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
    }

    /// Whether it is for another time, somebody else, or another length than there is. Whoever asks for anybody has somebody, as long as they attend the service.
    package func changes(_ appointment: Appointment, by move: Move) -> Bool {
        if let start = move.start, start != appointment.start { return true }
        if let minutes = move.durationMinutes, minutes != appointment.durationMinutes { return true }
        guard let wanted = move.staff, wanted != appointment.staff else { return false }
        guard wanted == nil, let service = services[appointment.service] else { return true }
        return (try? resources(service, nil).contains(appointment.place.resource)) != true
    }

    package mutating func reschedule(_ id: AppointmentID, _ move: Move, _ moment: Moment) throws(Refusal) -> Appointment {
        timePassed(moment)
        var appointment = try present(id, revision: move.revision, isPublic: move.isByClient)
        guard appointment.status.isBlocking else { throw Self.wrongState(appointment) }
        // Said twice, as after an answer that got lost, it is done once.
        if move.force == nil, !changes(appointment, by: move) { return appointment }
        if move.isByClient {
            try keepToCutoff(appointment, moment.now)
            appointment.clientMoves = try moved(appointment, moment.now)
        }
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
            let (resource, now) = (appointment.place.resource, moment.now)
            guard let forced = forcedPlace(wish, start, ignoring: holder, preferring: resource, now: now) else {
                throw objection(wish, start, ignoring: holder, now: now)
            }
            placement = forced.place.placement(moment.id())
            (appointment.forcedReason, appointment.liesOver) = (reason, forced.liesOver)
        } else {
            guard let place = place(wish, start, ignoring: holder, preferring: appointment.place.resource) else {
                throw objection(wish, start, ignoring: holder, now: moment.now)
            }
            placement = place.placement(moment.id())
            (appointment.forcedReason, appointment.liesOver) = (nil, false)
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
        took(holder, appointment.service, appointment.start, appointment.end, placement, liesOver: appointment.liesOver)
        let result = changed(appointment, moment.now)
        offerWhatIsFree(moment)
        return result
    }

    /// How often its client will have moved it: a few times a day, as each time somebody is told.
    private func moved(_ appointment: Appointment, _ now: Timestamp) throws(Refusal) -> Appointment.Moves {
        guard let moves = appointment.clientMoves, now < moves.since + Self.movesCounted else { return Appointment.Moves(count: 1, since: now) }
        guard moves.count < Self.maxMovesByClient else {
            throw Refusal(
                .tooMany,
                "too_many_moves",
                "Este agendamento já foi remarcado \(Self.maxMovesByClient) vezes em um dia; fale com a empresa.",
                retryAfterSeconds: Int((moves.since + Self.movesCounted - now).inMilliseconds / 1000) + 1
            )
        }
        return Appointment.Moves(count: moves.count + 1, since: moves.since)
    }

    package static let maxMovesByClient: Int64 = 5
    static let movesCounted = Duration.seconds(86_400)

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
        // What is as it was changes nothing, and nobody else's view of it is stale for it.
        var isChanged = false
        func set<T: Equatable>(_ path: WritableKeyPath<Appointment, T>, _ value: T?, in appointment: inout Appointment) {
            guard let value, appointment[keyPath: path] != value else { return }
            appointment[keyPath: path] = value
            isChanged = true
        }
        let formerKey = Client.key(whatsapp: appointment.clientWhatsapp, email: nil)
        set(\.clientName, details.clientName, in: &appointment)
        set(\.clientWhatsapp, details.clientWhatsapp, in: &appointment)
        // It is whoever has the number, where that is another. One that nobody has is this appointment's alone: the client keeps theirs.
        if let key = Client.key(whatsapp: appointment.clientWhatsapp, email: nil), key != formerKey,
            let known = try clients.find(key: key, at: moment.now), known.isListed
        {
            appointment.client = known.id
        }
        set(\.clientEmail, details.clientEmail, in: &appointment)
        set(\.notes, details.notes, in: &appointment)
        set(\.internalNotes, details.internalNotes, in: &appointment)
        set(\.customFields, details.customFields, in: &appointment)
        return isChanged ? changed(appointment, moment.now) : appointment
    }
}
