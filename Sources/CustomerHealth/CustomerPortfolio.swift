import HeapModule
package import Kernel

/// All customers of one business with what they do, and everything that follows from it, kept up with each change: scores, categories, the dashboard.
///
/// Pure: time comes in, and what moved goes out. That it equals what is computed from scratch is held by a property test.
package struct CustomerPortfolio: Sendable {
    package private(set) var customers = Paged<Customer>()
    package private(set) var vitals = Paged<CustomerVitals>()
    package private(set) var dashboard = Dashboard()
    /// What is dated later has not happened.
    package private(set) var today = CivilDate(days: .min)
    /// The next day on which a cancellation that is dated ahead comes true; not after the earliest there is.
    private var dated: CivilDate?
    private var places: [Int64: Int32] = [:]
    /// By their names, where there are any or were.
    private var integrators: [Int64: [Integrator]] = [:]
    /// When customers are to be looked at, the earliest first. Who is put off is put in again only once their turn comes.
    private var due = Heap<Due>()
    /// One buffer for each text that many customers share.
    private var shared: [String: String] = [:]
    /// Of those who are no more, so that a new one of the same number is newer.
    private var versions: [Int64: Int64] = [:]

    private struct Due: Comparable, Sendable {
        let at: Timestamp
        let place: Int32
        static func < (a: Due, b: Due) -> Bool { (a.at, a.place) < (b.at, b.place) }
    }

    /// Of one business, at the most.
    package static let maxCustomers = 1_000_000
    /// A score that has only just crossed a category's limit calls for no action yet: by less than this, it may go back (in four-hundredths, 0.02).
    static let hysteresis = 8
    /// What is brought in longer than this after it happened tells how somebody was, and calls for nothing.
    static let historyBegins = Duration.seconds(2 * 86_400)

    package init() {}

    // MARK: Looking

    package var count: Int { customers.count }
    package func place(of id: Int64) -> Int? { places[id].map(Int.init) }
    package func customer(_ id: Int64) -> Customer? { place(of: id).map { customers[$0] } }
    /// Those that are connected.
    package func integrators(of id: Int64) -> [String] { integrators[id]?.filter(\.isActive).map(\.name) ?? [] }
    /// Those that were disconnected as well.
    func everyIntegrator(of id: Int64) -> [Integrator] { integrators[id] ?? [] }
    package func isActive(_ place: Int) -> Bool { customers[place].isActive(on: today) }
    /// When somebody is to be looked at next, if nothing happens.
    package var nextDue: Timestamp? {
        guard let dated else { return due.min?.at }
        return min(due.min?.at ?? .distantFuture, BusinessZone.start(of: dated))
    }

    // MARK: What moved

    /// A score that became another.
    package struct Move: Sendable, Equatable {
        package let place: Int
        /// `nil` for a customer whose first score it is.
        package let from: HealthScore?
        package let to: HealthScore
        package let fromCategory: HealthCategory?
        /// When: of those that time alone brings, when their time came and not when somebody looked.
        package let at: Timestamp
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
        package var moves: [Move] = []
        package var isChange: Bool { before != after }
        /// Something else became another than what the CRM is known to have said.
        package var isSeen: Bool {
            guard var before else { return true }
            (before.crm, before.version) = (after.crm, after.version)
            return before != after
        }
    }

    /// - Returns: `nil` if there is no room for one more.
    package mutating func upsert(_ patch: CustomerPatch, now: Timestamp) -> Upsert? {
        if let place = place(of: patch.id) {
            let before = customers[place]
            var after = before
            after.apply(patch, now: now)
            if after != before || patch.from != nil {
                after.remember(before, saying: patch.fields, from: patch.from, today: BusinessZone.today(now))
            }
            guard after != before else { return Upsert(place: place, before: before, after: before) }
            let moves = catchUp(place, now)
            if !patch.fields.contains(.atualizadoEm), Upsert(place: place, before: before, after: after).isSeen {
                after.atualizadoEm = BusinessZone.wallClock(now)
                after.crm.override(.atualizadoEm)
            }
            share(&after)
            after.version = before.version + 1
            let category = vitals[place].category
            dashboard.remove(before, category, on: today)
            customers[place] = after
            dashboard.add(after, category, on: today)
            note(after)
            return Upsert(place: place, before: before, after: after, moves: moves)
        }
        guard count < Self.maxCustomers else { return nil }
        var customer = Customer(id: patch.id)
        customer.apply(patch, now: now)
        if customer.criadoEm == nil { customer.criadoEm = BusinessZone.wallClock(now) }
        if customer.atualizadoEm == nil { customer.atualizadoEm = BusinessZone.wallClock(now) }
        customer.version = versions[patch.id, default: 0] + 1
        share(&customer)
        var its = CustomerVitals()
        its.version = versions[patch.id, default: 0]
        put(customer, its)
        let place = count - 1
        return Upsert(place: place, before: nil, after: customer, moves: look(place, now).map { [$0] } ?? [])
    }

    private mutating func put(_ customer: Customer, _ its: CustomerVitals) {
        places[customer.id] = Int32(count)
        customers.append(customer)
        vitals.append(its)
        dashboard.add(customer, its.category, on: today)
        note(customer)
    }

    private mutating func share(_ customer: inout Customer) {
        for path in Self.sharedTexts {
            guard let text = customer[keyPath: path], text.utf8.count > 15 else { continue }
            if let known = shared[text] { customer[keyPath: path] = known } else if shared.count < 10_000 { shared[text] = text }
        }
    }

    // MARK: Numbers

    /// Whether nobody but a CRM knows of them: they are in no database, and do nothing.
    func isUnknownElsewhere(_ place: Int) -> Bool {
        !customers[place].isInSource && integrators[customers[place].id] == nil && vitals[place].isEmpty
    }

    /// Somebody has another number, and is who they were.
    mutating func renumber(_ place: Int, to id: Int64) -> (before: Customer, after: Customer) {
        let before = customers[place]
        forget(before.id, place)
        let after = before.numbered(id, version: max(before.version, versions[id] ?? 0) + 1)
        vitals[place].version = max(vitals[place].version, versions[id] ?? 0)
        places[id] = Int32(place)
        customers[place] = after
        return (before, after)
    }

    /// Somebody turns out to be somebody else who is here: they never were. To be removed at the end of the turn.
    mutating func withdraw(_ place: Int) -> (before: Customer, after: Customer) {
        let (before, category) = (customers[place], vitals[place].category)
        forget(before.id, place)
        dashboard.remove(before, category, on: today)
        var after = Customer(id: before.id)
        after.pipeline = nil
        customers[place] = after
        dashboard.add(after, category, on: today)
        return (before, after)
    }

    private mutating func forget(_ id: Int64, _ place: Int) {
        versions[id] = max(customers[place].version, vitals[place].version) + 1
        places[id] = nil
    }

    /// - Parameter withdrawn: the last ones take their places.
    mutating func remove(_ withdrawn: Set<Int>) {
        guard !withdrawn.isEmpty else { return }
        for place in withdrawn.sorted(by: >) {
            let last = count - 1
            if place < last {
                customers[place] = customers[last]
                vitals[place] = vitals[last]
                places[customers[place].id] = Int32(place)
            }
            customers.removeLast()
            vitals.removeLast()
        }
        rebuildDue()
    }

    private static var sharedTexts: [WritableKeyPath<Customer, String?>] {
        [\.vendedor, \.cs, \.status, \.pipeline, \.motivosChurn]
    }

    // MARK: Activity

    /// Those of customers that there are not are passed over.
    /// - Returns: where they happened, and what all of them together moved.
    package mutating func record(_ activities: [Activity], now: Timestamp) -> (places: [Int], moves: [Move]) {
        var places: [Int] = []
        var moves: [Move] = []
        var isHistory: [Int: Bool] = [:]
        for activity in activities {
            guard let place = place(of: activity.customer) else { continue }
            let isLate = activity.at.map { now - $0 > Self.historyBegins } ?? false
            if let before = isHistory[place] {
                if before, !isLate { isHistory[place] = false }
            } else {
                // What time has brought until now was so without any of it.
                moves += catchUp(place, now)
                isHistory[place] = isLate
                places.append(place)
            }
            note(activity, at: place, now)
        }
        moves += places.compactMap { look($0, now, isHistory: isHistory[$0] ?? false) }
        return (places, moves)
    }

    private mutating func note(_ activity: Activity, at place: Int, _ now: Timestamp) {
        let at = min(activity.at ?? now, now)
        switch activity.content {
        case .econversa(let isActive): vitals[place].switchedEConversa(isActive, at: at)
        case .integrador(let name, let isActive):
            var known = integrators[activity.customer] ?? []
            Integrator.switched(name, isActive, at: at, in: &known)
            integrators[activity.customer] = known
            vitals[place].integrators = UInt8(known.count(where: \.isActive))
        case .login, .entrada, .saida, .lead:
            if let kind = activity.content.counted { vitals[place].happened(kind, at: activity.at ?? now, now: now) }
        }
    }

    // MARK: Time

    /// To be called first in every turn.
    /// - Returns: who is active no more, for the day of their cancellation has begun.
    package mutating func dayBegan(_ now: Timestamp) -> [Int] {
        let (before, today) = (self.today, BusinessZone.today(now))
        guard today > before else { return [] }
        self.today = today
        guard let next = dated, next <= today else { return [] }
        dated = nil
        var left: [Int] = []
        for place in customers.indices {
            guard let day = customers[place].dayOfCancellation, day > before else { continue }
            if day > today {
                note(customers[place])
                continue
            }
            dashboard.remove(customers[place], vitals[place].category, on: before)
            dashboard.add(customers[place], vitals[place].category, on: today)
            if customers[place].isActive(on: before) { left.append(place) }
        }
        return left
    }

    private mutating func note(_ customer: Customer) {
        if let day = customer.dayOfCancellation, day > today { dated = min(dated ?? day, day) }
    }

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
            moves += catchUp(place, now)
            looked += 1
        }
        return moves
    }

    /// Goes through every moment at which time alone may have moved one customer's score, however long ago it was: so the days in between have their own.
    package mutating func catchUp(_ place: Int, _ now: Timestamp) -> [Move] {
        var moves: [Move] = []
        while vitals[place].lookAt <= now {
            let at = vitals[place].lookAt
            vitals[place].lookAt = .distantFuture
            if let move = look(place, at) { moves.append(move) }
        }
        return moves
    }

    /// Brings one customer's score up to date.
    private mutating func look(_ place: Int, _ now: Timestamp, isHistory: Bool = false) -> Move? {
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
            dashboard.health[Int(fromCategory.rawValue)] -= isActive(place) ? 1 : 0
            dashboard.health[Int(score.category.rawValue)] += isActive(place) ? 1 : 0
        } else if !hadScore, fromCategory != score.category {
            dashboard.remove(customers[place], fromCategory, on: today)
            dashboard.add(customers[place], score.category, on: today)
        }
        vitals[place].scored(score, at: now)
        let calls = hadScore && !isHistory && callsForAction(place, score)
        if calls || !hadScore || isHistory { vitals[place].actedOn = score.category }
        return Move(
            place: place,
            from: hadScore ? before : nil,
            to: score,
            fromCategory: hadScore ? fromCategory : nil,
            at: now,
            callsForAction: calls
        )
    }

    /// The category is another than the one acted on, and the score is past the limit between them by more than a flicker.
    private func callsForAction(_ place: Int, _ score: HealthScore) -> Bool {
        guard isActive(place), let acted = vitals[place].actedOn, acted != score.category else { return false }
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

    /// As it was stored. Whose score time has moved meanwhile is due, from when that was.
    package mutating func restore(_ customer: Customer, _ stored: StoredVitals, now: Timestamp) {
        today = max(today, BusinessZone.today(now))
        var customer = customer
        share(&customer)
        var its = stored.vitals
        its.integrators = UInt8(clamping: stored.integrators.count(where: \.isActive))
        if !stored.integrators.isEmpty { integrators[customer.id] = stored.integrators }
        // What is stored was so then; without knowing when, it is known only whether it still is.
        let asOf = min(stored.asOf ?? now, now)
        its.lookAt = its.hasScore && its.score(at: asOf) == its.current ? its.nextDecay(after: asOf) : now
        put(customer, its)
        if its.lookAt != .distantFuture { due.insert(Due(at: its.lookAt, place: Int32(count - 1))) }
    }

    /// The same computed anew from customers and vitals: what `cache/clear` does, and what a property test compares with.
    /// - Returns: how many derived values were computed.
    package mutating func recompute(now: Timestamp) -> (moves: [Move], computed: Int) {
        let moves = (0..<count).flatMap { place in catchUp(place, now) + (look(place, now).map { [$0] } ?? []) }
        dashboard = Dashboard()
        for place in customers.indices { dashboard.add(customers[place], vitals[place].category, on: today) }
        rebuildDue()
        return (moves, count)
    }

    /// The dashboard of those who joined within a range.
    package static func dashboard(_ customers: Paged<Customer>, _ vitals: Paged<CustomerVitals>, _ range: AdhesionRange, now: Timestamp) -> Dashboard
    {
        var dashboard = Dashboard()
        let day = BusinessZone.today(now)
        for place in customers.indices where range.contains(customers[place]) {
            dashboard.add(customers[place], vitals[place].score(at: now).category, on: day)
        }
        return dashboard
    }
}
