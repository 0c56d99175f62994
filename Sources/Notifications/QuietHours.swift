package import Kernel
package import Scheduling

/// The hours of each day, by the business's clock, in which nobody is to be disturbed. Over midnight when they end before they begin.
package struct QuietHours: Sendable, Equatable {
    /// Minutes of the day.
    package let begins: Int
    package let ends: Int

    /// How long before they begin something is told that would come too late after them.
    package static let margin = Duration.seconds(15 * 60)

    package init?(begins: Int, ends: Int) {
        guard (0..<1440).contains(begins), (0..<1440).contains(ends), begins != ends else { return nil }
        self.begins = begins
        self.ends = ends
    }

    /// The quiet time that an instant lies in. A clock that is put forward or back makes it shorter or longer, never two of it.
    package func around(_ time: Timestamp, _ zone: Zone) -> Range<Timestamp>? {
        let today = zone.day(of: time)
        for day in [today + -1, today] {
            let start = zone.opening(local: Self.local(day, begins))
            let end = zone.closing(local: Self.local(ends > begins ? day : day + 1, ends))
            if start <= time.milliseconds, time.milliseconds < end { return Timestamp(milliseconds: start)..<Timestamp(milliseconds: end) }
        }
        return nil
    }

    static func local(_ day: CivilDay, _ minute: Int) -> Int64 { Int64(day.number) * 86_400_000 + Int64(minute) * 60_000 }
}
