package import Kernel
package import Wire

extension Seller {
    /// `{id, name, email}`
    package func write(to writer: inout JSONWriter) {
        writer.object {
            $0.field("id", id)
            $0.field("name", name)
            $0.field("email", email)
        }
    }
}

extension SalesFigures {
    /// contracts/vendas.md "GET /vendas/resumo-comissoes", with both parts of the commission beside their sum.
    package func writeSummary(_ book: SellerBook, to writer: inout JSONWriter) {
        writer.array { list in
            for line in lines(book) {
                list.object {
                    $0.key("vendedor")
                    line.seller.write(to: &$0)
                    $0.field("totalClientes", line.figures.customers)
                    $0.field("clientesAtivos", line.figures.ativos)
                    $0.field("clientesInadimplentes", line.figures.inadimplentes)
                    $0.field("clientesCancelados", line.figures.cancelados)
                    $0.field("mrrAtivo", raw: line.figures.mrr.description)
                    $0.field("setupTotal", raw: line.figures.setup.description)
                    writeCommission(line.figures, to: &$0)
                    $0.field("novosMes", line.figures.news)
                    writeTier(line.figures, to: &$0)
                }
            }
        }
    }

    /// contracts/vendas.md "GET /vendas/ranking".
    package func writeRanking(_ book: SellerBook, to writer: inout JSONWriter) {
        writer.array { list in
            for (index, line) in ranking(book).enumerated() { write(line, position: index + 1, to: &list) }
        }
    }

    /// One of the ranking.
    func write(_ line: Line, position: Int, to writer: inout JSONWriter) {
        writer.object {
            $0.key("vendedor")
            line.seller.write(to: &$0)
            $0.field("mrrAtivo", raw: line.figures.mrr.description)
            $0.field("clientesAtivos", line.figures.ativos)
            $0.field("novosMes", line.figures.news)
            $0.field("posicao", position)
            writeCommission(line.figures, to: &$0)
            writeTier(line.figures, to: &$0)
        }
    }

    private func writeCommission(_ figures: SellerFigures, to writer: inout JSONWriter) {
        writer.field("comissaoTotal", raw: figures.commission(config).description)
        writer.field("comissaoRecorrente", raw: figures.recurring.description)
        writer.field("comissaoTier", raw: figures.tierCommission(config).description)
    }

    private func writeTier(_ figures: SellerFigures, to writer: inout JSONWriter) {
        let tier = figures.tier(config)
        writer.field("tier", tier.name)
        writer.field("percentualMrr", raw: config.mrrShare(tier).description)
        writer.field("percentualSetup", raw: config.setupShare(tier).description)
    }

    /// contracts/vendas.md "GET /vendas/dashboard".
    package func writeDashboard(to writer: inout JSONWriter) {
        let (all, commission, recurring, tier) = totals
        writer.object {
            $0.field("totalClientes", all.customers)
            $0.field("clientesAtivos", all.ativos)
            $0.field("clientesInadimplentes", all.inadimplentes)
            $0.field("clientesCancelados", all.cancelados)
            $0.field("mrrTotal", raw: all.mrr.description)
            $0.field("ltvTotal", raw: view.isHistoric ? all.allSetup.description : all.lifetime.description)
            // A mean of whole numbers, to two decimals as money is.
            $0.field("avgMesesAtivo", raw: Money(centavos: Int64(all.months) * 100).divided(by: all.customers).description)
            $0.field("novosMesAtual", all.news)
            $0.field("churnsMesAtual", all.churns)
            $0.field("ticketMedio", raw: all.mrr.divided(by: all.ativos).description)
            $0.field("comissaoTotal", raw: commission.description)
            $0.field("comissaoRecorrente", raw: recurring.description)
            $0.field("comissaoTier", raw: tier.description)
        }
    }
}

extension SaleTerms {
    /// contracts/vendas.md "GET /vendas/clientes".
    package func write(_ customer: Customer, _ book: SellerBook, to writer: inout JSONWriter) {
        writer.object {
            $0.field("id", String(customer.id))
            $0.field("clientName", customer.nome ?? "")
            $0.field("mrr", raw: valor.description)
            $0.field("setupValue", raw: setup.description)
            $0.field("date", customer.dayOfAdhesion?.description)
            $0.field("status", status.rawValue)
            $0.field("sellerId", String(seller))
            $0.field("sellerName", book.named(seller, called: sellerName).name)
            $0.field("canceledAt", cancelledOn?.description)
            $0.field("month", customer.dayOfAdhesion?.month.description)
            $0.field("mesesAtivo", monthsActive)
            $0.field("parcelasAtrasadas", overdue)
            $0.field("mesesComissao", commissionMonths)
            $0.field("percentualComissao", raw: percentage.description)
            $0.field("valorComissao", raw: commission.description)
        }
    }
}

extension CommissionStatement {
    /// `{vendedor, month, tier, linhas: [{cliente_id, cliente, motivo, mes_comissao, base, percentual, comissao}], total}`
    package func write(to writer: inout JSONWriter) {
        writer.object { body in
            body.key("vendedor")
            seller.write(to: &body)
            body.field("month", month.description)
            body.field("tier", tier.name)
            body.list("linhas") { list in
                for line in lines {
                    list.object {
                        $0.field("cliente_id", String(line.customer))
                        $0.field("cliente", line.name)
                        $0.field("motivo", line.reason.rawValue)
                        $0.field("mes_comissao", line.month)
                        $0.field("base", raw: line.base.description)
                        $0.field("percentual", raw: line.percentage.description)
                        $0.field("comissao", raw: line.amount.description)
                    }
                }
            }
            body.field("total", raw: total.description)
        }
    }
}
