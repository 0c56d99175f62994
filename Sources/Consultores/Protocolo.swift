package import Kernel
package import Storage
package import Wire

/// A numbered attendance (contracts/consultores.md "Protocolo"). The number is the id, and is never given twice.
package struct Protocolo: Sendable, Equatable {
    package let id: Int64
    package var consultor: Int64?
    package let conversation: ConversationID?
    package let createdAt: Timestamp
    package var observacao: String?
    package var updatedAt: Timestamp?
    package var version: Int64 = 0

    package var numero: String { protocolText(id) }

    init(id: Int64, consultor: Int64?, conversation: ConversationID?, createdAt: Timestamp) {
        self.id = id
        self.consultor = consultor
        self.conversation = conversation
        self.createdAt = createdAt
    }

    package init(_ row: Row) {
        var row = row
        let _: TenantID = row.id()
        id = row.integer()
        _ = row.text()
        consultor = row.optionalInteger()
        conversation = row.optionalID()
        createdAt = row.timestamp()
        observacao = row.optionalText()
        updatedAt = row.optionalTimestamp()
        version = row.integer()
    }

    mutating func image(tenant: TenantID) -> RowImage {
        version += 1
        return RowImage(
            ConsultorTables.protocolos,
            version: version,
            values: [
                .id(tenant), .integer(id), .text(numero), .optional(consultor), .id(conversation), .timestamp(createdAt), .optional(observacao),
                .optional(updatedAt),
            ]
        )
    }

    /// The contract's object, with `conversation_id`, `observacao` and `updated_at` beside its fields.
    package func write(to writer: inout JSONWriter) { writer.object { writeMembers(to: &$0) } }

    func writeMembers(to writer: inout JSONWriter) {
        writer.field("id", id)
        writer.field("numero", numero)
        writer.field("consultor_id", consultor)
        writer.field("created_at", createdAt.description)
        writer.field("conversation_id", conversation?.description)
        writer.field("observacao", observacao)
        writer.field("updated_at", updatedAt?.description)
    }

    package var json: [UInt8] {
        var writer = JSONWriter()
        write(to: &writer)
        return writer.bytes
    }
}

/// What a client changes of a protocol: what is `nil` stays.
package struct ProtocoloChanges: Sendable {
    package var consultor: Int64??
    package var observacao: String??

    package init() {}
}

/// One change of a protocol after it was issued. Its first holder is the `from` of the first of them.
package struct ProtocoloRecord: Sendable {
    package let protocolo: Int64
    /// The protocol's version after the change, which is also the order.
    package let revision: Int64
    package let at: Timestamp
    package let from: Int64?
    package let to: Int64?
    package let observacao: String?
    /// Who: a user's name, an api-key's, or `atendimento` for the conversation desk.
    package let by: String

    init(_ protocolo: Protocolo, from: Int64?, by: String, at: Timestamp) {
        self.protocolo = protocolo.id
        revision = protocolo.version
        self.at = at
        self.from = from
        to = protocolo.consultor
        observacao = protocolo.observacao
        self.by = by
    }

    package init(_ row: Row) {
        var row = row
        let _: TenantID = row.id()
        protocolo = row.integer()
        revision = row.integer()
        at = row.timestamp()
        from = row.optionalInteger()
        to = row.optionalInteger()
        observacao = row.optionalText()
        by = row.text()
    }

    func image(tenant: TenantID) -> RowImage {
        RowImage(
            ConsultorTables.protocoloHistory,
            version: 1,
            values: [
                .id(tenant), .integer(protocolo), .integer(revision), .timestamp(at), .optional(from), .optional(to), .optional(observacao),
                .text(by),
            ]
        )
    }

    package func write(to writer: inout JSONWriter) {
        writer.object {
            $0.field("em", at.description)
            $0.field("acao", from == to ? "alterado" : "atribuido")
            $0.field("de_consultor_id", from)
            $0.field("para_consultor_id", to)
            $0.field("observacao", observacao)
            $0.field("por", by)
        }
    }
}

/// A command under an `Idempotency-Key` (draft-ietf-httpapi-idempotency-key-header): carried out once, and answered alike ever after.
package struct IdempotentCommand: Sendable {
    package let key: Mark.Key
    /// What was asked: the same key for something else is refused.
    package let fingerprint: String

    package init(_ name: String, key: String, fingerprint: String, tenant: TenantID) {
        self.key = Mark.Key(tenant: tenant, scope: "consultores.\(name)", key: key)
        self.fingerprint = fingerprint
    }
}
