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

    /// What is told of a customer having become another: the movements that the month which runs has by it, as far as it has come. Of those that it has no longer, the
    /// figures alone tell.
    package static func between(_ before: Customer?, _ after: Customer, _ view: SaleTerms.View) -> [MRRMovement] {
        let (was, isNow) = (before.map { of($0, view) } ?? [], of(after, view))
        let more = added(was, isNow)
        guard more.isEmpty, !was.isEmpty, after.dataAdesao != nil, let then = before?.paid(on: view.day), then > .zero else { return more }
        // The month has it within another of its movements.
        let now = after.paid(on: view.day)
        let hasLeft = after.cancellation(on: view.day) != nil
        guard now != then, hasLeft ? isNow.last?.kind == .churn : now == after.valor else { return [] }
        return [MRRMovement(kind: hasLeft ? .churn : now > then ? .expansion : .contraction, before: then, after: now, month: view.month)]
    }

    /// What is told as a day begins of somebody whose date it is.
    package static func dawning(on day: CivilDate, _ customer: Customer) -> [MRRMovement] {
        let yesterday = day + -1
        return added(yesterday.month == day.month ? of(customer, .init(today: yesterday)) : [], of(customer, .init(today: day)))
    }

    private static func added(_ was: [MRRMovement], _ isNow: [MRRMovement]) -> [MRRMovement] {
        if isNow.starts(with: was) { return Array(isNow.dropFirst(was.count)) }
        // What there was is another now: what is new is what there are more of.
        var added: [MRRMovement] = []
        for movement in isNow.reversed() where movement.kind != .expansion && movement.kind != .contraction {
            func count(_ movements: [MRRMovement]) -> Int { movements.count { $0.kind == movement.kind } }
            if count(added) < count(isNow) - count(was) { added.append(movement) }
        }
        return added.reversed()
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

extension Customer {
    /// What they pay a month, as far as their dates have come.
    fileprivate func paid(on day: CivilDate) -> Money {
        cancellation(on: day) == nil && dayOfAdhesion.map { $0 <= day } ?? true ? valor : .zero
    }
}
