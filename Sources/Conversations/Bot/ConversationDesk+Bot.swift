package import Kernel
import Wire

// The bot's part of the desk: when it answers, with what, and what its time running out does. Each conversation has one time for all of it.

extension BotTurnID {
    /// `message.streaming`: `writing` with all that was said so far, or `cancelled`.
    package func streaming(_ state: String, _ text: String, of id: ConversationID, for audience: Audience) -> Event {
        var writer = JSONWriter(capacity: 256 + text.utf8.count)
        writer.object {
            $0.field("type", "message.streaming")
            $0.field("turn_id", description)
            $0.field("state", state)
            $0.field("text", text)
        }
        return Event(channel: "conversation:\(id)", payload: writer.bytes, audience: audience)
    }
}

extension ConversationDesk {
    /// Kinds to which a bot owes an answer. A reaction, an edit or a system notice is not one.
    static let kindsThatSpeak: Set<String> = [
        "text", "interactive", "button", "image", "video", "audio", "document", "sticker", "location", "contacts", "order",
    ]
    private static let kindsWithWords: Set<String> = ["text", "interactive", "button"]
    private static let kindsOfButtons: Set<String> = ["interactive", "button"]

    /// A customer has written to the bot: answered at once, or when they pause.
    func customerSpoke(_ kind: String, _ text: String, _ id: ConversationID, _ turn: inout Turn) {
        guard let session = sessions[id], case .bot = session.conversation.state else { return }
        let now = turn.moment.now
        cancelConsultation(id)
        var burst = session.burst ?? Burst(at: now)
        burst.wroteOn(at: now)
        sessions[id]?.burst = burst
        let isUrgent =
            Self.kindsOfButtons.contains(kind) || (Self.kindsWithWords.contains(kind) && flow(of: session.conversation).asksForAPerson(text))
        if isUrgent || burst.dueAt(settings.burst) <= now { answerBurst(id, canConsult: settings.canConsult(tenant), &turn) }
    }

    /// Answers everything that the customer has written since the bot last answered.
    private func answerBurst(_ id: ConversationID, canConsult: Bool, _ turn: inout Turn) {
        sessions[id]?.burst = nil
        guard let session = sessions[id], case .bot = session.conversation.state else { return }
        let conversation = session.conversation
        let (input, upTo) = unanswered(session)
        guard let upTo else { return }
        let moment = turn.moment
        let flow = flow(of: conversation)
        var position = conversation.bot
        if position.flow.map({ $0 != 0 && flows[$0] == nil }) ?? true {
            position = BotFlow.Position()
            position.flow = activeFlow?.number ?? 0
        }
        let context = BotFlow.Context(
            now: moment.now,
            contactName: conversation.contactName,
            canConsult: canConsult && conversation.isWindowOpen(at: moment.now),
            isOpen: rules.isOpen(at: moment.now)
        )
        let reply = flow.answer(input, at: &position, context)
        let asked = reply.consults ? flow.assistant ?? BotFlow.AssistantRules(instructions: "", answersUnknown: false) : nil
        alter(id, &turn) {
            $0.bot = position
            if let language = reply.language { $0.language = language }
            if asked == nil { $0.botAnsweredSeq = upTo }
        }
        if let asked { return consult(asked, id, upTo: upTo, &turn) }
        let turnID: BotTurnID = moment.id()
        for (index, text) in reply.texts.enumerated() {
            botSays(text, id, in: reply.handsOff ? nil : turnID, choices: index == reply.texts.count - 1 ? reply.choices : [], &turn)
        }
        if reply.handsOff {
            handOff(id, by: reply.cause == .asked ? .customer : .bot, cause: reply.cause.rawValue, reason: reply.reason, &turn)
        }
    }

    /// What the customer wrote since the bot last answered, as one; and the last message of it.
    private func unanswered(_ session: Session) -> (BotFlow.Input, upTo: Int64?) {
        var input = BotFlow.Input(text: "")
        var upTo: Int64?
        for message in Self.unanswered(session.conversation, session.recent.compactMap { messages[$0] }) {
            upTo = message.seq
            guard Self.kindsWithWords.contains(message.kind) else { continue }
            input.text += (input.text.isEmpty ? "" : "\n") + message.text
            if Self.kindsOfButtons.contains(message.kind), let content = message.content.flatMap({ try? JSON.parse($0) }) {
                input.choice = (content["id"] ?? content["payload"])?.string
            }
        }
        return (input, upTo)
    }

    private static func unanswered(_ conversation: Conversation, _ recent: [Message]) -> [Message] {
        recent.filter { $0.direction == .inbound && $0.seq > conversation.botAnsweredSeq && kindsThatSpeak.contains($0.kind) }
    }

    /// What a conversation that was loaded still has to be answered: whoever wrote before a crash is answered after it.
    static func burst(of conversation: Conversation, _ recent: [Message]) -> Burst? {
        guard case .bot = conversation.state else { return nil }
        let pending = unanswered(conversation, recent)
        guard let first = pending.first, let last = pending.last else { return nil }
        var burst = Burst(at: first.createdAt)
        burst.wroteOn(at: last.createdAt)
        return burst
    }

    // MARK: Time

    /// When the bot has something to do about a conversation by itself.
    static func botDeadline(_ session: Session, _ flow: BotFlow, _ rules: DeskSettings, _ settings: Settings) -> Timestamp? {
        if case .bot = session.conversation.state { return session.consultation?.deadline ?? session.burst?.dueAt(settings.burst) }
        return lateAt(session.conversation, flow.handOff, rules)
    }

    /// When somebody has stood in line for too long: nobody is told so at night, who was told that it is closed.
    private static func lateAt(_ conversation: Conversation, _ handOff: BotFlow.HandOffRules, _ rules: DeskSettings) -> Timestamp? {
        guard let since = conversation.waitingSince, !conversation.isLateTold, let deadline = handOff.deadline else { return nil }
        return rules.time(after: deadline, from: conversation.inLineSince ?? since)
    }

    /// To be called for every conversation that a turn has altered, whoever altered it: what is not the bot's any more has no turn of the bot.
    func noteBot(_ id: ConversationID) {
        guard let session = sessions[id] else { return botDeadlines.remove(id) }
        if case .bot = session.conversation.state {
        } else {
            sessions[id]?.burst = nil
            cancelConsultation(id)
        }
        guard let session = sessions[id], let deadline = Self.botDeadline(session, flow(of: session.conversation), rules, settings) else {
            return botDeadlines.remove(id)
        }
        botDeadlines.set(id, at: deadline)
    }

    /// Bursts that are over, turns that did not come back, people who have waited for too long.
    func botTimePassed(_ turn: inout Turn) {
        let now = turn.moment.now
        for id in botDeadlines.due(at: now) {
            guard let session = sessions[id] else { continue }
            (turn.actor, turn.cause) = (.bot, "bot")
            if let consultation = session.consultation {
                if consultation.deadline <= now { consultationFailed(id, &turn) }
            } else if let burst = session.burst {
                if burst.dueAt(settings.burst) <= now { answerBurst(id, canConsult: settings.canConsult(tenant), &turn) }
            } else {
                let handOff = flow(of: session.conversation).handOff
                if let late = Self.lateAt(session.conversation, handOff, rules), late <= now { waitedTooLong(id, handOff, &turn) }
            }
            noteBot(id)
        }
    }

    private func waitedTooLong(_ id: ConversationID, _ rules: BotFlow.HandOffRules, _ turn: inout Turn) {
        guard let conversation = sessions[id]?.conversation else { return }
        let moment = turn.moment
        (turn.actor, turn.cause) = (.system, "hand_off_deadline")
        alter(id, &turn) { $0.isLateTold = true }
        audit(id, &turn)
        let context = BotFlow.Context(now: moment.now, contactName: conversation.contactName, canConsult: false)
        systemSays(flow(of: conversation).filled(rules.deadlineText, conversation.bot, context), id, &turn)
        // Whom a person has answered is a person's, however long it takes.
        guard rules.then == .bot, conversation.firstAnsweredAt == nil else {
            return record("O cliente espera há mais tempo que o prazo do fluxo", by: .system, id, &turn)
        }
        breakPromise(.firstAnswer, id, &turn)
        do throws(Refusal) {
            let offered = try alter(id, &turn) { c throws(Refusal) in try c.returnedToBot(moment) }
            if let offered { turn.change.append(pool.released(id, by: offered, moment)) }
            lastMissed[id] = nil
            record("Ninguém atendeu no prazo; a conversa voltou ao bot", by: .system, id, &turn)
        } catch {
            preconditionFailure("what waits can be given back to the bot: \(error)")
        }
    }

    // MARK: The assistant

    private func consult(_ rules: BotFlow.AssistantRules, _ id: ConversationID, upTo: Int64, _ turn: inout Turn) {
        guard let session = sessions[id] else { return }
        let now = turn.moment.now
        let consultation = Consultation(turn: turn.moment.id(), upTo: upTo, deadline: now + settings.consultationTimeout)
        sessions[id]?.consultation = consultation
        let lines = session.recent.compactMap { messages[$0] }.filter { $0.direction != .internal && !$0.text.isEmpty }.suffix(30)
        begunConsultations.append(
            ConsultationRequest(
                turn: consultation.turn,
                conversation: id,
                contact: session.conversation.contact,
                contactName: session.conversation.contactName,
                language: session.conversation.language,
                instructions: rules.instructions,
                lines: lines.map { .init(isCustomer: $0.direction == .inbound, text: $0.text) }
            )
        )
    }

    func cancelConsultation(_ id: ConversationID) {
        guard let consultation = sessions[id]?.consultation else { return }
        sessions[id]?.consultation = nil
        // One that was begun in this very turn never gets to its assistant.
        if begunConsultations.contains(where: { $0.turn == consultation.turn }) {
            begunConsultations.removeAll { $0.turn == consultation.turn }
        } else {
            cancelledConsultations.append((consultation.turn, id))
        }
    }

    /// Turns that have begun and ended since this was last asked. To be carried out once the turn's change is on disk.
    package func takeConsultations() -> (begun: [ConsultationRequest], cancelled: [(BotTurnID, ConversationID)]) {
        if begunConsultations.isEmpty, cancelledConsultations.isEmpty { return ([], []) }
        defer {
            begunConsultations = []
            cancelledConsultations = []
        }
        return (begunConsultations, cancelledConsultations)
    }

    package func isPresent(_ turn: BotTurnID, of id: ConversationID) -> Bool {
        guard let session = sessions[id], session.consultation?.turn == turn, case .bot = session.conversation.state else { return false }
        return true
    }

    /// What the assistant has said so far, to be shown to agents and to the visitor of a web chat, and not stored; `nil` when its turn is over.
    package func streamed(_ text: String, in turn: BotTurnID, of id: ConversationID) -> [Event]? {
        isPresent(turn, of: id) ? audiences(of: id).map { turn.streaming("writing", text, of: id, for: $0) } : nil
    }

    /// - Returns: whether the turn was still the present one; otherwise nothing happened.
    package func consultationEnded(_ turnID: BotTurnID, of id: ConversationID, _ outcome: ConsultationOutcome, _ moment: Moment) -> (Bool, Change) {
        guard isPresent(turnID, of: id), let upTo = sessions[id]?.consultation?.upTo else { return (false, Change()) }
        var turn = Turn(moment, by: .bot, cause: "assistant")
        switch outcome {
        case .said(let text):
            sessions[id]?.consultation = nil
            alter(id, &turn) {
                $0.botAnsweredSeq = upTo
                $0.bot.misunderstandings = 0
            }
            botSays(text, id, in: turnID, &turn)
        case .handOff(let text, let reason, let summary, let language):
            sessions[id]?.consultation = nil
            alter(id, &turn) {
                $0.botAnsweredSeq = upTo
                if let language { $0.language = language }
            }
            if let text { botSays(text, id, in: nil, &turn) }
            let reason = reason ?? "O assistente chamou uma pessoa"
            handOff(id, by: .bot, cause: BotFlow.HandOffCause.assistant.rawValue, reason: reason, summary: summary, &turn)
        case .failed: consultationFailed(id, &turn)
        }
        return (true, finish(turn))
    }

    /// The flow goes on alone.
    private func consultationFailed(_ id: ConversationID, _ turn: inout Turn) {
        cancelConsultation(id)
        answerBurst(id, canConsult: false, &turn)
    }

    // MARK: What it says

    /// Unless WhatsApp no longer lets us write: a message that was long on its way finds the window closed.
    /// - Parameter turnID: the turn of the bot in whose name it is said, which is asked for again before it is sent; `nil` for what stands although the
    ///   conversation is handed off.
    func botSays(_ text: String, _ id: ConversationID, in turnID: BotTurnID?, choices: [BotFlow.Choice] = [], _ turn: inout Turn) {
        guard sessions[id]?.conversation.isWindowOpen(at: turn.moment.now) == true else { return }
        var draft = MessageDraft(.outbound, from: .bot, text: text)
        draft.authorName = "Bot"
        var content = JSON.emptyObject
        if !choices.isEmpty, text.unicodeScalars.count <= BotFlow.Choice.longestText {
            draft.kind = "interactive"
            let language = sessions[id]?.conversation.language ?? settings.defaultLanguage
            content = Self.tapped(choices, language)
        } else if !choices.isEmpty {
            draft.text += "\n" + choices.map { "- \($0.title)" }.joined(separator: "\n")
        }
        if let turnID { content = content.adding("turn_id", .string(turnID.description)) }
        draft.content = content == .emptyObject ? nil : content.text
        append(draft, to: id, &turn)
    }

    /// In the shape of protocol/README.md "What messages carry".
    private static func tapped(_ choices: [BotFlow.Choice], _ language: String) -> JSON {
        let items = JSON.array(choices.map { ["id": .string($0.id), "title": .string($0.title)] })
        if choices.count <= BotFlow.Choice.mostButtons { return ["buttons": items] }
        return ["list": ["button": .string(DeskWords.options(language)), "sections": [["rows": items]]]]
    }

    private func systemSays(_ text: String, _ id: ConversationID, _ turn: inout Turn) {
        guard sessions[id]?.conversation.isWindowOpen(at: turn.moment.now) == true else { return }
        append(MessageDraft(.outbound, from: .system, text: text), to: id, &turn)
    }

    /// What the bot said in a turn of its own and what has not left yet is not sent once the conversation is a person's.
    func isWithdrawn(_ message: Message, _ conversation: Conversation) -> Bool {
        guard message.authorKind == Author.bot.kind, message.content?.contains("\"turn_id\"") == true else { return false }
        if case .bot = conversation.state { return message.seq <= conversation.botStoppedSeq }
        return true
    }

    static func withdrawn(_ conversation: Conversation) -> Message.Failure {
        let what = conversation.isResolved ? "foi encerrada" : "passou para uma pessoa"
        return Message.Failure(code: "withdrawn", message: "A conversa \(what) antes do envio")
    }
}
