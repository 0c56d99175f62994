import Conversations
import Kernel
import Scheduling
import Storage

// Clients who are not in memory. A decision says whom it wants to know (`client_unread`); they are read, and it is taken once more.

extension Operations {
    /// With the clients of these appointments: none of them may change without its client.
    func bringIn(_ appointments: [Appointment], _ cell: TenantCell) async throws(Refusal) {
        try await bringIn(clients: Array(Set(appointments.map(\.client))), cell)
        await cell.adopt(appointments)
    }

    func bringIn(clients ids: [ClientID], _ cell: TenantCell) async throws(Refusal) {
        let missing = await cell.missing(ids)
        if !missing.isEmpty { await cell.adopt(try await StoredClients.of(missing, cell.tenant, from: store)) }
    }

    /// Whoever has these keys, or that nobody has them.
    func bringIn(keys: [String], _ cell: TenantCell) async throws(Refusal) {
        var missing = await cell.unknown(keys: keys)
        guard !missing.isEmpty else { return }
        var found: [Client] = []
        do throws(Refusal) {
            if try await readKeys(of: .clients, cell) { missing = await cell.unknown(keys: keys) }
            if !missing.isEmpty { found = try await StoredClients.of(keys: missing, cell.tenant, from: store) }
        } catch {
            // An appointment is worth more than that nobody is there twice: while the store is away whoever is not known is new. The duplicates show them.
            guard error.kind == .unavailable else { throw error }
        }
        await cell.adopt(found, free: missing)
    }

    /// All that people are found by, where nobody was looked for yet.
    /// - Returns: whether they were read just now.
    func readKeys(of people: TenantCell.People, _ cell: TenantCell) async throws(Refusal) -> Bool {
        guard await cell.beginsReadingKeys(of: people) else { return false }
        do throws(Refusal) {
            let keys =
                switch people {
                case .clients: try await StoredClients.keys(cell.tenant, from: store)
                case .contacts: try await ConversationDesk.keys(cell.tenant, from: store)
                }
            await cell.read(keys, of: people)
        } catch {
            await cell.read(nil, of: people)
            throw error
        }
        return true
    }

    /// Decides, and reads who is wanted in between. A series, or a change of several things, may want to know more than one.
    func withClients<T: Sendable>(_ cell: TenantCell, _ decide: () async throws(Refusal) -> T) async throws(Refusal) -> T {
        var attempts = 0
        while true {
            let refusal: Refusal
            do throws(Refusal) { return try await decide() } catch { refusal = error }
            attempts += 1
            guard refusal.code == "client_unread", attempts < 6 else { throw refusal }
            if let key = refusal.facts["key"] {
                try await bringIn(keys: [key], cell)
            } else if let id = refusal.facts["client_id"].flatMap({ ClientID($0) }) {
                try await bringIn(clients: [id], cell)
                guard await cell.missing([id]).isEmpty else { throw .notFound(.client) }
            } else {
                throw refusal
            }
        }
    }

    /// Who the people are that write, before they do: of those who are new to the conversations, the clients with their numbers.
    func bringIn(clientsOf identities: [ContactIdentity], _ cell: TenantCell) async throws(Refusal) {
        try await bringIn(keys: Set(identities.compactMap { $0.waIDs.first.flatMap { PhoneNumber.canonical("+\($0)") } }).sorted(), cell)
    }

    /// Contacts may be about to become one, and with them their clients, whose appointments go along.
    func bringIn(clientsOf contacts: [ContactID], _ cell: TenantCell) async throws(Refusal) {
        guard !contacts.isEmpty else { return }
        let clients = try await StoredClients.of(contacts, cell.tenant, from: store)
        await cell.adopt(clients)
        for client in clients where client.tally.total > 0 {
            try await bringIn(try await StoredClients.appointments(of: client.id, limit: Self.maxMergedAppointments, cell.tenant, from: store), cell)
        }
    }
}
