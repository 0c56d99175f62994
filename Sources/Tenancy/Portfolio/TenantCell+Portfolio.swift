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

    static func load(_ tenant: TenantID, from store: any Store, now: Timestamp) async throws(Refusal) -> Portfolio {
        let customers = CustomerBoard(tenant: tenant, loaded: try await CustomerBoard.load(tenant, from: store, now: now))
        let sales = try await SalesBoard.load(tenant, from: store)
        return Portfolio(
            customers: customers,
            sales: SalesBoard(tenant: tenant, loaded: sales, customers: customers.portfolio.customers, now: now)
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
    package let dashboard: Dashboard
    package let sales: SalesBoard
    /// `GET /health-scores` as it was written last.
    package let healthPages: PageMemo
}

extension TenantCell {
    /// Customers looked at in one turn when time alone has moved their scores.
    private static let decayBatch = 2000

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
    private func onPortfolio<T: Sendable>(_ body: (inout Portfolio, Moment) throws(Refusal) -> (T, Change)) -> Pending<T> {
        guard portfolio != nil else { preconditionFailure("the portfolio was not brought in") }
        let moment = environment.moment()
        do throws(Refusal) {
            let decision = try body(&portfolio!, moment)
            return settle(.success(decision))
        } catch {
            return settle(.failure(error))
        }
    }

    func portfolioTimePassed(_ moment: Moment) -> Change { portfolio?.timePassed(moment, limit: Self.decayBatch) ?? Change() }

    /// To be asked before customers become others.
    /// - Throws: a refusal if the plan has no room for those who are new, or there are too many sellers among them.
    package func admitCustomers(_ patches: [CustomerPatch]) throws(Refusal) {
        guard let portfolio else { preconditionFailure("the portfolio was not brought in") }
        try portfolio.sales.admit(patches)
        meterIsNow(environment.moment())
        let new = Set(patches.map(\.id)).count { portfolio.customers.portfolio.place(of: $0) == nil }
        guard new > 0, let left = meter.left(.customers), new > left else { return }
        let refusal = meter.refusal(.customers)
        refused(refusal)
        throw refusal
    }

    package func upsertCustomers(_ patches: [CustomerPatch]) -> Pending<CustomerBoard.Upserted> {
        do throws(Refusal) { try admitCustomers(patches) } catch { return settle(.failure(error)) }
        return onPortfolio { portfolio, moment throws(Refusal) in
            // What is said today is said of a day that has begun.
            var change = portfolio.sales.timePassed(portfolio.customers.portfolio.customers, moment)
            let (upserted, more) = try portfolio.customers.upsert(patches, moment)
            change.append(more)
            change.append(portfolio.sales.changed(upserted.changes, moment))
            customers = portfolio.customers.portfolio.count
            meterIsNow(moment)
            return (upserted, metered(&change, moment))
        }
    }

    /// - Parameter mark: remembers that it was done, together with it.
    package func record(_ activities: [Activity], mark: Mark?) -> Pending<Void> {
        onPortfolio { portfolio, moment throws(Refusal) in
            var change = try portfolio.customers.record(activities, moment)
            if let mark { change.marks.append(mark) }
            return ((), change)
        }
    }

    /// Which of these customers there are not.
    package func unknownCustomers(_ ids: [Int64]) -> Set<Int64> {
        guard let portfolio else { return [] }
        return Set(ids.filter { portfolio.customers.portfolio.place(of: $0) == nil })
    }

    package func customers(_ ids: [Int64]) -> Pending<[Int64: Customer]> {
        onPortfolio { portfolio, _ in
            let known = ids.compactMap { portfolio.customers.portfolio.customer($0) }
            return (Dictionary(known.map { ($0.id, $0) }) { first, _ in first }, Change())
        }
    }

    package func portfolioView() -> Pending<PortfolioView> {
        onPortfolio { portfolio, moment in
            let change = portfolio.timePassed(moment, limit: .max)
            let view = PortfolioView(
                now: moment.now,
                customers: portfolio.customers.portfolio.customers,
                vitals: portfolio.customers.portfolio.vitals,
                dashboard: portfolio.customers.portfolio.dashboard,
                sales: portfolio.sales,
                healthPages: healthPages
            )
            return (view, change)
        }
    }

    package func customer(_ id: Int64) -> Pending<CustomerDetail> {
        onPortfolio { portfolio, moment throws(Refusal) in
            let change = portfolio.timePassed(moment, limit: Self.decayBatch)
            let customers = portfolio.customers.portfolio
            guard let place = customers.place(of: id) else { throw .notFound(.customer) }
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

    package func finishAction(_ action: CustomerAction) -> Pending<Void> {
        var change = Change()
        change.rows.append(action.image(of: tenant))
        change.events.append(action.doneEvent)
        return settle(.success(((), change)))
    }
}
