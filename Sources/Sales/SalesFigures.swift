package import Kernel

/// One seller's month, as sums to which each customer adds and from which it can be taken again.
package struct SellerFigures: Sendable, Equatable {
    package var customers = 0
    package var ativos = 0
    package var inadimplentes = 0
    package var cancelados = 0
    package var mrr = Money.zero
    package var setup = Money.zero
    /// Of those that have not cancelled.
    package var recurring = Money.zero
    package var news = 0
    package var churns = 0
    package var months = 0
    /// What the month's new sales would bring in each tier, rounded sale by sale.
    package var tierMRR = [Money.zero, .zero, .zero]
    package var tierSetup = [Money.zero, .zero, .zero]
    /// Σ (mrr × mesesComissao + setup), of all customers.
    package var lifetime = MoneySum.zero
    package var allSetup = Money.zero

    package init() {}

    package mutating func count(_ terms: SaleTerms, _ config: CommissionConfig, _ sign: Int) {
        customers += sign
        switch terms.status {
        case .ativo:
            ativos += sign
            mrr += terms.valor * sign
            setup += terms.setup * sign
        case .inadimplente: inadimplentes += sign
        case .cancelado: cancelados += sign
        }
        if terms.status != .cancelado { recurring += terms.commission * sign }
        if terms.isSale {
            news += sign
            for tier in Tier.allCases {
                tierMRR[tier.rawValue] += terms.valor.share(config.mrrShare(tier)) * sign
                tierSetup[tier.rawValue] += terms.setup.share(config.setupShare(tier)) * sign
            }
        }
        if terms.isChurn { churns += sign }
        months += terms.monthsActive * sign
        lifetime += terms.valor.over(months: terms.commissionMonths * sign)
        lifetime += MoneySum(terms.setup * sign)
        allSetup += terms.setup * sign
    }

    package func tier(_ config: CommissionConfig) -> Tier { config.tier(sales: news) }
    /// What the month's new sales bring.
    package func tierCommission(_ config: CommissionConfig) -> Money {
        let tier = tier(config).rawValue
        return tierMRR[tier] + tierSetup[tier]
    }
    package func commission(_ config: CommissionConfig) -> Money { recurring + tierCommission(config) }
}

/// All sellers' figures of one month.
package struct SalesFigures: Sendable, Equatable {
    package private(set) var view: SaleTerms.View
    package let config: CommissionConfig
    package private(set) var sellers: [Int64: SellerFigures] = [:]
    /// What customers call those sellers whom nobody registered.
    private var strangers: [Int64: SpokenNames] = [:]

    package init(_ view: SaleTerms.View, _ config: CommissionConfig) {
        self.view = view
        self.config = config
    }

    /// Computed from all customers.
    package init(_ customers: Paged<Customer>, _ view: SaleTerms.View, _ config: CommissionConfig, _ book: SellerBook) {
        self.init(view, config)
        for customer in customers { add(customer, book) }
    }

    package mutating func add(_ customer: Customer, _ book: SellerBook) { count(customer, book, 1) }
    package mutating func remove(_ customer: Customer, _ book: SellerBook) { count(customer, book, -1) }

    private mutating func count(_ customer: Customer, _ book: SellerBook, _ sign: Int) {
        guard let terms = SaleTerms(customer, view, config, book) else { return }
        sellers[terms.seller, default: SellerFigures()].count(terms, config, sign)
        if sellers[terms.seller]?.customers == 0 { sellers[terms.seller] = nil }
        if terms.seller != Seller.oldSalesID, book.sellers[terms.seller] == nil, let name = terms.sellerName {
            strangers[terms.seller, default: SpokenNames()].count(name, sign)
            if strangers[terms.seller]?.isEmpty == true { strangers[terms.seller] = nil }
        }
    }

    /// A day has begun on which nothing that is dated comes true.
    package mutating func dayBegan(_ day: CivilDate) { view = SaleTerms.View(today: day) }

    // MARK: What is shown

    package struct Line: Sendable, Equatable {
        package let seller: Seller
        package let figures: SellerFigures
    }

    /// Everybody who sells or has customers, by id.
    package func lines(_ book: SellerBook) -> [Line] {
        var ids = Set(book.active.map(\.id))
        ids.formUnion(sellers.keys)
        return ids.sorted().map { Line(seller: book.named($0, called: strangers[$0]?.first), figures: sellers[$0] ?? SellerFigures()) }
    }

    /// By what their active customers pay, then by sales, then by id.
    package func ranking(_ book: SellerBook) -> [Line] {
        lines(book).sorted { a, b in
            (b.figures.mrr, b.figures.news, a.seller.id) < (a.figures.mrr, a.figures.news, b.seller.id)
        }
    }

    /// The sums of all.
    package var totals: (figures: SellerFigures, commission: Money, recurring: Money, tier: Money) {
        var all = SellerFigures()
        var tier = Money.zero
        for figures in sellers.values {
            all.customers += figures.customers
            all.ativos += figures.ativos
            all.inadimplentes += figures.inadimplentes
            all.cancelados += figures.cancelados
            all.mrr += figures.mrr
            all.setup += figures.setup
            all.recurring += figures.recurring
            all.news += figures.news
            all.churns += figures.churns
            all.months += figures.months
            all.lifetime += figures.lifetime
            all.allSetup += figures.allSetup
            tier += figures.tierCommission(config)
        }
        return (all, all.recurring + tier, all.recurring, tier)
    }
}

/// What people call somebody, each name with how many say so.
struct SpokenNames: Sendable, Equatable {
    private var counts: [String: Int] = [:]
    /// The one that most say; of several the first by the alphabet.
    private(set) var first: String?

    var isEmpty: Bool { counts.isEmpty }

    mutating func count(_ name: String, _ sign: Int) {
        let count = (counts[name] ?? 0) + sign
        counts[name] = count == 0 ? nil : count
        if sign > 0 {
            if first.map({ isBefore(name, $0) }) ?? true { first = name }
        } else if name == first {
            first = counts.keys.min(by: isBefore)
        }
    }

    private func isBefore(_ a: String, _ b: String) -> Bool { (counts[b] ?? 0, a) < (counts[a] ?? 0, b) }
}
