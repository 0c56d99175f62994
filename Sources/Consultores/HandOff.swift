package import Kernel
package import Wire

/// A conversation has come to a consultor whom Pipedrive knows: what is to be told there (`pipedrive.handoff`).
package struct HandOff: Sendable, Equatable {
    package static let jobKind = "pipedrive.handoff"

    package let conversation: ConversationID
    package let consultor: Int64
    /// The consultor's `id_pipedrive`: a Pipedrive user's id.
    package let owner: Int64
    package let protocolo: Int64?

    init(conversation: ConversationID, consultor: Int64, owner: Int64, protocolo: Int64?) {
        self.conversation = conversation
        self.consultor = consultor
        self.owner = owner
        self.protocolo = protocolo
    }

    package init?(_ job: Job) {
        guard let json = try? JSON.parse(job.payload), let conversation = json["conversation_id"]?.string.flatMap({ ConversationID($0) }),
            let consultor = json["consultor_id"]?.int, let owner = json["owner_id"]?.int
        else { return nil }
        self.init(conversation: conversation, consultor: consultor, owner: owner, protocolo: json["protocolo"]?.int)
    }

    /// All that a business has to tell goes one after the other: Pipedrive's limits are an account's.
    package static func lane(_ tenant: TenantID) -> String { "pipedrive:\(tenant)" }

    func job(_ tenant: TenantID, _ moment: Moment) -> Job {
        var writer = JSONWriter()
        writer.object {
            $0.field("conversation_id", conversation.description)
            $0.field("consultor_id", consultor)
            $0.field("owner_id", owner)
            $0.field("protocolo", protocolo)
        }
        return Job(
            id: moment.id(),
            tenant: tenant,
            kind: Self.jobKind,
            lane: Self.lane(tenant),
            order: moment.now.milliseconds,
            runAt: moment.now,
            payload: String(decoding: writer.bytes, as: UTF8.self)
        )
    }
}
