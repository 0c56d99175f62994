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

    /// Those whom a message that brings a number and an id together will make one (`mergeSplit`).
    package func split(_ identities: [ContactIdentity]) -> [ContactID] {
        identities.flatMap { identity -> [ContactID] in
            guard let one = identity.bsuid.flatMap({ contact(bsuid: $0) }), let other = contact(waIDs: identity.waIDs), one != other else {
                return []
            }
            return [one, other]
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
