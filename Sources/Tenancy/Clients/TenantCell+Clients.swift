import Conversations
import Kernel
import Scheduling
import Storage

extension TenantCell {
    /// Whose keys are in a filter, so that whoever is new is known to be (`KeyFilter`).
    enum People { case clients, contacts }

    func beginsReadingKeys(of people: People) -> Bool {
        switch people {
        case .clients: calendar.assumeIsolated { $0.beginsReadingKeys() }
        case .contacts: desk.assumeIsolated { $0.beginsReadingKeys() }
        }
    }

    func read(_ keys: [String]?, of people: People) {
        switch people {
        case .clients: calendar.assumeIsolated { $0.read(keys: keys) }
        case .contacts: desk.assumeIsolated { $0.read(keys: keys) }
        }
    }

    /// What a decision of the desk says of contacts is told to whoever keeps the clients, in the same turn and the same change: it stands in the contacts' rows,
    /// whatever altered them.
    func followingContacts(_ change: Change) -> Change {
        let news = change.rows.compactMap(CalendarBook.ContactNews.init)
        guard !news.isEmpty else { return change }
        let moment = environment.moment()
        meterIsNow(moment)
        var change = change
        let (came, made) = calendar.assumeIsolated { ($0.contactCame(news, moment), $0.giveBack()) }
        change.append(came)
        change.append(tellClients(moment))
        // A message is taken whatever the plan says; whoever wrote it counts.
        meter.made(made)
        return metered(&change, moment)
    }

    func brought(together identities: [ContactIdentity]) -> [ContactID] { desk.assumeIsolated { $0.brought(together: identities) } }
}

extension CalendarBook.ContactNews {
    /// `nil` for the row of anything but a contact.
    init?(_ image: RowImage) {
        guard image.table == ConversationTables.contacts, case .values(let values) = image.content else { return nil }
        let contact = Contact(Row(values + [.integer(image.version)]))
        self.init(
            contact: contact.id,
            name: contact.name,
            number: contact.number,
            isNew: image.version == 1,
            mergedInto: contact.mergedInto,
            source: contact.number == nil && contact.userID == nil ? "webchat" : "whatsapp"
        )
    }
}
