import CustomerHealth
import Kernel
import Storage
import TestSupport
import Testing
import Wire

@testable import Sales

/// A month that is over reads what held at its end, whatever becomes of the customers.
@Suite struct ClosedMonthTests {
    private static let tenant = TenantID(UniqueID(high: 0x01a0_0000_0000_7000, low: 0x8000_0000_0000_0001))
    private static let september = YearMonth("2026-09")!

    /// Everything that is said of a month.
    private static func said(_ month: YearMonth, _ board: SalesBoard, _ customers: Paged<Customer>) -> [String] {
        let figures = board.figures(of: month, customers)
        var writer = JSONWriter()
        writer.array { list in
            figures.writeDashboard(to: &list)
            figures.writeRanking(board.book, to: &list)
            figures.writeSummary(board.book, to: &list)
        }
        let statements = figures.lines(board.book).map { CommissionStatement($0.seller, figures, customers, board.book).csv }
        let movements = board.movements(in: month, customers).map { "\($0.key) \($0.value)" }.sorted()
        let view = SaleTerms.View(endOf: month)
        let churns = customers.filter { SaleTerms($0, view, figures.config, board.book)?.isChurn == true }.map { String($0.id) }.sorted()
        return [String(decoding: writer.bytes, as: UTF8.self)] + statements + movements + churns
    }

    @Test func aClosedMonthStaysAsItWasAlsoAfterARestart() async throws {
        var random = SeededGenerator.fresh()
        let directory = TemporaryDirectory()
        let store = try SQLiteStore(directory: directory.path, schema: Schema(StorageTables.all + CustomerTables.all + SalesTables.all))
        let clock = ManualEnvironment(now: Timestamp(rfc3339: "2026-01-01T12:00:00Z")!)
        var customers = CustomerBoard(tenant: Self.tenant, loaded: .init())
        var sales = SalesBoard(tenant: Self.tenant, loaded: .init(), customers: customers.portfolio.customers, now: clock.now)
        var closed: [YearMonth: [String]] = [:]
        for step in 0..<600 {
            clock.advance(by: .seconds(Int.random(in: 0...50_000, using: &random)))
            let moment = clock.environment.moment()
            let today = BusinessZone.today(clock.now)
            var change = customers.timePassed(moment)
            change.append(sales.timePassed(customers.portfolio.customers, moment))
            let last = YearMonth(index: today.month.index - 1)
            if closed[last] == nil { closed[last] = Self.said(last, sales, customers.portfolio.customers) }
            let patches = (0..<Int.random(in: 1...3, using: &random)).map { _ -> CustomerPatch in
                let id = Int64.random(in: 1...40, using: &random)
                let known = customers.portfolio.customer(id)
                func day() -> Timestamp { (today.month.firstDay + Int.random(in: 0...(today - today.month.firstDay), using: &random)).start }
                // Who comes without a value counts in no month until there is one, and then in all.
                var changes: [CustomerChange] = known == nil ? [.dataAdesao(day()), .valor(Money(centavos: 10_000))] : []
                func maybe(_ change: @autoclosure () -> CustomerChange) { if Bool.random(using: &random) { changes.append(change()) } }
                if known != nil { maybe(.valor(Money(centavos: Int64.random(in: 0...3, using: &random) * 10_000))) }
                maybe(.setup(Money(centavos: Int64.random(in: 0...100_000, using: &random))))
                maybe(.vendedorID(Bool.random(using: &random) ? nil : Int64.random(in: 1...4, using: &random)))
                maybe(.parcelasAtrasadas(Int.random(in: 0...2, using: &random)))
                switch (Int.random(in: 0..<8, using: &random), known?.cancellation) {
                case (0, nil) where known != nil: changes.append(.dataCancelamento(day()))
                case (1, nil) where known != nil: changes.append(.pipeline(Bool.random(using: &random) ? Customer.Pipeline.churned : "Outro"))
                case (5, .some) where known?.pipeline == "Outro" && known?.isCancelled == false: changes.append(.dataCancelamento(today.start))
                case (2...4, .some): changes += [.dataCancelamento(nil), .pipeline(Customer.Pipeline.ongoing)]
                default: break
                }
                return CustomerPatch(id: id, changes)
            }
            for patch in patches {
                // One at a time: what is decided of a customer is decided of what they are.
                let (upserted, more) = try customers.upsert([patch], moment)
                change.append(more)
                change.append(sales.changed(upserted.changes, moment))
            }
            try store.commit([change])
            if step % 150 == 149 {
                clock.advance(by: .seconds(Int.random(in: 0...40 * 86_400, using: &random)))
                customers = CustomerBoard(tenant: Self.tenant, loaded: try await CustomerBoard.load(Self.tenant, from: store, now: clock.now))
                sales = SalesBoard(
                    tenant: Self.tenant,
                    loaded: try await SalesBoard.load(Self.tenant, from: store),
                    customers: customers.portfolio.customers,
                    now: clock.now
                )
            }
            guard step % 50 == 0 || step % 150 == 149 else { continue }
            for (month, before) in closed {
                let now = Self.said(month, sales, customers.portfolio.customers)
                for (one, other) in zip(now, before) { #expect(one == other, "step \(step), \(month)") }
                #expect(now.count == before.count, "step \(step), \(month)")
            }
        }
        #expect(closed.count >= 5)
        store.close()
    }

    /// Whatever is corrected: what moved within a month leads from what was paid at the end of the one before to what is paid at its end, and its churns are those
    /// listed and those who have come back within the month.
    @Test func movementsAddUpToWhatIsPaidAndChurnsAreThoseListed() {
        var random = SeededGenerator.fresh()
        let book = SellerBook()
        for round in 0..<200 {
            var today = CivilDate("2026-01-05")!
            var customer = Customer(id: 1)
            for step in 0..<12 {
                today = today + Int.random(in: 0...40, using: &random)
                let before = step == 0 ? nil : customer
                func day() -> Timestamp { (today + Int.random(in: -70...20, using: &random)).start }
                if Bool.random(using: &random) { customer.valor = Money(centavos: Int64.random(in: 0...3, using: &random) * 100) }
                if Int.random(in: 0..<4, using: &random) == 0 { customer.dataAdesao = day() }
                if Int.random(in: 0..<3, using: &random) == 0 { customer.dataCancelamento = Bool.random(using: &random) ? day() : nil }
                if Int.random(in: 0..<5, using: &random) == 0 {
                    customer.pipeline = [Customer.Pipeline.churned, Customer.Pipeline.ongoing, "Outro"].randomElement(using: &random)!
                }
                let from = Int.random(in: 0..<6, using: &random) == 0 ? YearMonth(index: today.month.index - 2) : nil
                customer.remember(before, from: from, today: today)
            }
            var paid = Money.zero
            for index in YearMonth("2025-06")!.index...today.month.index + 2 {
                let view = SaleTerms.View(endOf: YearMonth(index: index))
                let terms = SaleTerms(customer, view, CommissionConfig(), book)
                let pays = terms.flatMap { $0.status == .cancelado ? nil : $0.valor } ?? .zero
                let movements = MRRMovement.of(customer, view)
                #expect(movements.reduce(paid) { $0 + $1.after - $1.before } == pays, "round \(round), \(view.month): \(movements) \(customer)")
                let churns =
                    movements.count { $0.kind == .churn } - movements.count { $0.kind == .reactivation && $0.before == .zero && pays > .zero }
                if terms?.isChurn == true { #expect(movements.last?.kind == .churn, "round \(round), \(view.month): \(movements) \(customer)") }
                if let terms, !terms.isChurn { #expect(churns <= 0, "round \(round), \(view.month): \(movements) \(customer)") }
                paid = pays
            }
        }
    }

    private static func changed(_ customer: Customer, on day: String, from: String? = nil, _ change: (inout Customer) -> Void) -> Customer {
        var after = customer
        change(&after)
        after.remember(customer, from: from.flatMap { YearMonth($0) }, today: CivilDate(day)!)
        return after
    }

    @Test func whatIsChangedHoldsFromTheMonthThatRunsOn() throws {
        var customer = CommissionTests.customer(valor: "100", joined: "2026-08-10", setup: "50", seller: 1)
        func terms(_ month: String) -> SaleTerms? { CommissionTests.terms(customer, month) }
        customer = Self.changed(customer, on: "2026-11-27") { $0.valor = CommissionTests.money("900") }
        customer = Self.changed(customer, on: "2026-11-27") { $0.vendedorID = 2 }
        customer = Self.changed(customer, on: "2026-11-28") { $0.parcelasAtrasadas = 3 }
        #expect(terms("2026-10")?.valor == CommissionTests.money("100") && terms("2026-10")?.seller == 1 && terms("2026-10")?.status == .ativo)
        #expect(terms("2026-09")?.commission == CommissionTests.money("30"))
        #expect(terms("2026-11")?.valor == CommissionTests.money("900") && terms("2026-11")?.seller == 2 && terms("2026-11")?.status == .inadimplente)
        // A mistake is corrected by saying since when it is otherwise.
        customer = Self.changed(customer, on: "2026-12-01", from: "2026-10") { $0.valor = CommissionTests.money("200") }
        #expect(terms("2026-09")?.valor == CommissionTests.money("100") && terms("2026-10")?.valor == CommissionTests.money("200"))
        #expect(terms("2026-10")?.seller == 1 && terms("2026-11")?.seller == 2 && terms("2026-12")?.valor == CommissionTests.money("200"))
        // Who paid nothing counted in no month.
        var late = CommissionTests.customer(valor: "0", joined: "2026-10-31")
        late = Self.changed(late, on: "2026-11-02") { $0.valor = CommissionTests.money("70") }
        #expect(CommissionTests.terms(late, "2026-10")?.isNew == true)
    }

    @Test func whoComesBackWasAwayUntilThen() throws {
        var customer = CommissionTests.customer(valor: "100", joined: "2026-01-10")
        func terms(_ month: String) -> SaleTerms? { CommissionTests.terms(customer, month) }
        customer = Self.changed(customer, on: "2026-06-01") { $0.dataCancelamento = Timestamp(wallClock: "2026-05-20") }
        customer = Self.changed(customer, on: "2026-09-03") { $0.dataCancelamento = nil }
        #expect(terms("2026-04")?.status == .ativo && terms("2026-05")?.isChurn == true && terms("2026-08")?.status == .cancelado)
        #expect(terms("2026-09")?.status == .ativo && terms("2026-09")?.monthsActive == 4 && terms("2026-10")?.monthsActive == 5)
        #expect(MRRMovement.of(customer, .init(endOf: YearMonth("2026-05")!)).map(\.kind) == [.churn])
        #expect(MRRMovement.of(customer, .init(endOf: YearMonth("2026-09")!)).map(\.kind) == [.reactivation])
        // A later cancellation is counted without the pause; a corrected one moves.
        customer = Self.changed(customer, on: "2026-12-01") { $0.dataCancelamento = Timestamp(wallClock: "2026-11-20") }
        #expect(terms("2026-12")?.monthsActive == 6 && terms("2026-05")?.isChurn == true)
        // Nor is what was before the adhesion, as it is known since.
        var later = customer
        later.dataAdesao = Timestamp(wallClock: "2026-08-01")
        #expect(CommissionTests.terms(later, "2026-12")?.monthsActive == 2)
        customer = Self.changed(customer, on: "2026-12-01") { $0.dataCancelamento = Timestamp(wallClock: "2026-04-20") }
        for (month, isChurn) in [("2026-04", true), ("2026-05", false), ("2026-11", false)] {
            #expect(terms(month)?.isChurn == isChurn && MRRMovement.of(customer, .init(endOf: YearMonth(month)!)).isEmpty == !isChurn, "\(month)")
        }
        // One that never was is taken back as if it had not been said.
        customer = Self.changed(customer, on: "2026-12-02", from: "2026-01") { $0.dataCancelamento = nil }
        #expect(terms("2026-04")?.status == .ativo && terms("2026-12")?.monthsActive == 11)
    }
}

extension SalesBoardTests {
    @Test func whatIsDatedAheadComesTrueOnItsDay() throws {
        let clock = ManualEnvironment(now: Timestamp(rfc3339: "2024-06-20T12:00:00Z")!)
        var customers = Paged<Customer>()
        var board = SalesBoard(tenant: Self.tenant, loaded: .init(), customers: customers, now: clock.now)
        for customer in [
            CommissionTests.customer(1, joined: "2024-01-10", cancelled: "2024-06-25"), CommissionTests.customer(2, joined: "2024-06-23"),
        ] {
            customers.append(customer)
            _ = board.changed([(nil, customer)], clock.environment.moment())
        }
        #expect(board.figures.totals.figures.ativos == 1 && board.nextDue == BusinessZone.start(of: CivilDate("2024-06-23")!))
        for (hours, ativos, cancelados) in [(24, 1, 0), (48, 2, 0), (48, 1, 1)] {
            clock.advance(by: .seconds(hours * 3600))
            let told = board.timePassed(customers, clock.environment.moment()).events
            #expect(board.figures.totals.figures.ativos == ativos && board.figures.totals.figures.cancelados == cancelados)
            #expect(told.isEmpty == (hours == 24))
        }
        #expect(board.nextDue == BusinessZone.start(of: CivilDate("2024-07-01")!))
    }

    @Test func whatChangesNothingOfTheConfigurationIsNoVersionOfIt() throws {
        let clock = ManualEnvironment(now: Timestamp(rfc3339: "2024-06-20T12:00:00Z")!)
        let customers = Paged<Customer>()
        var board = SalesBoard(tenant: Self.tenant, loaded: .init(), customers: customers, now: clock.now)
        #expect(board.config.updatedAt == Self.tenant.value.time, "since the business is here")
        var same = CommissionChanges()
        same.salesGoal = 10
        for changes in [CommissionChanges(), same] {
            let (config, change) = board.configure(changes, customers, clock.environment.moment())
            #expect(config == CommissionConfig(since: Self.tenant.value.time) && change.rows.isEmpty && change.events.isEmpty)
        }
        same.salesGoal = 11
        #expect(board.configure(same, customers, clock.environment.moment()).0.updatedAt == clock.now)
    }

    @Test func sellersAreBounded() throws {
        let clock = ManualEnvironment(now: Timestamp(rfc3339: "2024-06-20T12:00:00Z")!)
        let customers = Paged<Customer>()
        var board = SalesBoard(tenant: Self.tenant, loaded: .init(), customers: customers, now: clock.now)
        _ = try board.put([Seller(id: 1, name: "A", email: nil, isActive: true)], customers, clock.environment.moment())
        let many = (1...Int64(SalesBoard.maxStrangers)).map { CommissionTests.customer($0, joined: nil, seller: 1000 + $0) }
        _ = board.changed(many.map { (nil, $0) }, clock.environment.moment())
        func patch(_ id: Int64) -> CustomerPatch { CustomerPatch(id: 5000, [.vendedorID(id)]) }
        try board.admit([patch(1), patch(1001)])
        #expect(throws: Refusal.self) { try board.admit([patch(2)]) }
        let gone = many[0]
        var other = gone
        other.vendedorID = 1
        _ = board.changed([(gone, other)], clock.environment.moment())
        try board.admit([patch(2)])
        #expect(throws: Refusal.self) {
            try board.put(
                (1...Int64(SalesBoard.maxSellers) + 1).map { Seller(id: $0, name: "S\($0)", email: nil, isActive: true) },
                customers,
                clock.environment.moment()
            )
        }
    }
}

/// What is corrected after the fact, and what is not to be.
@Suite struct CorrectionTests {
    private static func changed(
        _ customer: Customer,
        on day: String,
        from: String? = nil,
        saying said: CustomerFields = [],
        _ change: (inout Customer) -> Void = { _ in }
    ) -> Customer {
        var after = customer
        change(&after)
        after.remember(customer, saying: said, from: from.flatMap { YearMonth($0) }, today: CivilDate(day)!)
        return after
    }

    @Test func whatIsSaidOfAnEarlierMonthHoldsAlsoWhereTodayItIsNothingNew() {
        let first = CommissionTests.customer(valor: "100", joined: "2026-01-10", setup: "50", seller: 1)
        func valor(_ customer: Customer, _ month: String) -> Money? { CommissionTests.terms(customer, month)?.valor }
        let raised = Self.changed(first, on: "2026-11-10") { $0.valor = CommissionTests.money("200") }
        #expect(valor(raised, "2026-10") == CommissionTests.money("100"))
        let corrected = Self.changed(raised, on: "2026-11-11", from: "2026-09", saying: .valor)
        #expect(valor(corrected, "2026-08") == CommissionTests.money("100") && valor(corrected, "2026-09") == CommissionTests.money("200"))
        #expect(MRRMovement.of(corrected, .init(endOf: YearMonth("2026-09")!)).map(\.kind) == [.expansion])
        #expect(MRRMovement.of(corrected, .init(endOf: YearMonth("2026-11")!)).isEmpty)
        #expect(Self.changed(corrected, on: "2026-11-12", from: "2026-09", saying: .valor) == corrected, "said again it changes nothing")
        #expect(Self.changed(raised, on: "2026-11-11", from: "2026-09", saying: .setup) == raised, "and what is not named stays")
        #expect(Self.changed(raised, on: "2026-11-11", saying: .valor) == raised)
        // A cancellation that was taken back without its month.
        let away = Self.changed(first, on: "2026-09-05") { $0.dataCancelamento = Timestamp(wallClock: "2026-09-05") }
        let back = Self.changed(away, on: "2026-11-10") { $0.dataCancelamento = nil }
        #expect(CommissionTests.terms(back, "2026-09")?.status == .cancelado && CommissionTests.terms(back, "2026-10")?.status == .cancelado)
        let never = Self.changed(back, on: "2026-11-10", from: "2026-09", saying: .dataCancelamento)
        #expect(CommissionTests.terms(never, "2026-09")?.status == .ativo && CommissionTests.terms(never, "2026-10")?.monthsActive == 9)
    }

    @Test func aMistypedCancellationHidesAPauseOnlyWhileItHolds() {
        var customer = CommissionTests.customer(valor: "100", joined: "2026-01-10")
        func status(_ month: String) -> SaleStatus? { CommissionTests.terms(customer, month)?.status }
        customer = Self.changed(customer, on: "2026-09-05") { $0.dataCancelamento = Timestamp(wallClock: "2026-09-05") }
        customer = Self.changed(customer, on: "2026-11-03") { $0.dataCancelamento = nil }
        let before = customer
        customer = Self.changed(customer, on: "2026-11-10") { $0.dataCancelamento = Timestamp(wallClock: "2026-08-20") }
        #expect(status("2026-07") == .ativo && status("2026-08") == .cancelado && CommissionTests.terms(customer, "2026-11")?.monthsActive == 7)
        #expect(MRRMovement.of(customer, .init(endOf: YearMonth("2026-11")!)).isEmpty)
        let corrected = Self.changed(customer, on: "2026-11-11") { $0.dataCancelamento = Timestamp(wallClock: "2026-11-11") }
        customer = corrected
        #expect(status("2026-08") == .ativo && status("2026-09") == .cancelado && status("2026-10") == .cancelado)
        #expect(corrected.history == before.history)
        // Who came back from it was away since, with one pause in all.
        customer = Self.changed(before, on: "2026-11-10") { $0.dataCancelamento = Timestamp(wallClock: "2026-08-20") }
        customer = Self.changed(customer, on: "2026-11-12") { $0.dataCancelamento = nil }
        #expect(customer.history.absences == [.init(from: CivilDate("2026-08-20")!, back: CivilDate("2026-11-12")!)])
    }

    @Test func howeverOftenSomebodyComesBackAClosedMonthStays() {
        var customer = CommissionTests.customer(valor: "100", joined: "2026-01-10")
        func closed() -> [String] {
            ["2026-08", "2026-09", "2026-10"].map { month in
                let view = SaleTerms.View(endOf: YearMonth(month)!)
                return "\(CommissionTests.terms(customer, month)!) \(MRRMovement.of(customer, view).map(\.kind))"
            }
        }
        customer = Self.changed(customer, on: "2026-09-05") { $0.dataCancelamento = Timestamp(wallClock: "2026-09-05") }
        customer = Self.changed(customer, on: "2026-11-01") { $0.dataCancelamento = nil }
        let before = closed()
        for day in 2...28 {
            for _ in 0..<3 {
                let today = CivilDate("2026-11-01")! + day
                customer = Self.changed(customer, on: today.description) { $0.dataCancelamento = today.start }
                customer = Self.changed(customer, on: (today + 1).description) { $0.dataCancelamento = nil }
            }
        }
        #expect(closed() == before && customer.history.absences.count == 5)
        #expect(
            MRRMovement.of(customer, .init(endOf: YearMonth("2026-11")!)).reduce(Money.zero) { $0 + $1.after - $1.before }
                == CommissionTests.money("100")
        )
    }

    @Test func whoGoesOutOfTheCSPipelinesIsGoneSinceThen() {
        let first = CommissionTests.customer(valor: "100", joined: "2026-01-10")
        let moved = Self.changed(first, on: "2026-10-05") { $0.pipeline = "Kommo 999" }
        #expect(CommissionTests.terms(moved, "2026-09")?.status == .ativo && CommissionTests.terms(moved, "2026-10")?.isChurn == true)
        #expect(MRRMovement.between(first, moved, .init(today: CivilDate("2026-10-05")!)).map(\.kind) == [.churn])
        let further = Self.changed(moved, on: "2026-11-05") { $0.pipeline = Customer.Pipeline.churned }
        #expect(further.cancellation?.day == CivilDate("2026-10-05"), "where they went then is no news of it")
        let back = Self.changed(further, on: "2026-11-06") { $0.pipeline = Customer.Pipeline.bradesco }
        #expect(
            back.cancellation == nil && CommissionTests.terms(back, "2026-10")?.status == .cancelado
                && CommissionTests.terms(back, "2026-11")?.status == .ativo
        )
        // A cancellation that is said later is later, and what is over stays.
        let cancelled = Self.changed(moved, on: "2026-12-05") { $0.dataCancelamento = Timestamp(wallClock: "2026-12-05") }
        for month in ["2026-10", "2026-11"] { #expect(CommissionTests.terms(cancelled, month)?.status == .cancelado) }
        #expect(CommissionTests.terms(cancelled, "2026-10")?.isChurn == true && CommissionTests.terms(cancelled, "2026-12")?.monthsActive == 9)
        // Who was in none when they came is as they were.
        var other = first
        other.pipeline = "Outro"
        #expect(Self.changed(other, on: "2026-10-05") { $0.pipeline = "Mais outro" }.cancellation == nil)
    }

    @Test func aSellersNameMeansInAClosedMonthWhomItMeantThen() async throws {
        let directory = TemporaryDirectory()
        let store = try SQLiteStore(directory: directory.path, schema: Schema(StorageTables.all + SalesTables.all))
        let clock = ManualEnvironment(now: Timestamp(rfc3339: "2026-10-05T12:00:00Z")!)
        let tenant = TenantID(UniqueID(high: 0x01a0_0000_0000_7000, low: 0x8000_0000_0000_0001))
        var customer = CommissionTests.customer(valor: "100", joined: "2026-09-01", seller: nil)
        customer.vendedor = "Ana"
        var customers = Paged<Customer>()
        customers.append(customer)
        var board = SalesBoard(tenant: tenant, loaded: .init(), customers: customers, now: clock.now)
        func put(_ id: Int64, _ name: String) throws {
            let seller = Seller(id: id, name: name, email: nil, isActive: true)
            try store.commit([try board.put([seller], customers, clock.environment.moment()).2])
        }
        func seller(_ month: String?) -> [Int64] { Array(board.figures(of: month.flatMap { YearMonth($0) }, customers).sellers.keys) }
        try put(5, "Ana")
        #expect(seller("2026-09") == [5], "who is registered is known by it in the months before as well")
        clock.advance(by: .seconds(31 * 86_400))
        try put(5, "Ana Maria")
        #expect(seller("2026-10") == [5] && seller(nil) == [5])
        clock.advance(by: .seconds(30 * 86_400))
        // Also of a lower number, by which today's name goes.
        try put(1, "ana")
        for restarts in [false, true] {
            if restarts {
                let loaded = try await SalesBoard.load(tenant, from: store)
                board = SalesBoard(tenant: tenant, loaded: loaded, customers: customers, now: clock.now)
            }
            #expect(seller("2026-09") == [5] && seller("2026-10") == [5] && seller("2026-11") == [5] && seller(nil) == [1])
        }
        await store.close()
    }
}
