import Crypto
import Kernel
import NIOCore
import NIOHTTP1
import Wire

/// Decides whether a request becomes a WebSocket, and makes it one.
///
/// A refused request is answered here: NIO does not hand it on to the router.
struct WebSocketUpgrader: NIOTypedHTTPServerProtocolUpgrader {
    typealias UpgradeResult = RealtimeChannel.Upgraded

    static let path = "/connection/websocket"
    /// For conformance suites, where it is opened.
    static let echoPath = "/connection/echo"

    /// TCP_NOTSENT_LOWAT, tcp(7).
    private static let notSentLowWaterMark = NIOBSDSocket.Option(rawValue: 25)
    private static let unsentBytes = 128 << 10

    let supportedProtocol = "websocket"
    let requiredUpgradeHeaders: [String] = []

    let services: SessionServices
    let registries: LoopRegistries
    let handshakeDone: @Sendable () -> Void

    func buildUpgradeResponse(
        channel: any Channel,
        upgradeRequest: HTTPRequestHead,
        initialResponseHeaders: HTTPHeaders
    ) -> EventLoopFuture<HTTPHeaders> {
        guard isRealtime(upgradeRequest) || isEcho(upgradeRequest) else {
            return refuse(channel, .notFound, reason: "Não há WebSocket neste endereço; use \(Self.path)")
        }
        guard isAllowed(origin: upgradeRequest.headers.first(name: "origin"), host: upgradeRequest.headers.first(name: "host")) else {
            return refuse(channel, .forbidden, reason: "Origem não permitida")
        }
        let decision = WebSocketHandshake.decide(
            method: upgradeRequest.method.rawValue,
            headers: { upgradeRequest.headers[$0] },
            subprotocols: ["centrifuge-json"],
            sha1: { Array(Insecure.SHA1.hash(data: $0)) }
        )
        switch decision {
        case .accept(let accept, let subprotocol):
            var headers = initialResponseHeaders
            headers.replaceOrAdd(name: "upgrade", value: "websocket")
            headers.replaceOrAdd(name: "sec-websocket-accept", value: accept)
            if let subprotocol { headers.replaceOrAdd(name: "sec-websocket-protocol", value: subprotocol) }
            do throws(WebSocketExtensionError) {
                if let agreement = try agreement(upgradeRequest) {
                    headers.replaceOrAdd(name: "sec-websocket-extensions", value: agreement.headerValue)
                }
            } catch {
                return refuse(channel, .badRequest, reason: "Sec-WebSocket-Extensions: \(error)")
            }
            return channel.eventLoop.makeSucceededFuture(headers)
        case .refuse(let status, let headers, let reason):
            return refuse(channel, HTTPResponseStatus(statusCode: status), headers: headers, reason: reason)
        }
    }

    func upgrade(channel: any Channel, upgradeRequest: HTTPRequestHead) -> EventLoopFuture<UpgradeResult> {
        channel.eventLoop.makeCompletedFuture {
            handshakeDone()
            // What a client does not read waits here, where it is counted, and not in the kernel, which would take megabytes.
            try? channel.syncOptions?.setOption(.tcpOption(Self.notSentLowWaterMark), value: Self.unsentBytes)
            // The same answer as before, which refused what cannot be read.
            let agreed = try? agreement(upgradeRequest)
            if isEcho(upgradeRequest) {
                try channel.pipeline.syncOperations.addHandler(EchoConnection(deflate: agreed?.parameters))
                return .socket
            }
            let connection = WebSocketConnection(
                services: services,
                registry: registries.registry(of: channel.eventLoop),
                deflate: agreed?.parameters
            )
            try channel.pipeline.syncOperations.addHandler(connection)
            return .socket
        }
    }

    private func isRealtime(_ request: HTTPRequestHead) -> Bool { Self.path(of: request) == Self.path }
    private func isEcho(_ request: HTTPRequestHead) -> Bool { services.settings.isEchoOpen && Self.path(of: request) == Self.echoPath }

    /// Without the query, and without a slash at its end.
    private static func path(of request: HTTPRequestHead) -> Substring {
        let path = request.uri.prefix { $0 != "?" }
        return path.hasSuffix("/") ? path.dropLast() : path
    }

    private func agreement(_ request: HTTPRequestHead) throws(WebSocketExtensionError) -> DeflateNegotiator.Agreement? {
        try DeflateNegotiator(isEcho(request) ? EchoConnection.policy : services.settings.deflate).answer(request.headers["sec-websocket-extensions"])
    }

    /// A page may connect from the server's own origin and from those that are listed. Who sends no origin is no browser.
    private func isAllowed(origin: String?, host: String?) -> Bool {
        guard let origin else { return true }
        if services.settings.allowedOrigins.contains(origin) || services.settings.allowedOrigins.contains("*") { return true }
        guard let host else { return false }
        return ["http://", "https://"].contains { origin.lowercased() == $0 + host.lowercased() }
    }

    private func refuse(
        _ channel: any Channel,
        _ status: HTTPResponseStatus,
        headers: [String: String] = [:],
        reason: String
    ) -> EventLoopFuture<HTTPHeaders> {
        var writer = JSONWriter()
        writer.object { $0.field("detail", reason) }
        let body = ByteBuffer(bytes: writer.bytes)
        var fields = HTTPHeaders([
            ("content-type", "application/json"), ("content-length", String(body.readableBytes)), ("connection", "close"),
        ])
        for (name, value) in headers where name != "connection" { fields.replaceOrAdd(name: name, value: value) }
        channel.write(HTTPServerResponsePart.head(.init(version: .http1_1, status: status, headers: fields)), promise: nil)
        channel.write(HTTPServerResponsePart.body(.byteBuffer(body)), promise: nil)
        return channel.writeAndFlush(HTTPServerResponsePart.end(nil)).flatMapThrowing {
            channel.close(promise: nil)
            throw RefusedUpgrade()
        }
    }
}

private struct RefusedUpgrade: Error {}
