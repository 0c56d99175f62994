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

/// The consultors who can take conversations, as the conversations ask for them.
///
/// Every call is synchronous, and is made on the executor that the tenant's live actors share: what is asked and what is decided upon the answer
/// are one turn. Each call that alters something returns the `Change`, which the caller commits together with its own.
package protocol AttendantPool: Sendable {
    /// Whose turn it is: active, online, linked to a user, speaking `language`, with capacity left, and idle for longest.
    /// - Parameter skipping: who comes last, having just missed the same offer.
    func nextAttendant(language: String, skipping: Int64?) -> Attendant?
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
    /// The consultor let an offer pass, by declining it or by silence. After two silences in a row they go offline.
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
