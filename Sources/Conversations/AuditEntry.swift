package import Kernel
package import Storage
package import Wire

/// One thing that happened at the desk: who did it, why, and what became of the conversation. What changes nothing leaves no entry.
package struct AuditEntry: Sendable, Equatable {
    package let seq: Int64
    package let conversation: ConversationID?
    package let actorKind: String
    package let actorID: UserID?
    package let actorName: String?
    /// A word: `claim`, `offer_expired`, `customer_wrote`, …
    package let cause: String
    package let from: String?
    package let to: String?
    package let fromConsultor: Int64?
    package let toConsultor: Int64?
    package let at: Timestamp

    init(
        seq: Int64,
        conversation: ConversationID?,
        by author: Author,
        cause: String,
        from: (name: String?, consultor: Int64?)? = nil,
        to: (name: String?, consultor: Int64?)? = nil,
        at: Timestamp
    ) {
        self.seq = seq
        self.conversation = conversation
        actorKind = author.kind
        if case .user(let id, let name) = author {
            actorID = id
            actorName = name
        } else {
            actorID = nil
            actorName = nil
        }
        self.cause = cause
        self.from = from?.name
        self.to = to?.name
        fromConsultor = from?.consultor
        toConsultor = to?.consultor
        self.at = at
    }

    package init(_ row: Row) {
        var row = row
        let _: TenantID = row.id()
        seq = row.integer()
        conversation = row.optionalID()
        actorKind = row.text()
        actorID = row.optionalID()
        actorName = row.optionalText()
        cause = row.text()
        from = row.optionalText()
        to = row.optionalText()
        fromConsultor = row.optionalInteger()
        toConsultor = row.optionalInteger()
        at = row.timestamp()
    }

    func image(tenant: TenantID) -> RowImage {
        RowImage(
            DeskTables.audit,
            version: 1,
            values: [
                .id(tenant), .integer(seq), .id(conversation), .text(actorKind), .id(actorID), .optional(actorName), .text(cause), .optional(from),
                .optional(to), .optional(fromConsultor), .optional(toConsultor), .timestamp(at),
            ]
        )
    }

    /// `{seq, conversation_id, actor: {kind, id, name}, cause, from, to, from_consultor_id, to_consultor_id, at}`
    package func write(to writer: inout JSONWriter) {
        writer.object {
            $0.field("seq", seq)
            $0.field("conversation_id", conversation?.description)
            $0.field("actor") { actor in
                actor.field("kind", actorKind)
                actor.field("id", actorID?.description)
                actor.field("name", actorName)
            }
            $0.field("cause", cause)
            $0.field("from", from)
            $0.field("to", to)
            $0.field("from_consultor_id", fromConsultor)
            $0.field("to_consultor_id", toConsultor)
            $0.field("at", at.description)
        }
    }
}

extension ConversationDesk {
    /// Notes what the turn has done, by its actor and for its cause.
    func audit(_ conversation: ConversationID?, from: Conversation.State? = nil, to: Conversation.State? = nil, _ turn: inout Turn) {
        audit(conversation, from.map { ($0.name, $0.consultor) }, to.map { ($0.name, $0.consultor) }, &turn)
    }

    /// What became of a consultor, which is nobody's conversation.
    func audit(consultor: Int64, from: String?, to: String?, _ turn: inout Turn) {
        audit(nil, (from, nil), (to, consultor), &turn)
    }

    private func audit(
        _ conversation: ConversationID?,
        _ from: (name: String?, consultor: Int64?)?,
        _ to: (name: String?, consultor: Int64?)?,
        _ turn: inout Turn
    ) {
        lastAudit += 1
        let entry = AuditEntry(seq: lastAudit, conversation: conversation, by: turn.actor, cause: turn.cause, from: from, to: to, at: turn.moment.now)
        turn.change.rows.append(entry.image(tenant: tenant))
    }
}
