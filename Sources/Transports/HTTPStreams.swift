package import Kernel
package import NIOCore
package import Realtime
import Synchronization
import Tenancy
import Wire

/// Sessions over plain HTTP: `sse`, `http_stream` with `/emulation`, and the long poll.
package final class HTTPStreams: RealtimeDoor {
    private struct Entry {
        let loop: any EventLoop
        let transport: NIOLoopBound<StreamTransport>
    }

    private struct State {
        /// By a secret that only the session's own client is told: a client's id is seen by others, in presence.
        var sessions: [String: Entry] = [:]
        var turns = 0
    }

    private let services: SessionServices
    private let registries: LoopRegistries
    private let loops: [any EventLoop]
    private let state = Mutex(State())

    package init(services: SessionServices, registries: LoopRegistries, loops: [any EventLoop]) {
        self.services = services
        self.registries = registries
        self.loops = loops
    }

    private func nextLoop() -> any EventLoop {
        let turn = state.withLock { state in
            state.turns += 1
            return state.turns
        }
        return loops[turn % loops.count]
    }

    // MARK: Streams

    package func open(_ commands: [UInt8], as encoding: StreamEncoding) throws(Refusal) -> StreamBody {
        guard services.admission.occupy() else { throw Self.full }
        let (chunks, continuation) = AsyncStream.makeStream(of: [UInt8].self)
        let queued = QueuedBytes()
        let loop = nextLoop()
        let bits = services.environment.randomBits()
        let secret = UniqueID(high: bits.0, low: bits.1).description
        loop.execute { self.begin(commands, encoding, loop, secret, continuation, queued) }
        return StreamBody(chunks: chunks, written: { queued.remove($0) })
    }

    private func begin(
        _ commands: [UInt8],
        _ encoding: StreamEncoding,
        _ loop: any EventLoop,
        _ secret: String,
        _ continuation: AsyncStream<[UInt8]>.Continuation,
        _ queued: QueuedBytes
    ) {
        let registry = registries.registry(of: loop)
        var ended: () -> Void = {}
        let transport = StreamTransport(
            encoding,
            services: services,
            loop: loop,
            secret: secret,
            continuation: continuation,
            queued: queued,
            whenEnded: { ended() }
        )
        ended = { [unowned transport] in
            registry.remove(transport)
            self.services.admission.vacate()
            self.state.withLock { _ = $0.sessions.removeValue(forKey: secret) }
        }
        registry.add(transport)
        let bound = NIOLoopBound(transport, eventLoop: loop)
        state.withLock { $0.sessions[secret] = Entry(loop: loop, transport: bound) }
        // The response ends when its client goes, or when the session does.
        continuation.onTermination = { _ in loop.execute { bound.value.ended() } }
        transport.received(commands)
    }

    package func emulate(session: String, _ commands: [UInt8]) async -> Bool {
        guard let entry = state.withLock({ $0.sessions[session] }) else { return false }
        entry.loop.execute { entry.transport.value.received(commands) }
        return true
    }

    // MARK: Long poll

    private static let full = Refusal(
        .unavailable,
        "too_many_connections",
        "O servidor tem conexões demais; tente novamente em instantes.",
        retryAfterSeconds: 5
    )

    /// A poll is a connection for as long as it waits, and one command.
    private func seat(of principal: Principal) throws(Refusal) -> Admission.Seat {
        let now = services.environment.now()
        guard case .success(let seat) = services.admission.enter(.init(tenant: principal.tenant, user: principal.user), at: now) else {
            throw Refusal(
                .tooMany,
                "too_many_connections",
                "Há conexões demais deste usuário ou desta empresa; feche as que não usa.",
                retryAfterSeconds: 5
            )
        }
        let (allowed, wait) = services.admission.take(upTo: 1, of: seat, at: now)
        guard allowed == 1 else {
            services.admission.leave(seat)
            let seconds = max(1, Int((wait ?? .seconds(1)).inMilliseconds + 999) / 1000)
            throw Refusal(.tooMany, "too_many_requests", "Pedidos demais em pouco tempo; tente novamente em instantes.", retryAfterSeconds: seconds)
        }
        return seat
    }

    package var admitted: Admission.Counters { services.admission.counters }

    package func poll(_ request: PollRequest, by principal: Principal) async throws(Refusal) -> [UInt8] {
        guard let channel = TenantCell.Channel(request.channel) else { throw Refusal(.notFound, "unknown_channel", "Não há canal com este nome.") }
        guard channel.isOpen(to: principal) else { throw .closedChannel(request.channel) }
        guard services.admission.occupy() else { throw Self.full }
        defer { services.admission.vacate() }
        let seat = try seat(of: principal)
        defer { services.admission.leave(seat) }
        let loop = nextLoop()
        let key = StreamKey(tenant: principal.tenant, channel: request.channel)
        let moment = services.environment.moment()
        let client: Identifier<HTTPStreams> = moment.id()
        let info = ClientInfo(user: principal.user.description, client: client.description, connInfo: services.connectionInfo(principal))
        let (services, registries, patience) = (services, registries, services.reconnectDelay())
        let result: Result<[UInt8], Refusal> = await withCheckedContinuation { continuation in
            loop.execute {
                let poll = PollSubscriber(
                    hub: services.hub,
                    loop: loop,
                    registry: registries.registry(of: loop),
                    reconnectSeconds: Int(patience.components.seconds) + 1,
                    wait: request.wait
                ) { continuation.resume(returning: $0) }
                let registration = Registration(
                    connection: poll.begin(),
                    loop: loop,
                    command: 1,
                    [SubscriptionRequest(key, delivery: channel.delivery, info: info, since: request.since)]
                )
                Task { await services.subscribe(principal, [channel], registration) }
            }
        }
        return try result.get()
    }
}
