package import Kernel

package enum ConsultorTables {
    package static let consultores = Table(
        "consultores",
        since: 1,
        key: ["tenant_id", "id"],
        columns: [
            Column("tenant_id", .uuid), Column("id", .integer), Column("nome", .text), Column("idiomas", .textArray),
            Column("status_ativo", .boolean),
            Column("status_ativo_sequencial", .boolean), Column("status_online", .boolean), .optional("ultimo_atendimento", .timestamp),
            .optional("id_pipedrive", .integer), .optional("user_id", .uuid), Column("capacity", .integer), .optional("removed_at", .timestamp),
            Column("held_by_connection", .boolean, since: 3), Column("status_since", .timestamp, since: 7),
            Column("wrap_up_until", .timestamp, since: 7),
        ]
    )

    package static let protocolos = Table(
        "protocolos",
        since: 1,
        key: ["tenant_id", "id"],
        columns: [
            Column("tenant_id", .uuid), Column("id", .integer), Column("numero", .text), .optional("consultor_id", .integer),
            .optional("conversation_id", .uuid), Column("created_at", .timestamp), Column("observacao", .text, since: 8),
            Column("updated_at", .timestamp, since: 8),
        ],
        indexes: [
            Index("protocolos_by_consultor", on: ["tenant_id", "consultor_id", "id"]),
            Index("protocolos_by_conversation", on: ["tenant_id", "conversation_id", "id"], since: 8),
            Index("protocolos_by_creation", on: ["tenant_id", "created_at", "id"], since: 8),
        ]
    )

    package static let protocoloHistory = Table(
        "protocolo_history",
        since: 8,
        key: ["tenant_id", "protocolo_id", "revision"],
        columns: [
            Column("tenant_id", .uuid), Column("protocolo_id", .integer), Column("revision", .integer), Column("at", .timestamp),
            .optional("from_consultor_id", .integer), .optional("to_consultor_id", .integer), .optional("observacao", .text), Column("by", .text),
        ]
    )

    package static let all = [consultores, protocolos, protocoloHistory]
}
