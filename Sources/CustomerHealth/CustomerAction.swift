package import Kernel
package import Storage
package import Wire

package enum CustomerActionKind {}
package typealias CustomerActionID = Identifier<CustomerActionKind>

/// What whoever is responsible for a customer is to do, since it went into another category (contracts/ecosys-ms.md "Ações Recomendadas por Categoria").
package struct CustomerAction: Sendable, Equatable {
    package let id: CustomerActionID
    package let customer: Int64
    package var cs: String?
    package let category: HealthCategory
    package let previous: HealthCategory?
    /// The score, in four-hundredths.
    package let total: Int
    package let createdAt: Timestamp
    package var doneAt: Timestamp?
    package var doneBy: String?
    package var version: Int64 = 1

    init(id: CustomerActionID, customer: Customer, _ move: CustomerPortfolio.Move, at now: Timestamp) {
        self.id = id
        self.customer = customer.id
        cs = customer.cs
        category = move.to.category
        previous = move.fromCategory
        total = move.to.total
        createdAt = now
    }

    package init(_ row: Row) {
        var row = row
        let _: TenantID = row.id()
        id = row.id()
        customer = row.integer()
        cs = row.optionalText()
        category = HealthCategory(rawValue: UInt8(clamping: row.integer())) ?? .critico
        previous = row.optionalInteger().flatMap { HealthCategory(rawValue: UInt8(clamping: $0)) }
        total = Int(row.integer())
        createdAt = row.timestamp()
        doneAt = row.optionalTimestamp()
        doneBy = row.optionalText()
        version = row.integer()
    }

    package func image(of tenant: TenantID) -> RowImage {
        RowImage(
            CustomerTables.actions,
            version: version,
            values: [
                .id(tenant), .id(id), .integer(customer), .optional(cs), .integer(Int64(category.rawValue)),
                .optional(previous.map { Int64($0.rawValue) }), .integer(Int64(total)), .timestamp(createdAt), .optional(doneAt), .optional(doneBy),
            ]
        )
    }

    /// `{id, client_id, cs, categoria, categoria_anterior, score_total, acao, prioridade, criada_em, concluida_em, concluida_por}`
    package func write(to writer: inout JSONWriter) {
        writer.object {
            $0.field("id", id.description)
            $0.field("client_id", customer)
            $0.field("cs", cs)
            $0.field("categoria", category.name)
            $0.field("categoria_anterior", previous?.name)
            $0.field("score_total", Double(total) / Double(HealthScore.totalUnits))
            $0.field("acao", category.action.text)
            $0.field("prioridade", category.action.priority)
            $0.field("criada_em", createdAt.description)
            $0.field("concluida_em", doneAt?.description)
            $0.field("concluida_por", doneBy)
        }
    }
}

extension CustomerAction {
    /// Somebody has done it; nobody, if another took its place.
    mutating func finished(by name: String?, at now: Timestamp) {
        doneAt = now
        doneBy = name
        version += 1
    }

    /// Another is responsible for the customer.
    mutating func handed(to cs: String?) {
        self.cs = cs
        version += 1
    }

    /// `health.action {nome, acao}` or `health.action_done {acao}`: on `health`, and for those who are responsible.
    func events(of customer: Customer?, for users: [UserID]) -> [Event] {
        let payload = payload(of: customer, isDone: doneAt != nil)
        return ([CustomerBoard.channel] + users.map { "user:\($0)" }).map { Event(channel: $0, payload: payload) }
    }

    /// `health.action_done {acao}` for those whose it is no more.
    func withdrawn(from users: [UserID]) -> [Event] {
        let payload = payload(of: nil, isDone: true)
        return users.map { Event(channel: "user:\($0)", payload: payload) }
    }

    private func payload(of customer: Customer?, isDone: Bool) -> [UInt8] {
        var writer = JSONWriter()
        writer.object {
            $0.field("type", isDone ? "health.action_done" : "health.action")
            if !isDone { $0.field("nome", customer?.nome) }
            $0.key("acao")
            write(to: &$0)
        }
        return writer.bytes
    }
}
