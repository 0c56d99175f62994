package import Kernel
package import NIOCore
import Synchronization
package import Wire

/// All streams of all tenants: what was published, who is subscribed, who is present.
///
/// Publications and subscriptions come in one order, that of the gate, and reach each event loop in that order. So a subscription that is registered
/// by its own release at the gate sees exactly the publications after its snapshot: none twice, none missing.
package final class StreamHub: Sendable {
    package struct Limits: Sendable {
        /// What a stream remembers for those who were away.
        package var rememberedPublications = 512
        package var rememberedBytes = 1 << 20
        /// How long a stream without subscribers is remembered.
        package var emptyStreamIsKeptFor = Duration.seconds(600)
        /// Publications given to one client who was away; who missed more gets a snapshot.
        package var recoveredPublications = 512

        package init() {}
    }

    fileprivate struct State {
        var streams: [StreamKey: Stream] = [:]
        /// Few to a connection, most times one.
        var subscriptions: [ConnectionID: [StreamKey]] = [:]
        var loops: [ObjectIdentifier: LoopHub] = [:]
        var lastConnection: UInt64 = 0
        var published = 0
    }

    private let state: Mutex<State>
    private let environment: Environment
    package let limits: Limits

    package init(loops: some Sequence<any EventLoop>, environment: Environment, limits: Limits = Limits()) {
        var state = State()
        for loop in loops { state.loops[ObjectIdentifier(loop)] = LoopHub(loop: loop) }
        self.state = Mutex(state)
        self.environment = environment
        self.limits = limits
    }

    // MARK: Connections. On the connection's own loop.

    package func attach(_ subscriber: any Subscriber, on loop: any EventLoop) -> ConnectionID {
        let (id, hub) = state.withLock { state in
            state.lastConnection += 1
            state.subscriptions[ConnectionID(state.lastConnection)] = []
            return (ConnectionID(state.lastConnection), state.loops[ObjectIdentifier(loop)])
        }
        guard let hub else { preconditionFailure("the hub was not given this event loop") }
        hub.attach(subscriber, id)
        return id
    }

    package func detach(_ id: ConnectionID, on loop: any EventLoop) {
        let now = environment.now()
        let (streams, hub, isTold) = state.withLock { state in
            let streams = state.subscriptions.removeValue(forKey: id) ?? []
            var isTold = false
            for stream in streams where state.leave(id, stream, now) { isTold = true }
            return (streams, state.loops[ObjectIdentifier(loop)], isTold)
        }
        hub?.detach(id, from: streams)
        if isTold { wake() }
    }

    package func unsubscribe(_ id: ConnectionID, _ stream: StreamKey, on loop: any EventLoop) {
        let now = environment.now()
        let (hub, isTold) = state.withLock { state in
            state.subscriptions[id]?.removeAll { $0 == stream }
            let isTold = state.leave(id, stream, now)
            return (state.loops[ObjectIdentifier(loop)], isTold)
        }
        hub?.leave(id, stream)
        if isTold { wake() }
    }

    // MARK: Subscribing

    /// Whether who comes back from `position` can be given what it missed, as far as can be told now.
    package func canRecover(_ stream: StreamKey, since position: StreamPosition) -> Bool {
        state.withLock { $0.streams[stream]?.missed(since: position, limit: limits.recoveredPublications) != nil }
    }

    /// Registers subscriptions, all at once, and answers the client for each with its position and either what it missed or the snapshot. Called from the gate.
    /// - Parameters:
    ///   - command: the client's; `nil` for what the server subscribes it to.
    ///   - snapshots: what the turn saw; `nil` only where the client was thought to be able to recover, or wants an error otherwise.
    package func subscribe(
        _ id: ConnectionID,
        on loop: any EventLoop,
        command: UInt32?,
        _ requests: [SubscriptionRequest],
        snapshots: [[UInt8]?]
    ) {
        let hub = state.withLock { state -> LoopHub? in
            // A connection may have gone while its subscription waited at the gate.
            guard state.subscriptions[id] != nil, let hub = state.loops[ObjectIdentifier(loop)] else { return nil }
            var results: [(stream: StreamKey, result: SubscribeResult)] = []
            results.reserveCapacity(requests.count)
            for (request, snapshot) in zip(requests, snapshots) {
                state.open(request, environment)
                let missed = request.since.flatMap { state.streams[request.stream]?.missed(since: $0, limit: limits.recoveredPublications) }
                guard missed != nil || snapshot != nil else {
                    // It was recoverable a moment ago and is no longer: the client asks again, and is given a snapshot then. Unless it wants none.
                    hub.put(.refused(id, command: command, request.rejectsUnrecovered ? .unrecoverablePosition : .internalServerError))
                    return hub
                }
                // Looked at in place: a copy of the stream would make the next change copy all its subscribers.
                var result = SubscribeResult(position: state.streams[request.stream]?.position)
                result.wasRecovering = request.since != nil
                if let missed {
                    result.recovered = true
                    result.publications = missed
                } else {
                    result.data = snapshot
                }
                results.append((request.stream, result))
            }
            hub.put(.subscribed(id, command: command, results))
            var isAnyoneTold = false
            for request in requests where state.enter(id, request) { isAnyoneTold = true }
            return isAnyoneTold ? nil : hub
        }
        if let hub { hub.wake() } else { wake() }
    }

    /// Answers subscriptions that the gate refused.
    package func refuse(_ id: ConnectionID, on loop: any EventLoop, command: UInt32?, _ error: CentrifugeError) {
        let hub = state.withLock { $0.loops[ObjectIdentifier(loop)] }
        hub?.put(.refused(id, command: command, error))
        hub?.wake()
    }

    /// Delivers no more of a stream to a connection that stays subscribed to it, until it has been subscribed to it anew. On the connection's own loop.
    package func suspend(_ id: ConnectionID, _ stream: StreamKey, on loop: any EventLoop) {
        state.withLock { $0.loops[ObjectIdentifier(loop)] }?.leave(id, stream)
    }

    // MARK: Publishing

    /// Puts publications on their way, in order. `wake` sends them.
    package func publish(_ events: [Event], tenant: TenantID) {
        state.withLock { state in
            for event in events {
                let key = StreamKey(tenant: tenant, channel: event.channel, audience: event.audience)
                // A stream nobody ever subscribed to has nobody to remember anything for.
                guard let kind = state.streams[key]?.delivery, let publication = state.streams[key]?.publish(event.payload, limits: limits) else {
                    continue
                }
                state.published += 1
                state.send(publication, kind, on: key)
            }
        }
    }

    /// Tells the subscribers of now and is forgotten: typing, and other things that are stale before they could be recovered. Not in any order with the gate.
    package func publishUnstored(_ event: Event, tenant: TenantID) {
        let key = StreamKey(tenant: tenant, channel: event.channel, audience: event.audience)
        state.withLock { state in
            if state.streams[key] != nil { state.send(Publication(data: event.payload), .lossy, on: key) }
        }
        wake()
    }

    /// Lets every loop send what it has been given.
    package func wake() {
        for hub in state.withLock({ Array($0.loops.values) }) { hub.wake() }
    }

    /// Has every loop compare what it has delivered with where the streams are (Centrifuge's position check). To be called now and then.
    package func checkPositions() {
        state.withLock { state in
            let positions = state.streams.compactMap { $0.value.subscribers.isEmpty ? nil : (stream: $0.key, offset: $0.value.offset) }
            for hub in state.loops.values { hub.put(.check(positions)) }
        }
        wake()
    }

    // MARK: Asking

    package func presence(_ stream: StreamKey) -> [String: ClientInfo] {
        state.withLock { state in
            Dictionary(uniqueKeysWithValues: (state.streams[stream]?.subscribers ?? [:]).values.map { ($0.client, $0) })
        }
    }

    /// - Returns: `nil` when `since` is of another epoch, or no longer remembered.
    package func history(_ request: HistoryRequest, of stream: StreamKey) -> HistoryResult? {
        state.withLock { state in
            guard let entry = state.streams[stream] else { return HistoryResult(publications: [], position: StreamPosition(epoch: "", offset: 0)) }
            guard let found = entry.history(limit: request.limit, since: request.since, reverse: request.reverse) else { return nil }
            return HistoryResult(publications: found, position: entry.position)
        }
    }

    package func hasSubscribers(_ tenant: TenantID) -> Bool {
        state.withLock { state in state.streams.contains { $0.key.tenant == tenant && !$0.value.subscribers.isEmpty } }
    }

    /// Whether somebody has one of its streams, or may come back to it with a position.
    package func isRemembered(_ tenant: TenantID) -> Bool { state.withLock { state in state.streams.contains { $0.key.tenant == tenant } } }

    package struct Counters: Sendable {
        package let streams: Int
        package let connections: Int
        /// Publications that somebody was there for, and messages handed to subscribers.
        package let published: Int
        package let delivered: Int
    }

    package var counters: Counters {
        state.withLock {
            Counters(
                streams: $0.streams.count,
                connections: $0.subscriptions.count,
                published: $0.published,
                delivered: $0.loops.values.reduce(0) { $0 + $1.deliveries }
            )
        }
    }

    /// Forgets streams that have had no subscribers for long. To be called now and then.
    package func sweep() {
        let past = environment.now() - limits.emptyStreamIsKeptFor
        state.withLock { state in
            state.streams = state.streams.filter { $0.value.emptySince.map { $0 > past } ?? true }
        }
    }

}

extension StreamHub.State {
    /// - Returns: whether anybody is told.
    @discardableResult func tellWatchers(of key: StreamKey, except id: ConnectionID, _ push: CentrifugePush) -> Bool {
        guard let watchers = streams[key]?.watchers.filter({ $0 != id }), !watchers.isEmpty else { return false }
        let json = CentrifugeReply.push(push).bytes
        for hub in loops.values { hub.put(.tell(Array(watchers), key, json)) }
        return true
    }

    /// Begins a stream that there is not yet.
    mutating func open(_ request: SubscriptionRequest, _ environment: Environment) {
        guard streams[request.stream] == nil else { return }
        var stream = Stream(epoch: String(environment.randomBits().0, radix: 36), delivery: request.delivery)
        stream.emptySince = environment.now()
        streams[request.stream] = stream
    }

    /// - Returns: whether anybody is told.
    mutating func enter(_ id: ConnectionID, _ request: SubscriptionRequest) -> Bool {
        // Who was here already, as the server had it so, does not come again.
        let isNew = streams[request.stream]?.subscribers.updateValue(request.info, forKey: id) == nil
        if request.isTold { streams[request.stream]?.watchers.insert(id) }
        streams[request.stream]?.emptySince = nil
        if isNew { subscriptions[id, default: []].append(request.stream) }
        return isNew && tellWatchers(of: request.stream, except: id, .join(channel: request.stream.channel, request.info))
    }

    /// - Returns: whether anybody is told.
    @discardableResult mutating func leave(_ id: ConnectionID, _ stream: StreamKey, _ now: Timestamp) -> Bool {
        let info = streams[stream]?.subscribers.removeValue(forKey: id)
        streams[stream]?.watchers.remove(id)
        let isTold = info.map { tellWatchers(of: stream, except: id, .leave(channel: stream.channel, $0)) } ?? false
        if streams[stream]?.subscribers.isEmpty == true { streams[stream]?.emptySince = now }
        return isTold
    }

    /// Encodes once, for all loops.
    func send(_ publication: Publication, _ kind: DeliveryClass, on key: StreamKey) {
        guard streams[key]?.subscribers.isEmpty == false else { return }
        let json = CentrifugeReply.push(.publication(channel: key.channel, publication)).bytes
        for hub in loops.values { hub.put(.deliver(key, json, kind, offset: publication.offset)) }
    }
}
