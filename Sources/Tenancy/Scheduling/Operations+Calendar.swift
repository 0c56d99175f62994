package import Kernel
package import Scheduling
package import Storage
package import Wire

package import struct Foundation.Decimal

// Appointments, holds, the waiting list, and what is read of them. What changes them is one turn of the live calendar; lists come from the store, behind what
// was committed.

extension Operations {
    // MARK: Not in memory

    /// Reads an appointment that is over for a while.
    func bringIn(_ id: AppointmentID, _ cell: TenantCell) async throws(Refusal) {
        guard await !cell.hasAppointment(id) else { return }
        let rows = try await store.rows(
            .select(from: SchedulingTables.appointments, "WHERE tenant_id = ? AND id = ?", [.id(cell.tenant), .id(id)], tenant: cell.tenant)
        )
        try await bringIn(rows.map(Appointment.init), cell)
    }

    func bringIn(_ day: CivilDay, _ cell: TenantCell) async throws(Refusal) {
        let zone = await cell.bookingZone()
        guard zone.end(of: day) < now else { return }
        let rows = try await store.rows(
            .select(
                from: SchedulingTables.appointments,
                "WHERE tenant_id = ? AND start_time >= ? AND start_time < ? ORDER BY start_time, id LIMIT 2000",
                [.id(cell.tenant), .timestamp(zone.start(of: day)), .timestamp(zone.end(of: day))],
                tenant: cell.tenant
            )
        )
        try await bringIn(rows.map(Appointment.init), cell)
    }

    // MARK: Deciding

    /// One turn on the calendar of somebody who may change it.
    package func changeCalendar<T: Sendable>(
        by principal: Principal,
        bringingIn id: AppointmentID? = nil,
        _ body: @Sendable (inout CalendarBook, Moment) throws(Refusal) -> T
    ) async throws(Refusal) -> T {
        guard principal.role.canAttend else { throw .viewerOnly }
        return try await changeCalendar(of: principal.tenant, bringingIn: id, body)
    }

    /// The same for anybody, on whose word the caller has looked.
    package func changeCalendar<T: Sendable>(
        of tenant: TenantID,
        bringingIn id: AppointmentID? = nil,
        _ body: @Sendable (inout CalendarBook, Moment) throws(Refusal) -> T
    ) async throws(Refusal) -> T {
        try gate.admit()
        return try await tenants.use(tenant) { cell throws(Refusal) in
            if let id { try await bringIn(id, cell) }
            return try await withClients(cell) { () async throws(Refusal) in try await cell.book(body).committed() }
        }
    }

    package func readCalendar<T: Sendable>(
        of tenant: TenantID,
        bringingIn id: AppointmentID? = nil,
        _ body: @Sendable (CalendarBook, Timestamp) throws(Refusal) -> T
    ) async throws(Refusal) -> T {
        try await tenants.use(tenant) { cell throws(Refusal) in
            if let id { try await bringIn(id, cell) }
            return try await cell.readCalendar(body).committed()
        }
    }

    /// - Parameters:
    ///   - key: the client's `Idempotency-Key`; with the same one, and the same request, the answer is that of the first time.
    ///   - who: whose keys they are: a user's, or an address's.
    package func book(_ request: BookingRequest, key: String?, who: String, digest: String, _ tenant: TenantID) async throws(Refusal) -> Appointment {
        try gate.admit()
        let mark = key.map { Mark.Key(tenant: tenant, scope: "appointment", key: "\(who):\($0)") }
        return try await tenants.use(tenant) { cell throws(Refusal) in
            let earlier = try await earlier(mark)
            if let id = earlier.flatMap({ AppointmentID($0.prefix { $0 != " " }) }) { try await bringIn(id, cell) }
            return try await withClients(cell) { () async throws(Refusal) in
                try await cell.bookOnce(
                    mark,
                    digest: digest,
                    earlier: earlier,
                    again: { book, id throws(Refusal) in
                        guard let made = AppointmentID(id).flatMap({ book.appointments[$0] }) else { throw .notFound(.appointment) }
                        return made
                    },
                    { book, moment throws(Refusal) in
                        let made = try book.book(request, moment)
                        return (made, made.id.description)
                    }
                ).committed()
            }
        }
    }

    package func hold(
        _ service: ServiceID,
        staff: StaffID?,
        start: Timestamp,
        durationMinutes: Int?,
        isPublic: Bool,
        key: String?,
        who: String,
        by asker: Asker,
        _ tenant: TenantID
    ) async throws(Refusal) -> Hold {
        try gate.admit()
        let mark = key.map { Mark.Key(tenant: tenant, scope: "hold", key: "\(who):\($0)") }
        let digest = "\(service)/\(staff?.description ?? "-")/\(start)/\(durationMinutes ?? 0)"
        return try await tenants.use(tenant) { cell throws(Refusal) in
            let earlier = try await earlier(mark)
            return try await cell.bookOnce(
                mark,
                digest: digest,
                earlier: earlier,
                again: { book, id throws(Refusal) in
                    guard let hold = HoldID(id).flatMap({ book.holds[$0] }) else {
                        throw Refusal(.conflict, "hold_expired", "A reserva temporária expirou ou foi liberada; escolha o horário de novo.")
                    }
                    return hold
                },
                { book, moment throws(Refusal) in
                    let hold = try book.hold(
                        service,
                        staff: staff,
                        start: start,
                        durationMinutes: durationMinutes,
                        isPublic: isPublic,
                        by: asker,
                        moment
                    )
                    return (hold, hold.id.description)
                }
            ).committed()
        }
    }

    /// A series, all of it in one turn. With the same key the answer is that of the first time; under one key there is a series or a single appointment, not both.
    func bookSeries(
        _ request: BookingRequest,
        _ recurrence: CalendarBook.Recurrence,
        key: String?,
        who: String,
        digest: String,
        _ tenant: TenantID
    ) async throws(Refusal) -> (made: [Appointment], unavailable: [String]) {
        try gate.admit()
        let mark = key.map { Mark.Key(tenant: tenant, scope: "appointment", key: "\(who):\($0)") }
        return try await tenants.use(tenant) { cell throws(Refusal) in
            let earlier = try await earlier(mark)
            if let series = earlier.flatMap({ SeriesID($0.prefix { $0 != "|" }) }) { try await bringIn(series, cell) }
            return try await withClients(cell) { () async throws(Refusal) in
                try await cell.bookOnce(
                    mark,
                    digest: digest,
                    earlier: earlier,
                    again: { book, known throws(Refusal) in
                        let parts = known.split(separator: "|", omittingEmptySubsequences: false)
                        guard let series = SeriesID(parts[0]) else { throw .notFound(.appointment) }
                        let made = book.appointments.values.filter { $0.series == series }.sorted { ($0.start, $0.id) < ($1.start, $1.id) }
                        return (made, parts.dropFirst().last.map { $0.split(separator: ",").map(String.init) } ?? [])
                    },
                    { book, moment throws(Refusal) in
                        let (made, unavailable) = try book.book(request, recurrence, moment)
                        return ((made, unavailable), "\(made.first?.series?.description ?? "-")|\(unavailable.joined(separator: ","))")
                    }
                ).committed()
            }
        }
    }

    /// Reads those of a series that are over.
    private func bringIn(_ series: SeriesID, _ cell: TenantCell) async throws(Refusal) {
        let rows = try await store.rows(
            .select(
                from: SchedulingTables.appointments,
                "WHERE tenant_id = ? AND series_id = ?",
                [.id(cell.tenant), .id(series)],
                tenant: cell.tenant
            )
        )
        try await bringIn(rows.map(Appointment.init), cell)
    }

    func earlier(_ mark: Mark.Key?) async throws(Refusal) -> String? {
        guard let mark else { return nil }
        return try await store.marks([mark])[mark]
    }

    // MARK: What the business is made of

    package func bookingRules(_ tenant: TenantID) async throws(Refusal) -> [UInt8] {
        try await readCalendar(of: tenant) { book, _ throws(Refusal) in book.rules.json }
    }

    /// - Parameters:
    ///   - revision: what the caller has seen; another one is refused. `nil`: that of the body, or any.
    ///   - joint: committed with it, all or nothing.
    package func changeBookingRules(
        _ json: JSON?,
        revision: Int64? = nil,
        by principal: Principal,
        with joint: JointChange? = nil
    ) async throws(Refusal) -> [UInt8] {
        try principal.requireAdministrator()
        try gate.admit()
        var fields = try RequestFields(json)
        let seen = fields.revision() ?? revision
        try fields.check()
        return try await tenants.use(principal.tenant) { cell throws(Refusal) in
            try await cell.changeBookingRules(json, revision: seen, with: joint).committed()
        }
    }

    package func arrange<T: Sendable>(
        by principal: Principal,
        _ make: @Sendable (CalendarBook, Moment) throws(Refusal) -> T,
        put: @Sendable (isolated Calendar, T) -> Calendar.Decision<T>
    ) async throws(Refusal) -> T {
        try principal.requireAdministrator()
        try gate.admit()
        return try await tenants.use(principal.tenant) { cell throws(Refusal) in try await cell.arrange(make, put: put).committed() }
    }

    package func removeCategory(_ id: CategoryID, by principal: Principal) async throws(Refusal) {
        try principal.requireAdministrator()
        try gate.admit()
        try await tenants.use(principal.tenant) { cell throws(Refusal) in try await cell.removeCategory(id).committed() }
    }

    package func removeTimeOff(_ id: TimeOffID, by principal: Principal) async throws(Refusal) {
        try principal.requireAdministrator()
        try gate.admit()
        try await tenants.use(principal.tenant) { cell throws(Refusal) in try await cell.removeTimeOff(id).committed() }
    }

    package func publicCatalogue(_ tenant: TenantID) async throws(Refusal) -> [UInt8] {
        try await tenants.use(tenant) { cell throws(Refusal) in try await cell.publicCatalogue().committed() }
    }

    package func feedToken(isNew: Bool, by principal: Principal) async throws(Refusal) -> String {
        try principal.requireAdministrator()
        try gate.admit()
        return try await tenants.use(principal.tenant) { cell throws(Refusal) in try await cell.feedToken(isNew: isNew).committed() }
    }

    // MARK: Lists

    package struct AppointmentFilter: Sendable {
        package var text: String?
        package var statuses: Set<String> = []
        package var service: ServiceID?
        package var staff: StaffID?
        package var client: ClientID?
        package var series: SeriesID?
        package var source: String?
        package var from: Timestamp?
        package var until: Timestamp?
        package var latestFirst = false

        package init() {}

        func condition(of tenant: TenantID) -> (sql: String, arguments: [SQLValue]) {
            var conditions = ["tenant_id = ?"]
            var arguments: [SQLValue] = [.id(tenant)]
            func add(_ condition: String, _ value: SQLValue) {
                conditions.append(condition)
                arguments.append(value)
            }
            if !statuses.isEmpty {
                conditions.append("status IN (\(statuses.map { _ in "?" }.joined(separator: ", ")))")
                arguments += statuses.sorted().map { .text($0) }
            }
            if let service { add("service_id = ?", .id(service)) }
            if let staff { add("staff_id = ?", .id(staff)) }
            if let client { add("client_id = ?", .id(client)) }
            if let series { add("series_id = ?", .id(series)) }
            if let source { add("source = ?", .text(source)) }
            if let from { add("start_time >= ?", .timestamp(from)) }
            if let until { add("start_time < ?", .timestamp(until)) }
            if let text {
                let escaped = text.lowercased().map { "\\%_".contains($0) ? "\\\($0)" : String($0) }.joined()
                // A number is written in many ways, and searched for in one.
                let isNumber =
                    text.contains { $0.isASCII && $0.isNumber } && text.allSatisfy { $0.isASCII && ($0.isNumber || " +-().".contains($0)) }
                let wanted = isNumber ? text.filter { $0.isASCII && $0.isNumber } : escaped
                add("search_text LIKE ? ESCAPE '\\'", .text("%\(wanted)%"))
            }
            return ("WHERE " + conditions.joined(separator: " AND "), arguments)
        }
    }

    /// `{appointments, total, page, per_page, total_pages}`, by start.
    package func appointments(_ filter: AppointmentFilter, _ page: Page, _ tenant: TenantID) async throws(Refusal) -> [UInt8] {
        let (condition, arguments) = filter.condition(of: tenant)
        var total = 0
        if var row = try await store.rows(Query("SELECT COUNT(*) FROM appointments \(condition)", arguments, kinds: [.integer], tenant: tenant)).first
        {
            total = Int(row.integer())
        }
        let order = filter.latestFirst ? "start_time DESC, id DESC" : "start_time, id"
        let rows = try await store.rows(
            .select(
                from: SchedulingTables.appointments,
                "\(condition) ORDER BY \(order) LIMIT ? OFFSET ?",
                arguments + [.integer(Int64(page.size)), .integer(Int64((page.number - 1) * page.size))],
                tenant: tenant
            )
        )
        let owner = owner(tenant)
        var writer = JSONWriter(capacity: 1024 * rows.count + 128)
        writer.object {
            $0.list("appointments") { for row in rows { Appointment(row).write(to: &$0, of: owner) } }
            $0.page(page, total: total)
        }
        return writer.bytes
    }

    /// Those of a while ago and to come, for the calendar's feed.
    package func feed(_ tenant: TenantID) async throws(Refusal) -> [Appointment] {
        try await store.rows(
            .select(
                from: SchedulingTables.appointments,
                "WHERE tenant_id = ? AND start_time >= ? ORDER BY start_time, id LIMIT 5000",
                [.id(tenant), .timestamp(now - .seconds(60 * 86_400))],
                tenant: tenant
            )
        ).map(Appointment.init)
    }

    /// How many there are of each status, by service, and what they come to.
    package func appointmentStats(from: Timestamp?, until: Timestamp?, _ tenant: TenantID) async throws(Refusal) -> [UInt8] {
        var filter = AppointmentFilter()
        (filter.from, filter.until) = (from, until)
        let (condition, arguments) = filter.condition(of: tenant)
        let byStatus = try await store.rows(
            Query("SELECT status, COUNT(*) FROM appointments \(condition) GROUP BY status", arguments, kinds: [.text, .integer], tenant: tenant)
        )
        var counts: [String: Int] = [:]
        for var row in byStatus { counts[row.text()] = Int(row.integer()) }
        let perService = try await perService(condition, arguments, tenant)
        let zone = try await readCalendar(of: tenant) { book, _ throws(Refusal) in book.rules.zone }
        let today = zone.day(of: now)
        func count(_ from: CivilDay, _ until: CivilDay) async throws(Refusal) -> Int {
            let rows = try await store.rows(
                Query(
                    "SELECT COUNT(*) FROM appointments WHERE tenant_id = ? AND start_time >= ? AND start_time < ? AND status <> 'cancelled'",
                    [.id(tenant), .timestamp(zone.start(of: from)), .timestamp(zone.start(of: until))],
                    kinds: [.integer],
                    tenant: tenant
                )
            )
            guard var row = rows.first else { return 0 }
            return Int(row.integer())
        }
        let monday = today + -((today.weekday + 6) % 7)
        let (ofToday, ofWeek) = (try await count(today, today + 1), try await count(monday, monday + 7))
        let total = counts.values.reduce(0, +)
        func rate(_ status: String) -> Double { total == 0 ? 0 : Double(counts[status] ?? 0) / Double(total) }
        var writer = JSONWriter()
        writer.object { object in
            object.field("total_appointments", total)
            for status in Appointment.Status.allCases { object.field(status.rawValue, counts[status.rawValue] ?? 0) }
            object.field("today", ofToday)
            object.field("this_week", ofWeek)
            object.field("cancellation_rate", rate("cancelled"))
            object.field("no_show_rate", rate("no_show"))
            object.price("revenue", perService.reduce(0) { $0 + $1.revenue })
            object.list("by_service") { list in
                for one in perService {
                    list.object {
                        $0.field("service_id", one.id.description)
                        $0.field("name", one.name)
                        $0.field("appointments", one.count)
                        $0.price("revenue", one.revenue)
                    }
                }
            }
        }
        return writer.bytes
    }

    package struct PerService: Sendable {
        package let id: ServiceID
        package let name: String
        package let count: Int
        /// Of those that took place.
        package let revenue: Decimal
    }

    /// What was booked most, first; cancelled ones count for nothing.
    package func perService(_ tenant: TenantID) async throws(Refusal) -> [PerService] {
        let (condition, arguments) = AppointmentFilter().condition(of: tenant)
        return try await perService(condition, arguments, tenant)
    }

    private func perService(_ condition: String, _ arguments: [SQLValue], _ tenant: TenantID) async throws(Refusal) -> [PerService] {
        // Prices are exact, which a sum in the embedded store would not be: it gives each price with how often it was paid.
        let rows = try await store.rows(
            Query(
                "SELECT service_id, MIN(service_name), price, status, COUNT(*) FROM appointments \(condition) AND status <> 'cancelled' GROUP BY service_id, price, status",
                arguments,
                kinds: [.uuid, .text, .numeric, .text, .integer],
                tenant: tenant
            )
        )
        var found: [ServiceID: (name: String, count: Int, revenue: Decimal)] = [:]
        for var row in rows {
            let id: ServiceID = row.id()
            let (name, price, status, count) = (row.text(), row.optionalNumeric(), row.text(), Int(row.integer()))
            let before = found[id] ?? (name, 0, 0)
            found[id] = (name, before.count + count, before.revenue + (status == "completed" ? (price ?? 0) * Decimal(count) : 0))
        }
        return found.map { PerService(id: $0.key, name: $0.value.name, count: $0.value.count, revenue: $0.value.revenue) }
            .sorted { ($1.count, $0.name, $0.id) < ($0.count, $1.name, $1.id) }
    }
}
