package import Kernel
package import Storage

// What is not in memory is read beforehand, outside any turn, and adopted in the turn that needs it, unless somebody else was quicker: what is in memory is
// always newer.

extension ConversationDesk {
    package struct Loaded: Sendable {
        package var conversations: [Conversation] = []
        package var contacts: [Contact] = []
        package var messages: [Message] = []
        package var flows: [FlowVersion] = []
        package var rules = DeskSettings()
        package var lastAudit: Int64 = 0
        package var canned: [CannedReply] = []
        /// Not yet read.
        package var mentions: [Mention] = []

        package init() {}

        package var openProtocols: [Int64] { conversations.filter { !$0.isResolved }.compactMap(\.protocolo) }
    }

    /// Everything that a tenant's desk begins with: the conversations that are not resolved, or of which an answer to how it was is still waited for.
    package static func load(tenant: TenantID, rules: DeskSettings = DeskSettings(), from store: any Store) async throws(Refusal) -> Loaded {
        var loaded = try await load("c.state <> 'resolved'", [], tenant: tenant, from: store)
        let asked = try await load("c.satisfaction_until IS NOT NULL AND c.state = 'resolved'", [], tenant: tenant, from: store)
        loaded.conversations += asked.conversations
        let known = Set(loaded.contacts.map(\.id))
        loaded.contacts += asked.contacts.filter { !known.contains($0.id) }
        loaded.messages += asked.messages
        loaded.rules = rules
        var last = try await store.rows(
            Query("SELECT MAX(seq) FROM audit_log WHERE tenant_id = ?", [.id(tenant)], kinds: [.integer], tenant: tenant).forDeciding
        ).first
        loaded.lastAudit = last?.optionalInteger() ?? 0
        loaded.canned = try await store.rows(
            .select(from: DeskTables.cannedReplies, "WHERE tenant_id = ?", [.id(tenant)], tenant: tenant).forDeciding
        ).map(CannedReply.init)
        loaded.mentions = try await store.rows(
            .select(from: DeskTables.mentions, "WHERE tenant_id = ? AND read_at IS NULL ORDER BY created_at", [.id(tenant)], tenant: tenant)
                .forDeciding
        ).map(Mention.init)
        loaded.flows = try await loadFlows(tenant: tenant, for: loaded.conversations, from: store)
        return loaded
    }

    /// One conversation, whatever its state.
    package static func load(_ id: ConversationID, tenant: TenantID, from store: any Store) async throws(Refusal) -> Loaded {
        try await load("c.id = ?", [.id(id)], tenant: tenant, from: store)
    }

    private static func load(_ condition: String, _ arguments: [SQLValue], tenant: TenantID, from store: any Store) async throws(Refusal) -> Loaded {
        let arguments = [.id(tenant)] + arguments
        func columns(_ table: Table, _ alias: String) -> String { table.columns.map { "\(alias).\"\($0.name)\"" }.joined(separator: ", ") }
        var loaded = Loaded()
        loaded.conversations = try await store.rows(
            Query(
                "SELECT \(columns(ConversationTables.conversations, "c")) FROM conversations c WHERE c.tenant_id = ? AND \(condition)",
                arguments,
                kinds: ConversationTables.conversations.columns.map(\.kind),
                tenant: tenant
            ).forDeciding
        ).map(Conversation.init)
        loaded.contacts = try await store.rows(
            Query(
                """
                SELECT DISTINCT \(columns(ConversationTables.contacts, "p")) FROM conversations c
                JOIN contacts p ON p.tenant_id = c.tenant_id AND p.id = c.contact_id WHERE c.tenant_id = ? AND \(condition)
                """,
                arguments,
                kinds: ConversationTables.contacts.columns.map(\.kind),
                tenant: tenant
            ).forDeciding
        ).map(Contact.init)
        try await followMergers(&loaded, tenant: tenant, from: store)
        loaded.messages = try await store.rows(
            Query(
                """
                SELECT \(columns(ConversationTables.messages, "m")) FROM conversations c
                JOIN messages m ON m.tenant_id = c.tenant_id AND m.conversation_id = c.id AND m.seq > c.last_seq - \(recentMessages)
                WHERE c.tenant_id = ? AND \(condition)
                """,
                arguments,
                kinds: ConversationTables.messages.columns.map(\.kind),
                tenant: tenant
            ).forDeciding
        ).map(Message.init)
        return loaded
    }

    package static func contacts(_ identities: [ContactIdentity], tenant: TenantID, from store: any Store) async throws(Refusal) -> [Contact] {
        var found: [Contact] = []
        for identity in identities {
            var conditions: [String] = []
            var arguments: [SQLValue] = [.id(tenant)]
            if !identity.waIDs.isEmpty {
                for column in ["wa_id", "merged_wa_id", "answered_wa_id"] {
                    conditions.append("\(column) IN (\(identity.waIDs.map { _ in "?" }.joined(separator: ", ")))")
                    arguments += identity.waIDs.map { .text($0) }
                }
            }
            if let bsuid = identity.bsuid {
                for column in ["bsuid", "merged_bsuid"] {
                    conditions.append("\(column) = ?")
                    arguments.append(.text(bsuid))
                }
            }
            if conditions.isEmpty { continue }
            found += try await store.rows(
                .select(
                    from: ConversationTables.contacts,
                    "WHERE tenant_id = ? AND (\(conditions.joined(separator: " OR ")))",
                    arguments,
                    tenant: tenant
                ).forDeciding
            ).map(Contact.init)
        }
        return found + (try await survivors(of: found, tenant: tenant, from: store))
    }

    /// Those whom merged contacts turned out to be, who may be merged themselves.
    private static func survivors(of contacts: [Contact], tenant: TenantID, from store: any Store) async throws(Refusal) -> [Contact] {
        var found: [Contact] = []
        var wanted = Set(contacts.compactMap(\.mergedInto)).subtracting(contacts.map(\.id))
        while !wanted.isEmpty {
            let next = try await store.rows(
                .select(
                    from: ConversationTables.contacts,
                    "WHERE tenant_id = ? AND id IN (\(wanted.map { _ in "?" }.joined(separator: ", ")))",
                    [.id(tenant)] + wanted.map { .id($0) },
                    tenant: tenant
                ).forDeciding
            ).map(Contact.init)
            found += next
            wanted = Set(next.compactMap(\.mergedInto)).subtracting((contacts + found).map(\.id))
        }
        return found
    }

    /// Gives the conversations of merged contacts to whom these turned out to be.
    private static func followMergers(_ loaded: inout Loaded, tenant: TenantID, from store: any Store) async throws(Refusal) {
        guard loaded.contacts.contains(where: { $0.mergedInto != nil }) else { return }
        loaded.contacts += try await survivors(of: loaded.contacts, tenant: tenant, from: store)
        let mergers = Dictionary(loaded.contacts.map { ($0.id, $0.mergedInto) }) { first, _ in first }
        for index in loaded.conversations.indices {
            while let next = mergers[loaded.conversations[index].contact] ?? nil { loaded.conversations[index].contact = next }
        }
    }

    package static func message(_ id: MessageID, tenant: TenantID, from store: any Store) async throws(Refusal) -> Message? {
        try await store.rows(.select(from: ConversationTables.messages, "WHERE tenant_id = ? AND id = ?", [.id(tenant), .id(id)], tenant: tenant))
            .first.map(
                Message.init
            )
    }

    package static func message(externalID: String, tenant: TenantID, from store: any Store) async throws(Refusal) -> Message? {
        try await store.rows(
            .select(from: ConversationTables.messages, "WHERE tenant_id = ? AND external_id = ?", [.id(tenant), .text(externalID)], tenant: tenant)
        ).first.map(Message.init)
    }

    // MARK: What is missing, and its adoption

    package func has(_ id: ConversationID) -> Bool { sessions[id] != nil }

    /// Whether it is in memory, or known to be nowhere yet.
    package func knows(_ id: ConversationID) -> Bool { has(id) || awaited.contains(id) }

    package func adopt(_ loaded: Loaded, _ moment: Moment) {
        adopt(loaded.contacts, moment)
        for conversation in loaded.conversations where sessions[conversation.id] == nil {
            // Only resolved ones are ever not in memory; an open one would have been loaded with the tenant.
            let recent = loaded.messages.filter { $0.conversation == conversation.id }.sorted { $0.seq < $1.seq }
            for message in recent where messages[message.id] == nil { keep(message) }
            sessions[conversation.id] = Session(conversation: conversation, recent: recent.map(\.id))
            lingeringSessions.touch(conversation.id, at: moment.now)
        }
    }

    /// Those who are not in memory, or not with everything: the number and the id of one person may stand with two contacts.
    package func strangers(_ identities: [ContactIdentity]) -> [ContactIdentity] {
        identities.filter { identity in
            let isNumberKnown = identity.waIDs.isEmpty || contact(waIDs: identity.waIDs) != nil
            let isIDKnown = identity.bsuid.map { contact(bsuid: $0) != nil } ?? true
            return !isNumberKnown || !isIDKnown
        }
    }

    /// Those of them whom the store may have.
    package func missing(_ identities: [ContactIdentity]) -> [ContactIdentity] {
        strangers(identities).filter { identity in
            !identity.waIDs.allSatisfy { filter.excludes(Self.key(waID: $0)) }
                || !(identity.bsuid.map { filter.excludes(Self.key(bsuid: $0)) } ?? true)
        }
    }

    package func beginsReadingKeys() -> Bool { filter.begin() }
    package func read(keys: [String]?) { filter.read(keys) }

    private static func key(waID: String) -> String { "w" + waID }
    private static func key(bsuid: String) -> String { "b" + bsuid }

    /// What contacts are found by, as the filter has it; of more than it takes, some too many.
    package static func keys(_ tenant: TenantID, from store: any Store) async throws(Refusal) -> [String] {
        let rows = try await store.rows(
            Query(
                """
                SELECT wa_id, merged_wa_id, answered_wa_id, bsuid, merged_bsuid FROM contacts
                WHERE tenant_id = ? AND (wa_id IS NOT NULL OR merged_wa_id IS NOT NULL OR answered_wa_id IS NOT NULL OR bsuid IS NOT NULL
                    OR merged_bsuid IS NOT NULL) LIMIT \(KeyFilter.limit + 1)
                """,
                [.id(tenant)],
                kinds: [.text, .text, .text, .text, .text],
                tenant: tenant
            ).forDeciding
        )
        return rows.flatMap { row in
            var row = row
            let waIDs = [row.optionalText(), row.optionalText(), row.optionalText()].compactMap(\.self)
            let bsuids = [row.optionalText(), row.optionalText()].compactMap(\.self)
            return waIDs.map(key(waID:)) + bsuids.map(key(bsuid:))
        }
    }

    func addToFilter(_ contact: Contact) {
        for waID in contact.waIDs { filter.add(Self.key(waID: waID)) }
        for bsuid in contact.bsuids { filter.add(Self.key(bsuid: bsuid)) }
    }

    package func adopt(_ contacts: [Contact], _ moment: Moment) {
        for contact in contacts where contact.mergedInto == nil && self.contacts[contact.id] == nil {
            index(contact)
            lingeringContacts.touch(contact.id, at: moment.now)
        }
        let mergers = Dictionary(contacts.map { ($0.id, $0.mergedInto) }) { first, _ in first }
        for contact in contacts where contact.mergedInto != nil {
            var survivor = contact.id
            while let next = mergers[survivor] ?? nil { survivor = next }
            indexMerged(contact, into: survivor)
        }
    }

    package func hasMessage(_ id: MessageID) -> Bool { messages[id] != nil }
    package func hasMessage(externalID: String) -> Bool { messagesByExternalID[externalID] != nil }

    package func adopt(_ message: Message, _ moment: Moment) {
        guard messages[message.id] == nil else { return }
        keep(message)
        lingeringMessages.touch(message.id, at: moment.now)
    }

    /// Whether nothing here would be missed: no offer running, nobody in line, and nobody whom the bot owes an answer.
    package var isQuiet: Bool { line.places.isEmpty && botDeadlines.next == nil }

    func find(_ inbound: CustomerMessage) -> ContactID? { inbound.visit?.contact ?? find(inbound.from) }

    func find(_ identity: ContactIdentity) -> ContactID? {
        switch (identity.bsuid.flatMap { contact(bsuid: $0) }, contact(waIDs: identity.waIDs)) {
        case (let one?, let other?) where one != other: survivor(one, other)
        case (let one, let other): one ?? other
        }
    }

    func contact(bsuid: String) -> ContactID? { contactsByBSUID[bsuid].flatMap { contacts[$0] == nil ? nil : $0 } }
    func contact(waIDs: [String]) -> ContactID? { waIDs.lazy.compactMap { self.contactsByWaID[$0] }.first { self.contacts[$0] != nil } }
}
