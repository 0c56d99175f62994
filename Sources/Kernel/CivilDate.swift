/// A day of the calendar, without a time zone: the days since 1970-01-01.
package struct CivilDate: Hashable, Comparable, Sendable, CustomStringConvertible {
    package let days: Int32

    package init(days: Int32) { self.days = days }

    /// The day that a moment falls on where clocks are `offset` from UTC.
    package init(_ time: Timestamp, offset: Duration = .zero) {
        days = Int32(clamping: (time + offset).milliseconds.flooredQuotientAndRemainder(by: 86_400_000).0)
    }

    /// What dates of businesses lie between. What other systems say beyond means something else, such as "never".
    package static let sane = CivilDate("1970-01-01")!...CivilDate("2100-12-31")!

    /// Reads `2026-03-01`; `nil` for anything else, such as 30 February.
    package init?(_ text: some StringProtocol) {
        guard text.utf8.count == 10, let time = Timestamp(rfc3339: text + "T00:00:00") else { return nil }
        self.init(time)
    }

    package var start: Timestamp { Timestamp(milliseconds: Int64(days) * 86_400_000) }
    package var month: YearMonth {
        let (year, month, _) = Timestamp.civil(fromDays: Int64(days))
        return YearMonth(year: Int(year), month: Int(month))
    }

    package static func < (a: CivilDate, b: CivilDate) -> Bool { a.days < b.days }
    package static func + (date: CivilDate, days: Int) -> CivilDate {
        CivilDate(days: Int32(clamping: Int64(date.days) + Int64(Int32(clamping: days))))
    }
    package static func - (a: CivilDate, b: CivilDate) -> Int { Int(a.days) - Int(b.days) }

    package var description: String { String(start.description.prefix(10)) }
}

/// A month of the calendar.
package struct YearMonth: Hashable, Comparable, Sendable, CustomStringConvertible {
    /// Months since January of the year 0.
    package let index: Int32

    package init(index: Int32) { self.index = index }
    package init(year: Int, month: Int) { index = Int32(year * 12 + month - 1) }

    /// Reads `2026-03`; `nil` for anything else.
    package init?(_ text: some StringProtocol) {
        guard text.utf8.count == 7, let first = CivilDate(text + "-01") else { return nil }
        self = first.month
    }

    package var year: Int { Int(index) / 12 }
    package var month: Int { Int(index) % 12 + 1 }
    package var firstDay: CivilDate { CivilDate(days: Int32(Timestamp.days(fromYear: Int64(year), month: Int64(month), day: 1))) }
    package var lastDay: CivilDate { YearMonth(index: index + 1).firstDay + -1 }

    package static func < (a: YearMonth, b: YearMonth) -> Bool { a.index < b.index }
    package static func - (a: YearMonth, b: YearMonth) -> Int { Int(a.index - b.index) }

    package var description: String { String(firstDay.description.prefix(7)) }
}

extension Timestamp {
    /// A time as a wall clock shows it, kept as if it were UTC: `2024-03-15T00:00:00`, `2024-03-15`, or with a zone, which is dropped. `nil` for anything else.
    package init?(wallClock text: some StringProtocol) {
        if let day = CivilDate(text) {
            self = day.start
            return
        }
        guard Timestamp(rfc3339: text) != nil, let time = Timestamp(rfc3339: text.prefix(19)) else { return nil }
        self = time
    }

    /// `2024-03-15T00:00:00`, as the contracts write times.
    package var wallClock: String { String(description.prefix(19)) }
}

/// Where the businesses of the contracts are: America/Sao_Paulo, which has had no summer time since 2019.
package enum BusinessZone {
    package static let offset = Duration.seconds(-3 * 3600)

    package static func today(_ now: Timestamp) -> CivilDate { CivilDate(now, offset: offset) }
    /// A moment as a clock there shows it, to the second.
    package static func wallClock(_ moment: Timestamp) -> Timestamp {
        Timestamp(milliseconds: (moment + offset).milliseconds / 1000 * 1000)
    }
    /// The moment at which the day begins there.
    package static func start(of day: CivilDate) -> Timestamp { day.start - offset }
}
