package import Kernel
package import NIOCore
import NIOPosix
import NIOSSL
import NIOTLS
import Synchronization

/// Sends mails through one server: a connection for each, which is opened when the mail is there and closed when it is gone.
package struct SMTPClient: Sendable {
    package struct Configuration: Sendable {
        package var host: String
        package var port: Int
        package var security: SMTPDialogue.Security
        package var credentials: SMTPDialogue.Credentials?
        /// Whose certificates are trusted beside the system's: a file in PEM.
        package var caFile: String?
        /// How long the server has for each answer, and for the connection. For the answer to a whole message four times as long.
        package var patience = Duration.seconds(30)
        package var name = "plantao.local"

        package init(host: String, port: Int, security: SMTPDialogue.Security) {
            self.host = host
            self.port = port
            self.security = security
        }
    }

    private let configuration: Configuration
    private let group: any EventLoopGroup
    private let context: NIOSSLContext
    private let dialogues = SMTPDialogues()

    /// - Throws: where the certificates cannot be read.
    package init(_ configuration: Configuration, group: any EventLoopGroup) throws {
        self.configuration = configuration
        self.group = group
        var tls = TLSConfiguration.makeClientConfiguration()
        tls.minimumTLSVersion = .tlsv12
        if let file = configuration.caFile { tls.additionalTrustRoots = [.file(file)] }
        context = try NIOSSLContext(configuration: tls)
    }

    /// Whether a file has certificates that could be trusted.
    package static func hasCertificates(_ file: String) -> Bool { (try? NIOSSLCertificate.fromPEMFile(file))?.isEmpty == false }

    /// Nothing is begun any more, and dialogues end in which the message has not been handed over yet: nobody who stops waits for a server that keeps silent.
    package func stop() { dialogues.stop() }

    /// Sees whether the server is there, with TLS as it is to be, and lets us in. Nothing is sent.
    package func check() async -> SMTPResult { await speak([], nil) { true } }

    /// - Parameter stillWanted: asked once the server has taken the recipient, just before the message goes out.
    package func send(
        _ message: [UInt8],
        _ envelope: SMTPDialogue.Envelope,
        stillWanted: @escaping @Sendable () async -> Bool = { true }
    ) async -> SMTPResult { await speak(message, envelope, stillWanted) }

    private func speak(
        _ message: [UInt8],
        _ envelope: SMTPDialogue.Envelope?,
        _ stillWanted: @escaping @Sendable () async -> Bool
    ) async -> SMTPResult {
        let loop = group.next()
        let promise = loop.makePromise(of: SMTPResult.self)
        let (configuration, context, dialogues) = (configuration, context, dialogues)
        let dialogue = SMTPDialogue(
            envelope,
            message: message,
            security: configuration.security,
            credentials: configuration.credentials,
            name: configuration.name
        )
        let bootstrap = ClientBootstrap(group: loop).connectTimeout(.nanoseconds(configuration.patience.inMilliseconds * 1_000_000))
            .channelInitializer { channel in
                channel.eventLoop.makeCompletedFuture {
                    try dialogues.begins(channel)
                    if configuration.security == .tls {
                        try channel.pipeline.syncOperations.addHandler(try Self.handshake(context, configuration.host))
                    }
                    let handler = SMTPHandler(dialogue, configuration, context, promise, stillWanted)
                    try channel.pipeline.syncOperations.addHandler(handler)
                }
            }
        bootstrap.connect(host: configuration.host, port: configuration.port).whenFailure { error in
            promise.succeed(.unavailable(nil, "sem conexão com o servidor de e-mail: \(Self.reason(error))"))
        }
        return (try? await promise.futureResult.get()) ?? .unavailable(nil, "sem conexão com o servidor de e-mail")
    }

    /// An address has no name that a certificate could be looked up by.
    fileprivate static func handshake(_ context: NIOSSLContext, _ host: String) throws -> NIOSSLClientHandler {
        let isAddress = (try? SocketAddress(ipAddress: host, port: 0)) != nil
        return try NIOSSLClientHandler(context: context, serverHostname: isAddress ? nil : host)
    }

    fileprivate static func reason(_ error: any Error) -> String { String(String(describing: error).prefix(200)) }
}

/// Those under way, so that they can be ended.
private final class SMTPDialogues: Sendable {
    struct Stopped: Error, CustomStringConvertible { let description = "o servidor está parando" }

    private let state = Mutex<(isStopping: Bool, channels: [ObjectIdentifier: any Channel])>((false, [:]))

    func begins(_ channel: any Channel) throws {
        let isStopping = state.withLock { state in
            if !state.isStopping { state.channels[ObjectIdentifier(channel)] = channel }
            return state.isStopping
        }
        if isStopping { throw Stopped() }
        channel.closeFuture.whenComplete { _ in self.state.withLock { _ = $0.channels.removeValue(forKey: ObjectIdentifier(channel)) } }
    }

    func stop() {
        let channels = state.withLock { state in
            state.isStopping = true
            return state.channels.values.map { $0 }
        }
        for channel in channels { channel.eventLoop.execute { channel.pipeline.fireUserInboundEventTriggered(Stopped()) } }
    }
}

/// Performs what `SMTPDialogue` says, on one connection.
private final class SMTPHandler: ChannelInboundHandler {
    typealias InboundIn = ByteBuffer
    typealias OutboundOut = ByteBuffer

    private var dialogue: SMTPDialogue
    private let configuration: SMTPClient.Configuration
    private let context: NIOSSLContext
    private let promise: EventLoopPromise<SMTPResult>
    private let stillWanted: @Sendable () async -> Bool
    private var alarm: Scheduled<Void>?
    private var isStarting = false

    init(
        _ dialogue: SMTPDialogue,
        _ configuration: SMTPClient.Configuration,
        _ context: NIOSSLContext,
        _ promise: EventLoopPromise<SMTPResult>,
        _ stillWanted: @escaping @Sendable () async -> Bool
    ) {
        self.dialogue = dialogue
        self.configuration = configuration
        self.context = context
        self.promise = promise
        self.stillWanted = stillWanted
    }

    func channelActive(context: ChannelHandlerContext) {
        wait(context)
        context.fireChannelActive()
    }

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        perform(dialogue.received(unwrapInboundIn(data).readableBytesView), context)
    }

    func userInboundEventTriggered(context: ChannelHandlerContext, event: Any) {
        if isStarting, case .handshakeCompleted? = event as? TLSUserEvent {
            isStarting = false
            perform(dialogue.secured(), context)
        }
        if event is SMTPDialogues.Stopped, !dialogue.isAfterDot { perform(dialogue.lost("o servidor está parando"), context) }
        context.fireUserInboundEventTriggered(event)
    }

    func errorCaught(context: ChannelHandlerContext, error: any Error) {
        // Some servers close without TLS's own goodbye.
        perform(dialogue.lost(SMTPClient.reason(error)), context)
    }

    func channelInactive(context: ChannelHandlerContext) {
        perform(dialogue.lost("o servidor de e-mail fechou a conexão"), context)
        context.fireChannelInactive()
    }

    private func wait(_ context: ChannelHandlerContext) {
        alarm?.cancel()
        let patience = dialogue.isAfterDot ? configuration.patience * 4 : configuration.patience
        let bound = NIOLoopBound((self, context), eventLoop: context.eventLoop)
        alarm = context.eventLoop.scheduleTask(in: .milliseconds(patience.inMilliseconds)) {
            let (handler, context) = bound.value
            handler.perform(handler.dialogue.lost("o servidor de e-mail não respondeu a tempo"), context)
        }
    }

    private func ask(_ context: ChannelHandlerContext) {
        let bound = NIOLoopBound((self, context), eventLoop: context.eventLoop)
        let (loop, stillWanted) = (context.eventLoop, stillWanted)
        Task {
            let isWanted = await stillWanted()
            loop.execute {
                let (handler, context) = bound.value
                handler.perform(handler.dialogue.wanted(isWanted), context)
            }
        }
    }

    private func perform(_ outputs: [SMTPDialogue.Output], _ context: ChannelHandlerContext) {
        for output in outputs {
            switch output {
            case .send(let bytes): context.writeAndFlush(wrapOutboundOut(ByteBuffer(bytes: bytes)), promise: nil)
            case .ask: ask(context)
            case .startTLS:
                isStarting = true
                do {
                    try context.pipeline.syncOperations.addHandler(
                        try SMTPClient.handshake(self.context, configuration.host),
                        position: .before(self)
                    )
                } catch {
                    return perform(dialogue.lost(SMTPClient.reason(error)), context)
                }
            case .end(let result):
                alarm?.cancel()
                promise.succeed(result)
                context.close(promise: nil)
                return
            }
        }
        if !outputs.isEmpty { wait(context) }
    }
}
