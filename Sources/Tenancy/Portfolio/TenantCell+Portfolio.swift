package import CustomerHealth
package import Kernel
import Plans
package import Sales
package import Storage
import Wire

/// What a business knows of its customers and their sales: both boards, in one turn.
package struct Portfolio: Sendable {
    var customers: CustomerBoard
    var sales: SalesBoard
    /// What the business's Kommo calls things, if it has said.
    var kommo: (names: KommoNames, version: Int64)?

    static func load(_ tenant: TenantID, from store: any Store, now: Timestamp) async throws(Refusal) -> Portfolio {
        let customers = CustomerBoard(tenant: tenant, loaded: try await CustomerBoard.load(tenant, from: store, now: now))
        let sales = try await SalesBoard.load(tenant, from: store)
        return Portfolio(
            customers: customers,
            sales: SalesBoard(tenant: tenant, loaded: sales, customers: customers.portfolio.customers, now: now),
            kommo: try await KommoNames.load(tenant, from: store)
        )
    }

    var nextDue: Timestamp { min(customers.nextDue ?? .distantFuture, sales.nextDue) }

    mutating func timePassed(_ moment: Moment, limit: Int) -> Change {
        var change = customers.timePassed(moment, limit: limit)
        change.append(sales.timePassed(customers.portfolio.customers, moment))
        return change
    }
}

/// All of a portfolio at one moment, to be read beside the turns that go on.
package struct PortfolioView: Sendable {
    package let now: Timestamp
    package let customers: Paged<Customer>
    package let vitals: Paged<CustomerVitals>
    package let sales: SalesBoard
    /// `GET /health-scores` as it was written last.
    package let healthPages: PageMemo
}

extension TenantCell {
    /// Customers looked at in one turn when time alone has moved their scores.
    private static let decayBatch = 2000

    /// Whether something of these channels' snapshots is the portfolio's.
    func needsPortfolio(_ channels: [Channel]) -> Bool {
        channels.contains { channel in
            switch channel {
            case .health, .sales: true
            case .user: hasCustomers
            default: false
            }
        }
    }

    /// Reads the portfolio if it is not in memory. Whoever asks meanwhile waits for the same.
    package func bringPortfolio() async throws(Refusal) {
        if portfolio != nil { return }
        let task: Task<Result<Portfolio, Refusal>, Never>
        if let portfolioLoading {
            task = portfolioLoading
        } else {
            let (tenant, store, now) = (tenant, store, environment.now())
            task = Task.detached {
                do throws(Refusal) { return .success(try await Portfolio.load(tenant, from: store, now: now)) } catch { return .failure(error) }
            }
            portfolioLoading = task
        }
        let result = await task.value
        portfolioLoading = nil
        // Somebody who waited as well may have been here before, and things may have changed since.
        if portfolio == nil { portfolio = try result.get() }
    }

    /// Runs a decision on the portfolio, which has been brought in.
    func onPortfolio<T: Sendable>(_ body: (inout Portfolio, Moment) throws(Refusal) -> (T, Change)) -> Pending<T> {
        guard portfolio != nil else { preconditionFailure("the portfolio was not brought in") }
        let moment = environment.moment()
        portfolio!.customers.staff = staff(tenant)
        do throws(Refusal) {
            let decision = try body(&portfolio!, moment)
            return settle(.success(decision))
        } catch {
            return settle(.failure(error))
        }
    }

    func portfolioTimePassed(_ moment: Moment) -> Change {
        portfolio?.customers.staff = staff(tenant)
        return portfolio?.timePassed(moment, limit: Self.decayBatch) ?? Change()
    }

    /// To be asked before customers become others.
    /// - Throws: a refusal if the plan has no room for those who are new, or there are too many sellers among them.
    package func admitCustomers(_ patches: [CustomerPatch]) throws(Refusal) {
        try admitSellers(of: patches)
        guard let portfolio else { preconditionFailure("the portfolio was not brought in") }
        meterIsNow(environment.moment())
        let new = Set(patches.map(\.id)).count { portfolio.customers.portfolio.place(of: $0) == nil }
        guard new > 0, let left = meter.left(.customers), new > left else { return }
        let refusal = meter.refusal(.customers)
        refused(refusal)
        throw refusal
    }

    package func upsertCustomers(_ patches: [CustomerPatch]) -> Pending<CustomerBoard.Upserted> {
        do throws(Refusal) { try admitCustomers(patches) } catch { return settle(.failure(error)) }
        return upsert { customers, moment throws(Refusal) in try customers.upsert(patches, moment) }
    }

    package func admitSellers(of patches: [CustomerPatch]) throws(Refusal) {
        guard let portfolio else { preconditionFailure("the portfolio was not brought in") }
        try portfolio.sales.admit(patches)
    }

    package func admitSellers(of reports: [LeadReport]) throws(Refusal) {
        guard let portfolio else { preconditionFailure("the portfolio was not brought in") }
        try portfolio.sales.admit(portfolio.customers.patches(of: reports))
    }

    /// Those who are known, and of those who are new as many as the plan has room for.
    package func upsertCustomersThatFit(_ patches: [CustomerPatch]) -> Pending<CustomerBoard.Upserted> {
        do throws(Refusal) { try admitSellers(of: patches) } catch { return settle(.failure(error)) }
        return upsert { [self] customers, moment throws(Refusal) in try customers.upsert(patches, room: room(moment), moment) }
    }

    package func upsertCustomersThatFit(_ reports: [LeadReport]) -> Pending<CustomerBoard.Upserted> {
        do throws(Refusal) { try admitSellers(of: reports) } catch { return settle(.failure(error)) }
        return upsert { [self] customers, moment throws(Refusal) in try customers.upsert(reports, room: room(moment), moment) }
    }

    private func room(_ moment: Moment) -> Int? {
        meterIsNow(moment)
        return meter.left(.customers)
    }

    /// What is to be said of those whom the plan had no room for.
    package func refusal(ofLeftOut count: Int) -> Refusal {
        meterIsNow(environment.moment())
        let limit = meter.refusal(.customers)
        refused(limit)
        let left = count == 1 ? "1 cliente novo ficou de fora" : "\(count) clientes novos ficaram de fora"
        var refusal = Refusal(limit.kind, limit.code, "\(limit.message) \(left); o restante foi recebido.", facts: limit.facts)
        (refusal.numbers, refusal.nulls) = (limit.numbers, limit.nulls)
        refusal.numbers["left_out"] = count
        return refusal
    }

    package func removeFromSource(_ ids: [Int64]) -> Pending<CustomerBoard.Upserted> {
        upsert { customers, moment throws(Refusal) in try customers.removedFromSource(ids, moment) }
    }

    package func goneFromSource(_ present: Set<Int64>) -> (known: Int, gone: [Int64]) {
        portfolio?.customers.goneFromSource(present) ?? (0, [])
    }

    private func upsert(
        _ body: (inout CustomerBoard, Moment) throws(Refusal) -> (CustomerBoard.Upserted, Change)
    ) -> Pending<CustomerBoard.Upserted> {
        // What is said today is said of a day that has begun, which is told also if it is refused.
        if portfolio.map({ $0.sales.figures.view.day != BusinessZone.today(environment.now()) }) ?? false {
            _ = onPortfolio { portfolio, moment in ((), portfolio.sales.timePassed(portfolio.customers.portfolio.customers, moment)) }
        }
        return onPortfolio { portfolio, moment throws(Refusal) in
            var (upserted, change) = try body(&portfolio.customers, moment)
            change.append(portfolio.sales.changed(upserted.changes, moment))
            customers = portfolio.customers.portfolio.count
            meterIsNow(moment)
            return (upserted, metered(&change, moment))
        }
    }

    /// Records a batch, those of customers that there are. That it was done is remembered together with it, and looked up in the same turn.
    /// - Parameter earlier: what was stored under its key when somebody looked.
    package func record(_ batch: ActivityBatch, earlier: String?) -> Pending<ActivityBatch.Outcome> {
        onPortfolio { portfolio, moment throws(Refusal) in
            if let once = batch.once, let known = recordedLately[once.mark] ?? earlier {
                return (try ActivityBatch.outcome(known, once), Change())
            }
            let known = batch.activities.filter { portfolio.customers.portfolio.place(of: $0.activity.customer) != nil }
            let unknown = batch.activities.filter { portfolio.customers.portfolio.place(of: $0.activity.customer) == nil }
            let outcome = ActivityBatch.Outcome(recorded: known.count, left: Set(unknown.map(\.line) + batch.left), isRepeat: false)
            // With nothing recorded, there is nothing to be recorded twice.
            guard !known.isEmpty else { return (outcome, Change()) }
            var change = try portfolio.customers.record(known.map(\.activity), moment)
            if let once = batch.once {
                let result = ActivityBatch.text(outcome, once.digest)
                change.marks.append(Mark(once.mark, at: moment.now, result: result))
                recordedLately.keep(result, for: once.mark)
            }
            return (outcome, change)
        }
    }

    /// Which of these customers there are not.
    package func unknownCustomers(_ ids: [Int64]) -> Set<Int64> {
        guard let portfolio else { return [] }
        return Set(ids.filter { portfolio.customers.portfolio.place(of: $0) == nil })
    }

    func portfolioView(after customer: Int64?) -> Pending<(view: PortfolioView, start: Int)> {
        onPortfolio { portfolio, moment throws(Refusal) in
            var start = 0
            if let customer {
                guard let place = portfolio.customers.portfolio.place(of: customer) else { throw .notFound(.customer) }
                start = place + 1
            }
            let change = portfolio.timePassed(moment, limit: .max)
            let view = PortfolioView(
                now: moment.now,
                customers: portfolio.customers.portfolio.customers,
                vitals: portfolio.customers.portfolio.vitals,
                sales: portfolio.sales,
                healthPages: healthPages
            )
            return ((view, start), change)
        }
    }

    /// The sums alone: no page of customers is held, which whoever changes one would have to copy.
    func portfolioSums() -> Pending<(dashboard: Dashboard, sales: SalesBoard)> {
        onPortfolio { portfolio, moment in
            let change = portfolio.timePassed(moment, limit: .max)
            return ((portfolio.customers.portfolio.dashboard, portfolio.sales), change)
        }
    }

    package func customer(_ id: Int64) -> Pending<CustomerDetail> {
        onPortfolio { portfolio, moment throws(Refusal) in
            guard let place = portfolio.customers.portfolio.place(of: id) else { throw .notFound(.customer) }
            let change = portfolio.customers.timePassed(for: place, moment)
            let customers = portfolio.customers.portfolio
            let detail = CustomerDetail(
                customer: customers.customers[place],
                vitals: customers.vitals[place],
                integrators: customers.integrators(of: id),
                now: moment.now
            )
            return (detail, change)
        }
    }

    package func putSellers(_ sellers: [Seller]) -> Pending<(created: Int, updated: Int)> {
        onPortfolio { portfolio, moment throws(Refusal) in
            let (created, updated, change) = try portfolio.sales.put(sellers, portfolio.customers.portfolio.customers, moment)
            return ((created, updated), change)
        }
    }

    package func configureCommission(_ changes: CommissionChanges) -> Pending<CommissionConfig> {
        onPortfolio { portfolio, moment in portfolio.sales.configure(changes, portfolio.customers.portfolio.customers, moment) }
    }

    /// Computes everything that is derived anew.
    /// - Returns: how many derived values there are.
    package func recomputePortfolio() -> Pending<Int> {
        onPortfolio { portfolio, moment in
            var (computed, change) = portfolio.customers.recompute(moment)
            change.append(portfolio.sales.recompute(portfolio.customers.portfolio.customers, moment))
            return (computed + portfolio.sales.figures.sellers.count, change)
        }
    }

    /// - Returns: `nil` for what is done already, or is none.
    package func finishAction(_ id: CustomerActionID, by name: String) -> Pending<CustomerAction?> {
        onPortfolio { portfolio, moment in portfolio.customers.finish(id, by: name, moment) }
    }
}
