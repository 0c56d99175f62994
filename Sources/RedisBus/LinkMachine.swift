import Kernel
import NIOCore
import Resilience

// The life of one connection that comes back by itself.
//
//     idle ──began──▶ connecting ──established──▶ greeting ──all answered well──▶ ready
//                      ▲     │                       │                              │ closed, or condemned
//                      │     └── failed or too late ─┴──────────────▶ waiting ◀─────┘
//                      └───────────────── the wait is over, and the breaker lets one try
//
// Invariants
// 1. There is one connection at a time. Each has a number, and what is said of an earlier one changes nothing but that it is closed.
// 2. A failure is an attempt that came to nothing, or the loss of a connection that was ready. With a breaker, every attempt asks it first and reports to it; so
//    while it is open nobody knocks, and its half-open probe is an attempt to connect and be greeted.
// 3. A connection that broke soon after it was made does not start the waits anew.

/// Two clocks: one that never jumps, for waits and deadlines, and the environment's, for the breaker.
struct LinkTime: Sendable {
    let uptime: NIODeadline
    let wall: Timestamp
}

struct LinkMachine {
    enum Output: Equatable {
        case connect(attempt: Int)
        case send([[RedisArgument]])
        /// Close that connection, if it is there.
        case close(attempt: Int)
        /// It may be used. `away`: how long it was not there, unless it is the first.
        case ready(away: Duration?)
        /// It was ready, and is no more.
        case lost(ConnectionProblem)
        /// The breaker has opened.
        case unavailable(retryAfter: Duration)
        /// The breaker was reset by hand.
        case availableAgain
        /// Something to log: a problem that is another than the last one.
        case report(ConnectionProblem)
    }

    private enum State {
        case idle
        case connecting(until: NIODeadline, generation: Int?)
        case greeting(until: NIODeadline, generation: Int?, answered: Int)
        case ready(since: NIODeadline)
        case waiting(until: NIODeadline)
        case ended
    }

    private let greeting: Greeting
    private let connectTimeout: TimeAmount
    private let reconnectLimit: TimeAmount
    private var state = State.idle
    /// The number of the present connection.
    private(set) var attempt = 0
    private(set) var breaker: CircuitBreaker?
    /// Of the present outage.
    private(set) var problem: ConnectionProblem?
    private var awaySince: NIODeadline?
    private var backoff: Backoff
    private var random: any RandomNumberGenerator

    /// - Parameter breaker: none for a connection that merely goes along with another.
    init(_ configuration: RedisConfiguration, breaker: CircuitBreaker?, random: any RandomNumberGenerator) {
        greeting = Greeting(configuration)
        connectTimeout = TimeAmount(configuration.connectTimeout)
        reconnectLimit = TimeAmount(configuration.reconnectLimit)
        backoff = Backoff(first: configuration.reconnectFirst, limit: configuration.reconnectLimit)
        self.breaker = breaker
        self.random = random
    }

    var isReady: Bool {
        if case .ready = state { true } else { false }
    }

    /// When `timePassed` is to be called, at the latest.
    var wakeUp: NIODeadline? {
        switch state {
        case .connecting(let until, _), .greeting(let until, _, _), .waiting(let until): until
        case .idle, .ready, .ended: nil
        }
    }

    // MARK: Inputs

    mutating func began(at now: LinkTime) -> [Output] {
        guard case .idle = state else { return [] }
        return connect(now)
    }

    mutating func connectionEstablished(_ attempt: Int) -> [Output] {
        guard attempt == self.attempt, case .connecting(let until, let generation) = state else { return [.close(attempt: attempt)] }
        state = .greeting(until: until, generation: generation, answered: 0)
        return [.send(greeting.commands)]
    }

    /// It could not be made, or it was made and is closed now.
    mutating func connectionEnded(_ attempt: Int, _ problem: ConnectionProblem, at now: LinkTime) -> [Output] {
        guard attempt == self.attempt else { return [] }
        return failed(problem, now)
    }

    /// An answer during the greeting; those that come later are for whoever uses the connection.
    mutating func greetingAnswered(_ attempt: Int, _ reply: RedisReply, at now: LinkTime) -> [Output] {
        guard attempt == self.attempt, case .greeting(let until, let generation, let answered) = state else { return [] }
        if let problem = greeting.objection(to: reply, at: greeting.steps[answered]) { return failed(problem, now) }
        guard answered + 1 == greeting.steps.count else {
            state = .greeting(until: until, generation: generation, answered: answered + 1)
            return []
        }
        state = .ready(since: now.uptime)
        if let generation { breaker?.callSucceeded(generation, at: now.wall) }
        defer { (awaySince, problem) = (nil, nil) }
        return [.ready(away: awaySince.map { Duration(now.uptime - $0) })]
    }

    /// Whoever uses the connection finds that it is of no use any more.
    mutating func condemned(_ problem: ConnectionProblem, at now: LinkTime) -> [Output] {
        isReady ? failed(problem, now) : []
    }

    /// Whoever uses the connection wants another instead. It is nobody's failure.
    mutating func givenUp(at now: LinkTime) -> [Output] {
        guard isReady else { return [] }
        return [.close(attempt: attempt), .lost(.closedByUs)] + connect(now)
    }

    mutating func timePassed(at now: LinkTime) -> [Output] {
        switch state {
        case .connecting(let until, _) where until <= now.uptime, .greeting(let until, _, _) where until <= now.uptime: failed(.timedOut, now)
        case .waiting(let until) where until <= now.uptime: connect(now)
        default: []
        }
    }

    /// The server has been seen elsewhere: there is no point in waiting longer.
    mutating func serverSeen(at now: LinkTime) -> [Output] {
        guard case .waiting = state else { return [] }
        return connect(now)
    }

    /// By hand. The next attempt is made at once.
    mutating func breakerReset(at now: LinkTime) -> [Output] {
        guard breaker != nil else { return [] }
        breaker?.reset()
        return [.availableAgain] + serverSeen(at: now)
    }

    /// By hand. Forced open, the connection is given up and none is tried until the breaker is reset.
    mutating func breakerForced(_ force: CircuitBreaker.Force, at now: LinkTime) -> [Output] {
        guard breaker != nil else { return [] }
        breaker?.forced(force)
        guard force.isOpen else { return [.availableAgain] + serverSeen(at: now) }
        let wasReady = isReady
        switch state {
        case .idle, .ended: return []
        default: return [.close(attempt: attempt)] + (wasReady ? [.lost(.closedByUs)] : []) + connect(now)
        }
    }

    mutating func stopped() -> [Output] {
        defer { state = .ended }
        return isReady ? [.close(attempt: attempt), .lost(.closedByUs)] : [.close(attempt: attempt)]
    }

    // MARK: Between them

    private mutating func connect(_ now: LinkTime) -> [Output] {
        var generation: Int?
        switch breaker?.callRequested(at: now.wall) {
        case .allowed(let allowed): generation = allowed
        case .refused(let retryAfter):
            state = .waiting(until: now.uptime + TimeAmount(max(retryAfter, .milliseconds(1))))
            return breaker?.state == .forcedOpen ? [.unavailable(retryAfter: retryAfter)] : []
        case nil: break
        }
        attempt += 1
        state = .connecting(until: now.uptime + connectTimeout, generation: generation)
        return [.connect(attempt: attempt)]
    }

    private mutating func failed(_ problem: ConnectionProblem, _ now: LinkTime) -> [Output] {
        var outputs = [Output.close(attempt: attempt)]
        var generation: Int?
        switch state {
        case .connecting(_, let asked), .greeting(_, let asked, _): generation = asked
        case .ready(let since):
            outputs.append(.lost(problem))
            if since + reconnectLimit <= now.uptime { backoff.attemptSucceeded() }
            // Ready means closed, and a closed breaker lets everybody through.
            if case .allowed(let allowed) = breaker?.callRequested(at: now.wall) { generation = allowed }
        case .idle, .waiting, .ended: return []
        }
        if awaySince == nil { awaySince = now.uptime }
        if self.problem != problem { outputs.append(.report(problem)) }
        self.problem = problem
        var wait = backoff.attemptFailed(random: &random)
        if let generation, let before = breaker?.timesOpened {
            breaker?.callFailed(generation, at: now.wall)
            if let breaker, breaker.timesOpened > before {
                wait = breaker.openUntil.map { max($0 - now.wall, .milliseconds(1)) } ?? breaker.settings.openFor
                outputs.append(.unavailable(retryAfter: wait))
            }
        }
        state = .waiting(until: now.uptime + TimeAmount(wait))
        return outputs
    }
}
