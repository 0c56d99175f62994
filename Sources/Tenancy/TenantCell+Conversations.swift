import Consultores
package import Conversations
import Jobs
package import Kernel
import Notifications
package import Storage
package import Wire

extension TenantCell {
    // MARK: Conversations

    package func received(_ message: CustomerMessage, seenBefore: Bool) -> Pending<ConversationDesk.Reception> {
        let moment = environment.moment()
        let (notices, queues, theirs) = (clientNotices, queues, appointments(reachedBy: .whatsapp, moment))
        return onDesk { desk throws(Refusal) in
            var (reception, change) = try desk.received(message, seenBefore: seenBefore, moment)
            if reception != .duplicate { change.append(Self.heed(message, notices, queues, theirs: theirs, moment)) }
            return (reception, change)
        }
    }

    package func reported(_ report: StatusReport) -> Pending<Void> {
        let moment = environment.moment()
        return onDesk { ((), $0.reported(report, moment)) }
    }

    package func perform(
        _ command: AgentCommand,
        on id: ConversationID,
        by principal: Principal,
        earlier: String?,
        among people: [Person] = []
    ) -> Pending<ConversationDesk.Answer> {
        let moment = environment.moment()
        return onDesk { desk throws(Refusal) in try desk.perform(command, on: id, by: principal, earlier: earlier, among: people, moment) }
    }

    /// Not stored, and so told at once.
    package func typing(_ isTyping: Bool, on id: ConversationID, by principal: Principal) throws(Refusal) -> [Event] {
        try desk.assumeIsolated { desk -> Result<[Event], Refusal> in
            do throws(Refusal) { return .success(try desk.typing(isTyping, on: id, by: principal)) } catch { return .failure(error) }
        }.get()
    }

    package func conversation(_ id: ConversationID) -> Pending<[UInt8]> {
        onDesk { desk throws(Refusal) in
            guard let json = desk.json(id) else { throw .notFound(.conversation) }
            return (json, Change())
        }
    }

    package func visited(name: String) -> Pending<Visit> {
        let moment = environment.moment()
        return onDesk { ($0.visited(name: name, moment), Change()) }
    }

    package func returned(_ visit: Visit) -> Pending<Visit> {
        let moment = environment.moment()
        return onDesk { desk throws(Refusal) in (try desk.returned(visit, moment), Change()) }
    }

    package func visitorWrote(_ text: String, clientMessageID: String, on visit: Visit, earlier: String?) -> Pending<ConversationDesk.Answer> {
        let moment = environment.moment()
        return onDesk { desk throws(Refusal) in
            try desk.visitorWrote(text, clientMessageID: clientMessageID, on: visit, earlier: earlier, moment)
        }
    }

    package func visitorRead(_ visit: Visit) -> Pending<[UInt8]> {
        let moment = environment.moment()
        return onDesk { desk throws(Refusal) in try desk.visitorRead(visit, moment) }
    }

    package func conversation(of visit: Visit) -> Pending<[UInt8]> {
        onDesk { desk throws(Refusal) in (try desk.visitorJSON(visit), Change()) }
    }

    /// A JSON array of conversations that were read from the store, with the names of those who have them.
    package func json(_ conversations: [Conversation]) -> Pending<[UInt8]> {
        let queue = queue
        return onDesk { _ in
            var writer = JSONWriter(capacity: 1024 * conversations.count)
            writer.array { for conversation in conversations { conversation.write(to: &$0, attendant: queue.attendant) } }
            return (writer.bytes, Change())
        }
    }

    package func attemptBegan(_ job: Job) -> Pending<ConversationDesk.Attempt> {
        let moment = environment.moment()
        return onDesk { $0.attemptBegan(job, moment) }
    }

    package func attemptEnded(_ job: Job, _ result: SendResult) -> Pending<ConversationDesk.AttemptEnd> {
        let moment = environment.moment()
        return onDesk { $0.attemptEnded(job, result, moment) }
    }

    // MARK: What a CRM is told, and tells

    package func customer(of id: ConversationID) -> ConversationCustomer? { desk.assumeIsolated { $0.customer(of: id) } }
    package func hasContact(_ id: ContactID) -> Bool { desk.assumeIsolated { $0.hasContact(id) } }

    /// - Parameter change: what belongs to it, such as the end of the job that brought it.
    package func named(_ contact: ContactID, _ name: String, with change: Change) -> Pending<Void> {
        let moment = environment.moment()
        return onDesk { desk in
            var change = change
            change.append(desk.named(contact, name, moment))
            return ((), change)
        }
    }

    /// Writes down what came of a job that no live state depends on.
    package func noted(_ change: Change) -> Pending<Void> { settle(.success(((), change))) }

    // MARK: How the desk is run

    package func deskSettings() -> Pending<[UInt8]> { onDesk { ($0.deskSettings.json, Change()) } }

    package func changeDeskSettings(_ json: JSON?, by principal: Principal) -> Pending<[UInt8]> {
        let moment = environment.moment()
        return onDesk { desk throws(Refusal) in
            let (settings, change) = desk.govern(try desk.deskSettings.changed(by: json), by: principal, moment)
            return (settings.json, change)
        }
    }

    package func cannedReplies() -> Pending<[CannedReply]> { onDesk { ($0.cannedReplies, Change()) } }
    package func cannedReply(_ id: CannedReplyID) -> Pending<CannedReply> {
        onDesk { desk throws(Refusal) in (try desk.cannedReply(id), Change()) }
    }

    package func putCannedReply(_ id: CannedReplyID?, shortcut: String?, text: String?, by principal: Principal) -> Pending<CannedReply> {
        let moment = environment.moment()
        return onDesk { desk throws(Refusal) in try desk.putCannedReply(id, shortcut: shortcut, text: text, by: principal, moment) }
    }

    package func removeCannedReply(_ id: CannedReplyID, by principal: Principal) -> Pending<Void> {
        let moment = environment.moment()
        return onDesk { desk throws(Refusal) in ((), try desk.removeCannedReply(id, by: principal, moment)) }
    }

    // MARK: What is not in memory

    package func knows(_ id: ConversationID) -> Bool { desk.assumeIsolated { $0.knows(id) } }
    package func has(_ id: ConversationID) -> Bool { desk.assumeIsolated { $0.has(id) } }
    package func hasMessage(_ id: MessageID) -> Bool { desk.assumeIsolated { $0.hasMessage(id) } }
    package func hasMessage(externalID: String) -> Bool { desk.assumeIsolated { $0.hasMessage(externalID: externalID) } }
    package func missing(_ identities: [ContactIdentity]) -> [ContactIdentity] { desk.assumeIsolated { $0.missing(identities) } }
    package func strangers(_ identities: [ContactIdentity]) -> [ContactIdentity] { desk.assumeIsolated { $0.strangers(identities) } }
    package func adopt(_ loaded: ConversationDesk.Loaded) {
        let moment = environment.moment()
        desk.assumeIsolated { $0.adopt(loaded, moment) }
    }
    package func adopt(_ contacts: [Contact]) {
        let moment = environment.moment()
        desk.assumeIsolated { $0.adopt(contacts, moment) }
    }
    package func adopt(_ message: Message) {
        let moment = environment.moment()
        desk.assumeIsolated { $0.adopt(message, moment) }
    }

    /// Whether the tenant may be put to sleep: nobody waits for anybody.
    package var isQuiet: Bool { desk.assumeIsolated { $0.isQuiet } }
}
