import CustomerHealth
import HTTPTypes
import Hummingbird
import Kernel
import NIOCore
import Tenancy
import Wire

extension API {
    /// contracts/ecosys-ms.md, at its own paths. All of it is answered from live state: there is no cache to go stale.
    func addEcoSys(to router: Router<APIContext>) {
        router.get("/clientes") { request, context -> Response in
            let tenant = try await portfolioTenant(request, context)
            let range = try request.adhesionRange()
            let view = try await operations.portfolio(tenant)
            return .object(of: view.customers.count) { place, writer in
                let customer = view.customers[place]
                guard range.contains(customer) else { return }
                writer.key(String(customer.id))
                writer.object { customer.writeFields(to: &$0) }
            }
        }
        router.get("/health-scores") { request, context -> Response in
            let tenant = try await portfolioTenant(request, context)
            let range = try request.adhesionRange()
            let view = try await operations.portfolio(tenant)
            if range.isOpen { return .healthScores(view) }
            return .object(of: view.customers.count) { place, writer in
                let customer = view.customers[place]
                guard customer.isActive, range.contains(customer) else { return }
                writer.key(String(customer.id))
                HealthEntry.write(customer, view.vitals[place].facts(at: view.now), to: &writer)
            }
        }
        router.get("/dashboard") { request, context -> Response in
            let tenant = try await portfolioTenant(request, context)
            let range = try request.adhesionRange()
            let view = try await operations.portfolio(tenant)
            if range.isOpen { return .json(view.dashboard.json) }
            return .json(CustomerPortfolio.dashboard(view.customers, view.vitals, range, now: view.now).json)
        }
        // Nothing is cached; what is derived is computed anew.
        router.post("/cache/clear") { request, context -> Response in
            let tenant = try await administeringPortfolio(request, context)
            _ = try await operations.recomputePortfolio(tenant)
            return .json {
                $0.field("status", "success")
                $0.field("message", "Cache será limpo automaticamente no próximo TTL")
                $0.field("note", "Para forçar atualização, aguarde o TTL expirar ou reinicie a aplicação")
            }
        }
        // `tenant_id` in the JSON body of the GET, as the contract has it, or in the query, as most clients can send it.
        router.get("/logins") { request, context -> Response in
            let tenant = try await portfolioTenant(request, context)
            let id: Int64
            if let text = request.query("tenant_id") {
                guard let number = Int64(text) else {
                    throw Refusal.invalid([.init(["query", "tenant_id"], "deve ser um número inteiro", type: "int_parsing")])
                }
                id = number
            } else {
                var fields = try await request.fields()
                id = fields.number("tenant_id", in: 1...Int64.max)
                try fields.check()
            }
            let logins = try await operations.logins(of: id, tenant)
            return .json { body in
                body.field("tenant_id", id)
                body.field("periodo", "últimos 30 dias")
                body.field("total_logins", logins.count)
                body.list("logins") { list in for login in logins { login.write(to: &list) } }
                body.field("usuarios_unicos", Set(logins.compactMap(\.user)).count)
                body.field("dias_com_acesso", Set(logins.map { BusinessZone.today($0.at) }).count)
            }
        }
    }
}

extension Login {
    /// Whoever it was, however they write their e-mail; `nil` where nobody said.
    var user: String? { (userEmail ?? userName)?.lowercased() }

    /// contracts/ecosys-ms.md "GET /logins". Times are the business's, as its days are.
    func write(to writer: inout JSONWriter) {
        let time = (at + BusinessZone.offset).wallClock
        writer.object {
            $0.field("id", id)
            $0.field("usuario_nome", userName)
            $0.field("usuario_email", userEmail)
            $0.field("data_login", time)
            $0.field("data", time.prefix(10))
            $0.field("hora", time.suffix(8))
        }
    }
}

/// One entry of contracts/ecosys-ms.md "GET /health-scores". Written a hundred thousand times for one answer, so the scores' texts are made once.
enum HealthEntry {
    private static let fortieths = texts(40)
    private static let twentieths = texts(20)
    private static let quarters = texts(4)
    private static let totals = texts(HealthScore.totalUnits)

    private static func texts(_ units: Int) -> [[UInt8]] { (0...units).map { Array((Double($0) / Double(units)).description.utf8) } }

    static func write(_ customer: Customer, _ facts: HealthFacts, to writer: inout JSONWriter) {
        let score = HealthScore(facts)
        writer.object {
            $0.field("tenant_id", customer.id)
            $0.field("slug", customer.shownSlug)
            $0.field("name", customer.nome)
            $0.field("cnpj", customer.cnpj)
            $0.field("qntd_acessos_30d", facts.count(.login))
            $0.field("dias_desde_ultimo_acesso", facts.daysSince(.login))
            $0.field("score_engajamento", raw: fortieths[Int(score.engagement)])
            $0.field("qntd_entradas_30d", facts.count(.entrada))
            $0.field("dias_desde_ultima_entrada", facts.daysSince(.entrada))
            $0.field("qntd_saidas_30d", facts.count(.saida))
            $0.field("dias_desde_ultima_saida", facts.daysSince(.saida))
            $0.field("score_movimentacao_estoque", raw: fortieths[Int(score.stock)])
            $0.field("qntd_leads_30d", facts.count(.lead))
            $0.field("dias_desde_ultimo_lead", facts.daysSince(.lead))
            $0.field("score_crm", raw: twentieths[Int(score.crm)])
            $0.field("econversa_ativo", facts.hasEConversa)
            $0.field("integradores_conectados", facts.integrators)
            $0.field("score_adoption", raw: quarters[Int(score.adoption)])
            $0.field("score_total", raw: totals[score.total])
            $0.field("categoria", score.category.name)
        }
    }
}

extension Response {
    /// All active customers' scores, page by page; pages of whom nothing has changed are not written anew.
    static func healthScores(_ view: PortfolioView) -> Response {
        let size = Paged<Customer>.pageSize
        return Response(
            status: .ok,
            headers: [.contentType: "application/json; charset=utf-8", .cacheControl: "no-store"],
            body: ResponseBody { output in
                var isFirst = true
                var buffer = ByteBuffer(string: "{")
                for page in view.vitals.versions.indices {
                    let bytes = view.healthPages.page(page, (view.customers.versions[page], view.vitals.versions[page]), at: view.now) {
                        var writer = JSONWriter(capacity: 450 * size)
                        var until = Timestamp.distantFuture
                        for place in page * size..<min((page + 1) * size, view.customers.count) where view.customers[place].isActive {
                            let (customer, vitals) = (view.customers[place], view.vitals[place])
                            writer.key(String(customer.id))
                            HealthEntry.write(customer, vitals.facts(at: view.now), to: &writer)
                            until = min(until, vitals.shownUntil(after: view.now))
                        }
                        return (writer.bytes, until)
                    }
                    guard !bytes.isEmpty else { continue }
                    if !isFirst { buffer.writeInteger(UInt8(ascii: ",")) }
                    isFirst = false
                    buffer.writeBytes(bytes)
                    if buffer.readableBytes > 1 << 18 {
                        try await output.write(buffer)
                        buffer = ByteBuffer()
                    }
                }
                buffer.writeInteger(UInt8(ascii: "}"))
                try await output.write(buffer)
                try await output.finish(nil)
            }
        )
    }

    /// Elements written at a time.
    private static let batch = 512

    /// A JSON object of many members, each written when those before it have been sent; of few, at once.
    static func object(of count: Int, _ member: @escaping @Sendable (Int, inout JSONWriter) -> Void) -> Response {
        written(count, open: "{", close: "}", member)
    }

    /// A JSON array, likewise.
    static func list(of count: Int, _ element: @escaping @Sendable (Int, inout JSONWriter) -> Void) -> Response {
        written(count, open: "[", close: "]", element)
    }

    private static func written(
        _ count: Int,
        open: String,
        close: String,
        _ member: @escaping @Sendable (Int, inout JSONWriter) -> Void
    ) -> Response {
        if count <= batch {
            var writer = JSONWriter(capacity: 512 * count + 2)
            for place in 0..<count { member(place, &writer) }
            return .json(Array(open.utf8) + writer.bytes + Array(close.utf8))
        }
        return Response(
            status: .ok,
            headers: [.contentType: "application/json; charset=utf-8", .cacheControl: "no-store"],
            body: ResponseBody { output in
                var isFirst = true
                try await output.write(ByteBuffer(string: open))
                for start in stride(from: 0, to: count, by: batch) {
                    var writer = JSONWriter(capacity: 512 * batch)
                    for place in start..<min(start + batch, count) { member(place, &writer) }
                    guard !writer.bytes.isEmpty else { continue }
                    var buffer = ByteBuffer()
                    if !isFirst { buffer.writeInteger(UInt8(ascii: ",")) }
                    isFirst = false
                    buffer.writeBytes(writer.bytes)
                    try await output.write(buffer)
                }
                try await output.write(ByteBuffer(string: close))
                try await output.finish(nil)
            }
        )
    }
}
