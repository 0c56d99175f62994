/// What is still to be done about customers. At most one thing for each: a newer one takes the place of the one before.
struct OpenActions: Sendable {
    private var byID: [CustomerActionID: CustomerAction] = [:]
    private var newest: [Int64: CustomerActionID] = [:]
    /// By the name of whoever is responsible, empty where there is nobody, in the order in which they were made. Those that are done are taken out now and then.
    private var byCS: [String: [CustomerActionID]] = [:]
    private var done = 0

    init() {}

    subscript(id: CustomerActionID) -> CustomerAction? { byID[id] }
    func ofCustomer(_ customer: Int64) -> CustomerAction? { newest[customer].flatMap { byID[$0] } }

    /// To be called in the order in which they were made.
    mutating func add(_ action: CustomerAction) {
        byID[action.id] = action
        newest[action.customer] = action.id
        byCS[action.cs ?? "", default: []].append(action.id)
    }

    /// - Returns: `nil` for what is done already.
    mutating func remove(_ id: CustomerActionID) -> CustomerAction? {
        guard let action = byID.removeValue(forKey: id) else { return nil }
        if newest[action.customer] == id { newest[action.customer] = nil }
        done += 1
        if done > byID.count + 1024 {
            byCS = byCS.mapValues { $0.filter { byID[$0] != nil } }.filter { !$0.value.isEmpty }
            done = 0
        }
        return action
    }

    /// Somebody else is responsible for it.
    mutating func hand(over action: CustomerAction) {
        guard let before = byID[action.id] else { return }
        byID[action.id] = action
        guard before.cs != action.cs else { return }
        byCS[before.cs ?? ""]?.removeAll { $0 == action.id }
        let theirs = byCS[action.cs ?? ""] ?? []
        // Ids are made in order, but for those of one millisecond.
        byCS[action.cs ?? "", default: []].insert(action.id, at: theirs.firstIndex { $0 > action.id } ?? theirs.count)
    }

    /// The last `limit` of those for whom `isTheirs` says so of the name of whoever is responsible, oldest first.
    func last(_ limit: Int, where isTheirs: (String?) -> Bool) -> [CustomerAction] {
        let found = byCS.filter { isTheirs($0.key.isEmpty ? nil : $0.key) }.flatMap { $0.value.reversed().lazy.compactMap { byID[$0] }.prefix(limit) }
        return found.sorted { ($0.createdAt, $0.id) < ($1.createdAt, $1.id) }.suffix(limit)
    }
}
