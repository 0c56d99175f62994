package import Kernel

extension CalendarBook {
    package mutating func join(_ entry: WaitlistEntry, isPublic: Bool, _ moment: Moment) throws(Refusal) -> WaitlistEntry {
        timePassed(moment)
        let wish = try wish(entry.service, staff: entry.staff, isPublic: isPublic, now: moment.now)
        if let refusal = refusal(of: entry, wish) { throw refusal }
        if let first = waitlist.values.first(where: { $0.isOpen && $0.wantsTheSame(as: entry) }) {
            // Only who sends the very same again is shown the first one: with its token one may leave, and take what is offered.
            guard !isPublic || first.clientName == entry.clientName && first.clientEmail == entry.clientEmail else {
                throw Refusal(.conflict, "already_waiting", "Este número já está na lista de espera por este serviço neste período.")
            }
            return first
        }
        guard waitlist.values.count(where: \.isOpen) < Self.maxWaiting else {
            throw Refusal(.tooMany, "waitlist_full", "A lista de espera está cheia.", retryAfterSeconds: 60)
        }
        waitlist[entry.id] = entry
        due(entry.until)
        effects.waitlist.append(entry.id)
        offer(to: [entry.id], moment)
        return waitlist[entry.id] ?? entry
    }

    /// Whether it is all in what may be booked from now on: else it would wait for nothing.
    private func refusal(of entry: WaitlistEntry, _ wish: Wish) -> Refusal? {
        if entry.until.milliseconds <= wish.earliest {
            return Refusal(.conflict, "too_soon", "O período da espera termina cedo demais; agende com mais antecedência.")
        }
        guard entry.until.milliseconds > wish.latest else { return nil }
        return Refusal(
            .conflict,
            "too_far",
            "O período da espera vai além do que pode ser agendado agora.",
            facts: ["until": Timestamp(milliseconds: wish.latest).description]
        )
    }

    /// Who has waited until their time was over waits no more.
    mutating func giveUpWaiting(_ now: Timestamp) {
        for entry in waitlist.values where entry.status == .waiting && entry.until <= now {
            waitlist[entry.id]?.status = .lapsed
            effects.waitlist.append(entry.id)
        }
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
        // Whoever asked to wait may have done so on the public page.
        request.isPublic = true
        return try made(request, moment)
    }

    /// Times that have become free go to those who wait, the longest first; each as a hold of theirs, so that nobody comes in between.
    mutating func offerWhatIsFree(_ moment: Moment) {
        guard !waitlist.isEmpty, !effects.touched.isEmpty || !untried.isEmpty else { return }
        let touched = effects.touched
        let waiting = waitlist.values.filter { entry in
            entry.status == .waiting
                && (untried.contains(entry.id) || touched.contains { $0.lowerBound < entry.until + .seconds(86_400) && entry.from < $0.upperBound })
        }
        let inOrder = waiting.sorted { ($0.createdAt, $0.id) < ($1.createdAt, $1.id) }.map(\.id)
        untried = Set(inOrder.dropFirst(Self.maxTried))
        // The others at once, in a turn of their own.
        if !untried.isEmpty { due(moment.now) }
        offer(to: inOrder.prefix(Self.maxTried), moment)
    }

    /// Whatever there is from now on may be free: the rules, the services, or who attends are others than before.
    package mutating func offerAnew(_ moment: Moment) {
        timePassed(moment)
        let touched = effects.touched
        effects.touched = [moment.now..<Timestamp.distantFuture]
        offerWhatIsFree(moment)
        // Of all that, nobody need be shown more than what was given away.
        effects.touched = touched + effects.touched.dropFirst()
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

    mutating func offer(to entries: some Sequence<WaitlistID>, _ moment: Moment) {
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
