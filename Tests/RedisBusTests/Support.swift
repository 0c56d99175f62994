import Foundation
import Kernel
import Logging
import NIOCore
import NIOPosix
import RedisBus
import Resilience
import Synchronization
import TestSupport
import Testing

/// A redis-server of a test's own, in a directory of its own. Killed with the last reference to it.
final class RedisServer: Sendable {
    struct DidNotStart: Error { let log: String }

    let port: Int
    private let directory = TemporaryDirectory()
    private let options: [String]
    private let process = Mutex<Process?>(nil)

    /// Below the ephemeral range, so that nobody's outgoing connection sits on it while the server is down.
    private static let lastPort = Mutex(Int.random(in: 20_000..<28_000))

    static func start(_ options: [String] = []) async throws -> RedisServer {
        while true {
            let server = RedisServer(options)
            do throws(DidNotStart) {
                try await server.start()
                return server
            } catch {
                guard error.log.contains("Address already in use") else { throw error }
            }
        }
    }

    private init(_ options: [String]) {
        port = Self.lastPort.withLock {
            $0 += 1
            return $0
        }
        self.options = options
    }

    deinit { process.withLock { if let id = $0?.processIdentifier { _ = Glibc.kill(id, SIGKILL) } } }

    var socket: String { directory.path + "/redis.sock" }
    var configuration: RedisConfiguration {
        var configuration = RedisConfiguration(address: .tcp(host: "127.0.0.1", port: port))
        configuration.breaker.openFor = .milliseconds(200)
        configuration.reconnectFirst = .milliseconds(10)
        configuration.reconnectLimit = .milliseconds(100)
        // On a busy machine a test may stand still for seconds. Those about timeouts set their own.
        configuration.commandTimeout = .seconds(60)
        configuration.connectTimeout = .seconds(20)
        return configuration
    }

    func start() async throws(DidNotStart) {
        let log = directory.path + "/redis.log"
        do {
            try FileManager.default.createDirectory(atPath: directory.path, withIntermediateDirectories: true)
            try? FileManager.default.removeItem(atPath: log)
            let process = Process()
            process.executableURL = URL(fileURLWithPath: "/usr/bin/redis-server")
            process.arguments =
                ["--port", "\(port)", "--bind", "127.0.0.1", "--save", "", "--dir", directory.path, "--logfile", log, "--unixsocket", socket]
                + options
            try process.run()
            self.process.withLock { $0 = process }
        } catch { throw DidNotStart(log: "\(error)") }
        let text = { (try? String(contentsOfFile: log, encoding: .utf8)) ?? "" }
        let isThere = await reached { text().contains("Ready to accept connections") || text().contains("Address already in use") }
        guard isThere, text().contains("Ready to accept connections") else { throw DidNotStart(log: text()) }
    }

    func kill() {
        signal(SIGKILL)
        process.withLock { $0?.waitUntilExit() }
    }

    func signal(_ number: Int32) {
        process.withLock { if let id = $0?.processIdentifier { _ = Glibc.kill(id, number) } }
    }
}

/// Something that listens as Redis does, greets as Redis does, and then answers what the test says.
final class FakeRedis: Sendable {
    let channel: any Channel
    var port: Int { channel.localAddress?.port ?? 0 }
    var configuration: RedisConfiguration { RedisConfiguration(address: .tcp(host: "127.0.0.1", port: port)) }

    init(greeting: String = "+OK\r\n+PONG\r\n", _ answer: @escaping @Sendable (String) -> String) async throws {
        channel = try await ServerBootstrap(group: MultiThreadedEventLoopGroup.singleton)
            .childChannelInitializer { channel in
                channel.eventLoop.makeCompletedFuture {
                    try channel.pipeline.syncOperations.addHandler(Handler { $0.contains("SETNAME") ? greeting : answer($0) })
                }
            }
            .bind(host: "127.0.0.1", port: 0).get()
    }

    deinit { channel.close(promise: nil) }

    private final class Handler: ChannelInboundHandler {
        typealias InboundIn = ByteBuffer
        private let answer: @Sendable (String) -> String
        init(_ answer: @escaping @Sendable (String) -> String) { self.answer = answer }

        func channelRead(context: ChannelHandlerContext, data: NIOAny) {
            let reply = answer(String(buffer: unwrapInboundIn(data)))
            context.writeAndFlush(NIOAny(ByteBuffer(string: reply)), promise: nil)
        }
    }
}

/// Waits, with a generous limit, for something to become true.
func reached(within limit: Duration = .seconds(30), _ condition: () async throws -> Bool) async rethrows -> Bool {
    let end = ContinuousClock.now + limit
    while try await !condition() {
        if ContinuousClock.now > end { return false }
        try? await Task.sleep(for: .milliseconds(5))
    }
    return true
}

/// A bus that runs while `body` does.
func withBus<Result: Sendable>(
    _ configuration: RedisConfiguration,
    environment: Environment = .system,
    _ body: @Sendable (RedisBus) async throws -> Result
) async throws -> Result {
    let bus = RedisBus(configuration: configuration, environment: environment, logger: .silent, group: MultiThreadedEventLoopGroup.singleton)
    return try await withThrowingTaskGroup(of: Void.self) { group in
        group.addTask { await bus.run() }
        defer { group.cancelAll() }
        return try await body(bus)
    }
}

extension String {
    var bytes: [UInt8] { Array(utf8) }
}

/// A value that several tasks of a test look at.
final class Shared<Value: Sendable>: Sendable {
    private let state: Mutex<Value>

    init(_ value: Value) { state = Mutex(value) }

    var value: Value { state.withLock { $0 } }
    func update(_ change: (inout Value) -> Void) { state.withLock { change(&$0) } }
}
