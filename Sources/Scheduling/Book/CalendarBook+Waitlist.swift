package import Kernel

extension CalendarBook {
    package mutating func join(_ entry: WaitlistEntry, isPublic: Bool, _ moment: Moment) throws(Refusal) -> WaitlistEntry {
        timePassed(moment)
        guard waitlist.count < Self.maxWaiting else {
            throw Refusal(.tooMany, "waitlist_full", "A lista de espera está cheia.", retryAfterSeconds: 60)
        }
        _ = try wish(entry.service, staff: entry.staff, isPublic: isPublic, now: moment.now)
        waitlist[entry.id] = entry
        effects.waitlist.append(entry.id)
        offer(to: [entry.id], moment)
        return waitlist[entry.id] ?? entry
    }

    package mutating func leave(_ id: WaitlistID, _ moment: Moment) throws(Refusal) -> WaitlistEntry {
        timePassed(moment)
        guard let entry = waitlist[id] else { throw .notFound(.waitlistEntry) }
        guard entry.status == .waiting || entry.status == .offered else { return entry }
        waitlist[id]?.status = .left
        effects.waitlist.append(id)
        if let hold = entry.hold.flatMap({ holds[$0] }) { end(hold, lapsed: false) }
        offerWhatIsFree(moment)
        return waitlist[id] ?? entry
    }

    /// Books what was offered.
    package mutating func accept(_ id: WaitlistID, _ moment: Moment) throws(Refusal) -> Appointment {
        timePassed(moment)
        guard let entry = waitlist[id] else { throw .notFound(.waitlistEntry) }
        guard entry.status == .offered, let hold = entry.hold, let start = entry.offeredStart else {
            throw Refusal(.conflict, "no_offer", "Não há oferta em aberto para esta espera.", facts: ["status": entry.status.rawValue])
        }
        var request = BookingRequest(service: entry.service, start: start, clientName: entry.clientName, clientWhatsapp: entry.clientWhatsapp)
        request.clientEmail = entry.clientEmail
        request.hold = hold
        request.source = "waitlist"
        return try made(request, moment)
    }

    /// Times that have become free go to those who wait, the longest first; each as a hold of theirs, so that nobody comes in between.
    mutating func offerWhatIsFree(_ moment: Moment) {
        guard !waitlist.isEmpty, !effects.touched.isEmpty else { return }
        let touched = effects.touched
        let waiting = waitlist.values.filter { entry in
            entry.status == .waiting && touched.contains { $0.lowerBound < entry.until + .seconds(86_400) && entry.from < $0.upperBound }
        }
        offer(to: waiting.sorted { ($0.createdAt, $0.id) < ($1.createdAt, $1.id) }.map(\.id), moment)
    }

    /// Whoever waits under a client's number or e-mail waits no more, and is forgotten.
    mutating func forgetWaiting(under keys: Set<String>, _ moment: Moment) {
        for var entry in waitlist.values where Client.key(whatsapp: entry.clientWhatsapp, email: entry.clientEmail).map(keys.contains) ?? false {
            if entry.status == .waiting || entry.status == .offered { entry.status = .left }
            entry.clientName = Appointment.blankName
            entry.clientWhatsapp = ""
            entry.clientEmail = nil
            waitlist[entry.id] = entry
            effects.waitlist.append(entry.id)
            if let hold = entry.hold.flatMap({ holds[$0] }) { end(hold, lapsed: false) }
        }
        offerWhatIsFree(moment)
    }

    mutating func offer(to entries: [WaitlistID], _ moment: Moment) {
        for id in entries {
            guard var entry = waitlist[id], entry.status == .waiting, holds.count < Self.maxHolds,
                let wish = try? wish(entry.service, staff: entry.staff, now: moment.now),
                let start = slots(wish, in: entry.from..<entry.until).first, let place = place(wish, start)
            else { continue }
            let hold = keep(place, seconds: rules.waitlistOfferMinutes * 60, waitlist: id, owner: nil, moment)
            entry.status = .offered
            entry.hold = hold.id
            entry.offeredStart = hold.start
            entry.offerUntil = hold.expiresAt
            waitlist[id] = entry
            effects.waitlist.append(id)
        }
    }
}
