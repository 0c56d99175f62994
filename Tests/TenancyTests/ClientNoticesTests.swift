import Kernel
import Notifications
import Scheduling
import Storage
import TestSupport
import Testing
import Wire

@testable import Jobs
@testable import Tenancy

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

    /// What the workers of the queues do when they are told that there is something to be read.
    private func planAgain(_ house: House) async throws {
        let dispatcher = QueueDispatcher(
            tenants: house.tenants,
            store: house.store,
            senders: [:],
            environment: house.clock.environment,
            rules: QueueRules(),
            bell: QueueBell(),
            isWatched: { _ in false },
            logger: .silent
        )
        try await house.tenants.use(house.tenant) { cell throws(Refusal) in try await dispatcher.planAgain(cell) }
    }

    private func reminders(_ house: House) async throws -> [QueueMessage] {
        try await house.store.rows(
            .select(from: QueueTables.messages, "WHERE queue = 'appointment_reminders' AND state IN ('scheduled', 'retryable') ORDER BY run_at, id")
        ).map { QueueMessage($0) }
    }

    @Test func whatIsPlannedFollowsTheZoneAndQuietHoursAlsoOverARestart() async throws {
        let house = try House()
        let service = try await open(house)
        let owner = house.agent(role: .owner)
        _ = try await house.operations.changeNotificationSettings(
            ["reminders": [["days_before": 1, "at": "18:00", "channels": ["email"]]]],
            by: owner
        )
        for hour in 0..<5 { _ = try await book(house, service, hour: 72 + Int64(hour)) }
        try await planAgain(house)
        let before = try await reminders(house)
        #expect(before.count == 5)
        _ = try await house.operations.changeBookingRules(["timezone": "America/Manaus"], by: owner)
        // Killed before anything was planned again.
        house.journal.fail(true)
        await #expect(throws: Refusal.self) { try await book(house, service, hour: 1000) }
        house.journal.fail(false)
        try await planAgain(house)
        let moved = try await reminders(house)
        #expect(moved.map(\.id) == before.map(\.id) && zip(before, moved).allSatisfy { $1.content.runAt == $0.content.runAt + .seconds(3600) })
        // Another change of the calendar starts nothing.
        _ = try await house.operations.changeBookingRules(["minimum_notice_minutes": 5], by: owner)
        let isReplanning = try await house.tenants.use(house.tenant) { cell throws(Refusal) in await cell.clientNotices.isReplanning }
        #expect(!isReplanning)
        _ = try await house.operations.changeNotificationSettings(["quiet_hours": ["start": "17:30", "end": "18:30"]], by: owner)
        try await planAgain(house)
        #expect(try await reminders(house).map(\.content.runAt) == moved.map { $0.content.runAt + .seconds(1800) })
        // Withdrawn, asked for again, and withdrawn.
        for rules in [[], [["days_before": 1, "at": "18:00", "channels": ["email"]]], []] as [JSON] {
            _ = try await house.operations.changeNotificationSettings(["reminders": rules], by: owner)
            try await planAgain(house)
            let now = try await reminders(house)
            #expect(rules == [] ? now.isEmpty : now.map(\.id) == moved.map(\.id))
        }
    }

    /// However many are booked: whoever takes it back again and again has their own planned again, and nobody else's.
    @Test func whoTakesItBackHasTheirOwnPlannedAgainAndNobodyElses() async throws {
        let house = try House()
        let service = try await open(house)
        for hour in 0..<20 { _ = try await book(house, service, hour: 72 + Int64(hour)) }
        let start = Timestamp(milliseconds: (house.clock.now.milliseconds / 3_600_000 + 200) * 3_600_000)
        var request = BookingRequest(service: service.id, start: start, clientName: "Bia", clientWhatsapp: "+5511900000002")
        request.clientEmail = "Bia@example.com"
        let hers = try await house.operations.book(request, key: nil, who: "x", digest: "d", house.tenant)
        try await planAgain(house)
        for isOut in [true, false, true, false] {
            try await house.operations.optOut(.email, "bia@example.com", isOut: isOut, .link, of: house.tenant)
            try await house.operations.optOut(.email, "nobody@example.com", isOut: isOut, .link, of: house.tenant)
        }
        let errand = try await house.tenants.use(house.tenant) { cell throws(Refusal) in await cell.errandForTest() }
        #expect(errand.appointments == [hers.id])
        try await planAgain(house)
        let isReplanning = try await house.tenants.use(house.tenant) { cell throws(Refusal) in await cell.clientNotices.isReplanning }
        #expect(!isReplanning)
    }

    @Test func whatWasToldLongAgoIsDeletedAPartAtATimeUntilNothingOfItIsLeft() async throws {
        let house = try House()
        let service = try await open(house)
        let kept = try await book(house, service, hour: 72)
        var change = Change()
        let moment = house.clock.environment.moment()
        for _ in 0..<(2 * ClientNotices.sweepSize + 10) {
            let id: AppointmentID = moment.id()
            change.rows.append(
                RowImage(
                    NotificationTables.told,
                    version: 3,
                    values: [.id(house.tenant), .id(id), .integer(0), .integer(0), .timestamp(moment.now - .seconds(60))]
                )
            )
        }
        let old = change
        try await house.tenants.use(house.tenant) { cell throws(Refusal) in try await cell.noted(old).committed() }
        house.clock.advance(by: .seconds(7 * 3600))
        func left() async throws -> Int { try await house.store.rows(.select(from: NotificationTables.told)).count }
        var counts: [Int] = []
        for _ in 0..<4 {
            try await planAgain(house)
            counts.append(try await left())
        }
        #expect(counts == [ClientNotices.sweepSize + 11, 11, 1, 1])
        #expect(try await house.store.rows(.select(from: NotificationTables.told)).map { $0[1] } == [.id(kept.id)])
    }

    @Test func whatIsBookedIsSentWithoutAnyQuestionToTheStore() async throws {
        let house = try House()
        let service = try await open(house)
        _ = try await book(house, service, hour: 72)
        let unconfirmed = try await house.tenants.use(house.tenant) { cell throws(Refusal) in
            await cell.queues.reading { $0.keysToLookUp }
        }
        #expect(unconfirmed.isEmpty)
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
        try await planAgain(house)
        #expect(try await planned() == ClientNotices.stepSize)
        // The rest by somebody who has read all of it anew.
        house.journal.fail(true)
        await #expect(throws: Refusal.self) { try await book(house, service, hour: 1000) }
        house.journal.fail(false)
        for _ in 0..<3 { try await planAgain(house) }
        #expect(try await planned() == ClientNotices.stepSize + 50)
        #expect(try await keys(house).filter { $0.contains("reminder") }.count == ClientNotices.stepSize + 50, "what no rule asks for is withdrawn")
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
        for _ in 0..<2 { try await planAgain(house) }
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

extension TenantCell {
    fileprivate func errandForTest() -> ClientNotices.Errand { noticeErrand() }
}

extension QueueBook {
    fileprivate var keysToLookUp: [String] { unconfirmed.map(\.key) }
}
