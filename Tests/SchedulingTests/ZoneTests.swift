import Foundation
import Kernel
import TestSupport
import Testing

@testable import Scheduling

/// The time matrix of research/scheduling.md §7.4: zones with every kind of transition, opening times on both sides of noon and of the transitions, and the days around
/// them. What is expected is counted minute by minute with Foundation's own offsets.
@Suite struct ZoneTests {
    struct Case: Sendable, CustomTestStringConvertible {
        let zone: String
        let day: String
        var testDescription: String { "\(zone) \(day)" }
    }

    static let cases = [
        Case(zone: "America/Sao_Paulo", day: "2018-02-18"), Case(zone: "America/Sao_Paulo", day: "2018-11-04"),
        Case(zone: "America/Sao_Paulo", day: "2019-11-03"), Case(zone: "America/Sao_Paulo", day: "2026-03-01"),
        Case(zone: "America/Manaus", day: "2026-03-01"), Case(zone: "America/Noronha", day: "2026-10-18"),
        Case(zone: "America/New_York", day: "2026-03-08"), Case(zone: "America/New_York", day: "2026-11-01"),
        Case(zone: "Asia/Kolkata", day: "2026-06-01"), Case(zone: "Australia/Lord_Howe", day: "2026-04-05"),
        Case(zone: "Australia/Lord_Howe", day: "2026-10-04"), Case(zone: "Pacific/Apia", day: "2011-12-30"),
        Case(zone: "Pacific/Apia", day: "2012-04-01"),
    ]
    static let opens = [0, 90, 540, 780, 1410]

    /// Minutes of a date by the wall clock: `(instant, minute of the day)`, one for each real minute.
    private func minutes(of day: CivilDay, _ zone: TimeZone) -> [(instant: Int64, minute: Int)] {
        var found: [(Int64, Int)] = []
        var instant = day.local / 1000 - 30 * 3600
        while instant < day.local / 1000 + 54 * 3600 {
            let local = instant + Int64(zone.secondsFromGMT(for: Date(timeIntervalSince1970: Double(instant))))
            if local / 86_400 == Int64(day.number) { found.append((instant, Int(local % 86_400 / 60))) }
            instant += 60
        }
        return found
    }

    @Test(arguments: cases) func slotsAreTheMinutesOfTheWallClock(_ one: Case) throws {
        let foundation = try #require(TimeZone(identifier: one.zone))
        let center = try #require(CivilDay(one.day))
        for offset in -1...1 {
            let day = center + offset
            let minutes = minutes(of: day, foundation)
            let zone = try #require(Zone.named(one.zone))
            #expect((zone.end(of: day) - zone.start(of: day)) == .seconds(minutes.count * 60), "the length of \(day)")
            for opens in Self.opens {
                for closes in [min(opens + 150, 1440), 1440] {
                    var diary = try Diary(one.zone, now: "2001-01-01T00:00:00Z", durationMinutes: 30) { $0.maximumAdvanceDays = 20_000 }
                    diary.book.rules.weekly = WeeklyHours(Array(repeating: [Period(opens, closes)], count: 7))
                    // What follows without a break belongs to it: here the hours of one day alone are looked at.
                    for other in [-2, -1, 1, 2, 3] { diary.book.rules.overrides[day + other] = [] }
                    let wish = try diary.book.wish(diary.cut, now: diary.clock.now)
                    let found = diary.book.slots(
                        wish,
                        in: Timestamp(milliseconds: day.local) - .seconds(100_000)..<Timestamp(milliseconds: day.local) + .seconds(200_000)
                    )
                    // It opens at the first minute that shows the time or a later one, and closes after the last that shows an earlier one.
                    let first = minutes.firstIndex { $0.minute >= opens } ?? 0
                    let last = minutes.lastIndex { $0.minute < closes } ?? -1
                    let open = first <= last && !minutes.isEmpty ? Array(minutes[first...last]) : []
                    let expected = open.indices.filter { ((open[$0].minute - opens) % 30 + 30) % 30 == 0 && $0 + 30 <= open.count }.map {
                        open[$0].instant * 1000
                    }
                    #expect(found.map(\.milliseconds) == expected, "\(one.zone) \(day) \(opens)–\(closes)")
                }
            }
        }
    }

    @Test(arguments: cases) func aDayThatIsAlwaysOpenHasAsManyHalfHoursAsItIsLong(_ one: Case) throws {
        var diary = try Diary(one.zone, now: "2001-01-01T00:00:00Z", durationMinutes: 30) { $0.maximumAdvanceDays = 20_000 }
        diary.book.rules.weekly = WeeklyHours(Array(repeating: [Period(0, 1440)], count: 7))
        let day = try #require(CivilDay(one.day))
        let zone = diary.book.rules.zone
        let wish = try diary.book.wish(diary.cut, now: diary.clock.now)
        let found = diary.book.slots(wish, in: zone.start(of: day)..<zone.end(of: day))
        #expect(found.count == Int((zone.end(of: day) - zone.start(of: day)).inMilliseconds / 1_800_000))
        // Whoever looks from elsewhere asks by other days, and is shown the same instants.
        for other in ["Asia/Tokyo", "America/Los_Angeles"] {
            let viewer = try #require(Zone.named(other))
            let first = viewer.day(of: zone.start(of: day))
            var seen: [Timestamp] = []
            for number in 0...3 { seen += diary.book.slots(wish, in: viewer.start(of: first + number)..<viewer.end(of: first + number)) }
            #expect(found.allSatisfy(seen.contains) && Set(seen).count == seen.count, "as seen from \(other)")
        }
    }

    @Test func lengthsOfDaysThatAreNot24HoursLong() throws {
        func hours(_ zone: String, _ day: String) throws -> Double {
            let zone = try #require(Zone.named(zone))
            let day = try #require(CivilDay(day))
            return Double((zone.end(of: day) - zone.start(of: day)).inMilliseconds) / 3_600_000
        }
        #expect(try hours("America/New_York", "2026-03-08") == 23)
        #expect(try hours("America/New_York", "2026-11-01") == 25)
        #expect(try hours("Australia/Lord_Howe", "2026-10-04") == 23.5)
        #expect(try hours("Australia/Lord_Howe", "2026-04-05") == 24.5)
        #expect(try hours("Pacific/Apia", "2011-12-30") == 0, "the day that Samoa skipped")
        #expect(try hours("America/Sao_Paulo", "2018-11-04") == 23, "midnight did not exist")
        #expect(try hours("America/Sao_Paulo", "2018-02-17") == 25)
        #expect(try hours("America/Sao_Paulo", "2019-11-03") == 24, "daylight saving was abolished")
    }

    @Test func offsetsAreThoseOfTheSystemAtAnyTime() throws {
        var random = SeededGenerator.fresh()
        for name in [
            "America/Sao_Paulo", "America/New_York", "Australia/Lord_Howe", "Pacific/Apia", "Africa/Casablanca", "Asia/Kathmandu", "Europe/Dublin",
            "UTC",
        ] {
            let zone = try #require(Zone.named(name))
            let system = try #require(TimeZone(identifier: name))
            for _ in 0..<2000 {
                let seconds = Int64.random(in: 946_684_800..<2_208_988_800, using: &random)
                #expect(zone.offset(at: seconds * 1000) == Int64(system.secondsFromGMT(for: Date(timeIntervalSince1970: Double(seconds)))) * 1000)
            }
        }
    }

    @Test func datesAndZonesThatAreNone() {
        for text in ["2026-02-29", "2026-13-01", "2026-1-1", "", "hoje", "2026-03-01T00:00:00Z"] { #expect(CivilDay(text) == nil, "\(text)") }
        #expect(CivilDay("2024-02-29")?.description == "2024-02-29")
        #expect(Zone.named("America/Sao_Paolo") == nil)
        #expect(CivilDay("2026-01-31")?.adding(months: 1) == nil)
        #expect(CivilDay("2026-01-31")?.adding(months: 14)?.description == "2027-03-31")
    }
}
