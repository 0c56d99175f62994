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

    package func mark(tenant: TenantID) -> Mark.Key { Mark.Key(tenant: tenant, scope: "wamid", key: externalID) }
}

extension ConversationDesk {
    package enum Reception: Sendable, Equatable {
        case taken(ConversationID)
        /// It was here before: nothing happened.
        case duplicate
    }

    /// A customer wrote. The contact is the unit that makes a conversation: the first message of somebody who has none open begins one.
    /// - Parameter seenBefore: whether the journal holds the message's mark. Those of the last minutes are in memory.
    package func received(_ inbound: CustomerMessage, seenBefore: Bool, _ moment: Moment) throws(Refusal) -> (Reception, Change) {
        let key = inbound.mark(tenant: tenant)
        if seenBefore || marks[key] != nil { return (.duplicate, Change()) }
        // Before anything is altered.
        guard find(inbound.from).flatMap({ openByContact[$0] }) != nil || openByContact.count < settings.maxOpenConversations else {
            throw Refusal(.unavailable, "too_many_conversations", "Há conversas abertas demais; encerre algumas.", retryAfterSeconds: 60)
        }
        var turn = Turn(moment, by: .customer, cause: "customer_wrote")
        let contact = meet(inbound, &turn)
        let id: ConversationID
        if let open = openByContact[contact.id] {
            id = open
        } else if let asked = tellsSatisfaction(inbound, contact.id, &turn) {
            remember(Mark(key, at: moment.now), &turn)
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
        remember(Mark(key, at: moment.now), &turn)

        var draft = MessageDraft(.inbound, from: .customer, text: inbound.text)
        draft.kind = inbound.kind
        draft.authorName = contact.name
        draft.content = inbound.content
        draft.externalID = inbound.externalID
        draft.replyTo = inbound.replyTo
        draft.providerAt = inbound.sentAt
        append(draft, to: id, &turn)
        if alter(id, &turn, { $0.customerWrote(providerTime: inbound.sentAt, moment) }) {
            record("O cliente voltou a escrever; a pausa terminou", by: .system, id, &turn)
        }
        if let answered = sessions[id]?.conversation, answered.firstAnsweredAt != nil, answered.owedSince != nil { begin(.nextAnswer, id, &turn) }
        if case .bot = sessions[id]?.conversation.state, Self.kindsThatSpeak.contains(inbound.kind) { botAnswers(inbound, id, &turn) }
        return (.taken(id), finish(turn))
    }

    /// Kinds to which a bot owes an answer. A reaction, an edit or a system notice is not one.
    private static let kindsThatSpeak: Set<String> = [
        "text", "interactive", "button", "image", "video", "audio", "document", "sticker", "location", "contacts", "order",
    ]
    private static let kindsWithWords: Set<String> = ["text", "interactive", "button"]

    private func meet(_ inbound: CustomerMessage, _ turn: inout Turn) -> Contact {
        let now = turn.moment.now
        guard let id = find(inbound.from), var contact = contacts[id] else {
            let name = inbound.name ?? inbound.from.waIDs.first ?? "Cliente"
            var contact = Contact(id: turn.moment.id(), name: name, waID: inbound.from.waIDs.first, bsuid: inbound.from.bsuid, at: now)
            turn.change.rows.append(contact.image(tenant: tenant))
            index(contact)
            lingeringContacts.touch(contact.id, at: now)
            return contact
        }
        lingeringContacts.touch(id, at: now)
        let before = contact
        if let name = inbound.name, !name.isEmpty { contact.name = name }
        // An identity that another contact has stays theirs: two people's histories are not joined by a delivery.
        if let waID = inbound.from.waIDs.first, contactsByWaID[waID] ?? id == id { contact.waID = waID }
        if let bsuid = inbound.from.bsuid, contactsByBSUID[bsuid] ?? id == id { contact.bsuid = bsuid }
        if contact != before {
            contact.updatedAt = now
            turn.change.rows.append(contact.image(tenant: tenant))
            index(contact)
            if let open = openByContact[id] {
                alter(open, &turn) {
                    $0.contactName = contact.name
                    $0.contactNumber = contact.waID
                }
            }
        }
        return contact
    }

    private func botAnswers(_ inbound: CustomerMessage, _ id: ConversationID, _ turn: inout Turn) {
        guard var position = sessions[id]?.conversation.bot else { return }
        let reply = Self.kindsWithWords.contains(inbound.kind) ? flow.answer(to: inbound.text, at: &position) : flow.answerToMedia(at: &position)
        alter(id, &turn) {
            $0.bot = position
            if let language = reply.language { $0.language = language }
        }
        for text in reply.texts { botSays(text, id, &turn) }
        if reply.handsOff { handOff(id, by: .customer, &turn) }
    }

    /// To the line of those who wait for a person, with a protocol number from that moment on.
    func handOff(_ id: ConversationID, by author: Author, _ turn: inout Turn) {
        let number = protocolNumber(of: id, &turn)
        let moment = turn.moment
        turn.cause = "person_asked_for"
        alter(id, &turn) { $0.handedOff(protocolo: number, moment) }
        attendanceBegan(id, &turn)
        line.enter(.init(since: turn.moment.now, protocolo: number, conversation: id))
        record("Atendimento humano solicitado, protocolo \(protocolText(number))", by: author, id, &turn)
        let language = sessions[id]?.conversation.language ?? settings.defaultLanguage
        let position = line.position(of: id) ?? 1
        var notice = BotFlow.handOffNotice(protocolo: protocolText(number), position: position, language: language)
        if !rules.isOpen(at: moment.now) {
            notice += "\n\n" + (rules.outOfHoursMessage ?? DeskWords.outOfHours(language))
        } else if pool.staffing(language: language, moment).online == 0 {
            notice += "\n\n" + DeskWords.nobodyOnline(language)
        }
        botSays(notice, id, &turn)
    }

    /// The number of an attendance by people, issued when the first of them comes in sight.
    func protocolNumber(of id: ConversationID, _ turn: inout Turn) -> Int64 {
        if let present = sessions[id]?.conversation.protocolo { return present }
        let (issued, change) = pool.issueProtocol(for: id, turn.moment)
        turn.change.append(change)
        alter(id, &turn) { $0.protocolo = issued }
        return issued
    }

    /// Unless WhatsApp no longer lets us write: a message that was long on its way finds the window closed.
    func botSays(_ text: String, _ id: ConversationID, _ turn: inout Turn) {
        guard sessions[id]?.conversation.isWindowOpen(at: turn.moment.now) == true else { return }
        var draft = MessageDraft(.outbound, from: .bot, text: text)
        draft.authorName = "Bot"
        append(draft, to: id, &turn)
    }

    func remember(_ mark: Mark, _ turn: inout Turn) {
        turn.change.marks.append(mark)
        marks[mark.key] = mark.result
        lingeringMarks.touch(mark.key, at: mark.at)
    }
}
