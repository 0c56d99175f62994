import Kernel
import Resilience
import Storage
import Synchronization
import Tenancy
import TestSupport
import Testing

/// What people tell breakers at the same time, and what of it is there afterwards.
@Suite struct BreakerOrdersTests {
    /// What stands before Redis, as far as orders go.
    private final class Guard: BreakerControl {
        private let state = Mutex(CircuitBreaker(.redis))
        var breaker: CircuitBreaker { state.withLock { $0 } }
        func carryOut(_ order: BreakerOrder) { state.withLock { $0.carryOut(order) } }
    }

    private let house: House
    private let redis = Guard()

    init() throws {
        house = try House()
        house.breakers.guards(.redis, redis)
    }

    private func order(_ action: String, _ name: String, _ reason: String, by principal: Principal) async throws(Refusal) {
        let order: BreakerOrder =
            action == "reset" ? .reset : .force(.init(isOpen: action == "force-open", by: principal.name, reason: reason, at: house.clock.now))
        _ = try await house.operations.order(order, name, reason: reason, by: principal, operatorTenant: house.tenant)
    }

    private func live(_ board: BreakerBoard, _ name: String, of tenant: TenantID) -> [String] {
        let breaker = board.breakers(of: tenant).first { $0.dependency.rawValue == name }?.breaker
        return [breaker?.state.rawValue ?? "", breaker?.force?.reason ?? ""]
    }

    /// As a server that is started on what is stored would have it.
    private func restarted() async throws -> BreakerBoard {
        let board = BreakerBoard(environment: house.clock.environment)
        board.guards(.redis, Guard())
        try await board.restore(from: house.store, operatorTenant: house.tenant)
        return board
    }

    @Test func ofManyOrdersAtOnceTheOneThatIsStoredIsTheOneThatStands() async throws {
        var random = SeededGenerator.fresh()
        let names = ["whatsapp", "redis"]
        for round in 0..<100 {
            let orders = (0..<8).map { n in
                (
                    action: ["reset", "force-open", "force-closed"].randomElement(using: &random) ?? "reset", name: names[n % 2],
                    who: house.agent(UInt64(n), role: .admin), reason: "\(round).\(n)"
                )
            }
            await withDiscardingTaskGroup { group in
                for each in orders { group.addTask { try? await order(each.action, each.name, each.reason, by: each.who) } }
            }
            let board = try await restarted()
            for name in names {
                #expect(live(house.breakers, name, of: house.tenant) == live(board, name, of: house.tenant), "seed \(random.seed), round \(round)")
            }
        }
    }

    @Test func businessesThatOrderAtOnceUndoNothingThatIsForcedAndOneRowStands() async throws {
        let (operators, others) = (house.agent(1, role: .owner), house.agent(2, role: .owner, of: house.other))
        for round in 0..<60 {
            await withDiscardingTaskGroup { group in
                for n in 0..<4 {
                    group.addTask { try? await order(n == 3 ? "reset" : "force-open", "redis", "\(round).\(n)", by: operators) }
                    group.addTask { try? await order("reset", "redis", "de fora", by: others) }
                }
            }
            #expect(live(house.breakers, "redis", of: house.tenant) == live(try await restarted(), "redis", of: house.tenant), "round \(round)")
        }
        try await order("force-open", "redis", "manutenção", by: operators)
        for action in ["reset", "force-open", "force-closed"] {
            do throws(Refusal) {
                try await order(action, "redis", "de fora", by: others)
                Issue.record("\(action) was taken")
            } catch { #expect(error.code == "shared_dependency") }
        }
        #expect(redis.breaker.state == .forcedOpen)
        let rows = try await house.store.rows(.select(from: BreakerTables.breakers, "WHERE name = 'redis'"))
        #expect(rows.count == 1)
    }

    @Test func anotherBusinessMayCloseWhatOpenedByItselfAndTheOperatorSeesThatItDid() async throws {
        let (operators, others) = (house.agent(1, role: .owner), house.agent(2, role: .owner, of: house.other))
        try await order("reset", "redis", "está de volta", by: others)
        for who in [operators, others] {
            let seen = String(decoding: try await house.operations.breakerOrders(Page(), for: who), as: UTF8.self)
            #expect(seen.contains("está de volta") && seen.contains(#""total":1"#), "\(seen)")
        }
    }

    @Test func whatAnotherBusinessLeftInTheStoreForcesNothing() async throws {
        // As it was written when every business had a row of its own for what is everybody's.
        let row = RowImage(
            BreakerTables.breakers,
            version: 7,
            values: [
                .id(house.other), .text("redis"), .text("forced_open"), .text("de fora"), .id(house.agent().user), .text("Alguém"),
                .timestamp(house.clock.now),
            ]
        )
        var change = Change()
        change.rows = [row]
        try house.journal.commit([change])
        #expect(live(try await restarted(), "redis", of: house.tenant) == ["closed", ""])
    }

    @Test func anOrderThatCannotBeStoredDoesNothingAndTheNextOneDoes() async throws {
        let operators = house.agent(1, role: .owner)
        house.journal.fail(true)
        do throws(Refusal) {
            try await order("force-open", "redis", "em vão", by: operators)
            Issue.record("it was taken")
        } catch { #expect(error == .journalUnavailable) }
        #expect(redis.breaker.state == .closed)
        house.journal.fail(false)
        try await order("reset", "redis", "de fora", by: house.agent(2, role: .owner, of: house.other))
        try await order("force-open", "redis", "agora", by: operators)
        #expect(redis.breaker.force?.reason == "agora")
    }

    @Test func aClockThatIsSetBackOverARestartKeepsNoOrderFromBeingStored() async throws {
        let operators = house.agent(1, role: .owner)
        try await order("force-open", "redis", "antes", by: operators)
        house.clock.advance(by: .seconds(-3600))
        let house = house
        try await house.breakers.restore(from: house.store, operatorTenant: house.tenant)
        try await order("force-closed", "redis", "depois", by: operators)
        #expect(live(try await restarted(), "redis", of: house.tenant) == ["forced_closed", "depois"])
    }
}
