import Kernel

// One person whom the desk knows as two: by a business-scoped id that hid their number, and by their number (research/conversations.md §5.4). The first message
// that carries both says so. They become one contact from then on:
//
// - Whoever has a conversation with a person stays, or else with the line, or else with the bot: what is under way goes on where it is.
// - The other's row stays and points to them, with its ids, which are unique: so every id is found, and never taken by a third.
// - The other's conversations are theirs. Those not in memory are given to them when they are read (`followMergers`).

extension ConversationDesk {
    /// Of two contacts that are one, who stays.
    func survivor(_ one: ContactID, _ other: ContactID) -> ContactID {
        func weight(_ id: ContactID) -> Int {
            switch openByContact[id].flatMap({ sessions[$0]?.conversation.owner }) {
            case .consultor: 3
            case .queue: 2
            case .bot: 1
            case Conversation.Owner.none?, nil: 0
            }
        }
        return weight(other) > weight(one) ? other : one
    }

    /// Makes one of the two contacts that an identity stands with.
    func mergeSplit(_ identity: ContactIdentity, _ turn: inout Turn) {
        guard let one = identity.bsuid.flatMap({ contact(bsuid: $0) }), let other = contact(waIDs: identity.waIDs), one != other else { return }
        let staying = survivor(one, other)
        merge(staying == one ? other : one, into: staying, &turn)
    }

    private func merge(_ going: ContactID, into staying: ContactID, _ turn: inout Turn) {
        guard var gone = contacts[going], var stayed = contacts[staying] else { return }
        if let waID = gone.number { stayed.mergedWaID = waID }
        if let bsuid = gone.userID { stayed.mergedBSUID = bsuid }
        stayed.answeredWaID = stayed.answeredWaID ?? gone.answeredWaID
        stayed.lastConsultor = stayed.lastConsultor ?? gone.lastConsultor
        stayed.updatedAt = turn.moment.now
        gone.mergedInto = staying
        gone.updatedAt = turn.moment.now
        turn.change.rows.append(gone.image(tenant: tenant))
        turn.change.rows.append(stayed.image(tenant: tenant))

        Self.unindex(gone, &contactsByWaID, &contactsByBSUID)
        contacts[going] = nil
        index(stayed)
        indexMerged(gone, into: staying)
        lingeringContacts.touch(staying, at: turn.moment.now)

        if let open = openByContact.removeValue(forKey: going) {
            if openByContact[staying] == nil { openByContact[staying] = open } else { close(open, &turn) }
        }
        if let asked = askedForSatisfaction.removeValue(forKey: going), askedForSatisfaction[staying] == nil { askedForSatisfaction[staying] = asked }
        for (id, session) in sessions where session.conversation.contact == going || openByContact[staying] == id {
            alter(id, &turn) { $0.shows(stayed) }
        }
    }

    /// An id of a merged contact leads to whom it turned out to be.
    func indexMerged(_ gone: Contact, into staying: ContactID) {
        for waID in gone.waIDs where contactsByWaID[waID].flatMap({ contacts[$0] }) == nil { contactsByWaID[waID] = staying }
        for bsuid in gone.bsuids where contactsByBSUID[bsuid].flatMap({ contacts[$0] }) == nil { contactsByBSUID[bsuid] = staying }
        mergedIDs.formUnion([gone.waID, gone.bsuid].compactMap(\.self))
    }

    /// Of two conversations with one person, the one that they do not go on in.
    private func close(_ id: ConversationID, _ turn: inout Turn) {
        guard let before = sessions[id]?.conversation, !before.isResolved else { return }
        let (moment, cause) = (turn.moment, turn.cause)
        turn.cause = "contacts_merged"
        defer { turn.cause = cause }
        record("O cliente é o mesmo de outra conversa aberta e continua nela; esta foi encerrada", by: .system, id, &turn)
        let (_, released) = alter(id, &turn) { $0.resolved(moment) }
        if let assignee = before.assignee {
            turn.change.append(pool.finished(id, by: assignee, moment))
        } else if let released {
            turn.change.append(pool.released(id, by: released, moment))
        }
        lastMissed[id] = nil
    }
}
