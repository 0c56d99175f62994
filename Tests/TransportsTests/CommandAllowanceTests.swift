import Kernel
import Realtime
import Resilience
import Testing

@testable import Transports

@Suite struct CommandAllowanceTests {
    private func at(_ milliseconds: Int64) -> Timestamp { Timestamp(milliseconds: 1_790_000_000_000 + milliseconds) }

    private func allowance(connection: RateLimit?, user: RateLimit? = nil) -> CommandAllowance {
        var limits = Admission.Limits()
        (limits.perConnection, limits.perUser, limits.perTenant) = (connection, user, nil)
        return CommandAllowance(Admission(limits))
    }

    @Test func theFirstSoManyOfAFramePassAndTheOthersAreRefused() {
        var allowance = allowance(connection: RateLimit(perSecond: 10, burst: 5))
        #expect(allowance.weigh(3, at: at(0)) == .pass(3))
        #expect(allowance.weigh(3, at: at(0)) == .pass(2))
        #expect(allowance.weigh(1, at: at(50)) == .pass(0))
        #expect(allowance.weigh(1, at: at(100)) == .pass(1))
    }

    @Test func whoDoesNotLetUpForFiveSecondsIsClosed() {
        var allowance = allowance(connection: RateLimit(perSecond: 1, burst: 1))
        for step in 0..<50 as Range<Int64> { #expect(allowance.weigh(10, at: at(step * 100)) != .close) }
        #expect(allowance.weigh(10, at: at(5000)) == .close)
    }

    @Test func aSecondsPauseIsAFreshStart() {
        var allowance = allowance(connection: RateLimit(perSecond: 1, burst: 1))
        var now: Int64 = 0
        for _ in 0..<10 {
            for _ in 0..<40 {
                #expect(allowance.weigh(10, at: at(now)) != .close)
                now += 100
            }
            now += 1000
        }
    }

    @Test func aUsersLimitHoldsFromWhenTheyHaveSaidWhoTheyAre() {
        var allowance = allowance(connection: nil, user: RateLimit(perSecond: 1, burst: 2))
        #expect(allowance.weigh(100, at: at(0)) == .pass(100))
        let person = Admission.Person(tenant: TenantID(UniqueID(high: 1, low: 1)), user: UserID(UniqueID(high: 2, low: 1)))
        let isIn = allowance.enter(person, at: at(0))
        #expect(isIn && allowance.weigh(100, at: at(0)) == .pass(2))
        allowance.leave()
        allowance.leave()
        #expect(allowance.seat == nil)
    }

    @Test func withoutLimitsEverythingPasses() {
        var allowance = allowance(connection: nil)
        #expect(allowance.weigh(1_000_000, at: at(0)) == .pass(1_000_000))
    }
}
