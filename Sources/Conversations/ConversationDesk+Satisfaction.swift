import Kernel

// How it was, as the customer says it. Asked over the channel when a consultor's conversation is resolved; a number from 1 to 5 that comes within the time is
// recorded with the conversation, which stays resolved. Anything else is a new conversation, and the question is over.

extension ConversationDesk {
    func askForSatisfaction(_ id: ConversationID, _ turn: inout Turn) {
        let now = turn.moment.now
        guard rules.asksSatisfaction, let conversation = sessions[id]?.conversation, conversation.assignee != nil, conversation.isWindowOpen(at: now)
        else { return }
        botSays(rules.satisfactionQuestion ?? DeskWords.askForSatisfaction(conversation.language), id, &turn)
        alter(id, &turn) { $0.satisfaction = .init(askedAt: now, until: now + rules.satisfactionWait, score: nil, answeredAt: nil) }
    }

    /// - Returns: the conversation that the message was an answer about.
    func tellsSatisfaction(_ inbound: CustomerMessage, _ contact: ContactID, _ turn: inout Turn) -> ConversationID? {
        let now = turn.moment.now
        guard let id = askedForSatisfaction[contact], let until = sessions[id]?.conversation.satisfaction?.until else { return nil }
        let words = BotFlow.words(of: inbound.text)
        let score = words.count == 1 ? Int(words[0]) : nil
        guard until > now, let score, (1...5).contains(score) else {
            alter(id, &turn) { $0.satisfaction?.until = nil }
            lingeringSessions.touch(id, at: now)
            return nil
        }
        var draft = MessageDraft(.inbound, from: .customer, text: inbound.text)
        draft.kind = inbound.kind
        draft.authorName = contacts[contact]?.name
        draft.content = inbound.content
        draft.externalID = inbound.externalID
        draft.replyTo = inbound.replyTo
        draft.providerAt = inbound.sentAt
        append(draft, to: id, &turn)
        alter(id, &turn) {
            $0.satisfaction?.until = nil
            $0.satisfaction?.score = score
            $0.satisfaction?.answeredAt = now
        }
        turn.cause = "satisfaction_told"
        audit(id, &turn)
        botSays(DeskWords.thanks(sessions[id]?.conversation.language ?? settings.defaultLanguage), id, &turn)
        lingeringSessions.touch(id, at: now)
        return id
    }

    /// For the next time: this is who attended them last.
    func attended(by consultor: Int64, _ id: ContactID, _ turn: inout Turn) {
        guard var contact = contacts[id], contact.lastConsultor != consultor else { return }
        contact.lastConsultor = consultor
        turn.change.rows.append(contact.image(tenant: tenant))
        index(contact)
        lingeringContacts.touch(id, at: turn.moment.now)
    }
}
