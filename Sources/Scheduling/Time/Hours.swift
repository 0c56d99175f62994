import OrderedCollections
package import Wire

/// A part of a day, in minutes since midnight by the wall clock. 1440 is the midnight at its end.
package struct Period: Sendable, Hashable {
    package let opens: Int
    package let closes: Int

    package init(_ opens: Int, _ closes: Int) {
        self.opens = opens
        self.closes = closes
    }
}

/// Working hours of each day of a week: periods in order, apart from one another.
package struct WeeklyHours: Sendable, Hashable {
    package static let dayNames = ["sun", "mon", "tue", "wed", "thu", "fri", "sat"]

    /// From Sunday on.
    package var days: [[Period]]

    package init(_ days: [[Period]] = Array(repeating: [], count: 7)) { self.days = days }

    /// Monday to Saturday, 09:00 to 18:00 (DESIGN §8).
    package static let standard = WeeklyHours([[]] + Array(repeating: [Period(540, 1080)], count: 6))

    /// These without `breaks`.
    package func without(_ breaks: WeeklyHours) -> WeeklyHours {
        WeeklyHours(zip(days, breaks.days).map { Self.subtract($1, from: $0) })
    }

    static func subtract(_ breaks: [Period], from periods: [Period]) -> [Period] {
        var left = periods
        for pause in breaks {
            left = left.flatMap { period -> [Period] in
                [Period(period.opens, min(period.closes, pause.opens)), Period(max(period.opens, pause.closes), period.closes)]
                    .filter { $0.opens < $0.closes }
            }
        }
        return left
    }
}

// MARK: JSON

extension Period {
    /// Reads a list such as `[["09:00", "12:00"], ["13:00", "18:00"]]`, in any order. `24:00` is the day's end.
    /// - Returns: what is wrong with it, as a sentence for whoever wrote it.
    package static func read(_ json: JSON) -> Result<[Period], Mistake> {
        guard let elements = json.array, elements.count <= 24 else { return .failure(Mistake("deve ser uma lista de pares [\"09:00\", \"18:00\"]")) }
        var periods: [Period] = []
        for element in elements {
            guard let pair = element.array, pair.count == 2, let opens = pair[0].string.flatMap(minute), let closes = pair[1].string.flatMap(minute)
            else {
                return .failure(Mistake("cada período deve ser um par como [\"09:00\", \"18:00\"]"))
            }
            guard opens < closes else { return .failure(Mistake("cada período deve terminar depois de começar")) }
            periods.append(Period(opens, closes))
        }
        periods.sort { $0.opens < $1.opens }
        for (before, after) in zip(periods, periods.dropFirst()) where before.closes > after.opens {
            return .failure(Mistake("os períodos não podem se sobrepor"))
        }
        return .success(periods)
    }

    package struct Mistake: Error {
        package let message: String
        init(_ message: String) { self.message = message }
    }

    private static func minute(_ text: String) -> Int? {
        let parts = text.split(separator: ":", omittingEmptySubsequences: false)
        guard parts.count == 2, parts.allSatisfy({ $0.utf8.count == 2 && $0.utf8.allSatisfy { (0x30...0x39).contains($0) } }),
            let hour = Int(parts[0]), let minute = Int(parts[1]), minute < 60, hour * 60 + minute <= 1440
        else { return nil }
        return hour * 60 + minute
    }

    private static func text(_ minute: Int) -> String {
        func two(_ number: Int) -> String { number < 10 ? "0\(number)" : "\(number)" }
        return "\(two(minute / 60)):\(two(minute % 60))"
    }

    static func write(_ periods: [Period], to list: inout JSONWriter) {
        for period in periods {
            list.array {
                $0.string(text(period.opens))
                $0.string(text(period.closes))
            }
        }
    }
}

extension WeeklyHours {
    /// Reads `{"mon": [["09:00", "18:00"]]}`; a day left out is closed.
    package static func read(_ json: JSON) -> Result<WeeklyHours, Period.Mistake> {
        guard let members = json.object else {
            return .failure(Period.Mistake("deve ser um objeto com os dias da semana (sun, mon, tue, wed, thu, fri, sat)"))
        }
        var hours = WeeklyHours()
        for (name, value) in members {
            guard let day = dayNames.firstIndex(of: name) else { return .failure(Period.Mistake("não há o dia '\(name.prefix(20))'")) }
            switch Period.read(value) {
            case .success(let periods): hours.days[day] = periods
            case .failure(let mistake): return .failure(mistake)
            }
        }
        return .success(hours)
    }

    func write(to writer: inout JSONWriter) {
        writer.object { object in
            for (name, periods) in zip(Self.dayNames, days) where !periods.isEmpty { object.list(name) { Period.write(periods, to: &$0) } }
        }
    }
}

extension JSONWriter {
    mutating func overrides(_ name: String, _ overrides: [CivilDay: [Period]]) {
        field(
            name,
            object: { object in
                for (day, periods) in overrides.sorted(by: { $0.key < $1.key }) { object.list(day.description) { Period.write(periods, to: &$0) } }
            }
        )
    }
}
