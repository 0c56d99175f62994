import Kernel
import Realtime
import TestSupport
import Testing

@Suite struct PresenceLeasesTests {
    private let ana = PresenceLeases.Person(tenant: TenantID(UniqueID(high: 1, low: 1)), user: UserID(UniqueID(high: 2, low: 1)))
    private let bia = PresenceLeases.Person(tenant: TenantID(UniqueID(high: 1, low: 1)), user: UserID(UniqueID(high: 2, low: 2)))
    private func at(_ seconds: Int64) -> Timestamp { Timestamp(seconds: 1000 + seconds) }

    @Test func whoHasAnotherConnectionIsThere() {
        var leases = PresenceLeases(grace: .seconds(20))
        leases.opened(ana)
        leases.opened(ana)
        leases.closed(ana, at: at(0))
        #expect(leases.timePassed(at(1000)).isEmpty && leases.present == 1)
    }

    @Test func whoIsBackWithinTheGraceNeverLeft() {
        var leases = PresenceLeases(grace: .seconds(20))
        leases.opened(ana)
        leases.closed(ana, at: at(0))
        #expect(leases.timePassed(at(19)).isEmpty)
        leases.opened(ana)
        #expect(leases.timePassed(at(1000)).isEmpty)
    }

    @Test func theLastConnectionsGraceCountsAndIsToldOnceExactlyAtItsEnd() {
        var leases = PresenceLeases(grace: .seconds(20))
        leases.opened(ana)
        leases.opened(bia)
        leases.closed(ana, at: at(0))
        leases.closed(bia, at: at(5))
        #expect(leases.timePassed(at(20)) == [ana])
        #expect(leases.timePassed(at(24)).isEmpty)
        #expect(leases.timePassed(at(25)) == [bia])
        #expect(leases.timePassed(at(1000)).isEmpty && leases.present == 0)
    }

    @Test func whoWasThereBeforeTheStartIsGoneAfterTheGraceUnlessTheyComeBack() {
        var leases = PresenceLeases(grace: .seconds(20))
        leases.expected(ana, at: at(0))
        leases.expected(bia, at: at(0))
        leases.opened(bia)
        #expect(!leases.isPresent(ana) && leases.isPresent(bia))
        #expect(leases.timePassed(at(19)).isEmpty)
        #expect(leases.timePassed(at(20)) == [ana])
        leases.expected(bia, at: at(30))
        #expect(leases.timePassed(at(1000)).isEmpty)
    }

    @Test func anArrivalIsToldOnceAndAConnectionMoreIsNone() {
        var leases = PresenceLeases(grace: .seconds(20))
        leases.opened(ana)
        leases.opened(ana)
        #expect(leases.arrivals() == [ana] && leases.arrivals().isEmpty)
        leases.opened(ana)
        #expect(leases.arrivals().isEmpty)
        for second in 0..<3 as Range<Int64> { leases.closed(ana, at: at(second)) }
        leases.arrivedStill(ana)
        #expect(leases.arrivals().isEmpty)
        leases.opened(ana)
        #expect(leases.arrivals() == [ana])
        leases.arrivedStill(ana)
        #expect(leases.arrivals() == [ana])
    }

    /// Against a model that keeps every interval in which somebody had a connection.
    @Test func randomHistoriesAgreeWithAModel() {
        var random = SeededGenerator.fresh()
        for _ in 0..<200 {
            var leases = PresenceLeases(grace: .seconds(20))
            var open: [PresenceLeases.Person: Int] = [:]
            var lastClosed: [PresenceLeases.Person: Int64] = [:]
            var expected: Set<PresenceLeases.Person> = []
            for second in 0..<200 as Range<Int64> {
                let person = Bool.random(using: &random) ? ana : bia
                switch Int.random(in: 0..<6, using: &random) {
                case 0:
                    leases.opened(person)
                    open[person, default: 0] += 1
                    lastClosed[person] = nil
                case 1,
                    2 where open[person] ?? 0 > 0:
                    guard let count = open[person], count > 0 else { break }
                    leases.closed(person, at: at(second))
                    open[person] = count - 1
                    if count == 1 { lastClosed[person] = second }
                default: break
                }
                expected = Set(lastClosed.filter { second - $0.value >= 20 }.keys)
                for person in expected { lastClosed[person] = nil }
                #expect(Set(leases.timePassed(at(second))) == expected)
            }
        }
    }
}
