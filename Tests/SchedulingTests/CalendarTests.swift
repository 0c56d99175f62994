import Kernel
import Storage
import Testing

@testable import Scheduling

/// What the calendar's actor adds to the book: events, rows, and what it keeps in memory.
@Suite struct CalendarTests {
    private actor Turn {}

    private func calendar(_ diary: Diary) -> Calendar {
        Calendar(executor: Turn(), tenant: business, slug: "salao", loaded: diary.book, now: diary.clock.now)
    }

    /// Whoever looks at the public page may have begun to before this calendar came into memory.
    @Test func thePublicPageIsToldAlsoWhereNobodyHasAskedForItSinceTheCalendarWasLoaded() async throws {
        let diary = try Diary()
        let calendar = calendar(diary)
        let (moment, request) = (diary.moment, diary.request(try time("2026-03-02T12:00:00Z")))
        let (_, change) = await calendar.decide(moment) { book throws(Refusal) in try book.book(request, moment).id }
        let news = try #require(change.events.first { $0.channel == "booking:salao" })
        #expect(String(decoding: news.payload, as: UTF8.self).contains("slots.changed"))
        // Its version is later than any that was told before.
        diary.clock.advance(by: .milliseconds(5))
        let (later, second) = (self.calendar(diary), diary.moment)
        let snapshots = (await calendar.bookingSnapshot("salao", second), await later.bookingSnapshot("salao", second))
        func version(_ bytes: [UInt8]) throws -> Int {
            try #require(Int(String(decoding: bytes, as: UTF8.self).split(separator: "\"version\":")[1].prefix { $0.isNumber }))
        }
        #expect(try version(snapshots.0) < version(snapshots.1))
    }

    @Test func aMonthThatTurnsIsAskedForAnew() async throws {
        var diary = try Diary()
        diary.book.rules.limits.perMonth = 1
        let calendar = calendar(diary)
        let (moment, request) = (diary.moment, diary.request(try time("2026-03-02T12:00:00Z")))
        let (_, change) = await calendar.decide(moment) { book throws(Refusal) in try book.book(request, moment).id }
        let news = change.events.filter { $0.channel == "booking:salao" }.map { String(decoding: $0.payload, as: UTF8.self) }
        #expect(news.count == 1 && news[0].contains("booking.changed") && news[0].utf8.count < 100)
    }

    /// Nothing ever falls due, and the business is always looked at.
    @Test func whatIsOverIsForgottenInTime() async throws {
        var diary = try Diary()
        diary.book.rules.confirmsAtOnce = true
        let calendar = calendar(diary)
        for day in 0..<10 {
            let (moment, request) = (diary.moment, diary.request(diary.clock.now + .seconds(4 * 3600)))
            _ = await calendar.decide(moment) { book throws(Refusal) in
                var forced = request
                forced.force = "encaixe"
                return try book.book(forced, moment).id
            }
            diary.clock.advance(by: .seconds(86_400))
            let kept = try await calendar.reading { book throws(Refusal) in book.appointments.count }
            #expect(kept <= 4, "after day \(day)")
        }
        // What was asked for of it stays until it has been used.
        let old = try #require(try await calendar.reading { book throws(Refusal) in book.appointments.values.min { $0.start < $1.start } })
        diary.clock.advance(by: .seconds(5 * 86_400))
        let moment = diary.moment
        _ = await calendar.decide(moment) { book throws(Refusal) in book.timePassed(moment) }
        #expect(try await calendar.reading { book throws(Refusal) in book.appointments.isEmpty })
        await calendar.adopt([old])
        diary.clock.advance(by: .seconds(3600))
        let later = diary.moment
        _ = await calendar.decide(later) { book throws(Refusal) in book.timePassed(later) }
        #expect(try await calendar.reading { book throws(Refusal) in book.appointments.count } == 1)
    }
}
