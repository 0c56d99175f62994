package import Kernel

// What changes clients (contracts/agendazap.md "ClientService"): they come by booking, by writing, or by hand; they are one where they were thought to be two; and
// they go, or are forgotten.

extension CalendarBook {
    // MARK: Coming

    /// Whoever books is somebody who is known, or somebody new.
    mutating func client(of request: BookingRequest, _ moment: Moment) throws(Refusal) -> Client {
        if let key = Client.key(whatsapp: request.clientWhatsapp, email: request.clientEmail), var known = try clients.find(key: key, at: moment.now)
        {
            // Anybody may write down a number: on the public page nobody says anything of who has it, but on the appointment.
            let fields = !request.isPublic && known.profile.email == nil && request.clientEmail != nil ? ["email"] : []
            let isBack = known.removedAt != nil
            guard isBack || !fields.isEmpty else { return known }
            if !request.isPublic { known.profile.email = known.profile.email ?? request.clientEmail }
            if isBack {
                allowance.take(.client)
                known.removedAt = nil
                known.isActive = true
                if !request.isPublic { known.profile.name = request.clientName }
            }
            return put(known, isBack ? .restored : .updated, fields, by: .customer, moment)
        }
        var profile = ClientProfile(name: request.clientName, email: request.clientEmail, source: request.source ?? "booking")
        if !request.clientWhatsapp.isEmpty { profile.whatsapp = request.clientWhatsapp }
        return make(profile, contact: nil, by: .customer, moment)
    }

    private mutating func make(_ profile: ClientProfile, contact: ContactID?, by author: Author, _ moment: Moment) -> Client {
        var client = Client(id: moment.id(), profile, zone: rules.zone, at: moment.now)
        client.contact = contact
        allowance.take(.client)
        clients.put(client, at: moment.now)
        record(.created, client.id, by: author, moment)
        return clients[client.id] ?? client
    }

    /// - Throws: 409 `client_exists` naming whoever has the number, or the e-mail of somebody without one.
    package mutating func makeClient(_ profile: ClientProfile, isActive: Bool = true, by author: Author, _ moment: Moment) throws(Refusal) -> Client {
        if let key = Client.key(whatsapp: profile.whatsapp, email: profile.email), var known = try clients.find(key: key, at: moment.now) {
            guard known.removedAt != nil else { throw Self.exists(known) }
            try allowance.check(.client)
            allowance.take(.client)
            // They were removed, and are back with what they had before.
            var profile = profile
            profile.complete(from: known.profile)
            known.profile = profile
            known.removedAt = nil
            known.isActive = isActive
            return put(known, .restored, by: author, moment)
        }
        try allowance.check(.client)
        var client = make(profile, contact: nil, by: author, moment)
        if !isActive {
            client.isActive = false
            clients.put(client, at: moment.now)
        }
        return clients[client.id] ?? client
    }

    private static func exists(_ client: Client) -> Refusal {
        Refusal(
            .conflict,
            "client_exists",
            "Já existe um cliente com este número ou e-mail; altere-o, ou una os dois (POST /api/clients/{id}/merge).",
            facts: ["client_id": client.id.description]
        )
    }

    private mutating func put(
        _ client: Client,
        _ kind: ClientRecord.Kind,
        _ fields: [String] = [],
        by author: Author,
        other: ClientID? = nil,
        _ moment: Moment
    ) -> Client {
        var client = client
        client.revision += 1
        client.updatedAt = moment.now
        clients.put(client, at: moment.now)
        record(kind, client.id, fields, by: author, other: other, moment)
        return clients[client.id] ?? client
    }

    private mutating func record(
        _ kind: ClientRecord.Kind,
        _ client: ClientID,
        _ fields: [String] = [],
        by author: Author,
        other: ClientID? = nil,
        _ moment: Moment
    ) {
        clients.record(ClientRecord(id: moment.id(), client: client, at: moment.now, kind: kind, fields: fields, author: author, other: other))
    }

    /// Lets clients go of whom there is nothing here and whom nobody has asked for lately.
    mutating func forgetClients(at now: Timestamp) {
        let appointments = appointments
        clients.forget(at: now) { Set(appointments.values.map(\.client)) }
    }

    // MARK: Changing

    /// - Parameter change: what is to be other; it throws when what was said cannot be.
    package mutating func changeClient(
        _ id: ClientID,
        revision: Int64? = nil,
        by author: Author,
        _ moment: Moment,
        _ change: (inout ClientProfile, inout Bool) throws(Refusal) -> Void
    ) throws(Refusal) -> Client {
        timePassed(moment)
        var client = try clients.present(id, at: moment.now)
        if let revision, revision != client.revision {
            throw .stale("O cliente", revision: client.revision, current: client.json(at: moment.now, rules.zone, of: owner))
        }
        let before = client
        try change(&client.profile, &client.isActive)
        var fields = client.profile.differences(from: before.profile)
        if client.isActive != before.isActive { fields.append("is_active") }
        guard !fields.isEmpty else { return client }
        if let key = client.key, key != before.key, let other = try clients.find(key: key, at: moment.now), other.id != id, other.isListed {
            throw Self.exists(other)
        }
        let changed = put(client, .updated, fields, by: author, moment)
        follow(before.profile, changed, moment)
        return clients[id] ?? changed
    }

    /// Whoever is told of what they have booked is reached as they now are, where the appointment had what they had before.
    private mutating func follow(_ former: ClientProfile, _ client: Client, _ moment: Moment) {
        let formerKey = Client.key(whatsapp: former.whatsapp, email: nil)
        for var appointment in upcoming(of: client.id, now: moment.now) {
            let before = (appointment.clientWhatsapp, appointment.clientEmail)
            if let whatsapp = client.whatsapp, formerKey != nil, Client.key(whatsapp: appointment.clientWhatsapp, email: nil) == formerKey {
                appointment.clientWhatsapp = whatsapp
            }
            if let email = client.email, former.email != nil, appointment.clientEmail == former.email { appointment.clientEmail = email }
            if before != (appointment.clientWhatsapp, appointment.clientEmail) { _ = self.changed(appointment, moment.now) }
        }
    }

    // MARK: Going

    /// The appointments of theirs that are still to come, or under way.
    package func upcoming(of id: ClientID, now: Timestamp) -> [Appointment] {
        appointments.values.filter { $0.client == id && $0.status.isBlocking && $0.end > now }.sorted { ($0.start, $0.id) < ($1.start, $1.id) }
    }

    /// Takes a client off the lists. What they had stays, and counts.
    /// - Parameters:
    ///   - force: cancels what is still to come, where it else refuses.
    ///   - erases: forgets who they were. Their appointments are to be blanked before (`blank`).
    @discardableResult
    package mutating func removeClient(_ id: ClientID, force: Bool, erases: Bool, by author: Author, _ moment: Moment) throws(Refusal) -> Client {
        timePassed(moment)
        // Who was removed may still ask to be forgotten.
        var client: Client
        if erases, let known = clients[id], known.mergedInto == nil { client = known } else { client = try clients.present(id, at: moment.now) }
        let upcoming = upcoming(of: id, now: moment.now)
        guard upcoming.isEmpty || force else {
            var refusal = Refusal(
                .conflict,
                "client_has_appointments",
                "O cliente tem agendamentos por vir; cancele-os primeiro, ou envie force=true para cancelá-los junto.",
                facts: ["next_appointment_at": upcoming[0].start.description]
            )
            refusal.lists["appointments"] = upcoming.prefix(100).map(\.id.description)
            throw refusal
        }
        for appointment in upcoming { cancel(appointment, by: "staff", reason: "Cliente removido", moment.now) }
        if !upcoming.isEmpty { offerWhatIsFree(moment) }
        // Their appointments have just been counted anew.
        client = clients[id] ?? client
        client.isActive = false
        client.removedAt = client.removedAt ?? moment.now
        if erases {
            forgetWaiting(under: Set([client.key].compactMap(\.self)), moment)
            client.profile = .erased
            client.contact = nil
            // Also under what they were known as before.
            for var former in clients.known.values where former.mergedInto == id {
                forgetWaiting(under: Set([former.key].compactMap(\.self)), moment)
                former.profile = .erased
                former.contact = nil
                former.updatedAt = moment.now
                clients.put(former, at: moment.now)
            }
        }
        return put(client, erases ? .erased : .removed, by: author, moment)
    }

    /// Takes out of appointments who had them.
    package mutating func blank(_ past: [Appointment], of id: ClientID, _ moment: Moment) {
        for appointment in past where appointments[appointment.id] == nil { adopt(appointment, isCounted: true) }
        let isTheirs = Set(past.map(\.id))
        for var appointment in appointments.values where appointment.client == id || isTheirs.contains(appointment.id) {
            guard appointment.client == id, !appointment.isBlank else { continue }
            appointment.blank()
            _ = changed(appointment, moment.now)
        }
    }

    // MARK: Two who are one

    /// - Parameters:
    ///   - past: appointments of whom goes that may not be in memory.
    ///   - earlier: those who were merged into them before.
    package mutating func mergeClients(
        _ going: ClientID,
        into staying: ClientID,
        past: [Appointment] = [],
        earlier: [Client] = [],
        by author: Author,
        _ moment: Moment
    ) throws(Refusal) -> Client {
        timePassed(moment)
        guard going != staying else {
            throw Refusal(.conflict, "same_client", "Um cliente não pode ser unido a si mesmo.")
        }
        _ = try clients.present(going, at: moment.now)
        _ = try clients.present(staying, at: moment.now)
        for appointment in past where appointments[appointment.id] == nil { adopt(appointment, isCounted: true) }
        // They take their part of the tallies with them, one by one.
        for var appointment in appointments.values where appointment.client == going {
            appointment.client = staying
            _ = changed(appointment, moment.now)
        }
        for client in earlier { clients.adopt(client, at: moment.now) }
        for var client in clients.known.values where client.mergedInto == going {
            client.mergedInto = staying
            client.updatedAt = moment.now
            clients.put(client, at: moment.now)
        }
        guard var gone = clients[going], var stayed = clients[staying] else { throw .notFound(.client) }
        stayed.profile.complete(from: gone.profile)
        stayed.isActive = stayed.isActive || gone.isActive
        if stayed.contact == nil { stayed.contact = gone.contact }
        gone.mergedInto = staying
        gone.removedAt = moment.now
        gone.isActive = false
        _ = put(gone, .merged, by: author, other: staying, moment)
        return put(stayed, .merged, by: author, other: going, moment)
    }

    // MARK: Conversations

    /// What the conversations tell of a person who writes.
    package struct ContactNews: Sendable {
        package let contact: ContactID
        package let name: String
        /// Digits with the country's code.
        package let number: String?
        package let isNew: Bool
        /// The contact that this one turned out to be.
        package let mergedInto: ContactID?
        /// How they wrote: `whatsapp`, `webchat`.
        package let source: String

        package init(contact: ContactID, name: String, number: String?, isNew: Bool, mergedInto: ContactID?, source: String) {
            self.contact = contact
            self.name = name
            self.number = number
            self.isNew = isNew
            self.mergedInto = mergedInto
            self.source = source
        }
    }

    /// Somebody new writes: they are the client with that number, or become one. Two contacts that are one are one client. Nothing of this keeps a message from
    /// being taken: of whom it cannot be known in time whether they were here before, a second client may be made, which the duplicates show.
    package mutating func contactCame(_ news: ContactNews, _ moment: Moment) {
        if let other = news.mergedInto {
            guard let gone = clients.of(news.contact), gone.isListed else { return }
            if let stayed = clients.of(other), stayed.isListed, stayed.id != gone.id {
                merge(gone, into: stayed, moment)
            } else {
                link(gone, other, moment)
            }
            return
        }
        let number = news.number.map { "+\($0)" }
        let known = number.flatMap(PhoneNumber.canonical).flatMap { try? clients.find(key: $0, at: moment.now) }
        if let own = clients.of(news.contact), own.isListed {
            // They are known now by a number that they did not show before.
            guard own.profile.whatsapp == nil, let number else { return }
            if let known, known.isListed, known.id != own.id {
                merge(own, into: known, moment)
            } else {
                var own = own
                own.profile.whatsapp = number
                _ = put(own, .updated, ["whatsapp"], by: .customer, moment)
            }
        } else if news.isNew {
            if var known, known.mergedInto == nil {
                guard known.removedAt != nil else {
                    if known.contact == nil { link(known, news.contact, moment) }
                    return
                }
                // They were removed, and are back.
                known.removedAt = nil
                known.isActive = true
                known.contact = news.contact
                _ = put(known, .restored, by: .customer, moment)
            } else {
                _ = make(
                    ClientProfile(name: news.name, whatsapp: number, source: news.source),
                    contact: news.contact,
                    by: .customer,
                    moment
                )
            }
        }
    }

    /// Only where all that the one had is here to go with them; else both stay, and a person may unite them.
    private mutating func merge(_ going: Client, into staying: Client, _ moment: Moment) {
        guard appointments.values.count(where: { $0.client == going.id }) == going.tally.total else { return }
        _ = try? mergeClients(going.id, into: staying.id, by: .system, moment)
    }

    private mutating func link(_ client: Client, _ contact: ContactID, _ moment: Moment) {
        var client = client
        client.contact = contact
        _ = put(client, .linked, by: .system, moment)
    }
}

extension Appointment {
    package static let blankName = "Cliente removido"

    /// What is left of a reason that may have named somebody: that there was one.
    private static let blankForce = "Encaixe"

    var isBlank: Bool {
        clientName == Self.blankName && clientWhatsapp.isEmpty && clientEmail == nil && notes == nil && internalNotes == nil && customFields == nil
            && cancelReason == nil && (forcedReason ?? Self.blankForce) == Self.blankForce
    }

    mutating func blank() {
        clientName = Self.blankName
        clientWhatsapp = ""
        clientEmail = nil
        notes = nil
        internalNotes = nil
        customFields = nil
        cancelReason = nil
        if isForced { forcedReason = Self.blankForce }
    }
}
