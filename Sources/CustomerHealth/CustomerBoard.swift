package import Kernel
package import Storage
package import Wire

/// The customers of one business, live: runs `CustomerPortfolio`, and turns what moved into rows and events. Each method is part of one turn.
package struct CustomerBoard: Sendable {
    let tenant: TenantID
    package internal(set) var portfolio: CustomerPortfolio
    private var lastLogin: Int64
    /// Whose the leads are that are not the customers of their own numbers, or that have made one.
    var leads: [Int64: LeadLink]
    private var toldDashboard: Dashboard
    var actions: OpenActions
    private var hasLookedAtActions = false
    /// Who there is to be told what is to be done. Lent for the turn.
    package var staff = Staff()

    package init(tenant: TenantID, loaded: Loaded) {
        self.tenant = tenant
        portfolio = loaded.portfolio
        lastLogin = loaded.lastLogin
        actions = loaded.actions
        leads = loaded.leads
        toldDashboard = portfolio.dashboard
    }

    // MARK: Loading

    package struct Loaded: Sendable {
        package var portfolio = CustomerPortfolio()
        var lastLogin: Int64 = 0
        var actions = OpenActions()
        var leads: [Int64: LeadLink] = [:]

        package init() {}
    }

    /// Rows at a time, so that not all of them lie in memory beside what is made of them.
    private static let page = 5000

    package static func load(_ tenant: TenantID, from store: any Store, now: Timestamp) async throws(Refusal) -> Loaded {
        var loaded = Loaded()
        var after = Int64.min
        while true {
            let customers = try await store.rows(
                .select(
                    from: CustomerTables.customers,
                    "WHERE tenant_id = ? AND id > ? ORDER BY id LIMIT ?",
                    [.id(tenant), .integer(after), .integer(Int64(page))],
                    tenant: tenant
                ).forDeciding
            ).map(Customer.init)
            guard let last = customers.last else { break }
            let vitals = try await store.rows(
                .select(
                    from: CustomerTables.vitals,
                    "WHERE tenant_id = ? AND customer_id > ? AND customer_id <= ?",
                    [.id(tenant), .integer(after), .integer(last.id)],
                    tenant: tenant
                ).forDeciding
            )
            let byCustomer = Dictionary(vitals.map { CustomerVitals.stored($0) }) { $1 }
            for customer in customers { loaded.portfolio.restore(customer, byCustomer[customer.id] ?? StoredVitals(), now: now) }
            after = last.id
            if customers.count < page { break }
        }
        try await loadActions(tenant, from: store, &loaded)
        after = .min
        while true {
            let links = try await store.rows(
                .select(
                    from: CustomerTables.leads,
                    "WHERE tenant_id = ? AND lead_id > ? ORDER BY lead_id LIMIT ?",
                    [.id(tenant), .integer(after), .integer(Int64(page))],
                    tenant: tenant
                ).forDeciding
            ).map(LeadLink.init)
            for link in links { loaded.leads[link.lead] = link }
            guard let last = links.last, links.count == page else { break }
            after = last.lead
        }
        let ids = try await store.rows(
            Query("SELECT MAX(id) FROM customer_logins WHERE tenant_id = ?", [.id(tenant)], kinds: [.integer], tenant: tenant).forDeciding
        )
        if var row = ids.first { loaded.lastLogin = row.optionalInteger() ?? 0 }
        return loaded
    }

    private static func loadActions(_ tenant: TenantID, from store: any Store, _ loaded: inout Loaded) async throws(Refusal) {
        var after = CustomerActionID(UniqueID(high: 0, low: 0))
        while true {
            let actions = try await store.rows(
                .select(
                    from: CustomerTables.actions,
                    "WHERE tenant_id = ? AND done_at IS NULL AND id > ? ORDER BY id LIMIT ?",
                    [.id(tenant), .id(after), .integer(Int64(page))],
                    tenant: tenant
                ).forDeciding
            ).map(CustomerAction.init)
            for action in actions { loaded.actions.add(action) }
            guard let last = actions.last, actions.count == page else { return }
            after = last.id
        }
    }

    // MARK: Commands

    package struct Upserted: Sendable {
        package var created = 0
        package var updated = 0
        package var unchanged = 0
        /// For whom there was no room.
        package var leftOut = 0
        /// What others who know customers are told.
        package var changes: [(before: Customer?, after: Customer)] = []
    }

    /// Of those whose time has come, as many are looked at within somebody else's turn.
    static let dueInPassing = 200

    /// - Parameter room: for so many who are new; those who come after them are left out. Without, whoever asks has seen to it that there is.
    package mutating func upsert(_ patches: [CustomerPatch], room: Int? = nil, _ moment: Moment) throws(Refusal) -> (Upserted, Change) {
        try refuseIfFull(Set(patches.map(\.id)))
        var turn = UpsertTurn(change: timePassed(moment, limit: Self.dueInPassing), room: room)
        for patch in patches where turn.hasRoom(for: portfolio.place(of: patch.id)) { put(patch, &turn, moment) }
        return finished(&turn, moment)
    }

    func customer(of lead: Int64) -> Int64 { leads[lead]?.customer ?? lead }

    /// Those who are in the database that the portfolio is kept in step with, as far as is known, beside those who are there.
    package func goneFromSource(_ present: Set<Int64>) -> (known: Int, gone: [Int64]) {
        let known = portfolio.customers.filter(\.isInSource)
        return (known.count, known.map(\.id).filter { !present.contains($0) })
    }

    /// They are there no more: they have cancelled.
    package mutating func removedFromSource(_ ids: [Int64], _ moment: Moment) throws(Refusal) -> (Upserted, Change) {
        try upsert(
            ids.compactMap { portfolio.customer($0) }.map { customer in
                // Nothing was said of them since: a row that is there again is as new as it was.
                CustomerPatch(
                    id: customer.id,
                    [.inSource(false), .atualizadoEm(customer.atualizadoEm)] + customer.leaving(moment.now, because: Customer.goneFromSource)
                )
            },
            moment
        )
    }

    func refuseIfFull(_ ids: Set<Int64>) throws(Refusal) {
        let new = ids.count { portfolio.place(of: $0) == nil }
        guard new == 0 || portfolio.count + new <= CustomerPortfolio.maxCustomers else {
            throw Refusal(.conflict, "too_many_customers", "A carteira já tem o máximo de \(CustomerPortfolio.maxCustomers) clientes.")
        }
    }

    struct UpsertTurn {
        var upserted = Upserted()
        var change: Change
        /// For how many more; `nil` where it is not looked at.
        var room: Int?
        var moves: [CustomerPortfolio.Move] = []
        /// Who was changed, and whether they were active before all of it.
        var wasActive: [Int: Bool] = [:]
        /// Whose number is another.
        var renumbered: Set<Int> = []
        /// Who is somebody else.
        var withdrawn: Set<Int> = []
        /// Numbers that are nobody's any more.
        var gone: [Int64] = []
        /// How many leads each customer has, once somebody has asked.
        var links: [Int64: Int]?

        /// Counts who is left out.
        /// - Parameter place: `nil` for one more.
        mutating func hasRoom(for place: Int?) -> Bool {
            guard place == nil, let room, room <= upserted.created else { return true }
            upserted.leftOut += 1
            return false
        }
    }

    mutating func put(_ patch: CustomerPatch, _ turn: inout UpsertTurn, _ moment: Moment) {
        guard let upsert = portfolio.upsert(patch, now: moment.now) else { return }
        guard upsert.isChange else {
            turn.upserted.unchanged += 1
            return
        }
        turn.change.rows.append(upsert.after.image(of: tenant))
        turn.moves += upsert.moves
        guard upsert.isSeen else {
            turn.upserted.unchanged += 1
            return
        }
        if upsert.before == nil { turn.upserted.created += 1 } else { turn.upserted.updated += 1 }
        turn.upserted.changes.append((upsert.before, upsert.after))
        if turn.wasActive[upsert.place] == nil { turn.wasActive[upsert.place] = upsert.before?.isActive(on: portfolio.today) ?? false }
    }

    mutating func finished(_ turn: inout UpsertTurn, _ moment: Moment) -> (Upserted, Change) {
        let flipped = turn.wasActive.filter { portfolio.isActive($0) != $1 }.keys
        let shown = Set(flipped).union(turn.renumbered).subtracting(turn.withdrawn)
        turn.moves.removeAll { turn.withdrawn.contains($0.place) }
        // A number may have been somebody's again within the turn.
        let gone = Set(turn.gone).filter { portfolio.place(of: $0) == nil }.sorted()
        turn.change.append(kept(turn.moves, touched: Array(turn.renumbered.subtracting(turn.withdrawn)), flipped: shown, gone: gone, moment))
        for place in turn.wasActive.keys.sorted() { turn.change.append(actionFollowed(portfolio.customers[place], moment)) }
        portfolio.remove(turn.withdrawn)
        return (turn.upserted, turn.change)
    }

    package mutating func record(_ activities: [Activity], _ moment: Moment) throws(Refusal) -> Change {
        let unknown = activities.indices.filter { portfolio.place(of: activities[$0].customer) == nil }
        guard unknown.isEmpty else {
            throw .invalid(
                unknown.prefix(100).map {
                    .init(["body", String($0), "tenant_id"], "não há cliente \(activities[$0].customer)", type: "not_found")
                }
            )
        }
        var change = timePassed(moment, limit: Self.dueInPassing)
        let (touched, moves) = portfolio.record(activities, now: moment.now)
        for activity in activities {
            if case .login(let name, let email) = activity.content {
                lastLogin += 1
                let login = Login(
                    id: lastLogin,
                    customer: activity.customer,
                    userName: name,
                    userEmail: email,
                    at: min(activity.at ?? moment.now, moment.now)
                )
                change.rows.append(login.image(of: tenant))
            }
        }
        change.append(kept(moves, touched: touched, moment))
        return change
    }

    /// Looks at those whose score may have changed with time.
    package mutating func timePassed(_ moment: Moment, limit: Int = .max) -> Change {
        let left = portfolio.dayBegan(moment.now)
        let moves = portfolio.timePassed(now: moment.now, limit: limit)
        var change = passed(moves, left, moment)
        if !hasLookedAtActions {
            hasLookedAtActions = true
            // Of those who left while nobody was awake.
            for action in actions.last(.max, where: { _ in true }) {
                if let customer = portfolio.customer(action.customer) { change.append(actionFollowed(customer, moment)) }
            }
        }
        return change
    }

    /// As `timePassed`, for one customer however many others are due.
    package mutating func timePassed(for place: Int, _ moment: Moment) -> Change {
        let left = portfolio.dayBegan(moment.now)
        let moves = portfolio.catchUp(place, moment.now)
        return passed(moves, left, moment)
    }

    /// - Parameter left: whose cancellation has come true: nothing is to be done about them.
    private mutating func passed(_ moves: [CustomerPortfolio.Move], _ left: [Int], _ moment: Moment) -> Change {
        var change = moves.isEmpty && left.isEmpty ? Change() : kept(moves, touched: [], flipped: Set(left), moment)
        for place in left { change.append(actionFollowed(portfolio.customers[place], moment)) }
        return change
    }

    /// - Returns: how many scores were computed.
    package mutating func recompute(_ moment: Moment) -> (Int, Change) {
        let left = portfolio.dayBegan(moment.now)
        let (moves, computed) = portfolio.recompute(now: moment.now)
        var change = kept(moves, touched: [], flipped: Set(left), moment)
        for customer in portfolio.customers { change.append(actionFollowed(customer, moment)) }
        return (computed, change)
    }

    package var nextDue: Timestamp? { portfolio.nextDue }

    // MARK: Rows and events

    /// The vitals of whoever moved or was touched, once; snapshots of the days on which they moved, and news of them. Of somebody who moved more than once, from
    /// the first to the last.
    /// - Parameters:
    ///   - flipped: who has become active, or is so no more.
    ///   - gone: numbers that are nobody's any more.
    private mutating func kept(
        _ moves: [CustomerPortfolio.Move],
        touched: [Int],
        flipped: Set<Int> = [],
        gone: [Int64] = [],
        _ moment: Moment
    ) -> Change {
        var change = Change()
        var moved: [Int: Int] = [:]
        var last: [CustomerPortfolio.Move] = []
        var ends: [Int: [CivilDate: HealthScore]] = [:]
        for move in moves {
            ends[move.place, default: [:]][BusinessZone.today(move.at)] = move.to
            if let index = moved[move.place] {
                last[index] = last[index].continued(by: move)
            } else {
                moved[move.place] = last.count
                last.append(move)
            }
        }
        for place in Set(touched).union(moved.keys) {
            portfolio.stored(place)
            let (customer, its) = (portfolio.customers[place], portfolio.vitals[place])
            let integrators = portfolio.everyIntegrator(of: customer.id)
            change.rows.append(its.image(of: customer.id, integrators: integrators, tenant: tenant, now: moment.now))
            for (day, score) in ends[place] ?? [:] { change.rows.append(its.snapshot(of: customer.id, score, on: day, tenant: tenant)) }
        }
        let shown = last.filter { portfolio.isActive($0.place) && $0.isMove }
        let others = flipped.subtracting(shown.map(\.place)).sorted()
        if !shown.isEmpty || !others.isEmpty || !gone.isEmpty { change.events.append(scoresEvent(shown, others, gone)) }
        for move in shown where move.from != nil && move.changesCategory { change.events.append(categoryEvent(move, moment)) }
        for move in shown where move.callsForAction {
            let customer = portfolio.customers[move.place]
            if let before = actions.ofCustomer(customer.id) { change.append(finish(before.id, by: nil, moment).1) }
            let action = CustomerAction(id: moment.id(), customer: customer, move, at: moment.now)
            actions.add(action)
            change.rows.append(action.image(of: tenant))
            change.events += action.events(of: customer, for: staff.responsible(for: action.cs))
        }
        if portfolio.dashboard != toldDashboard {
            toldDashboard = portfolio.dashboard
            var writer = JSONWriter()
            writer.object {
                $0.field("type", "health.dashboard")
                $0.key("dashboard")
                portfolio.dashboard.write(to: &$0)
            }
            change.events.append(Event(channel: Self.channel, payload: writer.bytes))
        }
        return change
    }

    /// What was to be done is done.
    /// - Parameter name: who has done it; `nil` where something else takes its place.
    /// - Returns: `nil` if it is done already, or there is none.
    package mutating func finish(_ id: CustomerActionID, by name: String?, _ moment: Moment) -> (CustomerAction?, Change) {
        var change = Change()
        guard var action = actions.remove(id) else { return (nil, change) }
        action.finished(by: name, at: moment.now)
        change.rows.append(action.image(of: tenant))
        change.events = action.events(of: portfolio.customer(action.customer), for: staff.responsible(for: action.cs))
        return (action, change)
    }

    /// What is to be done about a customer is so for whoever is responsible for them now; of who is no customer any more, for nobody.
    private mutating func actionFollowed(_ customer: Customer, _ moment: Moment) -> Change {
        guard var action = actions.ofCustomer(customer.id) else { return Change() }
        guard customer.isActive(on: portfolio.today) else { return finish(action.id, by: nil, moment).1 }
        var change = Change()
        guard action.cs != customer.cs else { return change }
        let before = staff.responsible(for: action.cs)
        action.handed(to: customer.cs)
        actions.hand(over: action)
        let now = staff.responsible(for: action.cs)
        change.rows.append(action.image(of: tenant))
        change.events = action.withdrawn(from: before.filter { !now.contains($0) }) + action.events(of: customer, for: now)
        return change
    }

    /// Of what is to be done by somebody, in the snapshot of what waits for them.
    private static let actionsShown = 100

    package func openActions(of user: UserID, _ staff: Staff) -> [(nome: String?, action: CustomerAction)] {
        actions.last(Self.actionsShown) { staff.responsible(for: $0).contains(user) }.map { (portfolio.customer($0.customer)?.nome, $0) }
    }

    /// `acoes: [{nome, acao}]`
    package static func write(_ actions: [(nome: String?, action: CustomerAction)], to writer: inout JSONWriter) {
        writer.list("acoes") { list in
            for (nome, action) in actions {
                list.object {
                    $0.field("nome", nome)
                    $0.key("acao")
                    action.write(to: &$0)
                }
            }
        }
    }

    package static let channel = "health"

    /// - Parameters:
    ///   - others: whose score did not move, and who are to be shown now, or no more.
    ///   - gone: numbers that are nobody's any more.
    private func scoresEvent(_ moves: [CustomerPortfolio.Move], _ others: [Int], _ gone: [Int64]) -> Event {
        var writer = JSONWriter(capacity: 128 * (moves.count + others.count) + 64)
        func entry(_ id: Int64, _ score: HealthScore, delta: Double, isActive: Bool, _ list: inout JSONWriter) {
            list.object {
                $0.field("tenant_id", id)
                $0.field("score_total", Double(score.total) / Double(HealthScore.totalUnits))
                $0.field("delta", delta)
                $0.field("categoria", score.category.name)
                $0.field("ativo", isActive)
            }
        }
        func entry(_ place: Int, delta: Double, _ list: inout JSONWriter) {
            let customer = portfolio.customers[place]
            entry(customer.id, portfolio.vitals[place].current, delta: delta, isActive: portfolio.isActive(place), &list)
        }
        writer.object {
            $0.field("type", "health.scores")
            $0.list("clientes") { list in
                for move in moves { entry(move.place, delta: move.delta, &list) }
                for place in others { entry(place, delta: 0, &list) }
                for id in gone { entry(id, HealthScore(HealthFacts()), delta: 0, isActive: false, &list) }
            }
        }
        return Event(channel: Self.channel, payload: writer.bytes)
    }

    /// What moved it, the largest first.
    private func categoryEvent(_ move: CustomerPortfolio.Move, _ moment: Moment) -> Event {
        let (customer, its) = (portfolio.customers[move.place], portfolio.vitals[move.place])
        var writer = JSONWriter(capacity: 512)
        writer.object {
            $0.field("type", "health.category")
            $0.field("tenant_id", customer.id)
            $0.field("nome", customer.nome)
            $0.field("cs", customer.cs)
            $0.field("de", move.fromCategory?.name)
            $0.field("para", move.to.category.name)
            $0.field("score_total", move.total)
            $0.field("delta", move.delta)
            $0.list("motivos") { move.writeDrivers(to: &$0) }
            $0.field("tendencia_7d", its.trend(days: 7, at: moment.now))
            $0.field("tendencia_30d", its.trend(days: 30, at: moment.now))
            $0.field("acao", move.to.category.action.text)
            $0.field("prioridade", move.to.category.action.priority)
        }
        return Event(channel: Self.channel, payload: writer.bytes)
    }

    /// The snapshot of the channel `health`: `{dashboard}`.
    package func snapshot() -> [UInt8] {
        var writer = JSONWriter()
        writer.object {
            $0.key("dashboard")
            portfolio.dashboard.write(to: &$0)
        }
        return writer.bytes
    }
}

extension CustomerPortfolio.Move {
    func continued(by next: Self) -> Self {
        Self(
            place: place,
            from: from,
            to: next.to,
            fromCategory: fromCategory,
            at: next.at,
            callsForAction: callsForAction || next.callsForAction
        )
    }

    var isMove: Bool { from != to }
    var total: Double { Double(to.total) / Double(HealthScore.totalUnits) }
    var delta: Double { Double(to.total - (from?.total ?? 0)) / Double(HealthScore.totalUnits) }

    /// `{pilar, antes, depois, contribuicao}` of each pillar that is another; `contribuicao` is by how much it moved the total.
    func writeDrivers(to writer: inout JSONWriter) {
        guard let from else { return }
        let moved = HealthScore.Pillar.allCases.map { ($0, $0.contribution(to) - $0.contribution(from)) }.filter { $0.1 != 0 }
        for (pillar, difference) in moved.sorted(by: { abs($0.1) > abs($1.1) }) {
            writer.object {
                $0.field("pilar", pillar.rawValue)
                $0.field("antes", pillar.value(from))
                $0.field("depois", pillar.value(to))
                $0.field("contribuicao", Double(difference) / Double(HealthScore.totalUnits))
            }
        }
    }
}

extension CustomerVitals {
    /// By how much the score is another than so many days ago; JSON null where there was none yet.
    package func trend(days: Int, at now: Timestamp) -> JSON {
        guard hasScore, let before = total(daysAgo: days, at: now) else { return .null }
        return .double(Double(current.total - before) / Double(HealthScore.totalUnits))
    }
}

extension CustomerPortfolio {
    /// Since when they have had the one score of those who have never done anything.
    private func firstDay(_ place: Int) -> CivilDate { BusinessZone.today(vitals[place].categorySince) }

    /// Of those who have never done anything: their rows are no more.
    func deletions(_ place: Int, _ tenant: TenantID) -> [RowImage] {
        let key: [SQLValue] = [.id(tenant), .integer(customers[place].id)]
        return [
            RowImage(deleting: key, from: CustomerTables.customers, version: customers[place].version + 1),
            RowImage(deleting: key, from: CustomerTables.vitals, version: vitals[place].version + 1),
            RowImage(
                deleting: key + [.integer(Int64(firstDay(place).days))],
                from: CustomerTables.snapshots,
                version: vitals[place].version + 1
            ),
        ]
    }

    /// The same: their one score.
    func firstSnapshot(_ place: Int, _ tenant: TenantID) -> RowImage {
        vitals[place].snapshot(of: customers[place].id, vitals[place].current, on: firstDay(place), tenant: tenant)
    }
}

extension Customer {
    /// They cancelled at a moment, unless they had left before: then on the day on which they did.
    func leaving(_ moment: Timestamp, because reason: String) -> [CustomerChange] {
        if isCancelled { return [] }
        guard let left = cancellation else { return [.dataCancelamento(BusinessZone.wallClock(moment)), .descricaoCancelamento(reason)] }
        return (left.day.map { [.dataCancelamento($0.start)] } ?? []) + (descricaoCancelamento == nil ? [.descricaoCancelamento(reason)] : [])
    }
}
