import HTTPTypes
import Hummingbird
import Kernel
import NIOCore
import Sales
import Tenancy
import Wire

extension API {
    /// contracts/vendas.md, at its own paths.
    func addVendas(to router: Router<APIContext>) {
        router.get("/vendas/vendedores") { request, context -> Response in
            let view = try await operations.portfolio(try await portfolioTenant(request, context))
            var writer = JSONWriter()
            writer.array { list in for seller in view.sales.book.active { seller.write(to: &list) } }
            return .json(writer.bytes)
        }
        router.post("/vendas/vendedores") { request, context -> Response in
            let tenant = try await administeringPortfolio(request, context)
            let sellers = try Seller.list(try await request.json())
            let (created, updated) = try await operations.putSellers(sellers, tenant)
            return .json {
                $0.field("total", sellers.count)
                $0.field("criados", created)
                $0.field("atualizados", updated)
            }
        }
        router.get("/vendas/clientes") { request, context -> Response in try await saleList(request, context) { _, _ in true } }
        router.get("/vendas/clientes/vendedor/:id") { request, context -> Response in
            _ = try await portfolioTenant(request, context)
            guard let id = context.parameters.get("id").flatMap({ Int64($0) }) else {
                throw Refusal.invalid([.init(["path", "vendedor_id"], "deve ser um número inteiro", type: "int_parsing")])
            }
            return try await saleList(request, context) { terms, _ in terms.seller == id }
        }
        router.get("/vendas/clientes/inadimplentes") { request, context -> Response in
            try await saleList(request, context) { terms, _ in terms.status == .inadimplente }
        }
        // With a month, all who had joined by its end; without, those of the month that runs (DESIGN §8).
        router.get("/vendas/clientes/novos") { request, context -> Response in
            try await saleList(request, context) { terms, view in terms.isNew || view.isHistoric }
        }
        router.get("/vendas/clientes/churns") { request, context -> Response in
            try await saleList(request, context) { terms, _ in terms.isChurn }
        }
        router.get("/vendas/resumo-comissoes") { request, context -> Response in
            let (view, figures) = try await salesFigures(request, context)
            var writer = JSONWriter(capacity: 8192)
            figures.writeSummary(view.sales.book, to: &writer)
            return .json(writer.bytes)
        }
        router.get("/vendas/ranking") { request, context -> Response in
            let (view, figures) = try await salesFigures(request, context)
            var writer = JSONWriter(capacity: 8192)
            figures.writeRanking(view.sales.book, to: &writer)
            return .json(writer.bytes)
        }
        router.get("/vendas/dashboard") { request, context -> Response in
            let (_, figures) = try await salesFigures(request, context)
            var writer = JSONWriter()
            figures.writeDashboard(to: &writer)
            return .json(writer.bytes)
        }
        // With a month, the configuration that it is computed with.
        router.get("/vendas/commission-config") { request, context -> Response in
            let view = try await operations.portfolio(try await portfolioTenant(request, context))
            guard let month = try request.month() else { return .json(view.sales.config.json) }
            return .json(view.sales.plan.config(of: month).json)
        }
        router.put("/vendas/commission-config") { request, context -> Response in
            let tenant = try await administeringPortfolio(request, context)
            let changes = try CommissionChanges(try await request.json())
            return .json(try await operations.configureCommission(changes, tenant).json)
        }
        router.post("/vendas/cache/clear") { request, context -> Response in
            let tenant = try await administeringPortfolio(request, context)
            let computed = try await operations.recomputePortfolio(tenant)
            return .json {
                $0.field("status", "success")
                $0.field("message", "Cache de vendas e configuração de comissões limpo com sucesso")
                $0.field("keys_deleted", computed)
            }
        }
        // Beyond the contract: new, expansion, contraction, churn, reactivation.
        router.get("/vendas/mrr") { request, context -> Response in
            let tenant = try await portfolioTenant(request, context)
            let (month, movements) = try await operations.mrrMovements(try request.month(), tenant)
            return .json { body in
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
        // What a seller is paid for a month: `formato=json` (the default), `csv` or `html`.
        router.get("/vendas/extrato/:id") { request, context -> Response in
            let tenant = try await portfolioTenant(request, context)
            let id = try context.number(.seller)
            let format = request.query("formato") ?? "json"
            guard ["json", "csv", "html"].contains(format) else {
                throw Refusal.invalid([.init(["query", "formato"], "deve ser json, csv ou html", type: "enum")])
            }
            let month = try request.month()
            let view = try await operations.portfolio(tenant)
            let figures = view.sales.figures(of: month, view.customers)
            guard let line = figures.lines(view.sales.book).first(where: { $0.seller.id == id }) else { throw Refusal.notFound(.seller) }
            let statement = CommissionStatement(line.seller, figures, view.customers, view.sales.book)
            switch format {
            case "csv":
                var response = Response.text(statement.csv)
                response.headers[.contentType] = "text/csv; charset=utf-8"
                response.headers[.contentDisposition] = "attachment; filename=\"comissoes-\(id)-\(statement.month).csv\""
                return response
            case "html":
                var response = Response.text(statement.html)
                response.headers[.contentType] = "text/html; charset=utf-8"
                response.headers[.contentSecurityPolicy] = "default-src 'none'; style-src 'unsafe-inline'; form-action 'none'; base-uri 'none'"
                return response
            default:
                var writer = JSONWriter(capacity: 4096)
                statement.write(to: &writer)
                return .json(writer.bytes)
            }
        }
    }

    private func salesFigures(_ request: Request, _ context: APIContext) async throws -> (PortfolioView, SalesFigures) {
        let tenant = try await portfolioTenant(request, context)
        let month = try request.month()
        let view = try await operations.portfolio(tenant)
        return (view, view.sales.figures(of: month, view.customers))
    }

    private func saleList(
        _ request: Request,
        _ context: APIContext,
        where isShown: @escaping @Sendable (SaleTerms, SaleTerms.View) -> Bool
    ) async throws -> Response {
        let tenant = try await portfolioTenant(request, context)
        let month = try request.month()
        let view = try await operations.portfolio(tenant)
        let (sales, customers, places) = (view.sales, view.customers, view.customers.placesByID)
        let terms = month.map { SaleTerms.View(endOf: $0) } ?? sales.figures.view
        let config = sales.plan.config(of: terms.month)
        return .list(of: customers.count) { index, writer in
            let customer = customers[places?[index] ?? index]
            guard let its = SaleTerms(customer, terms, config, sales.book), isShown(its, terms) else { return }
            its.write(customer, sales.book, to: &writer)
        }
    }
}

extension CommissionStatement {
    /// `{vendedor, month, tier, linhas: [{cliente_id, cliente, motivo, mes_comissao, base, percentual, comissao}], total}`
    func write(to writer: inout JSONWriter) {
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
