import NIOPosix
import RedisBus
import TestSupport
import Testing

@Suite struct CommandTests {
    @Test func aCommandIsAnsweredAndAnErrorIsThrown() async throws {
        let server = try await RedisServer.start()
        try await withBus(server.configuration) { bus in
            #expect(try await bus.send(["SET", "a", 5]) == .status("OK"))
            #expect(try await bus.send(["GET", "a"]).text == "5")
            #expect(try await bus.send(["GET", "b"]) == .null)
            let error = await #expect(throws: RedisError.self) { try await bus.send(["LPUSH", "a", "x"]) }
            guard case .server(let reply) = error else { throw error! }
            #expect(reply.code == "WRONGTYPE")
            #expect(error?.outcomeIsUnknown == false)
            #expect(bus.status.isConnected)
            #expect(bus.status.pendingCommands == 0 && bus.status.pendingBytes == 0)
        }
    }

    @Test func aPipelineAnswersInOrderErrorsIncluded() async throws {
        let server = try await RedisServer.start()
        try await withBus(server.configuration) { bus in
            let replies = try await bus.pipeline([["SET", "a", "x"], ["INCR", "a"], ["GET", "a"], ["MGET", "a", "b"]])
            #expect(replies.count == 4)
            #expect(replies[0] == .status("OK"))
            guard case .error(let error) = replies[1] else { throw RedisError.unexpectedReply(to: "INCR") }
            #expect(error.code == "ERR")
            #expect(replies[2] == .bulk("x".bytes))
            #expect(replies[3] == .array([.bulk("x".bytes), .null]))
            #expect(try await bus.pipeline([]) == [])
        }
    }

    @Test func tenThousandCommandsOfManyTasksAreAnsweredEachWithItsOwn() async throws {
        let server = try await RedisServer.start()
        try await withBus(server.configuration) { bus in
            try await withThrowingTaskGroup { group in
                for task in 0..<100 {
                    group.addTask {
                        var last = 0
                        for number in 0..<50 {
                            let word = "\(task)/\(number)"
                            #expect(try await bus.send(["ECHO", RedisArgument(word)]).text == word)
                            let replies = try await bus.pipeline([["INCR", "all"], ["ECHO", RedisArgument(word)]])
                            let count = try #require(replies[0].integer)
                            #expect(count > last)
                            last = count
                            #expect(replies[1].text == word)
                        }
                    }
                }
                try await group.waitForAll()
            }
            #expect(try await bus.send(["GET", "all"]).text == "5000")
        }
    }

    @Test func tenThousandAtOnceAreAnsweredInOrder() async throws {
        let server = try await RedisServer.start()
        try await withBus(server.configuration) { bus in
            let replies = try await bus.pipeline((1...10_000).map { ["APPEND", "log", RedisArgument("\($0),")] })
            #expect(replies.compactMap(\.integer) == replies.compactMap(\.integer).sorted())
            #expect(try await bus.send(["GET", "log"]).text == (1...10_000).map { "\($0)," }.joined())
        }
    }

    @Test func bigBinaryValuesComeBackAsTheyWere() async throws {
        let server = try await RedisServer.start()
        try await withBus(server.configuration) { bus in
            var random = SeededGenerator.fresh()
            for size in [0, 1, 16_383, 65_536, 5_000_000, 20_000_000] {
                let first = UInt8.random(in: 0...255, using: &random)
                let value = (0..<size).map { UInt8(truncatingIfNeeded: $0 &* 31) ^ first }
                _ = try await bus.send(["SET", "big", RedisArgument(value)], timeout: .seconds(60))
                #expect(try await bus.send(["GET", "big"], timeout: .seconds(60)).bytes == value)
            }
        }
    }

    @Test func aReplyPastTheBoundEndsTheConnectionAndNotTheBus() async throws {
        let server = try await RedisServer.start()
        var configuration = server.configuration
        configuration.maxReplyBytes = 10_000
        try await withBus(configuration) { bus in
            for _ in 0..<2 { _ = try await bus.send(["APPEND", "big", RedisArgument([UInt8](repeating: 0, count: 6000))]) }
            let error = await #expect(throws: RedisError.self) { try await bus.send(["GET", "big"]) }
            guard case .connectionLost(.oversizedReply) = error else { throw error! }
            #expect(try await bus.send(["PING"]) == .status("PONG"))
        }
    }

    @Test func aCommandPastTheBoundIsNotSent() async throws {
        let server = try await RedisServer.start()
        var configuration = server.configuration
        configuration.maxPendingBytes = 1000
        configuration.maxPendingCommands = 10
        try await withBus(configuration) { bus in
            let error = await #expect(throws: RedisError.self) {
                try await bus.send(["SET", "a", RedisArgument([UInt8](repeating: 0, count: 1001))])
            }
            guard case .tooLarge = error else { throw error! }
            await #expect(throws: RedisError.overloaded) { try await bus.pipeline(Array(repeating: ["PING"], count: 11)) }
            #expect(try await bus.pipeline(Array(repeating: ["PING"], count: 10)).count == 10)
        }
    }

    @Test func commandsOfOthersDoNotWaitForACancelledOne() async throws {
        let server = try await RedisServer.start()
        try await withBus(server.configuration) { bus in
            // A stopped server keeps the command under way.
            _ = try await bus.send(["PING"])
            server.signal(19)
            let task = Task { () throws(RedisError) in try await bus.send(["INCR", "a"], timeout: .seconds(60)) }
            #expect(await reached { bus.status.pendingCommands == 1 })
            task.cancel()
            await #expect(throws: RedisError.cancelled(wasSent: true)) { try await task.value }
            server.signal(18)
            #expect(try await bus.send(["INCR", "a"]) == .integer(2), "Redis carried it out all the same")
        }
    }

    @Test func oneThatIsCancelledAlreadyIsNotSent() async throws {
        let server = try await RedisServer.start()
        try await withBus(server.configuration) { bus async throws in
            let task = Task { () throws(RedisError) in
                withUnsafeCurrentTask { $0?.cancel() }
                return try await bus.send(["INCR", "a"], timeout: .seconds(30))
            }
            await #expect(throws: RedisError.cancelled(wasSent: false)) { try await task.value }
            #expect(try await bus.send(["GET", "a"]) == .null)
        }
    }

    @Test func passwordUserAndDatabaseAreUsed() async throws {
        let server = try await RedisServer.start(["--requirepass", "p@ss word"])
        var configuration = server.configuration
        configuration.password = "p@ss word"
        configuration.database = 3
        try await withBus(configuration) { bus in
            _ = try await bus.send(["SET", "here", "3"])
            _ = try await bus.send(["ACL", "SETUSER", "ana", "on", ">ana's", "~*", "&*", "+@all", "-client"])
            let clients = try await bus.send(["CLIENT", "LIST"]).text ?? ""
            #expect(clients.contains("name=plantao"))
        }
        configuration.user = "ana"
        configuration.password = "ana's"
        try await withBus(configuration) { bus async throws in
            #expect(try await bus.send(["GET", "here"]).text == "3")
            #expect(try await bus.send(["ACL", "WHOAMI"]).text == "ana")
        }
        configuration.database = 0
        try await withBus(configuration) { bus async throws in #expect(try await bus.send(["GET", "here"]) == .null) }
    }

    @Test func aUnixSocketServesAsWell() async throws {
        let server = try await RedisServer.start()
        try await withBus(RedisConfiguration(url: "unix://\(server.socket)?db=2")) { bus async throws in
            #expect(try await bus.send(["PING"]) == .status("PONG"))
        }
    }

    @Test func stoppedItRefusesAndLeavesNoConnection() async throws {
        let server = try await RedisServer.start()
        let stopped = try await withBus(server.configuration) { bus in
            _ = try await bus.subscribe(["a"])
            _ = try await bus.send(["PING"])
            return bus
        }
        await #expect(throws: RedisError.closed) { try await stopped.send(["PING"]) }
        await #expect(throws: RedisError.closed) { try await stopped.subscribe(["a"]) }
        try await withBus(server.configuration) { bus in
            let isAlone = try await reached { try await bus.send(["CLIENT", "LIST"]).text?.split(separator: "\n").count == 1 }
            #expect(isAlone)
        }
    }

    @Test func aCommandGivenBeforeTheStartWaitsForItWithinItsTime() async throws {
        let server = try await RedisServer.start()
        let bus = RedisBus(configuration: server.configuration, logger: .silent, group: MultiThreadedEventLoopGroup.singleton)
        await #expect(throws: RedisError.timedOut(wasSent: false)) { try await bus.send(["PING"], timeout: .milliseconds(20)) }
        async let reply = bus.send(["PING"], timeout: .seconds(60))
        #expect(await reached { bus.status.pendingCommands == 1 })
        let running = Task { await bus.run() }
        #expect(try await reply == .status("PONG"))
        running.cancel()
        await running.value
    }
}
