import HTTPTypes
import Hummingbird
import Identity
import Kernel
import NIOCore
import Scheduling
import Tenancy
import Wire

/// contracts/agendazap.md "Agendamentos", at its own paths, with what belongs to them: holds, series, the waiting list, calendar files.
extension API {
    /// Of one question about availability.
    static let maxAvailabilityDays = 62

    func addAppointments(to router: Router<APIContext>) {
        let base = "/api/appointments"
        router.get("\(base)") { request, context -> Response in
            let principal = try await principal(request, context)
            let zone = try await zone(principal.tenant)
            return .json(try await operations.appointments(try filter(request, zone), try request.page(defaultSize: 20), principal.tenant))
        }
        router.post("\(base)") { request, context -> Response in
            let principal = try await principal(request, context)
            guard principal.role.canAttend else { throw Refusal.viewerOnly }
            let idempotencyKey = try request.idempotencyKey
            let bytes = try await request.bytes(upTo: Request.maxBodyBytes)
            var fields = try RequestFields(try Request.json(bytes))
            var booking = fields.booking()
            booking.internalNotes = fields.optionalText("internal_notes", max: 5000)
            booking.durationMinutes = fields.optionalInteger("duration_minutes", in: 5...1440).map(Int.init)
            if fields.optionalBool("force") == true { booking.force = fields.optionalText("force_reason", min: 1, max: 500) ?? "Encaixe" }
            let recurrence = try fields.recurrence()
            try fields.check()
            let request = booking
            if let recurrence {
                let (made, unavailable) = try await operations.changeCalendar(by: principal) { book, moment throws(Refusal) in
                    try book.book(request, recurrence, moment)
                }
                return .json(status: .created) {
                    $0.field("series_id", made.first?.series?.description)
                    $0.list("appointments") { for appointment in made { appointment.write(to: &$0) } }
                    $0.field("unavailable", strings: unavailable)
                }
            }
            let made = try await operations.book(
                request,
                key: try key(idempotencyKey, bytes),
                who: principal.user.description,
                digest: Self.digest(bytes),
                principal.tenant
            )
            context.notes.note("appointment_id", made.id)
            return .json(made.json(withToken: true), status: .created)
        }
        router.get("\(base)/availability") { request, context -> Response in
            let principal = try await principal(request, context)
            return .json(try await availability(request, principal.tenant, isPublic: false))
        }
        router.get("\(base)/stats") { request, context -> Response in
            let principal = try await principal(request, context)
            let filter = try filter(request, try await zone(principal.tenant))
            return .json(try await operations.appointmentStats(from: filter.from, until: filter.until, principal.tenant))
        }
        addHolds(to: router)
        addFeed(to: router)
        addWaitlist(to: router)

        router.get("\(base)/:id") { request, context -> Response in
            let principal = try await principal(request, context)
            return .json(try await appointment(try context.identifier(.appointment), principal.tenant).json(withToken: principal.role.canAttend))
        }
        router.get("\(base)/:id/calendar.ics") { request, context -> Response in
            let principal = try await principal(request, context)
            let appointment = try await appointment(try context.identifier(.appointment), principal.tenant)
            return await invitation(appointment, principal.tenant)
        }
        router.put("\(base)/:id") { request, context -> Response in
            let principal = try await principal(request, context)
            let id: AppointmentID = try context.identifier(.appointment)
            return .json(try await update(id, try await request.fields(), by: principal).json(withToken: true))
        }
        router.delete("\(base)/:id") { request, context -> Response in
            let principal = try await principal(request, context)
            let id: AppointmentID = try context.identifier(.appointment)
            return try await cancel(id, try await request.fields(), scope: request.query("scope"), reason: request.query("reason"), by: principal)
        }
        router.post("\(base)/:id/cancel") { request, context -> Response in
            let principal = try await principal(request, context)
            let id: AppointmentID = try context.identifier(.appointment)
            return try await cancel(id, try await request.fields(), scope: nil, reason: nil, by: principal)
        }
        router.post("\(base)/:id/decline") { request, context -> Response in
            let principal = try await principal(request, context)
            let id: AppointmentID = try context.identifier(.appointment)
            var fields = try await request.fields()
            let reason = fields.reason()
            let revision = fields.revision()
            try fields.check()
            let declined = try await operations.changeCalendar(by: principal, bringingIn: id) { book, moment throws(Refusal) in
                if let known = book.appointments[id], known.status != .pending {
                    throw Refusal(
                        .conflict,
                        "invalid_state",
                        "Só um agendamento pendente pode ser recusado.",
                        facts: ["status": known.status.rawValue]
                    )
                }
                return try book.cancel(id, by: "staff", reason: reason, revision: revision, moment)
            }
            return .json(declined.json(withToken: true))
        }
        router.post("\(base)/:id/reschedule") { request, context -> Response in
            let principal = try await principal(request, context)
            let id: AppointmentID = try context.identifier(.appointment)
            var fields = try await request.fields()
            let move = fields.move(isRequired: true)
            try fields.check()
            let moved = try await operations.changeCalendar(by: principal, bringingIn: id) { book, moment throws(Refusal) in
                try book.reschedule(id, move, moment)
            }
            return .json(moved.json(withToken: true))
        }
        for verb in ["confirm", "complete", "no-show"] {
            router.post("\(base)/:id/\(verb)") { request, context -> Response in
                let principal = try await principal(request, context)
                let id: AppointmentID = try context.identifier(.appointment)
                var fields = try await request.fields()
                let revision = fields.revision()
                try fields.check()
                let changed = try await operations.changeCalendar(by: principal, bringingIn: id) { book, moment throws(Refusal) in
                    switch verb {
                    case "confirm": try book.confirm(id, revision: revision, moment)
                    case "complete": try book.ended(id, as: .completed, revision: revision, moment)
                    default: try book.ended(id, as: .noShow, revision: revision, moment)
                    }
                }
                return .json(changed.json(withToken: true))
            }
        }
    }

    // MARK: Parts

    func zone(_ tenant: TenantID) async throws -> Zone {
        try await operations.readCalendar(of: tenant) { book, _ throws(Refusal) in book.rules.zone }
    }

    func appointment(_ id: AppointmentID, _ tenant: TenantID) async throws -> Appointment {
        try await operations.readCalendar(of: tenant, bringingIn: id) { book, _ throws(Refusal) in
            guard let appointment = book.appointments[id] else { throw .notFound(.appointment) }
            return appointment
        }
    }

    /// The key of a request, from its header or its body.
    func key(_ header: String?, _ bytes: [UInt8]) throws(Refusal) -> String? {
        guard let json = try Request.json(bytes), let key = json["idempotency_key"]?.string else { return header }
        guard (1...128).contains(key.utf8.count) else {
            throw .invalid("idempotency_key", message: "deve ter de 1 a 128 caracteres", type: "string_length")
        }
        return key
    }

    static func digest(_ bytes: [UInt8]) -> String { Operations.digest(bytes) }

    private func filter(_ request: Request, _ zone: Zone) throws(Refusal) -> Operations.AppointmentFilter {
        var filter = Operations.AppointmentFilter()
        filter.text = request.query("query") ?? request.query("q")
        if let text = request.query("status") {
            filter.statuses = Set(text.split(separator: ",").map(String.init))
            let known = Set(Appointment.Status.allCases.map(\.rawValue))
            guard filter.statuses.isSubset(of: known) else {
                throw .invalid([.init(["query", "status"], "deve ser um destes: \(known.sorted().joined(separator: ", "))", type: "enum")])
            }
        }
        filter.service = try request.id("service_id")
        filter.staff = try request.id("staff_id")
        filter.client = try request.id("client_id")
        filter.series = try request.id("series_id")
        filter.source = request.query("source")
        if let day = try request.day("date", zone) { (filter.from, filter.until) = (zone.start(of: day), zone.end(of: day)) }
        if let day = try request.day("start_date", zone) { filter.from = zone.start(of: day) }
        if let day = try request.day("end_date", zone) { filter.until = zone.end(of: day) }
        switch request.query("order") {
        case nil, "asc": break
        case "desc": filter.latestFirst = true
        default: throw .invalid([.init(["query", "order"], "deve ser asc ou desc", type: "enum")])
        }
        return filter
    }

    /// `{available_slots, conflicts, …}` of a date, or of the dates from one to another; `conflicts` of a single date only.
    func availability(_ request: Request, _ tenant: TenantID, isPublic: Bool) async throws -> [UInt8] {
        let service: ServiceID = try request.requiredID("service_id")
        let staff: StaffID? = try request.id("staff_id")
        let zone = try await zone(tenant)
        let duration = request.query("duration") == nil ? nil : try request.integer("duration", in: 5...1440, default: 60)
        let single = try request.day("date", zone)
        let from = try request.day("start_date", zone) ?? single ?? zone.day(of: environment.now())
        let until = try request.day("end_date", zone) ?? (single ?? from)
        guard from <= until, until.number - from.number < Self.maxAvailabilityDays else {
            throw Refusal.invalid([
                .init(["query", "end_date"], "deve ser de 0 a \(Self.maxAvailabilityDays - 1) dias depois de start_date", type: "date_range")
            ])
        }
        let range = zone.start(of: from)..<zone.end(of: until)
        // Of one date, also what is in the way. What is in the turn is what the live calendar has to look at; the rest is written beside it.
        let showsConflicts = !isPublic && from == until
        let found = try await operations.readCalendar(of: tenant) { book, now throws(Refusal) in
            let wish = try book.wish(service, staff: staff, durationMinutes: isPublic ? nil : duration, isPublic: isPublic, now: now)
            let conflicts =
                !showsConflicts
                ? []
                : book.appointments.values.filter {
                    $0.status.isBlocking && $0.start < range.upperBound && range.lowerBound < $0.end && (staff == nil || $0.staff == staff)
                }
            return (slots: book.slots(wish, in: range), conflicts: conflicts, minutes: book.services[service]?.durationMinutes ?? 0)
        }
        var writer = JSONWriter(capacity: 32 * found.slots.count + 1024)
        writer.object {
            $0.field("service_id", service.description)
            $0.field("timezone", zone.identifier)
            $0.list("available_slots") { for slot in found.slots { $0.string(slot.description) } }
            $0.field("duration_minutes", isPublic ? found.minutes : duration ?? found.minutes)
            $0.list("conflicts") { list in
                for appointment in found.conflicts.sorted(by: { ($0.start, $0.id) < ($1.start, $1.id) }).prefix(500) {
                    list.object {
                        $0.field("appointment_id", appointment.id.description)
                        $0.field("staff_id", appointment.staff?.description)
                        $0.field("start_time", appointment.start.description)
                        $0.field("end_time", appointment.end.description)
                        $0.field("status", appointment.status.rawValue)
                    }
                }
            }
        }
        return writer.bytes
    }

    // MARK: Changes

    private func update(_ id: AppointmentID, _ fields: RequestFields, by principal: Principal) async throws -> Appointment {
        var fields = fields
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
        let reason = fields.reason()
        try fields.check()
        let (wanted, changes) = (status.flatMap(Appointment.Status.init(rawValue:)), details)
        let isMove = move.start != nil || move.staff != nil || move.durationMinutes != nil
        return try await operations.changeCalendar(by: principal, bringingIn: id) { book, moment throws(Refusal) in
            // All of it or nothing.
            var trial = book
            guard var appointment = trial.appointments[id] else { throw .notFound(.appointment) }
            var revision = move.revision
            if isMove {
                appointment = try trial.reschedule(id, move, moment)
                revision = nil
            }
            if !changes.isEmpty {
                appointment = try trial.update(id, changes, revision: revision, moment)
                revision = nil
            }
            switch wanted {
            case nil: break
            case .pending?:
                guard appointment.status == .pending else { throw Refusal(.conflict, "invalid_state", "Um agendamento não volta a ficar pendente.") }
            case .confirmed?: appointment = try trial.confirm(id, revision: revision, moment)
            case .cancelled?: appointment = try trial.cancel(id, by: "staff", reason: reason, revision: revision, moment)
            case .completed?: appointment = try trial.ended(id, as: .completed, revision: revision, moment)
            case .noShow?: appointment = try trial.ended(id, as: .noShow, revision: revision, moment)
            }
            book = trial
            return appointment
        }
    }

    private func cancel(_ id: AppointmentID, _ fields: RequestFields, scope: String?, reason: String?, by principal: Principal) async throws
        -> Response
    {
        var fields = fields
        let why = fields.reason() ?? reason.map { String($0.prefix(500)) }
        let scope = fields.optionalText("scope", max: 16) ?? scope ?? "this"
        if !["this", "following"].contains(scope) { fields.refuse("scope", "deve ser this ou following", type: "enum") }
        let revision = fields.revision()
        try fields.check()
        let cancelled = try await operations.changeCalendar(by: principal, bringingIn: id) { book, moment throws(Refusal) in
            let others = scope == "following" ? book.following(id).filter { $0 != id } : []
            let cancelled = try book.cancel(id, by: "staff", reason: why, revision: revision, moment)
            for other in others { _ = try book.cancel(other, by: "staff", reason: why, moment) }
            return cancelled
        }
        return .json(cancelled.json(withToken: true))
    }

    // MARK: Holds

    private func addHolds(to router: Router<APIContext>) {
        router.post("/api/appointments/holds") { request, context -> Response in
            let principal = try await principal(request, context)
            guard principal.role.canAttend else { throw Refusal.viewerOnly }
            var fields = try await request.fields()
            let service: ServiceID? = fields.id("service_id", isRequired: true)
            let staff: StaffID? = fields.id("staff_id")
            let start = fields.time("start_time")
            let duration = fields.optionalInteger("duration_minutes", in: 5...1440).map(Int.init)
            try fields.check()
            let hold = try await operations.hold(
                service!,
                staff: staff,
                start: start,
                durationMinutes: duration,
                isPublic: false,
                key: try request.idempotencyKey,
                who: principal.user.description,
                principal.tenant
            )
            return .json(hold.json, status: .created)
        }
        router.delete("/api/appointments/holds/:id") { request, context -> Response in
            let principal = try await principal(request, context)
            let id: HoldID = try context.identifier(.hold)
            try await operations.changeCalendar(by: principal) { book, moment throws(Refusal) in try book.release(id, moment) }
            return Response(status: .noContent)
        }
    }

    // MARK: Calendar files

    func invitation(_ appointment: Appointment, _ tenant: TenantID) async -> Response {
        let name = await directory.tenant(tenant)?.name ?? ""
        let method: CalendarFile.Method = appointment.status == .cancelled ? .cancel : .request
        return Self.calendar(CalendarFile.text([appointment], businessName: name, method: method), "agendamento.ics", method)
    }

    private static func calendar(_ text: String, _ filename: String, _ method: CalendarFile.Method) -> Response {
        Response(
            status: .ok,
            headers: [
                .contentType: "text/calendar; charset=utf-8; method=\(method.rawValue)", .cacheControl: "no-store",
                .contentDisposition: "attachment; filename=\"\(filename)\"",
            ],
            body: ResponseBody(byteBuffer: ByteBuffer(string: text))
        )
    }

    private func addFeed(to router: Router<APIContext>) {
        router.get("/api/appointments/feed") { request, context -> Response in
            let principal = try await principal(request, context)
            return try await feedAddress(try await operations.feedToken(isNew: false, by: principal), principal.tenant)
        }
        // The old address is of no use from now on.
        router.post("/api/appointments/feed/rotate") { request, context -> Response in
            let principal = try await principal(request, context)
            return try await feedAddress(try await operations.feedToken(isNew: true, by: principal), principal.tenant)
        }
        router.get("/api/appointments/feed.ics") { request, _ -> Response in
            guard let slug = request.query("business"), let token = request.query("token"), let tenant = await directory.tenant(slug: slug) else {
                throw Refusal.notFound(.tenant)
            }
            let wanted = try await operations.readCalendar(of: tenant.id) { book, _ throws(Refusal) in book.rules.feedToken }
            guard let wanted, Self.isSame(wanted, token) else { throw Refusal.notFound(.tenant) }
            let text = CalendarFile.text(try await operations.feed(tenant.id), businessName: tenant.name, method: .publish)
            return Self.calendar(text, "agenda.ics", .publish)
        }
    }

    private func feedAddress(_ token: String, _ tenant: TenantID) async throws -> Response {
        let slug = await directory.tenant(tenant)?.slug ?? ""
        return .json { $0.field("path", "/api/appointments/feed.ics?business=\(slug)&token=\(token)") }
    }

    /// In a time that does not tell how much of it was right.
    static func isSame(_ a: String, _ b: String) -> Bool {
        let (a, b) = (Array(a.utf8), Array(b.utf8))
        return a.count == b.count && zip(a, b).reduce(0 as UInt8) { $0 | $1.0 ^ $1.1 } == 0
    }

    // MARK: The waiting list

    private func addWaitlist(to router: Router<APIContext>) {
        router.get("/api/appointments/waitlist") { request, context -> Response in
            let principal = try await principal(request, context)
            let page = try request.page()
            let all = try await operations.readCalendar(of: principal.tenant) { book, _ throws(Refusal) in
                book.waitlist.values.sorted { ($0.createdAt, $0.id) < ($1.createdAt, $1.id) }
            }
            let start = min((page.number - 1) * page.size, all.count)
            return .json {
                $0.list("waitlist") { for entry in all[start..<min(start + page.size, all.count)] { entry.write(to: &$0) } }
                $0.page(page, total: all.count)
            }
        }
        router.post("/api/appointments/waitlist") { request, context -> Response in
            let principal = try await principal(request, context)
            guard principal.role.canAttend else { throw Refusal.viewerOnly }
            var fields = try await request.fields()
            return .json(try await join(try fields.waitlistEntry(environment.moment()), principal.tenant, isPublic: false), status: .created)
        }
        router.delete("/api/appointments/waitlist/:id") { request, context -> Response in
            let principal = try await principal(request, context)
            let id: WaitlistID = try context.identifier(.waitlistEntry)
            let left = try await operations.changeCalendar(by: principal) { book, moment throws(Refusal) in try book.leave(id, moment) }
            return .json(left.json())
        }
        router.post("/api/appointments/waitlist/:id/accept") { request, context -> Response in
            let principal = try await principal(request, context)
            let id: WaitlistID = try context.identifier(.waitlistEntry)
            let made = try await operations.changeCalendar(by: principal) { book, moment throws(Refusal) in try book.accept(id, moment) }
            return .json(made.json(withToken: true), status: .created)
        }
    }

    func join(_ entry: WaitlistEntry, _ tenant: TenantID, isPublic: Bool) async throws -> [UInt8] {
        try await operations.changeCalendar(of: tenant) { book, moment throws(Refusal) in try book.join(entry, isPublic: isPublic, moment) }
            .json(withToken: true)
    }
}

extension RequestFields {
    /// What every booking says, whoever makes it. `service_id` stands in for itself until `check`.
    mutating func booking() -> BookingRequest {
        let service: ServiceID? = id("service_id", isRequired: true)
        var booking = BookingRequest(
            service: service ?? ServiceID(UniqueID(high: 0, low: 0)),
            start: time("start_time"),
            clientName: text("client_name", max: 255),
            clientWhatsapp: whatsapp("client_whatsapp", isRequired: true) ?? ""
        )
        booking.staff = id("staff_id")
        booking.clientEmail = email("client_email")
        booking.notes = optionalText("notes", max: 5000)
        booking.source = optionalText("source", max: 100)
        booking.customFields = object("custom_fields")
        booking.hold = id("hold_id")
        return booking
    }

    mutating func reason() -> String? {
        optionalText("reason", min: 1, max: 500) ?? optionalText("cancellation_reason", min: 1, max: 500)
    }

    mutating func revision() -> Int64? { optionalInteger("revision", in: 0...Int64.max) }

    mutating func move(isRequired: Bool) -> CalendarBook.Move {
        var move = CalendarBook.Move()
        move.start = isRequired ? time("start_time") : optionalTime("start_time")
        if has("staff_id") { move.staff = .some(id("staff_id")) }
        move.durationMinutes = optionalInteger("duration_minutes", in: 5...1440).map(Int.init)
        move.revision = revision()
        if optionalBool("force") == true { move.force = optionalText("force_reason", min: 1, max: 500) ?? "Encaixe" }
        return move
    }

    /// `recurrence: {frequency, interval?, count, skip_unavailable?}`
    mutating func recurrence() throws(Refusal) -> CalendarBook.Recurrence? {
        guard let json = json("recurrence") else { return nil }
        var fields = try RequestFields(json, location: "recurrence")
        let name = fields.text("frequency", max: 16)
        let frequency = CalendarBook.Recurrence.Frequency(rawValue: name)
        if !name.isEmpty, frequency == nil { fields.refuse("frequency", "deve ser daily, weekly ou monthly", type: "enum") }
        let interval = Int(fields.optionalInteger("interval", in: 1...52) ?? 1)
        let count = Int(fields.integer("count", in: 2...Int64(CalendarBook.Recurrence.maxCount)))
        let skips = fields.optionalBool("skip_unavailable") ?? false
        try fields.check()
        return CalendarBook.Recurrence(frequency: frequency ?? .weekly, interval: interval, count: count, skipsUnavailable: skips)
    }

    mutating func waitlistEntry(_ moment: Moment) throws(Refusal) -> WaitlistEntry {
        let service: ServiceID? = id("service_id", isRequired: true)
        let staff: StaffID? = id("staff_id")
        let (from, until) = (time("from"), time("until"))
        if until <= from { refuse("until", "deve ser depois de from") }
        if until > from + .seconds(92 * 86_400) { refuse("until", "deve ser no máximo 92 dias depois de from") }
        let name = text("client_name", max: 255)
        let whatsapp = whatsapp("client_whatsapp", isRequired: true)
        let email = email("client_email")
        try check()
        return WaitlistEntry(
            id: moment.id(),
            service: service ?? ServiceID(UniqueID(high: 0, low: 0)),
            staff: staff,
            from: from,
            until: until,
            clientName: name,
            clientWhatsapp: whatsapp ?? "",
            clientEmail: email,
            moment
        )
    }
}
