import Kernel
import Resilience
import Testing

@testable import Realtime

@Suite struct AdmissionTests {
    private let tenant = TenantID(UniqueID(high: 1, low: 1))
    private let now = Timestamp(seconds: 1_790_000_000)

    private func person(_ number: UInt64, of tenant: TenantID? = nil) -> Admission.Person {
        Admission.Person(tenant: tenant ?? self.tenant, user: UserID(UniqueID(high: 2, low: number)))
    }

    private func admission(_ change: (inout Admission.Limits) -> Void) -> Admission {
        var limits = Admission.Limits()
        change(&limits)
        return Admission(limits)
    }

    private func count(_ counts: [(Admission.Scope, Int)], _ scope: Admission.Scope) -> Int { counts.first { $0.0 == scope }?.1 ?? -1 }

    @Test func aUserHasAsManySeatsAsTheyMayAndOneThatIsLeftIsFree() throws {
        let admission = admission { $0.connectionsPerUser = 2 }
        let first = try admission.enter(person(1), at: now).get()
        _ = try admission.enter(person(1), at: now).get()
        #expect(throws: Admission.Full(scope: .user)) { try admission.enter(person(1), at: now).get() }
        _ = try admission.enter(person(2), at: now).get()
        admission.leave(first)
        _ = try admission.enter(person(1), at: now).get()
        #expect(count(admission.counters.refusedConnections, .user) == 1)
    }

    @Test func aTenantsUsersShareItsSeatsAndNotAnothersTenants() throws {
        let admission = admission { $0.connectionsPerTenant = 2 }
        _ = try admission.enter(person(1), at: now).get()
        _ = try admission.enter(person(2), at: now).get()
        #expect(throws: Admission.Full(scope: .tenant)) { try admission.enter(person(3), at: now).get() }
        _ = try admission.enter(person(3, of: TenantID(UniqueID(high: 1, low: 2))), at: now).get()
    }

    @Test func theServersPlacesAreCountedAlsoOfThoseWhoHaveNotSaidWhoTheyAre() {
        let admission = admission { $0.connections = 2 }
        #expect(admission.occupy() && admission.occupy() && !admission.occupy())
        admission.vacate()
        #expect(admission.occupy())
        #expect(admission.counters.connections == 2 && count(admission.counters.refusedConnections, .server) == 1)
    }

    @Test func theSeatsOfAUserDrawOnOneAllowanceAndThoseOfATenantToo() throws {
        let admission = admission {
            $0.perUser = RateLimit(perSecond: 1, burst: 10)
            $0.perTenant = RateLimit(perSecond: 1, burst: 15)
        }
        let (a, again) = (try admission.enter(person(1), at: now).get(), try admission.enter(person(1), at: now).get())
        let b = try admission.enter(person(2), at: now).get()
        #expect(admission.take(upTo: 7, of: a, at: now).allowed == 7)
        #expect(admission.take(upTo: 7, of: again, at: now).allowed == 3)
        let refused = admission.take(upTo: 1, of: again, at: now)
        #expect(refused.allowed == 0 && refused.retryAfter == .seconds(1))
        #expect(admission.take(upTo: 7, of: b, at: now).allowed == 5)
        #expect(count(admission.counters.refusedCommands, .user) == 5 && count(admission.counters.refusedCommands, .tenant) == 2)
    }

    @Test func whoLeavesAndComesBackHasNotWonAnything() throws {
        let admission = admission { $0.perUser = RateLimit(perSecond: 1, burst: 10) }
        let seat = try admission.enter(person(1), at: now).get()
        #expect(admission.take(upTo: 10, of: seat, at: now).allowed == 10)
        admission.leave(seat)
        #expect(admission.take(upTo: 1, of: try admission.enter(person(1), at: now).get(), at: now).allowed == 0)
    }
}
