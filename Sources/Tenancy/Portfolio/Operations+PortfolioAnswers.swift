package import CustomerHealth
package import Kernel
package import Sales
import Wire

/// What is answered about customers and sales, at whichever door it is asked.
extension Operations {
    // MARK: Customers

    package func putCustomers(_ patches: [CustomerPatch], _ tenant: TenantID) async throws(Refusal) -> [UInt8] {
        let (created, updated, unchanged) = try await upsertCustomers(patches, tenant)
        return Self.answer {
            $0.field("total", patches.count)
            $0.field("criados", created)
            $0.field("atualizados", updated)
            $0.field("inalterados", unchanged)
        }
    }

    /// - Parameter keyField: where the request has its key.
    package func recordActivities(
        _ activities: [Activity],
        key: String?,
        keyField: [String] = ActivityBatch.header,
        _ tenant: TenantID
    ) async throws(Refusal) -> [UInt8] {
        let recorded = try await record(activities, key: key, keyField: keyField, tenant)
        return Self.answer {
            $0.field("aceitas", recorded)
            $0.field("recusadas", 0)
            $0.list("erros") { _ in }
        }
    }

    /// The KPIs of those who joined within a range.
    package func customerDashboard(_ range: AdhesionRange, _ tenant: TenantID) async throws(Refusal) -> [UInt8] {
        if range.isOpen { return try await portfolioSums(tenant).dashboard.json }
        let view = try await portfolio(tenant)
        return CustomerPortfolio.dashboard(view.customers, view.vitals, range, now: view.now).json
    }

    /// The accesses of the last 30 days, newest first.
    /// - Parameter shown: how many are listed, at the most; all of them are counted.
    package func logins(of id: Int64, shown: Int = .max, _ tenant: TenantID) async throws(Refusal) -> LoginList {
        let customer = try await customer(id, tenant)
        return try await LoginList(of: id, tenant, in: store, now: customer.now, longAnswers, shown: shown)
    }

    /// The score at the end of each day on which it moved, or of every day, oldest first.
    /// - Parameters:
    ///   - from: 90 days before `to` unless told.
    ///   - to: today at the latest.
    ///   - place: where the dates come from, for what is wrong with them.
    package func healthHistory(
        of id: Int64,
        from: CivilDate?,
        to: CivilDate?,
        everyDay: Bool,
        place: String = "body",
        _ tenant: TenantID
    ) async throws(Refusal) -> [UInt8] {
        let today = BusinessZone.today(now)
        let to = min(to ?? today, today)
        let from = from ?? to + -90
        guard from <= to, to - from <= 3660 else {
            throw .invalid([.init([place, "inicio"], "deve ser até dez anos antes de fim", type: "date_range")])
        }
        let history = try await healthHistory(of: id, from: from, to: to, tenant)
        return Self.answer { body in
            body.field("tenant_id", id)
            body.field("inicio", from.description)
            body.field("fim", to.description)
            body.list("dias") { list in
                guard everyDay else {
                    // The one before them says only how it was when they began.
                    for (day, score) in history where day >= from { Self.write(score, on: day, to: &list) }
                    return
                }
                var place = 0
                var current: HealthScore?
                for offset in 0...(to - from) {
                    let day = from + offset
                    while place < history.count, history[place].0 <= day {
                        current = history[place].1
                        place += 1
                    }
                    if let current { Self.write(current, on: day, to: &list) }
                }
            }
        }
    }

    private static func write(_ score: HealthScore, on day: CivilDate, to writer: inout JSONWriter) {
        writer.object {
            $0.field("data", day.description)
            $0.field("score_total", Double(score.total) / Double(HealthScore.totalUnits))
            $0.field("categoria", score.category.name)
            for pillar in HealthScore.Pillar.allCases { $0.field("score_\(pillar.rawValue)", pillar.value(score)) }
        }
    }

    /// `{items}`, newest first.
    /// - Parameter state: `abertas`, `concluidas` or `todas`.
    package func customerActions(
        _ state: String,
        cs: String?,
        limit: Int,
        place: String = "body",
        _ tenant: TenantID
    ) async throws(Refusal) -> [UInt8] {
        guard let isOpen = ["abertas": true, "concluidas": false, "todas": nil][state] else {
            throw .invalid([.init([place, "estado"], "deve ser abertas, concluidas ou todas", type: "enum")])
        }
        let actions = try await customerActions(isOpen: isOpen, cs: cs, limit: limit, tenant)
        return Self.answer { $0.list("items") { list in for action in actions { action.write(to: &list) } } }
    }

    package func finishedAction(_ id: CustomerActionID, by name: String, _ tenant: TenantID) async throws(Refusal) -> [UInt8] {
        let action = try await finishAction(id, by: name, tenant)
        var writer = JSONWriter()
        action.write(to: &writer)
        return writer.bytes
    }

    // MARK: Sales

    package enum SalesReport: Sendable {
        case summary, ranking, dashboard
    }

    /// As it was at the end of `month`; without one, as it is.
    package func sales(_ report: SalesReport, of month: YearMonth?, _ tenant: TenantID) async throws(Refusal) -> [UInt8] {
        let (figures, book): (SalesFigures, SellerBook)
        if let month {
            let view = try await portfolio(tenant)
            (figures, book) = (view.sales.figures(of: month, view.customers), view.sales.book)
        } else {
            let sales = try await portfolioSums(tenant).sales
            (figures, book) = (sales.figures, sales.book)
        }
        var writer = JSONWriter(capacity: 8192)
        switch report {
        case .summary: figures.writeSummary(book, to: &writer)
        case .ranking: figures.writeRanking(book, to: &writer)
        case .dashboard: figures.writeDashboard(to: &writer)
        }
        return writer.bytes
    }

    package func sellers(_ tenant: TenantID) async throws(Refusal) -> [UInt8] {
        let book = try await portfolioSums(tenant).sales.book
        var writer = JSONWriter()
        writer.array { list in for seller in book.active { seller.write(to: &list) } }
        return writer.bytes
    }

    package func putSellers(_ sellers: [Seller], _ tenant: TenantID) async throws(Refusal) -> [UInt8] {
        let (created, updated): (Int, Int) = try await putSellers(sellers, tenant)
        return Self.answer {
            $0.field("total", sellers.count)
            $0.field("criados", created)
            $0.field("atualizados", updated)
        }
    }

    /// What `month` is computed with; without one, the month that runs.
    package func commissionConfig(of month: YearMonth?, _ tenant: TenantID) async throws(Refusal) -> [UInt8] {
        let sales = try await portfolioSums(tenant).sales
        return (month.map { sales.plan.config(of: $0) } ?? sales.config).json
    }

    /// New, expansion, contraction, churn, reactivation; of the month that runs unless told.
    package func mrr(of month: YearMonth?, _ tenant: TenantID) async throws(Refusal) -> [UInt8] {
        let (month, movements) = try await mrrMovements(month, tenant)
        return Self.answer { body in
            body.field("month", month.description)
            for kind in MRRMovementKind.allCases {
                let (count, sum) = movements[kind] ?? (0, .zero)
                body.field(
                    kind.rawValue,
                    object: {
                        $0.field("quantidade", count)
                        $0.field("valor", raw: sum.description)
                    }
                )
            }
            body.field("liquido", raw: movements.values.reduce(Money.zero) { $0 + $1.sum }.description)
        }
    }

    /// What a seller is paid for a month.
    package func statement(of seller: Int64, _ month: YearMonth?, _ tenant: TenantID) async throws(Refusal) -> CommissionStatement {
        let view = try await portfolio(tenant)
        let figures = view.sales.figures(of: month, view.customers)
        guard let line = figures.lines(view.sales.book).first(where: { $0.seller.id == seller }) else { throw .notFound(.seller) }
        return CommissionStatement(line.seller, figures, view.customers, view.sales.book)
    }

    static func answer(_ members: (inout JSONWriter) -> Void) -> [UInt8] {
        var writer = JSONWriter(capacity: 1024)
        writer.object(members)
        return writer.bytes
    }
}
