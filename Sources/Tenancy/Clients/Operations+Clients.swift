package import Kernel
import Notifications
import OrderedCollections
package import Scheduling
import Storage
package import Wire

// Clients, whichever door they are asked for through (contracts/agendazap.md "Clientes"). What changes them is a turn of the calendar's machine; lists come from the
// store, behind what was committed.

extension Operations {
    /// Of one merger, or of one who is forgotten.
    static let maxMergedAppointments = 5000
    package static let maxBulk = 1000

    /// Who asks, for the record.
    private static func author(_ principal: Principal) -> Author { .user(principal.user, name: principal.name) }

    /// One turn that changes a client, once under a key, and its answer as JSON.
    private func change(
        by principal: Principal,
        key: String?,
        digest: String,
        bringingIn ids: [ClientID] = [],
        _ body: @Sendable (inout CalendarBook, Moment) throws(Refusal) -> Client
    ) async throws(Refusal) -> [UInt8] {
        guard principal.role.canAttend else { throw .viewerOnly }
        try gate.admit()
        let mark = key.map { Mark.Key(tenant: principal.tenant, scope: "client", key: "\(principal.user):\($0)") }
        return try await tenants.use(principal.tenant) { cell throws(Refusal) in
            let earlier = try await earlier(mark)
            try await bringIn(clients: ids, cell)
            return try await withClients(cell) { () async throws(Refusal) in
                try await cell.bookOnce(
                    mark,
                    digest: digest,
                    earlier: earlier,
                    again: { book, id throws(Refusal) in
                        guard let id = ClientID(id) else { throw .notFound(.client) }
                        guard let client = book.clients[id] else { throw ClientLedger.unread("client_id", id.description) }
                        return client.json(at: environment.now(), book.rules.zone, of: book.owner)
                    },
                    { book, moment throws(Refusal) in
                        let client = try body(&book, moment)
                        return (client.json(at: moment.now, book.rules.zone, of: book.owner), client.id.description)
                    }
                ).committed()
            }
        }
    }

    package func createClient(_ json: JSON?, key: String?, digest: String, by principal: Principal) async throws(Refusal) -> [UInt8] {
        var fields = try RequestFields(json)
        var (profile, isActive) = (ClientProfile(name: ""), true)
        fields.client(&profile, isActive: &isActive, isNew: true)
        try fields.check()
        profile.source = profile.source ?? "manual"
        let (made, active, author) = (profile, isActive, Self.author(principal))
        return try await change(by: principal, key: key, digest: digest) { book, moment throws(Refusal) in
            try book.makeClient(made, isActive: active, by: author, moment)
        }
    }

    /// - Parameter revision: what the caller has seen; another one is refused. `nil`: that of the body, or any.
    package func updateClient(_ id: ClientID, _ json: JSON?, revision: Int64?, by principal: Principal) async throws(Refusal) -> [UInt8] {
        var fields = try RequestFields(json)
        let seen = fields.optionalInteger("revision", in: 1...Int64.max) ?? revision
        try fields.check()
        let (given, author) = (fields, Self.author(principal))
        return try await change(by: principal, key: nil, digest: "", bringingIn: [id]) { book, moment throws(Refusal) in
            try book.changeClient(id, revision: seen, by: author, moment) { profile, isActive throws(Refusal) in
                var fields = given
                fields.client(&profile, isActive: &isActive, isNew: false)
                try fields.check()
            }
        }
    }

    package func client(_ id: ClientID, _ tenant: TenantID) async throws(Refusal) -> [UInt8] {
        try await tenants.use(tenant) { cell throws(Refusal) in
            try await withClients(cell) { () async throws(Refusal) in
                try await cell.readCalendar { book, now throws(Refusal) in
                    var clients = book.clients
                    return try clients.present(id, at: now).json(at: now, book.rules.zone, of: book.owner)
                }.committed()
            }
        }
    }

    // MARK: Going

    /// - Parameter erases: also forgets who they were, in their appointments as well; in steps, of which the last is the client's own: what was cut off is begun
    ///   anew by the same call.
    package func removeClient(_ id: ClientID, force: Bool, erases: Bool, by principal: Principal) async throws(Refusal) {
        guard principal.role.canAttend else { throw .viewerOnly }
        if erases { try principal.requireAdministrator() }
        try gate.admit()
        let author = Self.author(principal)
        try await tenants.use(principal.tenant) { cell throws(Refusal) in
            try await bringIn(clients: [id], cell)
            guard await cell.missing([id]).isEmpty else { throw .notFound(.client) }
            var subjects: [String] = []
            var reached = Reached()
            if erases {
                let former = try await StoredClients.merged(into: id, cell.tenant, from: store)
                await cell.adopt(former)
                let all = try await StoredClients.of([id], cell.tenant, from: store) + former
                for client in all { reached.add(client.whatsapp, client.email) }
                let waiting = try await bringInWaiting(under: Set(all.compactMap(\.key)), cell)
                subjects = waiting.map { ClientNotice.subject(of: $0) }
                // Refused before anything is forgotten.
                try await cell.book { book, moment throws(Refusal) in
                    guard let client = book.clients[id], client.mergedInto == nil else { throw .notFound(.client) }
                    if !force, !book.upcoming(of: id, now: moment.now).isEmpty {
                        try book.removeClient(id, force: false, erases: false, by: author, moment)
                    }
                }.committed()
                var after = AppointmentID(UniqueID(high: 0, low: 0))
                while true {
                    let some = try await appointments(of: id, after: after, cell.tenant)
                    guard let last = some.last else { break }
                    try await cell.book { book, moment throws(Refusal) in book.blank(some, of: id, moment) }.committed()
                    subjects += some.map { ClientNotice.subject(of: $0.id) }
                    // A number that nobody has is the appointment's alone; an address may be another's too.
                    for appointment in some { reached.add(appointment.clientWhatsapp, nil) }
                    after = last.id
                }
            }
            try await forgetMessages(about: subjects, cell)
            try await forgetMessages(to: reached, cell)
            try await cell.book { book, moment throws(Refusal) in
                if erases { book.blank([], of: id, moment) }
                try book.removeClient(id, force: force, erases: erases, by: author, moment)
            }.committed()
            // Also what was told by this very turn.
            try await forgetMessages(about: subjects, cell)
            if erases { await store.purge() }
        }
    }

    /// Those who wait, or did, under one of these keys: there is no index of how they wrote themselves.
    private func bringInWaiting(under keys: Set<String>, _ cell: TenantCell) async throws(Refusal) -> [WaitlistID] {
        var found: [WaitlistID] = []
        var after = WaitlistID(UniqueID(high: 0, low: 0))
        while true {
            let some = try await store.rows(
                .select(
                    from: SchedulingTables.waitlist,
                    "WHERE tenant_id = ? AND id > ? ORDER BY id LIMIT 1000",
                    [.id(cell.tenant), .id(after)],
                    tenant: cell.tenant
                ).forDeciding
            ).map(WaitlistEntry.init)
            guard let last = some.last else { return found }
            let theirs = some.filter { Client.key(whatsapp: $0.clientWhatsapp, email: $0.clientEmail).map(keys.contains) ?? false }
            try await cell.book { book, _ throws(Refusal) in for entry in theirs where book.waitlist[entry.id] == nil { book.adopt(entry) } }
                .committed()
            found += theirs.map(\.id)
            after = last.id
        }
    }

    private func appointments(of id: ClientID, after: AppointmentID, _ tenant: TenantID) async throws(Refusal) -> [Appointment] {
        try await store.rows(
            .select(
                from: SchedulingTables.appointments,
                "WHERE tenant_id = ? AND client_id = ? AND id > ? ORDER BY id LIMIT 500",
                [.id(tenant), .id(id), .id(after)],
                tenant: tenant
            ).forDeciding
        ).map(Appointment.init)
    }

    // MARK: Two who are one

    package func mergeClients(_ going: ClientID, into staying: ClientID, key: String?, digest: String, by principal: Principal) async throws(Refusal)
        -> [UInt8]
    {
        guard principal.role.canAttend else { throw .viewerOnly }
        let past = try await StoredClients.appointments(of: going, limit: Self.maxMergedAppointments + 1, principal.tenant, from: store)
        guard past.count <= Self.maxMergedAppointments else {
            throw Refusal(
                .conflict,
                "client_too_large",
                "Um cliente com mais de \(Self.maxMergedAppointments) agendamentos não pode ser unido a outro; una o outro a ele."
            )
        }
        let earlier = try await StoredClients.merged(into: going, principal.tenant, from: store)
        let author = Self.author(principal)
        return try await change(by: principal, key: key, digest: digest, bringingIn: [going, staying]) { book, moment throws(Refusal) in
            try book.mergeClients(going, into: staying, past: past, earlier: earlier, by: author, moment)
        }
    }

    // MARK: Many at once

    /// `{results: [{client_id, status}], updated, unchanged, failed}`: of one turn, so all of them or, should it not be written, none.
    package func bulkUpdate(_ json: JSON?, key: String?, digest: String, by principal: Principal) async throws(Refusal) -> [UInt8] {
        guard principal.role.canAttend else { throw .viewerOnly }
        var fields = try RequestFields(json)
        let named = fields.optionalTexts("client_ids", maxCount: Self.maxBulk, maxLength: 64)
        if fields.has("client_ids") == fields.has("filter") { fields.refuse("client_ids", "informe client_ids ou filter", type: "missing") }
        let names = named ?? []
        let ids = names.compactMap { ClientID($0) }
        if ids.count != names.count { fields.refuse("client_ids", "cada item deve ser um UUID", type: "uuid_parsing") }
        if named?.isEmpty == true { fields.refuse("client_ids", "não pode ser vazia", type: "too_short") }
        if !fields.has("changes") { fields.refuse("changes", "campo obrigatório", type: "missing") }
        try fields.check()
        let bulk = try ClientBulk(json?["changes"])
        try gate.admit()
        let author = Self.author(principal)
        var wanted = ids
        if let filter = fields.json("filter") { wanted = try await clientIDs(try await clientFilter(filter, principal.tenant), principal.tenant) }
        let all = Array(OrderedSet(wanted))
        let mark = key.map { Mark.Key(tenant: principal.tenant, scope: "clients", key: "\(principal.user):\($0)") }
        return try await tenants.use(principal.tenant) { cell throws(Refusal) in
            let earlier = try await earlier(mark)
            try await bringIn(clients: all, cell)
            return try await cell.bookOnce(
                mark,
                digest: digest,
                earlier: earlier,
                // What it answered is kept as it is: JSON without a space.
                again: { _, answer throws(Refusal) in Array(answer.utf8) },
                { book, moment throws(Refusal) in
                    let answer = Self.answer(book.changeClients(all, bulk, by: author, moment))
                    return (answer, String(decoding: answer, as: UTF8.self))
                }
            ).committed()
        }
    }

    private static func answer(_ results: [(ClientID, String)]) -> [UInt8] {
        var writer = JSONWriter(capacity: 80 * results.count + 64)
        writer.object { object in
            object.list("results") { list in
                for (id, status) in results {
                    list.object {
                        $0.field("client_id", id.description)
                        $0.field("status", status)
                    }
                }
            }
            let (updated, unchanged) = (results.count { $0.1 == "updated" }, results.count { $0.1 == "unchanged" })
            object.field("updated", updated)
            object.field("unchanged", unchanged)
            object.field("failed", results.count - updated - unchanged)
        }
        return writer.bytes
    }
}

extension CalendarBook {
    /// `updated`, `unchanged`, or why not: `not_found`, `too_many_tags`.
    mutating func changeClients(_ ids: [ClientID], _ bulk: ClientBulk, by author: Author, _ moment: Moment) -> [(ClientID, String)] {
        ids.map { id in
            guard let before = clients[id], before.isListed else { return (id, "not_found") }
            do throws(Refusal) {
                let after = try changeClient(id, by: author, moment) { profile, isActive throws(Refusal) in try bulk.apply(to: &profile, &isActive) }
                return (id, after.revision == before.revision ? "unchanged" : "updated")
            } catch { return (id, error.code) }
        }
    }
}
