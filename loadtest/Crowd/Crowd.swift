import NIOCore
import NIOPosix

/// Many clients on one event loop: they connect, subscribe, and keep a ledger of what they hear. Confined to that loop.
final class Crowd: SocketOwner {
    struct Plan: Sendable {
        var clients: Int
        /// Client `i` subscribes to `channels[i % channels.count]`; to nothing when there are none.
        var channels: [String] = []
        /// The `type` of the publications that carry a stamp. Others count by their offset only.
        var stampedType = ""
        /// Senders whose stamps these clients hear.
        var lanes = 1
        /// Sockets in the opening at once.
        var maxOpening = 200
        /// The kernel's buffer for what has arrived and not been read; nil leaves it to the kernel.
        var receiveBufferBytes: Int32?
    }

    private enum Phase { case absent, opening, ready, lost }

    private struct Client {
        var phase = Phase.absent
        var socket: CrowdSocket?
        var epoch = ""
        var attempts = 0
    }

    let plan: Plan
    private let target: Target
    private let loop: any EventLoop
    private var stampedType: TypeMark
    private var clients: [Client]
    private var ledger: Ledger
    private var nextToOpen = 0
    private var opening = 0
    private var isEnding = false

    private(set) var ready = 0
    /// Stamped messages received, by all clients together.
    private(set) var deliveries = 0
    /// Of those, the ones received within `window`, and their lines' bytes.
    private(set) var deliveriesInWindow = 0
    private(set) var bytesInWindow = 0
    /// Pushes of any kind, stamped or not.
    private(set) var pushes = 0
    private(set) var pings = 0
    private(set) var retries = 0
    /// Messages handed over on coming back, and clients that got exactly what they missed.
    private(set) var recoveredMessages = 0
    private(set) var recoveredClients = 0
    /// How long each client took from the beginning of `comeBack` until it had what it missed.
    private(set) var recoveryTimes = Histogram()
    private var cameBackAt: Int64 = 0
    /// Close codes and reasons of sockets that ended unasked.
    private(set) var endings: [String: Int] = [:]
    private var crowdFaults = Faults()

    /// From when to when it is measured, on the clock of `Stamp.now`: deliveries by their arrival, latencies by when the message was due.
    var window: Range<Int64> = 0..<0
    private(set) var latencies = Histogram()
    /// Gets the answers to commands that the crowd itself did not send: those from 3 on.
    var onReply: ((CrowdSocket, Int, UnsafeRawBufferPointer, Int64) -> Void)?
    /// Sockets that end are no fault, as with clients that do not read.
    var mayBeDisconnected = false

    init(_ plan: Plan, _ target: Target, on loop: any EventLoop = Generator.loop) {
        self.plan = plan
        self.target = target
        self.loop = loop
        stampedType = TypeMark(plan.stampedType)
        clients = [Client](repeating: Client(), count: plan.clients)
        ledger = Ledger(clients: plan.clients, lanes: plan.lanes)
    }

    var faults: Faults { crowdFaults + ledger.faults }
    var isReady: Bool { ready == plan.clients }
    var hasFailed: Bool { !crowdFaults.isClean }

    // MARK: What a scenario does

    func open() {
        nextToOpen = 0
        openNext(upTo: plan.maxOpening)
    }

    /// All connections end at once, without a word.
    func cutAll() {
        for index in clients.indices {
            let socket = clients[index].socket.take()
            clients[index].phase = .absent
            clients[index].attempts = 0
            socket?.cut()
        }
        ready = 0
    }

    /// All clients connect at once, asking for what they missed.
    func comeBack() {
        cameBackAt = Stamp.now()
        nextToOpen = 0
        openNext(upTo: plan.clients)
    }

    func socket(_ client: Int) -> CrowdSocket? { clients[client].socket }

    func read(_ doesRead: Bool) { for client in clients { client.socket?.reads(doesRead) } }

    func beginWindow(_ range: Range<Int64>) {
        window = range
        latencies = Histogram()
        (deliveriesInWindow, bytesInWindow) = (0, 0)
    }

    /// Nothing more is to come: what is missing is lost.
    func settle(sent: (_ client: Int, _ lane: Int) -> UInt32) { ledger.settle(clients: 0..<plan.clients, sent: sent) }

    func end() {
        isEnding = true
        onReply = nil
        for client in clients { client.socket?.cut() }
    }

    /// A fault that a scenario has found itself.
    func fault(_ member: WritableKeyPath<Faults, Int>, _ note: @autoclosure () -> String) {
        crowdFaults[keyPath: member] += 1
        crowdFaults.note(note())
    }

    // MARK: Opening

    private func openNext(upTo limit: Int) {
        while opening < limit, nextToOpen < plan.clients {
            opening += 1
            open(client: nextToOpen)
            nextToOpen += 1
        }
    }

    private func open(client number: Int) {
        clients[number].phase = .opening
        clients[number].attempts += 1
        let bootstrap = ClientBootstrap(group: loop)
            .connectTimeout(.seconds(20))
            .channelOption(.tcpOption(.tcp_nodelay), value: 1)
            // A port is only taken once the connection is made, so that each address has all of them for each server (ip(7), IP_BIND_ADDRESS_NO_PORT).
            .channelOption(ChannelOptions.Types.SocketOption(level: .ip, name: .init(rawValue: 24)), value: 1)
            .bind(to: target.sourceAddress(number))
        if let bytes = plan.receiveBufferBytes { _ = bootstrap.channelOption(.socketOption(.so_rcvbuf), value: .init(bytes)) }
        bootstrap.connect(to: target.address).assumeIsolated().whenComplete { result in
            switch result {
            case .success(let channel):
                let socket = CrowdSocket(number: number, owner: self)
                self.clients[number].socket = socket
                do { try channel.pipeline.syncOperations.addHandler(socket) } catch { self.failed(number, "\(error)") }
            case .failure(let error): self.failed(number, "\(error)")
            }
        }
    }

    /// An attempt to connect came to nothing. It is made again a few times: a full queue of connections is not the end.
    private func failed(_ number: Int, _ reason: String) {
        clients[number].socket = nil
        guard !isEnding, clients[number].attempts < 6 else {
            clients[number].phase = .lost
            return fault(\.disconnected, "client \(number) cannot connect: \(reason)")
        }
        retries += 1
        loop.assumeIsolated().scheduleTask(in: .milliseconds(.random(in: 50...400))) { self.open(client: number) }
    }

    private func becameReady(_ number: Int) {
        clients[number].phase = .ready
        clients[number].attempts = 0
        ready += 1
        opening -= 1
        openNext(upTo: plan.maxOpening)
    }

    // MARK: SocketOwner

    func socketOpened(_ socket: CrowdSocket) {
        var commands = Array(#"{"id":1,"connect":{"token":"\#(target.token)"}}"#.utf8)
        if !plan.channels.isEmpty {
            let channel = plan.channels[socket.number % plan.channels.count]
            let client = clients[socket.number]
            let since = client.epoch.isEmpty ? "" : #","recover":true,"epoch":"\#(client.epoch)","offset":\#(ledger.offset(of: socket.number))"#
            commands += Array("\n{\"id\":2,\"subscribe\":{\"channel\":\"\(channel)\"\(since)}}".utf8)
        }
        socket.write(commands)
    }

    func socketHeard(_ socket: CrowdSocket, push line: UnsafeRawBufferPointer, at now: Int64) {
        pushes += 1
        if let offset = CentrifugeLine.offset(ofPush: line) { ledger.received(socket.number, offset: offset) }
        guard !plan.stampedType.isEmpty, stampedType.isIn(line), let (stamp, _) = Stamp.find(in: line) else { return }
        ledger.received(socket.number, stamp)
        deliveries += 1
        if window.contains(now) {
            deliveriesInWindow += 1
            bytesInWindow += line.count
        }
        if window.contains(stamp.due) { latencies.record(now - stamp.due) }
    }

    func socketHeard(_ socket: CrowdSocket, reply id: Int, _ line: UnsafeRawBufferPointer, at now: Int64) {
        switch id {
        case 1, 2:
            if CentrifugeLine.isError(line) { return fault(\.refused, String(decoding: line.prefix(200), as: UTF8.self)) }
            if id == 1 {
                if plan.channels.isEmpty { becameReady(socket.number) }
            } else {
                subscribed(socket.number, line, now)
            }
        default: onReply?(socket, id, line, now)
        }
    }

    private func subscribed(_ number: Int, _ line: UnsafeRawBufferPointer, _ now: Int64) {
        guard let answer = try? SubscribeAnswer(line) else { return fault(\.violations, "no answer to a subscription") }
        if !clients[number].epoch.isEmpty { recovered(number, answer, now) }
        clients[number].epoch = answer.epoch
        ledger.subscribed(number, at: answer.offset)
        becameReady(number)
    }

    private func recovered(_ number: Int, _ answer: SubscribeAnswer, _ now: Int64) {
        guard answer.isRecovered else { return fault(\.unrecovered, "client \(number) was given a snapshot") }
        recoveredClients += 1
        recoveryTimes.record(now - cameBackAt)
        var count: UInt64 = 0
        answer.publications.withUnsafeBytes { text in
            var at = 0
            while let (stamp, end) = Stamp.find(in: text, from: at) {
                ledger.received(number, stamp)
                at = end
                count += 1
            }
        }
        recoveredMessages += Int(count)
        deliveries += Int(count)
        if ledger.offset(of: number) + count != answer.offset {
            fault(\.offsets, "client \(number): \(count) messages from \(ledger.offset(of: number)) to \(answer.offset)")
        }
    }

    func socketPinged(_ socket: CrowdSocket) { pings += 1 }

    func socketViolated(_ socket: CrowdSocket, _ reason: String) { fault(\.violations, reason) }

    func socketEnded(_ socket: CrowdSocket, code: UInt16?, reason: String) {
        guard clients[socket.number].socket === socket, !isEnding else { return }
        switch clients[socket.number].phase {
        case .opening: failed(socket.number, reason)
        case .ready:
            clients[socket.number].socket = nil
            clients[socket.number].phase = .lost
            ready -= 1
            endings["\(code.map(String.init) ?? "") \(reason)", default: 0] += 1
            if !mayBeDisconnected { fault(\.disconnected, "client \(socket.number): \(code.map(String.init) ?? "no close code") \(reason)") }
        case .absent, .lost: clients[socket.number].socket = nil
        }
    }
}
