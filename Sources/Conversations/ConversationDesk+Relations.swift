package import Kernel
package import Storage

// What a CRM is told of a customer, and what it tells of them.

/// Whom a conversation is with.
package struct ConversationCustomer: Sendable, Equatable {
    package let contact: ContactID
    package let name: String
    /// WhatsApp's number, digits alone.
    package let number: String?
    package let channel: String
    package let protocolo: Int64?
}

extension ConversationDesk {
    /// - Precondition: the conversation is in memory (`has`), or does not exist.
    package func customer(of id: ConversationID) -> ConversationCustomer? {
        guard let conversation = sessions[id]?.conversation else { return nil }
        return ConversationCustomer(
            contact: conversation.contact,
            name: conversation.contactName,
            number: conversation.contactNumber,
            channel: conversation.channel,
            protocolo: conversation.protocolo
        )
    }

    package static func contact(_ id: ContactID, tenant: TenantID, from store: any Store) async throws(Refusal) -> Contact? {
        try await store.rows(
            .select(from: ConversationTables.contacts, "WHERE tenant_id = ? AND id = ?", [.id(tenant), .id(id)], tenant: tenant).forDeciding
        ).first.map(Contact.init)
    }

    /// Those of whom a message tells something new by bringing a number and an id together: they show the one that they did not before, or are one though they
    /// stand with two contacts (`mergeSplit`).
    package func brought(together identities: [ContactIdentity]) -> [ContactID] {
        identities.flatMap { identity -> [ContactID] in
            guard let bsuid = identity.bsuid, !identity.waIDs.isEmpty else { return [] }
            let (one, other) = (contact(bsuid: bsuid), contact(waIDs: identity.waIDs))
            return one == other ? [] : [one, other].compactMap(\.self)
        }
    }

    package func hasContact(_ id: ContactID) -> Bool { contacts[id] != nil }

    /// Somebody gave the customer another name in the CRM. The same name again is nothing, so that what goes around ends here.
    /// - Precondition: the contact is in memory, or does not exist.
    package func named(_ id: ContactID, _ name: String, _ moment: Moment) -> Change {
        guard var contact = contacts[id], contact.name != name else { return Change() }
        var turn = Turn(moment, cause: "crm")
        contact.name = name
        contact.isNameCurated = true
        contact.updatedAt = moment.now
        turn.change.rows.append(contact.image(tenant: tenant))
        index(contact)
        if let open = openByContact[id] { alter(open, &turn) { $0.contactName = name } }
        return finish(turn)
    }
}
