package import Kernel
package import Storage
import Wire

/// The live consultor FIFO of one tenant: runs `ConsultorFIFO`, and turns what it says into rows and events.
///
/// Shares the tenant's executor, so that the conversations can ask whose turn it is within their own turn (`AttendantPool`).
package actor ConsultorQueue {
    private let executor: any Actor
    let tenant: TenantID
    /// Whether a user is connected.
    private let isConnected: @Sendable (UserID) -> Bool
    /// Hand-offs to consultores with an `id_pipedrive` leave a job for it.
    private let tellsPipedrive: Bool
    var fifo: ConsultorFIFO
    var memory = QueueMemory()
    /// The protocols of conversations that are still open: their consultor may change.
    var openProtocols: [Int64: Protocolo]
    /// The end of the next wrap-up, asked for after every turn.
    private var wrapUpEnd: Timestamp?

    package nonisolated var unownedExecutor: UnownedSerialExecutor { executor.unownedExecutor }

    package init(
        executor: any Actor,
        tenant: TenantID,
        isConnected: @escaping @Sendable (UserID) -> Bool = { _ in false },
        tellsPipedrive: Bool = false,
        loaded: Loaded
    ) {
        self.tellsPipedrive = tellsPipedrive
        self.executor = executor
        self.tenant = tenant
        self.isConnected = isConnected
        fifo = ConsultorFIFO(consultores: loaded.consultores, lastProtocol: loaded.lastProtocol)
        openProtocols = Dictionary(uniqueKeysWithValues: loaded.openProtocols.map { ($0.id, $0) })
        wrapUpEnd = fifo.nextWrapUpEnd
    }

    // MARK: Loading

    package struct Loaded: Sendable {
        var consultores: [Consultor]
        var lastProtocol: Int64
        var openProtocols: [Protocolo]

        package init(consultores: [Consultor] = [], lastProtocol: Int64 = 0, openProtocols: [Protocolo] = []) {
            self.consultores = consultores
            self.lastProtocol = lastProtocol
            self.openProtocols = openProtocols
        }
    }

    /// - Parameter openProtocols: the numbers that open conversations carry.
    package static func load(tenant: TenantID, openProtocols: [Int64], from store: any Store) async throws(Refusal) -> Loaded {
        let consultores = try await store.rows(
            .select(from: ConsultorTables.consultores, "WHERE tenant_id = ?", [.id(tenant)], tenant: tenant).forDeciding
        ).map(
            Consultor.init
        )
        let last = try await store.rows(
            Query("SELECT MAX(id) FROM protocolos WHERE tenant_id = ?", [.id(tenant)], kinds: [.integer], tenant: tenant).forDeciding
        )
        var lastProtocol: Int64 = 0
        if var row = last.first { lastProtocol = row.optionalInteger() ?? 0 }
        var open: [Protocolo] = []
        for start in stride(from: 0, to: openProtocols.count, by: 500) {
            let numbers = openProtocols[start..<min(start + 500, openProtocols.count)]
            let places = numbers.map { _ in "?" }.joined(separator: ", ")
            open += try await store.rows(
                .select(
                    from: ConsultorTables.protocolos,
                    "WHERE tenant_id = ? AND id IN (\(places))",
                    [.id(tenant)] + numbers.map { .integer($0) },
                    tenant: tenant
                )
            ).map(Protocolo.init)
        }
        return Loaded(consultores: consultores, lastProtocol: lastProtocol, openProtocols: open)
    }

    // MARK: Commands

    /// - Returns: the consultor's JSON.
    package func add(_ profile: ConsultorProfile, _ moment: Moment) -> ([UInt8], Change) {
        let consultor = fifo.added(profile, at: moment.now)
        let change = stored(heldIfConnected(consultor) ?? consultor)
        return (json(consultor.id), change)
    }

    package func update(_ id: Int64, _ changes: ConsultorChanges, _ moment: Moment) throws(Refusal) -> ([UInt8], Change) {
        guard fifo.consultores[id] != nil else { throw .notFound(.consultor) }
        let changed = fifo.changed(id, changes, at: moment.now)
        let held = fifo.consultores[id].flatMap { heldIfConnected($0) }
        let change = changed.map { stored(held ?? $0) } ?? held.map { kept($0) } ?? Change()
        return (json(id), change)
    }

    /// A user has connected: if they are online, then from now on by virtue of that.
    package func connected(_ user: UserID) -> Change {
        guard let id = onlineID(of: user), let held = fifo.wasConnected(id) else { return Change() }
        return kept(held)
    }

    func heldIfConnected(_ consultor: Consultor) -> Consultor? {
        guard let user = consultor.user, isConnected(user) else { return nil }
        return fifo.wasConnected(consultor.id)
    }

    /// They are done with what follows a conversation, before its time is over. Whoever was not wrapping up stays as they are.
    package func wrappedUp(_ id: Int64) throws(Refusal) -> ([UInt8], Change) {
        guard fifo.consultores[id] != nil else { throw .notFound(.consultor) }
        let change = fifo.wrappedUp(id).map { stored($0) } ?? Change()
        noteWrapUps()
        return (json(id), change)
    }

    private func noteWrapUps() { wrapUpEnd = fifo.nextWrapUpEnd }

    /// Removes a consultor. Their protocols keep their number and their consultor's id.
    package func remove(_ id: Int64, _ moment: Moment) throws(Refusal) -> Change {
        guard fifo.busyCount(id) == 0 else {
            throw Refusal(.conflict, "consultor_busy", "O consultor tem conversas em andamento; transfira ou encerre-as primeiro.")
        }
        guard var consultor = fifo.removed(id, at: moment.now) else { throw .notFound(.consultor) }
        noteWrapUps()
        var change = Change()
        change.rows.append(consultor.image(tenant: tenant))
        change.events.append(
            event("consultor.removed") {
                $0.field("id", id)
                writeLine(to: &$0)
            }
        )
        return change
    }

    // MARK: Reading

    package func list() -> [UInt8] {
        var writer = JSONWriter(capacity: 4096)
        writer.array { write(all: fifo.all, to: &$0) }
        return writer.bytes
    }

    package func one(_ id: Int64) throws(Refusal) -> [UInt8] {
        guard fifo.consultores[id] != nil else { throw .notFound(.consultor) }
        return json(id)
    }

    package func id(of user: UserID) -> Int64? { fifo.consultor(of: user)?.id }

    /// The consultor that a user is, when they are online.
    package func onlineID(of user: UserID) -> Int64? { fifo.consultor(of: user).flatMap { $0.statusOnline ? $0.id : nil } }

    /// The snapshot of the channel `consultores`.
    package func snapshot() -> [UInt8] {
        var writer = JSONWriter(capacity: 4096)
        writer.object {
            $0.list("consultores") { write(all: fifo.all, to: &$0) }
            writeLine(to: &$0)
        }
        return writer.bytes
    }

    /// Before the first turn.
    package func begin(with rules: AssignmentRules) { fifo.rules = rules }

    /// A conversation that was somebody's when the tenant was put to sleep still is.
    package func resume(_ conversation: ConversationID, _ id: Int64) { fifo.became(busyWith: conversation, id) }

    // MARK: Inside

    /// Of a longer line its head is shown: what changes with every turn must not grow with the business.
    static let shownInLine = 50

    /// `ordem`, the ids of those who take part by whose turn it is, and `proximos`, the next in turn of each language.
    private func writeLine(to writer: inout JSONWriter) {
        writer.list("ordem") { for id in fifo.line.prefix(Self.shownInLine) { $0.int(id) } }
        writer.field("proximos", object: { for next in fifo.nextByLanguage { $0.field(next.idioma, next.id) } })
    }

    private func write(all consultores: [Consultor], to writer: inout JSONWriter) {
        for consultor in consultores { consultor.write(to: &writer, busy: fifo.busyCount(consultor.id)) }
    }

    func json(_ id: Int64) -> [UInt8] {
        var writer = JSONWriter()
        fifo.consultores[id]?.write(to: &writer, busy: fifo.busyCount(id))
        return writer.bytes
    }

    /// The row of a consultor and the news of it.
    func stored(_ consultor: Consultor) -> Change {
        var change = kept(consultor)
        change.append(told(consultor.id))
        return change
    }

    /// The row alone, for what nobody is shown.
    private func kept(_ consultor: Consultor) -> Change {
        var consultor = consultor
        var change = Change()
        change.rows.append(consultor.image(tenant: tenant))
        fifo.keep(consultor)
        return change
    }

    /// The news alone, for what is derived and not stored: how busy they are.
    private func told(_ id: Int64) -> Change {
        guard fifo.consultores[id] != nil else { return Change() }
        var change = Change()
        change.events.append(
            event("consultor.changed") {
                $0.field("consultor", raw: json(id))
                writeLine(to: &$0)
            }
        )
        return change
    }

    private func event(_ type: String, _ fields: (inout JSONWriter) -> Void) -> Event {
        var writer = JSONWriter()
        writer.object {
            $0.field("type", type)
            fields(&$0)
        }
        return Event(channel: "consultores", payload: writer.bytes)
    }
}

// MARK: - What conversations ask

extension ConsultorQueue: AttendantPool {
    package nonisolated func nextAttendant(_ search: AttendantSearch, _ moment: Moment) -> Attendant? {
        assumeIsolated { $0.fifo.next(search, forDesk: true)?.attendant }
    }

    package nonisolated func staffing(language: String, _ moment: Moment) -> Staffing { assumeIsolated { $0.fifo.staffing(idioma: language) } }

    package nonisolated func isOnline(_ id: Int64) -> Bool { assumeIsolated { $0.fifo.consultores[id]?.statusOnline ?? false } }

    package nonisolated func hasRoom(_ id: Int64) -> Bool {
        assumeIsolated { queue in queue.fifo.consultores[id].map { queue.fifo.busyCount(id) < $0.capacity } ?? false }
    }

    package nonisolated func govern(_ rules: AssignmentRules) { assumeIsolated { $0.fifo.rules = rules } }

    package nonisolated var attendants: [Attendant] { assumeIsolated { $0.fifo.all.map(\.attendant) } }

    package nonisolated func finished(_ conversation: ConversationID, by id: Int64, _ moment: Moment) -> Change {
        assumeIsolated { queue in
            queue.fifo.became(freeOf: conversation, id)
            guard let consultor = queue.fifo.finished(id, at: moment.now) else { return queue.told(id) }
            queue.noteWrapUps()
            return queue.stored(consultor)
        }
    }

    package nonisolated var nextWrapUpEnd: Timestamp? { assumeIsolated { $0.wrapUpEnd } }

    package nonisolated func timePassed(_ moment: Moment) -> Change {
        assumeIsolated { queue in
            var change = Change()
            guard let end = queue.wrapUpEnd, end <= moment.now else { return change }
            for id in queue.fifo.wrapUpsOver(at: moment.now) {
                if let consultor = queue.fifo.wrappedUp(id) { change.append(queue.stored(consultor)) }
            }
            queue.noteWrapUps()
            return change
        }
    }

    package nonisolated func attendant(_ id: Int64) -> Attendant? { assumeIsolated { $0.fifo.consultores[id]?.attendant } }

    package nonisolated func attendant(of principal: Principal, _ moment: Moment) -> (Attendant, Change) {
        assumeIsolated { queue in
            if let consultor = queue.fifo.consultor(of: principal.user) { return (consultor.attendant, Change()) }
            var profile = ConsultorProfile(nome: principal.name, idiomas: ["pt"])
            profile.user = principal.user
            // Somebody who takes a conversation by hand has not said that they want to be offered others.
            profile.statusAtivoSequencial = false
            let consultor = queue.fifo.added(profile, at: moment.now)
            return (consultor.attendant, queue.stored(consultor))
        }
    }

    package nonisolated func offered(_ conversation: ConversationID, to id: Int64, _ moment: Moment) -> Change {
        assumeIsolated { queue in
            queue.fifo.became(busyWith: conversation, id)
            return queue.told(id)
        }
    }

    package nonisolated func took(_ conversation: ConversationID, _ id: Int64, protocolo: Int64?, countsAsTurn: Bool, _ moment: Moment) -> Change {
        assumeIsolated { queue in
            queue.fifo.became(busyWith: conversation, id)
            queue.fifo.answered(id)
            var change = Change()
            if countsAsTurn, let consultor = queue.fifo.attended(id, at: moment.now) {
                change.append(queue.stored(consultor))
            } else {
                change.append(queue.told(id))
            }
            if let protocolo, var open = queue.openProtocols[protocolo] ?? queue.memory.protocols[protocolo] {
                if open.consultor != id {
                    let before = open.consultor
                    open.consultor = id
                    open.updatedAt = moment.now
                    change.rows.append(open.image(tenant: queue.tenant))
                    change.rows.append(ProtocoloRecord(open, from: before, by: "atendimento", at: moment.now).image(tenant: queue.tenant))
                }
                queue.openProtocols[protocolo] = open
            }
            if queue.tellsPipedrive, let owner = queue.fifo.consultores[id]?.idPipedrive {
                change.jobs.append(HandOff(conversation: conversation, consultor: id, owner: owner, protocolo: protocolo).job(queue.tenant, moment))
            }
            return change
        }
    }

    package nonisolated func released(_ conversation: ConversationID, by id: Int64, _ moment: Moment) -> Change {
        assumeIsolated { queue in
            queue.fifo.became(freeOf: conversation, id)
            return queue.told(id)
        }
    }

    package nonisolated func missed(_ conversation: ConversationID, _ id: Int64, bySilence: Bool, _ moment: Moment) -> Change {
        assumeIsolated { queue in
            queue.fifo.became(freeOf: conversation, id)
            if bySilence, let offline = queue.fifo.keptSilent(id, at: moment.now) { return queue.stored(offline) }
            if !bySilence { queue.fifo.answered(id) }
            return queue.told(id)
        }
    }

    package nonisolated func issueProtocol(for conversation: ConversationID, _ moment: Moment) -> (number: Int64, Change) {
        assumeIsolated { queue in
            var protocolo = Protocolo(id: queue.fifo.issuedProtocol(), consultor: nil, conversation: conversation, createdAt: moment.now)
            var change = Change()
            change.rows.append(protocolo.image(tenant: queue.tenant))
            queue.openProtocols[protocolo.id] = protocolo
            return (protocolo.id, change)
        }
    }

    package nonisolated func closed(protocolo: Int64) {
        assumeIsolated { queue in
            guard let closed = queue.openProtocols.removeValue(forKey: protocolo) else { return }
            // What is in the store may be older for another moment.
            queue.memory.keep(closed)
        }
    }
}
