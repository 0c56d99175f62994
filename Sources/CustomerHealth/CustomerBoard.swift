package import Kernel
package import Storage
package import Wire

/// The customers of one business, live: runs `CustomerPortfolio`, and turns what moved into rows and events. Each method is part of one turn.
package struct CustomerBoard: Sendable {
    private let tenant: TenantID
    package private(set) var portfolio: CustomerPortfolio
    private var lastLogin: Int64
    private var toldDashboard: Dashboard
    private var actions: OpenActions
    /// Who there is to be told what is to be done. Lent for the turn.
    package var staff = Staff()

    package init(tenant: TenantID, loaded: Loaded) {
        self.tenant = tenant
        portfolio = loaded.portfolio
        lastLogin = loaded.lastLogin
        actions = loaded.actions
        toldDashboard = portfolio.dashboard
    }

    // MARK: Loading

    package struct Loaded: Sendable {
        package var portfolio = CustomerPortfolio()
        var lastLogin: Int64 = 0
        var actions = OpenActions()

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
            var byCustomer: [Int64: (CustomerVitals, [String])] = [:]
            for row in vitals {
                let (id, its, integrators) = CustomerVitals.stored(row)
                byCustomer[id] = (its, integrators)
            }
            for customer in customers {
                let (its, integrators) = byCustomer[customer.id] ?? (CustomerVitals(), [])
                loaded.portfolio.restore(customer, its, integrators: integrators, now: now)
            }
            after = last.id
            if customers.count < page { break }
        }
        try await loadActions(tenant, from: store, &loaded)
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
        /// What others who know customers are told.
        package var changes: [(before: Customer?, after: Customer)] = []
    }

    /// Of those whose time has come, as many are looked at within somebody else's turn.
    private static let dueInPassing = 200

    package mutating func upsert(_ patches: [CustomerPatch], _ moment: Moment) throws(Refusal) -> (Upserted, Change) {
        let new = Set(patches.map(\.id)).count { portfolio.place(of: $0) == nil }
        guard portfolio.count + new <= CustomerPortfolio.maxCustomers else {
            throw Refusal(.conflict, "too_many_customers", "A carteira já tem o máximo de \(CustomerPortfolio.maxCustomers) clientes.")
        }
        var (upserted, change, moves) = (Upserted(), timePassed(moment, limit: Self.dueInPassing), [CustomerPortfolio.Move]())
        for patch in patches {
            guard let upsert = portfolio.upsert(patch, now: moment.now) else { continue }
            guard upsert.isChange else {
                upserted.unchanged += 1
                continue
            }
            if upsert.before == nil { upserted.created += 1 } else { upserted.updated += 1 }
            upserted.changes.append((upsert.before, upsert.after))
            change.rows.append(upsert.after.image(of: tenant))
            if let move = upsert.move { moves.append(move) }
        }
        change.append(kept(moves, touched: [], moment))
        return (upserted, change)
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
                let login = Login(id: lastLogin, customer: activity.customer, userName: name, userEmail: email, at: activity.at ?? moment.now)
                change.rows.append(login.image(of: tenant))
            }
        }
        change.append(kept(moves, touched: touched, moment))
        return change
    }

    /// Looks at those whose score may have changed with time.
    package mutating func timePassed(_ moment: Moment, limit: Int = .max) -> Change {
        let moves = portfolio.timePassed(now: moment.now, limit: limit)
        return moves.isEmpty ? Change() : kept(moves, touched: [], moment)
    }

    /// - Returns: how many scores were computed.
    package mutating func recompute(_ moment: Moment) -> (Int, Change) {
        let (moves, computed) = portfolio.recompute(now: moment.now)
        return (computed, kept(moves, touched: [], moment))
    }

    package var nextDue: Timestamp? { portfolio.nextDue }

    // MARK: Rows and events

    /// The vitals of whoever moved or was touched, once; snapshots and news of those who moved. Of somebody who moved more than once, from the first to the last.
    private mutating func kept(_ moves: [CustomerPortfolio.Move], touched: [Int], _ moment: Moment) -> Change {
        var change = Change()
        var moved: [Int: Int] = [:]
        var last: [CustomerPortfolio.Move] = []
        for move in moves {
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
            change.rows.append(its.image(of: customer.id, integrators: portfolio.integrators(of: customer.id), tenant: tenant))
            if moved[place] != nil { change.rows.append(its.snapshot(of: customer.id, tenant: tenant, now: moment.now)) }
        }
        let shown = last.filter { portfolio.customers[$0.place].isActive && $0.isMove }
        if !shown.isEmpty { change.events.append(scoresEvent(shown)) }
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

    private func scoresEvent(_ moves: [CustomerPortfolio.Move]) -> Event {
        var writer = JSONWriter(capacity: 128 * moves.count + 64)
        writer.object {
            $0.field("type", "health.scores")
            $0.list("clientes") { list in
                for move in moves {
                    list.object {
                        $0.field("tenant_id", portfolio.customers[move.place].id)
                        $0.field("score_total", move.total)
                        $0.field("delta", move.delta)
                        $0.field("categoria", move.to.category.name)
                    }
                }
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
        Self(place: place, from: from, to: next.to, fromCategory: fromCategory, callsForAction: callsForAction || next.callsForAction)
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
