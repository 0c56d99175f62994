package import Kernel

package enum MRRMovementKind: String, Sendable, CaseIterable {
    case new, expansion, contraction, churn, reactivation
}

/// One change of what a customer pays a month: new, more, less, gone or back again.
package struct MRRMovement: Sendable, Equatable {
    package let kind: MRRMovementKind
    package let before: Money
    package let after: Money
    package let month: YearMonth

    /// What follows from a customer having become another, as it is told: at most two, for somebody who is brought in having left already.
    package static func between(_ before: Customer?, _ after: Customer, today: CivilDate) -> [MRRMovement] {
        func movement(_ kind: MRRMovementKind, _ from: Money, _ to: Money, _ day: CivilDate?) -> MRRMovement {
            MRRMovement(kind: kind, before: from, after: to, month: (day ?? today).month)
        }
        let gone = after.cancellation(on: today)
        let now = gone != nil ? Money.zero : after.valor
        guard let before else {
            guard after.valor > .zero else { return [] }
            let joined = movement(.new, .zero, after.valor, after.dayOfAdhesion)
            guard let gone else { return [joined] }
            // Of who left nobody knows when there is nothing to tell.
            return gone.day.map { [joined, movement(.churn, after.valor, .zero, $0)] } ?? []
        }
        let was = before.cancellation(on: today)
        let then = was != nil ? Money.zero : before.valor
        guard now != then else { return [] }
        if now == .zero { return [movement(gone != nil ? .churn : .contraction, then, now, gone?.day)] }
        if then == .zero {
            return [
                was != nil
                    ? movement(.reactivation, then, now, nil) : movement(.new, then, now, before.valor > .zero ? nil : after.dayOfAdhesion)
            ]
        }
        return [movement(now > then ? .expansion : .contraction, then, now, nil)]
    }

    /// What moved within a month, from what was paid at the end of the one before to what is paid at the end of this: derived from the customer as it now is known,
    /// so that a date that is corrected moves what it dates. Churn is who is listed as such, and who has come back since.
    package static func of(_ customer: Customer, _ view: SaleTerms.View) -> [MRRMovement] {
        let (month, before) = (view.month, YearMonth(index: view.month.index - 1))
        let joined = customer.dayOfAdhesion
        guard joined.map({ $0 <= view.day }) ?? !view.isHistoric else { return [] }
        let gone = customer.cancellation(on: view.day)
        // Of whom nobody knows when they left, or who left before.
        if let gone, gone.day?.month != month { return [] }
        let isJoining = joined?.month == month
        // Of most customers there is nothing to tell.
        if gone == nil, !isJoining, customer.history.isEmpty { return [] }
        let valor = customer.terms(of: month).valor
        var isAway = customer.cancellation(on: before.lastDay) != nil
        var paid = isAway || isJoining ? Money.zero : customer.terms(of: before).valor
        var movements: [MRRMovement] = []
        func move(_ kind: MRRMovementKind, to amount: Money) {
            guard amount != paid else { return }
            movements.append(MRRMovement(kind: kind, before: paid, after: amount, month: month))
            paid = amount
        }
        var departures: [(from: CivilDate, back: CivilDate?)] = customer.history.absences(before: customer.cancellation?.day)
            .map { ($0.from, $0.back <= view.day ? $0.back : nil) }
        if let day = customer.cancellation?.day, day <= view.day { departures.append((day, nil)) }
        departures.removeAll { $0.from.month != month && $0.back?.month != month }
        // They count as far as they lead from what was paid to what is, with nobody away in between.
        var steps = customer.history.steps.filter { $0.month == month }
        let leads = zip(steps, steps.dropFirst()).allSatisfy { $0.after == $1.before } && steps.last?.after == valor
        let comesBack = departures.contains { $0.back?.month == month }
        if !leads || comesBack || !isJoining && steps.first?.before != paid { steps = [] }
        if isJoining, !isAway { move(.new, to: steps.first?.before ?? valor) }
        func arriveAtValue() {
            for step in steps { move(step.after > step.before ? .expansion : .contraction, to: step.after) }
            move(paid == .zero ? .new : valor > paid ? .expansion : .contraction, to: valor)
        }
        for departure in departures {
            if departure.from.month == month {
                if !comesBack || paid == .zero && !isAway { arriveAtValue() }
                move(.churn, to: .zero)
                isAway = true
            }
            if departure.back?.month == month {
                move(.reactivation, to: valor)
                isAway = false
            }
        }
        if gone == nil { arriveAtValue() }
        return movements
    }
}
