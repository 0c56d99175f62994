import Foundation
package import Kernel

package import struct Foundation.Decimal

/// The numbers of a client (contracts/agendazap.md "Modelo Client"), at a moment and by the clock of a business: a function of the tally, and of nothing else.
///
/// **Frequency score**, 0 to 100 in tenths, of visits (appointments that were neither cancelled nor missed):
/// - volume, up to 30: 3 for each visit, of ten at the most;
/// - regularity, up to 30: with three visits or more, 30 × (1 − d ⁄ m), where m is the mean of the gaps between one visit and the next and d their mean absolute
///   deviation from it: as regular as a clock is 30, and what deviates by all of its mean is 0;
/// - recency, up to 40: all of it while the last visit is 30 days ago or less, or still to come; from there on evenly down to nothing at 180 days.
///
/// **Regular customer**: three visits or more, of which the last is less than 90 days ago, or still to come.
///
/// **Preferred** services, days and times: the three with the most visits, of the latest thousand. Of equals the service that there was first, the day from Monday
/// on, the earlier hour.
package struct ClientMetrics: Sendable, Equatable {
    package let firstAppointmentAt: Timestamp?
    package let lastAppointmentAt: Timestamp?
    package let nextAppointmentAt: Timestamp?
    package let thisMonth: Int
    package let lastMonth: Int
    package let averageDaysBetween: Double
    /// In tenths of a point.
    package let scoreTenths: Int64
    package let isRegular: Bool
    package let preferredDays: [String]
    package let preferredTimes: [String]
    package let averageTicket: Decimal
    package let lastPaymentAt: Timestamp?

    package static let preferredCount = 3
    package static let regularVisits = 3
    package static let day: Int64 = 86_400_000
    package static let regularWithin = 90 * day
    /// Recency is whole until the one, and nothing from the other on.
    package static let freshFor = 30 * day
    package static let forgottenAfter = 180 * day
    package static let recencyTenths: Int64 = 400

    package init(_ tally: ClientTally, at now: Timestamp, _ zone: Zone) {
        let visits = tally.visits
        firstAppointmentAt = visits.first.map { Timestamp(milliseconds: $0) }
        lastAppointmentAt = visits.last.map { Timestamp(milliseconds: $0) }
        nextAppointmentAt = visits.latest.first { $0 > now.milliseconds }.map { Timestamp(milliseconds: $0) }
        let month = CivilDate(days: Int32(zone.day(of: now).number)).month
        func start(_ month: YearMonth) -> Timestamp { zone.start(of: CivilDay(Int(month.firstDay.days))) }
        let (previous, present, next) = (YearMonth(index: month.index - 1), month, YearMonth(index: month.index + 1))
        thisMonth = visits.count(in: start(present)..<start(next))
        lastMonth = visits.count(in: start(previous)..<start(present))
        if let first = visits.first, let last = visits.last, tally.visitCount > 1 {
            averageDaysBetween = (Double(last - first) / Double(tally.visitCount - 1) / Double(Self.day) * 100).rounded() / 100
        } else {
            averageDaysBetween = 0
        }
        scoreTenths = Self.steadyTenths(tally) + Self.recency(visits.last, at: now)
        isRegular = tally.visitCount >= Self.regularVisits && (visits.last.map { now.milliseconds - $0 < Self.regularWithin } ?? false)
        let locals = visits.latest.map { zone.local($0) }
        preferredDays = Self.top(Self.counts(locals.map { ((Int($0.flooredDivision(by: Self.day)) + 3) % 7 + 7) % 7 })).map(Self.weekday)
        preferredTimes = Self.top(Self.counts(locals.map { Int($0.flooredRemainder(by: Self.day) / 3_600_000) })).map {
            "\($0 < 10 ? "0" : "")\($0):00"
        }
        let completed = tally.count(.completed)
        averageTicket = completed == 0 ? 0 : Self.rounded(tally.spent / Decimal(completed))
        lastPaymentAt = tally.payments.last.map { Timestamp(milliseconds: $0) }
    }

    package static func preferredServices(_ tally: ClientTally) -> [ServiceID] { top(tally.services) }

    /// What of the score does not change by the passing of time: volume and regularity.
    package static func steadyTenths(_ tally: ClientTally) -> Int64 {
        let volume = Int64(min(tally.visitCount, 10)) * 30
        let times = tally.visits.latest
        guard times.count >= 3 else { return volume }
        let gaps = zip(times.dropFirst(), times).map { Double($0 - $1) }
        let mean = gaps.reduce(0, +) / Double(gaps.count)
        guard mean > 0 else { return volume }
        let deviation = gaps.reduce(0) { $0 + abs($1 - mean) } / Double(gaps.count)
        return volume + Int64((300 * max(0, 1 - deviation / mean)).rounded())
    }

    /// In whole numbers, as the store computes it for searches (`ClientFilter.score`).
    package static func recency(_ last: Int64?, at now: Timestamp) -> Int64 {
        guard let last else { return 0 }
        let age = now.milliseconds - last
        if age <= freshFor { return recencyTenths }
        return age >= forgottenAfter ? 0 : recencyTenths * (forgottenAfter - age) / (forgottenAfter - freshFor)
    }

    /// To whole centavos, half a centavo up.
    private static func rounded(_ amount: Decimal) -> Decimal {
        var (exact, rounded) = (amount, Decimal())
        NSDecimalRound(&rounded, &exact, 2, .plain)
        return rounded
    }

    private static func counts(_ values: [Int]) -> [Int: Int] { values.reduce(into: [:]) { $0[$1, default: 0] += 1 } }

    private static func top<Key: Comparable & Hashable>(_ counts: [Key: Int]) -> [Key] {
        counts.sorted { ($1.value, $0.key) < ($0.value, $1.key) }.prefix(preferredCount).map(\.key)
    }

    /// 0 is Monday.
    private static func weekday(_ number: Int) -> String { WeeklyHours.dayNames[(number + 1) % 7] }
}

extension Int64 {
    fileprivate func flooredRemainder(by divisor: Int64) -> Int64 { (self % divisor + divisor) % divisor }
    fileprivate func flooredDivision(by divisor: Int64) -> Int64 { (self - flooredRemainder(by: divisor)) / divisor }
}
