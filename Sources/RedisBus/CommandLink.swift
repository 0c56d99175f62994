import Kernel
import Logging
import NIOCore
import Resilience

/// A caller that waits. Known by its id, as the caller itself may be gone before its command arrives at the loop.
struct Call: Sendable {
    let request: CommandPipeline.Request
    let isCancelled: @Sendable () -> Bool
    let continuation: CheckedContinuation<Result<[RedisReply], RedisError>, Never>
}

/// A connection for commands: performs what `CommandPipeline` says.
final class CommandLink: LinkUser {
    private let link: Link
    private var pipeline: CommandPipeline
    private var waiting: [Int: CheckedContinuation<Result<[RedisReply], RedisError>, Never>] = [:]
    private var alarm: Alarm?
    /// What the bus is told of: it is ready; it is not, for so long.
    private let ready: () -> Void
    private let unavailable: (Duration) -> Void
    private let changed: () -> Void

    init(
        _ configuration: RedisConfiguration,
        link: Link,
        ready: @escaping () -> Void = {},
        unavailable: @escaping (Duration) -> Void = { _ in },
        changed: @escaping () -> Void = {}
    ) {
        self.link = link
        self.ready = ready
        self.unavailable = unavailable
        self.changed = changed
        pipeline = CommandPipeline(configuration)
        link.user = self
        alarm = Alarm(on: link.loop) { [weak self] in
            guard let self else { return }
            perform(pipeline.timePassed(at: .now()))
        }
    }

    var isReady: Bool { link.isReady }
    var isIdle: Bool { pipeline.isIdle }
    var breaker: CircuitBreaker? { link.breaker }
    var problem: ConnectionProblem? { link.problem }
    var pending: (commands: Int, bytes: Int) { (pipeline.commands, pipeline.bytes) }

    func start() { link.start() }

    func submit(_ call: Call) {
        guard !call.isCancelled() else { return call.continuation.resume(returning: .failure(.cancelled(wasSent: false))) }
        waiting[call.request.id] = call.continuation
        perform(pipeline.submitted(call.request, at: .now()))
    }

    func cancel(_ id: Int) { perform(pipeline.cancelled(id)) }
    func serverSeen() { link.serverSeen() }
    func carryOut(_ order: BreakerOrder) { link.carryOut(order) }
    func becomeUnavailable(retryAfter: Duration) { perform(pipeline.becameUnavailable(retryAfter: retryAfter, at: .now())) }
    func becomeAvailable() { pipeline.becameAvailable() }

    func stop() -> EventLoopFuture<Void> {
        perform(pipeline.stopped())
        alarm?.stop()
        return link.stop()
    }

    // MARK: LinkUser

    func linkIsReady() {
        perform(pipeline.connectionReady(at: .now()))
        ready()
    }

    func linkReceived(_ reply: RedisReply) { perform(pipeline.replyReceived(reply, at: .now())) }
    func linkWasLost(_ problem: ConnectionProblem) { perform(pipeline.connectionLost(problem)) }

    func linkIsUnavailable(retryAfter: Duration) {
        becomeUnavailable(retryAfter: retryAfter)
        unavailable(retryAfter)
    }

    func linkIsAvailableAgain() { becomeAvailable() }
    func linkHasChanged() { changed() }

    // MARK: Outputs

    private func perform(_ outputs: [CommandPipeline.Output]) {
        // First, so that who gets an answer finds a status that knows of it.
        changed()
        for output in outputs {
            switch output {
            case .send(let bytes): link.send(bytes)
            case .answer(let id, let replies): waiting.removeValue(forKey: id)?.resume(returning: .success(replies))
            case .refuse(let id, let error): waiting.removeValue(forKey: id)?.resume(returning: .failure(error))
            case .condemn(let problem): link.condemn(problem)
            case .giveUp: link.giveUp()
            }
        }
        alarm?.set(pipeline.wakeUp)
    }
}
