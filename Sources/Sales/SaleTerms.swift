package import Kernel

/// Somebody who sells.
package struct Seller: Sendable, Equatable {
    package let id: Int64
    package var name: String
    package var email: String?
    package var isActive: Bool
    package var version: Int64 = 0

    /// Whose sales nobody is paid for any more (contracts/vendas.md "99999999 para Vendas Antigas").
    package static let oldSalesID: Int64 = 99_999_999
    package static let oldSales = Seller(id: oldSalesID, name: "Vendas Antigas", email: nil, isActive: true)

    package init(id: Int64, name: String, email: String?, isActive: Bool) {
        self.id = id
        self.name = name
        self.email = email
        self.isActive = isActive
    }
}

/// Who sells, by id and by name.
package struct SellerBook: Sendable, Equatable {
    package private(set) var sellers: [Int64: Seller] = [:]
    private var byName: [String: Int64] = [:]

    package init(_ sellers: [Seller] = []) {
        for seller in sellers.sorted(by: { $0.id < $1.id }) { put(seller) }
    }

    package mutating func put(_ seller: Seller) {
        if let before = sellers[seller.id], byName[before.name.lowercased()] == seller.id { byName[before.name.lowercased()] = nil }
        sellers[seller.id] = seller
        if let other = byName[seller.name.lowercased()], other < seller.id { return }
        byName[seller.name.lowercased()] = seller.id
    }

    /// Whose customer somebody is: by the id, else by the name that the CRM has, else nobody's in particular.
    package func seller(of customer: Customer) -> Int64 {
        customer.vendedorID ?? customer.vendedor.flatMap { byName[$0.lowercased()] } ?? Seller.oldSalesID
    }

    /// - Parameter customer: one of theirs, for the name of somebody who was never registered.
    package func named(_ id: Int64, by customer: Customer? = nil) -> Seller {
        if let seller = sellers[id] { return seller }
        if id == Seller.oldSalesID { return .oldSales }
        return Seller(id: id, name: customer?.vendedor ?? "Vendedor \(id)", email: nil, isActive: false)
    }

    /// Those who are shown whether or not they have customers.
    package var active: [Seller] { sellers.values.filter(\.isActive).sorted { $0.id < $1.id } }
}

package enum SaleStatus: String, Sendable {
    case ativo, inadimplente, cancelado
}

/// A customer as the commissions of one month see it (contracts/vendas.md "Clientes", "Cálculo de Comissão Recorrente").
///
///     mesesAtivo         = calendar months from adhesion to the month, or to the cancellation
///     mesesComissao      = mesesAtivo − parcelasAtrasadas, at least 0
///     percentualComissao = mrr_recurrence[mesesComissao − 1]; 0 where there is none
///     valorComissao      = mrr × percentualComissao / 100, rounded to the centavo, half of one away from zero
package struct SaleTerms: Sendable, Equatable {
    package let seller: Int64
    package let status: SaleStatus
    package let monthsActive: Int
    package let commissionMonths: Int
    package let percentage: Percentage
    package let commission: Money
    /// Joined within the month.
    package let isNew: Bool
    /// Cancelled within the month.
    package let isChurn: Bool

    /// When a month is looked at as it was, or now.
    package struct View: Sendable, Equatable {
        /// The month that commissions are of.
        package let month: YearMonth
        /// As it was at the month's end; else as everything is now.
        package let isHistoric: Bool

        package init(month: YearMonth, isHistoric: Bool) {
            self.month = month
            self.isHistoric = isHistoric
        }
    }

    /// `nil` for whom no commission is computed: who pays nothing, or had not joined yet.
    package init?(_ customer: Customer, _ view: View, _ config: CommissionConfig, _ sellers: SellerBook) {
        guard customer.valor > .zero else { return nil }
        let joined = customer.dayOfAdhesion
        if view.isHistoric { guard let joined, joined <= view.month.lastDay else { return nil } }
        let cancelled = customer.dayOfCancellation.flatMap { !view.isHistoric || $0 <= view.month.lastDay ? $0 : nil }
        let end = cancelled.map { min($0.month, view.month) } ?? view.month
        seller = sellers.seller(of: customer)
        status = cancelled != nil ? .cancelado : customer.parcelasAtrasadas > 0 ? .inadimplente : .ativo
        monthsActive = joined.map { max(0, end - $0.month) } ?? 0
        commissionMonths = max(0, monthsActive - customer.parcelasAtrasadas)
        percentage = config.recurrence(month: commissionMonths)
        commission = customer.valor.share(percentage)
        isNew = joined?.month == view.month
        isChurn = cancelled?.month == view.month
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
