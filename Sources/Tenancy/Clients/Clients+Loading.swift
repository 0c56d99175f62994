import Kernel
import Scheduling
import Storage

/// Clients as the store has them. Those whose appointments were never counted are counted here: from then on each change keeps the count.
enum StoredClients {
    /// In batches that any store takes as arguments.
    static let batch = 500

    /// Those with an appointment that ends after a time.
    static func withAppointments(after time: Timestamp, _ tenant: TenantID, from store: any Store) async throws(Refusal) -> [Client] {
        try await read(
            "id IN (SELECT client_id FROM appointments WHERE tenant_id = ? AND end_time > ?)",
            [.id(tenant), .timestamp(time)],
            tenant,
            from: store
        )
    }

    static func of(_ ids: [ClientID], _ tenant: TenantID, from store: any Store) async throws(Refusal) -> [Client] {
        var found: [Client] = []
        for start in stride(from: 0, to: ids.count, by: batch) {
            let some = ids[start..<min(start + batch, ids.count)]
            found += try await read("id IN (\(places(some.count)))", some.map { .id($0) }, tenant, from: store)
        }
        return found
    }

    /// Those of some keys, and those whom they were merged into.
    static func of(keys: [String], _ tenant: TenantID, from store: any Store) async throws(Refusal) -> [Client] {
        let forms = keys.flatMap(Client.storedKeys)
        guard !forms.isEmpty else { return [] }
        let found = try await read("found_by IN (\(places(forms.count)))", forms.map { .text($0) }, tenant, from: store)
        return found + (try await of(found.compactMap(\.mergedInto), tenant, from: store))
    }

    /// All that are in use, whoever has them; of more than `KeyFilter` takes, one too many.
    static func keys(_ tenant: TenantID, from store: any Store) async throws(Refusal) -> [String] {
        try await store.rows(
            Query(
                "SELECT found_by FROM clients WHERE tenant_id = ? AND found_by IS NOT NULL LIMIT \(KeyFilter.limit + 1)",
                [.id(tenant)],
                kinds: [.text],
                tenant: tenant
            ).forDeciding
        ).map { row in
            var row = row
            return row.text()
        }
    }

    static func of(_ contacts: [ContactID], _ tenant: TenantID, from store: any Store) async throws(Refusal) -> [Client] {
        let found = try await read("contact_id IN (\(places(contacts.count)))", contacts.map { .id($0) }, tenant, from: store)
        return found + (try await of(found.compactMap(\.mergedInto), tenant, from: store))
    }

    static func merged(into id: ClientID, _ tenant: TenantID, from store: any Store) async throws(Refusal) -> [Client] {
        try await read("merged_into = ?", [.id(id)], tenant, from: store)
    }

    static func appointments(of id: ClientID, limit: Int, _ tenant: TenantID, from store: any Store) async throws(Refusal) -> [Appointment] {
        try await store.rows(
            .select(
                from: SchedulingTables.appointments,
                "WHERE tenant_id = ? AND client_id = ? ORDER BY start_time DESC, id LIMIT ?",
                [.id(tenant), .id(id), .integer(Int64(limit))],
                tenant: tenant
            ).forDeciding
        ).map(Appointment.init)
    }

    /// How many there are on the lists.
    static func listed(_ tenant: TenantID, from store: any Store) async throws(Refusal) -> Int {
        let rows = try await store.rows(
            Query(
                "SELECT COUNT(*) FROM clients WHERE tenant_id = ? AND removed_at IS NULL AND merged_into IS NULL",
                [.id(tenant)],
                kinds: [.integer],
                tenant: tenant
            ).forDeciding
        )
        guard var row = rows.first else { return 0 }
        return Int(row.integer())
    }

    static func places(_ count: Int) -> String { Array(repeating: "?", count: count).joined(separator: ", ") }

    private static func read(_ condition: String, _ arguments: [SQLValue], _ tenant: TenantID, from store: any Store) async throws(Refusal)
        -> [Client]
    {
        let rows = try await store.rows(
            .select(from: SchedulingTables.clients, "WHERE tenant_id = ? AND \(condition)", [.id(tenant)] + arguments, tenant: tenant).forDeciding
        )
        var clients: [Client] = []
        var uncounted: [Int] = []
        for row in rows {
            let (client, isCounted) = Client.read(row)
            if !isCounted { uncounted.append(clients.count) }
            clients.append(client)
        }
        for start in stride(from: 0, to: uncounted.count, by: batch) {
            let some = uncounted[start..<min(start + batch, uncounted.count)]
            let tallies = try await count(some.map { clients[$0].id }, tenant, from: store)
            for index in some { clients[index].tally = tallies[clients[index].id] ?? ClientTally() }
        }
        return clients
    }

    /// What the appointments of some clients come to, from the appointments themselves.
    static func count(_ ids: [ClientID], _ tenant: TenantID, from store: any Store) async throws(Refusal) -> [ClientID: ClientTally] {
        let rows = try await store.rows(
            Query(
                "SELECT client_id, status, service_id, start_time, price FROM appointments WHERE tenant_id = ? AND client_id IN (\(places(ids.count)))",
                [.id(tenant)] + ids.map { .id($0) },
                kinds: [.uuid, .text, .uuid, .timestamp, .numeric],
                tenant: tenant
            ).forDeciding
        )
        var tallies: [ClientID: ClientTally] = [:]
        for var row in rows {
            let id: ClientID = row.id()
            let counted = CountedAppointment(
                status: Appointment.Status(rawValue: row.text()) ?? .cancelled,
                service: row.id(),
                start: row.timestamp(),
                price: row.optionalNumeric()
            )
            tallies[id, default: ClientTally()].add(counted)
        }
        return tallies
    }
}
