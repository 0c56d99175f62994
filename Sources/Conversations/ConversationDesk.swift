package import Kernel
import Wire

/// The live conversations of one tenant: every open session, the people they are with, and the line of those who wait.
///
/// Shares the tenant's executor with the `ConsultorQueue`, which it asks through `AttendantPool` within its own turn. Each command is one synchronous
/// turn: it alters the state in memory and answers with the `Change` that the caller hands to the gate in the same turn. No method here awaits.
///
/// What is in memory: all conversations that are not resolved with their last messages, and, for ten minutes after they were last touched, others that
/// somebody asked for (`Lingering`). What is not is read from the store beforehand and handed in by `adopt`.
package actor ConversationDesk {
    package struct Settings: Sendable {
        /// How long a consultor has to accept an offer.
        package var offerTimeout = Duration.seconds(30)
        package var defaultLanguage = "pt"
        /// Open conversations in one tenant's memory, at the most. Past it the first message of a new one is refused with 503.
        package var maxOpenConversations = 50_000
        /// How long the bot waits for a customer to finish writing.
        package var burst = Burst.Settings()
        /// How long an assistant may take, after which the flow answers alone.
        package var consultationTimeout = Duration.seconds(45)
        /// Whether there is an assistant that would answer now.
        package var canConsult: @Sendable (TenantID) -> Bool = { _ in false }

        package init() {}
    }

    struct Session: Sendable {
        var conversation: Conversation
        /// The last messages, oldest first.
        var recent: [MessageID]
        /// As it was last stored; `nil` for one that never was.
        var storedState: String?

        /// What the bot has not answered yet.
        var burst: Burst?
        /// The bot's turn under way.
        var consultation: Consultation?

        init(conversation: Conversation, recent: [MessageID] = [], burst: Burst? = nil) {
            self.conversation = conversation
            self.recent = recent
            self.burst = burst
            storedState = conversation.version == 0 ? nil : conversation.state.name
        }
    }

    /// One turn under way: its time, whose it is and why, what it has decided so far, and which conversations it has altered.
    struct Turn {
        let moment: Moment
        var actor: Author
        var cause: String
        var change = Change()
        var altered: [ConversationID] = []
        /// Consultores of whose work something has changed.
        var touched: Set<Int64> = []

        init(_ moment: Moment, by actor: Author = .system, cause: String = "system") {
            self.moment = moment
            self.actor = actor
            self.cause = cause
        }
    }

    package static let recentMessages = 50
    static let lingers = Duration.seconds(600)

    private let executor: any _Concurrency.Actor
    let tenant: TenantID
    let pool: any AttendantPool
    /// The flow of a business that has none of its own.
    let flow: BotFlow
    var flows: [Int64: FlowVersion] = [:]
    var activeFlow: FlowVersion?
    var lastFlowNumber: Int64 = 0
    let settings: Settings

    var sessions: [ConversationID: Session] = [:]
    var messages: [MessageID: Message] = [:]
    var messagesByExternalID: [String: MessageID] = [:]
    var contacts: [ContactID: Contact] = [:]
    var contactsByWaID: [String: ContactID] = [:]
    var contactsByBSUID: [String: ContactID] = [:]
    /// Numbers and ids of the contacts that the store may have.
    var filter = KeyFilter()
    /// Ids that stand in the rows of contacts that were merged into others.
    var mergedIDs: Set<String> = []
    var openByContact: [ContactID: ConversationID] = [:]
    var line = WaitingLine()
    /// Those in line whom nobody has on offer.
    var unoffered = WaitingLine()
    /// The numbers as subscribers know them.
    var toldCounts = DeskCounts(waiting: 0, waitingSince: nil, open: 0)
    var marks: [Mark.Key: String] = [:]
    var deadlines = Deadlines()
    /// When the bot has something to do.
    var botDeadlines = Deadlines()
    var begunConsultations: [ConsultationRequest] = []
    var cancelledConsultations: [(BotTurnID, ConversationID)] = []

    /// What a provider told of messages that nobody here knows yet: our own answer may still be on its way.
    var earlyReports = EarlyReports()
    /// How the business runs its desk.
    var rules: DeskSettings
    var lastAudit: Int64
    var outlook = QueueOutlook()
    var canned: [CannedReplyID: CannedReply] = [:]
    var inbox = Inbox()
    /// Who was asked how it was, and has not said it yet.
    var askedForSatisfaction: [ContactID: ConversationID] = [:]

    /// Web chats that were opened and have not begun.
    var awaited: Set<ConversationID> = []

    var lingeringVisits = Lingering<ConversationID>()
    var lingeringSessions = Lingering<ConversationID>()
    var lingeringContacts = Lingering<ContactID>()
    var lingeringMessages = Lingering<MessageID>()
    var lingeringMarks = Lingering<Mark.Key>()

    package nonisolated var unownedExecutor: UnownedSerialExecutor { executor.unownedExecutor }

    package init(
        executor: any _Concurrency.Actor,
        tenant: TenantID,
        pool: any AttendantPool,
        flow: BotFlow,
        settings: Settings,
        loaded: Loaded
    ) {
        self.executor = executor
        self.tenant = tenant
        self.pool = pool
        self.flow = flow
        self.settings = settings
        rules = loaded.rules
        lastAudit = loaded.lastAudit
        canned = Dictionary(uniqueKeysWithValues: loaded.canned.map { ($0.id, $0) })
        inbox = Inbox(mentions: loaded.mentions)
        for contact in loaded.contacts where contact.mergedInto == nil { Self.index(contact, &contacts, &contactsByWaID, &contactsByBSUID) }
        for message in loaded.messages { messages[message.id] = message }
        let recent = Dictionary(grouping: loaded.messages, by: \.conversation)
        for conversation in loaded.conversations {
            let recent = (recent[conversation.id] ?? []).sorted { $0.seq < $1.seq }
            sessions[conversation.id] = Session(
                conversation: conversation,
                recent: recent.map(\.id),
                burst: Self.burst(of: conversation, recent)
            )
        }
        for version in loaded.flows {
            flows[version.number] = version
            if version.isActive { activeFlow = version }
            lastFlowNumber = max(lastFlowNumber, version.number)
        }
        for message in loaded.messages { if let id = message.externalID { messagesByExternalID[id] = message.id } }
        for conversation in loaded.conversations {
            if !conversation.isResolved { openByContact[conversation.contact] = conversation.id }
            if conversation.satisfaction?.until != nil { askedForSatisfaction[conversation.contact] = conversation.id }
            if let assignee = conversation.assignee { inbox.assign(conversation.id, to: assignee) }
            if let since = conversation.waitingSince {
                let place = WaitingLine.Place(since: since, protocolo: conversation.protocolo ?? 0, conversation: conversation.id)
                line.enter(place)
                if conversation.offer == nil { unoffered.enter(place, language: conversation.language) }
            }
            deadlines.set(conversation.id, at: Self.nextLook(conversation, rules, missed: nil))
            var own = activeFlow?.flow ?? flow
            if let number = conversation.bot.flow { own = flows[number]?.flow ?? flow }
            if let session = sessions[conversation.id], let at = Self.botDeadline(session, own, loaded.rules, settings) {
                botDeadlines.set(conversation.id, at: at)
            }
        }
        let unread = sessions.mapValues(\.conversation.unread)
        for (consultor, work) in inbox.work { inbox.told[consultor] = Inbox.Unread(work.lazy.compactMap { unread[$0] }) }
        toldCounts = DeskCounts(waiting: line.places.count, waitingSince: line.places.first?.since, open: openByContact.count)
    }

    // MARK: The end of a turn

    /// Offers what can be offered, writes the rows of what was altered and tells of it.
    func finish(_ turn: consuming Turn) -> Change {
        var turn = turn
        dispatch(&turn)
        for id in turn.altered { store(id, &turn) }
        if turn.change.events.contains(where: { $0.channel == "queue" || $0.channel == "consultores" }) { outlook.isStale = true }
        tellEstimates(&turn)
        tellCounts(&turn.change)
        tellWork(&turn)
        sweep(turn.moment.now)
        return turn.change
    }

    func alter<T, Failure: Error>(
        _ id: ConversationID,
        _ turn: inout Turn,
        _ body: (inout Conversation) throws(Failure) -> T
    ) throws(Failure) -> T {
        guard sessions[id] != nil else { preconditionFailure("conversation \(id) was not adopted before it was altered") }
        let before = sessions[id]!.conversation.state
        let result = try body(&sessions[id]!.conversation)
        let after = sessions[id]!.conversation.state
        if before != after {
            if before.name != after.name || before.consultor != after.consultor { sessions[id]!.conversation.stateSince = turn.moment.now }
            audit(id, from: before, to: after, &turn)
        }
        if !turn.altered.contains(id) { turn.altered.append(id) }
        return result
    }

    private func store(_ id: ConversationID, _ turn: inout Turn) {
        guard var conversation = sessions[id]?.conversation else { return }
        note(conversation, &turn)
        turn.change.rows.append(conversation.image(tenant: tenant))
        sessions[id]?.conversation = conversation
        count(conversation, &turn.change)

        let json = json(conversation)
        var writer = JSONWriter(capacity: json.count + 64)
        writer.object {
            $0.field("type", "conversation.changed")
            $0.field("conversation", raw: json)
        }
        turn.change.events.append(Event(channel: "conversation:\(id)", payload: writer.bytes))
        turn.change.events.append(Event(channel: "conversations", payload: writer.bytes))
        if conversation.isWebChat { turn.change.events.append(visitorsEvent(of: conversation)) }

        if let since = conversation.waitingSince {
            line.enter(.init(since: since, protocolo: conversation.protocolo ?? 0, conversation: id))
            turn.change.events.append(
                event("queue", "queue.changed") { event in event.field("entry") { self.writeEntry(conversation, &$0) } }
            )
        } else if line.leave(id) {
            turn.change.events.append(event("queue", "queue.left") { $0.field("conversation_id", id.description) })
        }

        look(at: conversation)
        noteBot(id)
        if conversation.isResolved {
            if conversation.satisfaction?.until != nil {
                askedForSatisfaction[conversation.contact] = id
            } else if askedForSatisfaction[conversation.contact] == id {
                askedForSatisfaction[conversation.contact] = nil
            }
            if openByContact[conversation.contact] == id { openByContact[conversation.contact] = nil }
            if let protocolo = conversation.protocolo { pool.closed(protocolo: protocolo) }
        } else {
            openByContact[conversation.contact] = id
            askedForSatisfaction[conversation.contact] = nil
        }
    }

    private func count(_ conversation: Conversation, _ change: inout Change) {
        let (before, now) = (sessions[conversation.id]?.storedState, conversation.state.name)
        guard before != now else { return }
        sessions[conversation.id]?.storedState = now
        change.facts.append(.conversationMoved(from: before, to: now))
        if before == nil { change.facts.append(.conversationBegan(channel: conversation.channel)) }
        if case .resolved(let at) = conversation.state { change.facts.append(.conversationResolved(after: at - conversation.createdAt)) }
    }

    /// Offers waiting conversations, first come first served, to whoever's turn it is. Runs at the end of every turn, for every turn may have
    /// brought somebody in line or freed somebody: there is no sweep to wait for.
    private func dispatch(_ turn: inout Turn) {
        for id in turn.altered {
            guard let conversation = sessions[id]?.conversation, let since = conversation.waitingSince else {
                unoffered.leave(id)
                continue
            }
            let place = WaitingLine.Place(since: since, protocolo: conversation.protocolo ?? 0, conversation: id)
            line.enter(place)
            if conversation.offer == nil { unoffered.enter(place, language: conversation.language) } else { unoffered.leave(id) }
        }
        let moment = turn.moment
        let (actor, cause) = (turn.actor, turn.cause)
        (turn.actor, turn.cause) = (.system, "offer")
        defer { (turn.actor, turn.cause) = (actor, cause) }
        var languagesWithoutAnybody: Set<String> = []
        for place in unoffered.places {
            // Once nobody is left for any of the languages, nobody further back finds anybody either.
            if languagesWithoutAnybody.count >= unoffered.languages.count { break }
            guard let conversation = sessions[place.conversation]?.conversation, !languagesWithoutAnybody.contains(conversation.language)
            else { continue }
            let missed = lastMissed[place.conversation]
            let search = AttendantSearch(
                language: conversation.language,
                skipping: missed?.consultor,
                preferred: contacts[conversation.contact]?.lastConsultor
            )
            guard let attendant = pool.nextAttendant(search, moment) else {
                languagesWithoutAnybody.insert(conversation.language)
                continue
            }
            // Who said no is not asked the same again at once, not even when there is nobody else.
            if let missed, missed.consultor == attendant.id, moment.now < missed.notBefore { continue }
            unoffered.leave(place.conversation)
            turn.change.append(pool.offered(place.conversation, to: attendant.id, moment))
            alter(place.conversation, &turn) { $0.offered(to: attendant.id, until: moment.now + offerTimeout, moment) }
        }
    }

    /// Who missed a conversation last: they are asked again only when there is nobody else, and not before that time.
    struct Missed: Sendable {
        let consultor: Int64
        let notBefore: Timestamp
        /// They said no, rather than nothing.
        let isRefusal: Bool
    }
    var lastMissed: [ConversationID: Missed] = [:]

    private func sweep(_ now: Timestamp) {
        let past = now - Self.lingers
        for id in lingeringSessions.expired(before: past) {
            guard let session = sessions[id], session.conversation.isResolved, session.conversation.satisfaction?.until == nil else { continue }
            sessions[id] = nil
            lastMissed[id] = nil
            for message in session.recent { lingeringMessages.touch(message, at: now) }
            if openByContact[session.conversation.contact] == nil { lingeringContacts.touch(session.conversation.contact, at: now) }
        }
        for id in lingeringMessages.expired(before: past) where !isRecent(id) { forget(id) }
        let expired = lingeringContacts.expired(before: past).filter { openByContact[$0] == nil }
        // A contact stays as long as one of its conversations does.
        let needed = expired.isEmpty ? [] : Set(sessions.values.map(\.conversation.contact))
        for id in expired {
            if needed.contains(id) {
                lingeringContacts.touch(id, at: now)
                continue
            }
            guard let contact = contacts.removeValue(forKey: id) else { continue }
            Self.unindex(contact, &contactsByWaID, &contactsByBSUID)
        }
        for key in lingeringMarks.expired(before: past) { marks[key] = nil }
        for id in lingeringVisits.expired(before: past) { awaited.remove(id) }
    }

    private func isRecent(_ id: MessageID) -> Bool {
        guard let message = messages[id] else { return false }
        return sessions[message.conversation]?.recent.contains(id) ?? false
    }

    private func forget(_ id: MessageID) {
        if let externalID = messages.removeValue(forKey: id)?.externalID { messagesByExternalID[externalID] = nil }
    }

    // MARK: Messages

    /// Puts a message at the end of a conversation, and hands it to the outbox when it goes out.
    @discardableResult
    func append(_ draft: MessageDraft, to id: ConversationID, wasSentElsewhere: Bool = false, _ turn: inout Turn) -> Message {
        let moment = turn.moment
        var message = alter(id, &turn) { $0.appended(draft, moment) }
        if wasSentElsewhere {
            message.wasSentElsewhere()
        } else if message.direction == .outbound {
            // In a web chat the stream that tells of the message is its delivery.
            if sessions[id]?.conversation.isWebChat == true {
                _ = message.reported(.sent, externalID: nil)
            } else {
                turn.change.jobs.append(sendJob(message, turn.moment))
            }
        }
        turn.change.rows.append(message.image(tenant: tenant))
        keep(message)
        lingeringMessages.touch(message.id, at: turn.moment.now)
        sessions[id]?.recent.append(message.id)
        if let count = sessions[id]?.recent.count, count > Self.recentMessages, let oldest = sessions[id]?.recent.removeFirst() {
            lingeringMessages.touch(oldest, at: moment.now)
        }
        tell("message.created", message, &turn.change)
        return message
    }

    func record(_ text: String, by author: Author, _ id: ConversationID, _ turn: inout Turn) { append(.activity(text, by: author), to: id, &turn) }

    func keep(_ message: Message) {
        messages[message.id] = message
        if let externalID = message.externalID { messagesByExternalID[externalID] = message.id }
    }

    func tell(_ type: String, _ message: Message, _ change: inout Change) {
        change.events.append(
            event("conversation:\(message.conversation)", type) { event in
                event.key("message")
                message.write(to: &event)
            }
        )
        if let told = visitorsEvent(type, message) { change.events.append(told) }
    }

    func event(_ channel: String, _ type: String, for audience: Audience = .staff, _ fields: (inout JSONWriter) -> Void) -> Event {
        var writer = JSONWriter(capacity: 512)
        writer.object {
            $0.field("type", type)
            fields(&$0)
        }
        return Event(channel: channel, payload: writer.bytes, audience: audience)
    }

    // MARK: Names and shapes

    func name(_ consultor: Int64) -> String { pool.attendant(consultor)?.name ?? "Consultor \(consultor)" }

    func json(_ conversation: Conversation) -> [UInt8] {
        var writer = JSONWriter(capacity: 1024)
        conversation.write(to: &writer, attendant: pool.attendant)
        return writer.bytes
    }

    static func index(
        _ contact: Contact,
        _ contacts: inout [ContactID: Contact],
        _ byWaID: inout [String: ContactID],
        _ byBSUID: inout [String: ContactID]
    ) {
        if let before = contacts[contact.id] { unindex(before, &byWaID, &byBSUID) }
        contacts[contact.id] = contact
        // An id of their own is theirs, whoever else was once known by it.
        for waID in contact.waIDs where waID == contact.waID || byWaID[waID] == nil { byWaID[waID] = contact.id }
        for bsuid in contact.bsuids where bsuid == contact.bsuid || byBSUID[bsuid] == nil { byBSUID[bsuid] = contact.id }
    }

    static func unindex(_ contact: Contact, _ byWaID: inout [String: ContactID], _ byBSUID: inout [String: ContactID]) {
        for waID in contact.waIDs where byWaID[waID] == contact.id { byWaID[waID] = nil }
        for bsuid in contact.bsuids where byBSUID[bsuid] == contact.id { byBSUID[bsuid] = nil }
    }

    func index(_ contact: Contact) {
        Self.index(contact, &contacts, &contactsByWaID, &contactsByBSUID)
        addToFilter(contact)
    }
}
