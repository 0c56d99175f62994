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
            case 4:
                // Numbers that leads are given, take back and share.
                let reports = (0..<3).map { _ in
                    Self.report(
                        Int64.random(in: 100...120, using: &random),
                        of: Bool.random(using: &random) ? nil : Int64.random(in: 30...60, using: &random),
                        isDeleted: Int.random(in: 0..<6, using: &random) == 0,
                        .valor(Money(centavos: Int64.random(in: 0...100, using: &random)))
                    )
                }
                change = try board.upsert(reports, moment).1
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
                expected.add(portfolio.customers[place], HealthScore(facts).category, on: BusinessZone.today(clock.now))
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

    @Test func whatOthersChangeMakesNothingOfWhatTheCRMSaysOld() async throws {
        let directory = TemporaryDirectory()
        let store = try SQLiteStore(directory: directory.path, schema: Schema(StorageTables.all + CustomerTables.all))
        let clock = ManualEnvironment(now: Self.start + .seconds(1000))
        var board = CustomerBoard(tenant: Self.tenant, loaded: .init())
        func money(_ reais: Int64) -> Money { Money(centavos: reais * 100) }
        func tell(_ seconds: Int64, _ changes: CustomerChange...) async throws {
            var report = Self.report(5, at: seconds)
            report = LeadReport(
                lead: 5,
                customer: nil,
                at: report.at,
                isDeleted: false,
                isElsewhere: false,
                changes: changes + report.changes
            )
            try store.commit([try board.upsert([report], clock.environment.moment()).1])
        }
        func put(_ changes: CustomerChange...) async throws {
            try store.commit([try board.upsert([CustomerPatch(id: 5, changes)], clock.environment.moment()).1])
        }
        for restarts in [false, true] {
            func pause() async throws {
                guard restarts else { return }
                board = CustomerBoard(tenant: Self.tenant, loaded: try await CustomerBoard.load(Self.tenant, from: store, now: clock.now))
            }
            let base: Int64 = restarts ? 600 : 0
            try await tell(base + 10, .valor(money(100)), .nome("Um"))
            try await put(.parcelasAtrasadas(restarts ? 2 : 1))
            try await pause()
            try await tell(base + 500, .valor(money(200)), .nome("Dois"))
            #expect(board.portfolio.customer(5)?.valor == money(200) && board.portfolio.customer(5)?.nome == "Dois")
            try await put(.valor(money(150)))
            try await pause()
            for seconds in [base + 500, base + 400] { try await tell(seconds, .valor(money(50))) }
            #expect(board.portfolio.customer(5)?.valor == money(150), "what it had said already undoes nothing")
            // What comes late says what nothing newer has said.
            try await tell(base + 540, .status("143"), .nome("Três"))
            try await pause()
            try await tell(base + 530, .valor(money(250)), .cnpj(7), .nome("velho"), .status("142"))
            let known = try #require(board.portfolio.customer(5))
            #expect(known.valor == money(250) && known.cnpj == 7 && known.nome == "Três" && known.status == "143")
            #expect(known.atualizadoEm == Self.start + .seconds(base + 540))
        }
        await store.close()
    }

    @Test func ofARowThatSaysNothingOfItAllIsAsOldAsItself() {
        let updatedAt = Self.start
        var times = CRMTimes(stored: nil, updatedAt: updatedAt)
        #expect(times.isOld(.valor, at: updatedAt - .seconds(1), now: updatedAt) && !times.isOld(.valor, at: updatedAt, now: updatedAt))
        times.take([.valor, .setup], at: updatedAt + .seconds(5))
        times.override(.setup)
        #expect(CRMTimes(stored: times.stored, updatedAt: nil) == times && CRMTimes(stored: "[0]", updatedAt: updatedAt) == CRMTimes())
        #expect(times.isOld(.setup, at: updatedAt + .seconds(5), now: updatedAt) && !times.isOld(.valor, at: updatedAt + .seconds(5), now: updatedAt))
    }

    @Test func whatIsDatedHereIsDatedByTheClockOfTheBusiness() throws {
        // 22:30 on the last day of the month.
        let clock = ManualEnvironment(now: Timestamp(rfc3339: "2026-12-01T01:30:00.250Z")!)
        var board = CustomerBoard(tenant: Self.tenant, loaded: .init())
        let row = CustomerPatch(id: 2, [.inSource(true)], asOf: Self.start)
        _ = try board.upsert([CustomerPatch(id: 1), row], clock.environment.moment())
        _ = try board.upsert([Self.report(1, isDeleted: true)], clock.environment.moment())
        _ = try board.removedFromSource([2], clock.environment.moment())
        for id in [1, 2] as [Int64] {
            let customer = try #require(board.portfolio.customer(id))
            #expect(customer.dataCancelamento?.wallClock == "2026-11-30T22:30:00" && customer.criadoEm?.wallClock == "2026-11-30T22:30:00")
        }
        #expect(board.portfolio.customer(1)?.atualizadoEm?.wallClock == "2026-11-30T22:30:00")
    }

    @Test func whoHadLeftKeepsTheirDayWhenTheirLeadOrRowIsGone() throws {
        let clock = ManualEnvironment(now: Timestamp(rfc3339: "2026-10-05T12:00:00Z")!)
        var board = CustomerBoard(tenant: Self.tenant, loaded: .init())
        for id in [1, 2] as [Int64] {
            let row = CustomerPatch(id: id, [.inSource(true)], asOf: Self.start)
            _ = try board.upsert([row], clock.environment.moment())
            _ = try board.upsert([CustomerPatch(id: id, [.pipeline(Customer.Pipeline.churned)])], clock.environment.moment())
        }
        _ = try board.upsert([CustomerPatch(id: 3, [.pipeline(Customer.Pipeline.churned)])], clock.environment.moment())
        clock.advance(by: .seconds(46 * 86_400))
        _ = try board.upsert([Self.report(1, isDeleted: true), Self.report(3, isDeleted: true)], clock.environment.moment())
        _ = try board.removedFromSource([2], clock.environment.moment())
        for id in [1, 2] as [Int64] {
            #expect(
                board.portfolio.customer(id)?.cancellation?.day == CivilDate("2026-10-05")
                    && board.portfolio.customer(id)?.descricaoCancelamento != nil
            )
        }
        #expect(board.portfolio.customer(3)?.dataCancelamento == nil, "nobody knows when")
    }

    @Test func aLeadThatIsRestoredIsACustomerAgain() throws {
        let clock = ManualEnvironment(now: Self.start + .seconds(1000))
        var board = CustomerBoard(tenant: Self.tenant, loaded: .init())
        func tell(_ reports: LeadReport...) throws { _ = try board.upsert(reports, clock.environment.moment()) }
        try tell(Self.report(600, at: 900, .nome("R")), Self.report(600, isDeleted: true))
        #expect(board.portfolio.customer(600)?.isActive(on: board.portfolio.today) == false)
        try tell(Self.report(600, at: 950, .nome("tarde")))
        #expect(
            board.portfolio.customer(600)?.isActive(on: board.portfolio.today) == false,
            "what was told before it was deleted does not bring it back"
        )
        try tell(Self.report(600, at: 1005, .nome("De volta")))
        #expect(
            board.portfolio.customer(600)?.isActive(on: board.portfolio.today) == true && board.portfolio.customer(600)?.descricaoCancelamento == nil
        )
        try tell(Self.report(600, at: 1010, isDeleted: true), Self.report(600, at: 1010, .nome("de novo")))
        #expect(board.portfolio.customer(600)?.isActive(on: board.portfolio.today) == false)
        // Whose cancellation says something else has not come back.
        try tell(Self.report(601, at: 900, .dataCancelamento(Self.start), .descricaoCancelamento("Preço")))
        try tell(Self.report(601, at: 910, isDeleted: true), Self.report(601, at: 920, .nome("R")))
        #expect(board.portfolio.customer(601)?.isCancelled == true)
    }

    @Test(arguments: [false, true]) func aLeadThatIsNumberedLaterIsOneCustomer(_ isKnown: Bool) async throws {
        let directory = TemporaryDirectory()
        let store = try SQLiteStore(directory: directory.path, schema: Schema(StorageTables.all + CustomerTables.all))
        let clock = ManualEnvironment(now: Self.start + .seconds(1000))
        var board = CustomerBoard(tenant: Self.tenant, loaded: .init())
        @discardableResult func tell(_ reports: LeadReport...) throws -> CustomerBoard.Upserted {
            let (upserted, change) = try board.upsert(reports, clock.environment.moment())
            try store.commit([change])
            return upserted
        }
        if isKnown { try store.commit([try board.upsert([CustomerPatch(id: 42, [.email("a@b.c")])], clock.environment.moment()).1]) }
        try tell(Self.report(500, at: 10, .valor(Money(centavos: 1000)), .nome("X")), Self.report(600, of: 60, at: 10), Self.report(7, at: 10))
        let upserted = try tell(
            Self.report(500, of: 42, at: 20, .valor(Money(centavos: 1000))),
            Self.report(600, of: 61, at: 20),
            Self.report(600, of: 60, at: 15)
        )
        #expect(upserted.created == 0 && upserted.leftOut == 0)
        for restarts in [false, true] {
            if restarts { board = CustomerBoard(tenant: Self.tenant, loaded: try await CustomerBoard.load(Self.tenant, from: store, now: clock.now)) }
            #expect(Set(board.portfolio.customers.map(\.id)) == [7, 42, 61], "and what says the former number late says nothing")
            #expect(board.portfolio.dashboard.ativos == 3 && board.portfolio.dashboard.mrr == Money(centavos: 1000))
            #expect(board.portfolio.customer(42)?.nome == (isKnown ? nil : "X") && board.portfolio.customer(42)?.valor == Money(centavos: 1000))
            #expect(board.portfolio.customer(500) == nil && board.portfolio.place(of: 500) == nil)
        }
        // The number is free for somebody else.
        try store.commit([try board.upsert([CustomerPatch(id: 500, [.nome("Outra")])], clock.environment.moment()).1])
        try tell(Self.report(500, isDeleted: true))
        #expect(board.portfolio.customer(42)?.isCancelled == true && board.portfolio.customer(500)?.isCancelled == false)
        board = CustomerBoard(tenant: Self.tenant, loaded: try await CustomerBoard.load(Self.tenant, from: store, now: clock.now))
        #expect(board.portfolio.customer(500)?.nome == "Outra" && board.portfolio.count == 4)
        await store.close()
    }

    /// In one turn a lead gets a number that nobody has, and then that of somebody who is here; or its own again.
    @Test func aLeadThatIsNumberedTwiceInOneTurnLeavesNothingBehind() async throws {
        let directory = TemporaryDirectory()
        let store = try SQLiteStore(directory: directory.path, schema: Schema(StorageTables.all + CustomerTables.all))
        let clock = ManualEnvironment(now: Self.start + .seconds(1000))
        var board = CustomerBoard(tenant: Self.tenant, loaded: .init())
        @discardableResult func tell(_ reports: LeadReport...) throws -> [String] {
            let change = try board.upsert(reports, clock.environment.moment()).1
            try store.commit([change])
            return change.events.map { String(decoding: $0.payload, as: UTF8.self) }
        }
        try store.commit([try board.upsert([CustomerPatch(id: 203)], clock.environment.moment()).1])
        try tell(Self.report(2, at: 1), Self.report(60, at: 1))
        try tell(Self.report(2, of: 202, at: 2), Self.report(2, of: 203, at: 3))
        let told = try tell(Self.report(60, of: 61, at: 2), Self.report(60, of: 60, at: 3))
        #expect(!told.contains { $0.contains(#""tenant_id":60,"score_total":0.0,"delta":0.0,"categoria":"Crítico","ativo":false"#) })
        board = CustomerBoard(tenant: Self.tenant, loaded: try await CustomerBoard.load(Self.tenant, from: store, now: clock.now))
        #expect(Set(board.portfolio.customers.map(\.id)) == [60, 203])
        try store.commit([try board.upsert([2, 61, 202].map { CustomerPatch(id: $0) }, clock.environment.moment()).1])
        await store.close()
    }

    @Test func whoseALeadIsIsWhatWasSaidLast() throws {
        let clock = ManualEnvironment(now: Self.start + .seconds(1000))
        var board = CustomerBoard(tenant: Self.tenant, loaded: .init())
        for (customer, second) in [(101, 0), (101, 900), (102, 500)] as [(Int64, Int64)] {
            _ = try board.upsert([Self.report(1, of: customer, at: second)], clock.environment.moment())
        }
        #expect(board.portfolio.customers.map(\.id) == [101], "it was said again since")
    }

    /// What others have said of a sale is not lost with the number under which it was.
    @Test func whoseSaleOthersHaveToldOfStays() throws {
        let clock = ManualEnvironment(now: Self.start + .seconds(1000))
        var board = CustomerBoard(tenant: Self.tenant, loaded: .init())
        _ = try board.upsert([Self.report(50, at: 1)], clock.environment.moment())
        _ = try board.upsert(
            [CustomerPatch(id: 50, [.valor(Money(centavos: 5500)), .vendedorID(7)]), CustomerPatch(id: 51)],
            clock.environment.moment()
        )
        _ = try board.upsert([Self.report(50, of: 51, at: 2)], clock.environment.moment())
        #expect(board.portfolio.customer(50)?.valor == Money(centavos: 5500) && board.portfolio.customer(51) != nil)
    }

    /// A row of an earlier version.
    private static func old(_ id: Int64, _ changes: CustomerChange...) -> Customer {
        var customer = Customer(id: id)
        for change in changes { customer.apply(change) }
        customer.atualizadoEm = start
        customer.crm = CRMTimes(stored: nil, updatedAt: start)
        customer.version = 3
        return customer
    }

    @Test func whoWasHereBeforeItWasKeptWhoHadMadeThem() throws {
        let clock = ManualEnvironment(now: Self.start + .seconds(1000))
        var loaded = CustomerBoard.Loaded()
        for customer in [Self.old(500, .nome("X")), Self.old(42), Self.old(600, .nome("Y")), Self.old(60, .nome("Z"))] {
            loaded.portfolio.restore(customer, StoredVitals(), now: clock.now)
        }
        loaded.leads[700] = LeadLink(lead: 700, customer: 60)
        var board = CustomerBoard(tenant: Self.tenant, loaded: loaded)
        func tell(_ reports: LeadReport...) throws -> CustomerBoard.Upserted { try board.upsert(reports, clock.environment.moment()).0 }
        #expect(try tell(Self.report(500, at: -1, .nome("velho"))).unchanged == 1, "all of it is as old as the row")
        _ = try board.upsert([CustomerPatch(id: 600, [.parcelasAtrasadas(1)])], clock.environment.moment())
        #expect(try tell(Self.report(500, at: 1, .nome("novo"))).updated == 1)
        _ = try tell(Self.report(500, of: 42, at: 2), Self.report(600, of: 61, at: 2), Self.report(700, of: 70, at: 2))
        #expect(Set(board.portfolio.customers.map(\.id)) == [42, 600, 61, 60, 70], "but for whom others know as well, and who has a number")
    }

    @Test func whatOnlySaysWhenItWasSaidIsNoChange() throws {
        let clock = ManualEnvironment(now: Self.start + .seconds(1000))
        var board = CustomerBoard(tenant: Self.tenant, loaded: .init())
        _ = try board.upsert(
            [CustomerPatch(id: 1, [.nome("Um"), .atualizadoEm(Self.start), .inSource(true)], asOf: Self.start + .seconds(50))],
            clock.environment.moment()
        )
        let (upserted, change) = try board.upsert([Self.report(1, at: 40, .nome("velho"))], clock.environment.moment())
        #expect(upserted.unchanged == 1 && upserted.changes.isEmpty && change.rows.count == 1 && change.events.isEmpty)
        #expect(board.portfolio.customer(1)?.nome == "Um" && board.portfolio.customer(1)?.atualizadoEm == Self.start)
    }

    @Test func whoIsKnownToOthersStaysWhenALeadIsAnothers() throws {
        let clock = ManualEnvironment(now: Self.start + .seconds(1000))
        var board = CustomerBoard(tenant: Self.tenant, loaded: .init())
        func tell(_ reports: LeadReport...) throws { _ = try board.upsert(reports, clock.environment.moment()) }
        // Somebody put 1 in; 2 does something; 3 has a row; 60 is known to whoever counts their instalments; 70 has another lead.
        _ = try board.upsert([CustomerPatch(id: 1)], clock.environment.moment())
        try tell(Self.report(1), Self.report(2), Self.report(3), Self.report(600, of: 60), Self.report(700, of: 70), Self.report(701, of: 70))
        _ = try board.record([Activity(customer: 2, .lead)], clock.environment.moment())
        _ = try board.upsert([CustomerPatch(id: 3, [.inSource(true)], asOf: Self.start)], clock.environment.moment())
        _ = try board.upsert([CustomerPatch(id: 60, [.parcelasAtrasadas(1)])], clock.environment.moment())
        for (lead, customer) in [(1, 101), (2, 102), (3, 103), (600, 61), (700, 71)] as [(Int64, Int64)] { try tell(Self.report(lead, of: customer)) }
        #expect(Set(board.portfolio.customers.map(\.id)) == [1, 2, 3, 60, 61, 70, 71, 101, 102, 103])
    }

    @Test func whoIsSomebodyElseIsToldOfAndTheLastTakeTheirPlace() throws {
        let clock = ManualEnvironment(now: Self.start + .seconds(1000))
        var board = CustomerBoard(tenant: Self.tenant, loaded: .init())
        _ = try board.upsert([CustomerPatch(id: 42)], clock.environment.moment())
        _ = try board.upsert([Self.report(500)], clock.environment.moment())
        _ = try board.upsert((1...600).map { CustomerPatch(id: 1000 + $0) }, clock.environment.moment())
        _ = try board.record([Activity(customer: 1600, .lead)], clock.environment.moment())
        let (upserted, change) = try board.upsert([Self.report(500, of: 42)], clock.environment.moment())
        #expect(upserted.changes.contains { $0.before?.id == 500 && $0.after.valor == .zero })
        let told = change.events.map { String(decoding: $0.payload, as: UTF8.self) }
        #expect(told.contains { $0.contains(#""tenant_id":500,"score_total":0.0,"delta":0.0,"categoria":"Crítico","ativo":false"#) })
        #expect(board.portfolio.count == 601 && board.portfolio.customers.count == 601 && board.portfolio.place(of: 1600) == 1)
        #expect(board.portfolio.customer(1600)?.id == 1600 && board.portfolio.vitals[1].facts(at: clock.now).count(.lead) == 1)
        // It falls at its own moment where it now is.
        while let due = board.nextDue, due < clock.now + .seconds(40 * 86_400) {
            clock.advance(by: max(due - clock.now, .zero))
            _ = board.timePassed(clock.environment.moment())
        }
        #expect(board.portfolio.vitals[1].current == HealthScore(board.portfolio.vitals[1].facts(at: clock.now)))
    }

    @Test func whoCancelsAheadIsActiveUntilThatDay() async throws {
        let directory = TemporaryDirectory()
        let store = try SQLiteStore(directory: directory.path, schema: Schema(StorageTables.all + CustomerTables.all))
        let clock = ManualEnvironment(now: Self.start)
        var board = CustomerBoard(tenant: Self.tenant, loaded: .init())
        let days = ["2026-01-25", "2026-01-23", "2026-01-20"].map { Timestamp(wallClock: $0)! }
        let patches = (1...3).map { CustomerPatch(id: $0, [.valor(Money(centavos: 100)), .dataCancelamento(days[Int($0) - 1])]) }
        try store.commit([try board.upsert(patches, clock.environment.moment()).1])
        for (day, active) in [("2026-01-20", 2), ("2026-01-23", 1), ("2026-01-25", 0)] {
            if active == 1 {
                board = CustomerBoard(tenant: Self.tenant, loaded: try await CustomerBoard.load(Self.tenant, from: store, now: clock.now))
            }
            let start = BusinessZone.start(of: CivilDate(day)!)
            if clock.now < start {
                #expect(board.nextDue == start)
                clock.advance(by: start - clock.now)
                let told = board.timePassed(clock.environment.moment()).events.map { String(decoding: $0.payload, as: UTF8.self) }
                #expect(
                    told.contains { $0.contains("health.scores") && $0.contains(#""ativo":false"#) }
                        && told.contains { $0.contains("health.dashboard") }
                )
            }
            let dashboard = board.portfolio.dashboard
            #expect(
                dashboard.ativos == active && dashboard.mrr == Money(centavos: 100) * active && dashboard.churn == Money(centavos: 100) * (3 - active)
            )
            let portfolio = board.portfolio
            #expect(CustomerPortfolio.dashboard(portfolio.customers, portfolio.vitals, AdhesionRange(), now: clock.now) == dashboard)
        }
        #expect(board.nextDue == nil)
        await store.close()
    }

    @Test func whatFitsIsInAndTheRestIsCounted() throws {
        let clock = ManualEnvironment(now: Self.start + .seconds(1000))
        var board = CustomerBoard(tenant: Self.tenant, loaded: .init())
        _ = try board.upsert([CustomerPatch(id: 1)], clock.environment.moment())
        let (rows, _) = try board.upsert([2, 3, 1, 4].map { CustomerPatch(id: $0, [.nome("N")]) }, room: 1, clock.environment.moment())
        #expect((rows.created, rows.updated, rows.leftOut) == (1, 1, 2) && board.portfolio.customer(1)?.nome == "N")
        let reports = [Self.report(2, at: 5, .nome("L")), Self.report(5, at: 5), Self.report(6, at: 5), Self.report(5, of: 50, at: 6)]
        let (told, _) = try board.upsert(reports, room: 1, clock.environment.moment())
        #expect((told.created, told.leftOut) == (1, 1) && Set(board.portfolio.customers.map(\.id)) == [1, 2, 50], "and one lead takes one place")
        #expect(try board.upsert(reports, room: 0, clock.environment.moment()).0.leftOut == 1, "again: the same")
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
        #expect(board.portfolio.customer(1)?.isActive(on: board.portfolio.today) == true && board.portfolio.customer(1)?.isInSource == true)
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
