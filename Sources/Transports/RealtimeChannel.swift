package import HummingbirdCore
import Kernel
package import Logging
package import NIOCore
import NIOHTTP1
import NIOHTTPTypes
import NIOHTTPTypesHTTP1

/// A connection to the one port: HTTP/1.1, until its first request asks for a WebSocket.
package struct RealtimeChannel: ServerChildChannel, HTTPChannelHandler {
    enum Upgraded: Sendable {
        case http(NIOAsyncChannel<HTTPRequestPart, HTTPResponsePart>)
        /// Its handlers do all the work.
        case socket
    }

    package struct Value: ServerChildChannelValue {
        let upgraded: EventLoopFuture<Upgraded>
        package let channel: any Channel
    }

    package let responder: Responder
    private let services: SessionServices
    private let registries: LoopRegistries

    /// - Parameter registries: must know every event loop that the server runs on.
    package init(responder: @escaping Responder, services: SessionServices, registries: LoopRegistries) {
        self.responder = responder
        self.services = services
        self.registries = registries
    }

    package func setup(channel: any Channel, logger: Logger) -> EventLoopFuture<Value> {
        channel.eventLoop.makeCompletedFuture {
            // Who connects and says nothing, or half a request, is not waited for.
            let handshake = channel.eventLoop.scheduleTask(in: .nanoseconds(services.settings.handshakeTimeout.inMilliseconds * 1_000_000)) {
                channel.close(promise: nil)
            }
            channel.closeFuture.whenComplete { _ in handshake.cancel() }
            let upgrade = NIOTypedHTTPServerUpgradeConfiguration<Upgraded>(
                upgraders: [WebSocketUpgrader(services: services, registries: registries, handshakeDone: { handshake.cancel() })],
                notUpgradingCompletionHandler: { channel in
                    channel.eventLoop.makeCompletedFuture {
                        handshake.cancel()
                        let pipeline = channel.pipeline.syncOperations
                        try pipeline.addHandler(HTTP1ToHTTPServerCodec(secure: false))
                        try pipeline.addHandler(HTTPConnectionStateHandler(idleTimeout: .seconds(60), logger: logger))
                        return .http(
                            try NIOAsyncChannel(wrappingChannelSynchronously: channel, configuration: .init(isOutboundHalfClosureEnabled: true))
                        )
                    }
                }
            )
            var configuration = NIOUpgradableHTTPServerPipelineConfiguration(upgradeConfiguration: upgrade)
            // As Hummingbird itself has it: its async channel keeps requests apart, and its types cannot hold an invalid header.
            configuration.enablePipelining = false
            configuration.enableErrorHandling = true
            configuration.enableResponseHeaderValidation = false
            return Value(
                upgraded: try channel.pipeline.syncOperations.configureUpgradableHTTPServerPipeline(configuration: configuration),
                channel: channel
            )
        }
    }

    package func handle(value: Value, logger: Logger) async {
        switch try? await value.upgraded.get() {
        case .http(let channel): await handleHTTP(asyncChannel: channel, logger: logger)
        // The server waits for its connections' `handle` when it stops: a socket is served until it is closed.
        case .socket: try? await value.channel.closeFuture.get()
        case nil: value.channel.close(promise: nil)
        }
    }
}
