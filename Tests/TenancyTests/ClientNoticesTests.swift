import Jobs
import Kernel
import Notifications
import Scheduling
import Storage
import Tenancy
import Testing
import Wire

@Suite struct ClientNoticesTests {
    private func open(_ house: House) async throws -> Service {
        let owner = house.agent(role: .owner)
        _ = try await house.operations.changeBookingRules(
            [
                "weekly_hours": [
                    "mon": [["00:00", "24:00"]], "tue": [["00:00", "24:00"]], "wed": [["00:00", "24:00"]], "thu": [["00:00", "24:00"]],
                    "fri": [["00:00", "24:00"]], "sat": [["00:00", "24:00"]], "sun": [["00:00", "24:00"]],
                ], "auto_confirm": true,
            ],
            by: owner
        )
        _ = try await house.operations.changeNotificationSettings(["quiet_hours": .null], by: owner)
        return try await house.operations.arrange(
            by: owner,
            { _, moment throws(Refusal) in Service(id: moment.id(), name: "Corte", durationMinutes: 60, at: moment.now) },
            put: { $0.put($1) }
        )
    }

    private func book(_ house: House, _ service: Service, hour: Int64) async throws -> Appointment {
        let start = Timestamp(milliseconds: (house.clock.now.milliseconds / 3_600_000 + hour) * 3_600_000)
        var request = BookingRequest(service: service.id, start: start, clientName: "Ana", clientWhatsapp: "+5511900000001")
        request.clientEmail = "ana@example.com"
        return try await house.operations.book(request, key: nil, who: "x", digest: "d", house.tenant)
    }

    /// A message that is planned again is stored, and taken away when the queue finds that its key was used: nobody looks for that here.
    private func keys(_ house: House) async throws -> [String] {
        try await house.store.rows(
            Query(
                "SELECT DISTINCT key FROM queue_messages WHERE tenant_id = ? AND state <> 'cancelled' ORDER BY key",
                [.id(house.tenant)],
                kinds: [.text]
            )
        ).map { row in
            var row = row
            return row.text()
        }
    }

    @Test func whatIsBookedAndWhatIsToldOfItAreStoredTogetherOrNotAtAll() async throws {
        let house = try House()
        let service = try await open(house)
        house.journal.fail(true)
        await #expect(throws: Refusal.self) { try await book(house, service, hour: 72) }
        house.journal.fail(false)
        #expect(try await keys(house).isEmpty)
        let made = try await book(house, service, hour: 72)
        #expect(
            try await keys(house)
                == ["confirmed:email", "confirmed:whatsapp", "reminder-1440m:email", "reminder-1440m:whatsapp", "reminder-60m:whatsapp"].map {
                    "\(made.id):0:\($0)"
                }
        )
    }

    /// Rules that have changed are applied to what is booked, a part at a time, also where the server was down in between.
    @Test func newRulesAreAppliedToAllThatIsBookedAPartAtATime() async throws {
        let house = try House()
        let service = try await open(house)
        for hour in 0..<Int64(ClientNotices.stepSize + 50) { _ = try await book(house, service, hour: 72 + hour) }
        _ = try await house.operations.changeNotificationSettings(
            ["reminders": [["minutes_before": 300, "channels": ["email"]]]],
            by: house.agent(role: .owner)
        )
        func planned() async throws -> Int { try await keys(house).count { $0.hasSuffix("reminder-300m:email") } }
        #expect(try await planned() == 0)
        try await house.tenants.use(house.tenant) { cell throws(Refusal) in try await cell.timePassed().committed() }
        #expect(try await planned() == ClientNotices.stepSize)
        // The rest by somebody who has read all of it anew.
        house.journal.fail(true)
        await #expect(throws: Refusal.self) { try await book(house, service, hour: 1000) }
        house.journal.fail(false)
        for _ in 0..<3 { try await house.tenants.use(house.tenant) { cell throws(Refusal) in try await cell.timePassed().committed() } }
        #expect(try await planned() == ClientNotices.stepSize + 50)
        let isApplied = try await house.store.rows(Query("SELECT is_applied FROM notification_settings", kinds: [.boolean])).first
        #expect(isApplied?[0] == .boolean(true))
    }

    /// Who wants reminders again gets them, also where the server was killed in that moment.
    @Test func optingInAgainPlansWhatWasNotPlannedAlsoOverARestart() async throws {
        let house = try House()
        let service = try await open(house)
        let owner = house.agent(role: .owner)
        _ = try await house.operations.optOut(.email, "ana@example.com", isOut: true, by: owner)
        _ = try await book(house, service, hour: 72)
        func reminders() async throws -> [String] { try await keys(house).filter { $0.hasSuffix("reminder-1440m:email") } }
        #expect(try await reminders().isEmpty)
        _ = try await house.operations.optOut(.email, "ana@example.com", isOut: false, by: owner)
        house.journal.fail(true)
        await #expect(throws: Refusal.self) { try await book(house, service, hour: 1000) }
        house.journal.fail(false)
        for _ in 0..<2 { try await house.tenants.use(house.tenant) { cell throws(Refusal) in try await cell.timePassed().committed() } }
        #expect(try await reminders().count == 1)
        let isApplied = try await house.store.rows(Query("SELECT is_applied FROM notification_settings", kinds: [.boolean])).first
        #expect(isApplied?[0] == .boolean(true))
    }

    @Test func aWordOfTheCustomersIsTakenInOnceAndAnswered() async throws {
        let house = try House()
        _ = try await open(house)
        let message = house.message("SAIR", id: "wamid.1")
        for _ in 0..<3 { try await house.operations.receive([message], tenant: house.tenant) }
        #expect(try await keys(house) == ["opt-out:wamid.1"])
        try await house.operations.receive([house.message("bom dia", id: "wamid.2")], tenant: house.tenant)
        let rows = try await house.store.rows(.select(from: NotificationTables.optOuts)).map(OptOuts.Entry.init)
        #expect(rows.map(\.recipient) == ["551100000001"] || rows.map(\.recipient) == ["5511900000001"])
        #expect(rows.first?.isOut == true && rows.count == 1)
    }
}
