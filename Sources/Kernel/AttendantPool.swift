/// A consultor as the conversations see one.
package struct Attendant: Sendable, Hashable {
    package let id: Int64
    package let user: UserID?
    package let name: String

    package init(id: Int64, user: UserID?, name: String) {
        self.id = id
        self.user = user
        self.name = name
    }
}

/// Who is looked for to attend a conversation.
package struct AttendantSearch: Sendable {
    package var language: String
    /// Who comes last, having just missed the same offer.
    package var skipping: Int64?
    /// Who attended this customer last: first of all under `preferred_first`.
    package var preferred: Int64?

    package init(language: String, skipping: Int64? = nil, preferred: Int64? = nil) {
        self.language = language
        self.skipping = skipping
        self.preferred = preferred
    }
}

/// How a business gives out conversations.
package struct AssignmentRules: Sendable, Equatable {
    package enum Policy: String, Sendable, CaseIterable {
        /// Whose last conversation began the longest ago.
        case longestIdle = "longest_idle"
        /// Who has the fewest now; of several, whoever is idle for longest.
        case leastLoaded = "least_loaded"
        /// Who attended this customer last, if they can; else whoever is idle for longest.
        case preferredFirst = "preferred_first"
    }

    package var policy = Policy.longestIdle
    /// After a conversation is resolved its consultor gets no offer for this long.
    package var wrapUp = Duration.zero
    /// Offers left unanswered in a row, after which a consultor is taken to be away.
    package var awayAfterMissed = 2

    package init() {}
}

/// How many there are for a language. Who speaks several counts for each a part (research/conversations.md §10.9).
package struct Staffing: Sendable, Equatable {
    package var online = 0
    /// Conversations that they can have at a time.
    package var seats = 0.0
    /// Those of the seats that are free now.
    package var free = 0

    package init() {}
}

/// The consultors who can take conversations, as the conversations ask for them.
///
/// Every call is synchronous, and is made on the executor that the tenant's live actors share: what is asked and what is decided upon the answer
/// are one turn. Each call that alters something returns the `Change`, which the caller commits together with its own.
package protocol AttendantPool: Sendable {
    /// Whose turn it is by the rules, among those who are active, online, linked to a user, speak the language, have capacity left and are not wrapping up.
    func nextAttendant(_ search: AttendantSearch, _ moment: Moment) -> Attendant?
    func staffing(language: String, _ moment: Moment) -> Staffing
    func isOnline(_ id: Int64) -> Bool
    /// Whether they can have one more.
    func hasRoom(_ id: Int64) -> Bool
    /// From now on these are the rules.
    func govern(_ rules: AssignmentRules)
    /// Everybody whose name may be mentioned.
    var attendants: [Attendant] { get }
    func attendant(_ id: Int64) -> Attendant?
    /// The consultor of a user who attends, made on the first occasion.
    func attendant(of principal: Principal, _ moment: Moment) -> (Attendant, Change)

    /// An offer was made: it takes up capacity until it is accepted, missed or withdrawn.
    func offered(_ conversation: ConversationID, to id: Int64, _ moment: Moment) -> Change
    /// The conversation is the consultor's now, whether they were offered it, claimed it or had it transferred to them.
    /// - Parameter countsAsTurn: whether they go to the end of the line for it. A transfer does not.
    func took(_ conversation: ConversationID, _ id: Int64, protocolo: Int64?, countsAsTurn: Bool, _ moment: Moment) -> Change
    /// The conversation is no longer the consultor's.
    func released(_ conversation: ConversationID, by id: Int64, _ moment: Moment) -> Change
    /// The conversation was resolved by or for the consultor who had it: released, and the wrap-up begins.
    func finished(_ conversation: ConversationID, by id: Int64, _ moment: Moment) -> Change
    /// When the next wrap-up ends.
    var nextWrapUpEnd: Timestamp? { get }
    /// Ends the wrap-ups whose time is over.
    func timePassed(_ moment: Moment) -> Change
    /// The consultor let an offer pass, by declining it or by silence. After so many silences in a row as the rules say they go offline.
    func missed(_ conversation: ConversationID, _ id: Int64, bySilence: Bool, _ moment: Moment) -> Change

    /// The next number of the tenant's gapless sequence.
    func issueProtocol(for conversation: ConversationID, _ moment: Moment) -> (number: Int64, Change)
    /// The conversation with that protocol is over: its consultor changes no more.
    func closed(protocolo: Int64)
}

/// `#00001`: at least five digits (contracts/consultores.md "Protocolo"), more when the number needs them.
package func protocolText(_ number: Int64) -> String {
    let digits = String(number)
    return "#" + String(repeating: "0", count: max(0, 5 - digits.count)) + digits
}
