package import Kernel

extension CalendarBook {
    package mutating func join(_ entry: WaitlistEntry, isPublic: Bool, _ moment: Moment) throws(Refusal) -> WaitlistEntry {
        timePassed(moment)
        let wish = try wish(entry.service, staff: entry.staff, isPublic: isPublic, now: moment.now)
        if let refusal = refusal(of: entry, wish) { throw refusal }
        if let first = waitlist.values.first(where: { $0.isOpen && $0.wantsTheSame(as: entry) }) {
            // Nobody is known by what they say on the public page, and with the first one's token one may leave, and take what is offered.
            guard !isPublic else {
                throw Refusal(.conflict, "already_waiting", "Este número já está na lista de espera por este serviço neste período.")
            }
            return first
        }
        guard waitlist.values.count(where: \.isOpen) < Self.maxWaiting else {
            throw Refusal(.tooMany, "waitlist_full", "A lista de espera está cheia.", retryAfterSeconds: 60)
        }
        if isPublic { try waitsForSomething(entry, wish) }
        waitlist[entry.id] = entry
        due(entry.until)
        effects.waitlist.append(entry.id)
        // Of the public's there is nothing to offer.
        if !isPublic { offer(to: [entry.id], in: [entry.from..<entry.until], moment) }
        if untried.isEmpty { search = Search() }
        return waitlist[entry.id] ?? entry
    }

    /// Anybody books what there is, and waits for what there is not: an offer is a hold, and nobody is to have many.
    private func waitsForSomething(_ entry: WaitlistEntry, _ wish: Wish) throws(Refusal) {
        if let origin = entry.origin, waitlist.values.count(where: { $0.isOpen && $0.origin == origin }) >= Self.maxWaitingOfAddress {
            throw Refusal(
                .tooMany,
                "too_many_waiting",
                "Já há \(Self.maxWaitingOfAddress) esperas em aberto deste endereço; saia de uma delas primeiro.",
                retryAfterSeconds: 60
            )
        }
        let free = firstSlots(wish, in: entry.from..<entry.until, Self.maxAlternatives)
        guard !free.isEmpty else { return }
        var refusal = Refusal(.conflict, "slots_available", "Há horários livres neste período; agende um deles.")
        refusal.lists["alternatives"] = free.map(\.description)
        throw refusal
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
        let fresh = freed
        freed = []
        if !fresh.isEmpty { search = Search() }
        guard !waitlist.isEmpty, !fresh.isEmpty || !untried.isEmpty else { return }
        let day = Duration.seconds(86_400)
        let waiting = waitlist.values.filter { entry in
            entry.status == .waiting
                && (untried.contains(entry.id) || fresh.contains { $0.lowerBound < entry.until + day && entry.from < $0.upperBound + day })
        }
        let inOrder = waiting.sorted { ($0.createdAt, $0.id) < ($1.createdAt, $1.id) }.map(\.id)
        let ranges = Self.joined(freedForUntried + fresh)
        untried = Set(inOrder.dropFirst(offer(to: inOrder, in: ranges, moment)))
        freedForUntried = untried.isEmpty ? [] : ranges
        if untried.isEmpty { search = Search() }
        // The others at once, in a turn of their own.
        if !untried.isEmpty, holds.count < Self.maxHolds { due(moment.now) }
    }

    /// After a start: whoever had not had their turn when the server ended is not known, so everybody has one.
    package mutating func triesAllWhoWait(at now: Timestamp) {
        untried = Set(waitlist.values.filter { $0.status == .waiting }.map(\.id))
        guard !untried.isEmpty else { return }
        freedForUntried = [now..<Timestamp.distantFuture]
        due(now)
    }

    /// The same times in order, without any of them twice.
    static func joined(_ ranges: [Range<Timestamp>]) -> [Range<Timestamp>] {
        var joined: [Range<Timestamp>] = []
        for range in ranges.sorted(by: { $0.lowerBound < $1.lowerBound }) {
            if let last = joined.last, range.lowerBound <= last.upperBound {
                joined[joined.count - 1] = last.lowerBound..<max(last.upperBound, range.upperBound)
            } else {
                joined.append(range)
            }
        }
        return joined
    }

    /// Whatever there is from now on may be free: the rules, the services, or who attends are others than before.
    package mutating func offerAnew(_ moment: Moment) {
        timePassed(moment)
        endHoldsInVain(moment)
        freed = [moment.now..<Timestamp.distantFuture]
        offerWhatIsFree(moment)
    }

    /// What can be booked no more is not held: the service or who attends is gone, or not on offer. Whoever was offered it waits on, in their place.
    private mutating func endHoldsInVain(_ moment: Moment) {
        for hold in holds.values.sorted(by: { $0.id < $1.id }) {
            let isPublic = hold.owner == .guest
            guard (try? wish(hold.service, staff: hold.place.resource.staff, isPublic: isPublic, now: moment.now)) == nil else { continue }
            end(hold, lapsed: false)
            guard let id = hold.waitlist, var entry = waitlist[id], entry.status == .offered else { continue }
            (entry.status, entry.hold, entry.offeredStart, entry.offerUntil) = (.waiting, nil, nil, nil)
            waitlist[id] = entry
            due(entry.until)
            effects.waitlist.append(id)
        }
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

    /// - Returns: how many of them have had their turn.
    @discardableResult mutating func offer(to entries: [WaitlistID], in freed: [Range<Timestamp>], _ moment: Moment) -> Int {
        let already = search.days
        for (index, id) in entries.enumerated() {
            guard index < Self.maxTried, search.days - already < Self.maxDaysSearched else { return index }
            // Whoever comes now waits until one of those ends, which frees its time.
            guard holds.count < Self.maxHolds else { return index }
            guard var entry = waitlist[id], entry.status == .waiting,
                let wish = try? wish(entry.service, staff: entry.staff, now: moment.now), let place = firstPlace(wish, entry, in: freed)
            else { continue }
            let hold = keep(place, seconds: rules.waitlistOfferMinutes * 60, waitlist: id, owner: nil, moment)
            entry.status = .offered
            entry.hold = hold.id
            entry.offeredStart = hold.start
            entry.offerUntil = hold.expiresAt
            waitlist[id] = entry
            effects.waitlist.append(id)
        }
        return entries.count
    }

    /// What has been looked for since something was last freed, after which room only becomes less: each day of a service is searched once, for however many who
    /// wait for it, and in however many turns.
    struct Search {
        struct Key: Hashable {
            let service: ServiceID
            let staff: StaffID?
            let day: CivilDay
        }

        /// The starts of a day with room, when it was searched.
        var found: [Key: [Timestamp]] = [:]
        /// Days that were searched, of one resource each.
        var days = 0
    }

    /// The first place for an entry that was not there before these times were freed.
    private mutating func firstPlace(_ wish: Wish, _ entry: WaitlistEntry, in freed: [Range<Timestamp>]) -> Place? {
        let zone = rules.zone
        for range in freed {
            // What ends when it begins, buffers counted, was there before.
            let reach = Duration.milliseconds(wish.length + wish.after - 1)
            let lower = max(range.lowerBound - reach, entry.from, Timestamp(milliseconds: wish.earliest))
            let upper = min(range.upperBound + .milliseconds(wish.before), entry.until, Timestamp(milliseconds: wish.latest))
            guard lower < upper else { continue }
            var day = zone.day(of: lower)
            while zone.start(of: day) < upper {
                let key = Search.Key(service: entry.service, staff: entry.staff, day: day)
                if search.found[key] == nil {
                    search.found[key] = slots(wish, in: zone.start(of: day)..<zone.end(of: day))
                    search.days += wish.resources.count
                }
                for start in search.found[key] ?? [] where lower <= start && start < upper {
                    if let place = place(wish, start) { return place }
                    search.found[key]?.removeAll { $0 == start }
                }
                day = day + 1
            }
        }
        return nil
    }
}
