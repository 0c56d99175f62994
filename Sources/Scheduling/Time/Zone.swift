package import Kernel
import Synchronization

import struct Foundation.Date
import struct Foundation.TimeZone

// A time zone as a list of stretches with one offset each, so that every question is a search in an array.
//
// Taken from Foundation once for the process: the offset is asked for every 4 days of 2000–2069 and each difference narrowed down to its second, as the system's
// own search for transitions passes over those that are not daylight saving (Apia skipped 2011-12-30). Before and after these years the nearest offset counts.
//
// "Local" milliseconds are what the wall clock shows, counted as if it were UTC. A local time that the clock skips has no instant, one that it repeats has two:
// - something that opens at a skipped time opens at the first instant after it, and at a repeated time at the earlier one;
// - something that closes at a skipped time closes at the same instant, and at a repeated time at the later one;
// - a day goes from its first instant to the first instant of the next; a day that is skipped is empty.
package final class Zone: Sendable {
    package static let standard = "America/Sao_Paulo"

    package let identifier: String
    /// When each stretch begins, in milliseconds; the first one always has.
    private let starts: [Int64]
    private let offsets: [Int64]

    private static let known = Mutex<[String: Zone]>([:])
    private static let maxKnown = 1000

    /// `nil` when there is no such time zone.
    package static func named(_ identifier: String) -> Zone? {
        if let zone = known.withLock({ $0[identifier] }) { return zone }
        guard identifier.utf8.count <= 64, let zone = TimeZone(identifier: identifier).map({ Zone(identifier, $0) }) else { return nil }
        known.withLock { if $0.count < maxKnown { $0[identifier] = zone } }
        return zone
    }

    private init(_ identifier: String, _ zone: TimeZone) {
        self.identifier = identifier
        func offset(_ seconds: Int64) -> Int64 { Int64(zone.secondsFromGMT(for: Date(timeIntervalSince1970: Double(seconds)))) }
        let (first, last, step): (Int64, Int64, Int64) = (946_684_800, 3_155_760_000, 4 * 86_400)
        var starts: [Int64] = [.min / 4]
        var offsets = [offset(first)]
        var (time, before) = (first, offsets[0])
        while time < last {
            let next = offset(time + step)
            if next != before {
                var (low, high) = (time, time + step)
                while high - low > 1 {
                    let middle = low + (high - low) / 2
                    if offset(middle) == before { low = middle } else { high = middle }
                }
                starts.append(high * 1000)
                // What came after the first difference, should there be a second one within the step.
                offsets.append(offset(high))
                (time, before) = (high, offset(high))
            } else {
                time += step
            }
        }
        self.starts = starts
        self.offsets = offsets.map { $0 * 1000 }
    }

    /// The stretch that an instant lies in.
    private func stretch(_ instant: Int64) -> Int {
        var (low, high) = (0, starts.count)
        while high - low > 1 {
            let middle = (low + high) / 2
            if starts[middle] <= instant { low = middle } else { high = middle }
        }
        return low
    }

    package func offset(at instant: Int64) -> Int64 { offsets[stretch(instant)] }
    package func local(_ instant: Int64) -> Int64 { instant + offset(at: instant) }
    package func day(of time: Timestamp) -> CivilDay {
        let local = local(time.milliseconds)
        return CivilDay(Int(local >= 0 ? local / 86_400_000 : (local - 86_399_999) / 86_400_000))
    }

    /// The instants at which the wall clock shows this, in order: none, one or two.
    package func instants(local: Int64) -> [Int64] {
        var found: [Int64] = []
        // No offset is further from UTC than 26 hours.
        var index = stretch(local - 26 * 3_600_000)
        while index < starts.count, starts[index] <= local + 26 * 3_600_000 {
            let instant = local - offsets[index]
            if starts[index] <= instant, index + 1 == starts.count || instant < starts[index + 1] { found.append(instant) }
            index += 1
        }
        return found
    }

    package func opening(local: Int64) -> Int64 { instants(local: local).first ?? afterGap(local) }
    package func closing(local: Int64) -> Int64 { instants(local: local).last ?? afterGap(local) }

    /// When the clock was put forward over this local time.
    private func afterGap(_ local: Int64) -> Int64 {
        var index = stretch(local - 26 * 3_600_000)
        while index + 1 < starts.count {
            if starts[index + 1] + offsets[index + 1] > local { return starts[index + 1] }
            index += 1
        }
        return local - offsets[index]
    }

    package func start(of day: CivilDay) -> Timestamp { Timestamp(milliseconds: opening(local: day.local)) }
    package func end(of day: CivilDay) -> Timestamp { start(of: day + 1) }

    /// `2026-03-01T09:30:00-03:00`: an instant as the wall clock shows it.
    package func text(_ time: Timestamp) -> String {
        let offset = offset(at: time.milliseconds)
        let minutes = abs(offset) / 60_000
        func two(_ number: Int64) -> String { number < 10 ? "0\(number)" : "\(number)" }
        let local = Timestamp(milliseconds: time.milliseconds + offset).description.prefix(19)
        return "\(local)\(offset < 0 ? "-" : "+")\(two(minutes / 60)):\(two(minutes % 60))"
    }

    // MARK: Starts

    /// Every instant in `range` at which the wall clock shows `anchor` or a whole number of steps after it. A clock that is put back shows some twice, and they
    /// are two; one that is put forward passes over some, and they are none.
    /// - Parameters:
    ///   - anchor: local milliseconds.
    ///   - step: milliseconds, more than 0.
    func forEachStart(in range: Range<Int64>, anchor: Int64, step: Int64, _ body: (Int64) -> Void) {
        guard !range.isEmpty else { return }
        var index = stretch(range.lowerBound)
        while index < starts.count, starts[index] < range.upperBound {
            let from = max(range.lowerBound, starts[index])
            let until = index + 1 < starts.count ? min(range.upperBound, starts[index + 1]) : range.upperBound
            let past = (from + offsets[index] - anchor) % step
            var start = past == 0 ? from : from + (past < 0 ? -past : step - past)
            while start < until {
                body(start)
                start += step
            }
            index += 1
        }
    }
}
