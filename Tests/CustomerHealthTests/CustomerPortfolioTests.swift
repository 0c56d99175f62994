import Kernel
import Storage
import TestSupport
import Testing

@testable import CustomerHealth

/// The projection that is kept up with each change against the same computed from scratch.
@Suite struct CustomerPortfolioTests {
    private static let start = Timestamp(rfc3339: "2026-01-20T12:00:00Z")!
    private static let tenant = TenantID(UniqueID(high: 0x01a0_0000_0000_7000, low: 0x8000_0000_0000_0001))

    private static func patch(_ random: inout SeededGenerator) -> CustomerPatch {
        let pipelines = ["CS | ONBOARDING", "CS | ONGOING", "CS | BRADESCO", "Churns & Cancelamentos", "Outro", nil]
        var changes: [CustomerChange] = []
        func maybe(_ change: CustomerChange) { if Int.random(in: 0..<3, using: &random) == 0 { changes.append(change) } }
        func day() -> Timestamp? {
            Bool.random(using: &random) ? nil : Timestamp(seconds: 1_760_000_000 + Int64.random(in: 0...8_000_000, using: &random))
        }
        maybe(.nome("Cliente \(Int.random(in: 0...9, using: &random))"))
        maybe(.pipeline(pipelines.randomElement(using: &random)!))
        maybe(.valor(Money(centavos: Int64.random(in: 0...100_000, using: &random))))
        maybe(.dataAdesao(day()))
        maybe(.inicioOnboarding(day()))
        maybe(.fimOnboarding(day()))
        maybe(.dataCancelamento(Int.random(in: 0..<4, using: &random) == 0 ? day() : nil))
        return CustomerPatch(id: Int64.random(in: 1...40, using: &random), changes)
    }

    private static func activity(_ now: Timestamp, _ random: inout SeededGenerator) -> Activity {
        let id = Int64.random(in: 1...40, using: &random)
        let at = Bool.random(using: &random) ? nil : now - .seconds(Int.random(in: 0...45 * 86_400, using: &random))
        switch Int.random(in: 0..<8, using: &random) {
        case 0: return Activity(customer: id, .econversa(isActive: Bool.random(using: &random)))
        case 1:
            return Activity(
                customer: id,
                .integrador(name: "i\(Int.random(in: 0...3, using: &random))", isActive: Bool.random(using: &random))
            )
        case 2, 3: return Activity(customer: id, .entrada, at: at)
        case 4: return Activity(customer: id, .saida, at: at)
        case 5: return Activity(customer: id, .lead, at: at)
        default: return Activity(customer: id, .login(userName: nil, userEmail: nil), at: at)
        }
    }

    /// A naive model: every activity, kept; everything computed from them.
    private struct Model {
        var activities: [Activity] = []

        func facts(of id: Int64, at now: Timestamp) -> HealthFacts {
            var facts = HealthFacts()
            var integrators: Set<String> = []
            for activity in activities where activity.customer == id {
                switch activity.content {
                case .econversa(let isActive): facts.hasEConversa = isActive
                case .integrador(let name, let isActive): if isActive { integrators.insert(name) } else { integrators.remove(name) }
                default:
                    let kind = activity.content.counted!.rawValue
                    let at = activity.at!
                    facts.days[kind] = min(facts.days[kind], Int32((now.milliseconds - at.milliseconds) / 86_400_000))
                    if BusinessZone.today(now) - BusinessZone.today(at) <= 30 { facts.counts[kind] += 1 }
                }
            }
            facts.integrators = integrators.count
            return facts
        }
    }

    @Test func whatIsKeptUpEqualsWhatIsComputedFromScratchAlsoAfterARestart() async throws {
        var random = SeededGenerator.fresh()
        let directory = TemporaryDirectory()
        let store = try SQLiteStore(directory: directory.path, schema: Schema(StorageTables.all + CustomerTables.all))
        let clock = ManualEnvironment(now: Self.start)
        var board = CustomerBoard(tenant: Self.tenant, loaded: .init())
        var model = Model()
        for step in 0..<3000 {
            clock.advance(by: .seconds(Int.random(in: 0...7200, using: &random)))
            let moment = clock.environment.moment()
            var change = Change()
            switch Int.random(in: 0..<10, using: &random) {
            case 0..<3:
                change = try board.upsert((0..<Int.random(in: 1...4, using: &random)).map { _ in Self.patch(&random) }, moment).1
            case 3:
                change = board.timePassed(moment)
            default:
                let activities = (0..<Int.random(in: 1...5, using: &random)).map { _ in Self.activity(moment.now, &random) }
                    .filter { board.portfolio.place(of: $0.customer) != nil }
                change = try board.record(activities, moment)
                model.activities += activities.map { Activity(customer: $0.customer, $0.content, at: $0.at ?? moment.now) }
            }
            try store.commit([change])
            if step % 500 == 499 {
                // Asleep for a while, and awake again from what is stored.
                clock.advance(by: .seconds(Int.random(in: 0...20 * 86_400, using: &random)))
                let loaded = try await CustomerBoard.load(Self.tenant, from: store, now: clock.now)
                board = CustomerBoard(tenant: Self.tenant, loaded: loaded)
            }
            guard step % 20 == 0 || step % 500 == 499 else { continue }
            try store.commit([board.timePassed(moment.now == clock.now ? moment : clock.environment.moment())])
            let portfolio = board.portfolio
            var expected = Dashboard()
            for place in portfolio.customers.indices {
                let id = portfolio.customers[place].id
                let facts = model.facts(of: id, at: clock.now)
                #expect(portfolio.vitals[place].facts(at: clock.now) == facts, "step \(step), customer \(id)")
                #expect(portfolio.vitals[place].current == HealthScore(facts), "step \(step), customer \(id)")
                expected.add(portfolio.customers[place], HealthScore(facts).category)
            }
            #expect(portfolio.dashboard == expected, "step \(step)")
            #expect(CustomerPortfolio.dashboard(portfolio.customers, portfolio.vitals, AdhesionRange(), now: clock.now) == expected)
        }
        await store.close()
    }

    @Test func aCategoryThatChangesIsToldWithWhatMovedIt() throws {
        let clock = ManualEnvironment(now: Self.start)
        var board = CustomerBoard(tenant: Self.tenant, loaded: .init())
        _ = try board.upsert([CustomerPatch(id: 1, [.nome("Empresa"), .cs("Maria")])], clock.environment.moment())
        let change = try board.record(
            [Activity(customer: 1, .econversa(isActive: true)), Activity(customer: 1, .integrador(name: "ERP", isActive: true))]
                + (0..<41).map { _ in Activity(customer: 1, .login(userName: nil, userEmail: nil)) },
            clock.environment.moment()
        )
        let events = change.events.map { String(decoding: $0.payload, as: UTF8.self) }
        let told = try #require(events.first { $0.contains("health.category") })
        #expect(told.contains(#""de":"Crítico","para":"Normal","score_total":0.45,"delta":0.45"#))
        #expect(told.contains(#""motivos":[{"pilar":"engajamento","antes":0.0,"depois":1.0,"contribuicao":0.3},{"pilar":"adoption""#))
        #expect(events.contains { $0.contains("health.action") && $0.contains("Reunião de alinhamento, treinar time") && $0.contains("Maria") })
        #expect(change.rows.filter { $0.table == CustomerTables.logins }.count == 41)
        #expect(change.rows.filter { $0.table == CustomerTables.vitals }.count == 1, "one image of it for the whole turn")
        #expect(events.filter { $0.contains("health.dashboard") }.count == 1)
    }

    @Test func timeAloneMovesACategory() throws {
        let clock = ManualEnvironment(now: Self.start)
        var board = CustomerBoard(tenant: Self.tenant, loaded: .init())
        _ = try board.upsert([CustomerPatch(id: 1)], clock.environment.moment())
        _ = try board.record(
            [.econversa(isActive: true), .integrador(name: "a", isActive: true), .login(userName: nil, userEmail: nil)].map {
                Activity(customer: 1, $0)
            },
            clock.environment.moment()
        )
        #expect(board.portfolio.vitals[0].category == .normal)
        var moves = 0
        while let due = board.nextDue, due < Self.start + .seconds(60 * 86_400) {
            clock.advance(by: due - clock.now)
            if !board.timePassed(clock.environment.moment()).rows.isEmpty { moves += 1 }
        }
        #expect(moves == 5, "after 4, 8 and 15 days, and after 31 twice: at midnight, when it is not counted, and at the hour, when it is not recent")
        #expect(board.portfolio.vitals[0].category == .critico)
    }

    @Test func unknownCustomersRefuseTheWholeList() throws {
        let clock = ManualEnvironment(now: Self.start)
        var board = CustomerBoard(tenant: Self.tenant, loaded: .init())
        _ = try board.upsert([CustomerPatch(id: 1)], clock.environment.moment())
        do throws(Refusal) {
            _ = try board.record([Activity(customer: 1, .lead), Activity(customer: 2, .lead)], clock.environment.moment())
            Issue.record("it was taken")
        } catch {
            #expect(error.fields.first?.location == ["body", "1", "tenant_id"])
        }
        #expect(board.portfolio.vitals[0].facts(at: clock.now).count(.lead) == 0)
    }
}
