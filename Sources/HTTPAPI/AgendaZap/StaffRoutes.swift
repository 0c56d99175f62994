import Hummingbird
import Identity
import Kernel
import Scheduling
import Tenancy
import Wire

/// Hours, staff and time off: what the calendar is made of.
extension API {
    func addStaff(to router: Router<APIContext>) {
        router.get("/api/users/business-hours") { request, context -> Response in
            .json(try await operations.bookingRules(try await principal(request, context).tenant))
        }
        router.put("/api/users/business-hours") { request, context -> Response in
            let principal = try await principal(request, context)
            let revision = try request.seenRevision
            return .json(try await operations.changeBookingRules(try await request.json(), revision: revision, by: principal))
        }

        router.get("/api/staff") { request, context -> Response in
            let principal = try await principal(request, context)
            let all = try await operations.readCalendar(of: principal.tenant) { book, _ throws(Refusal) in book.staff }
            return .json { $0.list("staff") { for member in all { member.write(to: &$0) } } }
        }
        router.post("/api/staff") { request, context -> Response in
            let principal = try await principal(request, context)
            let fields = try await request.fields()
            let user = try await staffUser(fields, principal.tenant)
            let made = try await operations.arrange(by: principal) { book, moment throws(Refusal) in
                guard book.staff.count < 200 else { throw Refusal(.conflict, "too_many_staff", "Uma empresa pode ter no máximo 200 profissionais.") }
                var fields = fields
                var member = StaffMember(id: moment.id(), name: fields.text("name", max: 120), at: moment.now)
                if let user { member.user = user }
                try member.read(&fields)
                return member
            } put: {
                $0.put($1)
            }
            return Self.json(made, isNew: true)
        }
        router.get("/api/staff/:id") { request, context -> Response in
            let principal = try await principal(request, context)
            let id: StaffID = try context.identifier(.staff)
            return Self.json(
                try await operations.readCalendar(of: principal.tenant) { book, _ throws(Refusal) in
                    guard let member = book.staff.first(where: { $0.id == id }) else { throw .notFound(.staff) }
                    return member
                }
            )
        }
        router.put("/api/staff/:id") { request, context -> Response in
            let principal = try await principal(request, context)
            let id: StaffID = try context.identifier(.staff)
            let fields = try await request.fields()
            let revision = try request.seenRevision
            let user = try await staffUser(fields, principal.tenant)
            let changed = try await operations.arrange(by: principal) { book, _ throws(Refusal) in
                guard var member = book.staff.first(where: { $0.id == id }) else { throw .notFound(.staff) }
                var fields = fields
                if let seen = fields.revision() ?? revision, seen != member.version {
                    throw .stale("O profissional", revision: member.version, current: member.json)
                }
                if let name = fields.optionalText("name", min: 1, max: 120) { member.name = name }
                if fields.has("user_id") { member.user = user }
                try member.read(&fields)
                return member
            } put: {
                $0.put($1)
            }
            return Self.json(changed)
        }
        router.delete("/api/staff/:id") { request, context -> Response in
            let principal = try await principal(request, context)
            let id: StaffID = try context.identifier(.staff)
            _ = try await operations.arrange(by: principal) { book, moment throws(Refusal) in
                guard var member = book.staff.first(where: { $0.id == id }) else { throw .notFound(.staff) }
                guard !book.appointments.values.contains(where: { $0.staff == id && $0.status.isBlocking && $0.end > moment.now }) else {
                    throw Refusal(.conflict, "staff_in_use", "O profissional tem agendamentos por vir; mova-os ou cancele-os primeiro.")
                }
                member.removedAt = moment.now
                return member
            } put: {
                $0.put($1)
            }
            return Response(status: .noContent)
        }

        router.get("/api/time-off") { request, context -> Response in
            let principal = try await principal(request, context)
            let all = try await operations.readCalendar(of: principal.tenant) { book, _ throws(Refusal) in
                book.timeOff.values.sorted { ($0.start, $0.id) < ($1.start, $1.id) }
            }
            return .json { $0.list("time_off") { for off in all { off.write(to: &$0) } } }
        }
        router.post("/api/time-off") { request, context -> Response in
            let principal = try await principal(request, context)
            var fields = try await request.fields()
            let staff: StaffID? = fields.id("staff_id")
            let (start, end) = (fields.time("start_time"), fields.time("end_time"))
            let reason = fields.optionalText("reason", max: 500)
            if end <= start { fields.refuse("end_time", "deve ser depois de start_time") }
            try fields.check()
            let made = try await operations.arrange(by: principal) { book, moment throws(Refusal) in
                if let staff, !book.staff.contains(where: { $0.id == staff }) { throw .notFound(.staff) }
                guard book.timeOff.count < 5000 else { throw Refusal(.conflict, "too_much_time_off", "Há ausências demais cadastradas.") }
                return TimeOff(id: moment.id(), staff: staff, start: start, end: end, reason: reason)
            } put: {
                $0.put($1)
            }
            var writer = JSONWriter()
            made.write(to: &writer)
            return .json(writer.bytes, status: .created)
        }
        router.delete("/api/time-off/:id") { request, context -> Response in
            let principal = try await principal(request, context)
            try await operations.removeTimeOff(try context.identifier(.timeOff), by: principal)
            return Response(status: .noContent)
        }
    }

    private static func json(_ member: StaffMember, isNew: Bool = false) -> Response {
        .json(member.json, status: isNew ? .created : .ok)
    }

    private func staffUser(_ fields: RequestFields, _ tenant: TenantID) async throws -> UserID? {
        var fields = fields
        guard let id: UserID = fields.id("user_id") else {
            try fields.check()
            return nil
        }
        if try await directory.user(tenant, id) == nil { fields.refuse("user_id", "não há usuário com este id") }
        try fields.check()
        return id
    }
}

extension StaffMember {
    mutating func read(_ fields: inout RequestFields) throws(Refusal) {
        if fields.has("is_active") { isActive = fields.optionalBool("is_active") ?? true }
        if fields.has("weekly_hours") { weekly = fields.hours("weekly_hours") }
        if fields.has("overrides") { overrides = fields.overrides("overrides") ?? [:] }
        if fields.has("capacity") { capacity = fields.optionalInteger("capacity", in: 1...100).map(Int.init) }
        try fields.check()
    }
}
