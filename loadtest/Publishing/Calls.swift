import NIOCore
import Wire

/// Sockets that call a method and check every answer: that it is to their own question, in the order asked. Confined to the event loop of its crowd.
final class Calls {
    /// A command's line up to its text, and from there on. The text is a stamp whose lane is the client.
    struct Template: Sendable {
        let head: [UInt8]
        let tail: [UInt8]

        /// - Parameter data: the members of `data` besides `text`, as JSON, ending with a comma.
        init(method: String, data: String = "") {
            head = Array(#","rpc":{"method":"\#(method)","data":{\#(data)"text":""#.utf8)
            tail = Array(#""}}}"#.utf8)
        }
    }

    private let crowd: Crowd
    private let templates: [Template]
    private let textBytes: Int
    private var isRunning = false
    /// What each client has asked and what it has been answered.
    private var asked: [UInt32]
    private var answered: [UInt32]
    /// Closed loop: an answer brings the next question.
    private var isClosedLoop = false

    private(set) var latencies = Histogram()
    private(set) var answersInWindow = 0
    private var window: Range<Int64> = 0..<0

    /// - Parameter templates: client `i` uses `templates[i % templates.count]`.
    init(_ crowd: Crowd, _ templates: [Template], textBytes: Int) {
        self.crowd = crowd
        self.templates = templates
        self.textBytes = textBytes
        asked = [UInt32](repeating: 0, count: crowd.plan.clients)
        answered = asked
        crowd.onReply = { [unowned self] in answered($0, id: $1, $2, $3) }
    }

    var isIdle: Bool { asked == answered }
    var total: Int { asked.reduce(0) { $0 + Int($1) } }
    func sequence(_ client: Int) -> UInt32 { asked[client] }

    func beginWindow(_ range: Range<Int64>) {
        window = range
        latencies = Histogram()
        answersInWindow = 0
    }

    func endWindow() { window = window.lowerBound..<Stamp.now() }

    // MARK: How fast

    /// Each client always has `inFlight` questions open.
    func run(inFlight: Int) {
        (isRunning, isClosedLoop) = (true, true)
        for client in 0..<crowd.plan.clients {
            for _ in 0..<inFlight { ask(client, due: Stamp.now()) }
            crowd.socket(client)?.flush()
        }
    }

    /// All clients together ask so often, one after the other.
    func pace(perSecond rate: Double) {
        isRunning = true
        tick(interval: 1e9 / rate, next: Double(Stamp.now()), client: 0)
    }

    func stop() { isRunning = false }

    private func tick(interval: Double, next: Double, client: Int) {
        guard isRunning else { return }
        var (next, client) = (next, client)
        let now = Double(Stamp.now())
        while next <= now {
            ask(client, due: Int64(next))
            crowd.socket(client)?.flush()
            client = (client + 1) % crowd.plan.clients
            next += interval
        }
        let (due, following) = (next, client)
        Generator.loop.assumeIsolated().scheduleTask(deadline: .uptimeNanoseconds(UInt64(next))) {
            self.tick(interval: interval, next: due, client: following)
        }
    }

    // MARK: Question and answer

    private func ask(_ client: Int, due: Int64) {
        guard let socket = crowd.socket(client) else { return }
        asked[client] += 1
        let template = templates[client % templates.count]
        var line = Array(#"{"id":\#(asked[client] + 2)"#.utf8)
        line.reserveCapacity(line.count + template.head.count + textBytes + template.tail.count)
        line += template.head
        Stamp(lane: client, sequence: asked[client], due: due).write(to: &line, byteCount: textBytes)
        line += template.tail
        socket.write(line)
    }

    private func answered(_ socket: CrowdSocket, id: Int, _ line: UnsafeRawBufferPointer, _ now: Int64) {
        let client = socket.number
        answered[client] += 1
        if CentrifugeLine.isError(line) {
            crowd.fault(\.refused, String(decoding: line.prefix(200), as: UTF8.self))
        } else {
            let expected = answered[client]
            guard let (stamp, _) = Stamp.find(in: line), stamp.lane == client, stamp.sequence == expected, id == Int(expected) + 2 else {
                return crowd.fault(\.mismatched, "client \(client): answer \(id) where \(expected + 2) was due, or with another text")
            }
            if window.contains(now) { answersInWindow += 1 }
            if window.contains(stamp.due) { latencies.record(now - stamp.due) }
        }
        if isClosedLoop, isRunning { ask(client, due: now) }
    }
}

extension LoopConfined where Value == Calls {
    /// No more questions; waits for the answers. Those that do not come are lost.
    func drain(seconds: Double = 20) async throws -> Int {
        try await run { $0.stop() }
        _ = try await Generator.wait(seconds: seconds) { try await run { $0.isIdle } }
        return try await run { $0.unanswered }
    }
}

extension Calls {
    var unanswered: Int { zip(asked, answered).reduce(0) { $0 + Int($1.0) - Int($1.1) } }
}
