import Kernel
import Scheduling
import Storage
import Testing
import Wire

@testable import Tenancy

/// The calendar over failures, sleep and restarts.
@Suite struct CalendarTurnsTests {
    private func book(_ house: House, _ service: ServiceID, _ number: Int) async throws -> Appointment {
        try await house.book(service, in: .seconds(3600 + number * 1800))
    }

    /// Nobody had to subscribe anew, as no socket was closed.
    @Test func afterAFailureThePublicPageIsToldAsBefore() async throws {
        let house = try House()
        let service = try await house.service()
        _ = try await book(house, service, 0)
        let before = house.told(on: "booking:casa").count
        #expect(before > 0)
        house.journal.fail(true)
        await #expect(throws: Refusal.self) { _ = try await book(house, service, 1) }
        house.journal.fail(false)
        house.clock.advance(by: .seconds(1))
        #expect(house.told(on: "booking:casa").count == before)
        for number in 2..<6 { _ = try await book(house, service, number) }
        let told = house.told(on: "booking:casa")
        #expect(told.count == before + 4)
        let versions = told.compactMap { $0.split(separator: "\"version\":").dropFirst().first.flatMap { Int($0.prefix { $0.isNumber }) } }
        #expect(versions.count == told.count && versions == versions.sorted() && Set(versions).count == versions.count)
    }

    @Test func whoeverWaitedOrWasUndecidedWhileNobodyWasAwakeIsTold() async throws {
        let house = try House()
        let (service, agent) = (try await house.service(), house.agent(role: .owner))
        _ = try await house.operations.changeBookingRules(try JSON.parse(#"{"pending_minutes": 120, "weekly_hours": {}}"#), by: agent)
        let made = try await book(house, service, 0)
        let (from, moment) = (house.clock.now, house.clock.environment.moment())
        func entry(_ number: String) -> WaitlistEntry {
            WaitlistEntry(
                id: house.clock.environment.moment().id(),
                service: service,
                staff: nil,
                from: from + .seconds(60),
                until: from + .seconds(3600),
                clientName: "Bia",
                clientWhatsapp: number,
                clientEmail: nil,
                moment
            )
        }
        let (stays, leaves) = (entry("+5511900000002"), entry("+5511900000003"))
        for one in [stays, leaves] {
            _ = try await house.operations.changeCalendar(of: house.tenant) { book, moment throws(Refusal) in
                try book.join(one, isPublic: false, moment)
            }
        }
        _ = try await house.operations.changeCalendar(of: house.tenant) { book, moment throws(Refusal) in try book.leave(leaves.id, moment) }
        func listed() async throws -> [WaitlistID: WaitlistEntry.Status] {
            try await house.operations.readCalendar(of: house.tenant) { book, _ throws(Refusal) in book.waitlist.mapValues(\.status) }
        }
        let before = try await listed()
        #expect(before == [stays.id: .waiting, leaves.id: .left])
        for _ in 0..<2 {
            house.clock.advance(by: .seconds(901))
            await house.tenants.sweep()
            #expect(house.tenants.awakeCount == 0)
            #expect(try await listed() == before, "read again, the same is listed")
        }
        // Asleep for weeks: what was due meanwhile is done by whoever wakes it, and stored.
        house.clock.advance(by: .seconds(901))
        await house.tenants.sweep()
        house.clock.advance(by: .seconds(40 * 86_400))
        #expect(try await listed() == [stays.id: .lapsed])
        let rows = try await house.store.rows(.select(from: SchedulingTables.appointments, "WHERE id = ?", [.id(made.id)])).map(Appointment.init)
        #expect(rows.map(\.status) == [.cancelled] && rows.first?.cancelledBy == "system")
        let waiting = try await house.store.rows(.select(from: SchedulingTables.waitlist, "WHERE id = ?", [.id(stays.id)])).map(WaitlistEntry.init)
        #expect(waiting.map(\.status) == [.lapsed] && waiting.first?.endedAt == house.clock.now)
    }

    /// What a series of many touches is dear to find out: whoever looks asks again.
    @Test func ofALongSeriesThePublicIsToldThatMuchHasChanged() async throws {
        let house = try House()
        let service = try await house.service()
        func book(_ count: Int) async throws {
            let before = house.told(on: "booking:casa").count
            _ = try await house.operations.changeCalendar(of: house.tenant) { [start = house.clock.now] book, moment throws(Refusal) in
                for number in 0..<count {
                    var request = BookingRequest(
                        service: service,
                        start: start + .seconds(number * 86_400 + 3600),
                        clientName: "Ana",
                        clientWhatsapp: "+5511900000001"
                    )
                    request.force = "encaixe"
                    _ = try book.book(request, moment)
                }
            }
            let told = house.told(on: "booking:casa").dropFirst(before)
            #expect(told.count == 1 && told.first?.contains(count > 16 ? "booking.changed" : "slots.changed") == true, "\(count)")
        }
        try await book(16)
        try await book(30)
    }
}
