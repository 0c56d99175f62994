package import Conversations
package import Kernel
package import Logging
package import Realtime
package import Resilience
package import Storage
import Synchronization
import Wire

/// The bot's turns that an assistant takes, each a task that can be cancelled (research/conversations.md §10.14).
///
/// Whether a turn still counts is asked of the desk, within the turn of the desk that would let its words through: before it starts, for everything that is
/// shown, and for the answer. Cancelling the task only saves the effort.
package final class BotTurns: Consulting {
    package struct Limits: Sendable {
        /// Turns under way, at the most; who comes on top is answered by the flow.
        package var turns = 256
        package var turnsPerTenant = 64

        package init() {}
    }

    private struct Beginning: Sendable {
        let request: ConsultationRequest
        let tenant: TenantID
        let ticket: Ticket
    }

    /// Whether a turn has shown anything, which is then taken back if nothing comes of it.
    private final class Shown: Sendable {
        let isAny = Atomic<Bool>(false)
    }

    private struct State {
        var tenants: Tenants?
        var store: (any Store)?
        var running: [BotTurnID: Task<AssistantAnswer, Never>] = [:]
        var perTenant: [TenantID: Int] = [:]
    }

    private let assistant: any Assistant
    private let breakers: BreakerBoard
    private let hub: StreamHub
    private let limits: Limits
    private let logger: Logger
    private let state = Mutex(State())
    private let beginnings: AsyncStream<Beginning>
    private let continuation: AsyncStream<Beginning>.Continuation

    package init(assistant: any Assistant, breakers: BreakerBoard, hub: StreamHub, limits: Limits = Limits(), logger: Logger) {
        self.assistant = assistant
        self.breakers = breakers
        self.hub = hub
        self.limits = limits
        self.logger = logger
        (beginnings, continuation) = AsyncStream.makeStream(bufferingPolicy: .bufferingOldest(10_000))
    }

    /// The tenants cannot be made without this, nor this work without them.
    package func connect(_ tenants: Tenants, _ store: any Store) {
        state.withLock {
            $0.tenants = tenants
            $0.store = store
        }
    }

    package var runningCount: Int { state.withLock { $0.running.count } }

    // MARK: From the desk

    /// What finds no room here is answered by the flow when its deadline comes.
    package func began(_ request: ConsultationRequest, tenant: TenantID, after ticket: Ticket) {
        continuation.yield(Beginning(request: request, tenant: tenant, ticket: ticket))
    }

    package func cancelled(_ turn: BotTurnID, of conversation: ConversationID, tenant: TenantID) {
        state.withLock { $0.running[turn] }?.cancel()
        takeBack(turn, of: conversation, tenant: tenant)
    }

    /// Nothing comes of what was shown. Where there is no visitor, nobody hears it in their place.
    private func takeBack(_ turn: BotTurnID, of conversation: ConversationID, tenant: TenantID) {
        for audience in [Audience.staff, .visitor] {
            hub.publishUnstored(turn.streaming("cancelled", "", of: conversation, for: audience), tenant: tenant)
        }
    }

    // MARK: Running

    /// Runs until cancelled; turns under way are cancelled with it, and answered after the next start.
    package func run() async {
        await withDiscardingTaskGroup { group in
            for await beginning in beginnings { group.addTask { await self.perform(beginning) } }
        }
    }

    private func perform(_ beginning: Beginning) async {
        let (request, tenant) = (beginning.request, beginning.tenant)
        guard let (tenants, store) = state.withLock({ state in state.tenants.flatMap { t in state.store.map { (t, $0) } } }) else { return }
        // What could not be stored never happened, its turn neither.
        do throws(Refusal) { try await beginning.ticket.committed() } catch { return }
        guard begin(tenant) else { return await settle(request, .failed, tenant, tenants) }
        defer { end(request.turn, tenant) }
        let breaker = breakers.breaker(.gemini, of: tenant)
        guard case .allowed(let generation) = breaker.callRequested() else {
            return await settle(request, .failed, tenant, tenants)
        }

        let began = ContinuousClock.now
        let shown = Shown()
        let tools = AssistantTools(
            show: { [hub] text in
                let isPresent = await Self.ask(tenants, tenant) { cell in
                    await cell.streamed(text, in: request.turn, of: request.conversation) { hub.publishUnstored($0, tenant: tenant) }
                }
                if isPresent { shown.isAny.store(true, ordering: .relaxed) }
                return isPresent
            },
            lookUpProtocol: { number in await Self.lookUp(number, of: request.contact, tenant, in: store) }
        )
        let task = Task { [assistant] in
            // Cancelled before there was a task to cancel.
            guard await Self.ask(tenants, tenant, { cell in await cell.isPresent(request.turn, of: request.conversation) }) else {
                return AssistantAnswer(.failed, .ignored)
            }
            return await assistant.answer(request, tenant: tenant, with: tools)
        }
        state.withLock { $0.running[request.turn] = task }
        let answer = await withTaskCancellationHandler {
            await task.value
        } onCancel: {
            task.cancel()
        }
        breaker.callEnded(generation, answer.verdict, took: .now - began)
        if shown.isAny.load(ordering: .relaxed), answer.outcome == .failed {
            takeBack(request.turn, of: request.conversation, tenant: tenant)
        }
        // Stopped with the server: the conversation is answered after the next start, for nothing says that it was.
        if Task.isCancelled { return }
        await settle(request, answer.outcome, tenant, tenants)
    }

    private func begin(_ tenant: TenantID) -> Bool {
        state.withLock { state in
            guard state.perTenant.values.reduce(0, +) < limits.turns, state.perTenant[tenant, default: 0] < limits.turnsPerTenant else {
                return false
            }
            state.perTenant[tenant, default: 0] += 1
            return true
        }
    }

    private func end(_ turn: BotTurnID, _ tenant: TenantID) {
        state.withLock { state in
            state.running[turn] = nil
            state.perTenant[tenant, default: 1] -= 1
            if state.perTenant[tenant] == 0 { state.perTenant[tenant] = nil }
        }
    }

    /// What cannot be stored is decided anew: the tenant's actors are loaded again, and find the customer unanswered.
    private func settle(_ request: ConsultationRequest, _ outcome: ConsultationOutcome, _ tenant: TenantID, _ tenants: Tenants) async {
        do throws(Refusal) {
            try await tenants.use(tenant) { cell throws(Refusal) in
                _ = try await cell.consultationEnded(request.turn, of: request.conversation, outcome).committed()
            }
        } catch {
            logger.warning(
                "what the assistant answered could not be stored",
                metadata: ["conversation_id": "\(request.conversation)", "reason": "\(error.code)"]
            )
        }
    }

    private static func ask(_ tenants: Tenants, _ tenant: TenantID, _ body: (TenantCell) async -> Bool) async -> Bool {
        do throws(Refusal) { return try await tenants.use(tenant) { cell throws(Refusal) in await body(cell) } } catch { return false }
    }

    /// A customer hears of their own protocols and of nobody else's.
    private static func lookUp(_ number: Int64?, of contact: ContactID, _ tenant: TenantID, in store: any Store) async -> JSON {
        var condition = ""
        var arguments: [SQLValue] = [.id(tenant), .id(contact), .id(tenant), .id(contact)]
        if let number {
            condition = "AND protocolo_id = ? "
            arguments.append(.integer(number))
        }
        do throws(Refusal) {
            let rows = try await store.rows(
                .select(
                    from: ConversationTables.conversations,
                    // Theirs, and those of whoever turned out to be them.
                    """
                    WHERE tenant_id = ? AND (contact_id = ? OR contact_id IN (SELECT id FROM contacts WHERE tenant_id = ? AND merged_into = ?)) \
                    AND protocolo_id IS NOT NULL \(condition)ORDER BY created_at DESC LIMIT 1
                    """,
                    arguments,
                    tenant: tenant
                )
            )
            guard let found = rows.first.map(Conversation.init), let protocolo = found.protocolo else {
                return ["found": false]
            }
            return [
                "found": true, "protocol": .string(protocolText(protocolo)), "state": .string(found.state.name),
                "opened_at": .string(found.createdAt.description), "updated_at": .string(found.updatedAt.description),
            ]
        } catch {
            return ["error": "unavailable"]
        }
    }
}
