import Kernel
import RedisBus
import Resilience
import TestSupport
import Testing

@Suite struct OutageTests {
    /// What became of many commands.
    private struct Tally: Sendable {
        var answered = 0
        var unknown = 0
        var notDone = 0

        mutating func count(_ error: RedisError) { if error.outcomeIsUnknown { unknown += 1 } else { notDone += 1 } }
    }

    /// Tasks that increment `key` until told to stop; every one of their commands ends in one of three ways, or the test does not end.
    private static func increment(_ key: String, on bus: RedisBus, tasks: Int, while goOn: @escaping @Sendable () -> Bool) async -> Tally {
        await withTaskGroup { group in
            for _ in 0..<tasks {
                group.addTask {
                    var tally = Tally()
                    while goOn() {
                        do throws(RedisError) {
                            _ = try await bus.send(["INCR", RedisArgument(key)])
                            tally.answered += 1
                        } catch {
                            tally.count(error)
                            await Task.yield()
                        }
                    }
                    return tally
                }
            }
            return await group.reduce(into: Tally()) {
                $0.answered += $1.answered
                $0.unknown += $1.unknown
                $0.notDone += $1.notDone
            }
        }
    }

    @Test func aKilledServerAnswersNobodyTwiceAndHangsNobodyAndComesBackByItself() async throws {
        let server = try await RedisServer.start()
        try await withBus(server.configuration) { bus in
            let isOver = Shared(false)
            try await withThrowingTaskGroup(of: Void.self) { group in
                group.addTask {
                    let tally = await Self.increment("n", on: bus, tasks: 50) { !isOver.value }
                    #expect(tally.answered > 0)
                }
                defer { isOver.update { $0 = true } }
                #expect(await reached { bus.status.isConnected })
                for _ in 1...3 {
                    #expect(await reached { (try? await bus.send(["GET", "n"]).text) != nil })
                    let opened = bus.status.breaker.timesOpened
                    server.kill()
                    #expect(await reached { bus.status.breaker.timesOpened > opened && !bus.status.isConnected })
                    #expect(await reached { bus.status.lastError?.contains("connection refused") == true })
                    #expect(await reached { (try? await bus.send(["PING"])) == nil }, "refused, and not kept waiting for ever")
                    try await server.start()
                    #expect(await reached { bus.status.isConnected && bus.status.breaker.state == .closed })
                }
            }
            #expect(try await bus.send(["PING"]) == .status("PONG"))
        }
    }

    @Test func nothingIsSentTwiceWhenConnectionsBreak() async throws {
        let server = try await RedisServer.start()
        var configuration = server.configuration
        // This is about connections that break, not about giving up.
        configuration.breaker.failureThreshold = 1_000_000
        try await withBus(configuration) { bus in
            try await withBus(server.configuration) { killer in
                let kills = Shared(0)
                async let tally = Self.increment("n", on: bus, tasks: 50) { kills.value < 50 }
                while kills.value < 50 {
                    let killed = try await killer.send(["CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes"])
                    if killed != .integer(0) { kills.update { $0 += 1 } }
                }
                let (answered, unknown) = await (tally.answered, tally.unknown)
                let value = try await Int(killer.send(["GET", "n"]).text ?? "") ?? 0
                #expect(answered > 0)
                #expect((answered...(answered + unknown)).contains(value), "\(answered) answered, \(unknown) unknown, \(value) done")
            }
        }
    }

    @Test func aStoppedServerTimesOutOpensTheBreakerAndIsFoundAgain() async throws {
        let server = try await RedisServer.start()
        var configuration = server.configuration
        configuration.commandTimeout = .milliseconds(300)
        configuration.connectTimeout = .milliseconds(300)
        try await withBus(configuration) { bus async throws in
            _ = try await bus.send(["PING"], timeout: .seconds(30))
            server.signal(19)
            let error = await #expect(throws: RedisError.self) { try await bus.send(["INCR", "a"]) }
            #expect(error == .timedOut(wasSent: true))
            #expect(await reached { bus.status.breaker.timesOpened >= 1 })
            #expect(bus.status.lastError?.contains("no answer in time") == true)
            server.signal(18)
            #expect(await reached { bus.status.breaker.state == .closed && bus.status.isConnected })
            #expect(try await bus.send(["PING"], timeout: .seconds(30)) == .status("PONG"))
        }
    }

    @Test func whileTheBreakerIsOpenCommandsFailAtOnceAndByHandItCloses() async throws {
        let server = try await RedisServer.start()
        server.kill()
        var configuration = server.configuration
        configuration.breaker = .redis
        // Held still: the breaker stays open for as long as the test likes.
        let time = ManualEnvironment()
        try await withBus(configuration, environment: time.environment) { bus in
            #expect(await reached { bus.status.breaker.state == .open })
            for _ in 0..<100 {
                let error = await #expect(throws: RedisError.self) { try await bus.send(["PING"], timeout: .seconds(3600)) }
                guard case .unavailable(let retryAfter) = error else { throw error! }
                #expect(retryAfter > .seconds(1) && retryAfter <= .seconds(30))
            }
            let error = await #expect(throws: RedisError.self) {
                try await bus.xreadgroup("g", consumer: "c", streams: ["s"], count: 1, block: .seconds(60))
            }
            guard case .unavailable = error else { throw error! }
            try await server.start()
            await #expect(throws: RedisError.self) { try await bus.send(["PING"], timeout: .seconds(3600)) }
            #expect(bus.status.breaker.timesOpened == 1)
            bus.carryOut(.reset)
            #expect(await reached { bus.status.isConnected })
            #expect(try await bus.send(["PING"]) == .status("PONG"))
        }
    }

    @Test func whatIsNotSentYetWaitsForTheConnection() async throws {
        let server = try await RedisServer.start()
        server.kill()
        var configuration = server.configuration
        configuration.breaker.failureThreshold = 1_000_000
        try await withBus(configuration) { bus async throws in
            async let reply = bus.send(["ECHO", "hello"], timeout: .seconds(60))
            #expect(await reached { bus.status.pendingCommands == 1 })
            await #expect(throws: RedisError.timedOut(wasSent: false)) { try await bus.send(["PING"], timeout: .milliseconds(50)) }
            try await server.start()
            #expect(try await reply.text == "hello")
        }
    }

    @Test func somethingElseThatListensThereIsNamed() async throws {
        let other = try await FakeRedis(greeting: "HTTP/1.1 400 Bad Request\r\n\r\n") { _ in "" }
        try await withBus(other.configuration) { bus in
            #expect(await reached { bus.status.lastError?.contains("does not speak Redis' protocol") == true })
        }
    }

    @Test func anAnswerToNothingEndsTheConnection() async throws {
        let fake = try await FakeRedis { _ in "+ONE\r\n+TWO\r\n" }
        try await withBus(fake.configuration) { bus async throws in
            #expect(try await bus.send(["X"]) == .status("ONE"))
            #expect(await reached { bus.status.lastError?.contains("an answer to nothing") == true })
        }
    }

    @Test func aSilentConnectionIsReplacedThoughTheServerLives() async throws {
        let fake = try await FakeRedis { $0.contains("SWALLOW") ? "" : "+PONG\r\n" }
        var configuration = fake.configuration
        configuration.commandTimeout = .milliseconds(100)
        try await withBus(configuration) { bus async throws in
            #expect(await reached { bus.status.isConnected })
            await #expect(throws: RedisError.timedOut(wasSent: true)) { try await bus.send(["SWALLOW"]) }
            #expect(await reached { bus.status.breaker.failures == 0 && bus.status.isConnected })
            #expect(try await bus.send(["PING"], timeout: .seconds(30)) == .status("PONG"))
        }
    }
}
