import NIOCore
import NIOPosix

/// Clients that ask whose turn it is, each again once it was answered, and keep the books: every number once, none left out, every turn in its order. Confined to
/// its event loop.
final class TurnClients {
    /// The contract's `da-vez` (contracts/consultores.md "Distribuição").
    private static let path = "/consultor/da-vez?idioma=pt"

    private let target: Target
    private let clients: Int
    private let apiKey: String
    private let loop: any EventLoop
    private var lanes: [HTTPLane] = []
    private var askedAt: [Int64]
    private var isAsking = false
    private var waiting = 0
    /// The consultor that each number was given with.
    private var given: [Int: Int] = [:]
    private var window: Range<Int64>?

    private(set) var answers = 0
    private(set) var latencies = Histogram()
    private(set) var faults = Faults()
    var isOpen: Bool { lanes.count == clients && lanes.allSatisfy(\.isOpen) }
    var isIdle: Bool { waiting == 0 }

    init(_ clients: Int, apiKey: String, _ target: Target, on loop: any EventLoop = Generator.loop) {
        self.clients = clients
        self.apiKey = apiKey
        self.target = target
        self.loop = loop
        askedAt = [Int64](repeating: 0, count: clients)
    }

    func open() {
        for client in 0..<clients {
            let lane = HTTPLane(getting: Self.path, header: "api-key: \(apiKey)") { [unowned self] in answered(client, $0) }
            lanes.append(lane)
            ClientBootstrap(group: loop).channelOption(.tcpOption(.tcp_nodelay), value: 1).connect(to: target.address).assumeIsolated().whenComplete {
                switch $0 {
                case .success(let channel): try? channel.pipeline.syncOperations.addHandler(lane)
                case .failure(let error): self.fail("\(error)")
                }
            }
        }
    }

    func begin() {
        isAsking = true
        for client in 0..<clients { ask(client) }
    }

    /// What is answered from now on counts.
    func beginWindow() { window = Stamp.now()..<Int64.max }
    func endWindow() { window = nil }

    func stop() { isAsking = false }

    func close() { for lane in lanes { lane.close() } }

    private func ask(_ client: Int) {
        askedAt[client] = Stamp.now()
        waiting += 1
        lanes[client].get()
    }

    private func answered(_ client: Int, _ status: Int) {
        waiting -= 1
        guard status == 200, let (consultor, number) = turn(lanes[client].body) else {
            return fail("a turn was answered with \(status): \(String(buffer: lanes[client].body).suffix(200))")
        }
        if given.updateValue(consultor, forKey: number) != nil {
            faults.duplicated += 1
            faults.note("the number \(number) was given twice")
        }
        if let window, window.contains(askedAt[client]) {
            answers += 1
            latencies.record(Stamp.now() - askedAt[client])
        }
        if isAsking, faults.isClean { ask(client) }
    }

    private func turn(_ body: ByteBuffer) -> (consultor: Int, number: Int)? {
        let text = String(buffer: body)
        guard let id = text.firstRange(of: #""consultor_id":"#), let mark = text.firstRange(of: "\"#") else { return nil }
        guard let consultor = Int(text[id.upperBound...].prefix { $0.isNumber }), let number = Int(text[mark.upperBound...].prefix { $0.isNumber })
        else { return nil }
        return (consultor, number)
    }

    /// All of them were online all the time and speak the language: they take turns in the order of their ids, for ever.
    func check(consultores: [Int]) {
        for number in 1...max(1, given.count) {
            guard let consultor = given[number] else {
                faults.lost += 1
                faults.note("nobody was given the number \(number) of \(given.count)")
                continue
            }
            if consultor != consultores[(number - 1) % consultores.count] {
                faults.reordered += 1
                faults.note("the turn \(number) went to \(consultor), and was \(consultores[(number - 1) % consultores.count])'s")
            }
        }
    }

    private func fail(_ reason: String) {
        isAsking = false
        faults.refused += 1
        faults.note(reason)
    }
}
