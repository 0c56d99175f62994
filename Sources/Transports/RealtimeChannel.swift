package import HummingbirdCore
import Kernel
package import Logging
package import NIOCore
import NIOHTTP1
import NIOHTTPTypes

/// A connection to the one port: HTTP/1.1, until a request asks for a WebSocket.
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
            // Requests and commands are short. What a channel reads into it keeps, so this is memory of every client who says nothing; it grows where more comes.
            try channel.syncOptions?.setOption(.recvAllocator, value: AdaptiveRecvByteBufferAllocator(minimum: 64, initial: 512, maximum: 65_536))
            // Of buffers that are still being looked at the channel would keep as many as it reads at a time.
            try channel.syncOptions?.setOption(.maxMessagesPerRead, value: 1)
            let decided = channel.eventLoop.makePromise(of: Upgraded.self)
            let encoder = HTTPResponseEncoder()
            // Hummingbird's async channel keeps requests apart, and its types cannot hold an invalid header: no handlers for these.
            let decoder = ByteToMessageHandler(HTTPRequestDecoder(leftOverBytesStrategy: .forwardBytes))
            let errors = HTTPServerProtocolErrorHandler()
            let upgrade = UpgradeHandler(
                WebSocketUpgrader(services: services, registries: registries, loop: channel.eventLoop),
                http: UpgradeHandler.HTTPHandlers(encoder: encoder, others: [decoder, errors]),
                settings: services.settings,
                logger: logger,
                decided: decided
            )
            try channel.pipeline.syncOperations.addHandlers([encoder, decoder, errors, upgrade])
            return Value(upgraded: decided.futureResult, channel: channel)
        }
    }

    package func handle(value: Value, logger: Logger) async {
        switch try? await value.upgraded.get() {
        case .http(let channel): await handleHTTP(asyncChannel: channel, logger: logger)
        // A task that waits costs as much memory as all the rest of a socket, which lives on in its event loop; the registries know it.
        case .socket: break
        case nil: value.channel.close(promise: nil)
        }
    }
}
