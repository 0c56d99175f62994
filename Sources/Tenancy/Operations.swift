package import Consultores
package import Conversations
package import Jobs
package import Kernel
package import Realtime
import Scheduling
package import Storage
package import Telemetry
package import Wire

/// Everything that can be asked of the business, whichever door it comes through: REST and RPC call the same functions here.
///
/// Each one reads beforehand what is not in memory, takes one turn of the tenant's live actors, and answers when what was decided is on disk.
package struct Operations: Sendable {
    package let tenants: Tenants
    package let gate: Gate
    package let store: any Store
    package let hub: StreamHub
    private let seal: Seal
    package let environment: Environment
    package var telemetry: Telemetry { tenants.telemetry }
    let visitorPace = VisitorPace()
    let longAnswers = LongAnswers()
    /// What customers see of us beside messages; `nil` where nobody is to see anything.
    package var signals: CustomerSignals?
    /// Whether somebody has proved all that is asked for before they change anything. REST asks at its own door, where some addresses are open all the same.
    package var mayChange: @Sendable (Principal) -> Bool = { _ in true }
    /// Who sends what is in the queues; `nil` where nothing is sent.
    package var queues: QueueDispatcher?
    /// Carries out `accountMethods`: who keeps accounts does.
    package var accounts: (@Sendable (String, JSON, Principal) async throws(Refusal) -> [UInt8])?
    /// The users of a business, as a note may name them.
    package var people: @Sendable (TenantID) async -> [Person] = { _ in [] }

    package init(tenants: Tenants, gate: Gate, store: any Store, hub: StreamHub, environment: Environment, seal: Seal = .none) {
        self.seal = seal
        self.environment = environment
        self.tenants = tenants
        self.gate = gate
        self.store = store
        self.hub = hub
    }

    var now: Timestamp { environment.now() }

    // MARK: Agents

    package struct Answer: Sendable {
        package let json: [UInt8]
        /// Something was made: REST answers 201.
        package let isNew: Bool

        package init(_ json: [UInt8], isNew: Bool = false) {
            self.json = json
            self.isNew = isNew
        }
    }

    package func act(_ command: AgentCommand, on id: ConversationID, by principal: Principal) async throws(Refusal) -> Answer {
        try gate.admit()
        let start = ContinuousClock.now
        var named: [Person] = []
        if case .note(let text, _) = command, text.contains("@") { named = await people(principal.tenant) }
        let people = named
        let answer = try await tenants.use(principal.tenant) { cell throws(Refusal) in
            try await bringIn(id, cell)
            if let other = command.otherMessage { try await bringIn(other, cell) }
            if command == .reopen { try await bringInProtocol(of: id, cell) }
            // Asked while the tenant is held awake: what is marked from here on is in its memory, what was marked before is in the store.
            var earlier: String?
            if let clientMessageID = command.clientMessageID {
                let key = ConversationDesk.mark(id, clientMessageID: clientMessageID, tenant: principal.tenant)
                earlier = try await store.marks([key])[key]
            }
            return try await cell.perform(command, on: id, by: principal, earlier: earlier, among: people).committed()
        }
        if case .read = command { await showRead(id, principal.tenant) }
        switch answer {
        case .conversation(let json): return Answer(json)
        case .message(let json):
            telemetry.metrics.messageProcessing.observe(.now - start, LabelValues("outbound"))
            return Answer(json, isNew: true)
        case .presentMessage(let json): return Answer(json)
        case .earlier(let message):
            guard let stored = try await ConversationDesk.message(message, tenant: principal.tenant, from: store) else { throw .notFound(.message) }
            return Answer(stored.json, isNew: true)
        }
    }

    package func typing(_ isTyping: Bool, on id: ConversationID, by principal: Principal) async throws(Refusal) -> [UInt8] {
        let json = try await tenants.use(principal.tenant) { cell throws(Refusal) in
            try await bringIn(id, cell)
            for event in try await cell.typing(isTyping, on: id, by: principal) { hub.publishUnstored(event, tenant: principal.tenant) }
            if let visit = Visit(principal) { return try await cell.conversation(of: visit).committed() }
            return try await cell.conversation(id).committed()
        }
        if isTyping { await showTyping(id, principal.tenant) }
        return json
    }

    package func conversation(_ id: ConversationID, for principal: Principal) async throws(Refusal) -> [UInt8] {
        try await tenants.use(principal.tenant) { cell throws(Refusal) in
            try await bringIn(id, cell)
            return try await cell.conversation(id).committed()
        }
    }

    /// Reads a conversation that is not in memory: one that was resolved a while ago, or none at all.
    func bringIn(_ id: ConversationID, _ cell: TenantCell) async throws(Refusal) {
        let isThere = await cell.knows(id)
        telemetry.metrics.cache.add(1, LabelValues("conversations", isThere ? "hit" : "miss"))
        guard !isThere else { return }
        await cell.adopt(try await ConversationDesk.load(id, tenant: cell.tenant, from: store))
    }

    /// A conversation that was over comes to somebody again, and its protocol with it.
    private func bringInProtocol(of id: ConversationID, _ cell: TenantCell) async throws(Refusal) {
        guard let number = await cell.customer(of: id)?.protocolo, await !cell.hasProtocol(number) else { return }
        if let stored = try await storedProtocol(number, cell.tenant) { await cell.adopt(stored) }
    }

    // MARK: Customers

    /// Whoever of them the store has.
    func bringIn(_ identities: [ContactIdentity], _ cell: TenantCell) async throws(Refusal) {
        guard await !cell.missing(identities).isEmpty else { return }
        _ = try await readKeys(of: .contacts, cell)
        let missing = await cell.missing(identities)
        if !missing.isEmpty { await cell.adopt(try await ConversationDesk.contacts(missing, tenant: cell.tenant, from: store)) }
    }

    /// Takes in what customers wrote. Returns when all of it is on disk.
    package func receive(_ messages: [CustomerMessage], tenant: TenantID) async throws(Refusal) {
        try gate.admit()
        let start = ContinuousClock.now
        // As the customers sent it, wherever it stands in the delivery; what was sent in the same second, as it came (research/conversations.md §10, lesson 13).
        let messages = messages.enumerated().sorted { ($0.element.sentAt, $0.offset) < ($1.element.sentAt, $1.offset) }.map(\.element)
        try await tenants.use(tenant) { cell throws(Refusal) in
            let seen = try await store.marks(messages.map { $0.mark(tenant: tenant) })
            let strangers = await cell.strangers(messages.map(\.from))
            if !strangers.isEmpty {
                try await bringIn(strangers, cell)
                try await bringIn(clientsOf: strangers, cell)
            }
            try await bringIn(clientsOf: await cell.brought(together: messages.map(\.from)), cell)
            for message in messages { if let other = message.otherMessage { try await bringIn(externalID: other, cell) } }
            var pending: [Pending<ConversationDesk.Reception>] = []
            for message in messages {
                pending.append(await cell.received(message, seenBefore: seen[message.mark(tenant: tenant)] != nil))
            }
            for answer in pending { _ = try await answer.committed() }
        }
        let took = ContinuousClock.now - start
        for _ in messages { telemetry.metrics.messageProcessing.observe(took, LabelValues("inbound")) }
    }

    /// Takes in what became of messages that we sent.
    package func report(_ reports: [StatusReport], tenant: TenantID) async throws(Refusal) {
        try gate.admit()
        try await tenants.use(tenant) { cell throws(Refusal) in
            for report in reports {
                var isKnown = await cell.hasMessage(externalID: report.externalID)
                if let id = report.message, !isKnown { isKnown = await cell.hasMessage(id) }
                if !isKnown {
                    var stored: Message?
                    if let id = report.message { stored = try await ConversationDesk.message(id, tenant: tenant, from: store) }
                    // A notice is known by the provider's id alone.
                    if stored == nil { stored = try await ConversationDesk.message(externalID: report.externalID, tenant: tenant, from: store) }
                    if let stored { await cell.adopt(stored) }
                }
                // It may say something of the contact.
                if report.failure != nil, let conversation = await cell.conversation(of: report) { try await bringIn(conversation, cell) }
                try await cell.reported(report).committed()
                if report.status == .failed { try await deliveryFailed(report, cell) }
            }
        }
    }

    /// Keeps a delivery that could not be taken in whole. What could be is taken in beside it.
    package func setAside(_ body: [UInt8], reason: String) async throws(Refusal) {
        try gate.admit()
        let moment = environment.moment()
        let id: Identifier<SetAside> = moment.id()
        var change = Change()
        change.rows.append(
            RowImage(
                ConversationTables.setAside,
                version: 1,
                values: [.id(id), .timestamp(moment.now), .text(reason), .text(seal.close(String(decoding: body, as: UTF8.self)))]
            )
        )
        try await gate.enqueue(change, Activation(tenant: TenantID(UniqueID(high: 0, low: 2)))).committed()
    }

    private enum SetAside {}

    package func setAsideCount() async throws(Refusal) -> Int {
        var row = try await store.rows(Query("SELECT COUNT(*) FROM set_aside_deliveries", kinds: [.integer])).first
        return Int(row?.integer() ?? 0)
    }

    // MARK: Consultores

    package func consultores(_ tenant: TenantID) async throws(Refusal) -> [UInt8] {
        try await tenants.use(tenant) { cell throws(Refusal) in try await cell.consultores().committed() }
    }
    package func consultor(_ id: Int64, _ tenant: TenantID) async throws(Refusal) -> [UInt8] {
        try await tenants.use(tenant) { cell throws(Refusal) in try await cell.consultor(id).committed() }
    }
    package func addConsultor(_ profile: ConsultorProfile, _ tenant: TenantID) async throws(Refusal) -> [UInt8] {
        try gate.admit()
        return try await tenants.use(tenant) { cell throws(Refusal) in try await cell.addConsultor(profile).committed() }
    }
    package func updateConsultor(_ id: Int64, _ changes: ConsultorChanges, by author: Author = .system, _ tenant: TenantID) async throws(Refusal)
        -> [UInt8]
    {
        try gate.admit()
        return try await tenants.use(tenant) { cell throws(Refusal) in try await cell.updateConsultor(id, changes, by: author).committed() }
    }

    /// A user was deactivated or deleted.
    package func accountClosed(_ user: UserID, by principal: Principal) async throws(Refusal) {
        let author = Author.user(principal.user, name: principal.name)
        try await tenants.use(principal.tenant) { cell throws(Refusal) in try await cell.accountClosed(user, by: author).committed() }
    }
    package func removeConsultor(_ id: Int64, _ tenant: TenantID) async throws(Refusal) {
        try gate.admit()
        try await tenants.use(tenant) { cell throws(Refusal) in try await cell.removeConsultor(id).committed() }
    }
    package func consultorID(of user: UserID, _ tenant: TenantID) async throws(Refusal) -> Int64? {
        try await tenants.use(tenant) { cell throws(Refusal) in try await cell.consultorID(of: user).committed() }
    }

    /// A user who had no connection has one.
    package func agentCame(_ user: UserID, _ tenant: TenantID) async throws(Refusal) {
        try await tenants.use(tenant) { cell throws(Refusal) in try await cell.agentCame(user).committed() }
    }

    /// A user's last connection has been gone for a while.
    package func agentLeft(_ user: UserID, _ tenant: TenantID) async throws(Refusal) {
        try await tenants.use(tenant) { cell throws(Refusal) in try await cell.agentLeft(user).committed() }
    }

    // MARK: Sockets

    /// - Parameters:
    ///   - channels: all in one turn.
    ///   - needsSnapshot: of which of them, asked within the turn; without one, the client is expected to recover.
    ///   - register: called once, from the gate, in its order.
    package func subscribe(
        _ principal: Principal,
        to channels: [TenantCell.Channel],
        needsSnapshot: @Sendable (Int) -> Bool,
        register: @escaping @Sendable (Result<[[UInt8]?], Refusal>) -> Void
    ) async throws(Refusal) {
        try await tenants.use(principal.tenant) { cell throws(Refusal) in
            for case .conversation(let id) in channels { try await bringIn(id, cell) }
            if await cell.needsPortfolio(channels) { try await cell.bringPortfolio() }
            for case .calendarDay(let day) in channels { try await bringIn(day, cell) }
            if channels.contains(.jobs) { try await queues?.count(cell) }
            try await cell.subscribe(to: channels, for: Visit(principal), needsSnapshot: needsSnapshot, register: register)
        }
    }

    /// What is one's own: the profile, the plan and what is used of it, the proof of one's e-mail.
    package static let accountMethods: Set<String> = [
        "account.profile", "account.update-profile", "account.usage", "account.plans", "account.upgrade-plan", "account.verify-email",
        "account.resend-code",
    ]

    /// The RPC methods that there are.
    package static let methods: Set<String> = Set(AgentCommand.verbs.map { "conversation.\($0)" }).union([
        "conversation.resend", "conversation.typing", "consultor.connection", "consultor.wrapped-up", "notice.post", "echo",
    ]).union(calendarMethods).union(ClientCalls.methods).union(PortfolioCalls.methods).union(QueueCommand.verbs.map { "queue.\($0)" })
        .union(notificationVerbs.map { "notification.\($0)" }).union(accountMethods)

    /// A remote procedure call: the twin of a REST call, with `conversation_id` among its fields. `nil` when there is no such method.
    package func call(_ method: String, _ data: JSON, by principal: Principal) async throws(Refusal) -> [UInt8]? {
        guard Self.methods.contains(method) else { return nil }
        if method == "echo" { return data.bytes }
        guard !principal.isGuest else { throw .visitorOnly }
        if let visit = Visit(principal) { return try await call(method, data, by: principal, visit) }
        // Also whoever has yet to prove their e-mail looks, and proves it.
        guard Self.accountMethods.contains(method) && method != "account.upgrade-plan" || mayChange(principal) else { throw .emailUnverified }
        if Self.accountMethods.contains(method) { return try await accounts?(method, data, principal) }
        if ClientCalls.methods.contains(method) { return try await callClients(method, data, by: principal) }
        if PortfolioCalls.methods.contains(method) { return try await callPortfolio(method, data, by: principal) }
        if method == "notice.post" {
            let (text, key) = try Notice.fields(data)
            return try await postNotice(text, clientMessageID: key, by: principal).json
        }
        if method == "consultor.connection" {
            var fields = try RequestFields(data)
            var changes = ConsultorChanges()
            changes.statusOnline = fields.bool("status_online")
            try fields.check()
            guard principal.role.canAttend else { throw .viewerOnly }
            guard let id = try await consultorID(of: principal.user, principal.tenant) else { throw .notFound(.consultor) }
            return try await updateConsultor(id, changes, by: .user(principal.user, name: principal.name), principal.tenant)
        }
        if method == "consultor.wrapped-up" {
            guard principal.role.canAttend else { throw .viewerOnly }
            guard let id = try await consultorID(of: principal.user, principal.tenant) else { throw .notFound(.consultor) }
            return try await wrappedUp(id, principal.tenant)
        }
        if Self.calendarMethods.contains(method) { return try await callCalendar(method, data, by: principal) }
        if method.hasPrefix("notification.") {
            return try await callNotifications(String(method.dropFirst("notification.".count)), data, by: principal)
        }
        if method.hasPrefix("queue.") {
            guard let command = try QueueCommand.read(verb: String(method.dropFirst("queue.".count)), data) else { return nil }
            return try await perform(command, by: principal)
        }
        let verb = String(method.dropFirst("conversation.".count))
        var fields = try RequestFields(data)
        if verb == "typing" {
            let id = try Self.conversationID(&fields)
            let isTyping = fields.optionalBool("typing") ?? true
            try fields.check()
            return try await typing(isTyping, on: id, by: principal)
        }
        guard let command = try AgentCommand.read(verb: verb, data) else { return nil }
        return try await act(command, on: try Self.conversationID(&fields), by: principal).json
    }

    static func conversationID(_ fields: inout RequestFields) throws(Refusal) -> ConversationID {
        let text = fields.text("conversation_id", max: 64)
        try fields.check()
        guard let id = ConversationID(text) else { throw .notFound(.conversation) }
        return id
    }
}
