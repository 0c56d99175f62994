import Kernel

/// When a business is there, week by week, in a fixed offset from UTC (Brazil has had no summer time since 2019).
package struct BotHours: Sendable, Equatable {
    package let offsetMinutes: Int
    /// Minutes of the day, by weekday; Monday is 0. `nil`: as the desk is open.
    package let weekly: [[Range<Int>]]?
    package let closedText: String
    /// Where a conversation begins that begins out of hours; `nil`: where all begin.
    package let closed: String?

    package static let days = ["mon", "tue", "wed", "thu", "fri", "sat", "sun"]

    func isOpen(at time: Timestamp, _ weekly: [[Range<Int>]]) -> Bool {
        let minutes = (time.milliseconds / 60_000) + Int64(offsetMinutes)
        let day = minutes >= 0 ? minutes / 1440 : (minutes - 1439) / 1440
        // 1970-01-01 was a Thursday.
        let weekday = Int(((day + 3) % 7 + 7) % 7)
        return weekly[weekday].contains { $0.contains(Int(minutes - day * 1440)) }
    }
}
