import HTTPTypes
import Hummingbird
package import Kernel

// What browsers are told about who may use an answer, and how (WHATWG Fetch §3.3 "CORS protocol"; contracts/isp-support.md "Headers de Segurança").

/// Which pages of other origins may call, and what every answer says to browsers.
package struct BrowserPolicy: Sendable {
    /// Exactly these, scheme and port included. `*` opens it to pages that send no credentials of the browser's own.
    package var origins: Set<String> = ["http://localhost:3000"]
    /// The names that the server answers to.
    package var hosts = AllowedHosts.any
    /// How long a browser may remember the answer to a preflight.
    package var preflightSeconds = 600
    /// Behind TLS: for how long browsers are to come by TLS alone (RFC 6797). 0: not said.
    package var strictTransportSeconds = 0

    package init() {}

    /// Whether something is an origin as browsers write it (RFC 6454 §6.2), or `*`.
    package static func isOrigin(_ text: String) -> Bool {
        text == "*" || text.wholeMatch(of: #/[a-z][a-z0-9+.\-]*://(\[[0-9a-fA-F:.]+\]|[^\s/:?#@\[\]\*]+)(:\d{1,5})?/#) != nil
    }

    fileprivate func allows(_ origin: String) -> Bool { origins.contains(origin) || origins.contains("*") }

    fileprivate func admit(_ origin: String, _ headers: inout HTTPFields) {
        if origins.contains(origin) {
            headers[.accessControlAllowOrigin] = origin
            headers[.accessControlAllowCredentials] = "true"
        } else if origins.contains("*") {
            // Never together with credentials: that would be every page acting as whoever looks at it.
            headers[.accessControlAllowOrigin] = "*"
        }
    }
}

struct CrossOrigin: RouterMiddleware {
    typealias Context = APIContext
    let policy: BrowserPolicy
    let routes: RouteMap

    private static let requestHeaders =
        "Authorization, Content-Type, Accept, api-key, Idempotency-Key, If-Match, Last-Event-ID, X-Request-ID, traceparent, tracestate"
    /// Of the answer's headers, those that a page may read.
    private static let exposed =
        "X-Process-Time, X-Request-ID, Retry-After, RateLimit-Limit, RateLimit-Remaining, RateLimit-Reset, RateLimit-Policy, ETag, traceresponse"

    func handle(_ request: Request, context: APIContext, next: @concurrent (Request, APIContext) async throws -> Response) async throws -> Response {
        guard let origin = request.headers[.origin] else {
            var response = try await next(request, context)
            vary(&response)
            return response
        }
        if request.method == .options, request.headers[.accessControlRequestMethod] != nil { return preflight(origin, request.uri.path) }
        var response = try await next(request, context)
        vary(&response)
        policy.admit(origin, &response.headers)
        if response.headers[.accessControlAllowOrigin] != nil { response.headers[.accessControlExposeHeaders] = Self.exposed }
        return response
    }

    /// The methods are the address's, as `Allow` would tell them; of one that there is not, the server's: that it is not there is for the request itself to hear.
    private func preflight(_ origin: String, _ path: String) -> Response {
        guard policy.allows(origin) else {
            var response = Response.refusal(Refusal(.forbidden, "origin_forbidden", "Esta origem não está entre as permitidas (ALLOWED_ORIGINS)."))
            vary(&response)
            return response
        }
        var response = Response(status: .noContent)
        policy.admit(origin, &response.headers)
        let methods = routes.methods(at: path)
        response.headers[.accessControlAllowMethods] = (methods.isEmpty ? routes.methods : methods).list
        response.headers[.accessControlAllowHeaders] = Self.requestHeaders
        response.headers[.accessControlMaxAge] = String(policy.preflightSeconds)
        vary(&response)
        return response
    }

    /// A shared cache must not give one origin's answer to another.
    private func vary(_ response: inout Response) { response.headers.append(HTTPField(name: .vary, value: "Origin")) }
}

/// Who comes by another name than the server's is answered only how it is: probes come by an address.
struct RequireHost: RouterMiddleware {
    typealias Context = APIContext
    let hosts: AllowedHosts

    func handle(_ request: Request, context: APIContext, next: @concurrent (Request, APIContext) async throws -> Response) async throws -> Response {
        guard hosts.allows(request.head.authority) || request.uri.path == "/health" else {
            throw Refusal(.malformed, "host_forbidden", "O servidor não atende por este nome (ALLOWED_HOSTS).")
        }
        return try await next(request, context)
    }
}

struct SecurityHeaders: RouterMiddleware {
    typealias Context = APIContext
    let policy: BrowserPolicy

    func handle(_ request: Request, context: APIContext, next: @concurrent (Request, APIContext) async throws -> Response) async throws -> Response {
        var response = try await next(request, context)
        response.headers[.xContentTypeOptions] = "nosniff"
        response.headers[Self.frameOptions] = "DENY"
        response.headers[Self.referrerPolicy] = "no-referrer"
        response.headers[Self.resourcePolicy] = "cross-origin"
        // A page brings its own, or gets this. So does what is no page: opened in a browser, an answer may still talk to us, as developers' consoles do.
        if response.headers[.contentSecurityPolicy] == nil { response.headers[.contentSecurityPolicy] = Self.ownOnly }
        if policy.strictTransportSeconds > 0 {
            response.headers[.strictTransportSecurity] = "max-age=\(policy.strictTransportSeconds); includeSubDomains"
        }
        return response
    }

    private static let ownOnly =
        "default-src 'self'; connect-src 'self' ws: wss:; img-src 'self' data: blob:; object-src 'none'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'"
    private static let frameOptions = HTTPField.Name("X-Frame-Options")!
    private static let referrerPolicy = HTTPField.Name("Referrer-Policy")!
    private static let resourcePolicy = HTTPField.Name("Cross-Origin-Resource-Policy")!
}
