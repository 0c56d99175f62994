import NIOCore
import NIOPosix

/// Publishes stamped notices over REST, on several connections: each is a lane, whose messages are numbered and follow one another. Confined to its event loop.
final class Publisher {
    private enum Pace {
        case stopped
        /// A message each so many nanoseconds; the next one is due then.
        case paced(interval: Double, next: Double)
        /// As many as there can be while at most so many are on their way to the crowd.
        case saturating(window: Int, Crowd)
    }

    let lanes: Int
    private let textBytes: Int
    private let target: Target
    private let loop: any EventLoop
    private var connections: [HTTPLane] = []
    private var sequences: [UInt32]
    /// The lane whose turn it is.
    private var first = 0
    private var pace = Pace.stopped
    /// When the messages are due that wait for a lane.
    private var due = CircularBuffer<Int64>()

    private(set) var sent = 0
    private(set) var acknowledged = 0
    /// From when it was due until the server said that it is on disk.
    private(set) var answers = Histogram()
    private var dueOnLane: [Int64]
    private(set) var faults = Faults()

    init(lanes: Int, textBytes: Int, _ target: Target, on loop: any EventLoop = Generator.loop) {
        self.lanes = lanes
        self.textBytes = textBytes
        self.target = target
        self.loop = loop
        sequences = [UInt32](repeating: 0, count: lanes)
        dueOnLane = [Int64](repeating: 0, count: lanes)
    }

    /// How many messages each lane has sent.
    func sequence(_ lane: Int) -> UInt32 { sequences[lane] }
    var isOpen: Bool { connections.allSatisfy(\.isOpen) || !faults.isClean }
    var isIdle: Bool { due.isEmpty && sent == acknowledged }

    /// Opens the connections; again those that the server has ended while there was nothing to say.
    func open() {
        if connections.isEmpty { connections = (0..<lanes).map { connection(for: $0) } }
        for lane in 0..<lanes where !connections[lane].isOpen {
            let connection = connection(for: lane)
            connections[lane] = connection
            ClientBootstrap(group: loop).channelOption(.tcpOption(.tcp_nodelay), value: 1).connect(to: target.address).assumeIsolated().whenComplete {
                switch $0 {
                case .success(let channel): try? channel.pipeline.syncOperations.addHandler(connection)
                case .failure(let error): self.fail("\(error)")
                }
            }
        }
    }

    private func connection(for lane: Int) -> HTTPLane {
        HTTPLane(path: "/api/v1/notices", token: target.token) { [unowned self] in answered(lane, $0) }
    }

    func close() {
        stop()
        for connection in connections { connection.close() }
    }

    // MARK: How fast

    func pace(messagesPerSecond rate: Double) {
        pace = .paced(interval: 1e9 / rate, next: Double(Stamp.now()))
        tick()
    }

    /// - Parameter window: messages that may be on their way, on average over the clients.
    func saturate(window: Int, _ crowd: Crowd) {
        pace = .saturating(window: window, crowd)
        tick()
    }

    /// So many at once, one after the other on each lane.
    func publish(_ count: Int) {
        due.append(contentsOf: repeatElement(Stamp.now(), count: count))
        pump()
    }

    func stop() {
        pace = .stopped
        due.removeAll()
    }

    private func tick() {
        switch pace {
        case .stopped: return
        case .paced(let interval, var next):
            // Late or not, each message keeps the moment at which it was due.
            let now = Double(Stamp.now())
            while next <= now {
                due.append(Int64(next))
                next += interval
            }
            pace = .paced(interval: interval, next: next)
            pump()
            loop.assumeIsolated().scheduleTask(deadline: .uptimeNanoseconds(UInt64(next))) { self.tick() }
        case .saturating:
            pump()
            loop.assumeIsolated().scheduleTask(in: .microseconds(500)) { self.tick() }
        }
    }

    private func pump() {
        // In turns, so that no connection is silent for as long as a server ends it for.
        let start = first
        for step in 0..<lanes {
            let lane = (start + step) % lanes
            let connection = connections[lane]
            guard connection.isOpen, !connection.isWaiting else { continue }
            guard faults.isClean, let moment = nextDue() else { return }
            first = (lane + 1) % lanes
            sequences[lane] += 1
            sent += 1
            dueOnLane[lane] = moment
            var body = Array(#"{"text":""#.utf8)
            Stamp(lane: lane, sequence: sequences[lane], due: moment).write(to: &body, byteCount: textBytes)
            body.append(contentsOf: Array(#""}"#.utf8))
            connection.post(body)
        }
    }

    private func nextDue() -> Int64? {
        if !due.isEmpty { return due.removeFirst() }
        guard case .saturating(let window, let crowd) = pace else { return nil }
        return sent * crowd.plan.clients - crowd.deliveries < window * crowd.plan.clients ? Stamp.now() : nil
    }

    private func answered(_ lane: Int, _ status: Int) {
        guard status == 201 else { return fail("a notice was answered with \(status)") }
        acknowledged += 1
        answers.record(Stamp.now() - dueOnLane[lane])
        pump()
    }

    private func fail(_ reason: String) {
        pace = .stopped
        faults.refused += 1
        faults.note(reason)
    }
}
