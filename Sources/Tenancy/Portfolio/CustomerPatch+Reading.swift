package import CustomerHealth
package import Kernel
package import Sales
package import Wire

extension CustomerPatch {
    /// Customers in one request, at the most.
    package static let maxCount = 10_000

    /// One object or a list of them, fields as in contracts/ecosys-ms.md "Cliente" with `email`, `vendedor_id`, `setup_value`, `parcelas_atrasadas`, `slug` and
    /// `vale_desde`.
    /// - Throws: a 422 that names every field at fault, of all of them.
    package static func list(_ json: JSON?, now: Timestamp) throws(Refusal) -> [CustomerPatch] {
        let month = BusinessZone.today(now).month
        return try elements(json, max: maxCount) { element, location throws(Refusal) in try CustomerPatch(element, at: location, month: month) }
    }

    /// - Parameter month: the one that runs.
    package init(_ json: JSON?, at location: [String], month: YearMonth) throws(Refusal) {
        var fields = try RequestFields(json, at: location)
        let id = fields.number("client_id", in: 1...Int64.max)
        let changes = Self.changes(&fields)
        let from = fields.optionalMonth("vale_desde")
        if let from, from > month { fields.refuse("vale_desde", "não pode ser depois do mês atual (\(month))", type: "date_future") }
        try fields.check()
        self.init(id: id, changes, from: from)
    }

    /// What of it is right, for what comes from where nobody would read a refusal: a field that is wrong stays as it was.
    /// - Returns: and what is wrong.
    /// - Throws: a 422 if it is no object.
    package static func readable(_ json: JSON?, at location: [String]) throws(Refusal) -> (changes: [CustomerChange], faults: [Refusal.Field]) {
        var fields = try RequestFields(json, at: location)
        let changes = changes(&fields)
        return (changes, fields.faults)
    }

    /// Of the fields that are right.
    private static func changes(_ fields: inout RequestFields) -> [CustomerChange] {
        var changes: [CustomerChange] = []
        func say(_ name: String, _ fields: inout RequestFields, _ read: (inout RequestFields) -> CustomerChange) {
            guard fields.has(name) else { return }
            let faults = fields.faults.count
            let change = read(&fields)
            if fields.faults.count == faults { changes.append(change) }
        }
        func text(_ name: String, _ max: Int = 500, _ change: (String?) -> CustomerChange) {
            say(name, &fields) { change($0.optionalText(name, max: max)) }
        }
        func time(_ name: String, _ change: (Timestamp?) -> CustomerChange) {
            say(name, &fields) { change($0.optionalWallClock(name)) }
        }
        text("nome") { .nome($0) }
        text("slug", 120) { .slug($0) }
        text("razao_social") { .razaoSocial($0) }
        text("vendedor") { .vendedor($0) }
        text("cs") { .cs($0) }
        text("status") { .status($0) }
        text("pipeline") { .pipeline($0) }
        text("email") { .email($0) }
        text("motivos_churn", 2000) { .motivosChurn($0) }
        text("descricao_cancelamento", 4000) { .descricaoCancelamento($0) }
        say("cnpj", &fields) { .cnpj(Self.cnpj(&$0)) }
        say("vendedor_id", &fields) { .vendedorID($0.optionalNumber("vendedor_id", in: 1...Int64.max)) }
        say("valor", &fields) { .valor($0.optionalMoney("valor") ?? .zero) }
        say("setup_value", &fields) { .setup($0.optionalMoney("setup_value") ?? .zero) }
        say("parcelas_atrasadas", &fields) { .parcelasAtrasadas(Int($0.optionalNumber("parcelas_atrasadas", in: 0...1200) ?? 0)) }
        time("data_adesao") { .dataAdesao($0) }
        time("data_start_onboarding") { .inicioOnboarding($0) }
        time("data_end_onboarding") { .fimOnboarding($0) }
        time("data_cancelamento") { .dataCancelamento($0) }
        time("criado_em") { .criadoEm($0) }
        time("atualizado_em") { .atualizadoEm($0) }
        return changes
    }

    /// Its digits as a number, or with the usual points, stroke and hyphen.
    private static func cnpj(_ fields: inout RequestFields) -> Int64? {
        guard let text = fields.json("cnpj")?.string else { return fields.optionalInteger("cnpj", in: 0...99_999_999_999_999) }
        let digits = text.filter { $0 != "." && $0 != "/" && $0 != "-" && $0 != " " }
        if digits.isEmpty { return nil }
        guard digits.utf8.count <= 14, digits.allSatisfy({ $0.isASCII && $0.isNumber }), let number = Int64(digits) else {
            fields.refuse("cnpj", "deve ter até 14 dígitos", type: "int_parsing")
            return nil
        }
        return number
    }

    /// The elements of a list, or the one thing there is; what is wrong with any of them refuses all, and is said of each.
    static func elements<Element>(
        _ json: JSON?,
        max: Int,
        _ read: (JSON?, [String]) throws(Refusal) -> Element
    ) throws(Refusal) -> [Element] {
        guard let list = json?.array else { return [try read(json, ["body"])] }
        guard list.count <= max else { throw .invalid([.init(["body"], "deve ter no máximo \(max) itens", type: "too_long")]) }
        var elements: [Element] = []
        elements.reserveCapacity(list.count)
        var faults: [Refusal.Field] = []
        for (index, element) in list.enumerated() {
            do throws(Refusal) { elements.append(try read(element, ["body", String(index)])) } catch {
                faults += error.fields
                if faults.count >= 100 { break }
            }
        }
        if !faults.isEmpty { throw .invalid(faults) }
        return elements
    }
}

extension Seller {
    /// `{id, name, email?, ativo?}`, one or a list.
    package static func list(_ json: JSON?) throws(Refusal) -> [Seller] {
        try CustomerPatch.elements(json, max: 1000) { element, location throws(Refusal) in
            var fields = try RequestFields(element, at: location)
            let id = fields.number("id", in: 1...Int64.max)
            if id == Seller.oldSalesID { fields.refuse("id", "é o de \(Seller.oldSales.name), que não é ninguém", type: "reserved") }
            let name = fields.text("name", max: 200)
            let email = fields.optionalText("email", max: 254)
            let isActive = fields.optionalBool("ativo") ?? true
            try fields.check()
            return Seller(id: id, name: name, email: email, isActive: isActive)
        }
    }
}

extension Activity {
    /// Activities in one request, at the most, unless it streams them.
    package static let maxCount = 10_000
    /// By how much another system's clock may be ahead of ours: by more than a zone is, it is a mistake.
    private static let tolerance = Duration.seconds(24 * 3600)

    /// One object or a list of them (DESIGN §7.1): `{tenant_id, tipo, ocorrido_em?, usuario_nome?, usuario_email?, ativo?, nome?}`.
    package static func list(_ json: JSON?, now: Timestamp) throws(Refusal) -> [Activity] {
        try CustomerPatch.elements(json, max: maxCount) { element, location throws(Refusal) in try Activity(element, at: location, now: now) }
    }

    package init(_ json: JSON?, at location: [String], now: Timestamp) throws(Refusal) {
        var fields = try RequestFields(json, at: location)
        let customer = fields.number("tenant_id", in: 1...Int64.max)
        let kind = fields.text("tipo", max: 32)
        let at = fields.optionalTime("ocorrido_em")
        if let at, at > now + Self.tolerance { fields.refuse("ocorrido_em", "não pode estar no futuro", type: "datetime_future") }
        let content: Content
        switch kind {
        case "login":
            content = .login(userName: fields.optionalText("usuario_nome", max: 200), userEmail: fields.optionalText("usuario_email", max: 254))
        case "entrada": content = .entrada
        case "saida": content = .saida
        case "lead": content = .lead
        case "econversa": content = .econversa(isActive: fields.optionalBool("ativo") ?? true)
        case "integrador": content = .integrador(name: fields.text("nome", max: 120), isActive: fields.optionalBool("ativo") ?? true)
        default:
            content = .lead
            if !kind.isEmpty { fields.refuse("tipo", "deve ser login, entrada, saida, lead, econversa ou integrador", type: "enum") }
        }
        try fields.check()
        self.init(customer: customer, content, at: at)
    }
}

extension CommissionChanges {
    /// contracts/vendas.md "PUT /vendas/commission-config": what is given is changed.
    package init(_ json: JSON?) throws(Refusal) {
        self.init()
        var fields = try RequestFields(json)
        salesGoal = fields.optionalInteger("sales_goal", in: 1...1_000_000).map(Int.init)
        for tier in 0..<3 {
            mrr[tier] = fields.optionalPercentage("mrr_tier\(tier + 1)")
            setup[tier] = fields.optionalPercentage("setup_tier\(tier + 1)")
        }
        recurrence = fields.optionalPercentages("mrr_recurrence", maxCount: CommissionConfig.maxRecurrence)
        try fields.check()
    }
}
