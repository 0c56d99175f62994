import Kernel
import Logging
import NIOCore
import Resilience
import Synchronization

/// Every connection of a bus, on one event loop: one for commands, one that listens, and some for reads that block.
///
/// The breaker is the command connection's. The others go along with it: they knock on their own, are woken when it is back, and their callers are refused while it
/// is open; what befalls them is not counted, as a slow read or a forbidden channel says nothing about Redis as a whole. Before `start` none of them does anything.
final class BusCore {
    private let configuration: RedisConfiguration
    private let status: SharedStatus
    private let makeLink: (CircuitBreaker?, String) -> Link
    private var commands: CommandLink!
    private var subscriber: SubscriberLink!
    private var readers: [CommandLink] = []
    private var refusedUntil: NIODeadline?
    private var isStarted = false
    private var isStopped = false

    init(_ configuration: RedisConfiguration, status: SharedStatus, environment: Environment, logger: Logger, loop: any EventLoop) {
        self.configuration = configuration
        self.status = status
        makeLink = { breaker, role in
            Link(configuration, breaker: breaker, role: role, environment: environment, logger: logger, loop: loop)
        }
        commands = CommandLink(
            configuration,
            link: makeLink(CircuitBreaker(configuration.breaker), "commands"),
            ready: { [weak self] in self?.serverSeen() },
            unavailable: { [weak self] in self?.becameUnavailable(retryAfter: $0) },
            changed: { [weak self] in self?.publishStatus() }
        )
        subscriber = SubscriberLink(configuration, link: makeLink(nil, "subscriber"), changed: { [weak self] in self?.publishStatus() })
    }

    func start() {
        if isStarted || isStopped { return }
        isStarted = true
        commands.start()
        subscriber.start()
        for reader in readers { reader.start() }
    }

    func submit(_ call: Call) { commands.submit(call) }

    /// A connection that nothing waits on, or one more.
    func submitBlocking(_ call: Call) {
        func refuse(_ error: RedisError) { call.continuation.resume(returning: .failure(error)) }
        if isStopped { return refuse(.closed) }
        if let refusedUntil { return refuse(.unavailable(retryAfter: max(Duration(refusedUntil - .now()), .milliseconds(100)))) }
        if let idle = readers.first(where: \.isIdle) { return idle.submit(call) }
        guard readers.count < configuration.maxBlockingReads else { return refuse(.overloaded) }
        let reader = CommandLink(configuration, link: makeLink(nil, "reader"), changed: { [weak self] in self?.publishStatus() })
        readers.append(reader)
        if isStarted { reader.start() }
        reader.submit(call)
    }

    func cancel(_ id: Int) {
        commands.cancel(id)
        for reader in readers { reader.cancel(id) }
    }

    func join(_ id: Int, _ channels: Set<String>, _ inbox: RedisInbox) -> RedisError? { subscriber.join(id, channels, inbox) }
    func leave(_ id: Int) { subscriber.leave(id) }

    func carryOut(_ order: BreakerOrder) {
        refusedUntil = nil
        for reader in readers { reader.becomeAvailable() }
        commands.carryOut(order)
        publishStatus()
    }

    func stop(on loop: any EventLoop) -> EventLoopFuture<Void> {
        isStopped = true
        return EventLoopFuture.andAllComplete([commands.stop(), subscriber.stop()] + readers.map { $0.stop() }, on: loop)
    }

    private func serverSeen() {
        refusedUntil = nil
        subscriber.serverSeen()
        for reader in readers {
            reader.becomeAvailable()
            reader.serverSeen()
        }
    }

    private func becameUnavailable(retryAfter: Duration) {
        refusedUntil = .now() + TimeAmount(retryAfter)
        for reader in readers { reader.becomeUnavailable(retryAfter: retryAfter) }
    }

    private func publishStatus() {
        status.update { status in
            status.isConnected = commands.isReady
            status.isSubscriberConnected = subscriber.isReady
            if let breaker = commands.breaker { status.breaker = breaker }
            (status.pendingCommands, status.pendingBytes) = commands.pending
            status.blockingReads = readers.count { !$0.isIdle }
            status.subscriptions = subscriber.subscriberCount
            if let problem = commands.problem ?? subscriber.problem { status.lastError = "\(problem)" }
        }
    }
}

/// Written on the loop, read from anywhere.
final class SharedStatus: Sendable {
    private let status: Mutex<RedisStatus>

    init(_ status: RedisStatus) { self.status = Mutex(status) }

    var value: RedisStatus { status.withLock { $0 } }
    func update(_ change: (inout RedisStatus) -> Void) { status.withLock { change(&$0) } }
}
