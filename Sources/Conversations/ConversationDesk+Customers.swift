package import Kernel
import Wire

/// What a customer sent, as a channel (WhatsApp, the simulator) received it.
package struct CustomerMessage: Sendable {
    package let channel: String
    /// The provider's id: the same one is the same message, however often it is delivered.
    package let externalID: String
    package let from: ContactIdentity
    package let name: String?
    package let kind: String
    package let text: String
    /// What a kind other than text carries, as JSON.
    package let content: String?
    package let replyTo: String?
    package let sentAt: Timestamp
    /// Whose web chat it came through; `nil` for other channels. Its `externalID` is then the visitor's own `client_message_id`.
    package var visit: Visit?
    /// The number of the business that it came to, or for an echo went out from.
    package var phoneNumberID: String?
    /// It says something about another message, of this provider's id.
    package var annotation: (externalID: String, Annotation)?
    /// The business wrote it on its own handset: `from` is then who it was written to.
    package var isEcho = false
    /// There is a file to fetch.
    package var hasMedia = false
    /// The customer is known by other ids from now on.
    package var newIdentity: ContactIdentity?

    package init(
        channel: String,
        externalID: String,
        from: ContactIdentity,
        name: String?,
        kind: String,
        text: String,
        content: String?,
        replyTo: String?,
        sentAt: Timestamp
    ) {
        self.channel = channel
        self.externalID = externalID
        self.from = from
        self.name = name
        self.kind = kind
        self.text = text
        self.content = content
        self.replyTo = replyTo
        self.sentAt = sentAt
    }

    package func mark(tenant: TenantID) -> Mark.Key {
        visit.map { ConversationDesk.mark($0, clientMessageID: externalID, tenant: tenant) }
            ?? Mark.Key(tenant: tenant, scope: "wamid", key: externalID)
    }
}

extension CustomerMessage {
    var word: Conversation.Word {
        switch annotation?.1 {
        case .reaction?: .reacted
        case .edited?, .revoked?: .noted
        case nil: kind == "system" ? .noted : .said
        }
    }

    func draft(by contact: Contact) -> MessageDraft {
        var draft = MessageDraft(.inbound, from: .customer, text: text)
        draft.kind = kind
        draft.authorName = contact.name
        draft.content = content
        if visit == nil { draft.externalID = externalID } else { draft.clientMessageID = externalID }
        draft.replyTo = replyTo
        draft.providerAt = sentAt
        return draft
    }
}

extension ConversationDesk {
    package enum Reception: Sendable, Equatable {
        case taken(ConversationID)
        /// It was here before: nothing happened.
        case duplicate
        /// It told something about a contact or an earlier message, and began no conversation.
        case noted
    }

    /// A customer wrote. The contact is the unit that makes a conversation: the first message of somebody who has none open begins one.
    /// - Parameter seenBefore: whether the journal holds the message's mark. Those of the last minutes are in memory.
    package func received(_ inbound: CustomerMessage, seenBefore: Bool, _ moment: Moment) throws(Refusal) -> (Reception, Change) {
        let key = inbound.mark(tenant: tenant)
        if seenBefore || marks[key] != nil { return (.duplicate, Change()) }
        if let noted = note(inbound, key, moment) { return (.noted, noted) }
        // Before anything is altered.
        guard find(inbound).flatMap({ openByContact[$0] }) != nil || openByContact.count < settings.maxOpenConversations else {
            throw Refusal(.unavailable, "too_many_conversations", "Há conversas abertas demais; encerre algumas.", retryAfterSeconds: 60)
        }
        var turn = Turn(moment, by: .customer, cause: "customer_wrote")
        let contact = meet(inbound, &turn)
        let id: ConversationID
        if let open = openByContact[contact.id] {
            id = open
        } else if inbound.isEcho, let asked = askedForSatisfaction[contact.id] {
            // The business's own word after the end is no answer, and no new conversation.
            remember(Mark(key, at: moment.now), &turn)
            keep(echo: inbound, in: asked, &turn)
            return (.taken(asked), finish(turn))
        } else if Self.kindsThatSpeak.contains(inbound.kind), !inbound.isEcho,
            let (asked, answer) = tellsSatisfaction(inbound, contact, &turn)
        {
            remember(Mark(key, at: moment.now, result: answer.description), &turn)
            return (.taken(asked), finish(turn))
        } else {
            id = moment.id()
            let conversation = Conversation(
                id: id,
                contact: contact,
                channel: inbound.channel,
                language: settings.defaultLanguage,
                at: moment.now
            )
            sessions[id] = Session(conversation: conversation)
            openByContact[contact.id] = id
            turn.altered.append(id)
            audit(id, to: .bot, &turn)
        }
        if let number = inbound.phoneNumberID, sessions[id]?.conversation.phoneNumberID != number {
            alter(id, &turn) { $0.phoneNumberID = number }
        }

        if inbound.isEcho {
            remember(Mark(key, at: moment.now), &turn)
            echoed(inbound, id, &turn)
            return (.taken(id), finish(turn))
        }
        let message = append(inbound.draft(by: contact), to: id, &turn)
        remember(Mark(key, at: moment.now, result: message.id.description), &turn)
        if inbound.hasMedia { turn.change.jobs.append(mediaJob(message, moment)) }
        annotate(inbound, &turn)
        let word = inbound.word
        if alter(id, &turn, { $0.customerWrote(word, providerTime: inbound.sentAt, moment) }) {
            record("O cliente voltou a escrever; a pausa terminou", by: .system, id, &turn)
            requeueIfAway(id, &turn)
        }
        guard word == .said else { return (.taken(id), finish(turn)) }
        if let answered = sessions[id]?.conversation, answered.firstAnsweredAt != nil, answered.owedSince != nil { begin(.nextAnswer, id, &turn) }
        if sessions[id]?.conversation.isHandsets == true {
            handOff(id, by: .customer, cause: "handset_began", &turn)
        } else if Self.kindsThatSpeak.contains(inbound.kind) {
            customerSpoke(inbound.kind, inbound.text, id, &turn)
        }
        return (.taken(id), finish(turn))
    }

    func meet(_ inbound: CustomerMessage, _ turn: inout Turn) -> Contact {
        let now = turn.moment.now
        if inbound.visit == nil { mergeSplit(inbound.from, &turn) }
        guard let id = find(inbound), var contact = contacts[id] else {
            let name = inbound.name ?? inbound.from.waIDs.first ?? "Cliente"
            var contact = Contact(id: turn.moment.id(), name: name, waID: inbound.from.waIDs.first, bsuid: inbound.from.bsuid, at: now)
            turn.change.rows.append(contact.image(tenant: tenant))
            index(contact)
            lingeringContacts.touch(contact.id, at: now)
            return contact
        }
        lingeringContacts.touch(id, at: now)
        let before = contact
        if let name = inbound.name, !name.isEmpty, !contact.isNameCurated { contact.name = name }
        identify(&contact, as: inbound.from)
        // Who writes can be reached.
        if !inbound.isEcho { contact.unreachableSince = nil }
        if let new = inbound.newIdentity { identify(&contact, as: new) }
        if contact != before {
            contact.updatedAt = now
            turn.change.rows.append(contact.image(tenant: tenant))
            index(contact)
            if let open = openByContact[id] {
                alter(open, &turn) { $0.shows(contact) }
            }
        }
        return contact
    }

    /// To the line of those who wait for a person, with a protocol number from that moment on.
    /// - Parameter summary: what an agent should know who has not read the conversation.
    /// - Parameter cause: what the audit trail calls it.
    func handOff(
        _ id: ConversationID,
        by author: Author,
        cause: String,
        reason: String? = nil,
        summary: String? = nil,
        _ turn: inout Turn
    ) {
        let number = protocolNumber(of: id, &turn)
        let moment = turn.moment
        (turn.actor, turn.cause) = (author, cause)
        alter(id, &turn) { $0.handedOff(protocolo: number, moment) }
        attendanceBegan(id, &turn)
        line.enter(.init(since: turn.moment.now, protocolo: number, conversation: id))
        record("Atendimento humano solicitado, protocolo \(protocolText(number))", by: author, id, &turn)
        let language = sessions[id]?.conversation.language ?? settings.defaultLanguage
        brief(id, reason, summary, language, &turn)
        // Among those of their language, as they are told live (`QueueEstimate`).
        let position = 1 + line.places.prefix { $0.conversation != id }.count { sessions[$0.conversation]?.conversation.language == language }
        var notice = BotFlow.handOffNotice(protocolo: protocolText(number), position: position, language: language)
        if !rules.isOpen(at: moment.now) {
            notice += "\n\n" + (rules.outOfHoursMessage ?? DeskWords.outOfHours(language))
        } else if pool.staffing(language: language, moment).online == 0 {
            notice += "\n\n" + DeskWords.nobodyOnline(language)
        }
        botSays(notice, id, in: nil, &turn)
    }

    /// A private note to whoever will attend: why, in which language, and what the bot has learnt.
    private func brief(_ id: ConversationID, _ reason: String?, _ summary: String?, _ language: String, _ turn: inout Turn) {
        let answers = sessions[id]?.conversation.bot.variables ?? [:]
        guard summary != nil || !answers.isEmpty else { return }
        var lines = [reason.map { "Motivo: \($0)" }, "Idioma: \(language)", summary.map { "Resumo: \($0)" }].compactMap(\.self)
        for (name, value) in answers.sorted(by: { $0.key < $1.key }) { lines.append("\(name): \(value)") }
        var note = MessageDraft(.internal, from: .bot, text: lines.joined(separator: "\n"))
        note.kind = "note"
        note.authorName = "Bot"
        append(note, to: id, &turn)
    }

    /// The number of an attendance by people, issued when the first of them comes in sight.
    func protocolNumber(of id: ConversationID, _ turn: inout Turn) -> Int64 {
        if let present = sessions[id]?.conversation.protocolo { return present }
        let (issued, change) = pool.issueProtocol(for: id, turn.moment)
        turn.change.append(change)
        alter(id, &turn) { $0.protocolo = issued }
        return issued
    }

    func remember(_ mark: Mark, _ turn: inout Turn) {
        turn.change.marks.append(mark)
        marks[mark.key] = mark.result
        lingeringMarks.touch(mark.key, at: mark.at)
    }
}
