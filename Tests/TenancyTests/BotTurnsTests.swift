import Kernel
import Resilience
import Tenancy
import Testing

@Suite struct AssistantBreakerTests {
    private let one = TenantID(UniqueID(high: 1, low: 1))
    private let other = TenantID(UniqueID(high: 1, low: 2))

    @Test func askingWhetherACallWouldGetThroughGivesOutNoProbe() {
        let clock = ManualEnvironment()
        let board = BreakerBoard(environment: clock.environment)
        func calls(_ verdict: CallVerdict) {
            let breaker = board.breaker(.gemini, of: one)
            guard case .allowed(let generation) = breaker.callRequested() else { return }
            breaker.callEnded(generation, verdict, took: .zero)
        }
        for _ in 0..<3 { calls(.failed) }
        #expect(!board.wouldAllow(.gemini, of: one))
        #expect(board.wouldAllow(.gemini, of: other), "one business does not close another's")
        clock.advance(by: .seconds(60))
        for _ in 0..<3 { #expect(board.wouldAllow(.gemini, of: one)) }
        #expect(board.breaker(.gemini, of: one).breaker.state == .open)
        calls(.succeeded)
        #expect(board.wouldAllow(.gemini, of: one))
        #expect(board.breaker(.gemini, of: one).breaker.state == .closed)
        calls(.throttled(.seconds(37)))
        #expect(!board.wouldAllow(.gemini, of: one), "a service that says for how long is believed")
        clock.advance(by: .seconds(37))
        #expect(board.wouldAllow(.gemini, of: one))
    }
}
