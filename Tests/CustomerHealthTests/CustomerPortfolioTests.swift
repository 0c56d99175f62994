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
        case 0: return Activity(customer: id, .econversa(isActive: Bool.random(using: &random)), at: at)
        case 1:
            return Activity(
                customer: id,
                .integrador(name: "i\(Int.random(in: 0...3, using: &random))", isActive: Bool.random(using: &random)),
                at: at
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
            // What was said last, by the time at which it was so.
            var switches: [String: (isActive: Bool, at: Timestamp)] = [:]
            func switched(_ name: String, _ isActive: Bool, _ at: Timestamp) {
                if switches[name].map({ $0.at <= at }) ?? true { switches[name] = (isActive, at) }
            }
            for activity in activities where activity.customer == id {
                switch activity.content {
                case .econversa(let isActive): switched("", isActive, activity.at!)
                case .integrador(let name, let isActive): switched(name, isActive, activity.at!)
                default:
                    let kind = activity.content.counted!.rawValue
                    let at = activity.at!
                    facts.days[kind] = min(facts.days[kind], Int32((now.milliseconds - at.milliseconds) / 86_400_000))
                    if BusinessZone.today(now) - BusinessZone.today(at) <= 30 { facts.counts[kind] += 1 }
                }
            }
            facts.hasEConversa = switches[""]?.isActive ?? false
            facts.integrators = switches.count { !$0.key.isEmpty && $0.value.isActive }
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

    // MARK: Downtime

    /// The score on each day on which it moved, in four-hundredths.
    private static func days(_ changes: [Change]) -> [String: Int] {
        var days: [String: Int] = [:]
        for row in changes.flatMap(\.rows) where row.table == CustomerTables.snapshots {
            guard case .values(let values) = row.content, case .integer(let day) = values[2] else { continue }
            let pillars = values[3...6].map { value in if case .integer(let number) = value { number } else { 0 as Int64 } }
            days[CivilDate(days: Int32(day)).description] =
                HealthScore(engagement: pillars[0], stock: pillars[1], crm: pillars[2], adoption: pillars[3]).total
        }
        return days
    }

    @Test(arguments: [false, true]) func theHistoryIsTheSameWhetherSomebodyWasThereOrNot(_ isDown: Bool) async throws {
        let directory = TemporaryDirectory()
        let store = try SQLiteStore(directory: directory.path, schema: Schema(StorageTables.all + CustomerTables.all))
        let clock = ManualEnvironment(now: Self.start)
        var board = CustomerBoard(tenant: Self.tenant, loaded: .init())
        var changes = [try board.upsert([CustomerPatch(id: 1, [.cs("Maria")])], clock.environment.moment()).1]
        changes.append(
            try board.record(
                (0..<80).map { _ in Activity(customer: 1, .login(userName: nil, userEmail: nil)) }
                    + (0..<60).map { _ in Activity(customer: 1, .lead) }
                    + [Activity(customer: 1, .econversa(isActive: true)), Activity(customer: 1, .integrador(name: "ERP", isActive: true))],
                clock.environment.moment()
            )
        )
        for change in changes { try store.commit([change]) }
        changes.removeAll()
        let end = Self.start + .seconds(20 * 86_400)
        if isDown {
            clock.advance(by: end - clock.now)
            board = CustomerBoard(tenant: Self.tenant, loaded: try await CustomerBoard.load(Self.tenant, from: store, now: clock.now))
            changes.append(board.timePassed(clock.environment.moment()))
            #expect(board.timePassed(clock.environment.moment()).rows.isEmpty)
        } else {
            while let due = board.nextDue, due <= end {
                clock.advance(by: due - clock.now)
                changes.append(board.timePassed(clock.environment.moment()))
            }
            clock.advance(by: end - clock.now)
        }
        let its = board.portfolio.vitals[0]
        // Accesses, leads and adoption: 120 + 80 + 60, 120 + 72 + 60, 108 + 60 + 60, 84 + 48 + 60 of 400.
        #expect(Self.days(changes) == ["2026-01-24": 252, "2026-01-28": 228, "2026-02-04": 192], "4, 8 and 15 days after")
        #expect(its.current.total == 192 && its.total(daysAgo: 7, at: end) == 228, "on 2 February")
        #expect(its.total(daysAgo: 13, at: end) == 252 && its.total(daysAgo: 17, at: end) == 260)
        #expect(its.categorySince == Self.start + .seconds(8 * 86_400), "when it fell below 0.6")
        await store.close()
    }

    // MARK: Leads

    private static func report(
        _ lead: Int64,
        of customer: Int64? = nil,
        at seconds: Int64? = nil,
        isDeleted: Bool = false,
        isElsewhere: Bool = false,
        _ changes: CustomerChange...
    ) -> LeadReport {
        let at = seconds.map { start + .seconds($0) }
        return LeadReport(
            lead: lead,
            customer: customer,
            at: at,
            isDeleted: isDeleted,
            isElsewhere: isElsewhere,
            changes: changes + (at.map { [.atualizadoEm($0)] } ?? [])
        )
    }

    @Test func whatIsOlderSaysNothingInWhateverOrderItComes() throws {
        let clock = ManualEnvironment(now: Self.start + .seconds(1000))
        var board = CustomerBoard(tenant: Self.tenant, loaded: .init())
        let (first, _) = try board.upsert(
            [Self.report(5, at: 20, .nome("novo")), Self.report(5, at: 10, .nome("velho"))],
            clock.environment.moment()
        )
        #expect(first.created == 1 && first.unchanged == 1 && board.portfolio.customer(5)?.nome == "novo")
        _ = try board.upsert([Self.report(5, at: 20, .nome("igual"))], clock.environment.moment())
        #expect(board.portfolio.customer(5)?.nome == "igual", "what is as old may be the rest of it")
        _ = try board.upsert([Self.report(5, at: 19, isDeleted: true)], clock.environment.moment())
        #expect(board.portfolio.customer(5)?.isCancelled == false)
        _ = try board.upsert([Self.report(5, at: 9_000_000, .nome("futuro"))], clock.environment.moment())
        _ = try board.upsert([Self.report(5, at: 30, .nome("depois"))], clock.environment.moment())
        #expect(board.portfolio.customer(5)?.nome == "depois", "a time that has not come keeps nothing out")
        _ = try board.upsert([CustomerPatch(id: 5, [.nome("à mão"), .atualizadoEm(Self.start)])], clock.environment.moment())
        #expect(board.portfolio.customer(5)?.nome == "à mão", "who says so by hand is not asked since when")
    }

    @Test func aLeadIsTheCustomerThatItWasSaidToBeAlsoAfterARestart() async throws {
        let directory = TemporaryDirectory()
        let store = try SQLiteStore(directory: directory.path, schema: Schema(StorageTables.all + CustomerTables.all))
        let clock = ManualEnvironment(now: Self.start + .seconds(1000))
        var board = CustomerBoard(tenant: Self.tenant, loaded: .init())
        let made = try board.upsert([Self.report(500, of: 42, .nome("Z")), Self.report(7, .nome("Sete"))], clock.environment.moment()).1
        try store.commit([made])
        board = CustomerBoard(tenant: Self.tenant, loaded: try await CustomerBoard.load(Self.tenant, from: store, now: clock.now))
        let moved = try board.upsert([Self.report(500, .status("143"))], clock.environment.moment())
        #expect(moved.0.created == 0 && board.portfolio.customer(42)?.status == "143" && board.portfolio.customer(500) == nil)
        _ = try board.upsert([Self.report(500, isDeleted: true), Self.report(8, isDeleted: true)], clock.environment.moment())
        #expect(board.portfolio.customer(42)?.isCancelled == true && board.portfolio.count == 2)
        await store.close()
    }

    @Test func whoIsWhereNoCustomersAreDoesNotBecomeOne() throws {
        let clock = ManualEnvironment(now: Self.start)
        var board = CustomerBoard(tenant: Self.tenant, loaded: .init())
        let (told, _) = try board.upsert(
            [Self.report(900, isElsewhere: true, .pipeline("Kommo 1"), .valor(Money(centavos: 5)))],
            clock.environment.moment()
        )
        #expect(told.unchanged == 1 && board.portfolio.count == 0)
        _ = try board.upsert([Self.report(901, .pipeline("CS | ONGOING"))], clock.environment.moment())
        _ = try board.upsert([Self.report(901, isElsewhere: true, .pipeline("Kommo 1"))], clock.environment.moment())
        #expect(board.portfolio.customer(901)?.pipeline == "Kommo 1" && board.portfolio.dashboard.ativos == 0)
    }

    @Test func whoIsGoneFromTheDatabaseHasCancelledUntilTheyAreBack() throws {
        let clock = ManualEnvironment(now: Self.start + .seconds(1000))
        var board = CustomerBoard(tenant: Self.tenant, loaded: .init())
        let row = CustomerPatch(id: 1, [.nome("Um"), .atualizadoEm(Self.start), .inSource(true)], asOf: Self.start)
        _ = try board.upsert([row, CustomerPatch(id: 2)], clock.environment.moment())
        let (known, gone) = board.goneFromSource([])
        #expect(known == 1 && gone == [1], "who never was there is not gone")
        _ = try board.removedFromSource(gone, clock.environment.moment())
        #expect(board.portfolio.customer(1)?.isCancelled == true && board.goneFromSource([]).known == 0)
        _ = try board.upsert([row], clock.environment.moment())
        #expect(board.portfolio.customer(1)?.isActive == true && board.portfolio.customer(1)?.isInSource == true)
    }

    // MARK: Who is shown

    @Test func whoLeavesAndWhoComesBackIsToldWithTheScoreOfToday() throws {
        let clock = ManualEnvironment(now: Self.start)
        var board = CustomerBoard(tenant: Self.tenant, loaded: .init())
        func told(_ change: Change) -> [String] {
            change.events.map { String(decoding: $0.payload, as: UTF8.self) }.filter { $0.contains("health.scores") }
        }
        _ = try board.upsert([CustomerPatch(id: 1), CustomerPatch(id: 2, [.pipeline("Outro")])], clock.environment.moment())
        let left = try board.upsert([CustomerPatch(id: 1, [.pipeline("Outro")])], clock.environment.moment()).1
        #expect(
            told(left) == [
                #"{"type":"health.scores","clientes":[{"tenant_id":1,"score_total":0.0,"delta":0.0,"categoria":"Crítico","ativo":false}]}"#
            ]
        )
        #expect(told(try board.record([Activity(customer: 1, .econversa(isActive: true))], clock.environment.moment())).isEmpty)
        let back = try board.upsert([CustomerPatch(id: 1, [.pipeline("CS | ONGOING")])], clock.environment.moment()).1
        #expect(
            told(back) == [
                #"{"type":"health.scores","clientes":[{"tenant_id":1,"score_total":0.1,"delta":0.0,"categoria":"Crítico","ativo":true}]}"#
            ]
        )
        let twice = [CustomerPatch(id: 1, [.pipeline("Outro")]), CustomerPatch(id: 1, [.pipeline("CS | ONGOING")])]
        #expect(told(try board.upsert(twice, clock.environment.moment()).1).isEmpty, "and who is where they were is not")
    }

    @Test func ofManyIntegratorsThoseThatAreGoneAreForgotten() {
        var known: [Integrator] = []
        for number in 0..<60 { Integrator.switched("i\(number)", number % 2 == 0, at: Self.start + .seconds(number), in: &known) }
        #expect(known.count == Integrator.max && known.count(where: \.isActive) == 30)
        for number in 100..<200 { Integrator.switched("j\(number)", true, at: Self.start, in: &known) }
        #expect(known.count == Integrator.max && known.allSatisfy(\.isActive))
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
