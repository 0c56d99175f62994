package import Kernel
package import Storage
package import Wire

/// A human attendant in the FIFO (contracts/consultores.md "Modelos de Dados").
package struct Consultor: Sendable, Equatable {
    package let id: Int64
    package var nome: String
    /// Languages, as the client names them: `pt`, `en`, …
    package var idiomas: [String]
    /// Works here at all.
    package var statusAtivo: Bool
    /// Takes part in the turn-taking.
    package var statusAtivoSequencial: Bool
    package var statusOnline: Bool
    package var ultimoAtendimento: Timestamp?
    package var idPipedrive: Int64?
    package var user: UserID?
    /// Conversations at a time, at the most.
    package var capacity: Int
    package var removedAt: Timestamp?
    /// They are online, and their user was connected while they were: when the last connection has gone, and does not come back, they go offline. Stored, so that it
    /// also holds for connections that a crash has ended. Whoever was put online by hand and never connected stays so.
    package var isHeldByConnection = false
    /// Since when they are online, or not.
    package var statusSince: Timestamp?
    /// Until then they get no offer, having just finished a conversation.
    package var wrapUpUntil: Timestamp?
    package var version: Int64 = 0

    package init(id: Int64, _ profile: ConsultorProfile) {
        self.id = id
        nome = profile.nome
        idiomas = profile.idiomas
        statusAtivo = profile.statusAtivo
        statusAtivoSequencial = profile.statusAtivoSequencial
        statusOnline = profile.statusOnline
        idPipedrive = profile.idPipedrive
        user = profile.user
        capacity = profile.capacity
    }

    package init(_ row: Row) {
        var row = row
        let _: TenantID = row.id()
        id = row.integer()
        nome = row.text()
        idiomas = row.textArray()
        statusAtivo = row.boolean()
        statusAtivoSequencial = row.boolean()
        statusOnline = row.boolean()
        ultimoAtendimento = row.optionalTimestamp()
        idPipedrive = row.optionalInteger()
        user = row.optionalID()
        capacity = Int(row.integer())
        removedAt = row.optionalTimestamp()
        isHeldByConnection = row.optionalBoolean() ?? false
        statusSince = row.optionalTimestamp()
        wrapUpUntil = row.optionalTimestamp()
        version = row.integer()
    }

    mutating func image(tenant: TenantID) -> RowImage {
        version += 1
        return RowImage(
            ConsultorTables.consultores,
            version: version,
            values: [
                .id(tenant), .integer(id), .text(nome), .textArray(idiomas), .boolean(statusAtivo), .boolean(statusAtivoSequencial),
                .boolean(statusOnline), .optional(ultimoAtendimento), .optional(idPipedrive), .id(user), .integer(Int64(capacity)),
                .optional(removedAt), .boolean(isHeldByConnection), .optional(statusSince), .optional(wrapUpUntil),
            ]
        )
    }

    /// Whether turns are theirs to have.
    package var takesPart: Bool { statusAtivo && statusAtivoSequencial && statusOnline }

    var attendant: Attendant { Attendant(id: id, user: user, name: nome) }

    /// The contract's object, with `user_id`, `capacity`, `em_atendimento`, `status_since` and `wrap_up_until` beside its fields.
    package func write(to writer: inout JSONWriter, busy: Int) {
        writer.object {
            $0.field("id", id)
            $0.field("nome", nome)
            $0.field("idiomas", strings: idiomas)
            $0.field("status_ativo", statusAtivo)
            $0.field("status_ativo_sequencial", statusAtivoSequencial)
            $0.field("status_online", statusOnline)
            $0.field("ultimo_atendimento", ultimoAtendimento?.description)
            $0.field("id_pipedrive", idPipedrive)
            $0.field("user_id", user?.description)
            $0.field("capacity", capacity)
            $0.field("em_atendimento", busy)
            $0.field("status_since", statusSince?.description)
            $0.field("wrap_up_until", wrapUpUntil?.description)
        }
    }
}

/// What a client says of a consultor it makes.
package struct ConsultorProfile: Sendable {
    package var nome: String
    package var idiomas: [String]
    package var statusAtivo = true
    package var statusAtivoSequencial = true
    package var statusOnline = false
    package var idPipedrive: Int64?
    package var user: UserID?
    package var capacity = Self.defaultCapacity

    package static let defaultCapacity = 5

    package init(nome: String, idiomas: [String]) {
        self.nome = nome
        self.idiomas = idiomas
    }
}

/// What a client changes of a consultor: what is `nil` stays.
package struct ConsultorChanges: Sendable {
    package var nome: String?
    package var idiomas: [String]?
    package var statusAtivo: Bool?
    package var statusAtivoSequencial: Bool?
    package var statusOnline: Bool?
    package var idPipedrive: Int64??
    package var user: UserID??
    package var capacity: Int?

    package init() {}
}
