package import Kernel

/// Somebody who sells.
package struct Seller: Sendable, Equatable {
    package let id: Int64
    package var name: String
    package var email: String?
    package var isActive: Bool
    /// What they were called, each name from a month on; `nil` where nobody knows since when.
    package private(set) var names: [Name]
    package var version: Int64 = 0

    package struct Name: Sendable, Equatable {
        package let since: YearMonth?
        package let name: String
    }

    /// Of one seller; of more, the first goes on and those after it are forgotten.
    static let maxNames = 50

    /// Whose sales nobody is paid for any more (contracts/vendas.md "99999999 para Vendas Antigas").
    package static let oldSalesID: Int64 = 99_999_999
    package static let oldSales = Seller(id: oldSalesID, name: "Vendas Antigas", email: nil, isActive: true)

    package init(id: Int64, name: String, email: String?, isActive: Bool, names: [Name]? = nil) {
        self.id = id
        self.name = name
        self.email = email
        self.isActive = isActive
        self.names = names ?? [Name(since: nil, name: name)]
    }

    /// Takes the place of who they were before: the months that are over know them by the names that they had.
    mutating func follows(_ before: Seller?, in month: YearMonth) {
        version = before?.version ?? 0
        guard let before else {
            names = [Name(since: month, name: name)]
            return
        }
        names = before.names
        guard names.last?.name.lowercased() != name.lowercased() else { return }
        names.append(Name(since: month, name: name))
        if names.count > Self.maxNames { names.remove(at: 1) }
    }

    /// Lower-case, of a month; before they were here, what they were called first.
    fileprivate func name(in month: YearMonth) -> String {
        (names.last { $0.since.map { $0 <= month } ?? true } ?? names[0]).name.lowercased()
    }
}

/// Who sells, by id and by name.
package struct SellerBook: Sendable, Equatable {
    package private(set) var sellers: [Int64: Seller] = [:]
    /// Who is or was called so, each id once.
    private var bearers: [String: Set<Int64>] = [:]
    /// Who is meant by a name, from a month on; `nil` for the month: before all others.
    private var byName: [String: [(since: YearMonth?, id: Int64)]] = [:]

    package init(_ sellers: [Seller] = []) {
        for seller in sellers { put(seller) }
    }

    package static func == (a: SellerBook, b: SellerBook) -> Bool { a.sellers == b.sellers }

    package mutating func put(_ seller: Seller) {
        // Nobody's, whatever it was once called.
        guard seller.id != Seller.oldSalesID else { return }
        let names = Set(((sellers[seller.id]?.names ?? []) + seller.names).map { $0.name.lowercased() })
        take(seller)
        for name in names { byName[name] = meant(by: name) }
    }

    private mutating func take(_ seller: Seller) {
        for known in sellers[seller.id]?.names ?? [] { bearers[known.name.lowercased()]?.remove(seller.id) }
        sellers[seller.id] = seller
        for known in seller.names { bearers[known.name.lowercased(), default: []].insert(seller.id) }
    }

    /// In each month whoever was called so, else who had been before, else who was first registered by it later; of several of them, whoever has the lowest id.
    private func meant(by name: String) -> [(since: YearMonth?, id: Int64)] {
        let its = (bearers[name] ?? []).sorted().compactMap { sellers[$0] }
        let months = Set(its.flatMap { $0.names.compactMap(\.since) }).sorted()
        var meant: [(since: YearMonth?, id: Int64)] = []
        for month in [nil] + months.map(Optional.some) {
            let at = month ?? YearMonth(index: 0)
            func isHere(_ seller: Seller) -> Bool { seller.names[0].since.map { $0 <= at } ?? true }
            let found =
                its.first { isHere($0) && $0.name(in: at) == name }
                ?? its.first { seller in seller.names.contains { $0.name.lowercased() == name && $0.since.map { $0 <= at } ?? true } }
                ?? its.filter { $0.name(in: at) == name }.min { ($0.names[0].since ?? at, $0.id) < ($1.names[0].since ?? at, $1.id) }
            if let found, found.id != meant.last?.id { meant.append((month, found.id)) }
        }
        return meant
    }

    /// Whose customer somebody is: by the id, else by the name that the CRM has, as it was understood in a month, else nobody's in particular.
    package func seller(of terms: SaleHistory.Terms, in month: YearMonth) -> Int64 {
        if let id = terms.vendedorID { return id }
        let meant = terms.vendedor.flatMap { byName[$0.lowercased()] }
        return meant?.last { $0.since.map { $0 <= month } ?? true }?.id ?? Seller.oldSalesID
    }
    package func seller(of customer: Customer, in month: YearMonth) -> Int64 { seller(of: customer.terms, in: month) }

    /// - Parameter name: what a customer of theirs calls somebody who was never registered.
    package func named(_ id: Int64, called name: String? = nil) -> Seller {
        if let seller = sellers[id] { return seller }
        if id == Seller.oldSalesID { return .oldSales }
        return Seller(id: id, name: name ?? "Vendedor \(id)", email: nil, isActive: false)
    }

    /// Those who are shown whether or not they have customers.
    package var active: [Seller] { sellers.values.filter(\.isActive).sorted { $0.id < $1.id } }
}

package enum SaleStatus: String, Sendable {
    case ativo, inadimplente, cancelado
}

/// A customer as the commissions of one month see it (contracts/vendas.md "Clientes", "Cálculo de Comissão Recorrente").
///
///     mesesAtivo         = calendar months from adhesion to the month, or to the cancellation, less those of which they were away
///     mesesComissao      = mesesAtivo − parcelasAtrasadas, at least 0
///     percentualComissao = mrr_recurrence[mesesComissao − 1]; 0 where there is none
///     valorComissao      = mrr × percentualComissao / 100, rounded to the centavo, half of one away from zero
package struct SaleTerms: Sendable, Equatable {
    package let seller: Int64
    /// What the CRM calls the seller.
    package let sellerName: String?
    package let valor: Money
    package let setup: Money
    package let overdue: Int
    package let status: SaleStatus
    /// `nil` also where nobody knows when.
    package let cancelledOn: CivilDate?
    package let monthsActive: Int
    package let commissionMonths: Int
    package let percentage: Percentage
    package let commission: Money
    /// Joined within the month.
    package let isNew: Bool
    /// Joined within the month and did not cancel within it: what tiers count, and what is paid for. A sale that is undone before its month is over is none.
    package var isSale: Bool { isNew && status != .cancelado }
    /// Cancelled within the month.
    package let isChurn: Bool

    /// A month as it was at its end, or the one that runs as it is today.
    package struct View: Sendable, Equatable {
        /// The month that commissions are of.
        package let month: YearMonth
        /// As it was at the month's end; else as everything is now.
        package let isHistoric: Bool
        /// What is dated later has not happened.
        package let day: CivilDate

        package init(endOf month: YearMonth) {
            self.month = month
            isHistoric = true
            day = month.lastDay
        }

        package init(today: CivilDate) {
            month = today.month
            isHistoric = false
            day = today
        }
    }

    /// `nil` for whom no commission is computed: who pays nothing, or had not joined yet.
    package init?(_ customer: Customer, _ view: View, _ config: CommissionConfig, _ sellers: SellerBook) {
        let terms = customer.terms(of: view.month)
        guard terms.valor > .zero else { return nil }
        let joined = customer.dayOfAdhesion
        guard joined.map({ $0 <= view.day }) ?? !view.isHistoric else { return nil }
        let cancellation = customer.cancellation(on: view.day)
        let end = cancellation.map { min($0.day?.month ?? view.month, view.month) } ?? view.month
        seller = sellers.seller(of: terms, in: view.month)
        sellerName = terms.vendedor
        valor = terms.valor
        setup = terms.setup
        overdue = terms.parcelasAtrasadas
        status = cancellation != nil ? .cancelado : overdue > 0 ? .inadimplente : .ativo
        cancelledOn = cancellation?.day
        monthsActive =
            joined.map { joined in
                let away = customer.history.absences.reduce(0) { $0 + max(0, min($1.back.month, end) - max($1.from.month, joined.month)) }
                return max(0, end - joined.month - away)
            } ?? 0
        commissionMonths = max(0, monthsActive - overdue)
        percentage = config.recurrence(month: commissionMonths)
        commission = valor.share(percentage)
        isNew = joined?.month == view.month
        isChurn = cancelledOn?.month == view.month
    }
}

/// Which customers are shown of all whose commissions are computed (contracts/vendas.md "Clientes").
package enum SaleSelection: String, Sendable {
    case todos, inadimplentes, novos, churns

    package func contains(_ terms: SaleTerms, _ view: SaleTerms.View) -> Bool {
        switch self {
        case .todos: true
        case .inadimplentes: terms.status == .inadimplente
        // With a month, all who had joined by its end; without, those of the month that runs (DESIGN §8).
        case .novos: terms.isNew || view.isHistoric
        case .churns: terms.isChurn
        }
    }
}
