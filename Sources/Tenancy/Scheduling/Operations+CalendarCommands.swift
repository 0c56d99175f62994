package import Kernel
package import Scheduling
import Storage
package import Wire

// What the staff does with the calendar, as it is posted: REST's bodies and an RPC's data are the same, and are read and carried out here.

extension Operations {
    /// What is done to one appointment, by the last part of its address (contracts/agendazap.md "Agendamentos"; protocol/README.md "Bookings").
    package enum AppointmentVerb: String, Sendable, CaseIterable {
        case update, cancel, decline, reschedule, confirm, complete
        case noShow = "no-show"
    }

    /// The RPC methods of the calendar. The ids of REST's paths are `appointment_id`, `hold_id` and `waitlist_id` of the data.
    static let calendarMethods: Set<String> = Set(AppointmentVerb.allCases.map { "appointment.\($0.rawValue)" })
        .union(["appointment.book", "appointment.hold", "appointment.release", "waitlist.join", "waitlist.leave", "waitlist.accept"])

    /// One of `calendarMethods`.
    func callCalendar(_ method: String, _ data: JSON, by principal: Principal) async throws(Refusal) -> [UInt8] {
        var fields = try RequestFields(data)
        func named<Kind>(_ name: String, _ thing: Refusal.Thing) throws(Refusal) -> Identifier<Kind> {
            let text = fields.text(name, max: 64)
            try fields.check()
            guard let id = Identifier<Kind>(text) else { throw .notFound(thing) }
            return id
        }
        switch method {
        case "appointment.book": return try await book(data, key: nil, by: principal)
        case "appointment.hold": return try await hold(data, key: try Self.idempotencyKey(data, nil), by: principal).json
        case "appointment.release":
            try await release(try named("hold_id", .hold), by: principal)
            return JSON.emptyObject.bytes
        case "waitlist.join": return try await joinWaitlist(data, by: principal).json(withToken: true)
        case "waitlist.leave": return try await leaveWaitlist(try named("waitlist_id", .waitlistEntry), by: principal).json()
        case "waitlist.accept":
            return try await acceptOffer(try named("waitlist_id", .waitlistEntry), by: principal).json(of: owner(principal.tenant), withToken: true)
        default:
            guard let verb = AppointmentVerb(rawValue: String(method.dropFirst("appointment.".count))) else { throw .notFound(.appointment) }
            return try await act(verb, on: try named("appointment_id", .appointment), data, by: principal)
                .json(of: owner(principal.tenant), withToken: true)
        }
    }

    // MARK: Booking

    /// An appointment, or with `recurrence` a series: `{series_id, appointments, unavailable}`.
    /// - Parameter key: of the header; the body's `idempotency_key` comes before it.
    package func book(_ body: JSON?, key: String?, by principal: Principal) async throws(Refusal) -> [UInt8] {
        guard principal.role.canAttend else { throw .viewerOnly }
        var fields = try RequestFields(body)
        var request = fields.booking()
        request.internalNotes = fields.optionalText("internal_notes", max: 5000)
        request.durationMinutes = fields.optionalInteger("duration_minutes", in: 5...1440).map(Int.init)
        if fields.optionalBool("force") == true { request.force = fields.optionalText("force_reason", min: 1, max: 500) ?? "Encaixe" }
        request.asker = principal.asker
        let recurrence = try fields.recurrence()
        try fields.check()
        let key = try Self.idempotencyKey(body, key)
        let digest = Self.digest(body)
        let who = principal.user.description
        let owner = owner(principal.tenant)
        guard let recurrence else {
            return try await book(request, key: key, who: who, digest: digest, principal.tenant).json(of: owner, withToken: true)
        }
        let series = try await bookSeries(request, recurrence, key: key, who: who, digest: digest, principal.tenant)
        var writer = JSONWriter(capacity: 1024 * series.made.count)
        writer.object {
            $0.field("series_id", series.made.first?.series?.description)
            $0.list("appointments") { for appointment in series.made { appointment.write(to: &$0, of: owner) } }
            $0.field("unavailable", strings: series.unavailable)
        }
        return writer.bytes
    }

    /// The key of a request, from its header or its body.
    package static func idempotencyKey(_ body: JSON?, _ header: String?) throws(Refusal) -> String? {
        guard let key = body?["idempotency_key"]?.string else { return header }
        guard (1...128).contains(key.utf8.count) else {
            throw .invalid("idempotency_key", message: "deve ter de 1 a 128 caracteres", type: "string_length")
        }
        return key
    }

    /// Of what is asked for, whichever way the key came with it.
    package static func digest(_ body: JSON?) -> String { digest(body?.removing("idempotency_key").bytes ?? []) }

    package static func digest(_ bytes: [UInt8]) -> String {
        var digest = RequestDigest()
        digest.take(bytes)
        return digest.text
    }

    // MARK: Holds

    package func hold(_ body: JSON?, key: String?, by principal: Principal) async throws(Refusal) -> Hold {
        guard principal.role.canAttend else { throw .viewerOnly }
        var fields = try RequestFields(body)
        let service: ServiceID? = fields.id("service_id", isRequired: true)
        let staff: StaffID? = fields.id("staff_id")
        let start = fields.time("start_time")
        let duration = fields.optionalInteger("duration_minutes", in: 5...1440).map(Int.init)
        try fields.check()
        guard let service else { throw .notFound(.service) }
        return try await hold(
            service,
            staff: staff,
            start: start,
            durationMinutes: duration,
            isPublic: false,
            key: key,
            who: principal.user.description,
            by: principal.asker,
            principal.tenant
        )
    }

    package func release(_ id: HoldID, by principal: Principal) async throws(Refusal) {
        let asker = principal.asker
        try await changeCalendar(by: principal) { book, moment throws(Refusal) in try book.release(id, by: asker, moment) }
    }

    // MARK: The waiting list

    package func joinWaitlist(_ body: JSON?, by principal: Principal) async throws(Refusal) -> WaitlistEntry {
        var fields = try RequestFields(body)
        let entry = try fields.waitlistEntry(environment.moment())
        return try await changeCalendar(by: principal) { book, moment throws(Refusal) in try book.join(entry, isPublic: false, moment) }
    }

    package func leaveWaitlist(_ id: WaitlistID, by principal: Principal) async throws(Refusal) -> WaitlistEntry {
        try await changeCalendar(by: principal) { book, moment throws(Refusal) in try book.leave(id, moment) }
    }

    package func acceptOffer(_ id: WaitlistID, by principal: Principal) async throws(Refusal) -> Appointment {
        try await changeCalendar(by: principal) { book, moment throws(Refusal) in try book.accept(id, moment) }
    }

    // MARK: One appointment

    /// - Parameter revision: what the caller has seen; another one is refused. `nil`: that of the body, or any.
    package func act(
        _ verb: AppointmentVerb,
        on id: AppointmentID,
        _ body: JSON?,
        revision: Int64? = nil,
        by principal: Principal
    ) async throws(Refusal) -> Appointment {
        var fields = try RequestFields(body)
        let revision = fields.revision() ?? revision
        switch verb {
        case .update: return try await update(id, fields, revision, by: principal)
        case .cancel: return try await cancel(id, fields, revision, by: principal)
        case .reschedule:
            var asked = fields.move(isRequired: true)
            asked.revision = revision
            try fields.check()
            let move = asked
            return try await changeCalendar(by: principal, bringingIn: id) { book, moment throws(Refusal) in try book.reschedule(id, move, moment) }
        case .decline, .confirm, .complete, .noShow:
            let reason = fields.reason()
            try fields.check()
            return try await changeCalendar(by: principal, bringingIn: id) { book, moment throws(Refusal) in
                switch verb {
                case .confirm: return try book.confirm(id, revision: revision, moment)
                case .complete: return try book.ended(id, as: .completed, revision: revision, moment)
                case .noShow: return try book.ended(id, as: .noShow, revision: revision, moment)
                default: return try book.decline(id, reason: reason, revision: revision, moment)
                }
            }
        }
    }

    private func cancel(
        _ id: AppointmentID,
        _ fields: RequestFields,
        _ revision: Int64?,
        by principal: Principal
    ) async throws(Refusal) -> Appointment {
        var fields = fields
        let reason = fields.reason()
        let scope = fields.optionalText("scope", max: 16) ?? "this"
        if !["this", "following"].contains(scope) { fields.refuse("scope", "deve ser this ou following", type: "enum") }
        try fields.check()
        return try await changeCalendar(by: principal, bringingIn: id) { book, moment throws(Refusal) in
            let others = scope == "following" ? book.following(id).filter { $0 != id } : []
            let cancelled = try book.cancel(id, by: "staff", reason: reason, revision: revision, moment)
            for other in others { _ = try book.cancel(other, by: "staff", reason: reason, moment) }
            return cancelled
        }
    }

    /// An object that was read and is put back with something changed is only that: what is the same in it moves nothing.
    private func update(
        _ id: AppointmentID,
        _ fields: RequestFields,
        _ revision: Int64?,
        by principal: Principal
    ) async throws(Refusal) -> Appointment {
        var fields = fields
        let service: ServiceID? = fields.id("service_id")
        var details = CalendarBook.Details()
        details.clientName = fields.optionalText("client_name", min: 1, max: 255)
        details.clientWhatsapp = fields.whatsapp("client_whatsapp", isRequired: false)
        if fields.has("client_email") { details.clientEmail = .some(fields.email("client_email")) }
        if fields.has("notes") { details.notes = .some(fields.optionalText("notes", max: 5000)) }
        if fields.has("internal_notes") { details.internalNotes = .some(fields.optionalText("internal_notes", max: 5000)) }
        if fields.has("custom_fields") { details.customFields = .some(fields.object("custom_fields")) }
        let move = fields.move(isRequired: false)
        let status = fields.optionalText("status", max: 32)
        if let status, Appointment.Status(rawValue: status) == nil {
            fields.refuse("status", "deve ser um destes: \(Appointment.Status.allCases.map(\.rawValue).joined(separator: ", "))", type: "enum")
        }
        // The contract's model says it by these as well.
        let flags = Appointment.flags.compactMap { name, _ in fields.optionalBool(name).map { (name: name, isSet: $0) } }
        let reason = fields.reason()
        try fields.check()
        let (asked, changes) = (status.flatMap(Appointment.Status.init(rawValue:)), details)
        return try await changeCalendar(by: principal, bringingIn: id) { book, moment throws(Refusal) in
            // All of it or nothing.
            var trial = book
            trial.timePassed(moment)
            var appointment = try trial.present(id, revision: revision)
            guard service == nil || service == appointment.service else {
                throw .invalid("service_id", message: "não muda: cancele este agendamento e marque outro", type: "frozen_field")
            }
            let wanted = try appointment.status(asked, flags)
            var move = move
            move.revision = nil
            if trial.changes(appointment, by: move) { appointment = try trial.reschedule(id, move, moment) }
            if !changes.isEmpty { appointment = try trial.update(id, changes, moment) }
            switch wanted {
            case nil, appointment.status?: break
            case .pending?:
                throw Refusal(.conflict, "invalid_state", "Um agendamento não volta a ficar pendente.")
            case .confirmed?: appointment = try trial.confirm(id, moment)
            case .cancelled?: appointment = try trial.cancel(id, by: "staff", reason: reason, moment)
            case .completed?: appointment = try trial.ended(id, as: .completed, moment)
            case .noShow?: appointment = try trial.ended(id, as: .noShow, moment)
            }
            book = trial
            return appointment
        }
    }
}

extension Appointment {
    /// The contract's model says by these as well in which state it is.
    fileprivate static let flags: [(name: String, shows: Set<Status>)] = [
        ("is_confirmed", [.confirmed, .completed]), ("is_cancelled", [.cancelled]), ("is_completed", [.completed]),
    ]

    /// The state that an object which is put back asks for: what is another in it than it was.
    fileprivate func status(_ asked: Status?, _ flags: [(name: String, isSet: Bool)]) throws(Refusal) -> Status? {
        func shows(_ name: String, _ status: Status) -> Bool { Self.flags.first { $0.name == name }?.shows.contains(status) ?? false }
        let turned = flags.filter { shows($0.name, status) != $0.isSet }
        var wanted = asked == status ? nil : asked
        // Completed says more than confirmed.
        if wanted == nil, let said = turned.last(where: \.isSet) { wanted = Self.said[said.name] }
        for (name, isSet) in turned where wanted.map({ shows(name, $0) != isSet }) ?? true {
            let message = isSet ? "contradiz o estado pedido" : "não volta a false: diga em status o que deve acontecer"
            throw .invalid(name, message: message, type: "value_error")
        }
        return wanted
    }

    private static let said: [String: Status] = ["is_confirmed": .confirmed, "is_cancelled": .cancelled, "is_completed": .completed]
}

extension Principal {
    /// As whom they ask for times that are held.
    var asker: Asker { Asker(.user(user), isAdministrator: role.canAdminister) }
}
