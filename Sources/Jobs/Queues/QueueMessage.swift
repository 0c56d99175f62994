package import Kernel
package import Storage
package import Wire

package enum QueueMessageKind {}
package typealias QueueMessageID = Identifier<QueueMessageKind>
package enum LeaseKind {}
/// Names one claim of one message: who has another may not say what became of it.
package typealias LeaseToken = Identifier<LeaseKind>

/// A message of a queue, as its row has it.
package struct QueueMessage: Sendable, Equatable {
    package enum State: String, Sendable, CaseIterable {
        /// To be sent at `runAt`. Once that has come it is shown as `available`, which is derived and not stored.
        case scheduled
        /// The same, after an attempt that failed.
        case retryable
        /// A worker looks at it; nothing has been handed over.
        case claimed
        /// It is being handed over to a provider. Whoever finds it so after a crash cannot know whether it was sent.
        case sending
        case sent
        /// Called off before it was handed over.
        case cancelled
        /// Not wanted any more: too late, changed since.
        case dropped
        /// Failed for good, until a person says otherwise.
        case dead
        /// It may have been sent, or it has brought workers down: not tried again by itself.
        case quarantined
        /// Over and put away: only the key is left, so that it is not taken a second time.
        case forgotten

        package var isWaiting: Bool { self == .scheduled || self == .retryable }
        package var isHeld: Bool { self == .claimed || self == .sending }
        /// Not over.
        package var isOpen: Bool { isWaiting || isHeld }
        /// It was not sent, and will not be.
        var isUnsent: Bool { self == .cancelled || self == .dropped || self == .dead }
        /// Waits for a person.
        package var isFailed: Bool { self == .dead || self == .quarantined }
    }

    package struct Lease: Sendable, Equatable {
        package var until: Timestamp
        package let token: LeaseToken
    }

    package struct Failure: Sendable, Equatable {
        package let at: Timestamp
        package let attempt: Int
        package let outcome: String
        package let reason: String
    }

    package let id: QueueMessageID
    /// What is to be sent; its `runAt` is that of the next attempt.
    package var content: OutgoingMessage
    package var state: State = .scheduled
    /// Hand-overs begun. One that was only put off does not count.
    package var attempt = 0
    /// Workers lost over it.
    package var crashCount = 0
    package var lease: Lease?
    /// The latest, oldest first.
    package private(set) var errors: [Failure] = []
    package var providerID: String?
    /// Why it ended as it did.
    package var why: String?
    package let createdAt: Timestamp
    package var finishedAt: Timestamp?
    /// When its being handed over was counted in the plan; `nil` once that was given back.
    package var chargedAt: Timestamp?
    package var version: Int64 = 0

    static let maxErrors = 10
    /// Why it ended that no rule asks for any longer, and that is as if it had never been once one does.
    static let withdrawn = "withdrawn: nenhuma regra pede mais esta mensagem"
    package var isWithdrawn: Bool { state == .cancelled && why == Self.withdrawn }
    static let maxReason = 500

    package init(id: QueueMessageID, _ content: OutgoingMessage, at now: Timestamp) {
        self.id = id
        self.content = content
        createdAt = now
    }

    mutating func note(_ outcome: String, _ reason: String, at now: Timestamp) {
        errors.append(Failure(at: now, attempt: attempt, outcome: outcome, reason: String(reason.prefix(Self.maxReason))))
        if errors.count > Self.maxErrors { errors.removeFirst(errors.count - Self.maxErrors) }
    }

    /// As if nothing had been tried yet.
    mutating func begin() {
        state = .scheduled
        (attempt, crashCount, finishedAt, why, providerID) = (0, 0, nil, nil, nil)
    }

    /// What is left of one that is put away: nobody's number, nobody's words.
    mutating func scrub() {
        why = state.isUnsent ? Self.unsent : nil
        state = .forgotten
        content.recipient = ""
        content.payload = ""
        content.subject = nil
        errors = []
        providerID = nil
    }

    /// What is left of why one that is put away was not sent.
    package static let unsent = "unsent"
    /// Of one that is being handed over, so that it is known after a crash.
    static let toBeForgotten = "to_be_forgotten"

    // MARK: As a row

    package init(_ row: Row) {
        var row = row
        let _: TenantID = row.id()
        id = row.id()
        let queue = QueueName(rawValue: row.text()) ?? .whatsapp
        let channel = OutgoingMessage.Channel(rawValue: row.text()) ?? .whatsapp
        let recipient = row.text()
        let (key, subject) = (row.optionalText(), row.optionalText())
        state = State(rawValue: row.text()) ?? .forgotten
        let priority = Int(row.integer())
        let (runAt, expiresAt) = (row.timestamp(), row.optionalTimestamp())
        attempt = Int(row.integer())
        let maxAttempts = Int(row.integer())
        crashCount = Int(row.integer())
        let (until, token): (Timestamp?, LeaseToken?) = (row.optionalTimestamp(), row.optionalID())
        if let until, let token { lease = Lease(until: until, token: token) }
        content = OutgoingMessage(queue: queue, channel: channel, recipient: recipient, runAt: runAt, payload: row.text())
        content.key = key
        content.subject = subject
        content.priority = priority
        content.expiresAt = expiresAt
        content.maxAttempts = maxAttempts
        errors = Self.failures(row.text())
        providerID = row.optionalText()
        why = row.optionalText()
        createdAt = row.timestamp()
        finishedAt = row.optionalTimestamp()
        chargedAt = row.optionalTimestamp()
        version = row.integer()
    }

    private static func failures(_ text: String) -> [Failure] {
        ((try? JSON.parse(text))?.array ?? []).compactMap { json in
            guard let at = json["at"]?.string.flatMap({ Timestamp(rfc3339: $0) }), let outcome = json["outcome"]?.string else { return nil }
            return Failure(at: at, attempt: Int(json["attempt"]?.int ?? 0), outcome: outcome, reason: json["reason"]?.string ?? "")
        }
    }

    func image(of tenant: TenantID) -> RowImage {
        var errors = JSONWriter()
        write(errorsTo: &errors)
        return RowImage(
            QueueTables.messages,
            version: version,
            values: [
                .id(tenant), .id(id), .text(content.queue.rawValue), .text(content.channel.rawValue), .text(content.recipient),
                .optional(content.key), .optional(content.subject), .text(state.rawValue), .integer(Int64(content.priority)),
                .timestamp(content.runAt), .optional(content.expiresAt), .integer(Int64(attempt)), .integer(Int64(content.maxAttempts)),
                .integer(Int64(crashCount)), .optional(lease?.until), .id(lease?.token), .text(content.payload),
                .json(String(decoding: errors.bytes, as: UTF8.self)), .optional(providerID), .optional(why), .timestamp(createdAt),
                .optional(finishedAt), .optional(chargedAt),
            ]
        )
    }

    // MARK: As JSON

    private func write(errorsTo writer: inout JSONWriter) {
        writer.array { list in
            for failure in errors {
                list.object {
                    $0.field("at", failure.at.description)
                    $0.field("attempt", failure.attempt)
                    $0.field("outcome", failure.outcome)
                    $0.field("reason", failure.reason)
                }
            }
        }
    }

    /// The state as people are shown it: what waits and is due is `available`.
    package func shownState(at now: Timestamp) -> String { state.isWaiting && content.runAt <= now ? "available" : state.rawValue }

    /// How much of a message somebody is shown.
    package enum Detail: Sendable {
        /// How it stands; whom it goes to is masked, wherever it is said.
        case masked
        case whole
        /// Also what is in it, as it was given.
        case withPayload
    }

    package func write(to writer: inout JSONWriter, at now: Timestamp, _ detail: Detail) {
        // A provider's words may name the recipient.
        if detail == .masked { return masked().write(to: &writer, at: now, .whole) }
        writer.object {
            $0.field("id", id.description)
            $0.field("queue", content.queue.rawValue)
            $0.field("channel", content.channel.rawValue)
            $0.field("recipient", content.recipient)
            $0.field("state", shownState(at: now))
            $0.field("key", content.key)
            $0.field("subject", content.subject)
            $0.field("priority", content.priority)
            $0.field("run_at", content.runAt.description)
            $0.field("expires_at", content.expiresAt?.description)
            $0.field("attempts", attempt)
            $0.field("max_attempts", content.maxAttempts)
            $0.field("crash_count", crashCount)
            $0.field("reason", why)
            $0.field("provider_id", providerID)
            $0.field("created_at", createdAt.description)
            $0.field("finished_at", finishedAt?.description)
            $0.key("errors")
            write(errorsTo: &$0)
            if detail == .withPayload { $0.field("payload", (try? JSON.parse(content.payload)) ?? .string(content.payload)) }
        }
    }

    private func masked() -> QueueMessage {
        var masked = self
        let (recipient, mask) = (content.recipient, content.maskedRecipient)
        guard !recipient.isEmpty else { return self }
        masked.content.recipient = mask
        masked.why = why?.replacing(recipient, with: mask)
        masked.errors = errors.map {
            Failure(at: $0.at, attempt: $0.attempt, outcome: $0.outcome, reason: $0.reason.replacing(recipient, with: mask))
        }
        return masked
    }

    package func json(at now: Timestamp, _ detail: Detail) -> [UInt8] {
        var writer = JSONWriter(capacity: 1024)
        write(to: &writer, at: now, detail)
        return writer.bytes
    }
}
