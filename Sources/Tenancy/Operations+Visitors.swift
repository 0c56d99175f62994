package import Conversations
package import Kernel
import Resilience
import Storage
import Synchronization
package import Wire

// What the customer of a web chat may ask for: their own conversation, and nothing else. Whatever is not written down here is refused before anything is looked up.

/// How fast a visitor may write: nobody types more, and a script that does fills the line of everybody else.
final class VisitorPace: Sendable {
    private let rates = Mutex(RateTable<ConversationID>(RateLimit(perSecond: 2, burst: 20)))

    func take(_ visit: Visit, at now: Timestamp) throws(Refusal) {
        let decision = rates.withLock { $0.rate(of: visit.conversation, at: now) }.take(at: now)
        guard decision.allowed == 0 else { return }
        throw Refusal(.tooMany, "too_many_messages", "Mensagens demais em pouco tempo; aguarde um instante.", retryAfterSeconds: 1)
    }
}

extension Operations {
    package static let defaultVisitorName = "Visitante"

    /// Opens a web chat with a business.
    package func visit(_ tenant: TenantID, name: String) async throws(Refusal) -> Visit {
        try gate.admit()
        return try await tenants.use(tenant) { cell throws(Refusal) in try await cell.visited(name: name).committed() }
    }

    /// Goes on with a web chat; with a new conversation where the old one is over.
    package func comeBack(_ visit: Visit, _ tenant: TenantID) async throws(Refusal) -> Visit {
        try gate.admit()
        return try await tenants.use(tenant) { cell throws(Refusal) in
            try await bringIn(visit.conversation, cell)
            return try await cell.returned(visit).committed()
        }
    }

    package func conversation(of visit: Visit, _ tenant: TenantID) async throws(Refusal) -> [UInt8] {
        try await tenants.use(tenant) { cell throws(Refusal) in
            try await bringIn(visit.conversation, cell)
            return try await cell.conversation(of: visit).committed()
        }
    }

    /// What a visitor may do: `messages`, `read`, and `typing`, which is its own function.
    package func act(_ verb: String, _ body: JSON?, on visit: Visit, by principal: Principal) async throws(Refusal) -> Answer {
        switch verb {
        case "messages":
            var fields = try RequestFields(body)
            let text = fields.text("text", max: AgentCommand.maxTextCharacters)
            let given = fields.optionalText("client_message_id", min: 1, max: 128)
            try fields.check()
            let made: MessageID = environment.moment().id()
            return try await write(text, clientMessageID: given ?? made.description, on: visit, principal.tenant)
        case "read":
            try gate.admit()
            return Answer(
                try await tenants.use(principal.tenant) { cell throws(Refusal) in
                    try await bringIn(visit.conversation, cell)
                    return try await cell.visitorRead(visit).committed()
                }
            )
        default: throw .visitorOnly
        }
    }

    private func write(_ text: String, clientMessageID: String, on visit: Visit, _ tenant: TenantID) async throws(Refusal) -> Answer {
        try gate.admit()
        try visitorPace.take(visit, at: environment.now())
        let answer = try await tenants.use(tenant) { cell throws(Refusal) in
            try await bringIn(visit.conversation, cell)
            // While the tenant is held awake: what is marked from here on is in its memory, what was marked before is in the store.
            let key = ConversationDesk.mark(visit, clientMessageID: clientMessageID, tenant: tenant)
            let earlier = try await store.marks([key])[key]
            return try await cell.visitorWrote(text, clientMessageID: clientMessageID, on: visit, earlier: earlier).committed()
        }
        switch answer {
        case .conversation(let json): return Answer(json)
        case .message(let json), .presentMessage(let json): return Answer(json, isNew: true)
        case .earlier(let id):
            guard let stored = try await ConversationDesk.message(id, tenant: tenant, from: store) else { throw .notFound(.message) }
            return Answer(stored.json(for: .visitor), isNew: true)
        }
    }

    /// The RPC twin.
    func call(_ method: String, _ data: JSON, by principal: Principal, _ visit: Visit) async throws(Refusal) -> [UInt8] {
        guard method.hasPrefix("conversation.") else { throw .visitorOnly }
        var fields = try RequestFields(data)
        guard try Self.conversationID(&fields) == visit.conversation else { throw .visitorOnly }
        let verb = String(method.dropFirst("conversation.".count))
        guard verb == "typing" else { return try await act(verb, data, on: visit, by: principal).json }
        let isTyping = fields.optionalBool("typing") ?? true
        try fields.check()
        return try await typing(isTyping, on: visit.conversation, by: principal)
    }
}
