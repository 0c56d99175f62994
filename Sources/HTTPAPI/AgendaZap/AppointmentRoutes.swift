import HTTPTypes
import Hummingbird
import Identity
import Kernel
import NIOCore
import OrderedCollections
import Scheduling
import Tenancy
import Wire

/// contracts/agendazap.md "Agendamentos", at its own paths, with what belongs to them: holds, series, the waiting list, calendar files.
extension API {
    /// Of one question about availability.
    static let maxAvailabilityDays = 62
    /// Days looked at in one turn, times the members of the staff: nobody else of the business waits for who asks for months.
    private static let daysInATurn = 120

    func addAppointments(to router: Router<APIContext>) {
        let base = "/api/appointments"
        router.get("\(base)") { request, context -> Response in
            let principal = try await principal(request, context)
            let zone = try await zone(principal.tenant)
            return .json(try await operations.appointments(try filter(request, zone), try request.page(defaultSize: 20), principal.tenant))
        }
        router.post("\(base)") { request, context -> Response in
            let principal = try await principal(request, context)
            let key = try request.idempotencyKey
            return .json(try await operations.book(try await request.json(), key: key, by: principal), status: .created)
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
            let found = try await appointment(try context.identifier(.appointment), principal.tenant)
            return .json(found.json(of: operations.owner(principal.tenant), withToken: principal.role.canAttend))
        }
        router.get("\(base)/:id/calendar.ics") { request, context -> Response in
            let principal = try await principal(request, context)
            let appointment = try await appointment(try context.identifier(.appointment), principal.tenant)
            return await invitation(appointment, principal.tenant)
        }
        router.put("\(base)/:id") { request, context -> Response in try await act(.update, request, context) }
        // What stands behind the question mark is for clients that send no body with a DELETE.
        router.delete("\(base)/:id") { request, context -> Response in
            guard let body = try await request.json() else {
                var said = OrderedDictionary<String, JSON>()
                for name in ["scope", "reason"] { said[name] = request.query(name).map { .string(String($0.prefix(500))) } }
                return try await act(.cancel, request, context, .object(said))
            }
            return try await act(.cancel, request, context, body)
        }
        for verb in Operations.AppointmentVerb.allCases where verb != .update {
            router.post("\(base)/:id/\(verb.rawValue)") { request, context -> Response in try await act(verb, request, context) }
        }
    }

    private func act(_ verb: Operations.AppointmentVerb, _ request: Request, _ context: APIContext, _ body: JSON? = nil) async throws -> Response {
        let principal = try await principal(request, context)
        let id: AppointmentID = try context.identifier(.appointment)
        let given = if let body { body as JSON? } else { try await request.json() }
        let made = try await operations.act(verb, on: id, given, revision: try request.seenRevision, by: principal)
        return .json(made.json(of: operations.owner(principal.tenant), withToken: true))
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

    private func filter(_ request: Request, _ zone: Zone) throws(Refusal) -> Operations.AppointmentFilter {
        var filter = Operations.AppointmentFilter()
        filter.text = request.query("query") ?? request.query("q")
        if filter.text?.utf8.contains(0) ?? false {
            throw .invalid([.init(["query", request.query("query") == nil ? "q" : "query"], "não pode ter o caractere nulo", type: "value_error")])
        }
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
        // Of one date, also what is in the way. What is in the turns is what the live calendar has to look at; the rest is written beside it.
        let showsConflicts = !isPublic && from == until
        var (slots, conflicts, minutes): ([Timestamp], [Appointment], Int) = ([], [], 0)
        var day = from
        while day <= until {
            let first = day
            let found = try await operations.readCalendar(of: tenant) { book, now throws(Refusal) in
                let wish = try book.wish(service, staff: staff, durationMinutes: isPublic ? nil : duration, isPublic: isPublic, now: now)
                let last = min(until, first + (max(1, Self.daysInATurn / max(1, wish.resources.count)) - 1))
                let range = zone.start(of: first)..<zone.end(of: last)
                let conflicts =
                    !showsConflicts
                    ? []
                    : book.appointments.values.filter {
                        $0.status.isBlocking && $0.start < range.upperBound && range.lowerBound < $0.end && (staff == nil || $0.staff == staff)
                    }
                return (
                    slots: book.slots(wish, in: range), conflicts: conflicts, minutes: book.services[service]?.durationMinutes ?? 0, last: last
                )
            }
            slots += found.slots
            (conflicts, minutes, day) = (found.conflicts, found.minutes, found.last + 1)
        }
        var writer = JSONWriter(capacity: 32 * slots.count + 1024)
        writer.object {
            $0.field("service_id", service.description)
            $0.field("timezone", zone.identifier)
            $0.list("available_slots") { for slot in slots { $0.string(slot.description) } }
            $0.field("duration_minutes", isPublic ? minutes : duration ?? minutes)
            $0.list("conflicts") { list in
                for appointment in conflicts.sorted(by: { ($0.start, $0.id) < ($1.start, $1.id) }).prefix(500) {
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

    // MARK: Holds

    private func addHolds(to router: Router<APIContext>) {
        router.post("/api/appointments/holds") { request, context -> Response in
            let principal = try await principal(request, context)
            let key = try request.idempotencyKey
            return .json(try await operations.hold(try await request.json(), key: key, by: principal).json, status: .created)
        }
        router.delete("/api/appointments/holds/:id") { request, context -> Response in
            let principal = try await principal(request, context)
            try await operations.release(try context.identifier(.hold), by: principal)
            return Response(status: .noContent)
        }
    }

    // MARK: Calendar files

    func invitation(_ appointment: Appointment, _ tenant: TenantID) async -> Response {
        let name = await directory.tenant(tenant)?.name ?? ""
        let method: CalendarFile.Method = appointment.status == .cancelled ? .cancel : .request
        let text = CalendarFile.text([appointment], businessName: name, method: method, organizer: await organizer(of: tenant))
        return Self.calendar(text, "agendamento.ics", method)
    }

    /// Whom those who are invited answer to, as in the invitations that are mailed.
    private func organizer(of tenant: TenantID) async -> String {
        let own = try? await operations.addressForAnswers(tenant)
        return own.flatMap { $0 } ?? settings.mailFrom
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
            guard let slug = request.query("business"), let token = request.query("token"), let tenant = directory.tenant(slug: slug) else {
                throw Refusal.notFound(.tenant)
            }
            let wanted = try await operations.readCalendar(of: tenant.id) { book, _ throws(Refusal) in book.rules.feedToken }
            guard let wanted, Secret.isEqual(token, wanted) else { throw Refusal.notFound(.tenant) }
            let text = CalendarFile.text(
                try await operations.feed(tenant.id),
                businessName: tenant.name,
                method: .publish,
                organizer: await organizer(of: tenant.id)
            )
            return Self.calendar(text, "agenda.ics", .publish)
        }
    }

    private func feedAddress(_ token: String, _ tenant: TenantID) async throws -> Response {
        let slug = await directory.tenant(tenant)?.slug ?? ""
        return .json { $0.field("path", "/api/appointments/feed.ics?business=\(slug)&token=\(token)") }
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
            return .json(try await operations.joinWaitlist(try await request.json(), by: principal).json(withToken: true), status: .created)
        }
        router.delete("/api/appointments/waitlist/:id") { request, context -> Response in
            let principal = try await principal(request, context)
            return .json(try await operations.leaveWaitlist(try context.identifier(.waitlistEntry), by: principal).json())
        }
        router.post("/api/appointments/waitlist/:id/accept") { request, context -> Response in
            let principal = try await principal(request, context)
            let made = try await operations.acceptOffer(try context.identifier(.waitlistEntry), by: principal)
            return .json(made.json(of: operations.owner(principal.tenant), withToken: true), status: .created)
        }
    }
}
