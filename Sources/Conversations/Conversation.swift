package import Kernel

// The machine of one conversation's life (DESIGN §8):
//
//     bot ──handOff──▶ queued ──offered──▶ offered ──claimed──▶ active ──resolved──▶ resolved
//      ▲                 ▲                   │ declined, expired   │  ▲                │
//      │                 └───────────────────┘                     │  │ woke           │ reopened
//      └──────────────── returnedToBot ────────────────────────────┤  snoozed          ▼
//                                                                  └──▶ snoozed      active
//
// `claimed` also comes straight from `bot` and `queued`. `transferred` goes from active to active; `requeued` from active or snoozed back to queued, at the place
// that the customer had. A customer's message wakes a snoozed one. A bot's or an idle conversation is `resolved` by time as well.
//
// Exactly one owner at any time: bot | queue | consultor | none (`Owner`), a function of the state.
//
// Invariants
// 1. An illegal input is refused with a sentence and changes nothing.
// 2. `lastSeq` numbers messages without gaps; `version` only grows.
// 3. Queueing time is kept through offers, and through attendances that end in the line again: who waited longest stays first.
// 4. `owedSince` is the customer's first word that no person has answered, from the moment a person was asked for.

package struct Conversation: Sendable, Equatable {
    package struct Offer: Sendable, Equatable {
        package let consultor: Int64
        package let expiresAt: Timestamp
    }

    package enum State: Sendable, Equatable {
        case bot
        case queued(since: Timestamp)
        case offered(Offer, since: Timestamp)
        case active(consultor: Int64)
        case snoozed(consultor: Int64, until: Timestamp)
        case resolved(at: Timestamp)

        /// Who has it or is offered it.
        package var consultor: Int64? {
            switch self {
            case .active(let consultor), .snoozed(let consultor, _): consultor
            case .offered(let offer, _): offer.consultor
            case .bot, .queued, .resolved: nil
            }
        }

        package var name: String {
            switch self {
            case .bot: "bot"
            case .queued: "queued"
            case .offered: "offered"
            case .active: "active"
            case .snoozed: "snoozed"
            case .resolved: "resolved"
            }
        }
    }

    /// What the customer said of an attendance once it was over.
    package struct Satisfaction: Sendable, Equatable {
        package let askedAt: Timestamp
        /// Until then a number is taken for the answer; `nil` once it came or is no longer waited for.
        package internal(set) var until: Timestamp?
        /// 1 to 5.
        package internal(set) var score: Int?
        package internal(set) var answeredAt: Timestamp?
    }

    package enum Owner: String, Sendable { case bot, queue, consultor, none }

    /// Who and what is needed beside the state to show the last message in a list.
    package struct LastMessage: Sendable, Equatable {
        package let id: MessageID
        package let seq: Int64
        package let kind: String
        package let direction: Message.Direction
        package let text: String
        package let at: Timestamp
    }

    package let id: ConversationID
    package internal(set) var contact: ContactID
    package internal(set) var contactName: String
    package internal(set) var contactNumber: String?
    /// See `Contact`.
    package internal(set) var contactUnreachableSince: Timestamp?
    package internal(set) var contactPausedUntil: Timestamp?
    /// The number of the business that the customer wrote to last, as Meta names it: what answers go out from. `nil` where there is only one.
    package internal(set) var phoneNumberID: String?
    package let channel: String
    package internal(set) var state: State = .bot
    package internal(set) var protocolo: Int64?
    package internal(set) var language: String
    package internal(set) var bot = BotFlow.Position()
    /// The last message of the customer that the bot has answered.
    package internal(set) var botAnsweredSeq: Int64 = 0
    /// Whether the customer was told that the line takes longer than it should.
    package internal(set) var isLateTold = false
    /// When it came into the line last.
    package internal(set) var inLineSince: Timestamp?
    /// The last message of before the bot was last interrupted: what it said up to there is not said any more.
    package internal(set) var botStoppedSeq: Int64 = 0
    /// The business began it, on its own telephone: when the customer answers, a person is to go on.
    package internal(set) var isHandsets = false
    package internal(set) var unread = 0
    package internal(set) var labels: [String] = []
    package internal(set) var windowExpiresAt: Timestamp?
    package internal(set) var lastSeq: Int64 = 0
    package internal(set) var lastMessage: LastMessage?
    package let createdAt: Timestamp
    package internal(set) var updatedAt: Timestamp
    package internal(set) var version: Int64 = 0
    /// Since when it is in its state, and with whom it is.
    package internal(set) var stateSince: Timestamp
    /// Since when a person is asked for; what its place in line goes by.
    package internal(set) var askedAt: Timestamp?
    package internal(set) var firstAnsweredAt: Timestamp?
    package internal(set) var owedSince: Timestamp?
    package internal(set) var levels = ServiceLevels()
    package internal(set) var satisfaction: Satisfaction?

    /// How long after a customer's last message WhatsApp lets a business write freely.
    package static let window = Duration.seconds(24 * 3600)

    package init(id: ConversationID, contact: Contact, channel: String, language: String, at time: Timestamp) {
        self.id = id
        self.contact = contact.id
        contactName = contact.name
        contactNumber = contact.number
        contactUnreachableSince = contact.unreachableSince
        contactPausedUntil = contact.templatesPausedUntil
        self.channel = channel
        self.language = language
        createdAt = time
        updatedAt = time
        stateSince = time
    }

    /// What of its contact is shown with it.
    mutating func shows(_ contact: Contact) {
        self.contact = contact.id
        contactName = contact.name
        contactNumber = contact.number
        contactUnreachableSince = contact.unreachableSince
        contactPausedUntil = contact.templatesPausedUntil
    }

    /// For loading.
    init(
        id: ConversationID,
        contact: ContactID,
        contactName: String,
        contactNumber: String?,
        channel: String,
        language: String,
        createdAt: Timestamp,
        updatedAt: Timestamp
    ) {
        self.id = id
        self.contact = contact
        self.contactName = contactName
        self.contactNumber = contactNumber
        self.channel = channel
        self.language = language
        self.createdAt = createdAt
        self.updatedAt = updatedAt
        stateSince = updatedAt
    }

    // MARK: What it is

    package var owner: Owner {
        switch state {
        case .bot: .bot
        case .queued, .offered: .queue
        case .active, .snoozed: .consultor
        case .resolved: .none
        }
    }

    package var isResolved: Bool { if case .resolved = state { true } else { false } }

    /// The consultor who has it. One who was only offered it does not.
    package var assignee: Int64? {
        switch state {
        case .active(let consultor), .snoozed(let consultor, _): consultor
        default: nil
        }
    }

    package var offer: Offer? { if case .offered(let offer, _) = state { offer } else { nil } }

    /// Since when it waits for a person.
    package var waitingSince: Timestamp? {
        switch state {
        case .queued(let since), .offered(_, let since): since
        default: nil
        }
    }

    /// Whether the customer is reached through our own streams: nobody else's window and no outbox are in between.
    package var isWebChat: Bool { channel == Self.webChannel }
    package static let webChannel = "web"

    package func isWindowOpen(at time: Timestamp) -> Bool { isWebChat || windowExpiresAt.map { time < $0 } ?? false }

    // MARK: What happened

    /// Gives the next message its number, and shows it as the last one unless it is a mere record.
    mutating func appended(_ draft: MessageDraft, _ moment: Moment) -> Message {
        lastSeq += 1
        let message = Message(id: moment.id(), conversation: id, seq: lastSeq, draft: draft, at: moment.now)
        if message.kind != "activity" {
            lastMessage = LastMessage(
                id: message.id,
                seq: message.seq,
                kind: message.kind,
                direction: message.direction,
                text: String(String.UnicodeScalarView(message.text.unicodeScalars.prefix(160))),
                at: moment.now
            )
        }
        updatedAt = moment.now
        return message
    }

    /// What a message of the customer's is.
    enum Word: Sendable {
        /// Something that wants an answer.
        case said
        /// A reaction: WhatsApp's window counts from it too, and nothing is owed for it.
        case reacted
        /// Changed or taken back, or told by WhatsApp about its customer.
        case noted
    }

    /// - Parameter providerTime: when the customer sent it, which the 24 hours count from.
    /// - Returns: whether a snoozed conversation woke by it.
    mutating func customerWrote(_ word: Word = .said, providerTime: Timestamp, _ moment: Moment) -> Bool {
        precondition(!isResolved, "a resolved conversation takes no more messages from its customer; they begin a new one")
        updatedAt = moment.now
        if word == .noted { return false }
        let expires = min(providerTime, moment.now) + Self.window
        if !isWebChat { windowExpiresAt = windowExpiresAt.map { max($0, expires) } ?? expires }
        if word == .reacted { return false }
        unread += 1
        if askedAt != nil, owedSince == nil { owedSince = moment.now }
        if case .snoozed(let consultor, _) = state {
            state = .active(consultor: consultor)
            return true
        }
        return false
    }

    /// The bot, or the customer's word, asked for a person.
    mutating func handedOff(protocolo: Int64, _ moment: Moment) {
        guard case .bot = state else { preconditionFailure("only a conversation of the bot is handed off, not one that is \(state.name)") }
        self.protocolo = protocolo
        botStopped()
        cameIntoLine(moment)
        asked(moment)
        state = .queued(since: askedAt ?? moment.now)
        updatedAt = moment.now
    }

    /// WhatsApp says that it takes nothing but templates for this customer now.
    mutating func windowClosed(_ moment: Moment) {
        guard isWindowOpen(at: moment.now) else { return }
        windowExpiresAt = moment.now
        updatedAt = moment.now
    }

    private mutating func cameIntoLine(_ moment: Moment) {
        isLateTold = false
        inLineSince = moment.now
    }

    private mutating func botStopped() {
        botStoppedSeq = lastSeq
        isHandsets = false
    }

    /// An attendance by people begins, unless one has begun.
    private mutating func asked(_ moment: Moment) {
        guard askedAt == nil else { return }
        askedAt = moment.now
        firstAnsweredAt = nil
        owedSince = moment.now
    }

    /// A person wrote to the customer.
    mutating func answered(_ moment: Moment) {
        if firstAnsweredAt == nil { firstAnsweredAt = moment.now }
        owedSince = nil
        levels.met(.firstAnswer)
        levels.met(.nextAnswer)
    }

    mutating func offered(to consultor: Int64, until: Timestamp, _ moment: Moment) {
        guard case .queued(let since) = state else { preconditionFailure("only a waiting conversation is offered, not one that is \(state.name)") }
        state = .offered(Offer(consultor: consultor, expiresAt: until), since: since)
        updatedAt = moment.now
    }

    /// The offer was declined, or its time ran out.
    mutating func offerEnded(_ moment: Moment) {
        guard case .offered(_, let since) = state else { preconditionFailure("only an offer ends, not a conversation that is \(state.name)") }
        state = .queued(since: since)
        updatedAt = moment.now
    }

    enum Claim: Equatable {
        /// It was theirs before.
        case already
        /// It is theirs now; `withdrawn` is whom it was on offer to, if to somebody else.
        case taken(withdrawn: Int64?)
    }

    mutating func claimed(by consultor: Int64, takenBy: (Int64) -> String, _ moment: Moment) throws(Refusal) -> Claim {
        switch state {
        case .active(let present), .snoozed(let present, _):
            if present == consultor { return .already }
            throw Self.taken(by: present, name: takenBy(present))
        case .resolved: throw Refusal(.conflict, "conversation_resolved", "A conversa já foi encerrada; reabra-a para atender.")
        case .bot, .queued:
            if case .bot = state { botStopped() }
            asked(moment)
            state = .active(consultor: consultor)
            updatedAt = moment.now
            return .taken(withdrawn: nil)
        case .offered(let offer, _):
            state = .active(consultor: consultor)
            updatedAt = moment.now
            return .taken(withdrawn: offer.consultor == consultor ? nil : offer.consultor)
        }
    }

    /// - Returns: who had it.
    mutating func transferred(to consultor: Int64, _ moment: Moment) throws(Refusal) -> Int64 {
        let present = try requireAssignee()
        state = .active(consultor: consultor)
        updatedAt = moment.now
        return present
    }

    /// Back to the line, to the place it would have had all the time.
    /// - Returns: who had it.
    mutating func requeued(language: String?, _ moment: Moment) throws(Refusal) -> Int64 {
        let present = try requireAssignee()
        if let language { self.language = language }
        cameIntoLine(moment)
        state = .queued(since: askedAt ?? moment.now)
        updatedAt = moment.now
        return present
    }

    /// - Returns: who had it or was offered it.
    mutating func returnedToBot(_ moment: Moment) throws(Refusal) -> Int64? {
        guard !isResolved else { throw Self.alreadyResolved }
        let present = assignee ?? offer?.consultor
        state = .bot
        bot = BotFlow.Position()
        // What was written to people is not the bot's to answer.
        botAnsweredSeq = lastSeq
        attendanceEnded()
        updatedAt = moment.now
        return present
    }

    /// - Returns: who had it or was offered it, and `nil` for changed when it was resolved before.
    mutating func resolved(_ moment: Moment) -> (changed: Bool, released: Int64?) {
        guard !isResolved else { return (false, nil) }
        let present = assignee ?? offer?.consultor
        if case .bot = state { botStopped() }
        state = .resolved(at: moment.now)
        unread = 0
        attendanceEnded()
        updatedAt = moment.now
        return (true, present)
    }

    private mutating func attendanceEnded() {
        askedAt = nil
        owedSince = nil
        levels.ended()
    }

    mutating func reopened(by consultor: Int64, _ moment: Moment) throws(Refusal) {
        guard isResolved else { throw Refusal(.conflict, "conversation_open", "A conversa não está encerrada.") }
        askedAt = moment.now
        satisfaction?.until = nil
        state = .active(consultor: consultor)
        updatedAt = moment.now
    }

    mutating func snoozed(until: Timestamp, _ moment: Moment) throws(Refusal) {
        guard until > moment.now else { throw .invalid("until", message: "deve ser uma data no futuro") }
        guard until < moment.now + .seconds(366 * 24 * 3600) else { throw .invalid("until", message: "deve ser dentro de um ano") }
        let present = try requireAssignee()
        state = .snoozed(consultor: present, until: until)
        updatedAt = moment.now
    }

    /// - Returns: whether it woke: an alarm set before the snooze was changed is late and does nothing.
    mutating func snoozeEnded(_ moment: Moment) -> Bool {
        guard case .snoozed(let consultor, let until) = state, until <= moment.now else { return false }
        state = .active(consultor: consultor)
        updatedAt = moment.now
        return true
    }

    mutating func read(_ moment: Moment) -> Bool {
        guard unread > 0 else { return false }
        unread = 0
        return true
    }

    mutating func labelled(_ labels: [String], _ moment: Moment) -> Bool {
        guard labels != self.labels else { return false }
        self.labels = labels
        updatedAt = moment.now
        return true
    }

    /// What an agent does to a conversation that they have, and an administrator to anybody's.
    func requireAssignee() throws(Refusal) -> Int64 {
        switch state {
        case .active(let consultor), .snoozed(let consultor, _): return consultor
        case .resolved: throw Self.alreadyResolved
        case .bot, .queued, .offered:
            throw Refusal(.conflict, "conversation_unassigned", "A conversa ainda não está com ninguém; assuma-a primeiro.")
        }
    }

    /// Somebody else has it, and whoever asked is told who.
    static func taken(by consultor: Int64, name: String) -> Refusal {
        Refusal(.conflict, "conversation_taken", "A conversa está com \(name).", facts: ["assignee": name, "assignee_id": String(consultor)])
    }

    static let alreadyResolved = Refusal(.conflict, "conversation_resolved", "A conversa já foi encerrada.")
}
