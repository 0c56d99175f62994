package import Kernel
package import Storage
package import Wire

/// One entry of a conversation: what a customer, the bot or an agent wrote, a private note, or something that happened.
package struct Message: Sendable, Equatable {
    package enum Direction: String, Sendable {
        case inbound = "in"
        case outbound = "out"
        /// Never leaves the desk.
        case `internal` = "internal"
    }

    /// What became of a message. For one going out the delivery statuses have a rank and only climb; `failed` stays, unless somebody has it sent again.
    package enum Status: String, Sendable {
        case received
        case recorded
        case queued
        case sending
        /// The connection was lost while sending. Nobody knows, and it is not sent again by itself.
        case unknown
        case sent
        case delivered
        case read
        case failed

        /// It is about to leave, or leaving.
        package var isOnItsWay: Bool { self == .queued || self == .sending }

        fileprivate var rank: Int {
            switch self {
            case .received, .recorded, .queued: 0
            case .sending: 1
            case .unknown: 2
            case .sent: 3
            case .delivered: 4
            case .read: 5
            case .failed: 6
            }
        }
    }

    package struct Failure: Sendable, Equatable {
        package let code: String
        package let message: String

        package init(code: String, message: String) {
            self.code = code
            self.message = message
        }
    }

    package let id: MessageID
    package let conversation: ConversationID
    package let seq: Int64
    package let kind: String
    package let direction: Direction
    package let authorKind: String
    package let authorID: UserID?
    package let authorName: String?
    package let text: String
    /// What a kind other than text carries, as JSON.
    package private(set) var content: String?
    package internal(set) var annotations = MessageAnnotations()
    package private(set) var status: Status
    package private(set) var failure: Failure?
    package let clientMessageID: String?
    /// The provider's id (`wamid.…`).
    package private(set) var externalID: String?
    package let replyTo: String?
    package let createdAt: Timestamp
    package let providerAt: Timestamp?
    package private(set) var version: Int64 = 0

    init(id: MessageID, conversation: ConversationID, seq: Int64, draft: MessageDraft, at time: Timestamp) {
        self.id = id
        self.conversation = conversation
        self.seq = seq
        kind = draft.kind
        direction = draft.direction
        authorKind = draft.author.kind
        if case .user(let user, let name) = draft.author {
            authorID = user
            authorName = name
        } else {
            authorID = nil
            authorName = draft.authorName
        }
        text = draft.text
        content = draft.content
        status =
            switch draft.direction {
            case .inbound: .received
            case .outbound: .queued
            case .internal: .recorded
            }
        clientMessageID = draft.clientMessageID
        externalID = draft.externalID
        replyTo = draft.replyTo
        createdAt = time
        providerAt = draft.providerAt
    }

    package init(_ row: Row) {
        var row = row
        let _: TenantID = row.id()
        conversation = row.id()
        seq = row.integer()
        id = row.id()
        kind = row.text()
        direction = Direction(rawValue: row.text()) ?? .internal
        authorKind = row.text()
        authorID = row.optionalID()
        authorName = row.optionalText()
        text = row.text()
        content = row.optionalText()
        status = Status(rawValue: row.text()) ?? .recorded
        let code = row.optionalText()
        let reason = row.optionalText()
        failure = code.map { Failure(code: $0, message: reason ?? "") }
        clientMessageID = row.optionalText()
        externalID = row.optionalText()
        replyTo = row.optionalText()
        createdAt = row.timestamp()
        providerAt = row.optionalTimestamp()
        annotations = row.optionalText().map(MessageAnnotations.init(json:)) ?? MessageAnnotations()
        version = row.integer()
    }

    mutating func image(tenant: TenantID) -> RowImage {
        version += 1
        return RowImage(
            ConversationTables.messages,
            version: version,
            values: [
                .id(tenant), .id(conversation), .integer(seq), .id(id), .text(kind), .text(direction.rawValue), .text(authorKind), .id(authorID),
                .optional(authorName), .text(text), content.map { .json($0) } ?? .null, .text(status.rawValue), .optional(failure?.code),
                .optional(failure?.message), .optional(clientMessageID), .optional(externalID), .optional(replyTo), .timestamp(createdAt),
                .optional(providerAt), annotations.json.map { .json($0) } ?? .null,
            ]
        )
    }

    // MARK: What became of it

    /// Takes in a report, in whatever order reports come.
    /// - Parameters:
    ///   - time: when, where that is known.
    ///   - isPlayed: what was read is a recording that was listened to.
    /// - Returns: whether anything changed. A lower rank than the present one changes nothing but when it was first heard of.
    package mutating func reported(
        _ status: Status,
        externalID: String?,
        failure: Failure? = nil,
        at time: Timestamp? = nil,
        isPlayed: Bool = false
    ) -> Bool {
        guard direction == .outbound else { return false }
        var changed = time.map { annotations.heard(status, isPlayed: isPlayed, at: $0) } ?? false
        if let externalID, self.externalID == nil {
            self.externalID = externalID
            changed = true
        }
        if status.rank > self.status.rank {
            self.status = status
            self.failure = status == .failed ? failure : nil
            changed = true
        }
        return changed
    }

    /// A transient refusal: it was certainly not sent, and waits for its next attempt.
    /// - Parameter failure: why, shown while it waits.
    package mutating func requeued(_ failure: Failure? = nil) -> Bool {
        guard status == .sending else { return false }
        status = .queued
        self.failure = failure
        return true
    }

    /// Somebody has it sent again, as if it had never been: what is heard from now on is of another attempt, with another id of the provider's.
    mutating func resent() {
        precondition(status == .failed || status == .unknown, "only what failed, or may have, is sent again")
        status = .queued
        failure = nil
        externalID = nil
        annotations.resends += 1
    }

    /// It was never given to a provider and never will be by itself; the desk knows what became of it in another way (an echo of the business's handset).
    mutating func wasSentElsewhere() { status = .sent }

    /// What its file has come to.
    mutating func carries(_ content: String) { self.content = content }

    // MARK: Wire

    /// Whether the customer of a web chat may see it: what never leaves the desk is not theirs.
    package var isForVisitor: Bool { direction != .internal }

    /// - Parameter audience: to a visitor, who wrote is a name, and what the provider said of it is nobody's business.
    package func write(to writer: inout JSONWriter, for audience: Audience = .staff) {
        let isWhole = audience == .staff
        writer.object {
            $0.field("id", id.description)
            $0.field("conversation_id", conversation.description)
            $0.field("seq", seq)
            $0.field("kind", kind)
            $0.field("direction", direction.rawValue)
            $0.field("author") { author in
                author.field("kind", authorKind)
                author.field("id", isWhole ? authorID?.description : nil)
                author.field("name", authorName)
            }
            $0.field("text", text)
            if let content { $0.field("content", raw: content) }
            annotations.write(to: &$0)
            $0.field("status", status.rawValue)
            if let failure, isWhole {
                $0.field("error") { error in
                    error.field("code", failure.code)
                    error.field("message", failure.message)
                }
            } else {
                $0.field("error", JSON.null)
            }
            $0.field("client_message_id", isWhole || direction == .inbound ? clientMessageID : nil)
            $0.field("external_id", isWhole ? externalID : nil)
            $0.field("reply_to", replyTo)
            $0.field("created_at", createdAt.description)
            $0.field("provider_timestamp", providerAt?.description)
            $0.field("version", version)
        }
    }

    package var json: [UInt8] { json(for: .staff) }

    package func json(for audience: Audience) -> [UInt8] {
        var writer = JSONWriter(capacity: 512)
        write(to: &writer, for: audience)
        return writer.bytes
    }
}

/// A message before it has its place in the conversation.
package struct MessageDraft: Sendable {
    package var kind = "text"
    package var direction: Message.Direction
    package var author: Author
    /// For authors who are not users.
    package var authorName: String?
    package var text: String
    package var content: String?
    package var clientMessageID: String?
    package var externalID: String?
    package var replyTo: String?
    package var providerAt: Timestamp?

    package init(_ direction: Message.Direction, from author: Author, text: String) {
        self.direction = direction
        self.author = author
        self.text = text
    }

    /// Something that happened, for the record.
    static func activity(_ text: String, by author: Author) -> MessageDraft {
        var draft = MessageDraft(.internal, from: author, text: text)
        draft.kind = "activity"
        return draft
    }
}
