import Conversations
import Kernel
import Testing

@testable import Tenancy

@Suite struct AccountStopsTests {
    private let one = TenantID(UniqueID(high: 1, low: 1))
    private let other = TenantID(UniqueID(high: 1, low: 2))
    private let start = Timestamp(seconds: 1_790_000_000)
    private let expired = Message.Failure(code: "190", message: "token")

    @Test func aStoppedAccountHoldsItsOwnMessagesAndNobodyElses() {
        let stops = AccountStops()
        #expect(stops.holds(one, at: start) == nil)
        #expect(stops.refused(one, expired, at: start), "news: people are told")
        #expect(stops.holds(one, at: start) == start + AccountStops.pause)
        #expect(stops.holds(other, at: start) == nil)
    }

    @Test func afterThePauseOneMessageTriesAndTheOthersWaitForWhatItFinds() {
        let stops = AccountStops()
        _ = stops.refused(one, expired, at: start)
        let later = start + AccountStops.pause
        #expect(stops.holds(one, at: later) == nil)
        #expect(stops.holds(one, at: later) == later + AccountStops.pause)
        #expect(!stops.refused(one, expired, at: later), "the same again is no news")
        #expect(stops.stop(of: one)?.since == start)
        #expect(stops.refused(one, .init(code: "131042", message: "pagamento"), at: later), "another reason is")
    }

    @Test func liftedNothingIsHeld() {
        let stops = AccountStops()
        _ = stops.refused(one, expired, at: start)
        #expect(stops.lift(one))
        #expect(stops.holds(one, at: start) == nil)
        #expect(stops.stop(of: one) == nil)
        #expect(!stops.lift(one))
    }
}
