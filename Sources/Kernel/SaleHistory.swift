/// What a customer's sale was before, as far as months that are over read it: a closed month reads what held at its end.
///
/// What has a date is its own history: whoever corrects the day of adhesion or of a cancellation corrects every month. What has none – value, setup, seller,
/// overdue instalments – holds from the month on in which it is changed, or from an earlier one that is named with the change. Who comes back was away until then.
package struct SaleHistory: Sendable, Equatable {
    package struct Terms: Sendable, Equatable {
        package var valor: Money
        package var setup: Money
        package var vendedor: String?
        package var vendedorID: Int64?
        package var parcelasAtrasadas: Int

        package init(valor: Money, setup: Money, vendedor: String?, vendedorID: Int64?, parcelasAtrasadas: Int) {
            self.valor = valor
            self.setup = setup
            self.vendedor = vendedor
            self.vendedorID = vendedorID
            self.parcelasAtrasadas = parcelasAtrasadas
        }

        /// What became another between two of them becomes so here.
        fileprivate mutating func take(_ before: Terms, _ after: Terms) {
            if before.valor != after.valor { valor = after.valor }
            if before.setup != after.setup { setup = after.setup }
            if before.vendedor != after.vendedor { vendedor = after.vendedor }
            if before.vendedorID != after.vendedorID { vendedorID = after.vendedorID }
            if before.parcelasAtrasadas != after.parcelasAtrasadas { parcelasAtrasadas = after.parcelasAtrasadas }
        }
    }

    /// What held to the end of a month, since the end of the period before.
    package struct Period: Sendable, Equatable {
        package let through: YearMonth
        package var terms: Terms

        package init(through: YearMonth, terms: Terms) {
            self.through = through
            self.terms = terms
        }
    }

    /// Somebody cancelled on the one day, and was back on the other.
    package struct Absence: Sendable, Equatable {
        package let from: CivilDate
        package let back: CivilDate

        package init(from: CivilDate, back: CivilDate) {
            self.from = from
            self.back = back
        }
    }

    /// A customer began to pay another amount within a month.
    package struct Step: Sendable, Equatable {
        package let month: YearMonth
        package let before: Money
        package var after: Money

        package init(month: YearMonth, before: Money, after: Money) {
            self.month = month
            self.before = before
            self.after = after
        }
    }

    /// By month, ascending.
    package private(set) var periods: [Period] = []
    /// By day, ascending.
    package private(set) var absences: [Absence] = []
    /// By month, ascending.
    package private(set) var steps: [Step] = []
    /// Since when they have been in the pipeline of those who left, where no cancellation has a date. `nil`: nobody knows, they came so.
    package private(set) var churnedOn: CivilDate?

    /// Ten years of months of which each was another.
    static let maxPeriods = 120
    static let maxAbsences = 24
    static let maxSteps = 240
    /// Of one month; further ones continue the last.
    static let maxStepsAMonth = 12

    package init() {}

    package init(periods: [Period], absences: [Absence], steps: [Step], churnedOn: CivilDate?) {
        self.periods = periods
        self.absences = absences
        self.steps = steps
        self.churnedOn = churnedOn
    }

    package var isEmpty: Bool { periods.isEmpty && absences.isEmpty && steps.isEmpty && churnedOn == nil }

    /// - Parameter from: the first month of which it is true.
    fileprivate mutating func changed(_ before: Terms, _ after: Terms, from: YearMonth) {
        let through = YearMonth(index: from.index - 1)
        let place = periods.firstIndex { through <= $0.through } ?? periods.count
        if place == periods.count || periods[place].through != through {
            periods.insert(Period(through: through, terms: place < periods.count ? periods[place].terms : before), at: place)
        }
        for later in periods.indices.dropFirst(place + 1) { periods[later].terms.take(before, after) }
        // Neighbours that say the same are one.
        var next = after
        for index in periods.indices.reversed() {
            if periods[index].terms == next { periods.remove(at: index) } else { next = periods[index].terms }
        }
        if periods.count > Self.maxPeriods { periods.removeFirst(periods.count - Self.maxPeriods) }
    }

    fileprivate mutating func stepped(_ before: Money, _ after: Money, in month: YearMonth) {
        let end = steps.firstIndex { month < $0.month } ?? steps.count
        if end >= Self.maxStepsAMonth, steps[end - Self.maxStepsAMonth].month == month {
            steps[end - 1].after = after
        } else {
            steps.insert(Step(month: month, before: before, after: after), at: end)
        }
        if steps.count > Self.maxSteps { steps.removeFirst(steps.count - Self.maxSteps) }
    }

    fileprivate mutating func cameBack(_ back: CivilDate, after from: CivilDate) {
        absences.append(Absence(from: from, back: back))
        if absences.count > Self.maxAbsences { absences.removeFirst() }
    }

    /// A cancellation says where somebody has been since its day, whatever was said of the days after it.
    fileprivate mutating func cancelled(on day: CivilDate) {
        absences = absences.compactMap { $0.from >= day ? nil : Absence(from: $0.from, back: min($0.back, day)) }
    }

    fileprivate mutating func churned(on day: CivilDate?) { churnedOn = day }
}

extension Customer {
    /// What holds now.
    package var terms: SaleHistory.Terms {
        SaleHistory.Terms(valor: valor, setup: setup, vendedor: vendedor, vendedorID: vendedorID, parcelasAtrasadas: parcelasAtrasadas)
    }

    /// What held at the end of a month; of one that is not over, what holds now.
    package func terms(of month: YearMonth) -> SaleHistory.Terms { history.periods.first { month <= $0.through }?.terms ?? terms }

    /// That somebody has left.
    package struct Cancellation: Sendable, Equatable {
        /// `nil`: nobody knows when.
        package let day: CivilDate?
    }

    /// By its date, else by the pipeline they are in. It may be dated ahead.
    package var cancellation: Cancellation? {
        if let day = dayOfCancellation { return Cancellation(day: day) }
        return pipeline == Pipeline.churned ? Cancellation(day: history.churnedOn) : nil
    }

    /// The one that holds on a day.
    package func cancellation(on day: CivilDate) -> Cancellation? {
        if let cancellation, cancellation.day.map({ $0 <= day }) ?? true { return cancellation }
        return history.absences.last { $0.from <= day && day < $0.back }.map { Cancellation(day: $0.from) }
    }

    /// To be called once a customer has become another, so that months that are over read on what they read before.
    /// - Parameters:
    ///   - before: `nil` for one who is new, and whom every month reads as they are.
    ///   - from: the first month of which the change is true; the one that runs, without.
    package mutating func remember(_ before: Customer?, from: YearMonth? = nil, today: CivilDate) {
        guard let before else { return }
        let from = min(from ?? today.month, today.month)
        // Who counted in no month leaves nothing to be remembered.
        if before.terms != terms, (before.valor > .zero && before.dataAdesao != nil) || !history.periods.isEmpty {
            history.changed(before.terms, terms, from: from)
            if before.valor != valor, before.cancellation(on: today) == nil, cancellation(on: today) == nil {
                history.stepped(before.valor, valor, in: from)
            }
        }
        let was = before.cancellation
        if pipeline != Pipeline.churned {
            history.churned(on: nil)
        } else if dataCancelamento == nil {
            history.churned(on: was.map { $0.day.map { min($0, today) } } ?? today)
        }
        let cancellation = cancellation
        guard cancellation != was else { return }
        if let day = cancellation?.day {
            history.cancelled(on: day)
        } else if cancellation == nil, let day = was?.day {
            let back = from == today.month ? today : from.firstDay
            if day <= back { history.cameBack(back, after: day) }
        }
    }
}
