import HTTPTypes
import Hummingbird
import Synchronization
import Wire

/// Which methods there are at an address: for `Allow`, and for what pages of other origins are told.
final class RouteMap: Sendable {
    private struct Route {
        /// `nil` stands for anything.
        let parts: [Substring?]
        let method: HTTPRequest.Method
        let template: String
    }

    private let routes = Mutex<[Route]>([])

    /// GET that no HEAD may stand in for: they change something, wait, or never end.
    private static let withoutHead: Set<String> = [
        "/consultor/da-vez", "/gerar-protocolo", "/connection/sse", "/connection/uni_sse", "/api/v1/realtime/{channel}",
    ]

    static func hasHead(_ template: String) -> Bool { !withoutHead.contains(template) }

    /// To be called once the router has them all.
    func fill(from router: Router<APIContext>) {
        let found = router.routes.map { route in
            let template = route.path.description
            return Route(
                parts: template.split(separator: "/").map { $0.hasPrefix("{") || $0.hasPrefix(":") ? nil : $0 },
                method: route.method,
                template: template
            )
        }
        routes.withLock { $0 = found }
    }

    /// In the order of their names; empty where there is no such address.
    func methods(at path: String) -> [HTTPRequest.Method] {
        let parts = path.split(separator: "/")
        let found = routes.withLock { $0 }.filter { route in
            route.parts.count == parts.count && zip(route.parts, parts).allSatisfy { $0 == nil || $0 == $1 }
        }
        // A word goes before a parameter, as in the router: the address is one of them.
        guard let first = found.min(by: { $0.parts.map { $0 == nil ? 1 : 0 }.lexicographicallyPrecedes($1.parts.map { $0 == nil ? 1 : 0 }) }) else {
            return []
        }
        return Self.complete(found.filter { $0.parts.map { $0 == nil } == first.parts.map { $0 == nil } })
    }

    /// All that any address has.
    var methods: [HTTPRequest.Method] { Self.complete(routes.withLock { $0 }) }

    private static func complete(_ routes: [Route]) -> [HTTPRequest.Method] {
        guard !routes.isEmpty else { return [] }
        var methods = Set(routes.map(\.method)).union([.options])
        if routes.contains(where: { $0.method == .get && hasHead($0.template) }) { methods.insert(.head) }
        return methods.sorted { $0.rawValue < $1.rawValue }
    }
}

extension [HTTPRequest.Method] {
    /// As `Allow` lists them (RFC 9110 §10.2.1).
    var list: String { map(\.rawValue).joined(separator: ", ") }
}

/// Answers for addresses that there are and methods that they have not: 405 with `Allow` (RFC 9110 §15.5.6), and `OPTIONS`, which asks for nothing else.
struct RefuseMethods: RouterMiddleware {
    typealias Context = APIContext
    let routes: RouteMap

    func handle(_ request: Request, context: APIContext, next: @concurrent (Request, APIContext) async throws -> Response) async throws -> Response {
        // What is only asked about must not happen.
        if request.method == .head, let template = context.endpointPath, !RouteMap.hasHead(template) { return refuse(request, context) }
        do { return try await next(request, context) } catch let error as HTTPError where error.status == .notFound {
            guard !routes.methods(at: request.uri.path).isEmpty else { throw error }
            return refuse(request, context)
        }
    }

    private func refuse(_ request: Request, _ context: APIContext) -> Response {
        let allowed = routes.methods(at: request.uri.path).list
        guard request.method != .options else { return Response(status: .noContent, headers: [.allow: allowed]) }
        let detail = "Método não permitido neste endereço; ele aceita \(allowed)."
        context.notes.note("error", detail)
        context.notes.note("code", "method_not_allowed")
        var response = Response.json(status: .methodNotAllowed) {
            $0.field("detail", detail)
            $0.field("code", "method_not_allowed")
        }
        response.headers[.allow] = allowed
        return response
    }
}
