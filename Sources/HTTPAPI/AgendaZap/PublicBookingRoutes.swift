import HTTPTypes
import Hummingbird
import Identity
import Kernel
import Plans
import Scheduling
import Storage
import Tenancy
import Wire

/// What anybody may do who comes to a business's public page: see when there is room, hold, book, and look after what is theirs. Nothing of others is told.
/// Without a credential, and limited per address. The business is named by `slug`, `tenant_id`, or the id of one of its users (`user_id`).
extension API {
    func addPublicBooking(to router: Router<APIContext>) {
        let base = "/api/appointments/public"
        // A token for the channel `booking:<slug>`, and what there is to book.
        router.post("\(base)/sessions") { request, context -> Response in
            var fields = try await request.fields()
            let business = try await business(&fields)
            let (token, seconds) = try await directory.guestToken(of: business.slug, tenant: business.id)
            let catalogue = try await operations.publicCatalogue(business.id)
            return .json(status: .created) {
                $0.field("token", token)
                $0.field("token_type", "bearer")
                $0.field("expires_in", seconds)
                $0.field("channel", "booking:\(business.slug)")
                $0.field("business_name", business.name)
                $0.field("catalogue", raw: catalogue)
            }
        }
        router.get("\(base)/availability") { request, context -> Response in
            let named = request.query("service_id").flatMap { ServiceID($0) }
            let business =
                if let named, request.isOfNoBusiness, let tenant = try await tenant(of: named) {
                    try await self.business(["tenant_id": tenant.description])
                } else {
                    try await self.business(try request.business())
                }
            return .json(try await availability(request, business.id, isPublic: true))
        }
        router.post("\(base)/holds") { request, context -> Response in
            var fields = try await request.fields()
            let business = try await business(&fields)
            let service: ServiceID? = fields.id("service_id", isRequired: true)
            let staff: StaffID? = fields.id("staff_id")
            let start = fields.time("start_time")
            try fields.check()
            let hold = try await operations.hold(
                service!,
                staff: staff,
                start: start,
                durationMinutes: nil,
                isPublic: true,
                key: try request.idempotencyKey,
                who: address(of: request, context),
                by: Asker(.guest),
                business.id,
                admit: allowances.publicHold(address(of: request, context), at: environment.now())
            )
            return .json(hold.json, status: .created)
        }
        // Who knows a hold's id has made it.
        router.delete("\(base)/holds/:id") { request, context -> Response in
            let business = try await self.business(try request.business(), isNew: false)
            let id: HoldID = try context.identifier(.hold)
            try await operations.changeCalendar(of: business.id) { book, moment throws(Refusal) in
                try book.release(id, by: Asker(.guest), moment)
            }
            return Response(status: .noContent)
        }
        router.post("\(base)") { request, context -> Response in
            let body = try await request.json()
            var fields = try RequestFields(body)
            let business = try await business(&fields)
            var booking = fields.booking()
            try fields.check()
            booking.isPublic = true
            booking.asker = Asker(.guest)
            booking.source = booking.source ?? "public"
            let (wanted, key) = (booking, try Operations.idempotencyKey(body, try request.idempotencyKey))
            let who = address(of: request, context)
            // Whoever holds the time was weighed when they took it, and who asks a second time is answered as before.
            let admit = allowances.publicHold(who, at: environment.now())
            let made = try await discreetly { () throws(Refusal) in
                try await operations.book(wanted, key: key, who: who, digest: Operations.digest(body), business.id, admit: admit)
            }
            context.notes.note("appointment_id", made.id)
            return .json(made.json(of: operations.owner(business.id), isPublic: true, withToken: true), status: .created)
        }

        addPublicWaitlist(to: router)
        router.get("\(base)/:id") { request, context -> Response in
            let (tenant, appointment) = try await own(request, context)
            return .json(appointment.json(of: operations.owner(tenant), isPublic: true))
        }
        router.get("\(base)/:id/calendar.ics") { request, context -> Response in
            let (tenant, appointment) = try await own(request, context)
            return await invitation(appointment, tenant)
        }
        // Of each of these somebody is told.
        router.post("\(base)/:id/cancel") { request, context -> Response in
            try allowances.takePublicHold(address(of: request, context), at: environment.now())
            let (tenant, appointment) = try await own(request, context)
            var fields = try await request.fields()
            let (reason, revision) = (fields.reason(), fields.revision())
            try fields.check()
            let cancelled = try await operations.changeCalendar(of: tenant, bringingIn: appointment.id) { book, moment throws(Refusal) in
                try book.cancel(appointment.id, by: "client", reason: reason, revision: revision, moment)
            }
            return .json(cancelled.json(of: operations.owner(tenant), isPublic: true))
        }
        router.post("\(base)/:id/reschedule") { request, context -> Response in
            try allowances.takePublicHold(address(of: request, context), at: environment.now())
            let (tenant, appointment) = try await own(request, context)
            var fields = try await request.fields()
            var move = CalendarBook.Move()
            move.start = fields.time("start_time")
            move.revision = fields.revision()
            move.isByClient = true
            try fields.check()
            let wanted = move
            let moved = try await operations.changeCalendar(of: tenant, bringingIn: appointment.id) { book, moment throws(Refusal) in
                try book.reschedule(appointment.id, wanted, moment)
            }
            return .json(moved.json(of: operations.owner(tenant), isPublic: true))
        }
    }

    private func addPublicWaitlist(to router: Router<APIContext>) {
        router.post("/api/appointments/public/waitlist") { request, context -> Response in
            try allowances.takePublicHold(address(of: request, context), at: environment.now())
            var fields = try await request.fields()
            let business = try await business(&fields)
            var wish = try fields.waitlistEntry(environment.moment())
            if settings.publicHolds != nil { wish.origin = address(of: request, context) }
            let entry = wish
            let joined = try await operations.changeCalendar(of: business.id) { book, moment throws(Refusal) in
                try book.join(entry, isPublic: true, moment)
            }
            return .json(joined.json(withToken: true), status: .created)
        }
        router.get("/api/appointments/public/waitlist/:id") { request, context -> Response in
            let (_, entry) = try await ownEntry(request, context)
            return .json(entry.json())
        }
        router.delete("/api/appointments/public/waitlist/:id") { request, context -> Response in
            let (tenant, entry) = try await ownEntry(request, context)
            let left = try await operations.changeCalendar(of: tenant) { book, moment throws(Refusal) in try book.leave(entry.id, moment) }
            return .json(left.json())
        }
        router.post("/api/appointments/public/waitlist/:id/accept") { request, context -> Response in
            let (tenant, entry) = try await ownEntry(request, context)
            let made = try await discreetly { () throws(Refusal) in
                try await operations.changeCalendar(of: tenant) { book, moment throws(Refusal) in try book.accept(entry.id, moment) }
            }
            return .json(made.json(of: operations.owner(tenant), isPublic: true, withToken: true), status: .created)
        }
    }

    /// What the business's plan has to do with it is not the public's affair.
    private func discreetly<T>(_ body: () async throws(Refusal) -> T) async throws(Refusal) -> T {
        do throws(Refusal) { return try await body() } catch { throw error.forThePublic }
    }

    // MARK: Whose

    struct Business {
        let id: TenantID
        let slug: String
        let name: String
    }

    private func business(_ fields: inout RequestFields) async throws -> Business {
        var named: [String: String] = [:]
        for name in ["slug", "tenant_id", "user_id"] { named[name] = fields.optionalText(name, min: 1, max: 64) }
        // A service is one business's: the contract's own body names no other.
        if named.isEmpty, let service: ServiceID = fields.id("service_id") { named["tenant_id"] = try await tenant(of: service)?.description }
        if named.isEmpty { fields.refuse("slug", "informe slug, tenant_id ou user_id", type: "missing") }
        try fields.check()
        return try await business(named)
    }

    private func tenant(of service: ServiceID) async throws -> TenantID? {
        var row = try await store.rows(
            Query("SELECT tenant_id FROM services WHERE id = ? AND removed_at IS NULL", [.id(service)], kinds: [.uuid])
        ).first
        return row?.id()
    }

    /// - Parameter isNew: something is to be made, for which it has to be open. What somebody has is theirs, whatever the business closes.
    private func business(_ named: [String: String], isNew: Bool = true) async throws -> Business {
        let found =
            if let slug = named["slug"] {
                directory.tenant(slug: slug)
            } else if let id = named["tenant_id"].flatMap({ TenantID($0) }) {
                await directory.tenant(id)
            } else if let id = named["user_id"].flatMap({ UserID($0) }) {
                try await directory.tenant(of: id)
            } else {
                nil as Identity.Tenant?
            }
        guard let found else { throw Refusal.notFound(.tenant) }
        guard isNew else { return Business(id: found.id, slug: found.slug, name: found.name) }
        let isPublic = try await operations.readCalendar(of: found.id) { book, _ throws(Refusal) in book.rules.isPublic }
        guard isPublic else { throw Refusal(.forbidden, "public_booking_off", "Esta empresa não aceita agendamentos pela página pública.") }
        return Business(id: found.id, slug: found.slug, name: found.name)
    }

    /// An appointment for whoever has its token. A wrong one is answered as if there were none.
    private func own(_ request: Request, _ context: APIContext) async throws -> (TenantID, Appointment) {
        let business = try await self.business(try request.business(), isNew: false)
        let found = try await appointment(try context.identifier(.appointment), business.id)
        guard let token = request.query("token"), Secret.isEqual(token, found.manageToken) else { throw Refusal.notFound(.appointment) }
        return (business.id, found)
    }

    private func ownEntry(_ request: Request, _ context: APIContext) async throws -> (TenantID, WaitlistEntry) {
        let business = try await self.business(try request.business(), isNew: false)
        let id: WaitlistID = try context.identifier(.waitlistEntry)
        let found = try await operations.readCalendar(of: business.id) { book, _ throws(Refusal) in book.waitlist[id] }
        guard let found, let token = request.query("token"), Secret.isEqual(token, found.token) else { throw Refusal.notFound(.waitlistEntry) }
        return (business.id, found)
    }
}

extension Request {
    fileprivate var isOfNoBusiness: Bool { ["slug", "tenant_id", "user_id"].allSatisfy { query($0) == nil } }

    fileprivate func business() throws(Refusal) -> [String: String] {
        var named: [String: String] = [:]
        for name in ["slug", "tenant_id", "user_id"] { named[name] = query(name) }
        guard !named.isEmpty else { throw .invalid([.init(["query", "slug"], "informe slug, tenant_id ou user_id", type: "missing")]) }
        return named
    }
}
