package import Kernel

/// A date by the wall clock, as the number of days since 1970-01-01.
package struct CivilDay: Sendable, Hashable, Comparable, CustomStringConvertible {
    package let number: Int

    package init(_ number: Int) { self.number = number }

    /// Reads `2026-03-01`. `nil` for anything else.
    package init?(_ text: some StringProtocol) {
        guard text.utf8.count == 10, let time = Timestamp(rfc3339: "\(text)T00:00:00Z") else { return nil }
        self.init(Int(time.milliseconds / 86_400_000))
        // A date before 1970 is nobody's appointment.
        guard time.milliseconds >= 0 else { return nil }
    }

    package var description: String { String(Timestamp(milliseconds: Int64(number) * 86_400_000).description.prefix(10)) }

    /// 0 is Sunday. 1970-01-01 was a Thursday.
    package var weekday: Int { ((number + 4) % 7 + 7) % 7 }

    package static func < (a: CivilDay, b: CivilDay) -> Bool { a.number < b.number }
    package static func + (day: CivilDay, days: Int) -> CivilDay { CivilDay(day.number + days) }

    /// Midnight, in milliseconds as if the wall clock were UTC.
    var local: Int64 { Int64(number) * 86_400_000 }
}
