import Crypto
import Kernel
import NIOCore
import NIOHTTP1
import Realtime
import Wire

/// Decides whether a request becomes a WebSocket, and which.
struct WebSocketUpgrader {
    static let path = "/connection/websocket"
    /// For conformance suites, where it is opened.
    static let echoPath = "/connection/echo"

    /// TCP_NOTSENT_LOWAT, tcp(7).
    private static let notSentLowWaterMark = NIOBSDSocket.Option(rawValue: 25)
    private static let unsentBytes = 128 << 10

    let services: SessionServices
    let registries: LoopRegistries
    /// The connection's own.
    let loop: any EventLoop

    enum Decision {
        /// The answer, and what reads the frames that follow. It has a place, which is to be vacated (`Admission`).
        case accept(HTTPResponseHead, any ChannelHandler)
        /// The answer, after which the connection ends.
        case refuse(HTTPResponseHead, ByteBuffer)
    }

    func decide(_ request: HTTPRequestHead) -> Decision {
        guard isRealtime(request) || isEcho(request) else {
            return refuse(.notFound, reason: "Não há WebSocket neste endereço; use \(Self.path)")
        }
        guard services.settings.allowedHosts.allows(request.headers.first(name: "host")) else {
            return refuse(.badRequest, reason: "O servidor não atende por este nome (ALLOWED_HOSTS)")
        }
        guard isAllowed(origin: request.headers.first(name: "origin"), host: request.headers.first(name: "host")) else {
            return refuse(.forbidden, reason: "Origem não permitida")
        }
        let decision = WebSocketHandshake.decide(
            method: request.method.rawValue,
            headers: { request.headers[$0] },
            subprotocols: ["centrifuge-json"],
            sha1: { Array(Insecure.SHA1.hash(data: $0)) }
        )
        switch decision {
        case .accept(let accept, let subprotocol):
            var headers: HTTPHeaders = ["connection": "upgrade", "upgrade": "websocket", "sec-websocket-accept": accept]
            if let subprotocol { headers.replaceOrAdd(name: "sec-websocket-protocol", value: subprotocol) }
            let agreement: DeflateNegotiator.Agreement?
            do throws(WebSocketExtensionError) { agreement = try self.agreement(request) } catch {
                return refuse(.badRequest, reason: "Sec-WebSocket-Extensions: \(error)")
            }
            guard services.admission.occupy() else {
                return refuse(
                    .serviceUnavailable,
                    headers: ["retry-after": "5"],
                    reason: "O servidor tem conexões demais; tente novamente em instantes"
                )
            }
            if let agreement { headers.replaceOrAdd(name: "sec-websocket-extensions", value: agreement.headerValue) }
            return .accept(HTTPResponseHead(version: .http1_1, status: .switchingProtocols, headers: headers), connection(request, agreement))
        case .refuse(let status, let headers, let reason):
            return refuse(HTTPResponseStatus(statusCode: status), headers: headers, reason: reason)
        }
    }

    private func connection(_ request: HTTPRequestHead, _ agreement: DeflateNegotiator.Agreement?) -> any ChannelHandler {
        isEcho(request)
            ? EchoConnection(deflate: agreement?.parameters)
            : WebSocketConnection(services: services, registry: registries.registry(of: loop), deflate: agreement?.parameters)
    }

    /// What a client does not read waits here, where it is counted, and not in the kernel, which would take megabytes.
    func prepare(_ channel: any Channel) {
        try? channel.syncOptions?.setOption(.tcpOption(Self.notSentLowWaterMark), value: Self.unsentBytes)
    }

    private func isRealtime(_ request: HTTPRequestHead) -> Bool { Self.path(of: request) == Self.path }
    private func isEcho(_ request: HTTPRequestHead) -> Bool { services.settings.isEchoOpen && Self.path(of: request) == Self.echoPath }

    /// Without the query, and without a slash at its end.
    private static func path(of request: HTTPRequestHead) -> Substring {
        let path = request.uri.prefix { $0 != "?" }
        return path.hasSuffix("/") ? path.dropLast() : path
    }

    private func agreement(_ request: HTTPRequestHead) throws(WebSocketExtensionError) -> DeflateNegotiator.Agreement? {
        var policy = services.settings.deflate
        if isEcho(request), policy.isEnabled { policy = EchoConnection.policy }
        return try DeflateNegotiator(policy).answer(request.headers["sec-websocket-extensions"])
    }

    /// A page may connect from the server's own origin and from those that are listed. Who sends no origin is no browser.
    private func isAllowed(origin: String?, host: String?) -> Bool {
        guard let origin else { return true }
        if services.settings.allowedOrigins.contains(origin) || services.settings.allowedOrigins.contains("*") { return true }
        guard let host else { return false }
        return ["http://", "https://"].contains { origin.lowercased() == $0 + host.lowercased() }
    }

    private func refuse(_ status: HTTPResponseStatus, headers: [String: String] = [:], reason: String) -> Decision {
        var writer = JSONWriter()
        writer.object { $0.field("detail", reason) }
        let body = ByteBuffer(bytes: writer.bytes)
        var fields = HTTPHeaders([
            ("content-type", "application/json"), ("content-length", String(body.readableBytes)), ("connection", "close"),
        ])
        for (name, value) in headers where name != "connection" { fields.replaceOrAdd(name: name, value: value) }
        return .refuse(HTTPResponseHead(version: .http1_1, status: status, headers: fields), body)
    }
}
