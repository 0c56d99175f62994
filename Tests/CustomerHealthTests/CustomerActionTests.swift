import Kernel
import Storage
import TestSupport
import Testing

@testable import CustomerHealth

/// What is to be done about customers, and who is told.
@Suite struct CustomerActionTests {
    private static let start = Timestamp(rfc3339: "2026-01-20T12:00:00Z")!
    private static let tenant = TenantID(UniqueID(high: 0x01a0_0000_0000_7000, low: 0x8000_0000_0000_0001))
    private static let owner = UserID(UniqueID(high: 1, low: 1))
    private static let maria = UserID(UniqueID(high: 1, low: 2))
    private static let staff = {
        var staff = Staff()
        staff.add(owner, name: "Ana", email: "ana@example.com", isOwner: true)
        staff.add(maria, name: "Maria", email: "maria@example.com", isOwner: false)
        return staff
    }()

    private let clock = ManualEnvironment(now: start)
    private var board: CustomerBoard

    init() throws {
        board = CustomerBoard(tenant: Self.tenant, loaded: .init())
        board.staff = Self.staff
        _ = try board.upsert(
            [CustomerPatch(id: 1, [.nome("Um"), .cs("MARIA")]), CustomerPatch(id: 2, [.nome("Dois"), .cs("Ninguém daqui")])],
            clock.environment.moment()
        )
    }

    /// Makes somebody's adoption whole, which lifts them out of critical, or takes it away again.
    private mutating func adopt(_ customer: Int64, _ isActive: Bool = true, at: Timestamp? = nil) throws -> Change {
        try board.record(
            [.econversa(isActive: isActive), .integrador(name: "a", isActive: isActive), .integrador(name: "b", isActive: isActive)].map {
                Activity(customer: customer, $0, at: at)
            } + (0..<41).map { _ in Activity(customer: customer, .login(userName: nil, userEmail: nil), at: at) },
            clock.environment.moment()
        )
    }

    private static func channels(_ change: Change, _ type: String) -> [String] {
        change.events.filter { String(decoding: $0.payload, as: UTF8.self).contains("\"\(type)\"") }.map(\.channel)
    }

    private func waiting(_ user: UserID) -> [Int64] { board.openActions(of: user, Self.staff).map(\.action.customer) }

    @Test mutating func whoeverIsResponsibleIsToldAndWhereThereIsNobodyTheOwner() throws {
        #expect(Self.channels(try adopt(1), "health.action") == ["health", "user:\(Self.maria)"])
        #expect(Self.channels(try adopt(2), "health.action") == ["health", "user:\(Self.owner)"])
        #expect(waiting(Self.maria) == [1] && waiting(Self.owner) == [2])
        let id = try #require(board.openActions(of: Self.maria, Self.staff).first).action.id
        clock.advance(by: .seconds(1))
        let (done, change) = board.finish(id, by: "Maria", clock.environment.moment())
        #expect(done?.doneBy == "Maria" && done?.doneAt == clock.now)
        #expect(Self.channels(change, "health.action_done") == ["health", "user:\(Self.maria)"])
        #expect(waiting(Self.maria) == [])
        #expect(board.finish(id, by: "Ana", clock.environment.moment()).0 == nil, "it is done already")
    }

    @Test mutating func aNewerOneTakesThePlaceOfTheOneBefore() throws {
        _ = try adopt(1)
        clock.advance(by: .seconds(20 * 86_400))
        let change = try adopt(1, false)
        // 41 accesses more, and no adoption: what was Normal may be so still, so only time makes it critical.
        clock.advance(by: .seconds(40 * 86_400))
        let later = board.timePassed(clock.environment.moment())
        let ended = Self.channels(change, "health.action_done").count + Self.channels(later, "health.action_done").count
        #expect(ended == 2, "on health and for Maria, once")
        let open = board.openActions(of: Self.maria, Self.staff)
        #expect(open.map(\.action.category) == [.critico] && open.map(\.nome) == ["Um"])
    }

    @Test mutating func historyThatIsBroughtInCallsForNothing() throws {
        let change = try adopt(1, at: Self.start - .seconds(3 * 86_400))
        #expect(Self.channels(change, "health.category").isEmpty == false && Self.channels(change, "health.action") == [])
        #expect(waiting(Self.maria) == [])
        // What happens from there on does.
        clock.advance(by: .seconds(60 * 86_400))
        _ = board.timePassed(clock.environment.moment())
        _ = try adopt(1, false)
        #expect(waiting(Self.maria) == [1])
    }

    @Test mutating func whatIsOpenIsReadBackAfterARestart() async throws {
        let directory = TemporaryDirectory()
        let store = try SQLiteStore(directory: directory.path, schema: Schema(StorageTables.all + CustomerTables.all))
        var fresh = CustomerBoard(tenant: Self.tenant, loaded: .init())
        fresh.staff = Self.staff
        try store.commit([try fresh.upsert([CustomerPatch(id: 1, [.cs("Maria")]), CustomerPatch(id: 2)], clock.environment.moment()).1])
        board = fresh
        try store.commit([try adopt(1), try adopt(2)])
        try store.commit([
            board.finish(try #require(board.openActions(of: Self.owner, Self.staff).first).action.id, by: "Ana", clock.environment.moment()).1
        ])
        board = CustomerBoard(tenant: Self.tenant, loaded: try await CustomerBoard.load(Self.tenant, from: store, now: clock.now))
        #expect(waiting(Self.maria) == [1] && waiting(Self.owner) == [])
        board.staff = Self.staff
        try store.commit([board.upsert([CustomerPatch(id: 1, [.cs("Ana")])], clock.environment.moment()).1])
        board = CustomerBoard(tenant: Self.tenant, loaded: try await CustomerBoard.load(Self.tenant, from: store, now: clock.now))
        #expect(waiting(Self.maria) == [] && waiting(Self.owner) == [1], "who took it over has it")
        await store.close()
    }

    @Test mutating func itGoesOverToWhoeverIsResponsibleNow() throws {
        _ = try adopt(1)
        let before = try #require(board.openActions(of: Self.maria, Self.staff).first).action
        let change = try board.upsert([CustomerPatch(id: 1, [.cs("Ana")])], clock.environment.moment()).1
        #expect(Self.channels(change, "health.action_done") == ["user:\(Self.maria)"], "off her screen; it is not done")
        #expect(Self.channels(change, "health.action") == ["health", "user:\(Self.owner)"])
        #expect(waiting(Self.maria) == [] && waiting(Self.owner) == [1])
        let after = try #require(board.openActions(of: Self.owner, Self.staff).first).action
        #expect(after.id == before.id && after.cs == "Ana" && after.doneAt == nil && after.version == before.version + 1)
        // Another way to write the same person is a change of the row, and of nobody's screen.
        let spelled = try board.upsert([CustomerPatch(id: 1, [.cs("ana@example.com")])], clock.environment.moment()).1
        #expect(Self.channels(spelled, "health.action_done") == [] && waiting(Self.owner) == [1])
        let other = try board.upsert([CustomerPatch(id: 1, [.valor(Money(centavos: 100))])], clock.environment.moment()).1
        #expect(Self.channels(other, "health.action") == [])
    }

    @Test mutating func whoLeavesHasNothingToBeDone() throws {
        _ = try adopt(1)
        let id = try #require(board.openActions(of: Self.maria, Self.staff).first).action.id
        let change = try board.upsert([CustomerPatch(id: 1, [.cs("Ana"), .dataCancelamento(clock.now)])], clock.environment.moment()).1
        #expect(Self.channels(change, "health.action_done") == ["health", "user:\(Self.maria)"])
        #expect(waiting(Self.maria) == [] && waiting(Self.owner) == [] && board.finish(id, by: "Ana", clock.environment.moment()).0 == nil)
        // Who comes back is to be acted upon from what moves then.
        _ = try board.upsert([CustomerPatch(id: 1, [.dataCancelamento(nil)])], clock.environment.moment())
        #expect(waiting(Self.owner) == [])
        clock.advance(by: .seconds(60 * 86_400))
        _ = try adopt(1, false)
        #expect(waiting(Self.owner) == [1])
    }

    @Test mutating func whoLeavesOnADayAheadHasSomethingToBeDoneUntilThen() throws {
        _ = try adopt(1)
        _ = try board.upsert([CustomerPatch(id: 1, [.dataCancelamento(Timestamp(wallClock: "2026-01-22"))])], clock.environment.moment())
        #expect(waiting(Self.maria) == [1])
        clock.advance(by: .seconds(2 * 86_400))
        #expect(!Self.channels(board.timePassed(clock.environment.moment()), "health.action_done").isEmpty && waiting(Self.maria) == [])
    }

    /// The same where their day came while nobody was awake.
    @Test mutating func whoLeftMeanwhileHasNothingToBeDoneAfterARestart() async throws {
        let directory = TemporaryDirectory()
        let store = try SQLiteStore(directory: directory.path, schema: Schema(StorageTables.all + CustomerTables.all))
        var fresh = CustomerBoard(tenant: Self.tenant, loaded: .init())
        fresh.staff = Self.staff
        try store.commit([try fresh.upsert([CustomerPatch(id: 1, [.cs("Maria")])], clock.environment.moment()).1])
        board = fresh
        try store.commit([try adopt(1)])
        let ahead = CustomerPatch(id: 1, [.dataCancelamento(Timestamp(wallClock: "2026-01-22"))])
        try store.commit([try board.upsert([ahead], clock.environment.moment()).1])
        clock.advance(by: .seconds(3 * 86_400))
        board = CustomerBoard(tenant: Self.tenant, loaded: try await CustomerBoard.load(Self.tenant, from: store, now: clock.now))
        board.staff = Self.staff
        let change = board.timePassed(clock.environment.moment())
        try store.commit([change])
        #expect(waiting(Self.maria) == [] && Self.channels(change, "health.action_done") == ["health", "user:\(Self.maria)"])
        await store.close()
    }

    @Test func onlyTheLastAreShownAndWhatIsDoneTakesNoRoom() {
        var random = SeededGenerator.fresh()
        var open = OpenActions()
        var model: [CustomerAction] = []
        var portfolio = CustomerPortfolio()
        _ = portfolio.upsert(CustomerPatch(id: 1), now: Self.start)
        let clock = ManualEnvironment(now: Self.start)
        for step in 0..<6000 {
            clock.advance(by: .milliseconds(1))
            if step % 7 == 3, let place = model.indices.randomElement(using: &random) {
                model[place].handed(to: ["Maria", "Ana", nil].randomElement(using: &random)!)
                open.hand(over: model[place])
            } else if step % 3 < 2 {
                var customer = Customer(id: Int64(step))
                customer.cs = ["Maria", "Ana", nil].randomElement(using: &random)!
                let move = CustomerPortfolio.Move(
                    place: 0,
                    from: nil,
                    to: HealthScore(HealthFacts()),
                    fromCategory: nil,
                    at: clock.now,
                    callsForAction: true
                )
                let action = CustomerAction(id: clock.environment.moment().id(), customer: customer, move, at: clock.now)
                open.add(action)
                model.append(action)
            } else if let place = model.indices.randomElement(using: &random) {
                let action = model.remove(at: place)
                #expect(open.remove(action.id) == action && open.remove(action.id) == nil && open.ofCustomer(action.customer) == nil)
            }
        }
        for cs in ["Maria", "Ana", nil] {
            #expect(open.last(100) { $0 == cs } == model.filter { $0.cs == cs }.suffix(100))
        }
        #expect(open.last(10_000) { _ in true } == model)
    }
}
