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
            return .json(try await operations.sellers(try await portfolioTenant(request, context)))
        }
        router.post("/vendas/vendedores") { request, context -> Response in
            let tenant = try await administeringPortfolio(request, context)
            let sellers = try Seller.list(try await request.json())
            return .json(try await operations.putSellers(sellers, tenant))
        }
        router.get("/vendas/clientes") { request, context -> Response in try await saleList(request, context, .todos) }
        router.get("/vendas/clientes/vendedor/:id") { request, context -> Response in
            _ = try await portfolioTenant(request, context)
            guard let id = context.parameters.get("id").flatMap({ Int64($0) }) else {
                throw Refusal.invalid([.init(["path", "vendedor_id"], "deve ser um número inteiro", type: "int_parsing")])
            }
            return try await saleList(request, context, .todos, seller: id)
        }
        router.get("/vendas/clientes/inadimplentes") { request, context -> Response in try await saleList(request, context, .inadimplentes) }
        router.get("/vendas/clientes/novos") { request, context -> Response in try await saleList(request, context, .novos) }
        router.get("/vendas/clientes/churns") { request, context -> Response in try await saleList(request, context, .churns) }
        router.get("/vendas/resumo-comissoes") { request, context -> Response in try await report(.summary, request, context) }
        router.get("/vendas/ranking") { request, context -> Response in try await report(.ranking, request, context) }
        router.get("/vendas/dashboard") { request, context -> Response in try await report(.dashboard, request, context) }
        // With a month, the configuration that it is computed with.
        router.get("/vendas/commission-config") { request, context -> Response in
            let tenant = try await portfolioTenant(request, context)
            return .json(try await operations.commissionConfig(of: try request.month(), tenant))
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
            return .json(try await operations.mrr(of: try request.month(), tenant))
        }
        // What a seller is paid for a month: `formato=json` (the default), `csv` or `html`.
        router.get("/vendas/extrato/:id") { request, context -> Response in
            let tenant = try await portfolioTenant(request, context)
            let id = try context.number(.seller)
            let format = request.query("formato") ?? "json"
            guard ["json", "csv", "html"].contains(format) else {
                throw Refusal.invalid([.init(["query", "formato"], "deve ser json, csv ou html", type: "enum")])
            }
            let statement = try await operations.statement(of: id, try request.month(), tenant)
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

    private func report(_ report: Operations.SalesReport, _ request: Request, _ context: APIContext) async throws -> Response {
        let tenant = try await portfolioTenant(request, context)
        return .json(try await operations.sales(report, of: try request.month(), tenant))
    }

    private func saleList(
        _ request: Request,
        _ context: APIContext,
        _ selection: SaleSelection,
        seller: Int64? = nil
    ) async throws -> Response {
        let tenant = try await portfolioTenant(request, context)
        let month = try request.month()
        let view = try await operations.portfolio(tenant)
        let places = view.customers.placesByID
        let list = SaleList(view, month: month, selection: selection, seller: seller)
        return .list(of: view.customers.count) { index, writer in list.write(places?[index] ?? index, to: &writer) }
    }
}
