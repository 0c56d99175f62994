package import Kernel

// The machine of the consultor FIFO (contracts/consultores.md "Distribuição Inteligente", DESIGN §8).
//
// State: the consultors, what each one is busy with, how many offers each has let pass in a row, and the last protocol number.
// Eligible for a turn: `status_ativo` and `status_ativo_sequencial` and `status_online`, and speaks the language.
// Order: longest since `ultimo_atendimento`; who never attended comes first of all; then the lowest id. For the desk the business's rules
// (`AssignmentRules`) go before it: fewest conversations, or who attended the customer last.
//
//     online ──finished──▶ wrapping up ──its time is over, or its consultor says so──▶ online
//
// Who wraps up keeps their place in the turn-taking, has their conversations, may take others by hand, and is offered none.
//
// Each attendance is at a later moment than the one before, by a millisecond if the clock has not gone on: so the line is a line also where many turns are given away
// within one, and whatever the clock does.
//
// Invariants
// 0. `line` holds exactly those who take part, in that order.
// 1. A consultor's busy set never grows past `capacity` through `next`; a person may still be given more by a person (transfer, claim).
// 2. Numbers are issued in order without gaps: number n is issued only when n - 1 is in the same or an earlier change.
// 3. An id is never given twice, also after removal.
// 4. An alarm for a wrap-up that was prolonged or ended before finds another time there, and does nothing.
package struct ConsultorFIFO: Sendable {
    package private(set) var consultores: [Int64: Consultor] = [:]
    private var busy: [Int64: Set<ConversationID>] = [:]
    private var silences: [Int64: Int] = [:]
    private var lastID: Int64 = 0
    /// All ids that were ever given.
    private var taken: Set<Int64> = []
    package private(set) var lastProtocol: Int64 = 0
    /// Those who take part in the turn-taking, by whose turn it is.
    package private(set) var line: [Int64] = []
    private var lastAttendance: Timestamp?
    package var rules = AssignmentRules()

    package init() {}

    package init(consultores: [Consultor], lastProtocol: Int64) {
        for consultor in consultores {
            lastID = max(lastID, consultor.id)
            taken.insert(consultor.id)
            if let time = consultor.ultimoAtendimento { lastAttendance = max(lastAttendance ?? time, time) }
            if consultor.removedAt == nil { self.consultores[consultor.id] = consultor }
        }
        line = self.consultores.values.filter(\.takesPart).sorted(by: Self.comesBefore).map(\.id)
        self.lastProtocol = lastProtocol
    }

    package var nextID: Int64 { lastID + 1 }
    /// By id, lowest first.
    package var all: [Consultor] { consultores.values.sorted { $0.id < $1.id } }
    package func consultor(of user: UserID) -> Consultor? { consultores.values.filter { $0.user == user }.min { $0.id < $1.id } }
    package func busyCount(_ id: Int64) -> Int { busy[id]?.count ?? 0 }

    // MARK: Whose turn

    /// - Parameter forDesk: also asks for a linked user and for capacity left, which the contract's `da-vez` does not know.
    package func next(idioma: String, forDesk: Bool) -> Consultor? {
        next(AttendantSearch(language: idioma), forDesk: forDesk)
    }

    package func next(_ search: AttendantSearch, forDesk: Bool) -> Consultor? {
        let idioma = search.language.lowercased()
        var best: Consultor?
        for id in line {
            guard let consultor = consultores[id], isEligible(consultor, idioma: idioma, forDesk: forDesk) else { continue }
            // The line is the whole order, unless the desk's rules or a missed offer go before it.
            if !forDesk || (rules.policy == .longestIdle && search.skipping == nil) { return consultor }
            guard let current = best else {
                best = consultor
                continue
            }
            if goesBefore(consultor, current, search) { best = consultor }
        }
        return best
    }

    /// For each language whose turn it is (contract `da-vez`), by the language's name.
    package var nextByLanguage: [(idioma: String, id: Int64)] {
        var next: [String: Int64] = [:]
        for id in line { for idioma in consultores[id]?.idiomas ?? [] where next[idioma.lowercased()] == nil { next[idioma.lowercased()] = id } }
        return next.sorted { $0.key < $1.key }.map { ($0.key, $0.value) }
    }

    package func staffing(idioma: String) -> Staffing {
        let idioma = idioma.lowercased()
        var staffing = Staffing()
        for consultor in consultores.values where speaksAndTakesPart(consultor, idioma: idioma) && consultor.user != nil {
            staffing.online += 1
            staffing.seats += Double(consultor.capacity) / Double(max(1, consultor.idiomas.count))
            if consultor.wrapUpUntil == nil { staffing.free += max(0, consultor.capacity - busyCount(consultor.id)) }
        }
        return staffing
    }

    private func speaksAndTakesPart(_ consultor: Consultor, idioma: String) -> Bool {
        consultor.takesPart && consultor.idiomas.contains { $0 == idioma || $0.lowercased() == idioma }
    }

    private func isEligible(_ consultor: Consultor, idioma: String, forDesk: Bool) -> Bool {
        guard speaksAndTakesPart(consultor, idioma: idioma) else { return false }
        return !forDesk || (consultor.user != nil && consultor.wrapUpUntil == nil && busyCount(consultor.id) < consultor.capacity)
    }

    private func goesBefore(_ a: Consultor, _ b: Consultor, _ search: AttendantSearch) -> Bool {
        if (a.id == search.skipping) != (b.id == search.skipping) { return b.id == search.skipping }
        switch rules.policy {
        case .longestIdle: break
        case .leastLoaded: if busyCount(a.id) != busyCount(b.id) { return busyCount(a.id) < busyCount(b.id) }
        case .preferredFirst: if (a.id == search.preferred) != (b.id == search.preferred) { return a.id == search.preferred }
        }
        return Self.comesBefore(a, b)
    }

    private static func comesBefore(_ a: Consultor, _ b: Consultor) -> Bool {
        switch (a.ultimoAtendimento, b.ultimoAtendimento) {
        case (nil, nil): return a.id < b.id
        case (nil, _): return true
        case (_, nil): return false
        case (let a?, let b?) where a != b: return a < b
        default: return a.id < b.id
        }
    }

    /// Puts somebody where they now belong in the line, or takes them out of it.
    private mutating func place(_ id: Int64) {
        if let index = line.firstIndex(of: id) { line.remove(at: index) }
        guard let consultor = consultores[id], consultor.takesPart else { return }
        var (low, high) = (0, line.count)
        while low < high {
            let middle = (low + high) / 2
            if Self.comesBefore(consultores[line[middle]] ?? consultor, consultor) { low = middle + 1 } else { high = middle }
        }
        line.insert(id, at: low)
    }

    // MARK: What happened. Each answers the consultor as it now is, or `nil` when nothing changed that anybody stores.

    /// - Parameters:
    ///   - id: the one they had elsewhere; `nil` for the next. One that was given already is refused with `nil`.
    ///   - attended: when they attended last, elsewhere.
    package mutating func added(_ profile: ConsultorProfile, id given: Int64, attended: Timestamp?, at time: Timestamp? = nil) -> Consultor? {
        guard given > 0, !taken.contains(given) else { return nil }
        lastID = max(lastID, given)
        taken.insert(given)
        var consultor = Consultor(id: given, profile)
        consultor.statusSince = time
        consultor.ultimoAtendimento = attended
        if let attended { lastAttendance = max(lastAttendance ?? attended, attended) }
        consultores[given] = consultor
        place(given)
        return consultor
    }

    package mutating func added(_ profile: ConsultorProfile, at time: Timestamp? = nil) -> Consultor {
        guard let consultor = added(profile, id: nextID, attended: nil, at: time) else { preconditionFailure("the next id is nobody's") }
        return consultor
    }

    package mutating func changed(_ id: Int64, _ changes: ConsultorChanges, at time: Timestamp? = nil) -> Consultor? {
        guard var consultor = consultores[id] else { return nil }
        let before = consultor
        if let nome = changes.nome { consultor.nome = nome }
        if let idiomas = changes.idiomas { consultor.idiomas = idiomas }
        if let ativo = changes.statusAtivo { consultor.statusAtivo = ativo }
        if let sequencial = changes.statusAtivoSequencial { consultor.statusAtivoSequencial = sequencial }
        if let online = changes.statusOnline {
            if online != consultor.statusOnline, let time { consultor.statusSince = time }
            consultor.statusOnline = online
            if !online { consultor.isHeldByConnection = false }
            silences[id] = nil
        }
        if let pipedrive = changes.idPipedrive { consultor.idPipedrive = pipedrive }
        if let user = changes.user { consultor.user = user }
        if let capacity = changes.capacity { consultor.capacity = capacity }
        consultores[id] = consultor
        place(id)
        return consultor == before ? nil : consultor
    }

    package mutating func removed(_ id: Int64, at time: Timestamp) -> Consultor? {
        guard var consultor = consultores.removeValue(forKey: id) else { return nil }
        busy[id] = nil
        silences[id] = nil
        place(id)
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
        guard consultores[id] != nil else { return nil }
        let moment = lastAttendance.map { max(time, $0 + .milliseconds(1)) } ?? time
        lastAttendance = moment
        consultores[id]?.ultimoAtendimento = moment
        place(id)
        return consultores[id]
    }

    package mutating func became(busyWith conversation: ConversationID, _ id: Int64) {
        if consultores[id] != nil { busy[id, default: []].insert(conversation) }
    }

    package mutating func became(freeOf conversation: ConversationID, _ id: Int64) { busy[id]?.remove(conversation) }

    package mutating func answered(_ id: Int64) { silences[id] = nil }

    /// A conversation of theirs was resolved.
    package mutating func finished(_ id: Int64, at time: Timestamp) -> Consultor? {
        guard rules.wrapUp > .zero, consultores[id] != nil else { return nil }
        consultores[id]?.wrapUpUntil = time + rules.wrapUp
        return consultores[id]
    }

    /// - Returns: `nil` when they were not wrapping up.
    package mutating func wrappedUp(_ id: Int64) -> Consultor? {
        guard consultores[id]?.wrapUpUntil != nil else { return nil }
        consultores[id]?.wrapUpUntil = nil
        return consultores[id]
    }

    package var nextWrapUpEnd: Timestamp? { consultores.values.lazy.compactMap(\.wrapUpUntil).min() }

    package func wrapUpsOver(at time: Timestamp) -> [Int64] {
        consultores.values.filter { $0.wrapUpUntil.map { $0 <= time } ?? false }.map(\.id).sorted()
    }

    /// - Returns: the consultor, offline now, when it was once too often.
    package mutating func keptSilent(_ id: Int64, at time: Timestamp? = nil) -> Consultor? {
        silences[id, default: 0] += 1
        guard silences[id, default: 0] >= rules.awayAfterMissed, consultores[id]?.statusOnline == true else { return nil }
        silences[id] = nil
        consultores[id]?.statusOnline = false
        if let time { consultores[id]?.statusSince = time }
        consultores[id]?.isHeldByConnection = false
        place(id)
        return consultores[id]
    }

    /// Puts back what was taken out to be written, with its new version.
    mutating func keep(_ consultor: Consultor) { consultores[consultor.id] = consultor }

    package mutating func issuedProtocol() -> Int64 {
        lastProtocol += 1
        return lastProtocol
    }
}
