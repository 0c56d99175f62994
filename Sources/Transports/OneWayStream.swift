import Kernel
import NIOCore
import Realtime
import Tenancy
import Wire

// A client who only listens: Centrifuge's one-way protocol over server-sent events (`uni_sse`). Confined to its event loop.
//
//     begun ──subscriptions stand──▶ live ──▶ ended        (refused, for good: never answered at all)
//       └──refused, for now──▶ ended                       (what has failed for now is a `disconnect` push, after which a browser comes back)
//
// Its pushes come bare, the first one is `connect`, with the subscriptions. Each event that moves a position carries all positions in its id, with which a browser
// comes back by itself. There are no pings, which a browser could not answer: a comment keeps the connection alive.

final class OneWayStream: Subscriber, TimedConnection {
    private let services: SessionServices
    private let loop: any EventLoop
    private let credential: Credential
    private let clientID: String
    private let outlet: StreamOutlet
    private var connection: ConnectionID?
    private var positions = EventPositions()
    private var nextComment: Timestamp
    /// Told once: whether it began.
    private var settled: ((Result<Void, CentrifugeError>) -> Void)?
    /// Told once, when it has ended.
    private let whenEnded: () -> Void

    init(
        services: SessionServices,
        loop: any EventLoop,
        credential: Credential,
        outlet: StreamOutlet,
        settled: @escaping (Result<Void, CentrifugeError>) -> Void,
        whenEnded: @escaping () -> Void
    ) {
        let moment = services.environment.moment()
        let id: Identifier<OneWayStream> = moment.id()
        clientID = id.description
        nextComment = moment.now + services.settings.pingInterval
        self.services = services
        self.loop = loop
        self.credential = credential
        self.outlet = outlet
        self.settled = settled
        self.whenEnded = whenEnded
    }

    /// Subscribes to channels, of which some may be recovered.
    func begin(_ channels: [TenantCell.Channel], since positions: [String: StreamPosition]) {
        // Ended before it has begun: the server stops.
        guard outlet.isOpen else { return }
        let principal = credential.principal
        let id = services.hub.attach(self, on: loop)
        connection = id
        outlet.putRetry(milliseconds: retryMilliseconds)
        services.presence.opened(PresenceLeases.Person(tenant: principal.tenant, user: principal.user))
        let info = ClientInfo(user: principal.user.description, client: clientID, connInfo: services.connectionInfo(principal))
        let requests = channels.map {
            SubscriptionRequest(
                StreamKey(principal, channel: $0.name),
                delivery: $0.delivery,
                info: info,
                since: positions[$0.name]
            )
        }
        let registration = Registration(connection: id, loop: loop, command: nil, requests)
        let services = services
        // Ends with the registration, which the hub settles; that of a stream ended meanwhile comes to nothing.
        Task { await services.subscribe(principal, channels, registration) }
    }

    // MARK: Subscriber

    func subscribed(command id: UInt32?, _ subscriptions: [Subscribed]) -> Bool {
        guard outlet.isOpen else { return false }
        positions = EventPositions(subscriptions.map { ($0.channel, $0.result.position) })
        var result = ConnectResult(client: clientID, version: services.version)
        result.subs = Dictionary(subscriptions.map { ($0.channel, $0.result) }, uniquingKeysWith: { $1 })
        let left = credential.expiresAt - services.environment.now()
        result.expiry = .after(seconds: UInt32(clamping: max(left.components.seconds, 1)))
        settle(outlet.put(CentrifugePush.connect(result).unidirectionalBytes, id: positions.isEmpty ? nil : positions.id))
        settled.take()?(.success(()))
        return true
    }

    /// Not the same for all, who are to come back one after the other.
    private var retryMilliseconds: Int {
        let range = services.settings.streamRetry
        let spread = max((range.upperBound - range.lowerBound).inMilliseconds, 1)
        return Int(range.lowerBound.inMilliseconds + Int64(services.environment.randomBits().0 % UInt64(spread)))
    }

    func refused(command id: UInt32?, _ error: CentrifugeError) -> Bool {
        if error.temporary {
            settled.take()?(.success(()))
            close(.serverError)
        } else {
            settled.take()?(.failure(error))
            ended()
        }
        return false
    }

    func deliver(_ message: inout PreparedMessage, _ delivery: Delivery) -> Bool {
        let wasDirty = outlet.hasUnflushed
        let lines = message.payload.readableBytesView.split(separator: UInt8(ascii: "\n"))
        for (index, line) in lines.enumerated() {
            var isPositioned = false
            if let last = delivery.offsets?.upperBound {
                isPositioned = positions.advance(delivery.channel, to: last - UInt64(lines.count - 1 - index))
            }
            let verdict = outlet.put(CentrifugePush.bare(line), id: isPositioned ? positions.id : nil, delivery)
            guard verdict == .settled else {
                settle(verdict)
                break
            }
        }
        return !wasDirty && outlet.hasUnflushed
    }

    func fellBehind(on channel: String) -> Bool {
        close(.insufficientState)
        return false
    }

    func flush() { outlet.flush() }

    private func settle(_ verdict: OutboundVerdict) {
        switch verdict {
        case .settled: break
        case .cut: close(.insufficientState)
        case .overflow: close(.slow)
        }
    }

    // MARK: Time and endings

    func timePassed(_ now: Timestamp) -> Timestamp {
        let end = credential.expiresAt + services.settings.expiryGrace
        if end <= now { close(.expired) }
        if nextComment <= now {
            nextComment = now + services.settings.pingInterval
            outlet.putComment()
            flush()
        }
        return min(nextComment, end)
    }

    func close(_ sessions: Set<LoginSessionID>) { if let session = credential.session, sessions.contains(session) { close(.invalidToken) } }
    func stop() { close(.shutdown) }

    private func close(_ disconnect: CentrifugeDisconnect) {
        if disconnect.isReconnectable { outlet.putRetry(milliseconds: Int(services.reconnectDelay().inMilliseconds)) }
        outlet.putLast(CentrifugePush.disconnect(disconnect).unidirectionalBytes)
        ended()
    }

    /// The client has gone, or is sent away.
    func ended() {
        guard outlet.isOpen else { return }
        outlet.finish()
        settled.take()?(.success(()))
        if let connection {
            services.hub.detach(connection, on: loop)
            services.presence.closed(PresenceLeases.Person(tenant: credential.principal.tenant, user: credential.principal.user))
        }
        connection = nil
        whenEnded()
    }
}
