import Kernel
import TestSupport
import Testing

@testable import Conversations

@Suite struct BusinessHoursTests {
    /// Monday to Friday 09:00–12:00 and 13:00–18:00, Saturday to midnight.
    private static func hours(_ holidays: Set<String> = [], zone: String = "America/Sao_Paulo") throws -> BusinessHours {
        let day = [BusinessHours.Interval(opens: 540, closes: 720), .init(opens: 780, closes: 1080)]
        return try #require(
            BusinessHours(
                timeZone: zone,
                week: [[], day, day, day, day, day, [.init(opens: 600, closes: 1440)]],
                holidays: holidays
            )
        )
    }

    private static func time(_ text: String) throws -> Timestamp { try #require(Timestamp(rfc3339: text)) }

    @Test(arguments: [
        ("2026-03-02T08:59:59-03:00", false), ("2026-03-02T09:00:00-03:00", true), ("2026-03-02T12:00:00-03:00", false),
        ("2026-03-02T17:59:59-03:00", true), ("2026-03-02T18:00:00-03:00", false), ("2026-03-01T10:00:00-03:00", false),
        ("2026-03-07T23:59:00-03:00", true), ("2026-03-08T00:00:00-03:00", false), ("2026-03-02T12:30:00Z", true),
    ]) func itIsOpenByTheWallClockOfItsTimeZone(_ text: String, _ isOpen: Bool) throws {
        #expect(try Self.hours().isOpen(at: Self.time(text)) == isOpen)
    }

    @Test func aHolidayIsClosed() throws {
        #expect(try !Self.hours(["2026-03-02"]).isOpen(at: Self.time("2026-03-02T10:00:00-03:00")))
        #expect(try Self.hours(["2026-03-02"]).isOpen(at: Self.time("2026-03-03T10:00:00-03:00")))
    }

    @Test func workingTimeStandsStillOverNightsWeekendsAndHolidays() throws {
        let hours = try Self.hours(["2026-03-09"])
        #expect(try hours.time(after: .seconds(3600), from: Self.time("2026-03-02T11:30:00-03:00")) == Self.time("2026-03-02T13:30:00-03:00"))
        // Saturday 23:00 has an hour left; Sunday is closed, Monday a holiday.
        #expect(try hours.time(after: .seconds(5400), from: Self.time("2026-03-07T23:00:00-03:00")) == Self.time("2026-03-10T09:30:00-03:00"))
        #expect(try hours.time(after: .zero, from: Self.time("2026-03-08T12:00:00-03:00")) == Self.time("2026-03-10T09:00:00-03:00"))
    }

    @Test func aDayOnWhichTheClockChangesHasItsHoursAllTheSame() throws {
        // New York puts its clock forward on 2026-03-08, a Sunday: it is five hours behind before, four after.
        let hours = try Self.hours(zone: "America/New_York")
        #expect(try hours.isOpen(at: Self.time("2026-03-06T14:00:00Z")))
        #expect(try !hours.isOpen(at: Self.time("2026-03-06T13:59:00Z")))
        #expect(try hours.isOpen(at: Self.time("2026-03-09T13:00:00Z")))
        #expect(try hours.time(after: .seconds(60), from: Self.time("2026-03-08T12:00:00Z")) == Self.time("2026-03-09T13:01:00Z"))
    }

    @Test func whatIsNoTimeZoneMakesNoHours() {
        #expect(BusinessHours(timeZone: "Nowhere/Land", week: Array(repeating: [], count: 7), holidays: []) == nil)
    }

    @Test(arguments: 1...10) func workingTimeAgreesWithAModelThatCountsMinutes(_ seed: UInt64) throws {
        var random = SeededGenerator(seed: seed)
        let hours = try Self.hours(["2026-03-04", "2026-03-10"])
        for _ in 0..<20 {
            let start = Timestamp(seconds: 1_772_323_200 + Int64.random(in: 0..<20_000, using: &random) * 60)
            let minutes = Int.random(in: 1...900, using: &random)
            var left = minutes
            var now = start
            while left > 0 {
                if hours.isOpen(at: now) { left -= 1 }
                now = now + .seconds(60)
            }
            #expect(hours.time(after: .seconds(minutes * 60), from: start) == now, "seed \(seed), \(minutes) minutes from \(start)")
        }
    }
}
