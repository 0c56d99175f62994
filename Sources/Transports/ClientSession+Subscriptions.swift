import Kernel
import NIOCore
import Realtime
import Tenancy
import Wire

// A session's subscriptions: those that the client asks for, and those that the server makes for it.
//
//     none ──by role, on connecting──▶ the server's ──subscribe──▶ suspended ──▶ the client's own ──unsubscribe, fell behind──▶ none
//      └──────────────────subscribe─────────────────────────────────────────────▶┘   (a second subscribe: error 105)
//
// While suspended nothing is delivered: what is published meanwhile comes with the reply. Refused, it is the server's again, a little later and anew.

extension ClientSession {
    func subscribe(_ id: UInt32, _ request: SubscribeRequest, _ principal: Principal) {
        guard let connection else { return }
        guard let channel = TenantCell.Channel(request.channel) else { return transport.write(.error(id: id, .unknownChannel)) }
        guard channel.isOpen(to: principal) else { return transport.write(.error(id: id, .permissionDenied)) }
        guard subscriptions[request.channel] != .byClient else { return transport.write(.error(id: id, .alreadySubscribed)) }
        // One taken over is one already.
        guard subscriptions[request.channel] != nil || subscriptions.count < services.settings.maxChannels else {
            return transport.write(.error(id: id, .limitExceeded))
        }
        let stream = StreamKey(principal, channel: request.channel)
        if subscriptions[request.channel] == .byServer {
            // Now it is the client's own. What is published until it stands comes with its reply, and not before.
            services.hub.suspend(connection, stream, on: loop)
            subscriptions[request.channel] = nil
            suspended = request.channel
        }
        let registration = Registration(
            connection: connection,
            loop: loop,
            command: id,
            [
                SubscriptionRequest(
                    stream,
                    delivery: channel.delivery,
                    info: info(principal),
                    isTold: request.joinLeave,
                    since: request.recover ? request.since : nil,
                    rejectsUnrecovered: request.recover && request.rejectsUnrecovered
                )
            ]
        )
        leave { services in
            await services.subscribe(principal, [channel], registration)
            return .subscribing
        }
    }

    /// One for all its subscriptions, as it stays with each of them.
    private func info(_ principal: Principal) -> ClientInfo {
        if let info { return info }
        let made = ClientInfo(user: principal.user.description, client: clientID, connInfo: services.connectionInfo(principal))
        info = made
        return made
    }

    /// Subscribes the client to the channels of its role, but those that it has, or is about to ask for itself.
    func subscribeByRole(_ principal: Principal, recovering subs: [String: SubscribeRequest] = [:]) {
        owedSubscriptionsAt = nil
        guard let connection else { return }
        let asked = commands.compactMap { if case .subscribe(_, let request) = $0 { request.channel } else { nil } }
        let channels = TenantCell.Channel.onConnecting(principal).filter { subscriptions[$0.name] == nil && !asked.contains($0.name) }
        guard !channels.isEmpty else { return greet([:]) }
        let remembered = lastEventID.map { EventPositions.positions($0, of: channels.map(\.name)) } ?? [:]
        let requests = channels.map { channel in
            SubscriptionRequest(
                StreamKey(principal, channel: channel.name),
                delivery: channel.delivery,
                info: info(principal),
                isTold: subs[channel.name]?.joinLeave ?? false,
                since: remembered[channel.name] ?? subs[channel.name].flatMap { $0.recover ? $0.since : nil }
            )
        }
        let registration = Registration(connection: connection, loop: loop, command: nil, requests)
        let services = services
        // Ends with the registration, which the hub settles; that of a session closed meanwhile comes to nothing.
        Task { await services.subscribe(principal, channels, registration) }
    }

    func subscribed(command id: UInt32?, _ made: [Subscribed]) -> Bool {
        if case .closed = state { return false }
        return writing {
            guard let id else { return subscribedByServer(made) }
            suspended = nil
            for subscription in made {
                subscriptions[subscription.channel] = .byClient
                transport.write(.subscribe(id: id, subscription.result))
            }
            subscriptionSettled()
        }
    }

    private func subscribedByServer(_ made: [Subscribed]) {
        let made = made.filter { subscriptions[$0.channel] == nil }
        for subscription in made { subscriptions[subscription.channel] = .byServer }
        if greeting == nil {
            for subscription in made { transport.write(.push(.subscribe(channel: subscription.channel, subscription.result))) }
        } else {
            greet(Dictionary(made.map { ($0.channel, $0.result) }, uniquingKeysWith: { $1 }))
        }
    }

    func refused(command id: UInt32?, _ error: CentrifugeError) -> Bool {
        if case .closed = state { return false }
        return writing {
            if let id {
                transport.write(.error(id: id, error))
                dropSuspended()
                subscriptionSettled()
            } else {
                if error.temporary { oweSubscriptions() }
                greet([:])
            }
        }
    }

    /// A channel of the server's that the client wanted as its own, and was refused: the server subscribes it anew, as nothing was delivered meanwhile.
    private func dropSuspended() {
        guard let channel = suspended.take(), let connection, let principal = credential?.principal else { return }
        services.hub.unsubscribe(connection, StreamKey(principal, channel: channel), on: loop)
        oweSubscriptions()
    }

    private func oweSubscriptions() {
        let time = services.environment.now() + services.settings.subscribeAgainAfter
        owedSubscriptionsAt = time
        transport.visit(at: time)
    }

    func unsubscribe(_ channel: String) {
        guard subscriptions.removeValue(forKey: channel) != nil, let connection, let principal = credential?.principal else { return }
        services.hub.unsubscribe(connection, StreamKey(principal, channel: channel), on: loop)
    }

    /// One subscription of the client's own is ended so that it is made anew, from the position the client has; where the server subscribed it, the client comes back.
    func fellBehind(on channel: String) -> Bool {
        guard case .connected = state, let subscription = subscriptions[channel] else { return false }
        switch subscription {
        case .byServer:
            close(.insufficientState)
            return false
        case .byClient:
            unsubscribe(channel)
            return writing { transport.write(.push(.unsubscribe(channel: channel, .insufficientState))) }
        }
    }
}
