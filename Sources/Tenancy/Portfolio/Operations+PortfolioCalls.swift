import CustomerHealth
package import Kernel
package import Sales
package import Wire

/// What a screen of customers and sales asks by remote procedure call: the twins of the REST calls, through the same functions. Lists come in pages.
package enum PortfolioCalls {
    package static let methods: Set<String> = [
        "customer.list", "customer.get", "customer.put", "customer.history", "customer.logins", "customer.actions", "customer.finish-action",
        "activity.record", "health.scores", "health.dashboard", "sales.sellers", "sales.put-sellers", "sales.customers", "sales.summary",
        "sales.ranking", "sales.dashboard", "sales.config", "sales.configure", "sales.mrr", "sales.statement",
    ]
    static let maxPage: Int64 = 500
}

extension Operations {
    func callPortfolio(_ method: String, _ data: JSON, by principal: Principal) async throws(Refusal) -> [UInt8] {
        let tenant = principal.tenant
        switch method {
        case "customer.put":
            try principal.requireAdministrator()
            return try await putCustomers(try CustomerPatch.list(data, now: now), tenant)
        case "sales.put-sellers":
            try principal.requireAdministrator()
            return try await putSellers(try Seller.list(data), tenant)
        case "sales.configure":
            try principal.requireAdministrator()
            return try await configureCommission(try CommissionChanges(data), tenant).json
        case "sales.sellers": return try await sellers(tenant)
        default:
            let fields = try RequestFields(data)
            return try await method.hasPrefix("sales.") ? callSales(method, fields, tenant) : callCustomers(method, data, fields, by: principal)
        }
    }

    private func callCustomers(_ method: String, _ data: JSON, _ given: RequestFields, by principal: Principal) async throws(Refusal) -> [UInt8] {
        var fields = given
        let tenant = principal.tenant
        switch method {
        case "activity.record":
            try principal.requireAdministrator()
            let key = fields.optionalText("idempotency_key", min: 1, max: 200)
            try fields.check()
            let activities = try Activity.list(data["atividades"] ?? data, now: now)
            return try await recordActivities(activities, key: key, keyField: ["body", "idempotency_key"], tenant)
        case "customer.list", "health.scores":
            let range = fields.adhesionRange()
            let (after, limit) = fields.page()
            try fields.check()
            let isScores = method == "health.scores"
            let today = BusinessZone.today(now)
            let (view, start) = try await portfolio(after: after, tenant)
            return view.page(isScores ? "scores" : "clientes", asObject: true, from: start, limit) { place, writer in
                let customer = view.customers[place]
                guard range.contains(customer), !isScores || customer.isActive(on: today) else { return false }
                writer.key(String(customer.id))
                if isScores {
                    HealthEntry.write(customer, view.vitals[place].facts(at: view.now), to: &writer)
                } else {
                    writer.object { customer.writeFields(to: &$0) }
                }
                return true
            }
        case "health.dashboard":
            let range = fields.adhesionRange()
            try fields.check()
            return try await customerDashboard(range, tenant)
        case "customer.actions":
            let state = fields.optionalText("estado", max: 20) ?? "abertas"
            let cs = fields.optionalText("cs", max: 500)
            let limit = fields.optionalInteger("limit", in: 1...1000) ?? 100
            try fields.check()
            return try await customerActions(state, cs: cs, limit: Int(limit), tenant)
        case "customer.finish-action":
            guard principal.role.canAttend else { throw .viewerOnly }
            let id: CustomerActionID? = fields.id("id", isRequired: true)
            try fields.check()
            guard let id else { throw .notFound(.action) }
            return try await finishedAction(id, by: principal.name, tenant)
        case "customer.logins":
            let id = fields.number("tenant_id", in: 1...Int64.max)
            try fields.check()
            return try await logins(of: id, shown: Int(PortfolioCalls.maxPage), tenant).whole()
        case "customer.history":
            let id = fields.number("client_id", in: 1...Int64.max)
            let (from, to) = (fields.optionalDate("inicio"), fields.optionalDate("fim"))
            let everyDay = fields.optionalBool("completo") ?? false
            try fields.check()
            return try await healthHistory(of: id, from: from, to: to, everyDay: everyDay, tenant)
        default:
            let id = fields.number("client_id", in: 1...Int64.max)
            try fields.check()
            return try await customer(id, tenant).json
        }
    }

    private func callSales(_ method: String, _ given: RequestFields, _ tenant: TenantID) async throws(Refusal) -> [UInt8] {
        var fields = given
        let month = fields.optionalMonth("month")
        switch method {
        case "sales.customers":
            let seller = fields.optionalNumber("vendedor_id", in: 1...Int64.max)
            let kind = fields.optionalText("lista", max: 20) ?? "todos"
            let selection = SaleSelection(rawValue: kind)
            if selection == nil { fields.refuse("lista", "deve ser todos, inadimplentes, novos ou churns", type: "enum") }
            let (after, limit) = fields.page()
            try fields.check()
            let (view, start) = try await portfolio(after: after, tenant)
            let list = SaleList(view, month: month, selection: selection ?? .todos, seller: seller)
            return view.page("clientes", asObject: false, places: view.customers.placesByID, from: start, limit, list.write)
        case "sales.statement":
            let seller = fields.number("vendedor_id", in: 1...Int64.max)
            try fields.check()
            let statement = try await statement(of: seller, month, tenant)
            var writer = JSONWriter(capacity: 4096)
            statement.write(to: &writer)
            return writer.bytes
        default:
            try fields.check()
            switch method {
            case "sales.config": return try await commissionConfig(of: month, tenant)
            case "sales.mrr": return try await mrr(of: month, tenant)
            case "sales.summary": return try await sales(.summary, of: month, tenant)
            case "sales.ranking": return try await sales(.ranking, of: month, tenant)
            default: return try await sales(.dashboard, of: month, tenant)
            }
        }
    }
}

/// Customers as the commissions of a month see them, and which of them are shown (contracts/vendas.md "Clientes").
package struct SaleList: Sendable {
    private let customers: Paged<Customer>
    private let book: SellerBook
    private let config: CommissionConfig
    private let terms: SaleTerms.View
    private let selection: SaleSelection
    private let seller: Int64?

    /// - Parameter month: as it was at its end; `nil`: as it is.
    package init(_ view: PortfolioView, month: YearMonth?, selection: SaleSelection, seller: Int64? = nil) {
        terms = month.map { SaleTerms.View(endOf: $0) } ?? view.sales.figures.view
        config = view.sales.plan.config(of: terms.month)
        (customers, book) = (view.customers, view.sales.book)
        (self.selection, self.seller) = (selection, seller)
    }

    /// - Returns: whether the one in that place is shown.
    @discardableResult
    package func write(_ place: Int, to writer: inout JSONWriter) -> Bool {
        let customer = customers[place]
        guard let its = SaleTerms(customer, terms, config, book), selection.contains(its, terms), seller == nil || its.seller == seller else {
            return false
        }
        its.write(customer, book, to: &writer)
        return true
    }
}

extension PortfolioView {
    /// `{name: …, proximo}`: so many of those from a place on; `proximo` is behind which customer to go on, null at the end.
    /// - Parameter places: in another order than that in which they came.
    func page(
        _ name: String,
        asObject isObject: Bool,
        places: [Int]? = nil,
        from start: Int,
        _ limit: Int,
        _ member: (Int, inout JSONWriter) -> Bool
    ) -> [UInt8] {
        func place(_ index: Int) -> Int { places?[index] ?? index }
        var index = start == 0 ? 0 : (places?.firstIndex(of: start - 1) ?? start - 1) + 1
        func write(_ writer: inout JSONWriter) {
            var left = limit
            while left > 0, index < customers.count {
                if member(place(index), &writer) { left -= 1 }
                index += 1
            }
        }
        return Operations.answer {
            $0.key(name)
            if isObject { $0.object(write) } else { $0.array(write) }
            $0.field("proximo", index < customers.count ? customers[place(index - 1)].id : nil)
        }
    }
}

extension RequestFields {
    /// A date; an empty one is none.
    mutating func optionalDate(_ name: String) -> CivilDate? {
        guard let text = optionalText(name, max: 64), !text.isEmpty else { return nil }
        guard let date = CivilDate(text) else {
            refuse(name, "deve ser uma data como 2024-03-15", type: "date_parsing")
            return nil
        }
        return date
    }

    fileprivate mutating func adhesionRange() -> AdhesionRange {
        let range = AdhesionRange(from: optionalDate("data_adesao_inicio"), to: optionalDate("data_adesao_fim"))
        if let from = range.from, let to = range.to, to < from {
            refuse("data_adesao_fim", "não pode ser antes de data_adesao_inicio", type: "date_range")
        }
        return range
    }

    /// `after` the customer with which the page before ended, and `limit`.
    fileprivate mutating func page() -> (after: Int64?, limit: Int) {
        (optionalNumber("after", in: 1...Int64.max), Int(optionalInteger("limit", in: 1...PortfolioCalls.maxPage) ?? 100))
    }
}
