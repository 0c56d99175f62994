package import Kernel
package import Storage
import Wire

// The versions of a tenant's flow. In memory are the active one and those that conversations of the bot are on.

extension ConversationDesk {
    /// What a tenant begins with: the active version, those in use, and the last number.
    package static func loadFlows(tenant: TenantID, for conversations: [Conversation], from store: any Store) async throws(Refusal) -> [FlowVersion] {
        let numbers = Set(conversations.compactMap { $0.isResolved ? nil : $0.bot.flow })
        let inUse = numbers.isEmpty ? "" : " OR number IN (\(numbers.map { _ in "?" }.joined(separator: ", ")))"
        return try await store.rows(
            .select(
                from: FlowVersion.table,
                "WHERE tenant_id = ? AND (is_active\(inUse) OR number = (SELECT MAX(number) FROM bot_flows WHERE tenant_id = ?)) ORDER BY number",
                [.id(tenant)] + numbers.map { .integer($0) } + [.id(tenant)],
                tenant: tenant
            ).forDeciding
        ).compactMap(FlowVersion.init)
    }

    package static func flow(_ number: Int64, tenant: TenantID, from store: any Store) async throws(Refusal) -> FlowVersion? {
        try await store.rows(
            .select(from: FlowVersion.table, "WHERE tenant_id = ? AND number = ?", [.id(tenant), .integer(number)], tenant: tenant)
        ).first.flatMap(FlowVersion.init)
    }

    /// Stores a new version, with which conversations begin from now on.
    package func saveFlow(_ flow: BotFlow, by principal: Principal, _ moment: Moment) -> (FlowVersion, Change) {
        var turn = Turn(moment, by: .user(principal.user, name: principal.name), cause: "flow_saved")
        audit(nil, &turn)
        lastFlowNumber += 1
        let version = FlowVersion(number: lastFlowNumber, flow: flow, by: principal, at: moment.now)
        return (activate(version, &turn), finish(turn))
    }

    /// Makes an earlier version the active one again.
    package func activateFlow(_ version: FlowVersion, by principal: Principal, _ moment: Moment) -> (FlowVersion, Change) {
        if let activeFlow, activeFlow.number == version.number { return (activeFlow, Change()) }
        var turn = Turn(moment, by: .user(principal.user, name: principal.name), cause: "flow_activated")
        audit(nil, &turn)
        return (activate(flows[version.number] ?? version, &turn), finish(turn))
    }

    private func activate(_ version: FlowVersion, _ turn: inout Turn) -> FlowVersion {
        if var before = activeFlow, before.number != version.number {
            before.isActive = false
            turn.change.rows.append(before.image(tenant: tenant))
            flows[before.number] = before
        }
        var version = version
        version.isActive = true
        turn.change.rows.append(version.image(tenant: tenant))
        flows[version.number] = version
        activeFlow = version
        forgetUnusedFlows()
        return version
    }

    private func forgetUnusedFlows() {
        guard flows.count > 16 else { return }
        let used = Set(sessions.values.compactMap(\.conversation.bot.flow))
        for number in flows.keys where number != activeFlow?.number && !used.contains(number) { flows[number] = nil }
    }

    /// `{version, author, created_at, active, flow}`; of the flow that every business begins with, the version is 0 and there is no author.
    package func activeFlowJSON() -> [UInt8] {
        var writer = JSONWriter(capacity: 8192)
        if let activeFlow {
            activeFlow.write(to: &writer, withFlow: true)
        } else {
            writer.object {
                $0.field("version", 0)
                $0.field("author", JSON.null)
                $0.field("created_at", JSON.null)
                $0.field("active", true)
                $0.field("flow", raw: flow.json)
            }
        }
        return writer.bytes
    }

    package var activeBotFlow: BotFlow { activeFlow?.flow ?? flow }

    /// The flow that a conversation is on. It finishes on the version that it began with; should that be gone, it begins anew on the active one.
    func flow(of conversation: Conversation) -> BotFlow {
        switch conversation.bot.flow {
        case nil: activeBotFlow
        case 0?: flow
        case let number?: flows[number]?.flow ?? activeBotFlow
        }
    }
}
