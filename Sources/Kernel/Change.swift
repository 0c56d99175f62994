/// Everything one turn of a live actor decided, as values: what subscribers are told, the rows as they now are, and the work that follows.
/// It is committed whole or not at all (DESIGN §1).
package struct Change: Sendable {
    package var events: [Event] = []
    package var rows: [RowImage] = []
    package var jobs: [Job] = []
    /// Carried out, or given up: no longer stored.
    package var endedJobs: [Job] = []
    package var marks: [Mark] = []
    /// Counted once it is on disk.
    package var facts: [Fact] = []

    package init() {}

    /// Nothing to write: the gate lets it pass as soon as everything before it is on disk.
    package var isDurablyEmpty: Bool { rows.isEmpty && jobs.isEmpty && endedJobs.isEmpty && marks.isEmpty }

    package mutating func append(_ other: Change) {
        events += other.events
        rows += other.rows
        jobs += other.jobs
        endedJobs += other.endedJobs
        marks += other.marks
        facts += other.facts
    }
}

/// Something that is counted. Not stored, and nothing follows from it.
package enum Fact: Sendable, Equatable {
    case conversationBegan(channel: String)
    /// `from` is `nil` for one that began just now.
    case conversationMoved(from: String?, to: String)
    case conversationResolved(after: Duration)
    /// A business has too many messages waiting: these of a queue are dead from the beginning.
    case messagesFoundNoRoom(tenant: TenantID, queue: String, count: Int)
}

/// Who a stream is for. A channel that both may look at is two streams, each with its own publications, positions and presence: what is not a visitor's never
/// enters the stream that they read.
package enum Audience: Sendable, Hashable {
    /// Those who work for the business.
    case staff
    /// The customer of a web chat.
    case visitor
}

/// One publication on a stream of the tenant.
package struct Event: Sendable, Equatable {
    /// The channel as clients name it: `conversations`, `conversation:<id>`, …
    package let channel: String
    /// A JSON object: `{"type": …, …}`.
    package let payload: [UInt8]
    package let audience: Audience

    package init(channel: String, payload: [UInt8], audience: Audience = .staff) {
        self.channel = channel
        self.payload = payload
        self.audience = audience
    }
}

/// A durable intention (the transactional outbox): stored with the change that caused it, carried out after the gate.
package struct Job: Sendable, Equatable {
    package enum State: String, Sendable {
        /// To be carried out at `runAt`.
        case ready
        /// An attempt has begun whose outcome is not known. Found like this after a crash, the outcome stays unknown.
        case attempting
    }

    package let id: JobID
    package let tenant: TenantID
    /// Which worker carries it out: `whatsapp.send`, `tenant.wake`, …
    package let kind: String
    /// Jobs of one lane are carried out one at a time, by `order`.
    package let lane: String
    package let order: Int64
    package var state: State
    package var attempts: Int
    package var runAt: Timestamp
    /// JSON, in the worker's own shape.
    package let payload: String

    package init(
        id: JobID,
        tenant: TenantID,
        kind: String,
        lane: String,
        order: Int64,
        state: State = .ready,
        attempts: Int = 0,
        runAt: Timestamp,
        payload: String
    ) {
        self.id = id
        self.tenant = tenant
        self.kind = kind
        self.lane = lane
        self.order = order
        self.state = state
        self.attempts = attempts
        self.runAt = runAt
        self.payload = payload
    }
}

/// The memory that a command was carried out: committed together with its effects, so that a repetition can be told from the first time.
package struct Mark: Sendable, Hashable {
    /// What the key is unique within: `wamid`, or an endpoint's name and user for an idempotency key.
    package struct Key: Sendable, Hashable {
        package let tenant: TenantID
        package let scope: String
        package let key: String

        package init(tenant: TenantID, scope: String, key: String) {
            self.tenant = tenant
            self.scope = scope
            self.key = key
        }
    }

    package let key: Key
    package let at: Timestamp
    /// What the first time answered, to be answered again.
    package let result: String

    package init(_ key: Key, at: Timestamp, result: String = "") {
        self.key = key
        self.at = at
        self.result = result
    }
}
