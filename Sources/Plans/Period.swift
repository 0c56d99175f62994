package import Kernel

/// Dates and instants of the place that a business is at.
package protocol CivilClock: Sendable {
    func date(of time: Timestamp) -> CivilDate
    /// The first instant of a date.
    func start(of date: CivilDate) -> Timestamp
}

/// A month of an account: from its anchor day, the day of the month on which it began, up to that day of the month after. In a month without that day its last one
/// counts, and the next period is back on the anchor: 31 January, 28 February, 31 March.
///
/// A period is known by its first date, not by an instant: a change of zone makes no new one.
package struct Period: Sendable, Hashable {
    package let first: CivilDate
    package let start: Timestamp
    /// From here on it is the next one.
    package let end: Timestamp

    package init(first: CivilDate, start: Timestamp, end: Timestamp) {
        self.first = first
        self.start = start
        self.end = end
    }

    /// The one that an instant lies in.
    package static func containing(_ time: Timestamp, anchoredAt anchor: Timestamp, _ clock: some CivilClock) -> Period {
        let day = clock.date(of: anchor).dayOfMonth
        let date = clock.date(of: time)
        let own = date.month.date(day)
        return from(date >= own ? date.month : YearMonth(index: date.month.index - 1), day, clock)
    }

    /// By how many days the anchor may move when the business goes to another zone.
    package static let dayOfAnotherZone: Int = 2

    /// The same with another beginning: what it was called under another zone.
    package func known(as first: CivilDate, start: Timestamp) -> Period { Period(first: first, start: start, end: end) }

    /// The one that begins in a month.
    package static func from(_ month: YearMonth, _ day: Int, _ clock: some CivilClock) -> Period {
        let first = month.date(day)
        let next = YearMonth(index: month.index + 1).date(day)
        return Period(first: first, start: clock.start(of: first), end: clock.start(of: next))
    }
}

extension CivilDate {
    var dayOfMonth: Int { self - month.firstDay + 1 }
}

extension YearMonth {
    /// Its day of that number, or its last one.
    func date(_ day: Int) -> CivilDate { min(firstDay + (day - 1), lastDay) }
}
