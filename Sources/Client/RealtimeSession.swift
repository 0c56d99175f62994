import NIOCore
import NIOPosix
import Wire

/// A client's connection and everything that hangs on it. Lives on one event loop: only `RealtimeClient` may bring others to it.
///
///     idle ─▶ opening ─▶ ready ─▶ ended
///               ▲  │       │
///               │  ▼       ▼
///              waiting ◀───┘        (only with `configuration.reconnect`, and after having been ready once)
final class RealtimeSession: WebSocketClientDelegate {
    typealias Completion<Value> = (Result<Value, RealtimeError>) -> Void

    private enum Phase {
        case idle
        /// From opening the socket to the connect reply.
        case opening(timeout: Scheduled<Void>)
        case ready(ConnectResult)
        case waiting(Scheduled<Void>)
        case ended
    }

    /// A command sent and not answered.
    private struct Pending {
        let deadline: NIODeadline
        let completion: Completion<CentrifugeReply>
    }

    private struct Subscription {
        var position: StreamPosition?
        var publications: AsyncStream<Publication>.Continuation?
    }

    let loop: any EventLoop
    private let url: RealtimeURL
    private let token: String
    private let configuration: RealtimeConfiguration
    private let events: RealtimeEvents

    private var phase = Phase.idle
    private var socket: WebSocketClientHandler?
    /// Counts attempts to open a socket, so that the outcome of one given up is told from the present one's.
    private var opened = 0
    private var whenConnected: Completion<ConnectResult>?
    private var whenEnded: [() -> Void] = []
    private var lastID: UInt32 = 0
    private var pending: [UInt32: Pending] = [:]
    private var subscriptions: [String: Subscription] = [:]
    private var pingDeadline: NIODeadline?
    private var sweep: Scheduled<Void>?
    private var attempt = 0

    init(loop: any EventLoop, url: RealtimeURL, token: String, configuration: RealtimeConfiguration, events: RealtimeEvents) {
        self.loop = loop
        self.url = url
        self.token = token
        self.configuration = configuration
        self.events = events
    }

    // MARK: What is asked

    func connect(_ completion: @escaping Completion<ConnectResult>) {
        guard case .idle = phase else { return completion(.failure(.notConnected)) }
        whenConnected = completion
        open()
    }

    func rpc(_ method: String, data: JSON, _ completion: @escaping Completion<[UInt8]>) {
        ask({ .rpc(id: $0, method: method, data: data) }) { result in
            completion(result.expecting { if case .rpc(_, let data) = $0 { data } else { nil } })
        }
    }

    /// `publications`, if given, gets what the channel carries from now on, also after reconnects.
    func subscribe(
        _ request: SubscribeRequest,
        publications: AsyncStream<Publication>.Continuation?,
        _ completion: @escaping Completion<SubscribeResult>
    ) {
        guard case .ready = phase else { return completion(.failure(.notConnected)) }
        guard subscriptions[request.channel] == nil else { return completion(.failure(.reply(.alreadySubscribed))) }
        subscriptions[request.channel] = Subscription(publications: publications)
        sendSubscribe(request) { result in
            if case .failure = result { self.subscriptions.removeValue(forKey: request.channel)?.publications?.finish() }
            completion(result)
        }
    }

    func unsubscribe(_ channel: String, _ completion: @escaping Completion<Void>) {
        subscriptions.removeValue(forKey: channel)?.publications?.finish()
        ask({ .unsubscribe(id: $0, channel: channel) }) { completion($0.map { _ in }) }
    }

    /// Ends the connection for good, saying so to the server.
    func close(_ completion: @escaping () -> Void) {
        switch phase {
        case .ended where socket == nil: return completion()
        case .waiting(let timer), .opening(let timer): timer.cancel()
        case .idle, .ready, .ended: break
        }
        whenEnded.append(completion)
        let error = RealtimeError.closed(code: WebSocketCloseCode.normal, reason: "closed by the client")
        end(error)
        socket?.close(error)
        if socket == nil { completeEnding() }
    }

    // MARK: Connecting

    private func open() {
        let timeout = loop.assumeIsolated().scheduleTask(in: configuration.connectTimeout) { self.lost(.timedOut) }
        phase = .opening(timeout: timeout)
        opened += 1
        let attempt = opened
        ClientBootstrap(group: loop)
            .connectTimeout(configuration.connectTimeout)
            .channelOption(.tcpOption(.tcp_nodelay), value: 1)
            .connect(host: url.host, port: url.port)
            .assumeIsolated().whenComplete { result in
                switch result {
                case .success(let channel): if !self.connected(channel, attempt: attempt) { channel.close(promise: nil) }
                case .failure(let error): if attempt == self.opened { self.lost(.transport(String(describing: error))) }
                }
            }
    }

    /// False if nobody wants the channel any more.
    private func connected(_ channel: any Channel, attempt: Int) -> Bool {
        guard attempt == opened, case .opening = phase, channel.isActive else { return false }
        let upgrade = WebSocketUpgrade(url: url, headers: configuration.headers)
        let socket = WebSocketClientHandler(upgrade: upgrade, maxMessageBytes: configuration.maxMessageBytes, delegate: self)
        self.socket = socket
        do { try channel.pipeline.syncOperations.addHandler(socket) } catch { lost(.transport(String(describing: error))) }
        return true
    }

    func socketOpened() {
        let request = ConnectRequest(token: token, name: configuration.name, version: configuration.version)
        send({ .connect(id: $0, request) }) { result in
            switch result.expecting({ if case .connect(_, let connect) = $0 { connect } else { nil } }) {
            case .success(let connect): self.connected(connect)
            case .failure(let error): self.lost(error)
            }
        }
    }

    private func connected(_ result: ConnectResult) {
        guard case .opening(let timeout) = phase else { return }
        timeout.cancel()
        phase = .ready(result)
        attempt = 0
        expectPing()
        events.onConnected(result)
        whenConnected.take()?(.success(result))
        for channel in subscriptions.keys { resubscribe(channel) }
    }

    // MARK: What the server says

    func socketReceived(text: ByteBuffer) {
        do throws(CentrifugeProtocolError) {
            for reply in try CentrifugeReply.decode(text) {
                switch phase {
                case .opening, .ready: received(reply)
                case .idle, .waiting, .ended: return  // what came before in the same frame was the end
                }
            }
        } catch {
            lost(.violation(error.reason))
        }
    }

    private func received(_ reply: CentrifugeReply) {
        switch reply {
        case .push(let push): received(push)
        case .serverPing:
            guard case .ready(let connect) = phase else { return }
            expectPing()
            if connect.pong { write(.pong) }
        case .error(let id, let error): pending.removeValue(forKey: id)?.completion(.failure(.reply(error)))
        default: pending.removeValue(forKey: reply.id)?.completion(.success(reply))
        }
    }

    private func received(_ push: CentrifugePush) {
        switch push {
        case .publication(let channel, let publication): published(publication, in: channel)
        case .unsubscribe(let channel, let unsubscribe): unsubscribe.isResubscribable ? resubscribe(channel) : unsubscribed(channel, unsubscribe)
        case .disconnect(let disconnect): lost(.closed(code: disconnect.code, reason: disconnect.reason))
        case .subscribe(let channel, let result): subscribed(channel, result)
        case .join, .leave, .message, .connect, .refresh: events.onOtherPush(push)
        }
    }

    private func subscribed(_ channel: String, _ result: SubscribeResult) {
        subscriptions[channel]?.position = result.recoverable ? result.position : nil
        events.onSubscribed(channel, result)
        for publication in result.publications { published(publication, in: channel) }
    }

    private func unsubscribed(_ channel: String, _ unsubscribe: CentrifugeUnsubscribe) {
        guard let subscription = subscriptions.removeValue(forKey: channel) else { return }
        subscription.publications?.finish()
        events.onUnsubscribed(channel, unsubscribe)
    }

    private func published(_ publication: Publication, in channel: String) {
        if let offset = publication.offset { subscriptions[channel]?.position?.offset = offset }
        events.onPublication(channel, publication)
        // A reader too slow for its stream is told so by its end: silence would look like nothing having happened.
        if case .dropped? = subscriptions[channel]?.publications?.yield(publication) { subscriptions[channel]?.publications.take()?.finish() }
    }

    // MARK: Commands

    private func sendSubscribe(_ request: SubscribeRequest, _ completion: @escaping Completion<SubscribeResult>) {
        send({ .subscribe(id: $0, request) }) { reply in
            let result = reply.expecting { if case .subscribe(_, let result) = $0 { result } else { nil } }
            if case .success(let result) = result { self.subscribed(request.channel, result) }
            completion(result)
        }
    }

    /// Takes a subscription up again where it stood.
    private func resubscribe(_ channel: String) {
        guard let subscription = subscriptions[channel] else { return }
        sendSubscribe(SubscribeRequest(channel: channel, recoveringSince: subscription.position)) { result in
            guard case .ready = self.phase, case .failure(let error) = result else { return }
            switch error {
            case .reply(let refusal) where !refusal.temporary: self.unsubscribed(channel, CentrifugeUnsubscribe(refusal.code, refusal.message))
            default: self.lost(error)
            }
        }
    }

    private func ask(_ command: (UInt32) -> ClientCommand, _ completion: @escaping Completion<CentrifugeReply>) {
        guard case .ready = phase else { return completion(.failure(.notConnected)) }
        send(command, completion)
    }

    private func send(_ command: (UInt32) -> ClientCommand, _ completion: @escaping Completion<CentrifugeReply>) {
        lastID = lastID == .max ? 1 : lastID + 1
        pending[lastID] = Pending(deadline: .now() + configuration.commandTimeout, completion: completion)
        write(command(lastID))
        armSweep()
    }

    private func write(_ command: ClientCommand) { socket?.send(command.bytes) }

    // MARK: Deadlines

    private func expectPing() {
        guard case .ready(let connect) = phase, connect.ping > 0 else { return }
        pingDeadline = .now() + .seconds(Int64(connect.ping)) + configuration.maxPingDelay
        armSweep()
    }

    /// One timer for all deadlines, set for the earliest. Later ones need no timer of their own: all commands may take equally long.
    private func armSweep() {
        guard sweep == nil, let earliest = (pending.values.map(\.deadline) + [pingDeadline].compactMap(\.self)).min() else { return }
        sweep = loop.assumeIsolated().scheduleTask(deadline: earliest) {
            self.sweep = nil
            self.deadlinePassed(.now())
        }
    }

    private func deadlinePassed(_ now: NIODeadline) {
        if let pingDeadline, pingDeadline <= now { return lost(.timedOut) }
        // Ids first: a completion may end the session, which completes all the others.
        for id in pending.filter({ $0.value.deadline <= now }).keys { pending.removeValue(forKey: id)?.completion(.failure(.timedOut)) }
        armSweep()
    }

    // MARK: The end

    func socketEnded(_ error: RealtimeError) {
        socket = nil
        lost(error)
        completeEnding()
    }

    /// The connection is of no more use: it comes back if that is wanted and may help, else this is the end.
    private func lost(_ error: RealtimeError) {
        switch phase {
        case .opening(let timeout): timeout.cancel()
        case .ready: break
        case .idle, .waiting, .ended: return
        }
        // It was told when the connection was made, and counts once: after that the client is on its own.
        let told: [UInt8]? = if case .ready(let connect) = phase { connect.data } else { nil }
        socket.take()?.abandon()
        guard let reconnect = configuration.reconnect, whenConnected == nil, error.isPassing else { return end(error) }
        let delay = reconnect.delay(attempt: attempt, after: error, told: told)
        phase = .waiting(loop.assumeIsolated().scheduleTask(in: delay) { self.open() })
        attempt += 1
        failPending(error)
        events.onDisconnected(error, true)
    }

    private func end(_ error: RealtimeError) {
        if case .ended = phase { return }
        phase = .ended
        failPending(error)
        for subscription in subscriptions.values { subscription.publications?.finish() }
        subscriptions = [:]
        if let whenConnected = whenConnected.take() { whenConnected(.failure(error)) } else { events.onDisconnected(error, false) }
    }

    private func failPending(_ error: RealtimeError) {
        sweep.take()?.cancel()
        pingDeadline = nil
        let failed = pending.values
        pending = [:]
        for command in failed { command.completion(.failure(error)) }
    }

    private func completeEnding() {
        guard case .ended = phase else { return }
        let waiting = whenEnded
        whenEnded = []
        for completion in waiting { completion() }
    }
}

extension Result<CentrifugeReply, RealtimeError> {
    /// The reply, if it is of the kind the command has.
    fileprivate func expecting<Value>(_ kind: (CentrifugeReply) -> Value?) -> Result<Value, RealtimeError> {
        flatMap { reply in
            if let value = kind(reply) { .success(value) } else { .failure(.violation("the reply to command \(reply.id) answers another")) }
        }
    }
}
