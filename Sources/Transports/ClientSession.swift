import DequeModule
import Kernel
import NIOCore
import Realtime
import Tenancy
import Wire

// One client's session in the Centrifuge protocol (protocol/README.md "Channels"), whatever carries its frames. Confined to its event loop.
//
//     waiting ──connect, token proved──▶ connected ──▶ closed
//        │ handshake timeout 3502            │ no pong 3012, expired 3005, slow 3008, shutdown 3001, …
//        └──────────────────────────────────▶┘
//
// Whoever connects is subscribed by the server to the channels of their role. The connect reply waits for that and carries it; but not for long, as connecting
// depends on nothing: what is late is told in a push of its own, and what failed is tried again.
//
// Commands are carried out one after the other, in the order in which they came: two messages of one agent stay in order. A command that asks the business
// leaves the loop, and the next one waits for its answer.
//
// A subscription's reply does not come back this way. It comes through the hub, from the gate, between the publications that its snapshot holds and those
// that follow.

/// What carries a session's frames. Publications come to it straight from the hub: the session has no say in them.
protocol SessionTransport: Subscriber {
    var session: ClientSession? { get }
    /// Queues a reply; `flush` sends it.
    func write(_ reply: CentrifugeReply)
    var hasUnflushed: Bool { get }
    func close(_ disconnect: CentrifugeDisconnect)
    /// Has the session's `timePassed` called at that time at the latest.
    func visit(at time: Timestamp)
}

extension SessionTransport {
    func subscribed(command id: UInt32?, _ subscriptions: [Subscribed]) -> Bool { session?.subscribed(command: id, subscriptions) ?? false }
    func refused(command id: UInt32?, _ error: CentrifugeError) -> Bool { session?.refused(command: id, error) ?? false }
    func fellBehind(on channel: String) -> Bool { session?.fellBehind(on: channel) ?? false }
}

final class ClientSession {
    enum State {
        case waiting(since: Timestamp)
        /// The token is being proved.
        case proving
        case connected(Credential)
        case closed
    }

    let clientID: String
    let services: SessionServices
    let loop: any EventLoop
    unowned let transport: any SessionTransport
    var state: State
    var connection: ConnectionID?
    var info: ClientInfo?
    private var allowance: CommandAllowance
    enum Subscription {
        case byServer
        case byClient
    }

    var subscriptions: [String: Subscription] = [:]
    /// The connect command to be answered, once the server's subscriptions stand or it is `until`.
    var greeting: (id: UInt32, until: Timestamp)?
    /// A subscription of the server's that the client has asked to have as its own, and delivers nothing until that is settled.
    var suspended: String?
    /// When to try again to subscribe the client to the channels of its role.
    var owedSubscriptionsAt: Timestamp?
    var commands: Deque<ClientCommand> = []
    private var isWorking = false
    private var waitsForHub = false
    private var isSettledEarly = false
    private var nextPing: Timestamp
    private var pongExpectedBy: Timestamp?

    /// Where a client without a socket sends its commands; known to that client alone.
    private let emulationSession: String?
    /// Where a client that comes back to a stream of events has been.
    let lastEventID: String?

    init(
        services: SessionServices,
        loop: any EventLoop,
        transport: any SessionTransport,
        emulationSession: String? = nil,
        lastEventID: String? = nil
    ) {
        self.services = services
        self.emulationSession = emulationSession
        self.lastEventID = lastEventID
        self.loop = loop
        self.transport = transport
        allowance = CommandAllowance(services.admission)
        let moment = services.environment.moment()
        let id: Identifier<ClientSession> = moment.id()
        clientID = id.description
        state = .waiting(since: moment.now)
        nextPing = moment.now + services.settings.pingInterval
    }

    /// Whose session it is, once that is known.
    var credential: Credential? { if case .connected(let credential) = state { credential } else { nil } }

    // MARK: From the transport

    /// A frame of commands.
    func received(_ frame: ByteBuffer) {
        if case .closed = state { return }
        let arrived: [ClientCommand]
        do throws(CentrifugeProtocolError) { arrived = try ClientCommand.decode(frame) } catch { return close(error.disconnect) }
        guard case .pass(var admitted) = weigh(arrived) else { return close(.tooManyRequests) }
        for command in arrived {
            if case .pong = command {
                pongExpectedBy = nil
                continue
            }
            guard admitted > 0 else {
                if command.id > 0 { transport.write(.error(id: command.id, .tooManyRequests)) }
                continue
            }
            admitted -= 1
            guard commands.count < services.settings.maxWaitingCommands else { return close(.tooManyRequests) }
            commands.append(command)
        }
        work()
        transport.flush()
    }

    private func weigh(_ arrived: [ClientCommand]) -> CommandAllowance.Verdict {
        let count = arrived.reduce(0) { if case .pong = $1 { $0 } else { $0 + 1 } }
        return count == 0 ? .pass(0) : allowance.weigh(count, at: services.environment.now())
    }

    /// The connection is gone.
    func ended() {
        let person = credential.map(PresenceLeases.Person.init)
        state = .closed
        commands = []
        allowance.leave()
        guard let connection else { return }
        if let person { services.presence.closed(person) }
        self.connection = nil
        subscriptions = [:]
        services.hub.detach(connection, on: loop)
    }

    /// Everything that has to do with time, without a timer of its own.
    /// - Returns: when there is something to do next.
    func timePassed(_ now: Timestamp) -> Timestamp {
        act(now)
        switch state {
        case .waiting(let since): return since + services.settings.handshakeTimeout
        case .proving: return now + .seconds(1)
        case .closed: return .distantFuture
        case .connected(let credential):
            let times = [pongExpectedBy, greeting?.until, owedSubscriptionsAt, nextPing].compactMap(\.self)
            return times.reduce(credential.expiresAt + services.settings.expiryGrace, min)
        }
    }

    private func act(_ now: Timestamp) {
        // Room for commands is not kept by who sends none.
        if commands.isEmpty { commands = [] }
        switch state {
        case .waiting(let since): if since + services.settings.handshakeTimeout <= now { close(.stale) }
        case .connected(let credential):
            if let deadline = pongExpectedBy, deadline <= now { return close(.noPong) }
            if credential.expiresAt + services.settings.expiryGrace <= now { return close(.expired) }
            if let until = greeting?.until {
                guard until <= now else { return }
                greet([:])
                transport.flush()
            }
            if let at = owedSubscriptionsAt, at <= now { subscribeByRole(credential.principal) }
            if nextPing <= now {
                nextPing = now + services.settings.pingInterval
                pongExpectedBy = pongExpectedBy ?? now + services.settings.pongTimeout
                transport.write(.serverPing)
                transport.flush()
            }
        case .proving, .closed: break
        }
    }

    func close(_ disconnect: CentrifugeDisconnect) {
        if case .closed = state { return }
        ended()
        transport.close(disconnect)
    }

    // MARK: Commands, one at a time

    private func work() {
        while !isWorking, let command = commands.popFirst() {
            switch state {
            case .closed: return
            case .waiting:
                guard case .connect(let id, let request) = command else { return close(.badRequest) }
                state = .proving
                leave { services in .connected(id: id, subs: request.subs, await services.prove(request.token)) }
            case .proving: preconditionFailure("while a token is being proved no command is taken")
            case .connected(let credential): carryOut(command, credential)
            }
        }
    }

    private func carryOut(_ command: ClientCommand, _ credential: Credential) {
        let principal = credential.principal
        switch command {
        case .connect: close(.badRequest)
        case .subscribe(let id, let request): subscribe(id, request, principal)
        case .unsubscribe(let id, let channel):
            unsubscribe(channel)
            transport.write(.unsubscribe(id: id))
        case .publish(let id, _, _): transport.write(.error(id: id, .permissionDenied))
        case .send: break
        case .presence(let id, let channel):
            asking(channel, id) { transport.write(.presence(id: id, services.hub.presence(StreamKey(principal, channel: channel)))) }
        case .presenceStats(let id, let channel):
            asking(channel, id) {
                let present = services.hub.presence(StreamKey(principal, channel: channel))
                transport.write(.presenceStats(id: id, clients: present.count, users: Set(present.values.map(\.user)).count))
            }
        case .history(let id, let request):
            asking(request.channel, id) {
                let result = services.hub.history(request, of: StreamKey(principal, channel: request.channel))
                transport.write(result.map { .history(id: id, $0) } ?? .error(id: id, .unrecoverablePosition))
            }
        case .rpc(let id, let method, let data): leave { services in .reply(await services.call(id: id, method, data, principal)) }
        case .refresh(let id, let token): leave { services in .refreshed(id: id, await services.prove(token)) }
        case .subRefresh(let id, let channel, _):
            // No subscription of ours expires. Without a channel, as centrifuge-python sends it, it is meant for any.
            let isSubscribed = channel.isEmpty ? !subscriptions.isEmpty : subscriptions[channel] != nil
            transport.write(isSubscribed ? .subRefresh(id: id, .never) : .error(id: id, .permissionDenied))
        case .ping(let id): transport.write(.ping(id: id))
        case .pong: break
        }
    }

    /// Who may ask about a channel: who is subscribed to it.
    private func asking(_ channel: String, _ id: UInt32, _ answer: () -> Void) {
        if subscriptions[channel] != nil {
            answer()
        } else {
            transport.write(.error(id: id, TenantCell.Channel(channel) == nil ? .unknownChannel : .permissionDenied))
        }
    }

    func writing(_ body: () -> Void) -> Bool {
        let wasDirty = transport.hasUnflushed
        body()
        return !wasDirty && transport.hasUnflushed
    }

    /// A subscription is settled by the hub, which may be sooner than the command comes back from the business. The next command is taken after both.
    func subscriptionSettled() {
        if waitsForHub {
            waitsForHub = false
            isWorking = false
            work()
        } else {
            isSettledEarly = true
        }
    }

    // MARK: Off the loop and back

    enum Outcome: Sendable {
        /// The hub will settle it.
        case subscribing
        case reply(CentrifugeReply)
        case connected(id: UInt32, subs: [String: SubscribeRequest], Result<Credential, Refusal>)
        case refreshed(id: UInt32, Result<Credential, Refusal>)
    }

    /// Carries out one command elsewhere. The next one waits until its outcome is back.
    func leave(_ body: @escaping @Sendable (SessionServices) async -> Outcome) {
        isWorking = true
        Self.run(body, services, NIOLoopBound(self, eventLoop: loop), loop)
    }

    /// The task belongs to the session's command: it ends by handing its outcome back, which a closed session ignores.
    private static func run(
        _ body: @escaping @Sendable (SessionServices) async -> Outcome,
        _ services: SessionServices,
        _ session: NIOLoopBound<ClientSession>,
        _ loop: any EventLoop
    ) {
        Task {
            let outcome = await body(services)
            loop.execute { session.value.cameBack(outcome) }
        }
    }

    private func cameBack(_ outcome: Outcome) {
        if case .closed = state { return }
        isWorking = false
        switch outcome {
        case .subscribing:
            guard isSettledEarly else {
                isWorking = true
                waitsForHub = true
                return
            }
            isSettledEarly = false
        case .reply(let reply): transport.write(reply)
        case .connected(let id, let subs, .success(let credential)):
            guard services.stands(credential) else { return close(.invalidToken) }
            connected(id, subs, credential)
        case .connected(let id, _, .failure(let refusal)):
            if refusal.code == "token_expired" {
                transport.write(.error(id: id, .tokenExpired))
                state = .waiting(since: services.environment.now())
            } else {
                return close(refusal.kind == .unavailable ? .serverError : .invalidToken)
            }
        case .refreshed(let id, .success(let credential)):
            guard services.stands(credential) else { return close(.invalidToken) }
            refreshed(id, credential)
        case .refreshed(let id, .failure(let refusal)):
            if refusal.code == "token_expired" { transport.write(.error(id: id, .tokenExpired)) } else { return close(.invalidToken) }
        }
        work()
        transport.flush()
    }

    private func connected(_ id: UInt32, _ subs: [String: SubscribeRequest], _ credential: Credential) {
        guard allowance.enter(PresenceLeases.Person(credential), at: services.environment.now()) else { return close(.connectionLimit) }
        state = .connected(credential)
        info = nil
        connection = services.hub.attach(transport, on: loop)
        services.presence.opened(PresenceLeases.Person(credential))
        isWorking = true
        let until = services.environment.now() + services.settings.greetingPatience
        greeting = (id, until)
        transport.visit(at: min(until, credential.expiresAt + services.settings.expiryGrace))
        subscribeByRole(credential.principal, recovering: subs)
    }

    /// Answers the connect command, if it is not answered yet.
    func greet(_ subs: [String: SubscribeResult]) {
        guard let greeting, let credential else { return }
        self.greeting = nil
        var result = ConnectResult(
            client: clientID,
            version: services.version,
            ping: UInt32(services.settings.pingInterval.components.seconds),
            pong: true
        )
        result.expiry = expiry(credential)
        result.session = emulationSession ?? ""
        result.data = services.greetingData()
        result.subs = subs
        transport.write(.connect(id: greeting.id, result))
        isWorking = false
        work()
    }

    private func refreshed(_ id: UInt32, _ credential: Credential) {
        guard case .connected(let before) = state, before.principal.user == credential.principal.user,
            before.principal.tenant == credential.principal.tenant, before.principal.conversation == credential.principal.conversation
        else { return close(.invalidToken) }
        state = .connected(credential)
        transport.visit(at: credential.expiresAt + services.settings.expiryGrace)
        transport.write(.refresh(id: id, RefreshResult(client: clientID, version: services.version, expiry: expiry(credential))))
    }

    private func expiry(_ credential: Credential) -> Expiry {
        let left = credential.expiresAt - services.environment.now()
        return .after(seconds: UInt32(clamping: max(left.components.seconds, 1)))
    }
}

extension PresenceLeases.Person {
    fileprivate init(_ credential: Credential) { self.init(tenant: credential.principal.tenant, user: credential.principal.user) }
}
