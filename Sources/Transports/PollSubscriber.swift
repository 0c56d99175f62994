import Kernel
import NIOCore
import Realtime
import Wire

/// One long poll: subscribes, answers with the first thing there is to say, and is gone. Confined to its event loop.
final class PollSubscriber: Subscriber, TimedConnection {
    private let hub: StreamHub
    private let loop: any EventLoop
    private let registry: LoopRegistry
    /// Seconds for which a client is to stay away when the server stops.
    private let reconnectSeconds: Int
    private let wait: Duration
    private let answer: (Result<[UInt8], Refusal>) -> Void
    private var connection: ConnectionID?
    private var position = StreamPosition(epoch: "", offset: 0)
    private var timer: Scheduled<Void>?
    private var isAnswered = false

    init(
        hub: StreamHub,
        loop: any EventLoop,
        registry: LoopRegistry,
        reconnectSeconds: Int,
        wait: Duration,
        answer: @escaping (Result<[UInt8], Refusal>) -> Void
    ) {
        self.hub = hub
        self.loop = loop
        self.registry = registry
        self.reconnectSeconds = reconnectSeconds
        self.wait = wait
        self.answer = answer
    }

    func begin() -> ConnectionID {
        let id = hub.attach(self, on: loop)
        connection = id
        registry.add(self)
        return id
    }

    private func finish(_ result: Result<[UInt8], Refusal>) {
        guard !isAnswered else { return }
        isAnswered = true
        timer?.cancel()
        registry.remove(self)
        if let connection { hub.detach(connection, on: loop) }
        answer(result)
    }

    // MARK: TimedConnection

    func timePassed(_ now: Timestamp) -> Timestamp { .distantFuture }
    /// A poll was proved by its own token, and is over soon.
    func close(_ sessions: Set<LoginSessionID>) {}

    /// The server stops. Whoever polls again with the position they have misses nothing.
    func stop() {
        var refusal = Refusal.stopping
        refusal.retryAfterSeconds = reconnectSeconds
        finish(.failure(refusal))
    }

    // MARK: Subscriber

    func subscribed(command id: UInt32?, _ subscriptions: [Subscribed]) -> Bool {
        guard let result = subscriptions.first?.result else { return false }
        position = result.position
        if let data = result.data {
            finish(.success(json { $0.field("data", raw: data) }))
        } else if !result.publications.isEmpty || wait <= .zero {
            finish(.success(json(result.publications)))
        } else {
            timer = loop.assumeIsolated().scheduleTask(in: .nanoseconds(wait.inMilliseconds * 1_000_000)) {
                self.finish(.success(self.json([])))
            }
        }
        return false
    }

    func refused(command id: UInt32?, _ error: CentrifugeError) -> Bool {
        finish(.failure(Refusal(refused: error)))
        return false
    }

    func deliver(_ message: inout PreparedMessage, _ delivery: Delivery) -> Bool {
        guard let replies = try? CentrifugeReply.decode(message.payload) else { return false }
        var publications: [Publication] = []
        for case .push(.publication(_, let publication)) in replies {
            // What is not stored has no offset, and is nothing to poll for.
            guard let offset = publication.offset, offset > position.offset else { continue }
            publications.append(publication)
            position = StreamPosition(epoch: position.epoch, offset: offset)
        }
        if !publications.isEmpty { finish(.success(json(publications))) }
        return false
    }

    /// It asks again with its position.
    func fellBehind(on channel: String) -> Bool {
        finish(.success(json([])))
        return false
    }

    func flush() {}

    // MARK: The answer

    private func json(_ publications: [Publication]) -> [UInt8] {
        json { writer in
            writer.list("publications") { list in
                for publication in publications {
                    list.object {
                        if let offset = publication.offset { $0.field("offset", Int64(clamping: offset)) }
                        $0.field("data", raw: publication.data)
                    }
                }
            }
        }
    }

    private func json(_ rest: (inout JSONWriter) -> Void) -> [UInt8] {
        var writer = JSONWriter()
        writer.object {
            $0.field("epoch", position.epoch)
            $0.field("offset", Int64(clamping: position.offset))
            rest(&$0)
        }
        return writer.bytes
    }
}

extension Refusal {
    /// A subscription that was refused, over HTTP.
    init(refused error: CentrifugeError) {
        let kind: Kind =
            switch error.code {
            case CentrifugeError.unauthorized.code: .unauthenticated
            case CentrifugeError.unknownChannel.code: .notFound
            case CentrifugeError.permissionDenied.code: .forbidden
            case CentrifugeError.tooManyRequests.code: .tooMany
            default: .unavailable
            }
        self.init(
            kind,
            "subscription_refused",
            "O canal não pode ser lido: \(error.message).",
            retryAfterSeconds: kind == .unavailable ? 1 : nil
        )
    }
}
