import ArgumentParser
import Client
import Foundation
import NIOCore
import NIOPosix
import TestSupport

/// How long commands take while the database takes its time: the same server and load, behind a fast Postgres and behind one that is slowed down.
struct SlowDatabase: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        abstract:
            "Latency of acknowledged commands with a fast Postgres and with one that takes 200 ms longer for each statement, in turns in the same run."
    )

    @Option(help: "The server's binary.") var server = ".build/release/plantao"
    @Option(help: "Milliseconds added to each statement.") var delay: Int64 = 200
    @Option(help: "Clients at once.") var clients = 16
    @Option(help: "Commands a second of all of them together; 0 for as many as there can be.") var rate = 1000.0
    @Option(help: "Seconds for each turn.") var seconds = 8.0
    @Option(help: "Turns of each.") var turns = 3
    @Option(help: "Also write the figures here, as JSON.") var json: String?

    func run() async throws {
        let cluster = PostgresCluster(isDurable: true)
        defer { cluster.kill() }
        let proxy = try await DelayProxy.start(to: cluster.port)
        let directory = TemporaryDirectory()
        let subject = try await Subject.start(
            binary: server,
            directory: directory.path,
            environment: ["DATABASE_URL": "postgresql://postgres:secret@127.0.0.1:\(proxy.port)/postgres"]
        )
        defer { subject.stop() }
        let token = try await subject.login()
        let ids = try await subject.makeConversations(64, token)
        let load = CommandLoad(subject: subject, token: token, conversations: ids, clients: clients, seconds: seconds, rate: rate)
        _ = try await load.run()
        var all: [(name: String, figures: Figures)] = []
        for turn in 1...turns {
            FileHandle.standardError.write(Data("turn \(turn) of \(turns)\n".utf8))
            for (name, milliseconds) in [("fast", 0), ("slow", delay)] {
                proxy.delay(milliseconds: milliseconds)
                all.append((name, try await load.run()))
            }
        }
        print(
            "conversation.notes by RPC, \(clients) clients, \(rate > 0 ? "\(Int(rate)) commands/s" : "flat out"); Postgres as it is, and with \(delay) ms added to each statement\n"
        )
        print("| Postgres | commands/s | p50 ms | p99 ms | max ms |\n| --- | ---: | ---: | ---: | ---: |")
        for (name, figures) in all {
            print(String(format: "| %@ | %.0f | %.2f | %.2f | %.1f |", name, figures.commandsPerSecond, figures.p50, figures.p99, figures.worst))
        }
        func middle(_ name: String) -> Double { all.filter { $0.name == name }.map(\.figures.p99).sorted()[turns / 2] }
        let (fast, slow) = (middle("fast"), middle("slow"))
        print(String(format: "\np99, the middle of %d turns: %.2f ms fast, %.2f ms slow: %.2f×", turns, fast, slow, slow / fast))
        if let json { try Data(Figures.json(all.map(\.figures)).utf8).write(to: URL(fileURLWithPath: json)) }
    }
}

/// A way to a TCP port of this machine on which every burst towards it may be held up for a while.
final class DelayProxy: Sendable {
    let port: Int
    private let channel: any Channel
    private let wait: NIOLoopBoundBox<Int64>
    private let loop: any EventLoop

    private init(port: Int, channel: any Channel, wait: NIOLoopBoundBox<Int64>, loop: any EventLoop) {
        self.port = port
        self.channel = channel
        self.wait = wait
        self.loop = loop
    }

    /// From now on.
    func delay(milliseconds: Int64) { loop.execute { self.wait.value = milliseconds } }

    static func start(to port: Int) async throws -> DelayProxy {
        let loop = MultiThreadedEventLoopGroup.singleton.next()
        let wait = NIOLoopBoundBox<Int64>.makeBoxSendingValue(0, eventLoop: loop)
        let channel = try await ServerBootstrap(group: loop, childGroup: loop).childChannelInitializer { client in
            ClientBootstrap(group: loop).connect(host: "127.0.0.1", port: port).flatMapThrowing { server in
                try client.pipeline.syncOperations.addHandler(Pipe(to: server, wait: wait))
                try server.pipeline.syncOperations.addHandler(Pipe(to: client, wait: nil))
            }
        }.bind(host: "127.0.0.1", port: 0).get()
        return DelayProxy(port: channel.localAddress?.port ?? 0, channel: channel, wait: wait, loop: loop)
    }

    private final class Pipe: ChannelInboundHandler {
        typealias InboundIn = ByteBuffer
        private let other: any Channel
        private let wait: NIOLoopBoundBox<Int64>?

        init(to other: any Channel, wait: NIOLoopBoundBox<Int64>?) {
            self.other = other
            self.wait = wait
        }

        func channelRead(context: ChannelHandlerContext, data: NIOAny) {
            let buffer = unwrapInboundIn(data)
            guard let milliseconds = wait?.value, milliseconds > 0 else { return other.writeAndFlush(buffer, promise: nil) }
            context.eventLoop.scheduleTask(in: .milliseconds(milliseconds)) { [other] in other.writeAndFlush(buffer, promise: nil) }
        }

        func channelInactive(context: ChannelHandlerContext) { other.close(promise: nil) }
        func errorCaught(context: ChannelHandlerContext, error: any Error) { context.close(promise: nil) }
    }
}
