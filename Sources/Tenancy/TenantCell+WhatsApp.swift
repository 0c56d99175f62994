package import Conversations
package import Kernel
package import Storage

extension TenantCell {
    package func mediaOrder(_ job: Job) -> MediaOrder? { desk.assumeIsolated { $0.mediaOrder(job) } }

    package func mediaEnded(_ job: Job, _ result: MediaResult) -> Pending<Job?> {
        let moment = environment.moment()
        return onDesk { $0.mediaEnded(job, result, moment) }
    }

    /// `nil` when it is not in memory.
    package func message(_ id: MessageID) -> Pending<Message?> { onDesk { ($0.message(id), Change()) } }

    package func lastInbound(_ id: ConversationID) -> (externalID: String, phoneNumberID: String?)? { desk.assumeIsolated { $0.lastInbound(id) } }
}
