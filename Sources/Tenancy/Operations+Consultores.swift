package import Consultores
package import Kernel
import Storage
import Wire

// contracts/consultores.md "Distribuição" and "Protocolos".

/// Which protocols are asked for.
package struct ProtocoloFilter: Sendable {
    package var consultor: Int64?
    package var conversation: ConversationID?
    package var numero: Int64?
    /// Created at or after, and before.
    package var from: Timestamp?
    package var until: Timestamp?
    /// Text within the remark.
    package var text: String?
    package var isNewestFirst = false
    package var skip = 0
    package var limit = 100

    package static let maxLimit = 1000
    package static let maxSkip = 10_000_000

    package init() {}
}

extension Operations {
    package func takeTurn(idioma: String, _ command: IdempotentCommand?, _ tenant: TenantID) async throws(Refusal) -> ConsultorQueue.Answer {
        try gate.admit()
        return try await tenants.use(tenant) { cell throws(Refusal) in
            let earlier = try await earlier(command)
            return try await cell.takeTurn(idioma: idioma, command, earlier: earlier).committed()
        }
    }

    package func issueProtocol(consultor: Int64?, _ command: IdempotentCommand?, _ tenant: TenantID) async throws(Refusal) -> ConsultorQueue.Answer {
        try gate.admit()
        return try await tenants.use(tenant) { cell throws(Refusal) in
            let earlier = try await earlier(command)
            return try await cell.issueProtocol(consultor: consultor, command, earlier: earlier).committed()
        }
    }

    private func earlier(_ command: IdempotentCommand?) async throws(Refusal) -> String? {
        guard let command else { return nil }
        return try await store.marks([command.key])[command.key]
    }

    // MARK: Protocols

    /// A JSON array of those asked for, by number, and how many there are of them in all.
    package func protocols(_ filter: ProtocoloFilter, _ tenant: TenantID) async throws(Refusal) -> (json: [UInt8], total: Int) {
        var conditions = ["tenant_id = ?"]
        var arguments: [SQLValue] = [.id(tenant)]
        func require(_ condition: String, _ value: SQLValue?) {
            guard let value else { return }
            conditions.append(condition)
            arguments.append(value)
        }
        require("consultor_id = ?", filter.consultor.map { .integer($0) })
        require("conversation_id = ?", filter.conversation.map { .id($0) })
        require("id = ?", filter.numero.map { .integer($0) })
        require("created_at >= ?", filter.from.map { .timestamp($0) })
        require("created_at < ?", filter.until.map { .timestamp($0) })
        require("LOWER(observacao) LIKE ? ESCAPE '!'", filter.text.map { .text("%\(Self.escaped($0.lowercased()))%") })
        let condition = "WHERE " + conditions.joined(separator: " AND ")
        let rows = try await store.rows(
            .select(
                from: ConsultorTables.protocolos,
                "\(condition) ORDER BY id \(filter.isNewestFirst ? "DESC" : "ASC") LIMIT ? OFFSET ?",
                arguments + [.integer(Int64(filter.limit)), .integer(Int64(filter.skip))],
                tenant: tenant
            )
        )
        // Numbers have no gaps and none ever goes, so that the last one says how many there are.
        let counted = conditions.count == 1 ? "MAX(id)" : "COUNT(*)"
        var count = try await store.rows(
            Query("SELECT \(counted) FROM protocolos \(condition)", arguments, kinds: [.integer], tenant: tenant)
        ).first
        var writer = JSONWriter(capacity: 256 * rows.count + 2)
        writer.array { for row in rows { Protocolo(row).write(to: &$0) } }
        return (writer.bytes, Int(count?.optionalInteger() ?? 0))
    }

    private static func escaped(_ text: String) -> String {
        text.reduce(into: "") { escaped, character in
            if "!%_".contains(character) { escaped.append("!") }
            escaped.append(character)
        }
    }

    package func protocolo(_ id: Int64, _ tenant: TenantID) async throws(Refusal) -> Protocolo {
        guard let protocolo = try await storedProtocol(id, tenant) else { throw .notFound(.protocolo) }
        return protocolo
    }

    func storedProtocol(_ id: Int64, _ tenant: TenantID) async throws(Refusal) -> Protocolo? {
        try await store.rows(
            .select(from: ConsultorTables.protocolos, "WHERE tenant_id = ? AND id = ?", [.id(tenant), .integer(id)], tenant: tenant)
        ).first.map(Protocolo.init)
    }

    package func updateProtocol(_ id: Int64, _ changes: ProtocoloChanges, by: String, _ tenant: TenantID) async throws(Refusal) -> [UInt8] {
        try gate.admit()
        return try await tenants.use(tenant) { cell throws(Refusal) in
            if await !cell.hasProtocol(id) { await cell.adopt(try await protocolo(id, tenant)) }
            return try await cell.updateProtocol(id, changes, by: by).committed()
        }
    }

    /// What became of a protocol after it was issued, oldest first.
    package func history(ofProtocol id: Int64, _ tenant: TenantID) async throws(Refusal) -> [UInt8] {
        let protocolo = try await protocolo(id, tenant)
        let rows = try await store.rows(
            .select(
                from: ConsultorTables.protocoloHistory,
                "WHERE tenant_id = ? AND protocolo_id = ? ORDER BY revision LIMIT 1000",
                [.id(tenant), .integer(id)],
                tenant: tenant
            )
        )
        let records = rows.map(ProtocoloRecord.init)
        var writer = JSONWriter(capacity: 256 * (records.count + 1))
        writer.object {
            $0.field("numero", protocolo.numero)
            $0.list("items") { list in
                list.object {
                    $0.field("em", protocolo.createdAt.description)
                    $0.field("acao", "gerado")
                    $0.field("de_consultor_id", JSON.null)
                    $0.field("para_consultor_id", records.isEmpty ? protocolo.consultor : records[0].from)
                    $0.field("observacao", JSON.null)
                    $0.field("por", JSON.null)
                }
                for record in records { record.write(to: &list) }
            }
        }
        return writer.bytes
    }

    // MARK: Bringing in a list

    /// - Returns: what became of each line, in their order: one that is refused keeps no other from being brought in.
    package func importConsultores(_ lines: [ConsultorLine], _ tenant: TenantID) async throws(Refusal) -> [Result<
        ConsultorQueue.ImportOutcome, Refusal
    >] {
        try gate.admit()
        return try await tenants.use(tenant) { cell throws(Refusal) in
            var pending: [Pending<ConsultorQueue.ImportOutcome>] = []
            for line in lines { pending.append(await cell.importConsultor(line)) }
            var outcomes: [Result<ConsultorQueue.ImportOutcome, Refusal>] = []
            for outcome in pending {
                do throws(Refusal) { outcomes.append(.success(try await outcome.committed())) } catch {
                    // Not the line's fault: what came before it is in, and so known when the list comes again.
                    guard error.kind != .unavailable else { throw error }
                    outcomes.append(.failure(error))
                }
            }
            return outcomes
        }
    }
}
