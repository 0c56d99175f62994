package import Kernel

/// What one seller is paid for one month, line by line; the lines add up to the `comissaoTotal` of the summary.
package struct CommissionStatement: Sendable, Equatable {
    package enum Reason: String, Sendable {
        case recorrente = "Recorrente"
        case vendaMRR = "Venda (MRR)"
        case vendaSetup = "Venda (setup)"
    }

    package struct Line: Sendable, Equatable {
        package let customer: Int64
        package let name: String
        package let reason: Reason
        package let month: Int
        package let base: Money
        package let percentage: Percentage
        package let amount: Money
    }

    package let seller: Seller
    package let month: YearMonth
    package let tier: Tier
    package let lines: [Line]
    package var total: Money { lines.reduce(.zero) { $0 + $1.amount } }

    package init(_ seller: Seller, _ figures: SalesFigures, _ customers: Paged<Customer>, _ book: SellerBook) {
        self.seller = seller
        month = figures.view.month
        let tier = (figures.sellers[seller.id] ?? SellerFigures()).tier(figures.config)
        self.tier = tier
        var lines: [Line] = []
        for customer in customers {
            guard let terms = SaleTerms(customer, figures.view, figures.config, book), terms.seller == seller.id else { continue }
            func add(_ reason: Reason, _ base: Money, _ percentage: Percentage) {
                let amount = base.share(percentage)
                guard amount != .zero else { return }
                lines.append(
                    Line(
                        customer: customer.id,
                        name: customer.nome ?? "",
                        reason: reason,
                        month: terms.commissionMonths,
                        base: base,
                        percentage: percentage,
                        amount: amount
                    )
                )
            }
            if terms.status != .cancelado { add(.recorrente, terms.valor, terms.percentage) }
            if terms.isSale {
                add(.vendaMRR, terms.valor, figures.config.mrrShare(tier))
                add(.vendaSetup, terms.setup, figures.config.setupShare(tier))
            }
        }
        self.lines = lines.sorted { ($0.reason.rawValue, $0.customer) < ($1.reason.rawValue, $1.customer) }
    }

    /// RFC 4180, with a byte order mark so that spreadsheets read it as UTF-8, and `;` as they expect where the decimal mark is a comma.
    package var csv: String {
        var text = "\u{feff}cliente_id;cliente;motivo;mes_comissao;base;percentual;comissao\r\n"
        for line in lines {
            text +=
                [
                    String(line.customer), CSVField.quoted(line.name), CSVField.quoted(line.reason.rawValue), String(line.month), line.base.brazilian,
                    line.percentage.description.replacing(".", with: ","), line.amount.brazilian,
                ].joined(separator: ";") + "\r\n"
        }
        return text + ";;;;;TOTAL;\(total.brazilian)\r\n"
    }

    /// A page to print.
    package var html: String {
        var rows = ""
        for line in lines {
            rows += """
                <tr><td>\(line.customer)</td><td>\(HTMLText.escaped(line.name))</td><td>\(line.reason.rawValue)</td><td class="n">\(line.month)</td>\
                <td class="n">\(line.base.brazilian)</td><td class="n">\(line.percentage.description.replacing(".", with: ","))%</td>\
                <td class="n">\(line.amount.brazilian)</td></tr>

                """
        }
        return """
            <!DOCTYPE html>
            <html lang="pt-BR"><head><meta charset="utf-8"><title>Comissões de \(HTMLText.escaped(seller.name)), \(month)</title>
            <style>body{font:14px sans-serif;margin:2em}table{border-collapse:collapse;width:100%}th,td{border-bottom:1px solid #ccc;padding:4px 8px;text-align:left}\
            .n{text-align:right}tfoot td{font-weight:bold}@media print{body{margin:0}}</style></head>
            <body><h1>Demonstrativo de comissões</h1>
            <p>\(HTMLText.escaped(seller.name))\(seller.email.map { " · " + HTMLText.escaped($0) } ?? "") · \(month) · tier \(tier.name)</p>
            <table><thead><tr><th>Cliente</th><th>Nome</th><th>Motivo</th><th class="n">Mês</th><th class="n">Base (R$)</th><th class="n">%</th>\
            <th class="n">Comissão (R$)</th></tr></thead>
            <tbody>
            \(rows)</tbody>
            <tfoot><tr><td colspan="6">Total</td><td class="n">\(total.brazilian)</td></tr></tfoot></table>
            <p>Cada linha é arredondada ao centavo, meio centavo para cima.</p></body></html>

            """
    }
}
