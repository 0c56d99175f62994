package import Kernel

// The clients whom a calendar has in memory (contracts/agendazap.md "ClientService"). No I/O.
//
// There may be a hundred thousand, so they are not all here: those with an appointment that is, and those who were asked for lately. What is decided on somebody
// who is not here is refused with `client_unread`, which names what to read from the store; the decision is then taken once more. That nobody has a number is
// known, too: by the filter of all keys once they were read, and else once the store was asked (`learned`).
//
// Invariants
// 1. Whoever has an appointment in memory is in memory: no appointment changes without its client.
// 2. A client's tally is that of all of their appointments, whenever one looks.
// 3. A key leads to one client; to a merged one's leads to whom they were merged into.
package struct ClientLedger: Sendable {
    package private(set) var known: [ClientID: Client] = [:]
    private var byKey: [String: ClientID] = [:]
    private var byContact: [ContactID: ClientID] = [:]
    /// Keys that nobody has.
    private var free: Set<String> = []
    /// Keys as the store may have them.
    package var filter = KeyFilter()
    private var touched: [ClientID: Timestamp] = [:]
    /// Nobody is anywhere else: nothing need be read.
    package var isWhole = true
    /// When those may go again whom nobody asks for.
    private var nextSweep = Timestamp(milliseconds: 0)

    /// Whose rows have changed, and what is to be written of it.
    private(set) var changed: [ClientID] = []
    private(set) var records: [ClientRecord] = []

    /// By how many there are more on the lists than when it was last taken, or fewer.
    private var listedMoved = 0

    package static let kept = 2000
    /// For longer than any reading may take: what was read before a change must not come in after it.
    package static let lingers = Duration.seconds(600)
    private static let sweepsEvery = Duration.seconds(60)
    private static let maxFree = 10_000

    package init() {}

    package var count: Int { known.count }
    package subscript(id: ClientID) -> Client? { known[id] }

    // MARK: Reading in

    /// One that is in memory is newer than any reading.
    package mutating func adopt(_ client: Client, at now: Timestamp) {
        touched[client.id] = now
        if known[client.id] == nil { known[client.id] = client }
        // Somebody else may have had their key meanwhile, and have given it up.
        if let client = known[client.id] { index(client) }
    }

    /// Nobody has this key, as far as the store knows.
    package mutating func learned(free key: String) {
        guard byKey[key] == nil else { return }
        if free.count >= Self.maxFree { free.removeAll() }
        free.insert(key)
    }

    package func has(_ id: ClientID) -> Bool { known[id] != nil }
    package func knows(key: String) -> Bool { byKey[key] != nil || isNobodys(key) }
    private func isNobodys(_ key: String) -> Bool {
        isWhole || free.contains(key) || Client.storedKeys(key).allSatisfy { filter.excludes($0) }
    }

    private mutating func index(_ client: Client) {
        if let key = client.key {
            free.remove(key)
            filter.add(key)
            // Of two with one key whoever is listed, and of those who was there first; the other is found among the duplicates.
            let other = byKey[key].flatMap { known[$0] }
            if other.map({ Self.rank(client) < Self.rank($0) }) ?? true { byKey[key] = client.id }
        }
        if let contact = client.contact { byContact[contact] = client.id }
    }

    private static func rank(_ client: Client) -> (Int, ClientID) { (client.mergedInto != nil ? 2 : client.removedAt != nil ? 1 : 0, client.id) }

    private mutating func unindex(_ client: Client) {
        if let key = client.key, byKey[key] == client.id { byKey[key] = nil }
        if let contact = client.contact, byContact[contact] == client.id { byContact[contact] = nil }
    }

    /// Lets those go whom nobody has asked for lately, where there are many.
    mutating func forget(at now: Timestamp, keeping pinned: () -> Set<ClientID>) {
        guard !isWhole, known.count > Self.kept, now >= nextSweep else { return }
        nextSweep = now + Self.sweepsEvery
        let time = now - Self.lingers
        let pinned = pinned()
        for (id, at) in touched where at < time && !pinned.contains(id) && !changed.contains(id) {
            if let client = known.removeValue(forKey: id) { unindex(client) }
            touched[id] = nil
        }
    }

    // MARK: Finding

    /// Who a key leads to now: `nil` when nobody has it.
    /// - Throws: `client_unread`.
    package mutating func find(key: String, at now: Timestamp) throws(Refusal) -> Client? {
        guard var id = byKey[key] else {
            guard isNobodys(key) else { throw Self.unread("key", key) }
            return nil
        }
        // Mergers are kept one deep; a loop is nobody's.
        for _ in 0..<8 {
            guard let next = known[id]?.mergedInto else { break }
            guard known[next] != nil else { throw Self.unread("client_id", next.description) }
            id = next
        }
        touched[id] = now
        return known[id]
    }

    package func of(_ contact: ContactID) -> Client? { byContact[contact].flatMap { known[$0] } }

    /// - Throws: `client_unread`, which the caller may answer by reading; a merged or removed one is not found.
    package mutating func present(_ id: ClientID, at now: Timestamp) throws(Refusal) -> Client {
        guard let client = known[id] else {
            guard isWhole else { throw Self.unread("client_id", id.description) }
            throw .notFound(.client)
        }
        guard client.isListed else {
            var refusal = Refusal.notFound(.client)
            if let other = client.mergedInto { refusal.facts["merged_into"] = other.description }
            throw refusal
        }
        touched[id] = now
        return client
    }

    package static func unread(_ what: String, _ value: String) -> Refusal {
        Refusal(
            .unavailable,
            "client_unread",
            "O cliente não pôde ser lido agora; nada foi alterado. Tente novamente em instantes.",
            facts: [what: value],
            retryAfterSeconds: 1
        )
    }

    // MARK: Changing

    mutating func put(_ client: Client, at now: Timestamp) {
        var client = client
        if let before = known[client.id] { unindex(before) }
        listedMoved += (client.isListed ? 1 : 0) - (known[client.id]?.isListed ?? false ? 1 : 0)
        client.version += 1
        known[client.id] = client
        index(client)
        touched[client.id] = now
        if !changed.contains(client.id) { changed.append(client.id) }
    }

    mutating func takeListedMoved() -> Int {
        defer { listedMoved = 0 }
        return listedMoved
    }

    mutating func record(_ record: ClientRecord) { records.append(record) }

    /// An appointment is new (`before` is `nil`), or another than it was.
    mutating func counted(_ before: Appointment?, _ after: Appointment, at now: Timestamp) {
        let (old, new) = (before.map(CountedAppointment.init), CountedAppointment(after))
        guard before?.client != after.client || old != new else { return }
        if let before, let old, var client = known[before.client] {
            client.tally.remove(old)
            put(client, at: now)
        }
        if var client = known[after.client] {
            client.tally.add(new)
            put(client, at: now)
        }
    }

    mutating func taken() -> (clients: [Client], records: [ClientRecord]) {
        defer { (changed, records) = ([], []) }
        return (changed.compactMap { known[$0] }, records)
    }

    var isUnchanged: Bool { changed.isEmpty && records.isEmpty }
}
