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

    /// An identity that another contact has stays theirs.
    func identify(_ contact: inout Contact, as new: ContactIdentity) {
        if let waID = new.waIDs.first, contactsByWaID[waID] ?? contact.id == contact.id { contact.waID = waID }
        if let bsuid = new.bsuid, contactsByBSUID[bsuid] ?? contact.id == contact.id { contact.bsuid = bsuid }
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

    /// What an error says about the conversation beside its message.
    func wasRefused(_ message: Message, _ failure: Message.Failure, _ turn: inout Turn) {
        let id = message.conversation
        guard let conversation = sessions[id]?.conversation, !conversation.isResolved else { return }
        switch failure.code {
        case "131047":
            guard conversation.isWindowOpen(at: turn.moment.now) else { return }
            let moment = turn.moment
            alter(id, &turn) { $0.windowClosed(moment) }
            record("O WhatsApp fechou a janela de 24 horas; só um modelo aprovado pode ser enviado", by: .system, id, &turn)
        case "131026": record("O WhatsApp informa que este contato não recebe mensagens", by: .system, id, &turn)
        default: break
        }
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
