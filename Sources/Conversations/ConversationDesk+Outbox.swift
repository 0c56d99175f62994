package import Kernel
import Wire

// A message on its way out (DESIGN §1, research/conversations.md §10.5). One job per message, one lane per conversation.
//
//     ready ──attemptBegan──▶ attempting ──▶ sent | failed | unknown: the job ends
//       ▲                         │
//       └───── to be retried ◀────┘ certainly not sent
//
// That an attempt has begun is on disk before the first byte goes out. A job found `attempting` after a crash was perhaps sent: its message becomes
// `unknown` and is not sent again, until a status with its id says more.

/// What a worker is to send.
package struct SendOrder: Sendable {
    package let message: MessageID
    package let toWaID: String?
    package let toBSUID: String?
    package let kind: String
    package let text: String
    /// What a kind other than text carries, as JSON.
    package let content: String?
    package let replyTo: String?
    /// The number of the business to send from; `nil` for its only one.
    package let phoneNumberID: String?

    package init(
        message: MessageID,
        toWaID: String?,
        toBSUID: String?,
        kind: String,
        text: String,
        content: String?,
        replyTo: String?,
        phoneNumberID: String?
    ) {
        self.message = message
        self.toWaID = toWaID
        self.toBSUID = toBSUID
        self.kind = kind
        self.text = text
        self.content = content
        self.replyTo = replyTo
        self.phoneNumberID = phoneNumberID
    }
}

/// How an attempt ended.
package enum SendResult: Sendable {
    /// - Parameter waID: the number as the provider writes it.
    case sent(externalID: String, waID: String? = nil)
    case refused(Message.Failure)
    /// Certainly not sent; to be tried again, not before `after`, unless it was the last attempt.
    case again(after: Duration?, Message.Failure)
    /// Certainly not sent, and for no reason of its own: nothing gets through now. To be tried again for as long as it may be sent at all.
    case held(after: Duration?, Message.Failure)
    /// Certainly not sent: the account is stopped until a person does something about it. The message waits for that.
    case stopped(after: Duration, Message.Failure)
    case unknown
}

/// A delivery status, as a provider reported it.
package struct StatusReport: Sendable {
    package let externalID: String
    /// The id that we gave along, when the provider gives it back.
    package let message: MessageID?
    package let status: Message.Status
    package let failure: Message.Failure?
    /// When it happened, by the provider's clock.
    package let at: Timestamp?
    /// What was read is a recording that was listened to.
    package let isPlayed: Bool

    package init(
        externalID: String,
        message: MessageID?,
        status: Message.Status,
        failure: Message.Failure?,
        at: Timestamp? = nil,
        isPlayed: Bool = false
    ) {
        self.externalID = externalID
        self.message = message
        self.status = status
        self.failure = failure
        self.at = at
        self.isPlayed = isPlayed
    }
}

extension ConversationDesk {
    package static let sendJobKind = "whatsapp.send"
    /// With the pauses between them, about an hour.
    package static let maxAttempts = 12

    /// 1, 4, 16, 64, 256 seconds, then ten minutes (research/conversations.md §5.6).
    static func pause(afterAttempt attempt: Int) -> Duration { .seconds(attempt > 5 ? 600 : 1 << (2 * (max(attempt, 1) - 1))) }

    package static func message(of job: Job) -> MessageID? { (try? JSON.parse(job.payload))?["message_id"]?.string.flatMap { MessageID($0) } }

    package static func conversation(of job: Job) -> ConversationID? {
        (try? JSON.parse(job.payload))?["conversation_id"]?.string.flatMap { ConversationID($0) }
    }

    /// What a job is about: `conversation(of:)` and `message(of:)` read it.
    static func jobPayload(_ message: Message) -> String {
        var writer = JSONWriter()
        writer.object {
            $0.field("conversation_id", message.conversation.description)
            $0.field("message_id", message.id.description)
        }
        return String(decoding: writer.bytes, as: UTF8.self)
    }

    func sendJob(_ message: Message, _ moment: Moment) -> Job {
        Job(
            id: moment.id(),
            tenant: tenant,
            kind: Self.sendJobKind,
            lane: message.conversation.description,
            order: message.seq,
            runAt: moment.now,
            payload: Self.jobPayload(message)
        )
    }

    package enum Attempt: Sendable {
        case send(SendOrder, Job)
        /// There is nothing to send after all, and the job is over.
        case ended
        /// Something is not in memory that must be brought in first.
        case missing
    }

    package enum AttemptEnd: Sendable {
        case ended
        case again(Job)
        case missing
    }

    /// An attempt is about to begin.
    package func attemptBegan(_ job: Job, _ moment: Moment) -> (Attempt, Change) {
        var turn = Turn(moment)
        guard let id = Self.message(of: job), Self.conversation(of: job) != nil else {
            turn.change.endedJobs.append(job)
            return (.ended, finish(turn))
        }
        guard var message = messages[id], let conversation = sessions[message.conversation]?.conversation,
            let contact = contacts[conversation.contact]
        else { return (.missing, Change()) }
        guard message.status == .queued else {
            turn.change.endedJobs.append(job)
            return (.ended, finish(turn))
        }
        if message.annotations.resends == 0, isWithdrawn(message, conversation) {
            _ = message.reported(.failed, externalID: nil, failure: Self.withdrawn(conversation))
            update(message, &turn)
            turn.change.endedJobs.append(job)
            return (.ended, finish(turn))
        }
        guard message.kind == Outgoing.template || conversation.isWindowOpen(at: moment.now) else {
            let failure = Message.Failure(code: "131047", message: "A janela de 24 horas fechou antes do envio")
            _ = message.reported(.failed, externalID: nil, failure: failure)
            update(message, &turn)
            turn.change.endedJobs.append(job)
            return (.ended, finish(turn))
        }
        if let until = pause(of: conversation.contact, for: message.kind, message.content, at: moment.now) {
            let failure = Message.Failure(code: "131049", message: "O WhatsApp não entrega mais modelos de marketing a este contato até \(until)")
            _ = message.reported(.failed, externalID: nil, failure: failure)
            update(message, &turn)
            turn.change.endedJobs.append(job)
            return (.ended, finish(turn))
        }
        var job = job
        job.state = .attempting
        job.attempts += 1
        turn.change.jobs.append(job)
        _ = message.reported(.sending, externalID: nil)
        update(message, &turn)
        let order = SendOrder(
            message: id,
            toWaID: contact.number,
            toBSUID: contact.userID,
            kind: message.kind,
            text: message.text,
            content: message.content,
            replyTo: message.replyTo,
            phoneNumberID: conversation.phoneNumberID
        )
        return (.send(order, job), finish(turn))
    }

    /// An attempt has ended.
    package func attemptEnded(_ job: Job, _ result: SendResult, _ moment: Moment) -> (AttemptEnd, Change) {
        guard let id = Self.message(of: job), var message = messages[id] else { return (.missing, Change()) }
        var turn = Turn(moment)
        var next: Job?
        switch result {
        case .sent(let externalID, let waID):
            var isNews = message.reported(.sent, externalID: externalID, at: moment.now)
            // Statuses may have been quicker than the answer that says whose they are.
            for early in earlyReports.take(externalID) where message.takes(early, moment) { isNews = true }
            if isNews { update(message, &turn) }
            learn(waID, of: message.conversation, &turn)
        case .refused(let failure):
            if message.reported(.failed, externalID: nil, failure: failure) { update(message, &turn) }
            wasRefused(message, failure, &turn)
        case .unknown: if message.reported(.unknown, externalID: nil) { update(message, &turn) }
        case .again(let after, let failure):
            if job.attempts - Self.heldAttempts(of: job) >= Self.maxAttempts {
                if message.reported(.failed, externalID: nil, failure: failure) { update(message, &turn) }
            } else {
                if message.requeued(failure) { update(message, &turn) }
                var again = job
                again.state = .ready
                again.runAt = moment.now + max(after ?? .zero, Self.pause(afterAttempt: job.attempts))
                turn.change.jobs.append(again)
                next = again
            }
        case .held(let after, let failure):
            // A number that is too fast is slowed as a whole (`NumberPace`): its messages are not, each for itself.
            let own: Duration = failure.code == "130429" ? .zero : min(Self.pause(afterAttempt: job.attempts), Self.longestHold)
            let pause = max(after ?? .zero, own)
            next = hold(job, &message, failure, for: pause, &turn)
        case .stopped(let after, let failure): next = hold(job, &message, failure, for: after, &turn)
        }
        if let next { return (.again(next), finish(turn)) }
        turn.change.endedJobs.append(job)
        return (.ended, finish(turn))
    }

    /// A provider told what became of a message. Reports come in any order, more than once, and before our own answer; only news has an effect.
    /// - Precondition: the message is in memory, or there is none.
    package func reported(_ report: StatusReport, _ moment: Moment) -> Change {
        guard let id = report.message.flatMap({ messages[$0] == nil ? nil : $0 }) ?? messagesByExternalID[report.externalID],
            var message = messages[id]
        else {
            earlyReports.put(report)
            return Change()
        }
        if report.status == .failed, message.annotations.resends > 0, message.externalID != report.externalID {
            // Of an attempt before the last, or of the last one whose answer is still on its way: that says which.
            if message.externalID == nil, message.status == .sending { earlyReports.put(report) }
            return Change()
        }
        var turn = Turn(moment)
        let before = message.status
        if message.takes(report, moment) {
            update(message, &turn)
            if let failure = report.failure, message.status != before { wasRefused(message, failure, &turn) }
            if report.status == .delivered || report.status == .read, let conversation = sessions[message.conversation]?.conversation {
                change(conversation.contact, &turn) { $0.unreachableSince = nil }
            }
        }
        return finish(turn)
    }

    /// WhatsApp writes some numbers in another way than it lets us write them; later messages may come from either.
    private func learn(_ waID: String?, of conversation: ConversationID, _ turn: inout Turn) {
        guard let waID, let id = sessions[conversation]?.conversation.contact, let contact = contacts[id], contact.waID != waID,
            contactsByWaID[waID] ?? id == id
        else { return }
        change(id, &turn) { $0.answeredWaID = waID }
    }

    /// The conversation of a message that is in memory.
    package func conversation(of message: MessageID) -> ConversationID? { messages[message]?.conversation }
    package func message(externalID: String) -> MessageID? { messagesByExternalID[externalID] }

    /// The number that a job's message is to go out from; `nil` for the business's only one, or when it is not in memory.
    package func phoneNumberID(of job: Job) -> String? { Self.conversation(of: job).flatMap { sessions[$0]?.conversation.phoneNumberID } }

    func update(_ message: Message, _ turn: inout Turn) {
        var message = message
        turn.change.rows.append(message.image(tenant: tenant))
        keep(message)
        lingeringMessages.touch(message.id, at: turn.moment.now)
        tell("message.changed", message, &turn.change)
    }
}

extension Message {
    /// - Returns: whether that is news.
    mutating func takes(_ report: StatusReport, _ moment: Moment) -> Bool {
        reported(
            report.status,
            externalID: report.externalID,
            failure: report.failure,
            at: min(report.at ?? moment.now, moment.now),
            isPlayed: report.isPlayed
        )
    }
}
