package import Kernel
import Wire

/// What an agent does to a conversation (DESIGN §7.1). The same values from REST and from RPC.
package enum AgentCommand: Sendable, Equatable {
    case write(text: String, clientMessageID: String?)
    /// A reply that was prepared, by its shortcut.
    case canned(shortcut: String, clientMessageID: String?)
    case note(text: String, clientMessageID: String?)
    case claim
    case decline
    case transfer(consultor: Int64)
    /// Back to the line, at the place the customer had; to that of another language, if one is given.
    case requeue(language: String?)
    case returnToBot
    case resolve
    case reopen
    case snooze(until: Timestamp)
    case read
    case label([String])
    /// Anything but plain words.
    case send(Outgoing, clientMessageID: String?)
    /// `nil` takes the reaction back.
    case react(to: MessageID, emoji: String?)
    /// A message that failed, or may have, is sent again.
    case resend(MessageID)

    package var clientMessageID: String? {
        switch self {
        case .write(_, let id), .note(_, let id), .canned(_, let id), .send(_, let id): id
        default: nil
        }
    }

    /// What the audit trail calls it.
    var cause: String {
        switch self {
        case .write, .canned, .send: "message"
        case .note: "note"
        case .claim: "claim"
        case .decline: "decline"
        case .transfer: "transfer"
        case .requeue: "requeue"
        case .returnToBot: "return_to_bot"
        case .resolve: "resolve"
        case .reopen: "reopen"
        case .snooze: "snooze"
        case .read: "read"
        case .label: "labels"
        case .react: "reaction"
        case .resend: "resend"
        }
    }
}

extension ConversationDesk {
    package enum Answer: Sendable {
        case conversation([UInt8])
        case message([UInt8])
        /// One that was there before.
        case presentMessage([UInt8])
        /// The message was posted before, with the same `client_message_id`.
        case earlier(MessageID)
    }

    package static func mark(_ conversation: ConversationID, clientMessageID: String, tenant: TenantID) -> Mark.Key {
        Mark.Key(tenant: tenant, scope: "message:\(conversation)", key: clientMessageID)
    }

    /// - Parameter earlier: what the journal holds for the command's `client_message_id`.
    /// - Parameter people: whom a note may name beside the consultores.
    /// - Precondition: the conversation is in memory (`has`), or does not exist.
    package func perform(
        _ command: AgentCommand,
        on id: ConversationID,
        by principal: Principal,
        earlier: String?,
        among people: [Person] = [],
        _ moment: Moment
    ) throws(Refusal) -> (Answer, Change) {
        guard let session = sessions[id] else { throw .notFound(.conversation) }
        guard principal.role.canAttend else { throw .viewerOnly }
        lingeringSessions.touch(id, at: moment.now)
        let author = Author.user(principal.user, name: principal.name)
        var turn = Turn(moment, by: author, cause: command.cause)

        switch command {
        case .write(let text, let clientMessageID), .note(let text, let clientMessageID), .canned(let text, let clientMessageID):
            if let message = posted(clientMessageID, in: id, earlier) { return (.earlier(message), Change()) }
            var draft: MessageDraft
            switch command {
            case .write, .canned:
                let prepared = if case .canned = command { try cannedReply(text) } else { nil as CannedReply? }
                try takeOverToWrite(session.conversation, principal, needsWindow: true, &turn)
                draft = MessageDraft(.outbound, from: author, text: prepared.map { expand($0, id, principal) } ?? text)
            default:
                draft = MessageDraft(.internal, from: author, text: text)
                draft.kind = "note"
            }
            draft.clientMessageID = clientMessageID
            let message = append(draft, to: id, &turn)
            if message.direction == .outbound {
                alter(id, &turn) { $0.answered(moment) }
            } else {
                mention(in: message, among: people, by: principal, &turn)
            }
            noteAsPosted(message, &turn)
            return (.message(message.json), finish(turn))

        case .send(let outgoing, let clientMessageID):
            if let message = posted(clientMessageID, in: id, earlier) { return (.earlier(message), Change()) }
            if outgoing.kind == Outgoing.template, session.conversation.isWebChat {
                throw Refusal(.conflict, "template_in_web_chat", "Modelos são do WhatsApp; no chat do site escreva a mensagem.")
            }
            try refusePaused(session.conversation, outgoing.kind, outgoing.content, moment)
            let quoted = try outgoing.replyTo.map { reply throws(Refusal) in try externalID(of: reply, in: id) }
            try takeOverToWrite(session.conversation, principal, needsWindow: outgoing.kind != Outgoing.template, &turn)
            var draft = MessageDraft(.outbound, from: author, text: outgoing.text)
            draft.kind = outgoing.kind
            draft.content = outgoing.content
            draft.replyTo = quoted
            draft.clientMessageID = clientMessageID
            let message = append(draft, to: id, &turn)
            alter(id, &turn) { $0.answered(moment) }
            noteAsPosted(message, &turn)
            return (.message(message.json), finish(turn))

        case .react(let target, let emoji):
            let externalID = try externalID(of: target, in: id)
            try takeOverToWrite(session.conversation, principal, needsWindow: true, &turn)
            let message = append(reaction(emoji, to: externalID, by: author), to: id, &turn)
            annotate(target, .reaction(emoji), byCustomer: false, &turn)
            return (.message(message.json), finish(turn))

        case .resend(let target):
            let message = try resend(target, in: id, by: principal, &turn)
            return (.presentMessage(message.json), finish(turn))

        case .claim: try claim(id, principal, &turn)
        case .decline:
            guard let offer = session.conversation.offer, pool.attendant(offer.consultor)?.user == principal.user else {
                throw Refusal(.conflict, "not_offered", "A conversa não está sendo oferecida a você.")
            }
            alter(id, &turn) { $0.offerEnded(moment) }
            lastMissed[id] = Missed(consultor: offer.consultor, notBefore: moment.now + offerTimeout, isRefusal: true)
            turn.change.append(pool.missed(id, offer.consultor, bySilence: false, moment))
            record("\(principal.name) recusou a oferta", by: author, id, &turn)

        case .transfer(let consultor):
            try requireMine(session.conversation, principal)
            guard let target = pool.attendant(consultor) else { throw .invalid("consultor_id", message: "não há consultor com este id") }
            guard session.conversation.assignee != consultor else { break }
            // Somebody who administers may give more than fits, and to whoever is not there.
            guard principal.role.canAdminister || pool.isOnline(consultor) else {
                throw Refusal(.conflict, "consultor_offline", "\(target.name) não está on-line.")
            }
            guard principal.role.canAdminister || pool.hasRoom(consultor) else {
                throw Refusal(.conflict, "consultor_full", "\(target.name) já está com todas as conversas que pode ter.")
            }
            let present = try alter(id, &turn) { c throws(Refusal) in try c.transferred(to: consultor, moment) }
            turn.change.append(pool.released(id, by: present, moment))
            let number = sessions[id]?.conversation.protocolo
            turn.change.append(pool.took(id, consultor, protocolo: number, countsAsTurn: false, moment))
            record("\(principal.name) transferiu a conversa para \(target.name)", by: author, id, &turn)

        case .requeue(let language):
            try requireMine(session.conversation, principal)
            let present = try alter(id, &turn) { c throws(Refusal) in try c.requeued(language: language, moment) }
            turn.change.append(pool.released(id, by: present, moment))
            // Who gave it away is not offered it again at once.
            lastMissed[id] = Missed(consultor: present, notBefore: moment.now + offerTimeout, isRefusal: true)
            _ = protocolNumber(of: id, &turn)
            record("\(principal.name) devolveu a conversa à fila" + (language.map { " (\($0))" } ?? ""), by: author, id, &turn)

        case .returnToBot:
            if case .bot = session.conversation.state { break }
            if session.conversation.assignee != nil { try requireMine(session.conversation, principal) }
            let present = try alter(id, &turn) { c throws(Refusal) in try c.returnedToBot(moment) }
            if let present { turn.change.append(pool.released(id, by: present, moment)) }
            record("\(principal.name) devolveu a conversa ao bot", by: author, id, &turn)

        case .resolve:
            if session.conversation.isResolved { break }
            if session.conversation.assignee != nil { try requireMine(session.conversation, principal) }
            record("\(principal.name) encerrou a conversa", by: author, id, &turn)
            askForSatisfaction(id, &turn)
            let assignee = session.conversation.assignee
            let (_, released) = alter(id, &turn) { $0.resolved(moment) }
            if let assignee {
                if case .active = session.conversation.state { outlook.lasted(moment.now - session.conversation.stateSince) }
                turn.change.append(pool.finished(id, by: assignee, moment))
                attended(by: assignee, session.conversation.contact, &turn)
            } else if let released {
                turn.change.append(pool.released(id, by: released, moment))
            }
            lastMissed[id] = nil

        case .reopen:
            if let other = openByContact[session.conversation.contact], other != id {
                throw Refusal(
                    .conflict,
                    "contact_has_open_conversation",
                    "O contato já tem uma conversa aberta.",
                    facts: ["conversation_id": other.description]
                )
            }
            guard session.conversation.isResolved else { throw Refusal(.conflict, "conversation_open", "A conversa não está encerrada.") }
            let (attendant, change) = pool.attendant(of: principal, moment)
            try requireRoom(attendant, principal)
            turn.change.append(change)
            try alter(id, &turn) { c throws(Refusal) in try c.reopened(by: attendant.id, moment) }
            begin(.resolution, id, &turn)
            turn.change.append(pool.took(id, attendant.id, protocolo: protocolNumber(of: id, &turn), countsAsTurn: false, moment))
            record("\(principal.name) reabriu a conversa", by: author, id, &turn)

        case .snooze(let until):
            try requireMine(session.conversation, principal)
            try alter(id, &turn) { c throws(Refusal) in try c.snoozed(until: until, moment) }
            record("\(principal.name) pausou a conversa até \(until)", by: author, id, &turn)

        case .read:
            mentionsRead(in: id, by: principal, &turn)
            // Whose it is counts what they have not read; others may look without that.
            guard session.conversation.unread > 0,
                session.conversation.assignee.map({ pool.attendant($0)?.user == principal.user }) ?? true
            else { break }
            _ = alter(id, &turn) { $0.read(moment) }

        case .label(let labels):
            guard labels != session.conversation.labels else { break }
            _ = alter(id, &turn) { $0.labelled(labels, moment) }
            audit(id, &turn)
        }
        let change = finish(turn)
        return (.conversation(sessions[id].map { json($0.conversation) } ?? []), change)
    }

    /// The message that was posted before with the same `client_message_id`.
    private func posted(_ clientMessageID: String?, in id: ConversationID, _ earlier: String?) -> MessageID? {
        guard let clientMessageID else { return nil }
        return (marks[Self.mark(id, clientMessageID: clientMessageID, tenant: tenant)] ?? earlier).flatMap { MessageID($0) }
    }

    private func noteAsPosted(_ message: Message, _ turn: inout Turn) {
        guard let clientMessageID = message.clientMessageID else { return }
        let key = Self.mark(message.conversation, clientMessageID: clientMessageID, tenant: tenant)
        remember(Mark(key, at: turn.moment.now, result: message.id.description), &turn)
    }

    /// Accepting an offer, and taking a conversation of one's own accord. Of several who try at once one wins; the others are told who.
    private func claim(_ id: ConversationID, _ principal: Principal, _ turn: inout Turn) throws(Refusal) {
        guard let before = sessions[id]?.conversation else { return }
        // Asked first, so that who is refused is not made a consultor by the attempt.
        if before.isResolved { throw Refusal(.conflict, "conversation_resolved", "A conversa já foi encerrada; reabra-a para atender.") }
        if let present = before.assignee, pool.attendant(present)?.user != principal.user {
            throw taken(by: present)
        }
        let (attendant, change) = pool.attendant(of: principal, turn.moment)
        // What is on offer to them is in what they have already.
        if before.assignee == nil, before.offer?.consultor != attendant.id { try requireRoom(attendant, principal) }
        turn.change.append(change)
        let moment = turn.moment
        let claim = try alter(id, &turn) { c throws(Refusal) in try c.claimed(by: attendant.id, takenBy: { self.name($0) }, moment) }
        guard case .taken(let withdrawn) = claim else { return }
        if before.askedAt == nil { attendanceBegan(id, &turn) }
        if let withdrawn { turn.change.append(pool.released(id, by: withdrawn, moment)) }
        lastMissed[id] = nil
        turn.change.append(pool.took(id, attendant.id, protocolo: protocolNumber(of: id, &turn), countsAsTurn: true, moment))
        record("\(attendant.name) assumiu a conversa", by: .user(principal.user, name: principal.name), id, &turn)
    }

    /// Nobody takes more than they can have, but for those who administer.
    private func requireRoom(_ attendant: Attendant, _ principal: Principal) throws(Refusal) {
        guard principal.role.canAdminister || pool.hasRoom(attendant.id) else {
            throw Refusal(.conflict, "consultor_full", "Você já está com todas as conversas que pode ter; encerre ou transfira uma antes.")
        }
    }

    /// Who writes to a conversation of the bot or of the line takes it over: a person's word ends the bot's.
    func takeOverToWrite(
        _ conversation: Conversation,
        _ principal: Principal,
        needsWindow: Bool,
        _ turn: inout Turn
    ) throws(Refusal) {
        if conversation.isResolved { throw Refusal(.conflict, "conversation_resolved", "A conversa já foi encerrada; reabra-a para escrever.") }
        guard !needsWindow || conversation.isWindowOpen(at: turn.moment.now) else {
            throw Refusal(
                .conflict,
                "outside_window",
                "Passaram-se 24 horas desde a última mensagem do cliente; o WhatsApp só aceita um modelo aprovado."
            )
        }
        if conversation.assignee != nil { try requireMine(conversation, principal) } else { try claim(conversation.id, principal, &turn) }
    }

    private func requireMine(_ conversation: Conversation, _ principal: Principal) throws(Refusal) {
        let present = try conversation.requireAssignee()
        guard principal.role.canAdminister || pool.attendant(present)?.user == principal.user else { throw taken(by: present) }
    }

    private func taken(by consultor: Int64) -> Refusal { Conversation.taken(by: consultor, name: name(consultor)) }

    // MARK: Shown and not stored

    /// - Returns: what to tell on the conversation's channel, to each of those who are told.
    package func typing(_ isTyping: Bool, on id: ConversationID, by principal: Principal) throws(Refusal) -> [Event] {
        if principal.role == .visitor, principal.conversation != id { throw .visitorOnly }
        guard let conversation = sessions[id]?.conversation else {
            // In a web chat that has not begun nobody listens yet.
            if principal.role == .visitor { return [] }
            throw .notFound(.conversation)
        }
        func typing(user: UserID?, for audience: Audience) -> Event {
            event("conversation:\(id)", "typing", for: audience) {
                $0.field("user_id", user?.description)
                $0.field("name", principal.name)
                $0.field("typing", isTyping)
            }
        }
        if principal.role == .visitor { return [typing(user: nil, for: .staff)] }
        guard principal.role.canAttend else { throw .viewerOnly }
        return [typing(user: principal.user, for: .staff)] + (conversation.isWebChat ? [typing(user: nil, for: .visitor)] : [])
    }
}
