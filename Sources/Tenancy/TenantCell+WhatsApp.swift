package import Conversations
package import Kernel
package import Storage

extension TenantCell {
    package func mediaOrder(_ job: Job) -> MediaOrder? { desk.assumeIsolated { $0.mediaOrder(job) } }

    package func mediaEnded(_ job: Job, _ result: MediaResult) -> Pending<Job?> {
        let moment = environment.moment()
        return onDesk { $0.mediaEnded(job, result, moment) }
    }

    package func phoneNumberID(of job: Job) -> String? { desk.assumeIsolated { $0.phoneNumberID(of: job) } }
    /// The conversation of the message that a status is about, if the message is in memory.
    package func conversation(of report: StatusReport) -> ConversationID? {
        desk.assumeIsolated { desk in (report.message ?? desk.message(externalID: report.externalID)).flatMap { desk.conversation(of: $0) } }
    }

    /// `nil` when it is not in memory.
    package func message(_ id: MessageID) -> Pending<Message?> { onDesk { ($0.message(id), Change()) } }

    package func lastInbound(_ id: ConversationID) -> (externalID: String, phoneNumberID: String?)? { desk.assumeIsolated { $0.lastInbound(id) } }

    package func place(of waIDs: [String]) -> (contact: ContactID, open: ConversationID?)? { desk.assumeIsolated { $0.place(of: waIDs) } }

    package func told(_ told: ToldByWhatsApp, in id: ConversationID) -> Pending<Void> {
        let moment = environment.moment()
        return onDesk { ((), $0.told(told, in: id, moment)) }
    }

    package func window(to waIDs: [String], at now: Timestamp) -> (isOpen: Bool, phoneNumberID: String?)? {
        desk.assumeIsolated { $0.window(to: waIDs, at: now) }
    }
}
