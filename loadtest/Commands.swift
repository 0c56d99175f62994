import ArgumentParser
import AsyncHTTPClient
import Client
import Foundation
import NIOCore
import NIOHTTP1
import NIOPosix
import Synchronization
import Wire

/// Measures the change path of a server that it starts for the purpose: commands a second through the gate, and how long each takes until it is on disk and answered.
struct Commands: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        abstract:
            "Commands per second through the gate, over WebSocket RPC, with one client (each change a commit of its own) and with many (group commit)."
    )

    @Option(help: "The server's binary.") var server = ".build/release/plantao"
    @Option(help: "Clients at once, one run for each number. The first one is the baseline.") var clients: [Int] = [1, 16, 64, 256]
    @Option(help: "Seconds for each run.") var seconds = 8.0
    @Option(help: "Conversations that the commands are spread over.") var conversations = 64
    @Option(help: "Where to put the store; on the disk that is to be measured.") var data: String?
    @Option(help: "Also write the figures here, as JSON.") var json: String?

    func run() async throws {
        let directory =
            data ?? FileManager.default.temporaryDirectory.appendingPathComponent("plantao-load-\(ProcessInfo.processInfo.processIdentifier)").path
        let subject = try await Subject.start(binary: server, directory: directory)
        defer {
            subject.stop()
            try? FileManager.default.removeItem(atPath: directory)
        }
        let token = try await subject.login()
        let ids = try await subject.makeConversations(conversations, token)

        print("commands through the gate: conversation.notes by RPC, 200 bytes of text, each answered once it is on disk\n")
        print(Figures.header)
        var all: [Figures] = []
        for count in clients {
            let figures = try await CommandLoad(subject: subject, token: token, conversations: ids, clients: count, seconds: seconds).run()
            print(figures.row(baseline: all.first ?? figures))
            all.append(figures)
        }
        if let json { try Data(Figures.json(all).utf8).write(to: URL(fileURLWithPath: json)) }
    }
}

/// Clients that send notes, each one after the other.
struct CommandLoad {
    let subject: Subject
    let token: String
    let conversations: [String]
    let clients: Int
    let seconds: Double
    /// Commands a second of all clients together; 0 for as many as there can be.
    var rate = 0.0

    func run() async throws -> Figures {
        let group = MultiThreadedEventLoopGroup.singleton
        var sockets: [RealtimeClient] = []
        for _ in 0..<clients { sockets.append(try await RealtimeClient.connect(url: subject.socketURL, token: token, on: group.next())) }
        let before = try await subject.reading(token)
        let tally = Tally()
        let began = ContinuousClock.now
        let end = began + .seconds(seconds)
        let text = String(repeating: "x", count: 200)
        let (conversations, clients, rate) = (conversations, clients, rate)
        try await withThrowingTaskGroup(of: Void.self) { tasks in
            for (index, socket) in sockets.enumerated() {
                let id = conversations[index % conversations.count]
                tasks.addTask {
                    var latencies: [Double] = []
                    var number = 0
                    while ContinuousClock.now < end {
                        // Counted from when it was due, so that a stall is not left out of the figures (coordinated omission).
                        var start = ContinuousClock.now
                        if rate > 0 {
                            start = began + .seconds((Double(number) + Double(index) / Double(clients)) * Double(clients) / rate)
                            if start > ContinuousClock.now { try await Task.sleep(until: start, tolerance: .zero) }
                        }
                        _ = try await socket.rpc("conversation.notes", data: ["conversation_id": .string(id), "text": .string(text)])
                        latencies.append((ContinuousClock.now - start).inMilliseconds)
                        number += 1
                    }
                    tally.add(latencies)
                }
            }
            try await tasks.waitForAll()
        }
        let elapsed = (ContinuousClock.now - began).inMilliseconds / 1000
        let after = try await subject.reading(token)
        for socket in sockets { await socket.close() }
        return Figures(clients: clients, seconds: elapsed, latencies: tally.sorted, before: before, after: after)
    }
}

/// Latencies of all clients.
private final class Tally: Sendable {
    private let latencies = Mutex<[Double]>([])
    func add(_ more: [Double]) { latencies.withLock { $0 += more } }
    var sorted: [Double] { latencies.withLock { $0.sorted() } }
}

extension Duration {
    var inMilliseconds: Double { Double(components.seconds) * 1000 + Double(components.attoseconds) / 1e15 }
}
