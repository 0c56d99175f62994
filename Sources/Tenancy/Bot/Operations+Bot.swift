import Conversations
package import Kernel
import Storage
package import Wire

// A business's bot: its flow, the versions of it, and a flow tried out without anybody being written to.

extension Operations {
    package func botFlow(for principal: Principal) async throws(Refusal) -> [UInt8] {
        try await tenants.use(principal.tenant) { cell throws(Refusal) in try await cell.activeFlow().committed() }
    }

    /// Checks a flow as a whole, stores it as a new version and has new conversations begin with it.
    /// - Throws: 422 with every fault of the flow.
    package func saveBotFlow(_ json: JSON?, by principal: Principal) async throws(Refusal) -> [UInt8] {
        try principal.requireAdministrator()
        let flow = try BotFlow.read(json)
        try gate.admit()
        return try await tenants.use(principal.tenant) { cell throws(Refusal) in
            Self.json(try await cell.saveFlow(flow, by: principal).committed(), withFlow: true)
        }
    }

    /// `{items, total, page, per_page, total_pages}`, newest first, without the flows themselves.
    package func botFlowVersions(_ page: Page, for principal: Principal) async throws(Refusal) -> [UInt8] {
        var row = try await store.rows(
            Query("SELECT COUNT(*) FROM bot_flows WHERE tenant_id = ?", [.id(principal.tenant)], kinds: [.integer], tenant: principal.tenant)
        ).first
        let total = Int(row?.integer() ?? 0)
        let rows = try await store.rows(
            .select(
                from: FlowVersion.table,
                "WHERE tenant_id = ? ORDER BY number DESC LIMIT ? OFFSET ?",
                [.id(principal.tenant), .integer(Int64(page.size)), .integer(Int64((page.number - 1) * page.size))],
                tenant: principal.tenant
            )
        )
        var writer = JSONWriter()
        writer.object {
            $0.list("items") { for version in rows.compactMap(FlowVersion.init) { version.write(to: &$0, withFlow: false) } }
            $0.page(page, total: total)
        }
        return writer.bytes
    }

    package func botFlowVersion(_ number: Int64, for principal: Principal) async throws(Refusal) -> [UInt8] {
        guard let version = try await ConversationDesk.flow(number, tenant: principal.tenant, from: store) else { throw .notFound(.flow) }
        return Self.json(version, withFlow: true)
    }

    /// Goes back to an earlier version. Conversations that are under way finish on theirs.
    package func activateBotFlow(_ number: Int64, by principal: Principal) async throws(Refusal) -> [UInt8] {
        try principal.requireAdministrator()
        try gate.admit()
        return try await tenants.use(principal.tenant) { cell throws(Refusal) in
            guard let version = try await ConversationDesk.flow(number, tenant: principal.tenant, from: store) else { throw .notFound(.flow) }
            return Self.json(try await cell.activateFlow(version, by: principal).committed(), withFlow: true)
        }
    }

    /// Runs a flow on given inputs. Nothing is stored and nobody is written to.
    package func previewBotFlow(_ json: JSON?, for principal: Principal) async throws(Refusal) -> [UInt8] {
        var fields = try RequestFields(json)
        let name = fields.optionalText("name", min: 1, max: 200) ?? "Cliente"
        let canConsult = fields.optionalBool("assistant") ?? false
        let at = fields.optionalTime("at")
        var inputs: [BotFlow.Input] = []
        let items = json?["inputs"]?.array ?? []
        for (index, item) in items.enumerated() {
            let text = item.string ?? item["text"]?.string
            let choice = item["choice"]?.string
            guard text != nil || choice != nil else {
                fields.refuse("inputs", "o item \(index) deve ser um texto, ou um objeto com text ou choice", type: "value_error")
                continue
            }
            inputs.append(BotFlow.Input(text: text ?? "", choice: choice))
        }
        if items.isEmpty || items.count > 100 { fields.refuse("inputs", "deve ser uma lista de 1 a 100 itens", type: "list_type") }
        try fields.check()
        let flow: BotFlow
        if let given = json?["flow"], !given.isNull {
            flow = try BotFlow.read(given, at: ["body", "flow"])
        } else {
            flow = try await tenants.use(principal.tenant) { cell throws(Refusal) in await cell.activeBotFlow() }
        }
        return flow.preview(inputs, BotFlow.Context(now: at ?? now, contactName: name, canConsult: canConsult))
    }

    private static func json(_ version: FlowVersion, withFlow: Bool) -> [UInt8] {
        var writer = JSONWriter(capacity: 8192)
        version.write(to: &writer, withFlow: withFlow)
        return writer.bytes
    }
}
