package import Kernel
package import Storage
package import Wire

/// The sales of one business, live: figures of the month that runs, kept up with each change, and who ranks where. Each method is part of one turn.
package struct SalesBoard: Sendable {
    private let tenant: TenantID
    package private(set) var book: SellerBook
    package private(set) var plan: CommissionPlan
    package private(set) var figures: SalesFigures
    private var planVersions: [YearMonth: Int64]
    /// Whom customers name as their seller by an id, and how many do.
    private var spoken: [Int64: Int]
    /// The next day on which something that is dated ahead comes true; not after the earliest there is.
    private var dated: CivilDate?
    /// What is dated until then has been told, also where a clock that was put back is not so far again. What came true before the board was loaded is in its snapshot.
    private var toldThrough: CivilDate
    private var told: Told

    /// Of one business, at the most: those registered, and those of whom only customers' records know.
    package static let maxSellers = 1000
    package static let maxStrangers = 300

    /// What subscribers know.
    private struct Told: Equatable {
        var ranking: [Int64] = []
        var lines: [SalesFigures.Line] = []
        var tiers: [Int64: Tier] = [:]
        var config = CommissionConfig()
    }

    /// - Parameter customers: all there are.
    package init(tenant: TenantID, loaded: Loaded, customers: Paged<Customer>, now: Timestamp) {
        self.tenant = tenant
        book = SellerBook(loaded.sellers)
        plan = CommissionPlan(since: tenant.value.time)
        planVersions = [:]
        spoken = [:]
        for entry in loaded.configs {
            plan.put(entry.config, from: entry.month)
            planVersions[entry.month] = entry.version
        }
        let today = BusinessZone.today(now)
        figures = SalesFigures(customers, .init(today: today), plan.config(of: today.month), book)
        toldThrough = today
        told = Told()
        note(customers)
        told = known()
    }

    // MARK: Loading

    package struct Loaded: Sendable {
        var sellers: [Seller] = []
        var configs: [(month: YearMonth, config: CommissionConfig, version: Int64)] = []

        package init() {}
    }

    package static func load(_ tenant: TenantID, from store: any Store) async throws(Refusal) -> Loaded {
        var loaded = Loaded()
        loaded.sellers = try await store.rows(
            .select(from: SalesTables.sellers, "WHERE tenant_id = ?", [.id(tenant)], tenant: tenant).forDeciding
        ).map(Seller.init)
        let rows = try await store.rows(
            .select(from: SalesTables.commissionConfigs, "WHERE tenant_id = ?", [.id(tenant)], tenant: tenant).forDeciding
        )
        for var row in rows {
            let _: TenantID = row.id()
            let month = YearMonth(index: Int32(clamping: row.integer()))
            let text = row.text()
            loaded.configs.append((month, CommissionConfig(stored: text, updatedAt: row.timestamp()), row.integer()))
        }
        return loaded
    }

    // MARK: Commands

    /// To be asked before customers become others, within the same turn.
    /// - Throws: a refusal if they name more sellers whom nobody registered than are kept.
    package func admit(_ patches: [CustomerPatch]) throws(Refusal) {
        var named = Set<Int64>()
        for patch in patches {
            for case .vendedorID(let id?) in patch.changes where spoken[id] == nil && book.sellers[id] == nil { named.insert(id) }
        }
        guard !named.isEmpty, spoken.keys.count(where: { book.sellers[$0] == nil }) + named.count > Self.maxStrangers else { return }
        throw Refusal(
            .conflict,
            "too_many_sellers",
            "Os clientes citam mais de \(Self.maxStrangers) vendedores não cadastrados; cadastre-os antes (POST /vendas/vendedores)."
        )
    }

    /// Customers have become others.
    package mutating func changed(_ changes: [(before: Customer?, after: Customer)], _ moment: Moment) -> Change {
        var change = Change()
        for (before, after) in changes {
            if let before {
                figures.remove(before, book)
                speak(before, -1)
            }
            figures.add(after, book)
            speak(after, 1)
            note(after)
            for movement in MRRMovement.between(before, after, figures.view) { change.events.append(event(of: movement, after)) }
        }
        change.append(news())
        return change
    }

    private mutating func speak(_ customer: Customer, _ sign: Int) {
        guard let id = customer.vendedorID else { return }
        let count = (spoken[id] ?? 0) + sign
        spoken[id] = count == 0 ? nil : count
    }

    private mutating func note(_ customer: Customer) {
        for day in dates(of: customer) where day > figures.view.day { dated = min(dated ?? day, day) }
    }

    /// Each once.
    private func dates(of customer: Customer) -> [CivilDate] {
        let (joined, left) = (customer.dayOfAdhesion, customer.dayOfCancellation)
        return [joined, left == joined ? nil : left].compactMap { $0 }
    }

    private mutating func note(_ customers: Paged<Customer>) {
        (spoken, dated) = ([:], nil)
        for customer in customers {
            speak(customer, 1)
            note(customer)
        }
    }

    /// - Returns: how many there are now.
    /// - Throws: a refusal if that were more than are kept.
    package mutating func put(
        _ sellers: [Seller],
        _ customers: Paged<Customer>,
        _ moment: Moment
    ) throws(Refusal) -> (created: Int, updated: Int, Change) {
        guard Set(sellers.map(\.id)).union(book.sellers.keys).count <= Self.maxSellers else {
            throw Refusal(.conflict, "too_many_sellers", "Já há o máximo de \(Self.maxSellers) vendedores.")
        }
        var change = timePassed(customers, moment)
        let month = BusinessZone.today(moment.now).month
        var (created, updated) = (0, 0)
        for var seller in sellers {
            let before = book.sellers[seller.id]
            seller.follows(before, in: month)
            guard seller != before else { continue }
            seller.version += 1
            if before == nil { created += 1 } else { updated += 1 }
            book.put(seller)
            change.rows.append(seller.image(of: tenant))
        }
        if created + updated > 0 {
            rebuild(customers, moment.now)
            change.append(news())
        }
        return (created, updated, change)
    }

    package var config: CommissionConfig { figures.config }

    /// Holds from this month on: what is over keeps what it was computed with.
    package mutating func configure(_ changes: CommissionChanges, _ customers: Paged<Customer>, _ moment: Moment) -> (CommissionConfig, Change) {
        var change = timePassed(customers, moment)
        let month = BusinessZone.today(moment.now).month
        let before = plan.config(of: month)
        var config = changes.applied(to: before)
        guard config != before else { return (before, change) }
        config.updatedAt = moment.now
        plan.put(config, from: month)
        let version = (planVersions[month] ?? 0) + 1
        planVersions[month] = version
        rebuild(customers, moment.now)
        change.rows.append(
            RowImage(
                SalesTables.commissionConfigs,
                version: version,
                values: [.id(tenant), .integer(Int64(month.index)), .json(config.stored), .timestamp(moment.now)]
            )
        )
        var writer = JSONWriter()
        writer.object {
            $0.field("type", "sales.config")
            $0.key("config")
            config.write(to: &$0)
        }
        change.events.append(Event(channel: Self.channel, payload: writer.bytes))
        change.append(news())
        return (config, change)
    }

    /// A new day has begun, perhaps: of a new month, or one that something is dated.
    package mutating func timePassed(_ customers: Paged<Customer>, _ moment: Moment) -> Change {
        let (today, shown) = (BusinessZone.today(moment.now), figures.view)
        guard today != shown.day else { return Change() }
        if today.month == shown.month, today > shown.day, dated.map({ today < $0 }) ?? true {
            figures.dayBegan(today)
            return Change()
        }
        toldThrough = max(toldThrough, shown.day)
        let due = dawned(customers, through: today)
        // Once a clock that was far ahead is right, the days come anew.
        toldThrough = min(max(toldThrough, today), today + 1)
        rebuild(customers, moment.now)
        var change = Change()
        for (day, customer) in due { change.events += MRRMovement.dawning(on: day, customer).map { event(of: $0, customer) } }
        // Tiers begin anew, which nobody has reached or lost.
        if today.month != shown.month { told.tiers = known().tiers }
        change.append(news())
        return change
    }

    /// Those of whom something has come true and is not told, by day.
    private func dawned(_ customers: Paged<Customer>, through today: CivilDate) -> [(day: CivilDate, customer: Customer)] {
        guard let dated, dated <= today else { return [] }
        var due: [(day: CivilDate, customer: Customer)] = []
        for customer in customers { for day in dates(of: customer) where toldThrough < day && day <= today { due.append((day, customer)) } }
        return due.sorted { ($0.day, $0.customer.id) < ($1.day, $1.customer.id) }
    }

    /// Everything computed anew.
    package mutating func recompute(_ customers: Paged<Customer>, _ moment: Moment) -> Change {
        var change = timePassed(customers, moment)
        rebuild(customers, moment.now)
        change.append(news())
        return change
    }

    private mutating func rebuild(_ customers: Paged<Customer>, _ now: Timestamp) {
        let today = BusinessZone.today(now)
        figures = SalesFigures(customers, .init(today: today), plan.config(of: today.month), book)
        note(customers)
    }

    /// When the month ends, or something comes true before.
    package var nextDue: Timestamp {
        let next = YearMonth(index: figures.view.month.index + 1).firstDay
        return BusinessZone.start(of: min(dated ?? next, next))
    }

    // MARK: Looking

    /// The figures of a month as they were at its end; without one, as they are.
    package func figures(of month: YearMonth?, _ customers: Paged<Customer>) -> SalesFigures {
        guard let month else { return figures }
        return SalesFigures(customers, .init(endOf: month), plan.config(of: month), book)
    }

    /// By how much what customers pay moved in a month, by kind: how many, and the sum of differences. Of the one that runs, as far as it has come, without.
    package func movements(in month: YearMonth?, _ customers: Paged<Customer>) -> [MRRMovementKind: (count: Int, sum: Money)] {
        let view = month.map { SaleTerms.View(endOf: $0) } ?? figures.view
        var movements: [MRRMovementKind: (count: Int, sum: Money)] = [:]
        for customer in customers {
            for movement in MRRMovement.of(customer, view) {
                movements[movement.kind, default: (0, .zero)].count += 1
                movements[movement.kind, default: (0, .zero)].sum += movement.after - movement.before
            }
        }
        return movements
    }

    // MARK: Events

    package static let channel = "sales"

    private func known() -> Told {
        let ranking = figures.ranking(book)
        return Told(
            ranking: ranking.map(\.seller.id),
            lines: ranking,
            tiers: Dictionary(uniqueKeysWithValues: ranking.map { ($0.seller.id, $0.figures.tier(figures.config)) }),
            config: figures.config
        )
    }

    /// What subscribers do not know yet: tiers reached, places taken, the figures themselves.
    private mutating func news() -> Change {
        let now = known()
        guard now != told else { return Change() }
        defer { told = now }
        var change = Change()
        for line in now.lines {
            guard let tier = now.tiers[line.seller.id], tier > told.tiers[line.seller.id] ?? .bronze else { continue }
            var writer = JSONWriter()
            writer.object {
                $0.field("type", "sales.tier")
                $0.key("vendedor")
                line.seller.write(to: &$0)
                $0.field("de", (told.tiers[line.seller.id] ?? .bronze).name)
                $0.field("tier", tier.name)
                $0.field("novosMes", line.figures.news)
                $0.field("percentualMrr", raw: figures.config.mrrShare(tier).description)
                $0.field("percentualSetup", raw: figures.config.setupShare(tier).description)
            }
            change.events.append(Event(channel: Self.channel, payload: writer.bytes))
        }
        if now.lines != told.lines || now.config != told.config {
            let known = Dictionary(uniqueKeysWithValues: told.lines.map { ($0.seller.id, $0) })
            let gone = Set(told.ranking).subtracting(now.ranking)
            var writer = JSONWriter(capacity: 4096)
            writer.object {
                $0.field("type", "sales.ranking")
                $0.field("month", figures.view.month.description)
                $0.list("movimentos") { list in
                    let before = Dictionary(uniqueKeysWithValues: told.ranking.enumerated().map { ($1, $0) })
                    for (index, id) in now.ranking.enumerated() where before[id] != index {
                        list.object {
                            $0.field("vendedor_id", id)
                            $0.field("de", before[id].map { $0 + 1 })
                            $0.field("para", index + 1)
                        }
                    }
                }
                // Of many sellers few become others with one change.
                $0.list("vendedores") { list in
                    for (index, line) in now.lines.enumerated() where now.config != told.config || known[line.seller.id] != line {
                        figures.write(line, position: index + 1, to: &list)
                    }
                }
                $0.list("sairam") { list in for id in gone.sorted() { list.int(id) } }
            }
            change.events.append(Event(channel: Self.channel, payload: writer.bytes))
        }
        var writer = JSONWriter(capacity: 512)
        writer.object {
            $0.field("type", "sales.dashboard")
            $0.field("month", figures.view.month.description)
            $0.key("dashboard")
            figures.writeDashboard(to: &$0)
        }
        change.events.append(Event(channel: Self.channel, payload: writer.bytes))
        return change
    }

    private func event(of movement: MRRMovement, _ customer: Customer) -> Event {
        let seller = book.named(book.seller(of: customer, in: figures.view.month), called: customer.vendedor)
        var writer = JSONWriter()
        writer.object {
            $0.field("type", movement.kind == .new ? "sales.sale" : movement.kind == .churn ? "sales.churn" : "sales.movement")
            $0.field("movimento", movement.kind.rawValue)
            $0.field("cliente_id", String(customer.id))
            $0.field("clientName", customer.nome ?? "")
            $0.key("vendedor")
            seller.write(to: &$0)
            $0.field("antes", raw: movement.before.description)
            $0.field("depois", raw: movement.after.description)
            $0.field("setupValue", raw: customer.setup.description)
        }
        return Event(channel: Self.channel, payload: writer.bytes)
    }

    /// The snapshot of the channel `sales`: `{month, dashboard, ranking, config}`.
    package func snapshot() -> [UInt8] {
        var writer = JSONWriter(capacity: 4096)
        writer.object {
            $0.field("month", figures.view.month.description)
            $0.key("dashboard")
            figures.writeDashboard(to: &$0)
            $0.key("ranking")
            figures.writeRanking(book, to: &$0)
            $0.key("config")
            figures.config.write(to: &$0)
        }
        return writer.bytes
    }
}
