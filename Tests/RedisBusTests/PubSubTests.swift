import RedisBus
import Resilience
import Testing

@Suite struct PubSubTests {
    @Test func whatIsPublishedArrivesInOrder() async throws {
        let server = try await RedisServer.start()
        try await withBus(server.configuration) { bus async throws in
            let subscription = try await bus.subscribe(["a", "b"])
            var deliveries = subscription.makeAsyncIterator()
            #expect(await deliveries.next() == .live)
            for number in 0..<500 { #expect(try await bus.publish(number % 2 == 0 ? "a" : "b", [0, UInt8(number % 256), 255]) == 1) }
            for number in 0..<500 {
                #expect(await deliveries.next() == .message(channel: number % 2 == 0 ? "a" : "b", payload: [0, UInt8(number % 256), 255]))
            }
            #expect(try await bus.send(["PUBSUB", "CHANNELS"]).elements?.count == 2)
            #expect(try await bus.publish("plantao:a", []) == 0, "the prefix keeps ours apart")
        }
    }

    @Test func lettingGoOfASubscriptionUnsubscribes() async throws {
        let server = try await RedisServer.start()
        try await withBus(server.configuration) { bus async throws in
            do {
                var deliveries = try await bus.subscribe(["a"]).makeAsyncIterator()
                #expect(await deliveries.next() == .live)
                #expect(bus.status.subscriptions == 1)
            }
            #expect(try await reached { try await bus.send(["PUBSUB", "CHANNELS"]) == .array([]) })
            #expect(bus.status.subscriptions == 0)
        }
    }

    @Test func cancellingTheReaderEndsItsLoop() async throws {
        let server = try await RedisServer.start()
        try await withBus(server.configuration) { bus async throws in
            let reader = Task {
                var count = 0
                for await _ in try await bus.subscribe(["a"]) { count += 1 }
                return count
            }
            #expect(try await reached { try await bus.publish("a", []) == 1 })
            reader.cancel()
            _ = try await reader.value
            #expect(try await reached { try await bus.publish("a", []) == 0 })
        }
    }

    @Test func afterAKilledServerItIsSubscribedAgainAndTellsOfTheGap() async throws {
        let server = try await RedisServer.start()
        try await withBus(server.configuration) { bus in
            var deliveries = try await bus.subscribe(["a", "b"]).makeAsyncIterator()
            #expect(await deliveries.next() == .live)
            _ = try await bus.publish("a", [1])
            #expect(await deliveries.next() == .message(channel: "a", payload: [1]))
            server.kill()
            #expect(await reached { !bus.status.isConnected && !bus.status.isSubscriberConnected })
            // Made while Redis is away: it begins when Redis is there.
            var late = try await bus.subscribe(["b"]).makeAsyncIterator()
            try await server.start()
            #expect(await deliveries.next() == .gap(.reconnected))
            #expect(await late.next() == .live)
            #expect(await reached { (try? await bus.publish("b", [2])) == 1 })
            #expect(await deliveries.next() == .message(channel: "b", payload: [2]))
            #expect(await late.next() == .message(channel: "b", payload: [2]))
        }
    }

    @Test func aListenerWhoseConnectionAloneIsCutTellsOfTheGap() async throws {
        let server = try await RedisServer.start()
        try await withBus(server.configuration) { bus async throws in
            var deliveries = try await bus.subscribe(["a"]).makeAsyncIterator()
            #expect(await deliveries.next() == .live)
            #expect(try await bus.send(["CLIENT", "KILL", "TYPE", "pubsub"]) == .integer(1))
            #expect(await deliveries.next() == .gap(.reconnected))
            #expect(bus.status.breaker.failures == 0)
        }
    }

    @Test func oneThatDoesNotKeepUpIsToldOfTheGapAndHoldsNobodyUp() async throws {
        let server = try await RedisServer.start()
        var configuration = server.configuration
        configuration.maxBufferedMessages = 10
        try await withBus(configuration) { bus in
            var slow = try await bus.subscribe(["a"]).makeAsyncIterator()
            var quick = try await bus.subscribe(["a"]).makeAsyncIterator()
            #expect(await slow.next() == .live)
            #expect(await quick.next() == .live)
            for number in 0..<100 {
                _ = try await bus.publish("a", [UInt8(number)])
                #expect(await quick.next() == .message(channel: "a", payload: [UInt8(number)]))
            }
            for number in 0..<10 { #expect(await slow.next() == .message(channel: "a", payload: [UInt8(number)])) }
            #expect(await slow.next() == .gap(.overflowed))
            _ = try await bus.publish("a", [200])
            #expect(await slow.next() == .message(channel: "a", payload: [200]))
        }
    }

    @Test func aSilentListenerConnectionIsReplaced() async throws {
        let server = try await RedisServer.start()
        var configuration = server.configuration
        configuration.keepalive = .milliseconds(50)
        configuration.commandTimeout = .milliseconds(300)
        configuration.connectTimeout = .milliseconds(300)
        try await withBus(configuration) { bus async throws in
            var deliveries = try await bus.subscribe(["a"]).makeAsyncIterator()
            #expect(await deliveries.next() == .live)
            server.signal(19)
            #expect(await reached { !bus.status.isSubscriberConnected })
            server.signal(18)
            #expect(await deliveries.next() == .gap(.reconnected))
        }
    }

    @Test func channelsAreBounded() async throws {
        let server = try await RedisServer.start()
        var configuration = server.configuration
        configuration.maxChannels = 2
        try await withBus(configuration) { bus async throws in
            let first = try await bus.subscribe(["a", "b"])
            await #expect(throws: RedisError.overloaded) { try await bus.subscribe(["c"]) }
            _ = try await bus.subscribe(["a"])
            first.cancel()
        }
    }

    @Test func aSubscriptionEndsWithItsBus() async throws {
        let server = try await RedisServer.start()
        let subscription = try await withBus(server.configuration) { bus async throws in try await bus.subscribe(["a"]) }
        var count = 0
        for await _ in subscription { count += 1 }
        #expect(count <= 1)
    }
}
