import Foundation
package import Kernel

// When a business works: hours of each day of the week, in its own time zone, without its holidays.
//
// A day has any number of intervals `[opens, closes)` in minutes since midnight, in order and apart from one another; 1440 is the midnight at its end.
// A day that the clock is put forward or back has its hours by the wall clock all the same.
package struct BusinessHours: Sendable, Equatable {
    package struct Interval: Sendable, Equatable {
        /// Minutes since midnight.
        package let opens: Int
        package let closes: Int

        package init(opens: Int, closes: Int) {
            self.opens = opens
            self.closes = closes
        }
    }

    package static let dayNames = ["sun", "mon", "tue", "wed", "thu", "fri", "sat"]
    /// How far ahead an opening is looked for. A business that is closed for so long has none.
    private static let daysAhead = 400

    package let timeZone: String
    /// Seven days from Sunday on.
    package let week: [[Interval]]
    /// As `2026-12-25`.
    package let holidays: Set<String>
    private let zone: TimeZone

    /// `nil` when there is no such time zone.
    package init?(timeZone: String, week: [[Interval]], holidays: Set<String>) {
        guard let zone = TimeZone(identifier: timeZone), week.count == 7 else { return nil }
        self.timeZone = timeZone
        self.week = week
        self.holidays = holidays
        self.zone = zone
    }

    package func isOpen(at time: Timestamp) -> Bool {
        let local = localMilliseconds(time)
        let day = floored(local, Self.dayLength)
        let minute = Int((local - day * Self.dayLength) / 60_000)
        return intervals(of: day).contains { $0.opens <= minute && minute < $0.closes }
    }

    /// The time after `duration` of working time from `start` on.
    package func time(after duration: Duration, from start: Timestamp) -> Timestamp {
        var left = duration.inMilliseconds
        let first = floored(localMilliseconds(start), Self.dayLength)
        for day in first..<(first + Int64(Self.daysAhead)) {
            for interval in intervals(of: day) {
                let opens = max(instant(day, interval.opens), start)
                let closes = instant(day, interval.closes)
                guard closes > opens else { continue }
                let length = closes.milliseconds - opens.milliseconds
                if left <= length { return Timestamp(milliseconds: opens.milliseconds + left) }
                left -= length
            }
        }
        return instant(first + Int64(Self.daysAhead), 0)
    }

    // MARK: Days, counted from 1970-01-01 by the wall clock

    private static let dayLength: Int64 = 86_400_000

    private func floored(_ value: Int64, _ divisor: Int64) -> Int64 {
        let quotient = value / divisor
        return value % divisor < 0 ? quotient - 1 : quotient
    }

    private func offset(_ milliseconds: Int64) -> Int64 {
        Int64(zone.secondsFromGMT(for: Date(timeIntervalSince1970: Double(milliseconds) / 1000))) * 1000
    }

    private func localMilliseconds(_ time: Timestamp) -> Int64 { time.milliseconds + offset(time.milliseconds) }

    private func instant(_ day: Int64, _ minute: Int) -> Timestamp {
        let local = day * Self.dayLength + Int64(minute) * 60_000
        // The offset at the time that is looked for, which the first guess is at most a few hours away from.
        let guess = local - offset(local)
        return Timestamp(milliseconds: local - offset(guess))
    }

    private func intervals(of day: Int64) -> [Interval] {
        // 1970-01-01 was a Thursday.
        let weekday = Int(((day + 4) % 7 + 7) % 7)
        guard !week[weekday].isEmpty, !holidays.contains(String(Timestamp(milliseconds: day * Self.dayLength).description.prefix(10))) else {
            return []
        }
        return week[weekday]
    }
}
