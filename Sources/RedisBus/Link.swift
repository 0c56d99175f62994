import Kernel
import Logging
import NIOCore
import NIOPosix
import Resilience

#if canImport(Glibc)
    import Glibc
#else
    import Darwin
#endif

/// Who uses a connection.
protocol LinkUser: AnyObject {
    func linkIsReady()
    func linkReceived(_ reply: RedisReply)
    func linkWasLost(_ problem: ConnectionProblem)
    func linkIsUnavailable(retryAfter: Duration)
    func linkIsAvailableAgain()
    /// After anything at all that happened to it.
    func linkHasChanged()
}

/// Performs what `LinkMachine` says, on one event loop.
final class Link {
    let loop: any EventLoop
    weak var user: (any LinkUser)?
    private let configuration: RedisConfiguration
    private let environment: Environment
    private let logger: Logger
    private var machine: LinkMachine
    /// The present one, and those that are being closed.
    private var channels: [Int: any Channel] = [:]
    private var alarm: Alarm?
    private var isFlushDue = false

    /// - Parameter role: for logs.
    init(_ configuration: RedisConfiguration, breaker: CircuitBreaker?, role: String, environment: Environment, logger: Logger, loop: any EventLoop) {
        self.configuration = configuration
        self.environment = environment
        self.loop = loop
        var logger = logger
        logger[metadataKey: "redis"] = "\(configuration.redacted)"
        logger[metadataKey: "connection"] = "\(role)"
        self.logger = logger
        machine = LinkMachine(configuration, breaker: breaker, random: SystemRandomNumberGenerator())
    }

    var isReady: Bool { machine.isReady }
    var breaker: CircuitBreaker? { machine.breaker }
    var problem: ConnectionProblem? { machine.problem }
    var now: LinkTime { LinkTime(uptime: .now(), wall: environment.now()) }

    // MARK: For the user

    func start() {
        alarm = Alarm(on: loop) { [weak self] in
            guard let self else { return }
            perform(machine.timePassed(at: now))
        }
        perform(machine.began(at: now))
    }

    /// Writes now; what is written in the same turn of the loop is flushed together.
    func send(_ bytes: ByteBuffer) {
        guard let channel = channels[machine.attempt] else { return }
        channel.write(bytes, promise: nil)
        if isFlushDue { return }
        isFlushDue = true
        loop.assumeIsolated().execute {
            self.isFlushDue = false
            self.channels[self.machine.attempt]?.flush()
        }
    }

    func condemn(_ problem: ConnectionProblem) { perform(machine.condemned(problem, at: now)) }
    func giveUp() { perform(machine.givenUp(at: now)) }
    func serverSeen() { perform(machine.serverSeen(at: now)) }
    func carryOut(_ order: BreakerOrder) {
        switch order {
        case .reset: perform(machine.breakerReset(at: now))
        case .force(let force): perform(machine.breakerForced(force, at: now))
        }
    }

    /// For good. The future is there once everything is closed.
    func stop() -> EventLoopFuture<Void> {
        let open = Array(channels.values)
        perform(machine.stopped())
        alarm?.stop()
        return EventLoopFuture.andAllComplete(open.map(\.closeFuture), on: loop)
    }

    // MARK: From the connection

    fileprivate func received(_ reply: RedisReply, on attempt: Int) {
        guard attempt == machine.attempt else { return }
        if machine.isReady { user?.linkReceived(reply) } else { perform(machine.greetingAnswered(attempt, reply, at: now)) }
    }

    fileprivate func ended(_ attempt: Int, _ problem: ConnectionProblem) {
        channels[attempt] = nil
        perform(machine.connectionEnded(attempt, problem, at: now))
    }

    // MARK: Outputs

    private func perform(_ outputs: [LinkMachine.Output]) {
        for output in outputs {
            switch output {
            case .connect(let attempt): connect(attempt)
            case .send(let commands): send(CommandFormat.encode(commands))
            case .close(let attempt): channels[attempt]?.close(promise: nil)
            case .ready(let away):
                if let away { logger.notice("Redis is back", metadata: ["away_seconds": "\(away.inMilliseconds / 1000)"]) }
                user?.linkIsReady()
            case .lost(let problem): user?.linkWasLost(problem)
            case .unavailable(let retryAfter):
                logger.warning("Redis is taken for gone", metadata: ["retry_seconds": "\(retryAfter.inMilliseconds / 1000)"])
                user?.linkIsUnavailable(retryAfter: retryAfter)
            case .availableAgain: user?.linkIsAvailableAgain()
            case .report(let problem): logger.warning("no connection to Redis", metadata: ["reason": "\(problem)"])
            }
        }
        alarm?.set(machine.wakeUp)
        user?.linkHasChanged()
    }

    private func connect(_ attempt: Int) {
        let here = NIOLoopBound(self, eventLoop: loop)
        let (maxBytes, maxElements) = (configuration.maxReplyBytes, configuration.maxReplyElements)
        let bootstrap = ClientBootstrap(group: loop)
            .connectTimeout(TimeAmount(configuration.connectTimeout))
            .channelOption(.socketOption(.so_keepalive), value: 1)
            .channelInitializer { channel in
                channel.eventLoop.makeCompletedFuture {
                    try channel.pipeline.syncOperations.addHandlers([
                        ReplyDecoder(maxBytes: maxBytes, maxElements: maxElements), LinkHandler(here.value, attempt),
                    ])
                }
            }
        let connecting =
            switch configuration.address {
            case .tcp(let host, let port): bootstrap.connect(host: host, port: port)
            case .unix(let path): bootstrap.connect(unixDomainSocketPath: path)
            }
        connecting.assumeIsolated().whenComplete { result in
            switch result {
            case .success(let channel) where channel.isActive:
                self.channels[attempt] = channel
                self.perform(self.machine.connectionEstablished(attempt))
            case .success: self.ended(attempt, .closedByServer)
            case .failure(let error): self.ended(attempt, ConnectionProblem(connecting: error))
            }
        }
    }
}

/// The last handler of a connection: what it hears goes to the link, under the connection's number.
private final class LinkHandler: ChannelInboundHandler {
    typealias InboundIn = RedisReply

    private let link: Link
    private let attempt: Int
    private var problem = ConnectionProblem.closedByServer

    init(_ link: Link, _ attempt: Int) {
        self.link = link
        self.attempt = attempt
    }

    func channelRead(context: ChannelHandlerContext, data: NIOAny) { link.received(unwrapInboundIn(data), on: attempt) }

    func errorCaught(context: ChannelHandlerContext, error: any Error) {
        problem = error as? ConnectionProblem ?? .unreachable("\(error)")
        context.close(promise: nil)
    }

    func channelInactive(context: ChannelHandlerContext) { link.ended(attempt, problem) }
}

extension ConnectionProblem {
    /// What NIO says of an attempt to connect.
    fileprivate init(connecting error: any Error) {
        switch error {
        case ChannelError.connectTimeout: self = .timedOut
        case let error as NIOConnectionError:
            if error.dnsAError != nil, error.dnsAAAAError != nil {
                self = .unreachable("the name '\(error.host)' is not known")
            } else if let first = error.connectionErrors.first?.error {
                self.init(connecting: first)
            } else {
                self = .unreachable("\(error)")
            }
        case let error as IOError: self = .unreachable(String(cString: strerror(error.errnoCode)).lowercased())
        default: self = .unreachable("\(error)")
        }
    }
}
