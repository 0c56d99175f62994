package import Kernel
package import Resilience
import Synchronization

/// How many may be connected, and how much they may ask: of everybody together, of each tenant, of each user. One book for all doors to the streams.
///
/// Who connects takes a `Seat`, which carries the allowances of their user and their tenant: what they ask is weighed against these without any lock.
package final class Admission: Sendable {
    package typealias Person = PresenceLeases.Person

    package struct Limits: Sendable {
        /// Connections to the realtime doors, also those that have not said yet whose they are.
        package var connections = 100_000
        package var connectionsPerTenant = 50_000
        package var connectionsPerUser = 20_000
        /// Commands; `nil` for no limit.
        package var perConnection: RateLimit? = RateLimit(perSecond: 5_000, burst: 10_000)
        package var perUser: RateLimit? = RateLimit(perSecond: 200_000, burst: 200_000)
        package var perTenant: RateLimit? = RateLimit(perSecond: 400_000, burst: 400_000)

        package init() {}
    }

    package enum Scope: Int, Sendable, CaseIterable { case server, tenant, user, connection }

    /// A place that somebody has, from `enter` to `leave`.
    package struct Seat: Sendable {
        package let person: Person
        fileprivate let user: SharedRate?
        fileprivate let tenant: SharedRate?
    }

    private struct State {
        var users: [Person: Int] = [:]
        var tenants: [TenantID: Int] = [:]
        var userRates: RateTable<Person>?
        var tenantRates: RateTable<TenantID>?
    }

    package let limits: Limits
    private let state: Mutex<State>
    private let places = Atomic<Int>(0)
    private let refusedConnections = ScopedCounts()
    private let refusedCommands = ScopedCounts()

    package init(_ limits: Limits = Limits()) {
        self.limits = limits
        state = Mutex(State(userRates: limits.perUser.map { RateTable($0) }, tenantRates: limits.perTenant.map { RateTable($0) }))
    }

    // MARK: Connections

    /// Somebody is at a door. Every `true` is followed by one `vacate`.
    package func occupy() -> Bool {
        if places.wrappingAdd(1, ordering: .relaxed).newValue <= limits.connections { return true }
        vacate()
        refusedConnections.add(1, .server)
        return false
    }

    package func vacate() { places.wrappingSubtract(1, ordering: .relaxed) }

    /// Somebody has said who they are.
    /// - Returns: their seat, or whose limit is reached.
    package func enter(_ person: Person, at now: Timestamp) -> Result<Seat, Full> {
        let result = state.withLock { state -> Result<Seat, Full> in
            guard state.users[person] ?? 0 < limits.connectionsPerUser else { return .failure(Full(scope: .user)) }
            guard state.tenants[person.tenant] ?? 0 < limits.connectionsPerTenant else { return .failure(Full(scope: .tenant)) }
            state.users[person, default: 0] += 1
            state.tenants[person.tenant, default: 0] += 1
            let (user, tenant) = (state.userRates?.rate(of: person, at: now), state.tenantRates?.rate(of: person.tenant, at: now))
            return .success(Seat(person: person, user: user, tenant: tenant))
        }
        if case .failure(let full) = result { refusedConnections.add(1, full.scope) }
        return result
    }

    package func leave(_ seat: Seat) {
        state.withLock { state in
            state.users.decrease(seat.person)
            state.tenants.decrease(seat.person.tenant)
        }
    }

    package struct Full: Error, Equatable { package let scope: Scope }

    // MARK: Commands

    /// Weighs `count` commands of whoever has the seat: as many as may pass, and after how long one more might.
    package func take(upTo count: Int, of seat: Seat, at now: Timestamp) -> (allowed: Int, retryAfter: Duration?) {
        var allowed = count
        if let user = seat.user {
            let decision = user.take(upTo: allowed, at: now)
            refused(allowed - decision.allowed, .user)
            guard decision.allowed > 0 else { return (0, decision.retryAfter) }
            allowed = decision.allowed
        }
        if let tenant = seat.tenant {
            let decision = tenant.take(upTo: allowed, at: now)
            refused(allowed - decision.allowed, .tenant)
            guard decision.allowed > 0 else { return (0, decision.retryAfter) }
            allowed = decision.allowed
        }
        return (allowed, nil)
    }

    package func refused(_ commands: Int, _ scope: Scope) { if commands > 0 { refusedCommands.add(commands, scope) } }

    // MARK: Counting

    package struct Counters: Sendable {
        package let connections: Int
        /// By scope, in the order of `Scope.allCases`.
        package let refusedConnections: [(Scope, Int)]
        package let refusedCommands: [(Scope, Int)]
    }

    package var counters: Counters {
        Counters(
            connections: places.load(ordering: .relaxed),
            refusedConnections: [.server, .tenant, .user].map { ($0, refusedConnections[$0]) },
            refusedCommands: [.tenant, .user, .connection].map { ($0, refusedCommands[$0]) }
        )
    }
}

/// A count for each scope. Only refusals count, so the lock is not on anybody's way.
private final class ScopedCounts: Sendable {
    private let counts = Mutex([Int](repeating: 0, count: Admission.Scope.allCases.count))

    func add(_ count: Int, _ scope: Admission.Scope) { counts.withLock { $0[scope.rawValue] += count } }
    subscript(scope: Admission.Scope) -> Int { counts.withLock { $0[scope.rawValue] } }
}

extension Dictionary where Value == Int {
    /// A count that has come back to nothing is not kept.
    fileprivate mutating func decrease(_ key: Key) {
        guard let count = self[key] else { preconditionFailure("a connection left that had not entered") }
        self[key] = count == 1 ? nil : count - 1
    }
}
