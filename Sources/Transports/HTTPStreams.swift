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

    package func open(_ commands: [UInt8], as encoding: StreamEncoding, lastEventID: String?) throws(Refusal) -> StreamBody {
        guard services.admission.occupy() else { throw Self.full }
        let (chunks, continuation) = AsyncStream.makeStream(of: [UInt8].self)
        let queued = QueuedBytes()
        let loop = nextLoop()
        let bits = services.environment.randomBits()
        let secret = UniqueID(high: bits.0, low: bits.1).description
        loop.execute {
            let registry = self.registries.registry(of: loop)
            var ended: () -> Void = {}
            let transport = StreamTransport(
                services: self.services,
                loop: loop,
                secret: secret,
                outlet: StreamOutlet(encoding, continuation, queued, loop: loop, maxQueuedBytes: self.services.settings.maxQueuedBytes),
                registry: registry,
                lastEventID: lastEventID,
                whenEnded: { ended() }
            )
            ended = { [unowned transport] in
                registry.remove(transport)
                self.services.admission.vacate()
                self.state.withLock { _ = $0.sessions.removeValue(forKey: secret) }
            }
            registry.add(transport)
            let bound = NIOLoopBound(transport, eventLoop: loop)
            self.state.withLock { $0.sessions[secret] = Entry(loop: loop, transport: bound) }
            // The response ends when its client goes, or when the session does.
            continuation.onTermination = { _ in loop.execute { bound.value.ended() } }
            transport.received(commands)
        }
        return StreamBody(chunks: chunks, written: { queued.remove($0) })
    }

    package func follow(_ request: FollowRequest) async throws(Refusal) -> StreamBody {
        let credential = try await services.authenticate(request.token)
        let channels = try channels(request.channels, for: credential.principal)
        var since = request.since
        if let id = request.lastEventID { since.merge(EventPositions.positions(id, of: channels.map(\.name))) { $1 } }
        let positions = since
        guard services.admission.occupy() else { throw Self.full }
        let seat: Admission.Seat
        do throws(Refusal) { seat = try self.seat(of: credential.principal) } catch {
            services.admission.vacate()
            throw error
        }
        let admission = services.admission
        let leave = { @Sendable in
            admission.leave(seat)
            admission.vacate()
        }
        let (chunks, continuation) = AsyncStream.makeStream(of: [UInt8].self)
        let queued = QueuedBytes()
        let loop = nextLoop()
        let result: Result<Void, CentrifugeError> = await withCheckedContinuation { settled in
            loop.execute {
                // The login may have ended since its token was proved; from here on the registry tells of that.
                guard self.services.stands(credential) else {
                    leave()
                    return settled.resume(returning: .failure(.unauthorized))
                }
                let registry = self.registries.registry(of: loop)
                var ended: () -> Void = {}
                let stream = OneWayStream(
                    services: self.services,
                    loop: loop,
                    credential: credential,
                    outlet: StreamOutlet(.events, continuation, queued, loop: loop, maxQueuedBytes: self.services.settings.maxQueuedBytes),
                    settled: { settled.resume(returning: $0) },
                    whenEnded: { ended() }
                )
                ended = { [unowned stream] in
                    registry.remove(stream)
                    leave()
                }
                registry.add(stream)
                let bound = NIOLoopBound(stream, eventLoop: loop)
                continuation.onTermination = { _ in loop.execute { bound.value.ended() } }
                stream.begin(channels, since: positions)
            }
        }
        if case .failure(let error) = result { throw Refusal(refused: error) }
        return StreamBody(chunks: chunks, written: { queued.remove($0) })
    }

    /// Those of the names, or else those of the role.
    private func channels(_ names: [String], for principal: Principal) throws(Refusal) -> [TenantCell.Channel] {
        guard !names.isEmpty else { return TenantCell.Channel.onConnecting(principal) }
        guard names.count <= services.settings.maxChannels else {
            throw .invalid([.init(["query", "channels"], "no máximo \(services.settings.maxChannels) canais", type: "too_long")])
        }
        var channels: [TenantCell.Channel] = []
        for name in names {
            guard let channel = TenantCell.Channel(name) else {
                throw Refusal(.notFound, "unknown_channel", "Não há canal com o nome '\(name)'.")
            }
            guard channel.isOpen(to: principal) else { throw .closedChannel(name) }
            if !channels.contains(channel) { channels.append(channel) }
        }
        return channels
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
        let key = StreamKey(principal, channel: request.channel)
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
