/// A moment, as whole milliseconds since 1970-01-01T00:00:00Z. What every row, event and token of ours counts in.
package struct Timestamp: Hashable, Comparable, Sendable, CustomStringConvertible {
    package var milliseconds: Int64

    package init(milliseconds: Int64) { self.milliseconds = milliseconds }
    /// Later than anything.
    package static let distantFuture = Timestamp(milliseconds: .max)

    /// What is further away than milliseconds can count is as far as they can.
    package init(seconds: Int64) {
        let (product, isTooMuch) = seconds.multipliedReportingOverflow(by: 1000)
        milliseconds = isTooMuch ? (seconds < 0 ? .min : .max) : product
    }

    package static func + (time: Timestamp, duration: Duration) -> Timestamp { time.moved(by: duration.inMilliseconds) }
    package static func - (time: Timestamp, duration: Duration) -> Timestamp { time.moved(by: 0 - max(duration.inMilliseconds, -.max)) }

    /// What would be further away than can be counted is as far as can be.
    private func moved(by distance: Int64) -> Timestamp {
        let (sum, isTooMuch) = milliseconds.addingReportingOverflow(distance)
        return Timestamp(milliseconds: isTooMuch ? (distance < 0 ? .min : .max) : sum)
    }

    /// The years that can be written with four digits, but for their first and last days: whatever the offset, a wall clock shows such a year as well.
    private static let writable = -62_135_510_400_000...253_370_678_399_999 as ClosedRange<Int64>
    /// Whether its year can be written with four digits.
    package var isWritable: Bool { Self.writable.contains(milliseconds) }
    package static func - (a: Timestamp, b: Timestamp) -> Duration {
        let (difference, isTooMuch) = a.milliseconds.subtractingReportingOverflow(b.milliseconds)
        return .milliseconds(isTooMuch ? (a < b ? .min : .max) : difference)
    }
    package static func < (a: Timestamp, b: Timestamp) -> Bool { a.milliseconds < b.milliseconds }

    /// RFC 3339 in UTC with milliseconds: `2026-03-01T09:30:00.000Z`. What lies outside of the years 1 to 9998 is written as their beginning or end.
    package var description: String {
        let (days, millisecondOfDay) = min(max(milliseconds, Self.writable.lowerBound), Self.writable.upperBound).flooredQuotientAndRemainder(
            by: 86_400_000
        )
        let (year, month, day) = Self.civil(fromDays: days)
        let second = millisecondOfDay / 1000
        return String(unsafeUninitializedCapacity: 24) { buffer in
            var position = 0
            func put(_ value: Int64, digits: Int) {
                var value = value
                for offset in stride(from: digits - 1, through: 0, by: -1) {
                    buffer[position + offset] = UInt8(ascii: "0") + UInt8(value % 10)
                    value /= 10
                }
                position += digits
            }
            func put(_ character: Unicode.Scalar) {
                buffer[position] = UInt8(ascii: character)
                position += 1
            }
            put(year, digits: 4)
            put("-")
            put(month, digits: 2)
            put("-")
            put(day, digits: 2)
            put("T")
            put(second / 3600, digits: 2)
            put(":")
            put(second / 60 % 60, digits: 2)
            put(":")
            put(second % 60, digits: 2)
            put(".")
            put(millisecondOfDay % 1000, digits: 3)
            put("Z")
            return position
        }
    }

    /// Reads RFC 3339 (`2026-03-01T09:30:00Z`, `…:00.5-03:00`); a time without an offset is taken as UTC. `nil` for anything else, and for what lies outside of the
    /// years 1 to 9998.
    package init?(rfc3339 text: some StringProtocol) {
        var digits = Substring(text).utf8[...]
        func number(_ count: Int) -> Int64? {
            guard digits.count >= count else { return nil }
            var value: Int64 = 0
            for byte in digits.prefix(count) {
                guard (UInt8(ascii: "0")...UInt8(ascii: "9")).contains(byte) else { return nil }
                value = value * 10 + Int64(byte - UInt8(ascii: "0"))
            }
            digits = digits.dropFirst(count)
            return value
        }
        func skip(_ allowed: Unicode.Scalar...) -> Bool {
            guard let byte = digits.first, allowed.contains(where: { UInt8(ascii: $0) == byte }) else { return false }
            digits = digits.dropFirst()
            return true
        }
        guard let year = number(4), skip("-"), let month = number(2), skip("-"), let day = number(2), skip("T", "t", " "),
            let hour = number(2), skip(":"), let minute = number(2), skip(":"), let second = number(2),
            (1...12).contains(month), (1...Self.days(inMonth: month, of: year)).contains(day), hour < 24, minute < 60, second < 60
        else { return nil }
        var fraction: Int64 = 0
        if skip(".", ",") {
            var scale: Int64 = 100
            var any = false
            while let digit = number(1) {
                fraction += digit * scale
                scale /= 10
                any = true
            }
            guard any else { return nil }
        }
        var offsetMinutes: Int64 = 0
        if !digits.isEmpty, !skip("Z", "z") {
            let west = digits.first == UInt8(ascii: "-")
            guard skip("+", "-"), let hours = number(2), skip(":"), let minutes = number(2), hours < 24, minutes < 60 else { return nil }
            offsetMinutes = (hours * 60 + minutes) * (west ? -1 : 1)
        }
        guard digits.isEmpty else { return nil }
        let seconds = Self.days(fromYear: year, month: month, day: day) * 86_400 + hour * 3600 + minute * 60 + second - offsetMinutes * 60
        guard Self.writable.contains(seconds * 1000 + fraction) else { return nil }
        self.init(milliseconds: seconds * 1000 + fraction)
    }

    // The proleptic Gregorian calendar, counted in eras of 400 years that begin on 1 March.

    static func civil(fromDays days: Int64) -> (year: Int64, month: Int64, day: Int64) {
        let (era, dayOfEra) = (days + 719_468).flooredQuotientAndRemainder(by: 146_097)
        let yearOfEra = (dayOfEra - dayOfEra / 1460 + dayOfEra / 36_524 - dayOfEra / 146_096) / 365
        let dayOfYear = dayOfEra - (365 * yearOfEra + yearOfEra / 4 - yearOfEra / 100)
        let shiftedMonth = (5 * dayOfYear + 2) / 153
        let month = shiftedMonth < 10 ? shiftedMonth + 3 : shiftedMonth - 9
        return (yearOfEra + era * 400 + (month <= 2 ? 1 : 0), month, dayOfYear - (153 * shiftedMonth + 2) / 5 + 1)
    }

    static func days(fromYear year: Int64, month: Int64, day: Int64) -> Int64 {
        let (era, yearOfEra) = (month <= 2 ? year - 1 : year).flooredQuotientAndRemainder(by: 400)
        let dayOfYear = (153 * (month > 2 ? month - 3 : month + 9) + 2) / 5 + day - 1
        return era * 146_097 + yearOfEra * 365 + yearOfEra / 4 - yearOfEra / 100 + dayOfYear - 719_468
    }

    static func days(inMonth month: Int64, of year: Int64) -> Int64 {
        switch month {
        case 4, 6, 9, 11: 30
        case 2: year % 4 == 0 && (year % 100 != 0 || year % 400 == 0) ? 29 : 28
        default: 31
        }
    }
}

extension Int64 {
    /// Division that rounds towards minus infinity, so that the remainder is never negative.
    func flooredQuotientAndRemainder(by divisor: Int64) -> (Int64, Int64) {
        let (quotient, remainder) = quotientAndRemainder(dividingBy: divisor)
        return remainder < 0 ? (quotient - 1, remainder + divisor) : (quotient, remainder)
    }
}

extension Duration {
    /// Whole milliseconds, rounded down.
    package var inMilliseconds: Int64 {
        let (seconds, attoseconds) = components
        return seconds * 1000 + attoseconds / 1_000_000_000_000_000
    }
}
