import CustomerHealth
import Kernel
import Sales
import Storage
import Testing
import Wire

@testable import Tenancy

/// What comes twice, at once or again, at the doors of the portfolio.
@Suite struct PortfolioTurnsTests {
    private func house(_ customers: Int64...) async throws -> House {
        let house = try House()
        _ = try await house.operations.upsertCustomers(customers.map { CustomerPatch(id: $0) }, house.tenant)
        return house
    }

    private func leads(_ id: Int64, _ house: House) async throws -> Int {
        try await house.operations.customer(id, house.tenant).vitals.facts(at: house.clock.now).count(.lead)
    }

    private func lines(_ customers: Int64..., key: String, digest: String = "d", _ house: House) -> ActivityBatch {
        ActivityBatch(
            customers.enumerated().map { (line: $0 + 1, activity: Activity(customer: $1, .lead)) },
            key: key,
            digest: digest,
            house.tenant
        )
    }

    @Test func aListSentManyTimesAtOnceUnderAKeyCountsOnce() async throws {
        let house = try await house(1)
        let list = [Activity](repeating: Activity(customer: 1, .lead), count: 2500)
        try await withThrowingTaskGroup(of: Int.self) { group in
            for _ in 0..<8 { group.addTask { try await house.operations.record(list, key: "k", house.tenant) } }
            for try await recorded in group { #expect(recorded == 2500) }
        }
        #expect(try await leads(1, house) == 2500)
    }

    @Test func aListThatACrashCutOffGoesOnWhereItWas() async throws {
        let house = try await house(1)
        let list = [Activity](repeating: Activity(customer: 1, .lead), count: 2500)
        let first = ActivityBatch(
            list.prefix(1000).enumerated().map { (line: $0, activity: $1) },
            key: "lista#0 k",
            digest: Activity.digest(list),
            house.tenant
        )
        _ = try await house.operations.record(first, house.tenant)
        #expect(try await leads(1, house) == 1000)
        for _ in 0..<2 { #expect(try await house.operations.record(list, key: "k", house.tenant) == 2500) }
        #expect(try await leads(1, house) == 2500)
    }

    @Test func anotherRequestUnderTheSameKeyIsRefused() async throws {
        let house = try await house(1)
        _ = try await house.operations.record([Activity(customer: 1, .lead)], key: "k", house.tenant)
        do throws(Refusal) {
            _ = try await house.operations.record([Activity(customer: 1, .saida)], key: "k", house.tenant)
            Issue.record("it was taken")
        } catch { #expect(error.fields.first?.type == "idempotency_key_reused") }
        _ = try await house.operations.record(lines(1, key: "s 2", house), house.tenant)
        do throws(Refusal) {
            _ = try await house.operations.record(lines(1, key: "s 2", digest: "e", house), house.tenant)
            Issue.record("it was taken")
        } catch { #expect(error.fields.first?.type == "idempotency_key_reused") }
        #expect(try await leads(1, house) == 2)
    }

    @Test func theSameUnderAKeyIsTheSameAtEachDoorAndHoweverItIsWritten() async throws {
        let house = try await house(1)
        let written = [
            #"[{"tenant_id": 1, "tipo": "login", "usuario_nome": "Ana"}, {"tenant_id": 1, "tipo": "lead"}]"#,
            #"[ {"usuario_nome":"An\u0061","tipo":"login","tenant_id":"1"},{"tipo":"lead","tenant_id":1}]"#,
        ]
        for (number, text) in written.enumerated() {
            let json = try JSON.parse(text)
            let list = try Activity.list(json, now: house.clock.now)
            _ = try await house.operations.recordActivities(list, key: "k", house.tenant)
            let data = JSON.emptyObject.adding("atividades", json).adding("idempotency_key", "k")
            _ = try await house.operations.callPortfolio("activity.record", data, by: house.agent(UInt64(number), role: .owner))
        }
        #expect(try await leads(1, house) == 1)
        let other = try JSON.parse(#"{"idempotency_key": "k", "tenant_id": 1, "tipo": "lead"}"#)
        do throws(Refusal) {
            _ = try await house.operations.callPortfolio("activity.record", other, by: house.agent(role: .owner))
            Issue.record("it was taken")
        } catch { #expect(error.fields.map(\.location) == [["body", "idempotency_key"]], "a call has no header") }
        do throws(Refusal) {
            _ = try await house.operations.recordActivities([Activity(customer: 1, .lead)], key: "k", house.tenant)
            Issue.record("it was taken")
        } catch { #expect(error.fields.map(\.location) == [["header", "Idempotency-Key"]]) }
    }

    @Test func activitiesThatDifferInAnythingHaveADigestOfTheirOwn() {
        let at = Timestamp(milliseconds: 5)
        let all = [
            Activity(customer: 1, .lead), Activity(customer: 2, .lead), Activity(customer: 1, .lead, at: at), Activity(customer: 1, .saida),
            Activity(customer: 1, .entrada), Activity(customer: 1, .econversa(isActive: true)), Activity(customer: 1, .econversa(isActive: false)),
            Activity(customer: 1, .integrador(name: "a", isActive: true)), Activity(customer: 1, .integrador(name: "b", isActive: true)),
            Activity(customer: 1, .login(userName: nil, userEmail: nil)), Activity(customer: 1, .login(userName: "a", userEmail: nil)),
            Activity(customer: 1, .login(userName: nil, userEmail: "a")), Activity(customer: 1, .login(userName: "", userEmail: "a")),
        ]
        #expect(
            Set(all.map { Activity.digest([$0]) } + [Activity.digest([]), Activity.digest(all), Activity.digest(all.reversed())]).count == all.count
                + 3
        )
    }

    @Test func linesThatWereLeftOutAreLeftOutAgainAndSaid() async throws {
        let house = try await house(5)
        let first = try await house.operations.record(lines(5, 6, key: "q 2", house), house.tenant)
        #expect(first.recorded == 1 && first.left == [2] && !first.isRepeat)
        _ = try await house.operations.upsertCustomers([CustomerPatch(id: 6)], house.tenant)
        let again = try await house.operations.record(lines(5, 6, key: "q 2", house), house.tenant)
        #expect(again.recorded == 1 && again.left == [2] && again.isRepeat, "as they were the first time")
        #expect(try await house.operations.record(lines(5, 6, key: "r 2", house), house.tenant).recorded == 2)
    }

    @Test func whoFinishesAnActionAtTheSameTimeFindsItDone() async throws {
        let house = try await house(1)
        let login = Activity(customer: 1, .login(userName: nil, userEmail: nil))
        let list = [Activity](repeating: login, count: 80) + [Activity(customer: 1, .econversa(isActive: true))]
        _ = try await house.operations.record(list, key: nil, house.tenant)
        let open = try await house.operations.customerActions(isOpen: true, cs: nil, limit: 10, house.tenant)
        let id = try #require(open.first?.id)
        var names: Set<String> = []
        try await withThrowingTaskGroup(of: CustomerAction.self) { group in
            for number in 0..<20 { group.addTask { try await house.operations.finishAction(id, by: "n\(number)", house.tenant) } }
            for try await action in group { names.insert(action.doneBy ?? "") }
        }
        #expect(names.count == 1, "\(names)")
        let done = try await house.operations.customerActions(isOpen: false, cs: nil, limit: 10, house.tenant)
        #expect(done.first?.doneBy == names.first && done.first?.version == 2)
    }

    /// Leaves and joins tomorrow.
    private func houseOfTomorrow() async throws -> House {
        let house = try House()
        let tomorrow = BusinessZone.today(house.clock.now) + 1
        let joined: [CustomerChange] = [.valor(Money(centavos: 10_000)), .dataAdesao(Timestamp(wallClock: "2024-01-10"))]
        let patches = [
            CustomerPatch(id: 1, joined + [.dataCancelamento(tomorrow.start)]),
            CustomerPatch(id: 2, [.valor(Money(centavos: 5_000)), .dataAdesao(tomorrow.start)]),
            CustomerPatch(id: 3, [.valor(Money(centavos: 7_000))]),
        ]
        _ = try await house.operations.upsertCustomers(patches, house.tenant)
        return house
    }

    private func movements(_ house: House) throws -> [String] {
        try house.told(on: "sales").map { try JSON.parse($0) }.filter { $0["movimento"] != nil }
            .map { "\($0["type"]?.string ?? "") \($0["cliente_id"]?.string ?? "")" }
    }

    private func wake(_ house: House) async throws {
        for tenant in house.alarms.due(at: house.clock.now) {
            try await house.tenants.use(tenant) { cell throws(Refusal) in
                try await cell.bringPortfolio()
                try await cell.timePassed().committed()
            }
        }
    }

    private func churnsAndNews(_ house: House) async throws -> [Int] {
        let figures = try await house.operations.portfolioSums(house.tenant).sales.figures.totals.figures
        return [figures.churns, figures.news]
    }

    @Test(arguments: [false, true]) func whatIsDatedAheadIsToldAsItsDayBegins(somebodyComesFirst: Bool) async throws {
        let house = try await houseOfTomorrow()
        #expect(try movements(house) == [])
        #expect(try await churnsAndNews(house) == [0, 0])
        let midnight = BusinessZone.start(of: BusinessZone.today(house.clock.now) + 1)
        house.clock.advance(by: midnight - house.clock.now - .milliseconds(1))
        try await wake(house)
        #expect(try movements(house) == [])
        house.clock.advance(by: .milliseconds(1))
        if somebodyComesFirst { _ = try await house.operations.upsertCustomers([CustomerPatch(id: 3, [.nome("Três")])], house.tenant) }
        try await wake(house)
        for _ in 0..<2 {
            #expect(try movements(house) == ["sales.churn 1", "sales.sale 2"])
            #expect(try await churnsAndNews(house) == [1, 1])
            house.clock.advance(by: .seconds(86_400))
            try await wake(house)
        }
    }

    /// Nobody has been told anything since, and whoever comes has the snapshot.
    @Test func whatCameTrueWhileNobodyWasAwakeIsInTheSnapshotAlone() async throws {
        let house = try await houseOfTomorrow()
        house.clock.advance(by: .seconds(86_400))
        await house.tenants.sweep()
        #expect(house.tenants.awakeCount == 0)
        try await wake(house)
        #expect(try movements(house) == [])
        #expect(try await churnsAndNews(house) == [1, 1])
    }

    @Test func whoAsksForNobodyLosesNothingOfTheOthers() async throws {
        let house = try await house(1)
        _ = try await house.operations.record([Activity(customer: 1, .lead)], key: nil, house.tenant)
        house.clock.advance(by: .seconds(5 * 86_400))
        await #expect(throws: Refusal.self) { _ = try await house.operations.customer(9, house.tenant) }
        let today = BusinessZone.today(house.clock.now)
        let detail = try await house.operations.customer(1, house.tenant)
        let history = try await house.operations.healthHistory(of: 1, from: today + -30, to: today, house.tenant)
        #expect(history.last?.1 == detail.vitals.current && history.last?.0 == today + -1, "it fell yesterday, and that is stored")
    }
}
