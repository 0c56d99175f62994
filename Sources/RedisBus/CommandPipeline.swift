import DequeModule
import NIOCore

// Commands on one connection, and their answers in the same order.
//
//     submitted ──▶ waiting ──(the connection is ready)──▶ sent ──(as many replies as it has commands)──▶ answered
//                      │ deadline, cancelled, unavailable     │ deadline, cancelled: its place is kept until its replies have come
//                      ▼                                      │ connection lost
//               refused: never sent                           ▼
//                                                      refused: outcome unknown
//
// Invariants
// 1. Every request gets exactly one answer or refusal.
// 2. What was sent is never sent again.
// 3. Replies belong to the oldest request that is not complete, whether or not anybody still waits for it.
// 4. Requests and bytes that wait, sent or not, stay within their bounds.

struct CommandPipeline {
    struct Request: Equatable {
        let id: Int
        let bytes: ByteBuffer
        /// As many as there are commands in `bytes`.
        let replies: Int
        let timeout: TimeAmount
        /// It holds the connection up until it is answered, so giving it up means giving the connection up.
        var isBlocking = false
    }

    enum Output: Equatable {
        case send(ByteBuffer)
        case answer(Int, [RedisReply])
        case refuse(Int, RedisError)
        /// The connection is of no use any more.
        case condemn(ConnectionProblem)
        /// The connection is fine, but another is wanted.
        case giveUp
    }

    private enum Phase {
        case disconnected
        case connected
        case unavailable(until: NIODeadline)
        case stopped
    }

    private struct Waiting {
        let request: Request
        let deadline: NIODeadline
    }

    private struct Sent {
        let request: Request
        let deadline: NIODeadline
        let at: NIODeadline
        var replies: [RedisReply] = []
        var missing: Int
        /// Nobody waits for the answer any more.
        var isAbandoned = false
    }

    private let maxCommands: Int
    private let maxBytes: Int
    private let silence: TimeAmount
    private var phase = Phase.disconnected
    private var waiting: Deque<Waiting> = []
    private var sent: Deque<Sent> = []
    private var lastReply = NIODeadline.uptimeNanoseconds(0)
    /// Commands and bytes that wait, sent or not.
    private(set) var commands = 0
    private(set) var bytes = 0
    /// When `timePassed` is to be called, at the latest. May be early.
    private(set) var wakeUp: NIODeadline?

    init(_ configuration: RedisConfiguration) {
        maxCommands = configuration.maxPendingCommands
        maxBytes = configuration.maxPendingBytes
        silence = TimeAmount(configuration.commandTimeout)
    }

    var isIdle: Bool { waiting.isEmpty && sent.isEmpty }

    // MARK: Inputs

    mutating func submitted(_ request: Request, at now: NIODeadline) -> [Output] {
        switch phase {
        case .stopped: return [.refuse(request.id, .closed)]
        case .unavailable(let until): return [.refuse(request.id, .unavailable(retryAfter: max(Duration(until - now), .milliseconds(100))))]
        case .disconnected, .connected: break
        }
        let size = request.bytes.readableBytes
        if size > maxBytes { return [.refuse(request.id, .tooLarge(bytes: size, allowed: maxBytes))] }
        guard commands + request.replies <= maxCommands, bytes + size <= maxBytes else { return [.refuse(request.id, .overloaded)] }
        commands += request.replies
        bytes += size
        let deadline = now + request.timeout
        wakeUp = min(wakeUp ?? deadline, deadline)
        if case .connected = phase {
            sent.append(Sent(request: request, deadline: deadline, at: now, missing: request.replies))
            return [.send(request.bytes)]
        }
        waiting.append(Waiting(request: request, deadline: deadline))
        return []
    }

    mutating func connectionReady(at now: NIODeadline) -> [Output] {
        if case .stopped = phase { return [] }
        phase = .connected
        var outputs = timePassed(at: now)
        while let next = waiting.popFirst() {
            sent.append(Sent(request: next.request, deadline: next.deadline, at: now, missing: next.request.replies))
            outputs.append(.send(next.request.bytes))
        }
        return outputs
    }

    mutating func replyReceived(_ reply: RedisReply, at now: NIODeadline) -> [Output] {
        guard !sent.isEmpty else { return [.condemn(.violation("an answer to nothing"))] }
        lastReply = now
        sent[0].missing -= 1
        if !sent[0].isAbandoned { sent[0].replies.append(reply) }
        guard sent[0].missing == 0, let done = sent.popFirst() else { return [] }
        release(done.request)
        return done.isAbandoned ? [] : [.answer(done.request.id, done.replies)]
    }

    mutating func connectionLost(_ problem: ConnectionProblem) -> [Output] {
        if case .connected = phase { phase = .disconnected }
        var outputs: [Output] = []
        while let lost = sent.popFirst() {
            release(lost.request)
            if !lost.isAbandoned { outputs.append(.refuse(lost.request.id, .connectionLost(problem))) }
        }
        return outputs
    }

    /// There will be no connection for a while: what waits for one need not wait for its deadline. A connection that is there stays in use.
    mutating func becameUnavailable(retryAfter: Duration, at now: NIODeadline) -> [Output] {
        switch phase {
        case .connected, .stopped: return []
        case .disconnected, .unavailable: break
        }
        phase = .unavailable(until: now + TimeAmount(retryAfter))
        return refuseWaiting(.unavailable(retryAfter: retryAfter))
    }

    mutating func becameAvailable() {
        if case .unavailable = phase { phase = .disconnected }
    }

    mutating func timePassed(at now: NIODeadline) -> [Output] {
        var outputs: [Output] = []
        if waiting.contains(where: { $0.deadline <= now }) {
            for late in waiting where late.deadline <= now {
                release(late.request)
                outputs.append(.refuse(late.request.id, .timedOut(wasSent: false)))
            }
            waiting.removeAll { $0.deadline <= now }
        }
        for index in sent.indices where !sent[index].isAbandoned && sent[index].deadline <= now {
            outputs.append(abandon(index, .timedOut(wasSent: true)))
        }
        var silent = sent.first.map(silentAt)
        if let at = silent, at <= now {
            silent = nil
            outputs.append(.condemn(.silent))
        }
        wakeUp = [silent, waiting.map(\.deadline).min(), sent.lazy.filter { !$0.isAbandoned }.map(\.deadline).min()].compactMap { $0 }.min()
        return outputs
    }

    /// The caller does not want it any more.
    mutating func cancelled(_ id: Int) -> [Output] {
        if let index = waiting.firstIndex(where: { $0.request.id == id }) {
            release(waiting.remove(at: index).request)
            return [.refuse(id, .cancelled(wasSent: false))]
        }
        guard let index = sent.firstIndex(where: { $0.request.id == id && !$0.isAbandoned }) else { return [] }
        let refusal = abandon(index, .cancelled(wasSent: true))
        return sent[index].request.isBlocking ? [refusal, .giveUp] : [refusal]
    }

    mutating func stopped() -> [Output] {
        let outputs = connectionLost(.closedByUs) + refuseWaiting(.closed)
        phase = .stopped
        return outputs
    }

    // MARK: Between them

    /// When the server has to be taken for dead, with this request the first it owes an answer to.
    private func silentAt(_ first: Sent) -> NIODeadline { max(first.at, lastReply) + max(silence, first.request.timeout) }

    private mutating func refuseWaiting(_ error: RedisError) -> [Output] {
        var outputs: [Output] = []
        while let next = waiting.popFirst() {
            release(next.request)
            outputs.append(.refuse(next.request.id, error))
        }
        return outputs
    }

    private mutating func abandon(_ index: Int, _ error: RedisError) -> Output {
        sent[index].isAbandoned = true
        sent[index].replies = []
        return .refuse(sent[index].request.id, error)
    }

    private mutating func release(_ request: Request) {
        commands -= request.replies
        bytes -= request.bytes.readableBytes
    }
}
