import Kernel
import RedisBus
import Testing

@Suite struct RedisInspectionTests {
    @Test func itTellsVersionRoundTripClockAndEviction() async throws {
        let server = try await RedisServer.start()
        let found = try await RedisInspection.inspect(server.configuration)
        #expect(found.version.hasPrefix("7."))
        #expect(found.roundTrip > .zero && found.roundTrip < .seconds(10))
        #expect(abs(found.clockSkew.inMilliseconds) < 1000)
        #expect(!found.evicts)
        #expect(found.evictionPolicy == "noeviction")

        let evicting = try await RedisServer.start(["--maxmemory", "100mb", "--maxmemory-policy", "allkeys-lru"])
        let other = try await RedisInspection.inspect(evicting.configuration)
        #expect(other.evicts)
        #expect(other.evictionPolicy == "allkeys-lru")
    }

    @Test func aClockThatIsWrongShows() async throws {
        let server = try await RedisServer.start()
        let slow = Environment(now: { Environment.system.now() - .seconds(60) }, randomBits: Environment.system.randomBits)
        let found = try await RedisInspection.inspect(server.configuration, environment: slow)
        #expect(abs(found.clockSkew.inMilliseconds - 60_000) < 1000)
    }

    @Test func itLeavesNoConnectionBehind() async throws {
        let server = try await RedisServer.start()
        _ = try await RedisInspection.inspect(server.configuration)
        try await withBus(server.configuration) { bus async throws in
            #expect(try await reached { try await bus.send(["CLIENT", "LIST"]).text?.split(separator: "\n").count == 1 })
        }
    }

    private func failure(_ configuration: RedisConfiguration) async -> String {
        do {
            _ = try await RedisInspection.inspect(configuration)
            return "none"
        } catch { return error.description }
    }

    @Test func whatIsWrongIsSaidWithoutTheSecret() async throws {
        let server = try await RedisServer.start(["--requirepass", "right"])
        var configuration = server.configuration
        #expect(await failure(configuration).contains("NOAUTH"))
        configuration.password = "s3cret"
        #expect(await failure(configuration).contains("WRONGPASS"))
        #expect(await !failure(configuration).contains("s3cret"))
        configuration.password = "right"
        configuration.database = 99
        #expect(await failure(configuration).contains("no database 99"))
        #expect(await failure(configuration).hasPrefix("redis://127.0.0.1:\(server.port)/99: "))
        server.kill()
        #expect(await failure(configuration).contains("connection refused"))

        let open = try await RedisServer.start()
        configuration = open.configuration
        configuration.password = "s3cret"
        #expect(await failure(configuration).contains("no password set"))
        open.signal(19)
        configuration.connectTimeout = .milliseconds(200)
        #expect(await failure(configuration).contains("no answer in time"))

        #expect(await failure(RedisConfiguration(address: .unix(path: "/nowhere/redis.sock"))).contains("no such file"))
        #expect(
            await failure(RedisConfiguration(address: .tcp(host: "no-such-host.invalid", port: 1))).contains(
                "redis://no-such-host.invalid:1/0: nothing answers there"
            )
        )
    }
}
