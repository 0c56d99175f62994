import Testing

@testable import RedisBus

@Suite struct StreamTests {
    @Test func twoConsumersShareTheEntries() async throws {
        let server = try await RedisServer.start()
        try await withBus(server.configuration) { bus in
            #expect(try await bus.xgroupCreate("jobs", group: "workers"))
            #expect(try await bus.xgroupCreate("jobs", group: "workers") == false)
            let seen = Shared<[String: [String]]>([:])
            try await withThrowingTaskGroup(of: Void.self) { group in
                for consumer in ["one", "two"] {
                    group.addTask {
                        while true {
                            let entries = try await bus.xreadgroup("workers", consumer: consumer, streams: ["jobs"], count: 5, block: .seconds(20))
                            if entries.contains(where: { $0.fields["end"] != nil }) { return }
                            seen.update { for entry in entries { $0[entry.id, default: []].append(consumer) } }
                            #expect(try await bus.xack("jobs", group: "workers", ids: entries.map(\.id)) == entries.count)
                        }
                    }
                }
                var ids: Set<String> = []
                for number in 0..<200 {
                    ids.insert(try await bus.xadd("jobs", fields: ["n": "\(number)".bytes, "payload": [0, 255, 13, 10]]))
                }
                #expect(await reached { seen.value.count == 200 })
                #expect(Set(seen.value.keys) == ids)
                #expect(seen.value.values.allSatisfy { $0.count == 1 })
                // An entry each; two in one read would end only one.
                for _ in 0..<2 {
                    #expect(await reached { bus.status.blockingReads > 0 })
                    _ = try await bus.xadd("jobs", fields: ["end": []])
                    try await group.next()
                }
            }
            #expect(try await bus.xlen("jobs") == 202)
        }
    }

    @Test func anotherClaimsWhatADeadConsumerHadNotAcknowledged() async throws {
        let server = try await RedisServer.start()
        try await withBus(server.configuration) { bus in
            try await bus.xgroupCreate("jobs", group: "workers")
            var ids: [String] = []
            for number in 0..<10 { ids.append(try await bus.xadd("jobs", fields: ["n": "\(number)".bytes])) }
            #expect(try await bus.xreadgroup("workers", consumer: "dead", streams: ["jobs"], count: 10).map(\.id) == ids)
            try await bus.xack("jobs", group: "workers", ids: Array(ids[..<3]))
            try await bus.xdel("jobs", ids: [ids[3]])
            let pending = try await bus.xpending("jobs", group: "workers")
            #expect(pending == RedisPending(count: 7, first: ids[3], last: ids[9], consumers: ["dead": 7]))

            var claim = try await bus.xautoclaim("jobs", group: "workers", consumer: "alive", minIdle: .seconds(3600), count: 100)
            #expect(claim == RedisClaim(next: "0-0", entries: [], deleted: [ids[3]]), "too young, but for the one that is not there")
            claim = try await bus.xautoclaim("jobs", group: "workers", consumer: "alive", minIdle: .zero, count: 4)
            var claimed = claim.entries
            while claim.next != "0-0" {
                claim = try await bus.xautoclaim("jobs", group: "workers", consumer: "alive", minIdle: .zero, start: claim.next, count: 4)
                claimed += claim.entries
            }
            #expect(claimed.map(\.id) == Array(ids[4...]))
            #expect(claimed.first?.fields == ["n": "4".bytes])
            #expect(try await bus.xack("jobs", group: "workers", ids: claimed.map(\.id)) == 6)
            #expect(try await bus.xpending("jobs", group: "workers").count == 0)
            #expect(try await bus.xreadgroup("workers", consumer: "alive", streams: ["jobs"], count: 10) == [])
        }
    }

    @Test func aFlushedRedisIsRecoveredFrom() async throws {
        let server = try await RedisServer.start()
        try await withBus(server.configuration) { bus in
            try await bus.xgroupCreate("jobs", group: "workers")
            try await bus.xadd("jobs", fields: ["n": "0".bytes])
            let entry = try await bus.xreadgroup("workers", consumer: "c", streams: ["jobs"], count: 1)
            // One that blocks meanwhile hears of it at the latest when something is added.
            async let blocked = bus.xreadgroup("workers", consumer: "c", streams: ["jobs"], count: 1, block: .seconds(30))
            #expect(await reached { bus.status.blockingReads == 1 })
            #expect(try await reached { try await bus.send(["INFO", "clients"]).text?.contains("blocked_clients:1") == true })
            _ = try await bus.send(["FLUSHALL"])
            try await bus.xadd("jobs", fields: ["n": "1".bytes])
            do {
                _ = try await blocked
                Issue.record("read from a group that is gone")
            } catch let error as RedisError { #expect(error.isGroupGone, "\(error)") }
            #expect(try await bus.xack("jobs", group: "workers", ids: entry.map(\.id)) == 0)
            for attempt in [
                { @Sendable in _ = try await bus.xreadgroup("workers", consumer: "c", streams: ["jobs"], count: 1) },
                { @Sendable in _ = try await bus.xreadgroup("workers", consumer: "c", streams: ["jobs"], count: 1, block: .seconds(1)) },
                { @Sendable in _ = try await bus.xautoclaim("jobs", group: "workers", consumer: "c", minIdle: .zero, count: 1) },
                { @Sendable in _ = try await bus.xpending("jobs", group: "workers") },
            ] {
                let error = await #expect(throws: RedisError.self) { try await attempt() }
                #expect(error?.isGroupGone == true)
            }
            #expect(try await bus.xgroupCreate("jobs", group: "workers"))
            let again = try await bus.xreadgroup("workers", consumer: "c", streams: ["jobs"], count: 10, block: .seconds(10))
            #expect(again.map(\.fields) == [["n": "1".bytes]])
        }
    }

    @Test func aBlockedReadHoldsNothingUpAndGivesUpInItsTime() async throws {
        let server = try await RedisServer.start()
        var configuration = server.configuration
        configuration.maxBlockingReads = 2
        try await withBus(configuration) { bus in
            try await bus.xgroupCreate("jobs", group: "workers")
            try await withThrowingTaskGroup(of: [RedisStreamEntry].self) { group in
                for name in ["one", "two"] {
                    group.addTask { try await bus.xreadgroup("workers", consumer: name, streams: ["jobs"], count: 1, block: .seconds(30)) }
                }
                #expect(await reached { bus.status.blockingReads == 2 })
                #expect(try await bus.send(["PING"]) == .status("PONG"))
                await #expect(throws: RedisError.overloaded) {
                    try await bus.xreadgroup("workers", consumer: "three", streams: ["jobs"], count: 1, block: .seconds(30))
                }
                for _ in 0..<2 {
                    try await bus.xadd("jobs", fields: ["a": []])
                    #expect(try await group.next()?.count == 1)
                }
            }
            #expect(try await bus.xreadgroup("workers", consumer: "one", streams: ["jobs"], count: 1, block: .milliseconds(20)) == [])
        }
    }

    @Test func aCancelledReadTakesNoEntryWithIt() async throws {
        let server = try await RedisServer.start()
        try await withBus(server.configuration) { bus in
            try await bus.xgroupCreate("jobs", group: "workers")
            let reader = Task { () throws(RedisError) in
                try await bus.xreadgroup("workers", consumer: "gone", streams: ["jobs"], count: 1, block: .seconds(60))
            }
            #expect(try await reached { try await bus.send(["INFO", "clients"]).text?.contains("blocked_clients:1") == true })
            reader.cancel()
            await #expect(throws: RedisError.cancelled(wasSent: true)) { try await reader.value }
            #expect(try await reached { try await bus.send(["INFO", "clients"]).text?.contains("blocked_clients:0") == true })
            try await bus.xadd("jobs", fields: ["n": "1".bytes])
            #expect(try await bus.xreadgroup("workers", consumer: "here", streams: ["jobs"], count: 1, block: .seconds(10)).count == 1)
            #expect(try await bus.xpending("jobs", group: "workers").consumers == ["here": 1])
        }
    }

    @Test func aBlockedReadEndsWhenTheServerDies() async throws {
        let server = try await RedisServer.start()
        try await withBus(server.configuration) { bus in
            try await bus.xgroupCreate("jobs", group: "workers")
            async let blocked = bus.xreadgroup("workers", consumer: "c", streams: ["jobs"], count: 1, block: .seconds(60))
            #expect(try await reached { try await bus.send(["INFO", "clients"]).text?.contains("blocked_clients:1") == true })
            server.kill()
            do {
                _ = try await blocked
                Issue.record("an answer from the dead")
            } catch let error as RedisError { #expect(error.outcomeIsUnknown) }
            try await server.start()
            #expect(await reached { (try? await bus.xgroupCreate("jobs", group: "workers")) == true })
            try await bus.xadd("jobs", fields: ["n": "1".bytes])
            let entries = try await bus.xreadgroup("workers", consumer: "c", streams: ["jobs"], count: 1, block: .seconds(30))
            #expect(entries.count == 1)
        }
    }

    @Test func aStreamIsKeptAboutAsLongAsAsked() async throws {
        let server = try await RedisServer.start()
        try await withBus(server.configuration) { bus async throws in
            for _ in 0..<1000 { try await bus.xadd("s", maxLength: 100, fields: ["a": []]) }
            #expect((100..<300).contains(try await bus.xlen("s")))
        }
    }
}
