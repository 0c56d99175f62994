package import Kernel
package import Logging
package import NIOCore
package import Resilience
import Synchronization

/// Redis, as far as this program needs it: commands, publish and subscribe, streams with consumer groups.
///
/// Nothing here waits without bound. While Redis is gone commands fail, at once when the breaker is open, and the caller goes on in its own process; it comes back
/// by itself. Nothing that was sent is sent again: `RedisError.outcomeIsUnknown` tells the caller what it cannot know.
package final class RedisBus: BreakerControl {
    let configuration: RedisConfiguration
    private let loop: any EventLoop
    private let core: NIOLoopBoundBox<BusCore>
    private let shared: SharedStatus
    private let ids = Atomic<Int>(0)

    /// Opens nothing yet: `run` does. Commands given before then wait for it, within their time.
    package init(configuration: RedisConfiguration, environment: Environment = .system, logger: Logger, group: any EventLoopGroup) {
        self.configuration = configuration
        loop = group.any()
        shared = SharedStatus(RedisStatus(address: configuration.redacted, breaker: CircuitBreaker(configuration.breaker)))
        core = .makeBoxSendingValue(
            BusCore(configuration, status: shared, environment: environment, logger: logger, loop: loop),
            eventLoop: loop
        )
    }

    /// Connects and stays connected until the task is cancelled; then everything that waits is refused, and the connections are closed. Once only.
    package func run() async {
        loop.execute { self.core.value.start() }
        let (untilCancelled, never) = AsyncStream.makeStream(of: Never.self)
        for await _ in untilCancelled {}
        withExtendedLifetime(never) {}
        // Closing cannot fail.
        try? await loop.flatSubmit { self.core.value.stop(on: self.loop) }.get()
    }

    package var status: RedisStatus { shared.value }

    /// What names of ours begin with.
    package var prefix: String { configuration.prefix }

    /// The command connection's breaker.
    package var breaker: CircuitBreaker { shared.value.breaker }

    /// Closes the breaker by hand and tries at once, or keeps it as somebody wants it.
    package func carryOut(_ order: BreakerOrder) {
        loop.execute { self.core.value.carryOut(order) }
    }

    // MARK: Commands

    /// One command, as it is: the prefix is not added.
    /// - Parameter timeout: `commandTimeout` unless told.
    /// - Throws: `RedisError`; an error reply as `.server`.
    package func send(_ command: [RedisArgument], timeout: Duration? = nil) async throws(RedisError) -> RedisReply {
        let replies = try await perform([command], timeout: timeout ?? configuration.commandTimeout, isBlocking: false)
        if case .error(let error) = replies[0] { throw .server(error) }
        return replies[0]
    }

    /// Several commands in one write, and their replies in the same order, error replies among them. Not a transaction: others' commands may come between.
    package func pipeline(_ commands: [[RedisArgument]], timeout: Duration? = nil) async throws(RedisError) -> [RedisReply] {
        if commands.isEmpty { return [] }
        return try await perform(commands, timeout: timeout ?? configuration.commandTimeout, isBlocking: false)
    }

    /// On a connection of its own, which is given up when the task is cancelled: so what the read would have brought is not lost on the way.
    func sendBlocking(_ command: [RedisArgument], block: Duration) async throws(RedisError) -> RedisReply {
        let replies = try await perform([command], timeout: block + configuration.commandTimeout, isBlocking: true)
        if case .error(let error) = replies[0] { throw .server(error) }
        return replies[0]
    }

    private func perform(_ commands: [[RedisArgument]], timeout: Duration, isBlocking: Bool) async throws(RedisError) -> [RedisReply] {
        let size = CommandFormat.size(commands)
        guard size <= configuration.maxPendingBytes else { throw .tooLarge(bytes: size, allowed: configuration.maxPendingBytes) }
        let request = CommandPipeline.Request(
            id: newID(),
            bytes: CommandFormat.encode(commands),
            replies: commands.count,
            timeout: TimeAmount(timeout),
            isBlocking: isBlocking
        )
        let cancellation = Cancellation()
        return try await withTaskCancellationHandler {
            await withCheckedContinuation { continuation in
                let call = Call(request: request, isCancelled: { cancellation.hasCome }, continuation: continuation)
                loop.execute { isBlocking ? self.core.value.submitBlocking(call) : self.core.value.submit(call) }
            }
        } onCancel: {
            // The flag first: whichever of the two turns on the loop comes first, the call is cancelled.
            cancellation.come()
            loop.execute { self.core.value.cancel(request.id) }
        }.get()
    }

    private func newID() -> Int { ids.wrappingAdd(1, ordering: .relaxed).newValue }

    // MARK: Publish and subscribe

    /// Whoever listens now gets it, whoever does not never will.
    /// - Returns: how many connections it went to.
    @discardableResult
    package func publish(_ channel: String, _ payload: [UInt8]) async throws(RedisError) -> Int {
        try await send(["PUBLISH", key(channel), RedisArgument(payload)]).expected("PUBLISH", \.integer)
    }

    /// Listens, from the moment the first delivery says `.live`; that may be long after, when Redis is away.
    /// - Throws: `overloaded` past `maxChannels`, `closed`.
    package func subscribe(_ channels: [String]) async throws(RedisError) -> RedisSubscription {
        let id = newID()
        let names = Set(channels.map { configuration.prefix + $0 })
        let inbox = RedisInbox(configuration)
        let subscription = RedisSubscription(inbox) { [loop, core] in loop.execute { core.value.leave(id) } }
        let refusal = await withCheckedContinuation { continuation in
            loop.execute { continuation.resume(returning: self.core.value.join(id, names, inbox)) }
        }
        if let refusal { throw refusal }
        return subscription
    }

    /// A name of ours, as Redis knows it.
    func key(_ name: String) -> RedisArgument { RedisArgument(configuration.prefix + name) }
}

/// Whether the caller has been cancelled.
private final class Cancellation: Sendable {
    private let flag = Atomic(false)

    var hasCome: Bool { flag.load(ordering: .acquiring) }
    func come() { flag.store(true, ordering: .releasing) }
}

extension RedisReply {
    /// The part of it that this command has for an answer.
    func expected<Value>(_ command: String, _ read: (RedisReply) -> Value?) throws(RedisError) -> Value {
        guard let value = read(self) else { throw .unexpectedReply(to: command) }
        return value
    }
}
