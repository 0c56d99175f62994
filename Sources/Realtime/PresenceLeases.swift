package import Kernel
import Synchronization

// Who is there, by their connections.
//
//     absent ──a connection opens──▶ present ──the last one closes──▶ leaving ──the grace is over──▶ gone (told once) = absent
//                                       ▲                                │
//                                       └────────a connection opens──────┘
//
// A connection that breaks is back in a moment, most times, and nobody should notice. What a process that was killed held is gone with it: leases are in memory,
// and nothing has to be told on the way down. Who was there by such a connection is expected at the next start, and is leaving until they are back.

/// The leases of all users' connections, aggregated by user. Inputs are connections that opened and closed, and the passing of time.
package struct PresenceLeases: Sendable {
    package struct Person: Sendable, Hashable {
        package let tenant: TenantID
        package let user: UserID

        package init(tenant: TenantID, user: UserID) {
            self.tenant = tenant
            self.user = user
        }
    }

    private let grace: Duration
    private var connections: [Person: Int] = [:]
    /// When each of those who are leaving is gone.
    private var leaving: [Person: Timestamp] = [:]
    /// Who had no connection and has one, and was not asked about yet.
    private var newcomers: Set<Person> = []

    /// - Parameter grace: how long somebody without a connection still counts as there.
    package init(grace: Duration) { self.grace = grace }

    package var present: Int { connections.count }

    package mutating func opened(_ person: Person) {
        if connections[person] == nil { newcomers.insert(person) }
        connections[person, default: 0] += 1
        leaving[person] = nil
    }

    package mutating func closed(_ person: Person, at now: Timestamp) {
        guard let count = connections[person] else { preconditionFailure("a connection closed that had not opened") }
        connections[person] = count == 1 ? nil : count - 1
        if count == 1 { leaving[person] = now + grace }
    }

    /// Somebody was there when the process before this one ended.
    package mutating func expected(_ person: Person, at now: Timestamp) {
        if connections[person] == nil { leaving[person] = now + grace }
    }

    package func isPresent(_ person: Person) -> Bool { connections[person] != nil }

    /// Those who have come, each told once.
    package mutating func arrivals() -> Set<Person> {
        defer { newcomers = [] }
        return newcomers
    }

    /// Somebody who has come is to be told again.
    package mutating func arrivedStill(_ person: Person) { if isPresent(person) { newcomers.insert(person) } }

    /// Those whose grace is over, each told once.
    package mutating func timePassed(_ now: Timestamp) -> [Person] {
        let gone = leaving.filter { $0.value <= now }.map(\.key)
        for person in gone { leaving[person] = nil }
        return gone
    }
}

/// The leases, from whatever thread.
package final class PresenceBook: Sendable {
    private let leases: Mutex<PresenceLeases>
    private let environment: Environment
    private let isServerStopping = Atomic<Bool>(false)

    package init(grace: Duration, environment: Environment) {
        leases = Mutex(PresenceLeases(grace: grace))
        self.environment = environment
    }

    package func opened(_ person: PresenceLeases.Person) { leases.withLock { $0.opened(person) } }
    package func closed(_ person: PresenceLeases.Person) {
        let now = environment.now()
        leases.withLock { $0.closed(person, at: now) }
    }
    /// Those who have been gone for the grace, since it was last asked.
    package func gone() -> [PresenceLeases.Person] {
        guard !isServerStopping.load(ordering: .relaxed) else { return [] }
        let now = environment.now()
        return leases.withLock { $0.timePassed(now) }
    }
    package func expected(_ person: PresenceLeases.Person) {
        let now = environment.now()
        leases.withLock { $0.expected(person, at: now) }
    }
    package func isPresent(_ person: PresenceLeases.Person) -> Bool { leases.withLock { $0.isPresent(person) } }
    /// Those who have come since it was last asked.
    package func arrivals() -> Set<PresenceLeases.Person> { leases.withLock { $0.arrivals() } }
    package func arrivedStill(_ person: PresenceLeases.Person) { leases.withLock { $0.arrivedStill(person) } }
    /// The server stops: from now on nobody leaves, whoever's connection ends. They have the grace at the next start.
    package func serverStops() { isServerStopping.store(true, ordering: .relaxed) }
    package var present: Int { leases.withLock { $0.present } }
}
