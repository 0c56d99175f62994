package import Kernel

// The machine of the consultor FIFO (contracts/consultores.md "Distribuição Inteligente", DESIGN §8).
//
// State: the consultors, what each one is busy with, how many offers each has let pass in a row, and the last protocol number.
// Eligible for a turn: `status_ativo` and `status_ativo_sequencial` and `status_online`, and speaks the language.
// Order: longest since `ultimo_atendimento`; who never attended comes first of all; then the lowest id.
//
// Invariants
// 1. A consultor's busy set never grows past `capacity` through `next`; a person may still be given more by a person (transfer, claim).
// 2. Numbers are issued in order without gaps: number n is issued only when n - 1 is in the same or an earlier change.
// 3. An id is never given twice, also after removal.
package struct ConsultorFIFO: Sendable {
    package private(set) var consultores: [Int64: Consultor] = [:]
    private var busy: [Int64: Set<ConversationID>] = [:]
    private var silences: [Int64: Int] = [:]
    private var lastID: Int64 = 0
    package private(set) var lastProtocol: Int64 = 0

    /// Offers left unanswered in a row, after which a consultor is taken to be away.
    package static let silencesBeforeOffline = 2

    package init() {}

    package init(consultores: [Consultor], lastProtocol: Int64) {
        for consultor in consultores {
            lastID = max(lastID, consultor.id)
            if consultor.removedAt == nil { self.consultores[consultor.id] = consultor }
        }
        self.lastProtocol = lastProtocol
    }

    /// By id, lowest first.
    package var all: [Consultor] { consultores.values.sorted { $0.id < $1.id } }
    package func consultor(of user: UserID) -> Consultor? { consultores.values.filter { $0.user == user }.min { $0.id < $1.id } }
    package func busyCount(_ id: Int64) -> Int { busy[id]?.count ?? 0 }

    // MARK: Whose turn

    /// - Parameter forDesk: also asks for a linked user and for capacity left, which the contract's `da-vez` does not know.
    /// - Parameter skipping: chosen only when there is nobody else.
    package func next(idioma: String, forDesk: Bool, skipping: Int64? = nil) -> Consultor? {
        var best: Consultor?
        for consultor in consultores.values where isEligible(consultor, idioma: idioma, forDesk: forDesk) {
            guard let current = best else {
                best = consultor
                continue
            }
            if goesBefore(consultor, current, skipping: skipping) { best = consultor }
        }
        return best
    }

    private func isEligible(_ consultor: Consultor, idioma: String, forDesk: Bool) -> Bool {
        guard consultor.statusAtivo, consultor.statusAtivoSequencial, consultor.statusOnline,
            consultor.idiomas.contains(where: { $0.lowercased() == idioma.lowercased() })
        else { return false }
        return !forDesk || (consultor.user != nil && busyCount(consultor.id) < consultor.capacity)
    }

    private func goesBefore(_ a: Consultor, _ b: Consultor, skipping: Int64?) -> Bool {
        if (a.id == skipping) != (b.id == skipping) { return b.id == skipping }
        switch (a.ultimoAtendimento, b.ultimoAtendimento) {
        case (nil, nil): return a.id < b.id
        case (nil, _): return true
        case (_, nil): return false
        case (let a?, let b?) where a != b: return a < b
        default: return a.id < b.id
        }
    }

    // MARK: What happened. Each answers the consultor as it now is, or `nil` when nothing changed that anybody stores.

    package mutating func added(_ profile: ConsultorProfile) -> Consultor {
        lastID += 1
        let consultor = Consultor(id: lastID, profile)
        consultores[lastID] = consultor
        return consultor
    }

    package mutating func changed(_ id: Int64, _ changes: ConsultorChanges) -> Consultor? {
        guard var consultor = consultores[id] else { return nil }
        let before = consultor
        if let nome = changes.nome { consultor.nome = nome }
        if let idiomas = changes.idiomas { consultor.idiomas = idiomas }
        if let ativo = changes.statusAtivo { consultor.statusAtivo = ativo }
        if let sequencial = changes.statusAtivoSequencial { consultor.statusAtivoSequencial = sequencial }
        if let online = changes.statusOnline {
            consultor.statusOnline = online
            if !online { consultor.isHeldByConnection = false }
            silences[id] = nil
        }
        if let pipedrive = changes.idPipedrive { consultor.idPipedrive = pipedrive }
        if let user = changes.user { consultor.user = user }
        if let capacity = changes.capacity { consultor.capacity = capacity }
        consultores[id] = consultor
        return consultor == before ? nil : consultor
    }

    package mutating func removed(_ id: Int64, at time: Timestamp) -> Consultor? {
        guard var consultor = consultores.removeValue(forKey: id) else { return nil }
        busy[id] = nil
        silences[id] = nil
        consultor.removedAt = time
        consultor.statusOnline = false
        consultor.isHeldByConnection = false
        return consultor
    }

    /// Their user is connected.
    package mutating func wasConnected(_ id: Int64) -> Consultor? {
        guard let consultor = consultores[id], consultor.statusOnline, !consultor.isHeldByConnection else { return nil }
        consultores[id]?.isHeldByConnection = true
        return consultores[id]
    }

    /// The turn was given away (contract `da-vez`), or a conversation taken: they go to the end of the line.
    package mutating func attended(_ id: Int64, at time: Timestamp) -> Consultor? {
        consultores[id]?.ultimoAtendimento = time
        return consultores[id]
    }

    package mutating func became(busyWith conversation: ConversationID, _ id: Int64) {
        if consultores[id] != nil { busy[id, default: []].insert(conversation) }
    }

    package mutating func became(freeOf conversation: ConversationID, _ id: Int64) { busy[id]?.remove(conversation) }

    package mutating func answered(_ id: Int64) { silences[id] = nil }

    /// - Returns: the consultor, offline now, when it was once too often.
    package mutating func keptSilent(_ id: Int64) -> Consultor? {
        silences[id, default: 0] += 1
        guard silences[id, default: 0] >= Self.silencesBeforeOffline, consultores[id]?.statusOnline == true else { return nil }
        silences[id] = nil
        consultores[id]?.statusOnline = false
        consultores[id]?.isHeldByConnection = false
        return consultores[id]
    }

    /// Puts back what was taken out to be written, with its new version.
    mutating func keep(_ consultor: Consultor) { consultores[consultor.id] = consultor }

    package mutating func issuedProtocol() -> Int64 {
        lastProtocol += 1
        return lastProtocol
    }
}
