import Kernel
package import Scheduling
package import Storage
import Wire

extension CalendarBook {
    /// What is still to come, or just over, of a business's calendar, and everything that it is made of.
    static func load(_ tenant: TenantID, now: Timestamp, from store: any Store) async throws(Refusal) -> CalendarBook {
        func rows(_ table: Table, _ condition: String = "", _ arguments: [SQLValue] = []) async throws(Refusal) -> [Row] {
            try await store.rows(.select(from: table, "WHERE tenant_id = ? \(condition)", [.id(tenant)] + arguments, tenant: tenant).forDeciding)
        }
        var book = CalendarBook(tenant: tenant)
        if var row = try await rows(SchedulingTables.settings).first {
            let _: TenantID = row.id()
            let json = try? JSON.parse(row.text())
            _ = row.timestamp()
            // What was valid once is, or the defaults are: a calendar opens in any case.
            book.rules = (try? BookingRules().changed(by: json)) ?? BookingRules()
            book.rules.feedToken = json?["feed_token"]?.string
            book.rules.version = row.integer()
        }
        for row in try await rows(SchedulingTables.categories) {
            let category = ServiceCategory(row)
            book.categories[category.id] = category
        }
        for row in try await rows(SchedulingTables.services, "AND removed_at IS NULL") {
            let service = Service(row)
            book.services[service.id] = service
        }
        book.staff = try await rows(SchedulingTables.staff, "AND removed_at IS NULL ORDER BY created_at, id").map(StaffMember.init)
        for row in try await rows(SchedulingTables.timeOff, "AND end_time > ?", [.timestamp(now - .seconds(86_400))]) {
            let off = TimeOff(row)
            book.timeOff[off.id] = off
        }
        // Those of the appointments that follow; whoever else is asked for is read then.
        book.clients.isWhole = false
        for client in try await StoredClients.withAppointments(after: now - .seconds(86_400), tenant, from: store) {
            book.clients.adopt(client, at: now)
        }
        // A pending one is given up also when its time is over.
        for row in try await rows(SchedulingTables.appointments, "AND end_time > ?", [.timestamp(now - .seconds(86_400))]) {
            book.adopt(Appointment(row))
        }
        // Those that were not decided on in time are given up, however long they have been over, and with what they mean for their clients.
        let undecided = try await rows(
            SchedulingTables.appointments,
            "AND pending_until IS NOT NULL AND status = 'pending' AND end_time <= ?",
            [.timestamp(now - .seconds(86_400))]
        ).map(Appointment.init)
        let strangers = Set(undecided.map(\.client)).filter { !book.clients.has($0) }
        if !strangers.isEmpty {
            for client in try await StoredClients.of(Array(strangers), tenant, from: store) { book.clients.adopt(client, at: now) }
        }
        for appointment in undecided { book.adopt(appointment, isCounted: true) }
        try await countPast(&book, tenant, now, store)
        for row in try await rows(SchedulingTables.holds) { book.adopt(Hold(row)) }
        // Whoever waited until their time was over is told so, however long that is ago.
        for row in try await rows(SchedulingTables.waitlist, "AND status IN ('waiting', 'offered')") { book.adopt(WaitlistEntry(row)) }
        for row in try await rows(
            SchedulingTables.waitlist,
            "AND ended_at > ? ORDER BY ended_at, id",
            [.timestamp(now - CalendarBook.endedLast)]
        ) {
            book.adopt(ended: WaitlistEntry(row))
        }
        book.triesAllWhoWait(at: now)
        return book
    }

    /// Limits of a week or a month count what is over by now, too.
    private static func countPast(_ book: inout CalendarBook, _ tenant: TenantID, _ now: Timestamp, _ store: any Store) async throws(Refusal) {
        let today = book.rules.zone.day(of: now)
        let from = min(today.firstOfMonth, today + -6)
        let rows = try await store.rows(
            Query(
                "SELECT service_id, start_time FROM appointments WHERE tenant_id = ? AND start_time >= ? AND end_time <= ? AND status <> 'cancelled'",
                [.id(tenant), .timestamp(book.rules.zone.start(of: from)), .timestamp(now - .seconds(86_400))],
                kinds: [.uuid, .timestamp],
                tenant: tenant
            ).forDeciding
        )
        for var row in rows { book.adoptCount(row.id(), row.timestamp()) }
    }
}
