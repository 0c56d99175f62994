package import Kernel
package import Wire

/// How many appointments there may be at the most, of a business or of one of its services: what was not cancelled counts, and what is held, by the date, the
/// week (from Monday) and the month that it begins in. Of several the strictest counts. What the staff forces goes over them, and counts.
package struct BookingLimits: Sendable, Equatable {
    package var perDay: Int?
    package var perWeek: Int?
    package var perMonth: Int?

    package init() {}

    package var isEmpty: Bool { perDay == nil && perWeek == nil && perMonth == nil }

    package enum Scope: String, Sendable, CaseIterable { case day, week, month }

    package subscript(_ scope: Scope) -> Int? {
        get {
            switch scope {
            case .day: perDay
            case .week: perWeek
            case .month: perMonth
            }
        }
        set {
            switch scope {
            case .day: perDay = newValue
            case .week: perWeek = newValue
            case .month: perMonth = newValue
            }
        }
    }

    package func write(to writer: inout JSONWriter) {
        for scope in Scope.allCases { writer.field("max_per_\(scope.rawValue)", self[scope]) }
    }
}

extension BookingLimits.Scope {
    /// The dates of the period that a date is in.
    func days(around day: CivilDay) -> Range<CivilDay> {
        switch self {
        case .day: return day..<(day + 1)
        case .week:
            let monday = day + -((day.weekday + 6) % 7)
            return monday..<(monday + 7)
        case .month:
            let first = day.firstOfMonth
            return first..<(first + 31).firstOfMonth
        }
    }
}

extension CivilDay {
    package var firstOfMonth: CivilDay { self + (1 - (Int(description.suffix(2)) ?? 1)) }
}

/// When appointments and holds begin, by service and in order: it knows of no time zone, as the business may move to another.
struct Tally: Sendable {
    private var starts: [ServiceID: [Int64]] = [:]

    mutating func add(_ service: ServiceID, _ start: Timestamp) {
        let index = Self.index(starts[service] ?? [], start.milliseconds)
        starts[service, default: []].insert(start.milliseconds, at: index)
    }

    mutating func remove(_ service: ServiceID, _ start: Timestamp) {
        let index = Self.index(starts[service] ?? [], start.milliseconds)
        guard let found = starts[service], index < found.count, found[index] == start.milliseconds else { return }
        starts[service]?.remove(at: index)
    }

    /// - Parameter service: `nil` for all of them.
    func count(_ range: Range<Timestamp>, _ service: ServiceID?) -> Int {
        func count(_ starts: [Int64]) -> Int {
            Self.index(starts, range.upperBound.milliseconds) - Self.index(starts, range.lowerBound.milliseconds)
        }
        if let service { return count(starts[service] ?? []) }
        return starts.values.reduce(0) { $0 + count($1) }
    }

    mutating func forget(before time: Timestamp) {
        starts = starts.mapValues { Array($0[Self.index($0, time.milliseconds)...]) }
    }

    /// The first at or after a time.
    private static func index(_ starts: [Int64], _ time: Int64) -> Int {
        var (low, high) = (0, starts.count)
        while low < high {
            let middle = (low + high) / 2
            if starts[middle] < time { low = middle + 1 } else { high = middle }
        }
        return low
    }
}

extension CalendarBook {
    /// What is full of a wish's limits on a date, whoever is ignored.
    func limitReached(_ wish: Wish, on day: CivilDay, ignoring holder: Holder?) -> (scope: BookingLimits.Scope, isOfService: Bool)? {
        let ignored = holder.flatMap { counted($0) }
        for (limits, service) in limits(of: wish.service) {
            for scope in BookingLimits.Scope.allCases {
                guard let limit = limits[scope] else { continue }
                let range = range(scope, day)
                var count = tally.count(range, service)
                if let ignored, range.contains(ignored.start), service == nil || service == ignored.service { count -= 1 }
                if count >= limit { return (scope, service != nil) }
            }
        }
        return nil
    }

    private func limits(of service: Service?) -> [(BookingLimits, ServiceID?)] {
        [(service?.limits ?? BookingLimits(), service?.id), (rules.limits, nil)].filter { !$0.0.isEmpty }
    }

    private func range(_ scope: BookingLimits.Scope, _ day: CivilDay) -> Range<Timestamp> {
        let days = scope.days(around: day)
        return rules.zone.start(of: days.lowerBound)..<rules.zone.start(of: days.upperBound)
    }

    private func counted(_ holder: Holder) -> (start: Timestamp, service: ServiceID)? {
        switch holder {
        case .appointment(let id): appointments[id].map { ($0.start, $0.service) }
        case .hold(let id): holds[id].map { ($0.start, $0.service) }
        }
    }

    mutating func begins(_ service: ServiceID, _ start: Timestamp) {
        tally.add(service, start)
        _ = limitsMoved(service, start, full: 0)
    }

    mutating func beginsNoMore(_ service: ServiceID, _ start: Timestamp) {
        tally.remove(service, start)
        freed += limitsMoved(service, start, full: -1)
    }

    /// Where a period has just become full, or has room again, all of it is touched. A day is shown as it now is; more than that is asked for anew by whoever
    /// looks at it.
    private mutating func limitsMoved(_ service: ServiceID, _ start: Timestamp, full: Int) -> [Range<Timestamp>] {
        let day = rules.zone.day(of: start)
        var turned: [Range<Timestamp>] = []
        for (limits, service) in limits(of: services[service]) {
            for scope in BookingLimits.Scope.allCases {
                guard let limit = limits[scope] else { continue }
                let range = range(scope, day)
                guard tally.count(range, service) == limit + full else { continue }
                turned.append(range)
                if scope == .day {
                    effects.touched.append(range)
                } else if effects.turned.remove(.init(period: range, service: service)) == nil {
                    // Twice in one turn is not at all.
                    effects.turned.insert(.init(period: range, service: service))
                }
            }
        }
        return turned
    }
}
