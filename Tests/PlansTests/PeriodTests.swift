import Kernel
import Plans
import Scheduling
import Tenancy
import Testing

/// The months of an account, by the wall clock of its place.
@Suite struct PeriodTests {
    private func time(_ text: String) throws -> Timestamp { try #require(Timestamp(rfc3339: text)) }

    @Test(arguments: [
        // A day that every month has.
        ("America/Sao_Paulo", "2026-01-15T12:00:00Z", "2026-03-14T12:00:00Z", "2026-02-15", "2026-02-15T03:00:00.000Z", "2026-03-15T03:00:00.000Z"),
        // The last minute and the first, of the place and not of UTC.
        (
            "America/Sao_Paulo", "2026-01-15T12:00:00Z", "2026-03-15T02:59:59.999Z", "2026-02-15", "2026-02-15T03:00:00.000Z",
            "2026-03-15T03:00:00.000Z"
        ),
        ("America/Sao_Paulo", "2026-01-15T12:00:00Z", "2026-03-15T03:00:00Z", "2026-03-15", "2026-03-15T03:00:00.000Z", "2026-04-15T03:00:00.000Z"),
        // Begun on the 16th in UTC, and on the 15th where it is.
        ("America/Sao_Paulo", "2026-01-16T01:00:00Z", "2026-01-20T12:00:00Z", "2026-01-15", "2026-01-15T03:00:00.000Z", "2026-02-15T03:00:00.000Z"),
        // The 31st: clamped to the last day of a short month, and back.
        ("UTC", "2026-01-31T12:00:00Z", "2026-02-27T12:00:00Z", "2026-01-31", "2026-01-31T00:00:00.000Z", "2026-02-28T00:00:00.000Z"),
        ("UTC", "2026-01-31T12:00:00Z", "2026-02-28T00:00:00Z", "2026-02-28", "2026-02-28T00:00:00.000Z", "2026-03-31T00:00:00.000Z"),
        ("UTC", "2027-12-31T12:00:00Z", "2028-03-01T00:00:00Z", "2028-02-29", "2028-02-29T00:00:00.000Z", "2028-03-31T00:00:00.000Z"),
        ("UTC", "2026-01-30T12:00:00Z", "2026-04-30T00:00:00Z", "2026-04-30", "2026-04-30T00:00:00.000Z", "2026-05-30T00:00:00.000Z"),
        // Over the end of a year.
        ("UTC", "2026-05-20T12:00:00Z", "2027-01-19T23:59:59Z", "2026-12-20", "2026-12-20T00:00:00.000Z", "2027-01-20T00:00:00.000Z"),
        // The clock goes forward in between, and at the very midnight of the first day (America/Sao_Paulo until 2018).
        ("America/New_York", "2026-01-08T12:00:00Z", "2026-03-10T12:00:00Z", "2026-03-08", "2026-03-08T05:00:00.000Z", "2026-04-08T04:00:00.000Z"),
        ("America/Sao_Paulo", "2018-10-04T12:00:00Z", "2018-11-05T12:00:00Z", "2018-11-04", "2018-11-04T03:00:00.000Z", "2018-12-04T02:00:00.000Z"),
    ])
    func isTheOneThatTheInstantLiesIn(
        zone: String,
        anchor: String,
        now: String,
        first: String,
        start: String,
        end: String
    ) throws {
        let zone = try #require(Zone.named(zone))
        let period = Period.containing(try time(now), anchoredAt: try time(anchor), zone)
        #expect(period.first.description == first)
        #expect(period.start.description == start && period.end.description == end)
    }

    @Test func thePeriodsOfAnyAnchorFollowOneAnotherWithoutAGap() throws {
        for name in ["America/Sao_Paulo", "America/New_York", "Asia/Kolkata", "Australia/Lord_Howe", "UTC"] {
            let zone = try #require(Zone.named(name))
            for day in 1...31 {
                let anchor = try time("2018-01-\(day < 10 ? "0" : "")\(day)T12:00:00Z")
                var period = Period.containing(anchor, anchoredAt: anchor, zone)
                for _ in 0..<40 {
                    #expect(Period.containing(period.start, anchoredAt: anchor, zone) == period)
                    #expect(Period.containing(period.end - .milliseconds(1), anchoredAt: anchor, zone) == period)
                    let next = Period.containing(period.end, anchoredAt: anchor, zone)
                    #expect(next.start == period.end && next.first > period.first)
                    period = next
                }
            }
        }
    }
}
