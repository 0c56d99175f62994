import Kernel

// How it was, as the customer says it. Asked over the channel when a consultor's conversation is resolved; a number from 1 to 5 that comes within the time is
// recorded with the conversation, which stays resolved. Anything else is a new conversation, and the question is over.

extension Conversation.Satisfaction {
    /// 1 to 5, where nothing else is said.
    static func score(in text: String) -> Int? {
        let words = BotFlow.words(of: text)
        return words.count == 1 ? Int(words[0]).flatMap { (1...5).contains($0) ? $0 : nil } : nil
    }
}

extension ConversationDesk {
    func askForSatisfaction(_ id: ConversationID, _ turn: inout Turn) {
        let now = turn.moment.now
        guard rules.asksSatisfaction, let conversation = sessions[id]?.conversation, conversation.assignee != nil, conversation.isWindowOpen(at: now)
        else { return }
        botSays(rules.satisfactionQuestion ?? DeskWords.askForSatisfaction(conversation.language), id, in: nil, &turn)
        alter(id, &turn) { $0.satisfaction = .init(askedAt: now, until: now + rules.satisfactionWait, score: nil, answeredAt: nil) }
    }

    /// - Returns: the conversation that the message was an answer about, and the message as it was taken in.
    func tellsSatisfaction(_ inbound: CustomerMessage, _ contact: Contact, _ turn: inout Turn) -> (ConversationID, MessageID)? {
        let now = turn.moment.now
        guard let id = askedForSatisfaction[contact.id], let until = sessions[id]?.conversation.satisfaction?.until else { return nil }
        guard until > now, let score = Conversation.Satisfaction.score(in: inbound.text) else {
            alter(id, &turn) { $0.satisfaction?.until = nil }
            lingeringSessions.touch(id, at: now)
            return nil
        }
        let answer = append(inbound.draft(by: contact), to: id, &turn).id
        alter(id, &turn) {
            $0.satisfaction?.until = nil
            $0.satisfaction?.score = score
            $0.satisfaction?.answeredAt = now
        }
        turn.cause = "satisfaction_told"
        audit(id, &turn)
        botSays(DeskWords.thanks(sessions[id]?.conversation.language ?? settings.defaultLanguage), id, in: nil, &turn)
        lingeringSessions.touch(id, at: now)
        return (id, answer)
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
