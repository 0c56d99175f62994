import HeapModule
package import Kernel

/// All customers of one business with what they do, and everything that follows from it, kept up with each change: scores, categories, the dashboard.
///
/// Pure: time comes in, and what moved goes out. That it equals what is computed from scratch is held by a property test.
package struct CustomerPortfolio: Sendable {
    package private(set) var customers = Paged<Customer>()
    package private(set) var vitals = Paged<CustomerVitals>()
    package private(set) var dashboard = Dashboard()
    private var places: [Int64: Int32] = [:]
    /// The names of those integrators that are connected, where there are any.
    private var integrators: [Int64: [String]] = [:]
    /// When customers are to be looked at, the earliest first. Who is put off is put in again only once their turn comes.
    private var due = Heap<Due>()
    /// One buffer for each text that many customers share.
    private var shared: [String: String] = [:]

    private struct Due: Comparable, Sendable {
        let at: Timestamp
        let place: Int32
        static func < (a: Due, b: Due) -> Bool { (a.at, a.place) < (b.at, b.place) }
    }

    /// Of one business, at the most.
    package static let maxCustomers = 1_000_000
    package static let maxIntegrators = 50
    /// A score that has only just crossed a category's limit calls for no action yet: by less than this, it may go back (in four-hundredths, 0.02).
    static let hysteresis = 8

    package init() {}

    // MARK: Looking

    package var count: Int { customers.count }
    package func place(of id: Int64) -> Int? { places[id].map(Int.init) }
    package func customer(_ id: Int64) -> Customer? { place(of: id).map { customers[$0] } }
    package func integrators(of id: Int64) -> [String] { integrators[id] ?? [] }
    /// When somebody is to be looked at next, if nothing happens.
    package var nextDue: Timestamp? { due.min?.at }

    // MARK: What moved

    /// A score that became another.
    package struct Move: Sendable, Equatable {
        package let place: Int
        /// `nil` for a customer whose first score it is.
        package let from: HealthScore?
        package let to: HealthScore
        package let fromCategory: HealthCategory?
        /// Whoever is responsible is to act upon the new category.
        package let callsForAction: Bool

        package var changesCategory: Bool { fromCategory != to.category }
    }

    // MARK: Customers

    package struct Upsert: Sendable {
        package let place: Int
        /// `nil`: is new.
        package let before: Customer?
        package let after: Customer
        package let move: Move?
        package var isChange: Bool { before != after }
    }

    /// - Returns: `nil` if there is no room for one more.
    package mutating func upsert(_ patch: CustomerPatch, now: Timestamp) -> Upsert? {
        if let place = place(of: patch.id) {
            let before = customers[place]
            var after = before
            for change in patch.changes { after.apply(change) }
            guard after != before else { return Upsert(place: place, before: before, after: before, move: nil) }
            if !patch.changes.contains(where: { if case .atualizadoEm = $0 { true } else { false } }) { after.atualizadoEm = Self.wallClock(now) }
            after.remember(before, from: patch.from, today: BusinessZone.today(now))
            share(&after)
            after.version = before.version + 1
            let category = vitals[place].category
            dashboard.remove(before, category)
            customers[place] = after
            dashboard.add(after, category)
            return Upsert(place: place, before: before, after: after, move: nil)
        }
        guard count < Self.maxCustomers else { return nil }
        var customer = Customer(id: patch.id)
        for change in patch.changes { customer.apply(change) }
        if customer.criadoEm == nil { customer.criadoEm = Self.wallClock(now) }
        if customer.atualizadoEm == nil { customer.atualizadoEm = Self.wallClock(now) }
        customer.version = 1
        share(&customer)
        put(customer, CustomerVitals())
        let place = count - 1
        return Upsert(place: place, before: nil, after: customer, move: look(place, now))
    }

    private static func wallClock(_ now: Timestamp) -> Timestamp { Timestamp(milliseconds: now.milliseconds / 1000 * 1000) }

    private mutating func put(_ customer: Customer, _ its: CustomerVitals) {
        places[customer.id] = Int32(count)
        customers.append(customer)
        vitals.append(its)
        dashboard.add(customer, its.category)
    }

    private mutating func share(_ customer: inout Customer) {
        for path in Self.sharedTexts {
            guard let text = customer[keyPath: path], text.utf8.count > 15 else { continue }
            if let known = shared[text] { customer[keyPath: path] = known } else if shared.count < 10_000 { shared[text] = text }
        }
    }

    private static var sharedTexts: [WritableKeyPath<Customer, String?>] {
        [\.vendedor, \.cs, \.status, \.pipeline, \.motivosChurn]
    }

    // MARK: Activity

    /// - Returns: where it happened and what it moved; `nil` if there is no such customer.
    package mutating func record(_ activity: Activity, now: Timestamp) -> (place: Int, move: Move?)? {
        guard let place = place(of: activity.customer) else { return nil }
        switch activity.content {
        case .econversa(let isActive): vitals[place].hasEConversa = isActive
        case .integrador(let name, let isActive):
            var names = integrators[activity.customer] ?? []
            if isActive {
                if !names.contains(name), names.count < Self.maxIntegrators { names.append(name) }
            } else {
                names.removeAll { $0 == name }
            }
            integrators[activity.customer] = names.isEmpty ? nil : names
            vitals[place].integrators = UInt8(names.count)
        case .login, .entrada, .saida, .lead:
            if let kind = activity.content.counted { vitals[place].happened(kind, at: activity.at ?? now, now: now) }
        }
        return (place, look(place, now))
    }

    // MARK: Time

    /// Looks at those whose time has come.
    /// - Parameter limit: how many at the most; who is left is still due.
    package mutating func timePassed(now: Timestamp, limit: Int = .max) -> [Move] {
        var moves: [Move] = []
        var looked = 0
        while looked < limit, let first = due.min, first.at <= now {
            _ = due.popMin()
            let place = Int(first.place)
            // Put off since.
            guard vitals[place].lookAt == first.at else { continue }
            vitals[place].lookAt = .distantFuture
            if let move = look(place, now) { moves.append(move) }
            looked += 1
        }
        return moves
    }

    /// Brings one customer's score up to date.
    private mutating func look(_ place: Int, _ now: Timestamp) -> Move? {
        let score = vitals[place].score(at: now)
        let next = vitals[place].nextDecay(after: now)
        if next < vitals[place].lookAt {
            vitals[place].lookAt = next
            due.insert(Due(at: next, place: Int32(place)))
            if due.count > 2 * count + 1024 { rebuildDue() }
        }
        let hadScore = vitals[place].hasScore
        let before = vitals[place].current
        guard !hadScore || before != score else { return nil }
        let fromCategory = vitals[place].category
        if hadScore, fromCategory != score.category {
            dashboard.health[Int(fromCategory.rawValue)] -= customers[place].isActive ? 1 : 0
            dashboard.health[Int(score.category.rawValue)] += customers[place].isActive ? 1 : 0
        } else if !hadScore, fromCategory != score.category {
            dashboard.remove(customers[place], fromCategory)
            dashboard.add(customers[place], score.category)
        }
        vitals[place].scored(score, at: now)
        let calls = hadScore && callsForAction(place, score)
        if calls || !hadScore { vitals[place].actedOn = score.category }
        return Move(
            place: place,
            from: hadScore ? before : nil,
            to: score,
            fromCategory: hadScore ? fromCategory : nil,
            callsForAction: calls
        )
    }

    /// The category is another than the one acted on, and the score is past the limit between them by more than a flicker.
    private func callsForAction(_ place: Int, _ score: HealthScore) -> Bool {
        guard customers[place].isActive, let acted = vitals[place].actedOn, acted != score.category else { return false }
        return acted.rawValue > score.category.rawValue
            ? score.total <= acted.floor - Self.hysteresis : score.total > score.category.floor + Self.hysteresis
    }

    private mutating func rebuildDue() {
        due = Heap(
            vitals.enumerated().compactMap { place, its in its.lookAt == .distantFuture ? nil : Due(at: its.lookAt, place: Int32(place)) }
        )
    }

    package mutating func stored(_ place: Int) { vitals[place].version += 1 }

    // MARK: From scratch

    /// As it was stored. Whose score time has moved meanwhile is due at once.
    package mutating func restore(_ customer: Customer, _ its: CustomerVitals, integrators names: [String], now: Timestamp) {
        var customer = customer
        share(&customer)
        var its = its
        its.integrators = UInt8(clamping: names.count)
        if !names.isEmpty { integrators[customer.id] = names }
        let isCurrent = its.hasScore && its.score(at: now) == its.current
        its.lookAt = isCurrent ? its.nextDecay(after: now) : Timestamp(milliseconds: 0)
        put(customer, its)
        if its.lookAt != .distantFuture { due.insert(Due(at: its.lookAt, place: Int32(count - 1))) }
    }

    /// The same computed anew from customers and vitals: what `cache/clear` does, and what a property test compares with.
    /// - Returns: how many derived values were computed.
    package mutating func recompute(now: Timestamp) -> (moves: [Move], computed: Int) {
        let moves = (0..<count).compactMap { look($0, now) }
        dashboard = Dashboard()
        for place in customers.indices { dashboard.add(customers[place], vitals[place].category) }
        rebuildDue()
        return (moves, count)
    }

    /// The dashboard of those who joined within a range.
    package static func dashboard(_ customers: Paged<Customer>, _ vitals: Paged<CustomerVitals>, _ range: AdhesionRange, now: Timestamp) -> Dashboard
    {
        var dashboard = Dashboard()
        for place in customers.indices where range.contains(customers[place]) {
            dashboard.add(customers[place], vitals[place].score(at: now).category)
        }
        return dashboard
    }
}
