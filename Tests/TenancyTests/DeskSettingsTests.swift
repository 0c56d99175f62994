import Consultores
import Conversations
import Kernel
import Storage
import Tenancy
import Testing
import Wire

@Suite struct DeskSettingsTests {
    private func changed(_ json: String, from settings: DeskSettings = DeskSettings()) throws -> DeskSettings {
        try settings.changed(by: try JSON.parse(json))
    }

    @Test func whatIsLeftOutStaysAndNullIsOff() throws {
        let first = try changed(#"{"policy": "least_loaded", "first_answer_seconds": 600, "holidays": ["2026-12-25"], "asks_satisfaction": true}"#)
        #expect(first.assignment.policy == .leastLoaded)
        #expect(first.firstAnswer == .seconds(600))
        let second = try changed(#"{"first_answer_seconds": null, "wrap_up_seconds": 30}"#, from: first)
        #expect(second.firstAnswer == nil)
        #expect(second.assignment.policy == .leastLoaded)
        #expect(second.assignment.wrapUp == .seconds(30))
        #expect(second.holidays == ["2026-12-25"])
        #expect(second.hasTimers, "it is asked how it was")
    }

    @Test func whatIsWrittenIsReadAgain() throws {
        let settings = try changed(
            #"""
            {"policy": "preferred_first", "offer_timeout_seconds": 20, "next_answer_seconds": 60, "warn_before_seconds": 10, "sla_only_in_hours": true,
             "bot_inactivity_seconds": 900, "inactivity_message": "Até logo", "timezone": "America/Manaus", "out_of_hours_message": "Fechado",
             "weekly_hours": {"mon": [["09:00", "12:00"], ["13:00", "24:00"]], "sat": []}, "satisfaction_question": "Nota?"}
            """#
        )
        #expect(try DeskSettings().changed(by: try JSON.parse(settings.json)) == settings)
        #expect(settings.week?[1] == [.init(opens: 540, closes: 720), .init(opens: 780, closes: 1440)])
        #expect(settings.week?[2] == [])
    }

    @Test(arguments: [
        (#"{"policy": "random"}"#, "policy"), (#"{"offer_timeout_seconds": 0}"#, "offer_timeout_seconds"),
        (#"{"timezone": "Marte/Base"}"#, "timezone"),
        (#"{"holidays": ["2026-02-30"]}"#, "holidays"), (#"{"weekly_hours": {"segunda": []}}"#, "weekly_hours"),
        (#"{"weekly_hours": {"mon": [["18:00", "09:00"]]}}"#, "weekly_hours"),
        (#"{"weekly_hours": {"mon": [["09:00", "12:00"], ["11:00", "13:00"]]}}"#, "weekly_hours"),
        (#"{"weekly_hours": {"mon": [["9:00", "12:00"]]}}"#, "weekly_hours"), (#"{"weekly_hours": {"mon": [["09:00", "24:01"]]}}"#, "weekly_hours"),
        (#"{"weekly_hours": 7}"#, "weekly_hours"), (#"{"away_after_missed": 0}"#, "away_after_missed"),
        (#"{"inactivity_message": ""}"#, "inactivity_message"),
        (#"{"satisfaction_wait_seconds": 90000}"#, "satisfaction_wait_seconds"), (#"{"sla_only_in_hours": "yes"}"#, "sla_only_in_hours"),
    ]) func whatCannotBeIsRefusedByName(_ json: String, _ field: String) throws {
        let refusal = try #require(#expect(throws: Refusal.self) { try changed(json) })
        #expect(refusal.fields.compactMap(\.location.last) == [field])
    }

    // MARK: In a house

    @Test func settingsOutliveASleepAndRule() async throws {
        let house = try House()
        let admin = house.agent(9, role: .admin)
        _ = try await house.operations.changeDeskSettings(try JSON.parse(#"{"wrap_up_seconds": 60, "offer_timeout_seconds": 5}"#), by: admin)
        await #expect(throws: Refusal.self) { try await house.operations.changeDeskSettings(nil, by: house.agent()) }
        house.clock.advance(by: .seconds(901))
        await house.tenants.sweep()
        #expect(house.tenants.awakeCount == 0)
        let settings = try JSON.parse(try await house.operations.deskSettings(for: house.agent()))
        #expect(settings["wrap_up_seconds"]?.int == 60)

        // A conversation is resolved: its consultor is offered nothing for a minute, then what waits.
        var profile = ConsultorProfileFixture.online
        profile.user = house.agent().user
        _ = try await house.operations.addConsultor(profile, house.tenant)
        try await house.operations.receive([house.message("atendente")], tenant: house.tenant)
        let first = try #require(try await house.conversations().first).id
        _ = try await house.operations.act(.claim, on: first, by: house.agent())
        _ = try await house.operations.act(.resolve, on: first, by: house.agent())
        let consultor = try JSON.parse(try await house.operations.consultor(1, house.tenant))
        #expect(consultor["wrap_up_until"]?.string == (house.clock.now + .seconds(60)).description)
        try await house.operations.receive([house.message("atendente", from: "5511900000002")], tenant: house.tenant)
        #expect(try await house.conversations().last?.state.name == "queued")
        house.clock.advance(by: .seconds(60))
        #expect(house.alarms.due(at: house.clock.now) == [house.tenant])
        try await house.tenants.use(house.tenant) { cell throws(Refusal) in try await cell.timePassed().committed() }
        #expect(try await house.conversations().last?.offer?.expiresAt == house.clock.now + .seconds(5))
    }

    @Test func theEndOfAWrapUpOnOnesOwnWordBringsTheNextOffer() async throws {
        let house = try House()
        _ = try await house.operations.changeDeskSettings(try JSON.parse(#"{"wrap_up_seconds": 600}"#), by: house.agent(9, role: .owner))
        var profile = ConsultorProfileFixture.online
        profile.user = house.agent().user
        _ = try await house.operations.addConsultor(profile, house.tenant)
        try await house.operations.receive([house.message("atendente")], tenant: house.tenant)
        let first = try #require(try await house.conversations().first).id
        _ = try await house.operations.act(.claim, on: first, by: house.agent())
        _ = try await house.operations.act(.resolve, on: first, by: house.agent())
        try await house.operations.receive([house.message("atendente", from: "5511900000002")], tenant: house.tenant)
        let answer = try await house.operations.call("consultor.wrapped-up", .emptyObject, by: house.agent())
        #expect(try JSON.parse(try #require(answer))["wrap_up_until"]?.isNull == true)
        #expect(try await house.conversations().last?.offer?.consultor == 1)
    }

    @Test func theAuditTrailIsReadInPagesNewestFirst() async throws {
        let house = try House()
        try await house.operations.receive([house.message("atendente"), house.message("oi", from: "5511900000002")], tenant: house.tenant)
        let id = try #require(try await house.conversations().first { $0.state.name == "queued" }).id
        _ = try await house.operations.act(.claim, on: id, by: house.agent())
        let admin = house.agent(9, role: .admin)
        let all = try JSON.parse(try await house.operations.audit(of: nil, before: nil, limit: 50, for: admin))
        #expect(all["items"]?.array?.compactMap { $0["seq"]?.int } == [4, 3, 2, 1])
        #expect(all["has_more"]?.bool == false)
        let own = try JSON.parse(try await house.operations.audit(of: id, before: 4, limit: 1, for: house.agent()))
        #expect(own["items"]?.array?.compactMap { $0["cause"]?.string } == ["person_asked_for"])
        #expect(own["has_more"]?.bool == true)
        await #expect(throws: Refusal.self) { try await house.operations.audit(of: nil, before: nil, limit: 50, for: house.agent()) }
        let foreign = house.agent(9, role: .admin, of: house.other)
        #expect(try JSON.parse(try await house.operations.audit(of: nil, before: nil, limit: 50, for: foreign))["items"]?.array == [])
        // Numbers go on after a sleep.
        house.clock.advance(by: .seconds(901))
        await house.tenants.sweep()
        _ = try await house.operations.act(.resolve, on: id, by: house.agent())
        let later = try JSON.parse(try await house.operations.audit(of: id, before: nil, limit: 1, for: admin))
        #expect(later["items"]?.array?.first?["seq"]?.int == 5)
    }

    @Test func promisesAndQuestionsOutliveASleep() async throws {
        let house = try House()
        let admin = house.agent(9, role: .admin)
        _ = try await house.operations.changeDeskSettings(
            try JSON.parse(#"{"first_answer_seconds": 2000, "asks_satisfaction": true, "satisfaction_wait_seconds": 3600}"#),
            by: admin
        )
        try await house.operations.receive([house.message("atendente"), house.message("atendente", from: "5511900000002")], tenant: house.tenant)
        let ids = try await house.conversations().map(\.id)
        for id in ids { _ = try await house.operations.act(.claim, on: id, by: house.agent()) }
        _ = try await house.operations.act(.resolve, on: ids[0], by: house.agent())
        house.clock.advance(by: .seconds(1000))
        await house.tenants.sweep()
        #expect(house.tenants.awakeCount == 0)
        let number = try #require(try await house.conversations().first { $0.id == ids[0] }?.contactNumber)
        try await house.operations.receive([house.message("5", from: number)], tenant: house.tenant)
        house.clock.advance(by: .seconds(1000))
        #expect(house.alarms.due(at: house.clock.now) == [house.tenant])
        try await house.tenants.use(house.tenant) { cell throws(Refusal) in try await cell.timePassed().committed() }
        let after = try await house.conversations()
        #expect(after.count == 2)
        #expect(after.first { $0.id == ids[0] }?.satisfaction?.score == 5)
        #expect(after.first { $0.id == ids[1] }?.levels.breaches == [.firstAnswer])
    }
}
