import Kernel
import Storage
import TestSupport
import Testing
import Wire

@testable import Sales

/// Golden tables from the text of contracts/vendas.md.
@Suite struct CommissionTests {
    static func money(_ text: String) -> Money { Money(decimal: text)! }
    static func customer(
        _ id: Int64 = 1,
        valor: String = "100",
        joined: String?,
        cancelled: String? = nil,
        overdue: Int = 0,
        setup: String = "0",
        seller: Int64? = 7
    )
        -> Customer
    {
        var customer = Customer(id: id)
        customer.nome = "Empresa \(id)"
        customer.valor = money(valor)
        customer.setup = money(setup)
        customer.dataAdesao = joined.flatMap { Timestamp(wallClock: $0) }
        customer.dataCancelamento = cancelled.flatMap { Timestamp(wallClock: $0) }
        customer.parcelasAtrasadas = overdue
        customer.vendedorID = seller
        return customer
    }
    static let book = SellerBook([Seller(id: 7, name: "Amanda", email: "a@example.com", isActive: true)])

    static func terms(_ customer: Customer, _ month: String, isHistoric: Bool = true) -> SaleTerms? {
        let month = YearMonth(month)!
        return SaleTerms(customer, isHistoric ? .init(endOf: month) : .init(today: month.lastDay), CommissionConfig(), book)
    }

    @Test(
        arguments: [
            (0, "bronze"), (1, "bronze"), (5, "bronze"), (6, "prata"), (9, "prata"), (10, "ouro"), (11, "ouro"),
        ]
    )
    func tiers(_ sales: Int, _ tier: String) { #expect(CommissionConfig().tier(sales: sales).name == tier) }

    @Test func theGoalMovesGoldAlone() {
        var config = CommissionConfig()
        config.salesGoal = 12
        #expect(config.tier(sales: 11) == .prata && config.tier(sales: 12) == .ouro && config.tier(sales: 6) == .prata)
        config.salesGoal = 3
        #expect(config.tier(sales: 2) == .bronze && config.tier(sales: 3) == .ouro)
    }

    /// "Tabela de Recorrência", with its contradiction resolved: the table has seven months, and what is past it is 0 % (DESIGN §8).
    @Test(arguments: [(0, 0), (1, 30), (2, 20), (3, 10), (4, 10), (5, 10), (6, 10), (7, 10), (8, 0), (11, 0), (100, 0)] as [(Int, Int64)])
    func recurrence(_ month: Int, _ percentage: Int64) { #expect(CommissionConfig().recurrence(month: month) == Percentage(percentage)) }

    /// The contract's sample: eleven months from January to December, past the table.
    @Test func theContractsCustomer() throws {
        let its = Self.customer(123, valor: "299.90", joined: "2024-01-15", setup: "500.00")
        let terms = try #require(Self.terms(its, "2024-12"))
        #expect(terms.monthsActive == 11 && terms.commissionMonths == 11 && terms.percentage == .zero && terms.commission == .zero)
        #expect(terms.status == .ativo)
    }

    /// Calendar months, whatever the days: also across month ends, leap days and years.
    @Test(
        arguments: [
            ("2024-01-31", "2024-01", 0), ("2024-01-31", "2024-02", 1), ("2024-01-01", "2024-02", 1), ("2024-02-29", "2025-02", 12),
            ("2023-12-31", "2024-01", 1), ("2024-02-29", "2024-03", 1),
        ]
    )
    func monthsActive(_ joined: String, _ month: String, _ months: Int) throws {
        #expect(try #require(Self.terms(Self.customer(joined: joined), month)).monthsActive == months)
    }

    @Test func cancellationEndsTheMonths() throws {
        let its = Self.customer(joined: "2024-01-10", cancelled: "2024-05-31")
        #expect(try #require(Self.terms(its, "2024-12")).monthsActive == 4)
        let before = try #require(Self.terms(its, "2024-04"))
        #expect(before.status == .ativo && before.monthsActive == 3, "in April it was a customer")
        let within = try #require(Self.terms(its, "2024-05"))
        #expect(within.status == .cancelado && within.isChurn)
        #expect(try #require(Self.terms(its, "2024-06")).isChurn == false)
    }

    @Test func overdueInstalmentsShortenTheCommission() throws {
        let its = try #require(Self.terms(Self.customer(valor: "199.90", joined: "2024-01-10", overdue: 2), "2024-04"))
        #expect(its.status == .inadimplente && its.monthsActive == 3 && its.commissionMonths == 1 && its.commission == Self.money("59.97"))
        let none = try #require(Self.terms(Self.customer(joined: "2024-01-10", overdue: 5), "2024-04"))
        #expect(none.commissionMonths == 0 && none.commission == .zero, "at least 0, and of month 0 nothing")
    }

    @Test func whoHadNotJoinedOrPaysNothingIsNotThere() {
        #expect(Self.terms(Self.customer(joined: "2024-05-01"), "2024-04") == nil)
        #expect(Self.terms(Self.customer(joined: "2024-04-30"), "2024-04")?.isNew == true)
        #expect(Self.terms(Self.customer(valor: "0", joined: "2024-01-01"), "2024-04") == nil)
        #expect(
            Self.terms(Self.customer(joined: nil), "2024-04") == nil
                && Self.terms(Self.customer(joined: nil), "2024-04", isHistoric: false)?.monthsActive == 0
        )
    }

    /// comissaoTotal = recurring commission + tier commission on the month's sales (DESIGN §8).
    @Test func theSummaryOfOneSeller() throws {
        var customers = Paged<Customer>()
        // Six sales in June make silver: 10 % of the MRR and 25 % of the setup.
        for id in 1...6 { customers.append(Self.customer(Int64(id), valor: "100.05", joined: "2024-06-\(10 + id)", setup: "50.10")) }
        customers.append(Self.customer(7, valor: "333.33", joined: "2024-05-02"))
        customers.append(Self.customer(8, valor: "500", joined: "2024-04-02", overdue: 1))
        customers.append(Self.customer(9, valor: "900", joined: "2024-05-02", cancelled: "2024-06-15"))
        let figures = SalesFigures(customers, .init(endOf: YearMonth("2024-06")!), CommissionConfig(), Self.book)
        let its = try #require(figures.sellers[7])
        #expect(its.customers == 9 && its.ativos == 7 && its.inadimplentes == 1 && its.cancelados == 1 && its.news == 6 && its.churns == 1)
        #expect(its.mrr == Self.money("933.63") && its.setup == Self.money("300.60"))
        // 333.33 × 30 % = 100.00 (99.999); 500 × 30 % = 150 (two months less one); of those of June month 0.
        #expect(its.recurring == Self.money("250.00"))
        // 100.05 × 10 % = 10.01, 50.10 × 25 % = 12.53, six times.
        #expect(its.tier(figures.config) == .prata && its.tierCommission(figures.config) == Self.money("135.24"))
        #expect(its.commission(figures.config) == Self.money("385.24"))
        let statement = CommissionStatement(Self.book.named(7), figures, customers, Self.book)
        #expect(statement.total == its.commission(figures.config), "the lines add up")
        #expect(statement.csv.contains(#"7;"Empresa 7";"Recorrente";1;333,33;30,0;100,00"#) && statement.csv.hasSuffix("TOTAL;385,24\r\n"))
    }

    @Test func aFormulaInANameIsNotComputedBySpreadsheetsNorRunInBrowsers() {
        var customer = Self.customer(joined: "2024-05-02")
        customer.nome = "=HYPERLINK(\"x\")<script>\u{600}<img src=x>\u{600}\";=1+1"
        var customers = Paged<Customer>()
        customers.append(customer)
        let figures = SalesFigures(customers, .init(endOf: YearMonth("2024-06")!), CommissionConfig(), Self.book)
        let statement = CommissionStatement(Self.book.named(7), figures, customers, Self.book)
        #expect(statement.csv.utf8.starts(with: "\u{feff}cliente_id".utf8))
        let (csv, html) = (Array(statement.csv.utf8), Array(statement.html.utf8))
        #expect(csv.firstRange(of: Array("\"'=HYPERLINK(\"\"x\"\")<script>\u{600}<img src=x>\u{600}\"\";=1+1\"".utf8)) != nil)
        for tag in ["<script", "<img"] { #expect(html.firstRange(of: Array(tag.utf8)) == nil) }
    }

    @Test func whoseCustomerItIs() {
        var customer = Self.customer(joined: nil, seller: nil)
        #expect(
            Self.book.seller(of: customer, in: YearMonth("2024-06")!) == Seller.oldSalesID
                && Self.book.named(Seller.oldSalesID).name == "Vendas Antigas"
        )
        customer.vendedor = "AMANDA"
        #expect(Self.book.seller(of: customer, in: YearMonth("2024-06")!) == 7)
        let renamed = SellerBook([Seller(id: Seller.oldSalesID, name: "Fulano", email: nil, isActive: true)])
        #expect(renamed.named(Seller.oldSalesID) == .oldSales && renamed.active.isEmpty, "also where one was stored once")
        customer.vendedorID = 55
        #expect(Self.book.seller(of: customer, in: YearMonth("2024-06")!) == 55)
    }

    @Test func aNameThatOneSellerGivesUpIsTheOthers() {
        func seller(_ id: Int64, _ name: String) -> Seller { Seller(id: id, name: name, email: nil, isActive: true) }
        var book = SellerBook([seller(1, "Ana"), seller(2, "ANA"), seller(3, "ana")])
        var customer = Self.customer(joined: nil, seller: nil)
        customer.vendedor = "Ana"
        #expect(book.seller(of: customer, in: YearMonth("2024-06")!) == 1)
        book.put(seller(1, "Bia"))
        #expect(book.seller(of: customer, in: YearMonth("2024-06")!) == 2 && book == SellerBook(Array(book.sellers.values)), "as after a restart")
        book.put(seller(1, "Ana"))
        #expect(book.seller(of: customer, in: YearMonth("2024-06")!) == 1)
    }

    /// Whoever changed last is no matter.
    @Test func whoWasNeverRegisteredIsCalledAsMostCustomersCallThem() {
        var figures = SalesFigures(.init(endOf: YearMonth("2024-06")!), CommissionConfig())
        func customer(_ id: Int64, _ name: String) -> Customer {
            var customer = Self.customer(id, joined: "2024-05-02", seller: 55)
            customer.vendedor = name
            return customer
        }
        func name() -> String? { figures.lines(Self.book).first { $0.seller.id == 55 }?.seller.name }
        figures.add(customer(1, "Beto"), Self.book)
        figures.add(customer(2, "Alba"), Self.book)
        #expect(name() == "Alba")
        figures.add(customer(3, "Beto"), Self.book)
        #expect(name() == "Beto")
        figures.remove(customer(1, "Beto"), Self.book)
        figures.remove(customer(3, "Beto"), Self.book)
        #expect(name() == "Alba")
    }

    /// A million of them, for as long as dates go.
    @Test func noSumIsTooLarge() throws {
        let customer = Self.customer(valor: "10000000000", joined: "0001-02-01", setup: "10000000000")
        let terms = try #require(Self.terms(customer, "9998-11"))
        var figures = SellerFigures()
        for _ in 0..<1_000 { figures.count(terms, CommissionConfig(), 1) }
        #expect(figures.lifetime.centavos > Int128(Int64.max) && figures.mrr == Money(centavos: Money.max.centavos * 1000))
        for _ in 0..<1_000 { figures.count(terms, CommissionConfig(), -1) }
        #expect(figures == SellerFigures())
    }

    /// Without a month it is as it is today: what is dated ahead has not happened.
    @Test func whatIsDatedAheadIsNotYet() throws {
        let today = SaleTerms.View(today: CivilDate("2024-06-20")!)
        func terms(_ customer: Customer) -> SaleTerms? { SaleTerms(customer, today, CommissionConfig(), Self.book) }
        #expect(try #require(terms(Self.customer(joined: "2024-01-10", cancelled: "2024-06-21"))).status == .ativo)
        #expect(try #require(terms(Self.customer(joined: "2024-01-10", cancelled: "2024-06-20"))).status == .cancelado)
        #expect(terms(Self.customer(joined: "2024-06-21")) == nil && terms(Self.customer(joined: "2024-06-20"))?.isNew == true)
        #expect(Self.terms(Self.customer(joined: "2024-06-21"), "2024-06")?.isNew == true, "by the month's end it has happened")
    }

    @Test func whoIsInThePipelineOfThoseWhoLeftHasCancelled() throws {
        var customer = Self.customer(joined: "2024-01-10")
        customer.pipeline = Customer.Pipeline.churned
        let unknown = try #require(Self.terms(customer, "2024-03"))
        #expect(unknown.status == .cancelado && !unknown.isChurn && unknown.cancelledOn == nil, "they came so: nobody knows since when")
        var known = Self.customer(joined: "2024-01-10")
        let before = known
        known.pipeline = Customer.Pipeline.churned
        known.remember(before, today: CivilDate("2024-05-20")!)
        #expect(try #require(Self.terms(known, "2024-04")).status == .ativo && (try #require(Self.terms(known, "2024-05"))).isChurn)
        #expect(try #require(Self.terms(known, "2024-06")).monthsActive == 4)
    }

    /// A sale that is undone before its month is over is none.
    @Test func aSaleCancelledInItsOwnMonthCountsForNoTierAndIsNotPaid() throws {
        var customers = Paged<Customer>()
        for id in 1...6 { customers.append(Self.customer(Int64(id), joined: "2024-06-10", cancelled: id == 6 ? "2024-06-30" : nil, setup: "50")) }
        let figures = SalesFigures(customers, .init(endOf: YearMonth("2024-06")!), CommissionConfig(), Self.book)
        let its = try #require(figures.sellers[7])
        #expect(its.news == 5 && its.tier(figures.config) == .bronze && its.commission(figures.config) == Self.money("62.50"))
        #expect(CommissionStatement(Self.book.named(7), figures, customers, Self.book).total == Self.money("62.50"))
        #expect(try #require(Self.terms(customers[5], "2024-06")).isNew, "it was an adhesion all the same")
    }

    @Test func aClosedMonthKeepsItsConfiguration() {
        var plan = CommissionPlan()
        var config = CommissionConfig()
        config.salesGoal = 15
        plan.put(config, from: YearMonth("2024-06")!)
        config.salesGoal = 20
        plan.put(config, from: YearMonth("2024-06")!)
        config.salesGoal = 30
        plan.put(config, from: YearMonth("2024-09")!)
        #expect(plan.config(of: YearMonth("2024-05")!).salesGoal == 10)
        #expect(plan.config(of: YearMonth("2024-08")!).salesGoal == 20 && plan.config(of: YearMonth("2025-01")!).salesGoal == 30)
    }

    @Test(
        arguments: [
            ("100", nil, "150", nil, [MRRMovementKind.expansion]), ("100", nil, "80", nil, [.contraction]),
            ("100", nil, "100", "2024-06-10", [.churn]), ("100", nil, "100", "2024-05-10", []), ("100", nil, "100", "2024-06-21", []),
            ("100", "2024-05-10", "100", nil, [.reactivation]), ("100", "2024-06-10", "100", nil, [.reactivation]),
            ("100", "2024-06-10", "100", "2024-06-25", []), ("100", "2024-06-25", "100", nil, []), ("100", nil, "100", nil, []),
            ("100", "2024-05-10", "200", "2024-05-10", []), ("100", "2024-06-10", "200", "2024-06-10", []),
        ] as [(String, String?, String, String?, [MRRMovementKind])]
    )
    func movements(_ before: String, _ cancelledBefore: String?, _ after: String, _ cancelledAfter: String?, _ kinds: [MRRMovementKind]) {
        let today = CivilDate("2024-06-20")!
        let was = Self.customer(valor: before, joined: "2024-01-01", cancelled: cancelledBefore)
        var isNow = Self.customer(valor: after, joined: "2024-01-01", cancelled: cancelledAfter)
        isNow.remember(was, today: today)
        #expect(MRRMovement.between(was, isNow, .init(today: today)).map(\.kind) == kinds)
    }
}

/// What a subscriber makes of the snapshot and what it hears (protocol/README.md).
private struct ShownRanking {
    private var lines: [Int64: JSON] = [:]
    private var places: [Int64: Int64] = [:]

    init(_ ranking: JSON?) { for line in ranking?.array ?? [] { put(line) } }

    private mutating func put(_ line: JSON) {
        guard let id = line["vendedor"]?["id"]?.int else { return }
        lines[id] = line
        places[id] = line["posicao"]?.int
    }

    mutating func hear(_ events: [Event]) throws {
        for event in try events.map({ try JSON.parse($0.payload) }) where event["type"]?.string == "sales.ranking" {
            for line in event["vendedores"]?.array ?? [] { put(line) }
            for move in event["movimentos"]?.array ?? [] { if let id = move["vendedor_id"]?.int { places[id] = move["para"]?.int } }
            for id in (event["sairam"]?.array ?? []).compactMap(\.int) { (lines[id], places[id]) = (nil, nil) }
        }
    }

    var ranking: [JSON] {
        places.sorted { $0.value < $1.value }.compactMap { id, place in lines[id]?.adding("posicao", .int(place)) }
    }
}

/// The figures that are kept up with each change against the same computed from scratch.
@Suite struct SalesBoardTests {
    static let tenant = TenantID(UniqueID(high: 0x01a0_0000_0000_7000, low: 0x8000_0000_0000_0001))

    @Test func whatIsKeptUpEqualsWhatIsComputedFromScratchAlsoAfterARestart() async throws {
        var random = SeededGenerator.fresh()
        let directory = TemporaryDirectory()
        let store = try SQLiteStore(directory: directory.path, schema: Schema(StorageTables.all + SalesTables.all))
        let clock = ManualEnvironment(now: Timestamp(rfc3339: "2024-01-30T12:00:00Z")!)
        var customers = Paged<Customer>()
        var places: [Int64: Int] = [:]
        var board = SalesBoard(tenant: Self.tenant, loaded: .init(), customers: customers, now: clock.now)
        var shown = ShownRanking(try JSON.parse(board.snapshot())["ranking"])
        for step in 0..<2000 {
            clock.advance(by: .seconds(Int.random(in: 0...20_000, using: &random)))
            let moment = clock.environment.moment()
            var change = board.timePassed(customers, moment)
            switch Int.random(in: 0..<20, using: &random) {
            case 0:
                let id = Int64.random(in: 1...6, using: &random)
                change.append(
                    try board.put(
                        [
                            Seller(
                                id: id,
                                name: "Vendedor \(Int.random(in: 1...4, using: &random))",
                                email: nil,
                                isActive: Bool.random(using: &random)
                            )
                        ],
                        customers,
                        moment
                    ).2
                )
            case 1:
                var changes = CommissionChanges()
                changes.salesGoal = Int.random(in: 1...12, using: &random)
                changes.mrr[1] = Percentage(Int64.random(in: 0...100, using: &random))
                if Bool.random(using: &random) { changes.recurrence = [Percentage(50), Percentage(25)] }
                change.append(board.configure(changes, customers, moment).1)
            default:
                var changed: [(before: Customer?, after: Customer)] = []
                for _ in 0..<Int.random(in: 1...3, using: &random) {
                    let id = Int64.random(in: 1...60, using: &random)
                    let before = places[id].map { customers[$0] }
                    var after = before ?? Customer(id: id)
                    let today = BusinessZone.today(clock.now)
                    if Bool.random(using: &random) { after.valor = Money(centavos: Int64.random(in: 0...100_000, using: &random)) }
                    if Bool.random(using: &random) { after.setup = Money(centavos: Int64.random(in: 0...100_000, using: &random)) }
                    if Bool.random(using: &random) { after.dataAdesao = (today + -Int.random(in: -5...300, using: &random)).start }
                    if Bool.random(using: &random) { after.parcelasAtrasadas = Int.random(in: 0...3, using: &random) }
                    if Int.random(in: 0..<4, using: &random) == 0 {
                        after.dataCancelamento = Bool.random(using: &random) ? (today + Int.random(in: -40...5, using: &random)).start : nil
                    }
                    if Int.random(in: 0..<6, using: &random) == 0 {
                        after.pipeline = Bool.random(using: &random) ? Customer.Pipeline.churned : Customer.Pipeline.ongoing
                    }
                    if Bool.random(using: &random) { after.vendedorID = Bool.random(using: &random) ? nil : Int64.random(in: 1...8, using: &random) }
                    after.vendedor = "vendedor \(Int.random(in: 1...5, using: &random))"
                    after.remember(before, today: today)
                    if let place = places[id] {
                        customers[place] = after
                    } else {
                        places[id] = customers.count
                        customers.append(after)
                    }
                    changed.append((before, after))
                }
                change.append(board.changed(changed, moment))
            }
            try store.commit([change])
            try shown.hear(change.events)
            if step % 400 == 399 {
                clock.advance(by: .seconds(Int.random(in: 0...40 * 86_400, using: &random)))
                board = SalesBoard(
                    tenant: Self.tenant,
                    loaded: try await SalesBoard.load(Self.tenant, from: store),
                    customers: customers,
                    now: clock.now
                )
            }
            guard step % 10 == 0 || step % 400 == 399 else { continue }
            change = board.timePassed(customers, clock.environment.moment())
            try store.commit([change])
            if step % 400 == 399 { shown = ShownRanking(try JSON.parse(board.snapshot())["ranking"]) } else { try shown.hear(change.events) }
            #expect(shown.ranking == (try JSON.parse(board.snapshot()))["ranking"]?.array, "step \(step)")
            let today = BusinessZone.today(clock.now)
            let scratch = SalesFigures(customers, .init(today: today), board.plan.config(of: today.month), board.book)
            #expect(board.figures == scratch, "step \(step)")
            for line in scratch.lines(board.book) {
                let statement = CommissionStatement(line.seller, scratch, customers, board.book)
                #expect(statement.total == line.figures.commission(scratch.config), "step \(step): the lines add up")
            }
        }
        store.close()
    }

    @Test func subscribersHearOfASaleOfATierAndOfPlacesTaken() throws {
        let clock = ManualEnvironment(now: Timestamp(rfc3339: "2024-06-20T12:00:00Z")!)
        let moment = clock.environment.moment()
        var customers = Paged<Customer>()
        var board = SalesBoard(tenant: Self.tenant, loaded: .init(), customers: customers, now: clock.now)
        _ = try board.put(
            [Seller(id: 1, name: "A", email: nil, isActive: true), Seller(id: 2, name: "B", email: nil, isActive: true)],
            customers,
            moment
        )
        var events: [String] = []
        for id in 1...6 {
            let customer = CommissionTests.customer(Int64(id), joined: "2024-06-10", seller: 2)
            customers.append(customer)
            events = board.changed([(nil, customer)], moment).events.map { String(decoding: $0.payload, as: UTF8.self) }
            if id == 1 {
                #expect(events.contains { $0.contains(#""movimentos":[{"vendedor_id":2,"de":2,"para":1},{"vendedor_id":1,"de":1,"para":2}]"#) })
            }
            #expect(events.contains { $0.contains("sales.sale") } && events.contains { $0.contains("sales.dashboard") })
            #expect(events.contains { $0.contains("sales.tier") } == (id == 6))
        }
        #expect(events.contains { $0.contains(#""de":"bronze","tier":"prata","novosMes":6"#) })
        clock.advance(by: .seconds(11 * 86_400))
        let july = board.timePassed(customers, clock.environment.moment()).events.map { String(decoding: $0.payload, as: UTF8.self) }
        #expect(july.contains { $0.contains(#""month":"2024-07""#) } && !july.contains { $0.contains("sales.tier") })
    }
}
