package import NIOCore
package import Wire

/// A client of the realtime door: one Centrifuge connection over one WebSocket.
///
/// Everything may be called from anywhere. Events and completions run on the connection's event loop, so thousands of clients share a few
/// threads and need no task each; the `async` forms are for people's code.
package final class RealtimeClient: Sendable {
    package let eventLoop: any EventLoop
    private let session: NIOLoopBoundBox<RealtimeSession>
    private let maxUnreadPublications: Int

    /// A client that has not connected yet. Throws `RealtimeError.badURL`.
    package init(
        url: String,
        token: String,
        configuration: RealtimeConfiguration = RealtimeConfiguration(),
        events: RealtimeEvents = RealtimeEvents(),
        on eventLoop: any EventLoop
    ) throws(RealtimeError) {
        let url = try RealtimeURL(url)
        self.eventLoop = eventLoop
        maxUnreadPublications = configuration.maxUnreadPublications
        session = .makeBoxSendingValue(
            RealtimeSession(loop: eventLoop, url: url, token: token, configuration: configuration, events: events),
            eventLoop: eventLoop
        )
    }

    /// Connects once; after that, `configuration.reconnect` says whether a lost connection comes back.
    @discardableResult
    package static func connect(
        url: String,
        token: String,
        configuration: RealtimeConfiguration = RealtimeConfiguration(),
        events: RealtimeEvents = RealtimeEvents(),
        on eventLoop: any EventLoop
    ) async throws -> RealtimeClient {
        let client = try RealtimeClient(url: url, token: token, configuration: configuration, events: events, on: eventLoop)
        try await client.connect()
        return client
    }

    @discardableResult
    package func connect() async throws -> ConnectResult {
        try await withCheckedThrowingContinuation { continuation in connect { continuation.resume(with: $0) } }
    }

    package func connect(_ completion: @escaping @Sendable (Result<ConnectResult, RealtimeError>) -> Void) {
        onLoop { $0.connect(completion) }
    }

    // MARK: Channels

    /// Subscribes and gives the reply with its snapshot. What the channel carries from then on goes to `RealtimeEvents.onPublication`.
    package func subscribe(to channel: String, data: JSON = .null) async throws -> SubscribeResult {
        try await withCheckedThrowingContinuation { continuation in
            subscribe(SubscribeRequest(channel: channel, data: data)) { continuation.resume(with: $0) }
        }
    }

    package func subscribe(_ request: SubscribeRequest, _ completion: @escaping @Sendable (Result<SubscribeResult, RealtimeError>) -> Void) {
        onLoop { $0.subscribe(request, publications: nil, completion) }
    }

    /// Subscribes, and gives the publications to read one after the other. The stream ends with the subscription, or when its reader has fallen
    /// `maxUnreadPublications` behind.
    package func publications(of channel: String) async throws -> (snapshot: SubscribeResult, publications: AsyncStream<Publication>) {
        let limit = maxUnreadPublications
        let (stream, publications) = AsyncStream.makeStream(of: Publication.self, bufferingPolicy: .bufferingOldest(limit))
        let snapshot = try await withCheckedThrowingContinuation { continuation in
            onLoop { session in
                session.subscribe(SubscribeRequest(channel: channel), publications: publications) { continuation.resume(with: $0) }
            }
        }
        return (snapshot, stream)
    }

    package func unsubscribe(from channel: String) async throws {
        try await withCheckedThrowingContinuation { continuation in
            onLoop { $0.unsubscribe(channel) { continuation.resume(with: $0) } }
        }
    }

    // MARK: Commands

    /// Calls a method and gives its answer. Throws `RealtimeError.reply` when the server refuses.
    package func rpc(_ method: String, data: JSON = .null) async throws -> JSON {
        let bytes = try await withCheckedThrowingContinuation { continuation in rpc(method, data: data) { continuation.resume(with: $0) } }
        return try JSON.parse(bytes)
    }

    /// Calls a method; the answer is the JSON text as the server wrote it.
    package func rpc(_ method: String, data: JSON = .null, _ completion: @escaping @Sendable (Result<[UInt8], RealtimeError>) -> Void) {
        onLoop { $0.rpc(method, data: data, completion) }
    }

    /// Ends the connection for good, returning once the socket is closed.
    package func close() async {
        await withCheckedContinuation { continuation in onLoop { $0.close { continuation.resume() } } }
    }

    private func onLoop(_ body: @escaping @Sendable (RealtimeSession) -> Void) {
        if eventLoop.inEventLoop { body(session.value) } else { eventLoop.execute { body(self.session.value) } }
    }
}
