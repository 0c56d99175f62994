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

        static let fields: CustomerFields = [.valor, .setup, .vendedor, .vendedorID, .parcelasAtrasadas]

        /// What is another there.
        fileprivate func differing(from other: Terms) -> CustomerFields {
            var fields: CustomerFields = []
            if valor != other.valor { fields.insert(.valor) }
            if setup != other.setup { fields.insert(.setup) }
            if vendedor != other.vendedor { fields.insert(.vendedor) }
            if vendedorID != other.vendedorID { fields.insert(.vendedorID) }
            if parcelasAtrasadas != other.parcelasAtrasadas { fields.insert(.parcelasAtrasadas) }
            return fields
        }

        /// These of its fields are as they are there.
        fileprivate mutating func take(_ fields: CustomerFields, of other: Terms) {
            if fields.contains(.valor) { valor = other.valor }
            if fields.contains(.setup) { setup = other.setup }
            if fields.contains(.vendedor) { vendedor = other.vendedor }
            if fields.contains(.vendedorID) { vendedorID = other.vendedorID }
            if fields.contains(.parcelasAtrasadas) { parcelasAtrasadas = other.parcelasAtrasadas }
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

        /// The month that it lies in, if it is one: no month's end falls into it.
        fileprivate var month: YearMonth? { from.month == back.month ? from.month : nil }
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
    /// Since when they have been in the pipeline of those who left, or out of those of the CS, where no cancellation has a date. `nil`: nobody knows, they came so.
    package private(set) var churnedOn: CivilDate?

    /// Ten years of months of which each was another.
    static let maxPeriods = 120
    static let maxAbsences = 240
    /// Of those that lie in one month; further ones take the place of its last.
    static let maxAbsencesAMonth = 4
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

    /// - Parameters:
    ///   - fields: what is said of every month from the first on, whatever was said of it before.
    ///   - from: the first month of which it is true.
    fileprivate mutating func changed(_ before: Terms, _ after: Terms, _ fields: CustomerFields, from: YearMonth) {
        let through = YearMonth(index: from.index - 1)
        let place = periods.firstIndex { through <= $0.through } ?? periods.count
        if place == periods.count || periods[place].through != through {
            periods.insert(Period(through: through, terms: place < periods.count ? periods[place].terms : before), at: place)
        }
        for later in periods.indices.dropFirst(place + 1) { periods[later].terms.take(fields, of: after) }
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
        let absence = Absence(from: from, back: back)
        absences = absences(before: from)
        if let month = absence.month {
            let others = absences.indices.filter { absences[$0].month == month }
            if others.count >= Self.maxAbsencesAMonth { absences.remove(at: others[others.count - 1]) }
        }
        absences.append(absence)
        // Those first of which no month's end knows.
        if absences.count > Self.maxAbsences { absences.remove(at: absences.firstIndex { $0.month != nil } ?? 0) }
    }

    /// A cancellation says where somebody has been since its day, whatever was said of the days after it: of those, nothing is shown while it holds.
    package func absences(before day: CivilDate?) -> [Absence] {
        guard let day else { return absences }
        return absences.compactMap { $0.from >= day ? nil : Absence(from: $0.from, back: min($0.back, day)) }
    }

    /// From a day on, nobody was away.
    fileprivate mutating func wasThere(since day: CivilDate) { absences = absences(before: day) }

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

    /// By its date, else by the pipeline they are in: that of those who left, or none of the CS where they once were in one. It may be dated ahead.
    package var cancellation: Cancellation? {
        if let day = dayOfCancellation { return Cancellation(day: day) }
        if pipeline == Pipeline.churned { return Cancellation(day: history.churnedOn) }
        return dayOut.map { Cancellation(day: $0) }
    }

    /// Since when they have been in none of the pipelines that mean something, and have not cancelled.
    private var dayOut: CivilDate? { isInCSPipeline || pipeline == Pipeline.churned || isCancelled ? nil : history.churnedOn }

    /// The one that holds on a day.
    package func cancellation(on day: CivilDate) -> Cancellation? {
        if let cancellation, cancellation.day.map({ $0 <= day }) ?? true { return cancellation }
        return history.absences.last { $0.from <= day && day < $0.back }.map { Cancellation(day: $0.from) }
    }

    /// To be called once a customer has become another, so that months that are over read on what they read before.
    /// - Parameters:
    ///   - before: `nil` for one who is new, and whom every month reads as they are.
    ///   - said: what was named. With `first` it is true of every month since, also where today it is nothing new.
    ///   - first: the first month of which it is true; the one that runs, without.
    package mutating func remember(_ before: Customer?, saying said: CustomerFields = [], from first: YearMonth? = nil, today: CivilDate) {
        guard let before else { return }
        let from = min(first ?? today.month, today.month)
        let fields = terms.differing(from: before.terms).union(first == nil ? [] : said.intersection(SaleHistory.Terms.fields))
        // Who counted in no month leaves nothing to be remembered.
        if !fields.isEmpty, (before.valor > .zero && before.dataAdesao != nil) || !history.periods.isEmpty {
            history.changed(before.terms, terms, fields, from: from)
            if before.valor != valor, before.cancellation(on: today) == nil, cancellation(on: today) == nil {
                history.stepped(before.valor, valor, in: from)
            }
        }
        let was = before.cancellation
        if isInCSPipeline {
            history.churned(on: nil)
        } else if dataCancelamento == nil, pipeline == Pipeline.churned || before.isInCSPipeline || before.pipeline == Pipeline.churned {
            history.churned(on: was.map { $0.day.map { min($0, today) } } ?? today)
        }
        // Who went out of the CS pipelines without a word was gone before they cancelled: their day is no correction of that.
        if first == nil, let out = before.dayOut, let day = dayOfCancellation, out < day { history.cameBack(day, after: out) }
        guard cancellation == nil else { return }
        let back = from == today.month ? today : from.firstDay
        if let day = was?.day, day <= back { history.cameBack(back, after: day) }
        if first != nil, was != nil || said.contains(.dataCancelamento) { history.wasThere(since: back) }
    }
}
