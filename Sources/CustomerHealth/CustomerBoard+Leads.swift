package import Kernel
package import Storage
package import Wire

// Whose leads are, and what a CRM says of them.

extension CustomerBoard {
    /// What a CRM says of its leads, in the order in which it says it. What is older than what it has said already says nothing.
    /// - Parameter room: as above.
    package mutating func upsert(_ reports: [LeadReport], room: Int? = nil, _ moment: Moment) throws(Refusal) -> (Upserted, Change) {
        try refuseIfFull(Set(reports.map { $0.customer ?? customer(of: $0.lead) }))
        var turn = UpsertTurn(change: timePassed(moment, limit: Self.dueInPassing), room: room)
        for report in reports { put(report, &turn, moment) }
        return finished(&turn, moment)
    }

    private mutating func put(_ report: LeadReport, _ turn: inout UpsertTurn, _ moment: Moment) {
        let link = leads[report.lead]
        let (before, id) = (link?.customer ?? report.lead, said(by: report, moment.now))
        var next = link ?? LeadLink(lead: report.lead, customer: before, version: 0)
        if id != before {
            let isCarried = carry(before, of: link, to: id, &turn, moment)
            next = LeadLink(lead: report.lead, customer: id, isMade: isCarried, saidAt: report.at, version: next.version)
        }
        let known = portfolio.customer(id)
        if known == nil {
            // Nobody becomes a customer by it.
            if report.isDeleted || report.isElsewhere {
                turn.upserted.unchanged += 1
                return
            }
            guard turn.hasRoom(for: nil) else { return }
            next.isMade = true
        }
        // What is said again is known from then on, and later news of before say nothing.
        let isSaidAgain = link != nil && report.customer == id && report.at.map { $0 > link?.saidAt ?? Timestamp(milliseconds: 0) } ?? false
        if isSaidAgain { next.saidAt = report.at }
        if id != before || isSaidAgain || next.isMade && link?.isMade != true {
            next.version += 1
            leads[report.lead] = next
            turn.links?[before, default: 0] -= link == nil ? 0 : 1
            turn.links?[id, default: 0] += 1
            turn.change.rows.append(next.image(of: tenant))
        }
        if let patch = patch(of: report, id, known, moment) { put(patch, &turn, moment) } else { turn.upserted.unchanged += 1 }
    }

    /// Whose a lead is: as it says, unless something newer is known, else who it was said to be before.
    private func said(by report: LeadReport, _ now: Timestamp) -> Int64 {
        let known = customer(of: report.lead)
        guard let said = report.customer else { return known }
        if let at = report.at, let since = leads[report.lead]?.saidAt, at < since, since <= now + CRMTimes.tolerance { return known }
        return said
    }

    /// `nil`: it says nothing.
    private func patch(of report: LeadReport, _ id: Int64, _ known: Customer?, _ moment: Moment) -> CustomerPatch? {
        guard report.isDeleted, let known else { return CustomerPatch(id: id, [.inCRM(true)] + report.changes, asOf: report.at) }
        let at = report.at ?? max(moment.now, known.crm.since(.lead) ?? moment.now)
        if known.crm.isOld(.lead, at: at, now: moment.now) || known.crm.isOld(.dataCancelamento, at: at, now: moment.now) { return nil }
        return CustomerPatch(id: id, [.inCRM(false)] + known.leaving(at, because: Customer.goneFromCRM), asOf: at)
    }

    /// A lead is another customer's from now on. Whom it alone had made is that other one, and never was anybody else: one lead is one customer.
    /// - Returns: whether the other one is here because of it.
    private mutating func carry(_ before: Int64, of link: LeadLink?, to id: Int64, _ turn: inout UpsertTurn, _ moment: Moment) -> Bool {
        guard let place = portfolio.place(of: before), portfolio.isUnknownElsewhere(place) else { return false }
        let crm = portfolio.customers[place].crm
        // Who was here before it was kept, under a lead's own number, was made by it.
        guard link?.isMade ?? (crm.since(.unkept) != nil) else { return false }
        // A number that others know somebody by is nobody's mistake.
        guard before == link?.lead || crm.overridden.subtracting([.lead, .atualizadoEm]).isEmpty else { return false }
        if turn.links == nil { turn.links = leads.values.reduce(into: [:]) { $0[$1.customer, default: 0] += 1 } }
        guard turn.links?[before] ?? 0 == (link == nil ? 0 : 1) else { return false }
        // Where the other one is here already, what others have said of the sale would be lost with them.
        guard portfolio.place(of: id) == nil || crm.overridden.isDisjoint(with: .ofTheSale) else { return false }
        if let open = actions.ofCustomer(before) { turn.change.append(finish(open.id, by: nil, moment).1) }
        turn.change.rows += portfolio.deletions(place, tenant)
        if turn.wasActive[place] == nil { turn.wasActive[place] = portfolio.isActive(place) }
        turn.gone.append(before)
        let isNew = portfolio.place(of: id) == nil
        let (was, isNow) = isNew ? portfolio.renumber(place, to: id) : portfolio.withdraw(place)
        turn.upserted.changes.append((was, isNow))
        if isNew {
            turn.change.rows += [isNow.image(of: tenant), portfolio.firstSnapshot(place, tenant)]
            turn.renumbered.insert(place)
        } else {
            turn.withdrawn.insert(place)
        }
        return isNew
    }

    /// Whom reports are of, and what they say, but for those that make nobody a customer.
    package func patches(of reports: [LeadReport]) -> [CustomerPatch] {
        var said: [Int64: Int64] = [:]
        return reports.compactMap { report in
            let id = report.customer ?? said[report.lead] ?? customer(of: report.lead)
            said[report.lead] = id
            guard portfolio.place(of: id) != nil || !report.isDeleted && !report.isElsewhere else { return nil }
            return CustomerPatch(id: id, report.isDeleted ? [] : report.changes)
        }
    }
}
