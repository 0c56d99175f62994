import Logging
import NIOCore

/// The connection that listens: performs what `SubscriptionMachine` says. It is made when somebody first subscribes.
final class SubscriberLink: LinkUser {
    private let link: Link
    private var machine: SubscriptionMachine
    private var inboxes: [Int: RedisInbox] = [:]
    private var alarm: Alarm?
    private var mayConnect = false
    private var isStopped = false
    private let changed: () -> Void

    init(_ configuration: RedisConfiguration, link: Link, changed: @escaping () -> Void) {
        self.link = link
        self.changed = changed
        machine = SubscriptionMachine(configuration)
        link.user = self
    }

    var isReady: Bool { link.isReady }
    var subscriberCount: Int { machine.subscriberCount }
    var problem: ConnectionProblem? { link.problem }

    func join(_ id: Int, _ channels: Set<String>, _ inbox: RedisInbox) -> RedisError? {
        if isStopped { return .closed }
        inboxes[id] = inbox
        perform(machine.joined(id, channels))
        guard inboxes[id] != nil else { return .overloaded }
        if mayConnect { connect() }
        return nil
    }

    func leave(_ id: Int) {
        inboxes[id] = nil
        perform(machine.left(id))
    }

    /// From now on it connects, as soon as anybody listens.
    func start() {
        mayConnect = true
        if !inboxes.isEmpty { connect() }
    }

    private func connect() {
        guard alarm == nil else { return }
        alarm = Alarm(on: link.loop) { [weak self] in
            guard let self else { return }
            perform(machine.timePassed(at: .now()))
        }
        link.start()
    }

    func serverSeen() { link.serverSeen() }

    func stop() -> EventLoopFuture<Void> {
        isStopped = true
        for inbox in inboxes.values { inbox.end() }
        inboxes = [:]
        alarm?.stop()
        return link.stop()
    }

    // MARK: LinkUser

    func linkIsReady() { perform(machine.connectionReady(at: .now())) }
    func linkReceived(_ reply: RedisReply) { perform(machine.replyReceived(reply, at: .now())) }
    func linkWasLost(_ problem: ConnectionProblem) { machine.connectionLost() }
    func linkIsUnavailable(retryAfter: Duration) {}
    func linkIsAvailableAgain() {}
    func linkHasChanged() { changed() }

    // MARK: Outputs

    private func perform(_ outputs: [SubscriptionMachine.Output]) {
        changed()
        for output in outputs {
            switch output {
            case .send(let commands): link.send(CommandFormat.encode(commands))
            case .deliver(let ids, let channel, let payload):
                for id in ids { inboxes[id]?.put(channel: channel, payload: payload) }
            case .live(let id, let again): inboxes[id]?.live(again: again)
            case .refuse(let id): inboxes[id] = nil
            case .condemn(let problem): link.condemn(problem)
            }
        }
        alarm?.set(machine.wakeUp)
    }
}
