import Kernel
import Storage
import TestSupport
import Testing
import Wire

@testable import Sales

/// What subscribers are told of what customers pay is what `/vendas/mrr`, `/novos`, `/churns` and the dashboard have of the month, on each day.
@Suite struct MovementsToldTests {
    private static let tenant = TenantID(UniqueID(high: 0x01a0_0000_0000_7000, low: 0x8000_0000_0000_0001))

    private struct Told: CustomStringConvertible {
        var counts: [MRRMovementKind: Int] = [:]
        var sum = Money.zero
        /// As the lists have them.
        var (news, churns) = (0, 0)

        init() {}

        /// What months have, as of these days.
        init(of days: [CivilDate], _ office: Office) {
            for customer in office.customers {
                for view in days.map({ SaleTerms.View(today: $0) }) {
                    for movement in MRRMovement.of(customer, view) {
                        counts[movement.kind, default: 0] += 1
                        sum += movement.after - movement.before
                    }
                    let terms = SaleTerms(customer, view, CommissionConfig(), office.board.book)
                    news += terms?.isNew == true ? 1 : 0
                    churns += terms?.isChurn == true ? 1 : 0
                }
            }
        }

        private static func amount(_ json: JSON?) -> String {
            let text = json?.text ?? ""
            return text.hasSuffix(".0") ? String(text.dropLast(2)) : text
        }

        /// `kind client before after`, in order.
        static func lines(_ events: [Event]) throws -> [String] {
            try events.compactMap { event -> String? in
                let json = try JSON.parse(event.payload)
                guard let kind = json["movimento"]?.string else { return nil }
                let type = json["type"]?.string
                #expect(type == (kind == "new" ? "sales.sale" : kind == "churn" ? "sales.churn" : "sales.movement"))
                return [kind, json["cliente_id"]?.string ?? "", amount(json["antes"]), amount(json["depois"])].joined(separator: " ")
            }
        }

        mutating func hear(_ events: [Event]) throws {
            for line in try Self.lines(events) {
                let parts = line.split(separator: " ")
                counts[MRRMovementKind(rawValue: String(parts[0]))!, default: 0] += 1
                sum += Money(decimal: String(parts[3]))! - Money(decimal: String(parts[2]))!
            }
        }

        var description: String { "\(counts) \(sum), \(news) new, \(churns) gone" }
    }

    /// A board and its customers, day after day.
    private struct Office {
        let clock: ManualEnvironment
        var customers = Paged<Customer>()
        var board: SalesBoard

        init(_ day: String) {
            clock = ManualEnvironment(now: BusinessZone.start(of: CivilDate(day)!) + .seconds(12 * 3600))
            board = SalesBoard(tenant: MovementsToldTests.tenant, loaded: .init(), customers: customers, now: clock.now)
        }

        var today: CivilDate { BusinessZone.today(clock.now) }

        mutating func passes(_ days: Int = 1) throws -> [String] {
            clock.advance(by: .seconds(days * 86_400))
            return try Told.lines(board.timePassed(customers, clock.environment.moment()).events)
        }

        mutating func put(_ customer: Customer) -> [Event] {
            let place = customers.indices.first { customers[$0].id == customer.id }
            let before = place.map { customers[$0] }
            var after = customer
            after.remember(before, today: today)
            if let place { customers[place] = after } else { customers.append(after) }
            return board.changed([(before, after)], clock.environment.moment()).events
        }

        mutating func said(_ customer: Customer) throws -> [String] { try Told.lines(put(customer)) }
    }

    @Test func whatIsDatedAheadIsToldOnItsDayAndOnce() throws {
        var office = Office("2024-06-20")
        let leaving = CommissionTests.customer(1, joined: "2024-01-10", cancelled: "2024-06-22")
        #expect(try office.said(CommissionTests.customer(1, joined: "2024-01-10")) == [])
        #expect(try office.said(leaving) == [] && office.said(CommissionTests.customer(2, joined: "2024-06-22")) == [])
        #expect(try office.said(CommissionTests.customer(3, joined: "2024-06-23", cancelled: "2024-06-23")) == [])
        #expect(office.board.figures.totals.figures.news == 0)
        #expect(try office.passes() == [])
        #expect(try office.passes() == ["churn 1 100 0", "new 2 0 100"])
        #expect(office.board.figures.totals.figures.news == 1 && office.board.figures.totals.figures.churns == 1)
        #expect(try office.passes() == ["new 3 0 100", "churn 3 100 0"] && office.passes() == [] && office.passes(10) == [])
    }

    @Test func daysThatWereSleptOverAreToldInTheirOrder() throws {
        var office = Office("2024-06-28")
        _ = office.put(CommissionTests.customer(1, joined: "2024-01-10", cancelled: "2024-07-02"))
        _ = office.put(CommissionTests.customer(2, joined: "2024-06-29"))
        _ = office.put(CommissionTests.customer(3, joined: "2024-07-01", cancelled: "2024-08-01"))
        #expect(try office.passes(40) == ["new 2 0 100", "new 3 0 100", "churn 1 100 0", "churn 3 100 0"])
        #expect(try office.passes() == [])
    }

    /// Whoever computes everything anew, or registers a seller, does so on a day that has begun.
    @Test func whoeverComesFirstOnTheDayTellsOfIt() throws {
        for way in 0..<3 {
            var office = Office("2024-06-20")
            _ = office.put(CommissionTests.customer(1, joined: "2024-01-10", cancelled: "2024-06-21"))
            office.clock.advance(by: .seconds(86_400))
            let moment = office.clock.environment.moment()
            let events =
                switch way {
                case 0: office.board.recompute(office.customers, moment).events
                case 1: office.board.configure(CommissionChanges(), office.customers, moment).1.events
                default: try office.board.put([Seller(id: 1, name: "A", email: nil, isActive: true)], office.customers, moment).2.events
                }
            #expect(try Told.lines(events) == ["churn 1 100 0"], "\(way)")
            #expect(try office.passes() == [])
        }
    }

    @Test func aClockThatIsPutBackTellsNothingAgain() throws {
        var office = Office("2024-06-20")
        _ = office.put(CommissionTests.customer(1, joined: "2024-01-10", cancelled: "2024-06-21"))
        #expect(try office.passes() == ["churn 1 100 0"])
        #expect(try office.passes(-1) == [] && office.board.figures.totals.figures.churns == 0)
        #expect(try office.passes() == [] && office.board.figures.totals.figures.churns == 1)
        // From far ahead it was put right.
        _ = office.put(CommissionTests.customer(2, joined: "2024-01-10", cancelled: "2024-06-25"))
        #expect(try office.passes(300) == ["churn 2 100 0"] && office.passes(-300) == [])
        #expect(try office.passes(4) == ["churn 2 100 0"])
    }

    @Test func aSaleIsWhoJoinsAndNotWhoHasAValue() throws {
        var office = Office("2024-06-20")
        #expect(try office.said(CommissionTests.customer(1, joined: nil)) == [] && office.board.figures.totals.figures.news == 0)
        #expect(try office.said(CommissionTests.customer(1, valor: "150", joined: nil)) == [])
        #expect(try office.said(CommissionTests.customer(1, valor: "150", joined: "2024-06-19")) == ["new 1 0 150"])
        #expect(office.board.figures.totals.figures.news == 1)
        #expect(try office.said(CommissionTests.customer(1, valor: "200", joined: "2024-06-18")) == ["expansion 1 150 200"])
        // Without an adhesion one can leave all the same.
        _ = office.put(CommissionTests.customer(2, joined: nil))
        #expect(try office.said(CommissionTests.customer(2, joined: nil, cancelled: "2024-06-20")) == ["churn 2 100 0"])
        // One that is corrected to a day ahead is a sale on that day.
        #expect(try office.said(CommissionTests.customer(1, valor: "200", joined: "2024-06-22")) == [])
        #expect(office.board.figures.totals.figures.news == 0)
        #expect(try office.passes(2).first?.hasPrefix("new 1 0") == true)
    }

    @Test func moreChangesThanAMonthKeepsAreToldAllTheSame() throws {
        var office = Office("2024-06-20")
        _ = office.put(CommissionTests.customer(1, valor: "1", joined: "2024-01-10"))
        for value in 2...20 {
            #expect(try office.said(CommissionTests.customer(1, valor: "\(value)", joined: "2024-01-10")) == ["expansion 1 \(value - 1) \(value)"])
        }
        #expect(try office.said(CommissionTests.customer(1, valor: "5", joined: "2024-01-10")) == ["contraction 1 20 5"])
    }

    /// Of what happens, and is not a correction of what was said before, as many are told as the month has, each day, and by as much.
    @Test func whatIsToldIsWhatTheMonthHas() throws {
        var random = SeededGenerator.fresh()
        var office = Office("2026-01-20")
        var told = Told()
        var month = office.today.month
        for step in 0..<1500 {
            let jump =
                Int.random(in: 0..<3, using: &random) == 0 ? 86_400 * Int.random(in: 1...3, using: &random) : Int.random(in: 0...9000, using: &random)
            office.clock.advance(by: .seconds(jump))
            let slept = office.board.timePassed(office.customers, office.clock.environment.moment()).events
            try told.hear(slept)
            if office.today.month == month {
                try #require(check(told, Told(of: [office.today], office), "step \(step), as the day began"))
            } else {
                // What fell on the last days of the month that is over is told as well.
                try #require(check(told, Told(of: [month.lastDay, office.today], office), "step \(step), as \(month) was over"))
                (told, month) = (Told(of: [office.today], office), office.today.month)
            }
            let id = Int64.random(in: 1...30, using: &random)
            let today = office.today
            func ahead() -> Timestamp { (today + Int.random(in: 1...12, using: &random)).start }
            var customer = office.customers.first { $0.id == id } ?? CommissionTests.customer(id, valor: "0", joined: nil)
            let isNew = !office.customers.contains { $0.id == id }
            let hasStayed = customer.cancellation == nil && customer.history.absences.isEmpty
            let hasJoined = customer.dayOfAdhesion.map { $0 <= today } ?? true
            switch Int.random(in: 0..<9, using: &random) {
            case 0...2 where customer.dataAdesao != nil || hasStayed:
                customer.valor = Money(centavos: Int64.random(in: 1...4, using: &random) * 100)
            case 3 where customer.dataAdesao == nil && hasStayed: customer.dataAdesao = ahead()
            case 4 where customer.dataAdesao == nil && hasStayed:
                customer.dataAdesao = Bool.random(using: &random) ? today.start : (today + -60).start
                if isNew { customer.valor = Money(centavos: 500) }
            case 5 where customer.cancellation == nil && hasJoined:
                customer.dataCancelamento = Bool.random(using: &random) ? today.start : ahead()
            case 6 where customer.dayOfCancellation.map { $0 > today } ?? false:
                customer.dataCancelamento = Bool.random(using: &random) ? nil : ahead()
            case 7 where customer.cancellation == nil && hasJoined: customer.pipeline = Customer.Pipeline.churned
            case 8: (customer.dataCancelamento, customer.pipeline) = (nil, Customer.Pipeline.ongoing)
            default: customer.nome = "Empresa \(step)"
            }
            try told.hear(office.put(customer))
            try #require(check(told, Told(of: [today], office), "step \(step): \(customer)"))
        }
    }

    private func check(_ told: Told, _ wanted: Told, _ comment: String) -> Bool {
        let counts = [MRRMovementKind.new, .churn, .reactivation].allSatisfy { told.counts[$0] ?? 0 == wanted.counts[$0] ?? 0 }
        let isSame = counts && told.sum == wanted.sum && told.counts[.new] ?? 0 == wanted.news && told.counts[.churn] ?? 0 >= wanted.churns
        #expect(isSame, "\(comment): \(told), not \(wanted)")
        return isSame
    }
}
