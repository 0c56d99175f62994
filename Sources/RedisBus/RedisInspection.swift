package import Kernel
import Logging
import NIOCore
import NIOPosix
import Resilience

/// A look at Redis from outside, for `plantao doctor`.
package struct RedisInspection: Sendable {
    /// As in `7.0.15`.
    package let version: String
    /// The shortest of a few.
    package let roundTrip: Duration
    /// Redis' clock minus ours; known to about half a round trip.
    package let clockSkew: Duration
    /// Keys may be thrown out when memory is short.
    package let evicts: Bool
    package let evictionPolicy: String

    /// Names the server, says what is wrong and what to do, without a full stop at the end. Holds no secret.
    package struct Failure: Error, Sendable, CustomStringConvertible {
        package let description: String
    }

    /// Connects, asks and closes again, within `connectTimeout` and a few `commandTimeout` at most.
    /// - Throws: `Failure`.
    package static func inspect(_ configuration: RedisConfiguration, environment: Environment = .system) async throws(Failure) -> RedisInspection {
        var configuration = configuration
        // The first attempt counts.
        configuration.breaker.failureThreshold = 1
        configuration.commandTimeout = min(configuration.commandTimeout, configuration.connectTimeout + .seconds(1))
        let bus = RedisBus(
            configuration: configuration,
            environment: environment,
            logger: Logger(label: "redis") { _ in SwiftLogNoOpLogHandler() },
            group: MultiThreadedEventLoopGroup.singleton
        )
        let found = await withTaskGroup { group in
            group.addTask {
                await bus.run()
                return Result<RedisInspection, RedisError>?.none
            }
            group.addTask { await ask(bus, environment) }
            defer { group.cancelAll() }
            while let result = await group.next() { if let result { return result } }
            return .failure(.closed)
        }
        do throws(RedisError) { return try found.get() } catch {
            throw Failure(description: "\(configuration.redacted): \(bus.status.lastError ?? "\(error)")")
        }
    }

    private static func ask(_ bus: RedisBus, _ environment: Environment) async -> Result<RedisInspection, RedisError> {
        do throws(RedisError) {
            let clock = ContinuousClock()
            // INFO rather than CONFIG GET, which hosted servers forbid.
            let info = try await bus.send(["INFO"]).expected("INFO", \.text)
            var best: (roundTrip: Duration, skew: Duration)?
            for _ in 0..<5 {
                let start = clock.now
                let reply = try await bus.send(["TIME"])
                let roundTrip = clock.now - start
                let ours = environment.now()
                let parts = try reply.expected("TIME", \.elements).compactMap { $0.text.flatMap { Int64($0) } }
                guard parts.count == 2 else { throw .unexpectedReply(to: "TIME") }
                let theirs = Timestamp(milliseconds: parts[0] * 1000 + parts[1] / 1000) + roundTrip / 2
                if best.map({ roundTrip < $0.roundTrip }) ?? true { best = (roundTrip, theirs - ours) }
            }
            guard let best else { throw .unexpectedReply(to: "TIME") }
            let policy = field("maxmemory_policy", of: info) ?? "unknown"
            return .success(
                RedisInspection(
                    version: field("redis_version", of: info) ?? "unknown",
                    roundTrip: best.roundTrip,
                    clockSkew: best.skew,
                    evicts: policy != "noeviction" && policy != "unknown",
                    evictionPolicy: policy
                )
            )
        } catch { return .failure(error) }
    }

    /// INFO is lines of `name:value`.
    private static func field(_ name: String, of info: String) -> String? {
        info.split(whereSeparator: \.isNewline).first { $0.hasPrefix(name + ":") }.map { String($0.dropFirst(name.count + 1)) }
    }
}
