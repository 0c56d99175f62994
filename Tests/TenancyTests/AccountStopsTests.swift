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
        #expect(stops.refused(one, nil, expired, at: start).isNews, "news: people are told")
        #expect(stops.holds(one, at: start) == start + AccountStops.pause)
        #expect(stops.holds(other, at: start) == nil)
    }

    @Test func afterThePauseOneMessageTriesAndTheOthersWaitForWhatItFinds() {
        let stops = AccountStops()
        _ = stops.refused(one, nil, expired, at: start)
        let later = start + AccountStops.pause
        #expect(stops.holds(one, at: later) == nil)
        #expect(stops.holds(one, at: later) == later + AccountStops.pause)
        #expect(!stops.refused(one, nil, expired, at: later).isNews, "the same again is no news")
        #expect(stops.stop(of: one)?.since == start)
        #expect(stops.refused(one, nil, .init(code: "131042", message: "pagamento"), at: later).isNews, "another reason is")
    }

    @Test func liftedNothingIsHeld() {
        let stops = AccountStops()
        _ = stops.refused(one, nil, expired, at: start)
        #expect(stops.lift(one))
        #expect(stops.holds(one, at: start) == nil)
        #expect(stops.stop(of: one) == nil)
        #expect(!stops.lift(one))
    }

    @Test func whatIsSaidOfANumberStopsThatNumberAndWhatIsSaidOfTheAccountAllOfThem() {
        let stops = AccountStops()
        let locked = Message.Failure(code: "131031", message: "bloqueado")
        let (isNews, number) = stops.refused(one, "220", locked, at: start)
        #expect(isNews && number == "220")
        #expect(stops.holds(one, "220", at: start) == start + AccountStops.pause)
        #expect(stops.holds(one, "110", at: start) == nil, "its other number goes on")
        #expect(stops.stop(of: one) == nil)
        #expect(stops.stoppedNumbers(of: one).map(\.number) == ["220"])
        #expect(stops.refused(one, "220", expired, at: start).number == nil, "a token is the account's")
        #expect(stops.holds(one, "110", at: start) == start + AccountStops.pause)
        #expect(stops.passed(one, "110"))
        #expect(stops.holds(one, "110", at: start) == nil)
        #expect(stops.holds(one, "220", at: start) != nil, "what went out from another number says nothing of this one")
        #expect(stops.lift(one))
        #expect(stops.holds(one, "220", at: start) == nil)
        // With only one number there is no telling them apart.
        #expect(stops.refused(one, nil, locked, at: start).number == nil)
    }
}
