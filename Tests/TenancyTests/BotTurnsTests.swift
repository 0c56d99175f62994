import Conversations
import Kernel
import Logging
import Resilience
import Storage
import Synchronization
import Tenancy
import TestSupport
import Testing
import Wire

/// The breakers before the assistant, one for each tenant.
@Suite struct AssistantBreakersTests {
    private let clock = ManualEnvironment()
    private let one = TenantID(UniqueID(high: 1, low: 1))
    private let other = TenantID(UniqueID(high: 1, low: 2))

    private func breakers() -> AssistantBreakers { AssistantBreakers(.gemini, environment: clock.environment) }

    private func fails(_ breakers: AssistantBreakers, _ tenant: TenantID, leaveAloneFor duration: Duration? = nil) {
        guard case .allowed(let generation) = breakers.callRequested(tenant) else { return }
        breakers.callEnded(generation, .unhealthy(leaveAloneFor: duration), tenant)
    }

    @Test func threeFailuresInARowOpenATenantsOwnForFortyFiveSeconds() {
        let breakers = breakers()
        for _ in 0..<2 { fails(breakers, one) }
        #expect(breakers.wouldAllow(one))
        fails(breakers, one)
        #expect(!breakers.wouldAllow(one))
        #expect(breakers.wouldAllow(other), "one tenant does not close another's")
        #expect(breakers.report.state == "open")
        clock.advance(by: .milliseconds(44_999))
        #expect(!breakers.wouldAllow(one))
        clock.advance(by: .milliseconds(1))
        #expect(breakers.wouldAllow(one))
        #expect(breakers.wouldAllow(one), "asking whether it would is not asking")
        guard case .allowed(let generation) = breakers.callRequested(one) else { return #expect(Bool(false), "the probe is let through") }
        #expect(!breakers.wouldAllow(one), "one probe at a time")
        breakers.callEnded(generation, .healthy, one)
        #expect(breakers.report.state == "closed")
    }

    @Test func aServiceThatSaysForHowLongIsLeftAloneForThatLong() {
        let breakers = breakers()
        fails(breakers, one, leaveAloneFor: .seconds(37))
        #expect(!breakers.wouldAllow(one))
        #expect(breakers.report.state == "open")
        clock.advance(by: .seconds(37))
        #expect(breakers.wouldAllow(one))
    }

    @Test func whatTeachesNothingCountsForNothing() {
        let breakers = breakers()
        for _ in 0..<10 {
            guard case .allowed(let generation) = breakers.callRequested(one) else { break }
            breakers.callEnded(generation, .inconclusive, one)
        }
        #expect(breakers.wouldAllow(one))
        for _ in 0..<2 { fails(breakers, one) }
        guard case .allowed(let generation) = breakers.callRequested(one) else { return #expect(Bool(false)) }
        breakers.callEnded(generation, .healthy, one)
        for _ in 0..<2 { fails(breakers, one) }
        #expect(breakers.wouldAllow(one), "a success between begins the count anew")
    }
}
