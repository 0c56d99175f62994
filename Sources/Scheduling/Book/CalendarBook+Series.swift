package import Kernel

extension CalendarBook {
    package struct Recurrence: Sendable {
        package enum Frequency: String, Sendable, CaseIterable { case daily, weekly, monthly }

        package let frequency: Frequency
        package let interval: Int
        package let count: Int
        /// Times that are not to be had are left out; else none is booked.
        package let skipsUnavailable: Bool

        package static let maxCount = 104

        package init(frequency: Frequency, interval: Int, count: Int, skipsUnavailable: Bool) {
            self.frequency = frequency
            self.interval = interval
            self.count = count
            self.skipsUnavailable = skipsUnavailable
        }
    }

    /// The starts of a series, at the same time by the wall clock; one that the clock skips is `nil`, and a month without the day has none.
    package func starts(_ recurrence: Recurrence, from start: Timestamp) -> [Timestamp?] {
        let first = rules.zone.day(of: start)
        let time = rules.zone.local(start.milliseconds) - first.local
        return (0..<recurrence.count).map { number in
            let day: CivilDay?
            switch recurrence.frequency {
            case .daily: day = first + number * recurrence.interval
            case .weekly: day = first + number * recurrence.interval * 7
            case .monthly: day = first.adding(months: number * recurrence.interval)
            }
            return day.flatMap { rules.zone.instants(local: $0.local + time).first }.map { Timestamp(milliseconds: $0) }
        }
    }

    package mutating func book(
        _ request: BookingRequest,
        _ recurrence: Recurrence,
        _ moment: Moment
    ) throws(Refusal) -> (made: [Appointment], unavailable: [String]) {
        timePassed(moment)
        var trial = self
        var made: [Appointment] = []
        var unavailable: [String] = []
        var failure: Refusal?
        let series: SeriesID = moment.id()
        for start in starts(recurrence, from: request.start) {
            guard let start else {
                unavailable.append("-")
                continue
            }
            var one = request
            one.start = start
            one.series = series
            // One time is held, not all of them.
            if start != request.start { one.hold = nil }
            do throws(Refusal) { made.append(try trial.made(one, moment)) } catch {
                guard error.kind == .conflict else { throw error }
                failure = failure ?? error
                unavailable.append(start.description)
            }
        }
        if !unavailable.isEmpty, !recurrence.skipsUnavailable || made.isEmpty {
            var refusal = Refusal(.conflict, "series_unavailable", "Alguns horários da série não estão disponíveis; nada foi agendado.")
            refusal.lists["unavailable"] = unavailable
            refusal.lists["alternatives"] = failure?.lists["alternatives"]
            throw refusal
        }
        self = trial
        return (made, unavailable)
    }

    /// Those of a series that are still to come, from one on.
    package func following(_ id: AppointmentID) -> [AppointmentID] {
        guard let appointment = appointments[id], let series = appointment.series else { return [id] }
        return appointments.values.filter { $0.series == series && $0.start >= appointment.start && $0.status.isBlocking }
            .sorted { $0.start < $1.start }.map(\.id)
    }
}

extension CivilDay {
    /// The same day of a later month; `nil` where that month has none.
    func adding(months: Int) -> CivilDay? {
        let parts = description.split(separator: "-").compactMap { Int($0) }
        let month = parts[1] - 1 + months
        func two(_ number: Int) -> String { number < 10 ? "0\(number)" : "\(number)" }
        return CivilDay("\(parts[0] + month / 12)-\(two(month % 12 + 1))-\(two(parts[2]))")
    }
}
