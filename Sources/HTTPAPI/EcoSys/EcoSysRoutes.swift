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
                guard customer.isActive(on: BusinessZone.today(view.now)), range.contains(customer) else { return }
                writer.key(String(customer.id))
                HealthEntry.write(customer, view.vitals[place].facts(at: view.now), to: &writer)
            }
        }
        router.get("/dashboard") { request, context -> Response in
            let tenant = try await portfolioTenant(request, context)
            return .json(try await operations.customerDashboard(try request.adhesionRange(), tenant))
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
            return try await .logins(try await operations.logins(of: id, tenant))
        }
    }
}

extension Response {
    /// What is long is read as it is sent.
    static func logins(_ list: LoginList) async throws -> Response {
        if list.isShort { return .json(try await list.whole()) }
        return Response(
            status: .ok,
            headers: [.contentType: "application/json; charset=utf-8", .cacheControl: "no-store"],
            body: ResponseBody { output in
                var list = list
                while let piece = try await list.next() { try await output.write(ByteBuffer(bytes: piece)) }
                try await output.finish(nil)
            }
        )
    }

    /// All active customers' scores, page by page; pages of whom nothing has changed are not written anew.
    static func healthScores(_ view: PortfolioView) -> Response {
        Response(
            status: .ok,
            headers: [.contentType: "application/json; charset=utf-8", .cacheControl: "no-store"],
            body: ResponseBody { output in
                try await output.write(ByteBuffer(string: "{"))
                var isFirst = true
                for page in view.vitals.versions.indices {
                    var bytes = view.healthPages.page(page, (view.customers.versions[page], view.vitals.versions[page]), at: view.now) {
                        Self.healthPage(page, view)
                    }
                    guard bytes.readableBytes > 0 else { continue }
                    // Each begins with a comma.
                    if isFirst { bytes.moveReaderIndex(forwardBy: 1) }
                    isFirst = false
                    try await output.write(bytes)
                }
                try await output.write(ByteBuffer(string: "}"))
                try await output.finish(nil)
            }
        )
    }

    /// `,"1":{…},"2":{…}`, and when time changes something of it.
    private static func healthPage(_ page: Int, _ view: PortfolioView) -> (ByteBuffer, until: Timestamp) {
        let size = Paged<Customer>.pageSize
        var writer = JSONWriter(capacity: 560 * size)
        var until = Timestamp.distantFuture
        let today = BusinessZone.today(view.now)
        for place in page * size..<min((page + 1) * size, view.customers.count) where view.customers[place].isActive(on: today) {
            let (customer, vitals) = (view.customers[place], view.vitals[place])
            writer.literal(",\"")
            writer.digits(customer.id)
            writer.literal("\":")
            HealthEntry.write(customer, vitals.facts(at: view.now), to: &writer)
            until = min(until, vitals.shownUntil(after: view.now))
        }
        return (ByteBuffer(bytes: writer.bytes), until)
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
