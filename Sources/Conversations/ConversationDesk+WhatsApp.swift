package import Kernel
import Wire

// What WhatsApp knows and a plain exchange of messages does not: reactions, edits and deletions, customers who change their number, the business's own
// handset, and what an error code says about more than its message (research/conversations.md §5.2–5.6).

extension ConversationDesk {
    // MARK: About other messages, and about people

    /// What begins no conversation: somebody who has none open reacts to, edits or deletes an earlier message of theirs, or gets another number.
    /// - Returns: `nil` when it is to be taken in as a message.
    func note(_ inbound: CustomerMessage, _ key: Mark.Key, _ moment: Moment) -> Change? {
        let hasOpen = find(inbound).flatMap { openByContact[$0] } != nil
        if inbound.isEcho {
            // What we sent through the API ourselves.
            guard messagesByExternalID[inbound.externalID] != nil else { return nil }
        } else {
            guard !hasOpen else { return nil }
            let isAboutKnown = inbound.annotation.map { messagesByExternalID[$0.externalID] != nil } ?? false
            guard isAboutKnown || inbound.newIdentity != nil else { return nil }
        }
        var turn = Turn(moment)
        remember(Mark(key, at: moment.now), &turn)
        if inbound.newIdentity != nil { _ = meet(inbound, &turn) }
        annotate(inbound, &turn)
        return finish(turn)
    }

    /// Puts on the message it is about what this one says of it. A message nobody knows is passed over.
    func annotate(_ inbound: CustomerMessage, _ turn: inout Turn) {
        guard let (externalID, annotation) = inbound.annotation, let id = messagesByExternalID[externalID] else { return }
        annotate(id, annotation, byCustomer: true, &turn)
    }

    func annotate(_ id: MessageID, _ annotation: Annotation, byCustomer: Bool, _ turn: inout Turn) {
        guard var message = messages[id] else { return }
        let before = message.annotations
        switch annotation {
        case .reaction(let emoji):
            if byCustomer { message.annotations.customerReaction = emoji } else { message.annotations.businessReaction = emoji }
        // Nobody edits or deletes what the other side wrote.
        case .edited(let text): if message.direction == .inbound { message.annotations.editedText = text }
        case .revoked: if message.direction == .inbound { message.annotations.isRevoked = true }
        }
        if message.annotations != before { update(message, &turn) }
    }

    /// What the provider calls one of the conversation's messages.
    func externalID(of id: MessageID, in conversation: ConversationID) throws(Refusal) -> String {
        guard let message = messages[id], message.conversation == conversation else { throw .notFound(.message) }
        // In a web chat nobody else gives ids.
        if sessions[conversation]?.conversation.isWebChat == true {
            guard message.isForVisitor else { throw .notFound(.message) }
            return message.id.description
        }
        guard let externalID = message.externalID else {
            throw Refusal(.conflict, "message_not_sent", "A mensagem ainda não foi aceita pelo WhatsApp; não há como respondê-la ou reagir a ela.")
        }
        return externalID
    }

    func reaction(_ emoji: String?, to externalID: String, by author: Author) -> MessageDraft {
        var writer = JSONWriter()
        writer.object {
            $0.field("message_id", externalID)
            $0.field("emoji", emoji)
        }
        var draft = MessageDraft(.outbound, from: author, text: emoji.map { "Reagiu com \($0)" } ?? "Removeu a reação")
        draft.kind = "reaction"
        draft.content = String(decoding: writer.bytes, as: UTF8.self)
        return draft
    }

    /// An identity that another contact has stays theirs, also where that contact was merged into this one: its row holds it.
    func identify(_ contact: inout Contact, as new: ContactIdentity) {
        if let waID = new.waIDs.first, contactsByWaID[waID] ?? contact.id == contact.id, waID != contact.mergedWaID, !mergedIDs.contains(waID) {
            contact.waID = waID
        }
        if let bsuid = new.bsuid, contactsByBSUID[bsuid] ?? contact.id == contact.id, bsuid != contact.mergedBSUID, !mergedIDs.contains(bsuid) {
            contact.bsuid = bsuid
        }
    }

    // MARK: The business's own handset

    func keep(echo: CustomerMessage, in id: ConversationID, _ turn: inout Turn) {
        var draft = MessageDraft(.outbound, from: .handset, text: echo.text)
        draft.kind = echo.kind
        draft.authorName = "Celular da empresa"
        draft.content = echo.content
        draft.externalID = echo.externalID
        draft.replyTo = echo.replyTo
        draft.providerAt = echo.sentAt
        let message = append(draft, to: id, wasSentElsewhere: true, &turn)
        if echo.hasMedia { turn.change.jobs.append(mediaJob(message, turn.moment)) }
    }

    /// A person of the business has written on the telephone: the bot falls silent, and what comes next is for people. Where WhatsApp would not let those
    /// answer, as to a customer who has not written, nobody is offered anything before the customer does.
    func echoed(_ echo: CustomerMessage, _ id: ConversationID, _ turn: inout Turn) {
        keep(echo: echo, in: id, &turn)
        let moment = turn.moment
        guard let conversation = sessions[id]?.conversation, case .bot = conversation.state else { return alter(id, &turn) { $0.answered(moment) } }
        guard conversation.isWindowOpen(at: moment.now) else { return alter(id, &turn) { $0.isHandsets = true } }
        let number = protocolNumber(of: id, &turn)
        turn.cause = "handset_answered"
        alter(id, &turn) {
            $0.handedOff(protocolo: number, moment)
            $0.answered(moment)
        }
        begin(.resolution, id, &turn)
        line.enter(.init(since: moment.now, protocolo: number, conversation: id))
        record("A empresa respondeu pelo celular; o bot parou, protocolo \(protocolText(number))", by: .system, id, &turn)
    }

    // MARK: Holding back

    /// Longest pause while nothing gets through: how late a message may go out once it does again.
    package static let longestHold = Duration.seconds(30)

    /// How many of a job's attempts do not count, because nothing got through at the time.
    static func heldAttempts(of job: Job) -> Int { Int((try? JSON.parse(job.payload))?["held"]?.int ?? 0) }

    func hold(_ job: Job, _ message: inout Message, _ failure: Message.Failure, for pause: Duration, _ turn: inout Turn) -> Job? {
        // A status may have said meanwhile that it was sent after all: the next attempt finds that, and ends.
        if message.requeued(failure) { update(message, &turn) }
        let held = Self.heldAttempts(of: job) + 1
        let payload = ((try? JSON.parse(job.payload)) ?? .emptyObject).adding("held", .int(Int64(held)))
        let next = Job(
            id: job.id,
            tenant: job.tenant,
            kind: job.kind,
            lane: job.lane,
            order: job.order,
            state: .ready,
            attempts: job.attempts,
            runAt: turn.moment.now + pause,
            payload: payload.text
        )
        turn.change.jobs.append(next)
        return next
    }

    /// What an error says about the conversation and its contact beside its message.
    func wasRefused(_ message: Message, _ failure: Message.Failure, _ turn: inout Turn) {
        let id = message.conversation
        let now = turn.moment.now
        guard let conversation = sessions[id]?.conversation else { return }
        switch failure.code {
        case "131047":
            guard conversation.isWindowOpen(at: now), !conversation.isResolved else { return }
            let moment = turn.moment
            alter(id, &turn) { $0.windowClosed(moment) }
            record("O WhatsApp fechou a janela de 24 horas; só um modelo aprovado pode ser enviado", by: .system, id, &turn)
        case "131026":
            guard change(conversation.contact, &turn, { $0.unreachableSince = $0.unreachableSince ?? now }) else { return }
            record("O WhatsApp informa que este contato não recebe mensagens", by: .system, id, &turn)
        case "131049":
            let until = now + Self.marketingPause
            guard change(conversation.contact, &turn, { $0.templatesPausedUntil = max($0.templatesPausedUntil ?? until, until) }) else { return }
            record("O WhatsApp não entrega mais modelos de marketing a este contato até \(until)", by: .system, id, &turn)
        default: break
        }
    }

    /// How long nobody tries marketing on somebody again for whom WhatsApp says that it was enough (research/conversations.md §5.6).
    package static let marketingPause = Duration.seconds(86_400)

    /// - Returns: whether anything changed. Shown with the contact's open conversation.
    @discardableResult
    func change(_ id: ContactID, _ turn: inout Turn, _ body: (inout Contact) -> Void) -> Bool {
        guard var contact = contacts[id] else { return false }
        let before = contact
        body(&contact)
        guard contact != before else { return false }
        contact.updatedAt = turn.moment.now
        turn.change.rows.append(contact.image(tenant: tenant))
        index(contact)
        if let open = openByContact[id] { alter(open, &turn) { $0.shows(contact) } }
        return true
    }

    /// Until when a template may not go to this contact; `nil`: it may.
    func pause(of contact: ContactID, for kind: String, _ content: String?, at now: Timestamp) -> Timestamp? {
        guard kind == Outgoing.template, let until = contacts[contact]?.templatesPausedUntil, until > now else { return nil }
        // Which is what nobody says it is not.
        let category = content.flatMap { try? JSON.parse($0) }?["template"]?["category"]?.string ?? "marketing"
        return category == "marketing" ? until : nil
    }

    // MARK: Sending again

    /// - Returns: the message as it is then. One that waits already goes on waiting.
    func resend(_ target: MessageID, in id: ConversationID, by principal: Principal, _ turn: inout Turn) throws(Refusal) -> Message {
        guard var message = messages[target], message.conversation == id, message.direction == .outbound,
            let conversation = sessions[id]?.conversation
        else { throw .notFound(.message) }
        if message.status == .queued || message.status == .sending { return message }
        guard message.status == .failed || message.status == .unknown else {
            throw Refusal(
                .conflict,
                "message_not_failed",
                "Só uma mensagem que falhou, ou da qual não se sabe se saiu, pode ser reenviada; esta já saiu."
            )
        }
        try refusePaused(conversation, message.kind, message.content, turn.moment)
        try takeOverToWrite(conversation, principal, needsWindow: message.kind != Outgoing.template, &turn)
        if let before = message.externalID { messagesByExternalID[before] = nil }
        message.resent()
        turn.change.jobs.append(sendJob(message, turn.moment))
        update(message, &turn)
        audit(id, &turn)
        record("\(principal.name) reenviou uma mensagem", by: .user(principal.user, name: principal.name), id, &turn)
        return messages[target] ?? message
    }

    func refusePaused(_ conversation: Conversation, _ kind: String, _ content: String?, _ moment: Moment) throws(Refusal) {
        guard let until = pause(of: conversation.contact, for: kind, content, at: moment.now) else { return }
        throw Refusal(
            .conflict,
            "contact_paused",
            "O WhatsApp não entrega mais modelos de marketing a este contato até \(until); tente depois, ou envie um modelo de utilidade.",
            facts: ["until": until.description]
        )
    }

    // MARK: What the customer sees of us

    /// `nil` when it is not in memory.
    package func message(_ id: MessageID) -> Message? { messages[id] }

    /// The last thing the customer wrote, and the number they wrote to.
    package func lastInbound(_ id: ConversationID) -> (externalID: String, phoneNumberID: String?)? {
        guard let session = sessions[id] else { return nil }
        for id in session.recent.reversed() {
            if let message = messages[id], message.direction == .inbound, let externalID = message.externalID {
                return (externalID, session.conversation.phoneNumberID)
            }
        }
        return nil
    }
}
