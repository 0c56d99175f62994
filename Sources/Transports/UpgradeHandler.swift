import HummingbirdCore
import Kernel
import Logging
import NIOCore
import NIOHTTP1
import NIOHTTPTypes
import NIOHTTPTypesHTTP1
import Realtime

/// Stands between the HTTP parser and everything else on a connection, until one of its requests asks for a WebSocket (`UpgradeMachine`).
///
/// HTTP's own handlers are put in with the first request that is one: a connection that begins as a WebSocket never has them. One that changes over later
/// keeps the end of its async channel, which hears nothing more until the socket is closed.
final class UpgradeHandler: ChannelDuplexHandler, RemovableChannelHandler {
    typealias InboundIn = HTTPServerRequestPart
    typealias InboundOut = HTTPServerRequestPart
    typealias OutboundIn = HTTPServerResponsePart
    typealias OutboundOut = HTTPServerResponsePart

    /// What of the pipeline belongs to HTTP and is in the way of anything else.
    struct HTTPHandlers {
        let encoder: HTTPResponseEncoder
        let others: [any RemovableChannelHandler]
    }

    private let upgrader: WebSocketUpgrader
    private let http: HTTPHandlers
    private let settings: SocketSettings
    private let logger: Logger
    private var connectionState: HTTPConnectionStateHandler?
    private var machine = UpgradeMachine<HTTPRequestHead>()
    private var decided: EventLoopPromise<RealtimeChannel.Upgraded>?
    /// What came behind the request, of the protocol that it asked for.
    private var kept: [NIOAny] = []
    private var isSwitching = false
    /// What is behind us speaks the other protocol already: its close, if the server is draining, or its answer to what came with the request.
    private var hasSwitched = false
    private var wantsToRead = false
    /// Bytes of a body of any length, since its time began anew; `nil` of all other requests.
    private var streamed: Int?
    private var isMidRequest = false
    /// What the request that has begun waits for before it sends its body (RFC 9110 §10.1.1).
    private var leave = Leave.notAsked

    private enum Leave {
        case notAsked
        /// Answers of earlier requests go first.
        case due
        /// It would send more than is taken: it gets its answer instead, which is the connection's last, as the body may come or not.
        case withheld
    }
    /// Until the request that has begun, or the first that has not, is there.
    private var deadline: Scheduled<Void>?

    init(
        _ upgrader: WebSocketUpgrader,
        http: HTTPHandlers,
        settings: SocketSettings,
        logger: Logger,
        decided: EventLoopPromise<RealtimeChannel.Upgraded>
    ) {
        self.upgrader = upgrader
        self.http = http
        self.settings = settings
        self.logger = logger
        self.decided = decided
    }

    // MARK: Channel events

    func handlerAdded(context: ChannelHandlerContext) {
        // Who connects and says nothing, or half a request, is not waited for.
        closeUnless(within: settings.handshakeTimeout, context)
    }

    func handlerRemoved(context: ChannelHandlerContext) { finish() }

    func channelInactive(context: ChannelHandlerContext) {
        finish()
        context.fireChannelInactive()
    }

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        if isSwitching { return kept.append(data) }
        let part = unwrapInboundIn(data)
        let verdict =
            switch part {
            case .head(let head): machine.requestBegan(head, asks: .init(isConnect: head.method == .CONNECT, headers: { head.headers[$0] }))
            case .body: machine.requestWentOn()
            case .end: machine.requestEnded()
            }
        switch part {
        case .head(let head):
            isMidRequest = true
            leave = leave(for: head)
            streamed = settings.streamsBody(String(head.uri.prefix { $0 != "?" })) ? 0 : nil
            lift()
        case .body(let bytes):
            if leave == .due { leave = .notAsked }
            streamed? += bytes.readableBytes
        case .end:
            isMidRequest = false
            if leave == .due { leave = .notAsked }
            lift()
        }
        perform(verdict, data, context)
        giveLeaveIfDue(context)
    }

    /// Most requests come in one piece, and need no deadline.
    func channelReadComplete(context: ChannelHandlerContext) {
        if isMidRequest, deadline == nil { waitForTheRest(context) }
        context.fireChannelReadComplete()
    }

    /// A request has a time in which it is to be there; a body that may be of any length goes on for as long as it comes at a rate worth waiting for.
    private func waitForTheRest(_ context: ChannelHandlerContext) {
        guard streamed != nil else { return closeUnless(within: settings.requestTimeout, context) }
        let context = NIOLoopBound(context, eventLoop: context.eventLoop)
        let least = Int(settings.requestTimeout.components.seconds) * SocketSettings.leastStreamedBytesPerSecond
        deadline = context.value.eventLoop.assumeIsolated().scheduleTask(in: .nanoseconds(settings.requestTimeout.inMilliseconds * 1_000_000)) {
            [self] in
            deadline = nil
            guard isMidRequest, let streamed else { return }
            guard streamed >= least else { return context.value.close(promise: nil) }
            self.streamed = 0
            waitForTheRest(context.value)
        }
    }

    func errorCaught(context: ChannelHandlerContext, error: any Error) {
        context.fireErrorCaught(error)
        // What could not be read has been answered, and there is nobody yet who would close.
        if machine.isSilent { context.close(promise: nil) }
    }

    func read(context: ChannelHandlerContext) {
        if machine.isReading { context.read() } else { wantsToRead = true }
    }

    func write(context: ChannelHandlerContext, data: NIOAny, promise: EventLoopPromise<Void>?) {
        if hasSwitched { return context.write(data, promise: promise) }
        let isLast = machine.answerWentOut() == .last || leave == .withheld && machine.owed == 1
        switch unwrapOutboundIn(data) {
        case .head(var head) where isLast:
            head.headers.replaceOrAdd(name: "connection", value: "close")
            context.write(wrapOutboundOut(.head(head)), promise: promise)
        case .head, .body: context.write(data, promise: promise)
        case .end:
            context.write(data, promise: promise)
            let verdict = machine.answerEnded()
            // Answered without its body, as by a refusal: nothing more is said of it.
            if machine.owed == 0, leave == .due { leave = .notAsked }
            giveLeaveIfDue(context)
            if isLast {
                context.flush()
                context.close(promise: nil)
            } else if case .change = verdict {
                // Not in the middle of somebody else's write.
                context.eventLoop.assumeIsolated().execute { self.perform(verdict, data, context) }
            }
        }
    }

    func userInboundEventTriggered(context: ChannelHandlerContext, event: Any) {
        switch event {
        case is ChannelShouldQuiesceEvent where machine.isSilent: context.close(promise: nil)
        // Half a request, and nothing will follow; or a WebSocket that could never answer.
        case ChannelEvent.inputClosed where decided != nil || isSwitching: context.close(promise: nil)
        default: context.fireUserInboundEventTriggered(event)
        }
    }

    // MARK: Inside

    private func leave(for head: HTTPRequestHead) -> Leave {
        guard head.version == .http1_1, head.headers[canonicalForm: "expect"].contains(where: { $0.lowercased() == "100-continue" }) else {
            return .notAsked
        }
        let path = String(head.uri.prefix { $0 != "?" })
        guard let length = head.headers.first(name: "content-length").flatMap({ Int($0) }), length > settings.maxBodyBytes(path) else { return .due }
        return .withheld
    }

    private func giveLeaveIfDue(_ context: ChannelHandlerContext) {
        guard leave == .due, isMidRequest, machine.owed == 1, context.channel.isActive else { return }
        leave = .notAsked
        context.writeAndFlush(wrapOutboundOut(.head(HTTPResponseHead(version: .http1_1, status: .continue))), promise: nil)
    }

    private func perform(_ verdict: UpgradeMachine<HTTPRequestHead>.Request, _ data: NIOAny, _ context: ChannelHandlerContext) {
        switch verdict {
        case .begin:
            do { try beginHTTP(context) } catch { return context.close(promise: nil) }
            context.fireChannelRead(data)
        case .pass: context.fireChannelRead(data)
        case .keep: break
        case .change(let head): change(head, context)
        case .abandon: context.close(promise: nil)
        }
    }

    private func beginHTTP(_ context: ChannelHandlerContext) throws {
        let pipeline = context.pipeline.syncOperations
        let connectionState = HTTPConnectionStateHandler(idleTimeout: settings.idleTimeout, logger: logger)
        self.connectionState = connectionState
        try pipeline.addHandler(HTTP1ToHTTPServerCodec(secure: false))
        try pipeline.addHandler(connectionState)
        let channel = try NIOAsyncChannel<HTTPRequestPart, HTTPResponsePart>(
            wrappingChannelSynchronously: context.channel,
            configuration: .init(isOutboundHalfClosureEnabled: true)
        )
        decided.take()?.succeed(.http(channel))
    }

    private func change(_ request: HTTPRequestHead, _ context: ChannelHandlerContext) {
        guard context.channel.isActive else { return }
        switch upgrader.decide(request) {
        case .refuse(let head, let body):
            context.write(wrapOutboundOut(.head(head)), promise: nil)
            context.write(wrapOutboundOut(.body(.byteBuffer(body))), promise: nil)
            context.writeAndFlush(wrapOutboundOut(.end(nil)), promise: nil)
            context.close(promise: nil)
        case .accept(let head, let connection):
            isSwitching = true
            let admission = upgrader.services.admission
            context.channel.closeFuture.whenComplete { _ in admission.vacate() }
            // The parser hands on what it had already when it goes, and then is no longer in the way.
            let pipeline = context.pipeline.syncOperations
            let removed = (http.others + [connectionState].compactMap(\.self)).map { pipeline.removeHandler($0) }
            EventLoopFuture.andAllSucceed(removed, on: context.eventLoop).assumeIsolated().whenComplete { result in
                guard case .success = result else { return context.close(promise: nil) }
                self.install(connection, head, context)
            }
        }
    }

    private func install(_ connection: any ChannelHandler, _ answer: HTTPResponseHead, _ context: ChannelHandlerContext) {
        context.write(wrapOutboundOut(.head(answer)), promise: nil)
        let pipeline = context.pipeline.syncOperations
        // It goes at once, and all that follows is another protocol's.
        pipeline.removeHandler(http.encoder, promise: nil)
        upgrader.prepare(context.channel)
        hasSwitched = true
        do { try pipeline.addHandler(connection, position: .after(self)) } catch { return context.close(promise: nil) }
        decided.take()?.succeed(.socket)
        context.flush()
        let bytes = kept
        kept = []
        for each in bytes { context.fireChannelRead(each) }
        if !bytes.isEmpty { context.fireChannelReadComplete() }
        if wantsToRead { context.read() }
        pipeline.removeHandler(self, promise: nil)
    }

    private func closeUnless(within time: Duration, _ context: ChannelHandlerContext) {
        let channel = context.channel
        deadline = context.eventLoop.scheduleTask(in: .nanoseconds(time.inMilliseconds * 1_000_000)) { channel.close(promise: nil) }
    }

    private func lift() {
        deadline?.cancel()
        deadline = nil
    }

    private func finish() {
        lift()
        decided.take()?.fail(ChannelError.eof)
    }
}
