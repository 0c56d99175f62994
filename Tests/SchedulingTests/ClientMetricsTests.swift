import Foundation
import Kernel
import Testing

@testable import Scheduling

/// The numbers of a client, by table: what is documented in protocol/README.md "Clients".
@Suite struct ClientMetricsTests {
    private static let now = Timestamp(rfc3339: "2026-06-30T15:00:00Z")!
    private static let day: Int64 = 86_400_000

    struct Line: Sendable, CustomTestStringConvertible {
        let visits: [Double]
        let score: Double
        let isRegular: Bool
        let average: Double
        var testDescription: String { "\(visits)" }

        /// - Parameter visits: days before now.
        init(_ visits: [Double], _ score: Double, _ isRegular: Bool, _ average: Double) {
            (self.visits, self.score, self.isRegular, self.average) = (visits, score, isRegular, average)
        }
    }

    @Test(arguments: [
        Line([], 0, false, 0),
        // One visit: 3 of volume, and recency.
        Line([0], 43, false, 0), Line([30], 43, false, 0), Line([105], 23, false, 0), Line([179], 3.2, false, 0), Line([180], 3, false, 0),
        Line([-7], 43, false, 0),
        // Two have no rhythm yet.
        Line([40, 10], 46, false, 30),
        // As a clock: 9 + 30 + 40.
        Line([60, 30, 0], 79, true, 30), Line([120, 90, 60], 71, true, 30), Line([150, 120, 90], 63, false, 30),
        // Gaps of 10 and 50: mean 30, deviation 20, a third of 30.
        Line([60, 50, 0], 59, true, 30),
        // Ten and more, all of everything.
        Line((0..<10).map { Double($0 * 7) }, 100, true, 7), Line((0..<25).map { Double($0 * 7) }, 100, true, 7),
        // All at one time have no rhythm.
        Line([5, 5, 5], 49, true, 0),
    ])
    func theScoreIsByTheTable(_ line: Line) throws {
        let tally = ClientTally(
            line.visits.map {
                CountedAppointment(status: .completed, service: service(1), start: Self.now - .milliseconds(Int64($0 * Double(Self.day))), price: 10)
            }
        )
        let metrics = ClientMetrics(tally, at: Self.now, try #require(Zone.named("America/Sao_Paulo")))
        #expect(Double(metrics.scoreTenths) / 10 == line.score)
        #expect(metrics.isRegular == line.isRegular)
        #expect(metrics.averageDaysBetween == line.average)
    }

    @Test func whatWasCancelledOrMissedCountsInItsCounterAndTheTotalOnly() throws {
        let at = Self.now - .seconds(86_400)
        var tally = ClientTally()
        tally.add(CountedAppointment(status: .cancelled, service: service(1), start: at, price: 10))
        tally.add(CountedAppointment(status: .noShow, service: service(1), start: at, price: 10))
        let metrics = ClientMetrics(tally, at: Self.now, try #require(Zone.named("UTC")))
        #expect(tally.total == 2 && tally.visitCount == 0 && tally.spent == 0)
        #expect(metrics.scoreTenths == 0 && metrics.lastAppointmentAt == nil && metrics.thisMonth == 0 && metrics.preferredDays.isEmpty)
    }

    @Test func preferencesAreByCountAndEqualsByTheirOrder() throws {
        var tally = ClientTally()
        // In São Paulo, three hours behind: Monday 09:00, Monday 09:30, Sunday 23:00, Wednesday 14:00.
        for (start, number) in [
            ("2026-06-01T12:00:00Z", 2), ("2026-06-08T12:30:00Z", 2), ("2026-06-08T02:00:00Z", 3), ("2026-06-10T17:00:00Z", 1),
        ] {
            tally.add(CountedAppointment(status: .confirmed, service: service(UInt64(number)), start: try time(start), price: nil))
        }
        let metrics = ClientMetrics(tally, at: Self.now, try #require(Zone.named("America/Sao_Paulo")))
        #expect(metrics.preferredDays == ["mon", "wed", "sun"])
        #expect(metrics.preferredTimes == ["09:00", "14:00", "23:00"])
        #expect(ClientMetrics.preferredServices(tally) == [service(2), service(1), service(3)])
    }

    @Test func monthsAreTheBusinesssAndRollWithTime() throws {
        // The last second of May in São Paulo is already June in UTC.
        var tally = ClientTally()
        for start in ["2026-06-01T02:59:59Z", "2026-06-01T03:00:00Z", "2026-06-30T15:00:00Z", "2026-07-01T03:00:00Z"] {
            tally.add(CountedAppointment(status: .confirmed, service: service(1), start: try time(start), price: nil))
        }
        let zone = try #require(Zone.named("America/Sao_Paulo"))
        func months(_ now: String) throws -> [Int] {
            let metrics = ClientMetrics(tally, at: try time(now), zone)
            return [metrics.thisMonth, metrics.lastMonth]
        }
        #expect(try months("2026-06-15T12:00:00Z") == [2, 1])
        #expect(try months("2026-07-01T02:59:59Z") == [2, 1])
        #expect(try months("2026-07-01T03:00:00Z") == [1, 2])
        #expect(try months("2026-08-15T12:00:00Z") == [0, 1])
        #expect(ClientMetrics(tally, at: try time("2026-06-15T12:00:00Z"), zone).nextAppointmentAt == (try time("2026-06-30T15:00:00Z")))
    }

    @Test func moneyIsExact() throws {
        var tally = ClientTally()
        for price in ["0.1", "0.2", "10.005"] {
            tally.add(CountedAppointment(status: .completed, service: service(1), start: Self.now, price: Decimal(string: price)))
        }
        tally.add(CountedAppointment(status: .confirmed, service: service(1), start: Self.now, price: 99))
        #expect(tally.spent == Decimal(string: "10.305"))
        #expect(ClientMetrics(tally, at: Self.now, try #require(Zone.named("UTC"))).averageTicket == Decimal(string: "3.44"))
    }

    @Test func beyondItsLimitTheLatestAreKeptAndTheFirstIsKnown() {
        var times = Times(limit: 3)
        for time in [5, 1, 4, 2, 3] as [Int64] { times.insert(time) }
        #expect(times.latest == [3, 4, 5] && times.first == 1)
        times.remove(2)
        #expect(times.latest == [3, 4, 5] && times.first == 1)
        times.remove(5)
        #expect(times.latest == [3, 4] && times.first == 1)
        times.remove(1)
        #expect(times.first == 3)
    }

    @Test func itIsReadAsItWasWritten() throws {
        var tally = ClientTally()
        for (number, status) in Appointment.Status.allCases.enumerated() {
            tally.add(
                CountedAppointment(
                    status: status,
                    service: service(UInt64(number)),
                    start: Self.now + .seconds(number),
                    price: Decimal(string: "12.34")
                )
            )
        }
        #expect(ClientTally(json: tally.json) == tally)
        #expect(ClientTally(json: "{}") == nil)
    }

    private func service(_ number: UInt64) -> ServiceID { ServiceID(UniqueID(high: 1 << 16 | 0x7000, low: 0x8000_0000_0000_0000 | number)) }
}
