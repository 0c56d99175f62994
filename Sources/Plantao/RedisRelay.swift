import DequeModule
import HTTPAPI
import Kernel
import Logging
import RedisBus
import Resilience
import ServiceLifecycle
import Synchronization
import Wire

/// What the gate has released, for those beyond this process: pushes on the Redis channel `push:<tenant>`, and a notice of each job that became runnable on
/// the Redis stream `jobs`.
///
///     push     {"server": …, "n": …, "channel": "conversation:…", "data": {…}}     `n` counts a tenant's pushes by one for each server: a gap is a loss
///     job      server, tenant, id, kind, lane, run_at (milliseconds)
///
/// Everything is carried out in this process in any case: with Redis away nobody waits, and what was to be relayed meanwhile is counted and left out. The rows
/// are the truth.
final class RedisRelay: Service {
    private enum Item: Sendable {
        case push(tenant: TenantID, channel: String, payload: [UInt8])
        case job(Job)
    }

    private struct State {
        var queue: Deque<Item> = []
        var bytes = 0
        /// Of the last push of each tenant.
        var numbers: [TenantID: Int64] = [:]
        var relayed = 0
        var dropped = 0
    }

    let bus: RedisBus
    private let logger: Logger
    /// This run of this server.
    private let server: String
    private let state = Mutex(State())
    private let rings: AsyncStream<Void>
    private let bell: AsyncStream<Void>.Continuation

    /// Waiting for Redis, at the most; what comes on top is left out.
    private static let maxWaiting = 20_000
    private static let maxWaitingBytes = 32 << 20
    /// Commands in one write.
    private static let batch = 500
    /// Notices of jobs that the stream keeps, about.
    private static let jobNotices = 100_000

    init(bus: RedisBus, environment: Environment, logger: Logger) {
        self.bus = bus
        self.logger = logger
        let id: Identifier<RedisRelay> = environment.moment().id()
        server = id.description
        (rings, bell) = AsyncStream.makeStream(bufferingPolicy: .bufferingNewest(1))
    }

    /// From the gate, in its order; never waits.
    func publish(_ events: [Event], tenant: TenantID) {
        // A visitor's view of a conversation goes to that visitor, who is connected here, and to nobody else.
        for event in events where event.audience == .staff {
            put(.push(tenant: tenant, channel: event.channel, payload: event.payload), bytes: event.payload.count)
        }
    }

    func runnable(_ jobs: [Job]) { for job in jobs where job.state == .ready { put(.job(job), bytes: 200) } }

    private func put(_ item: Item, bytes: Int) {
        let isFirst = state.withLock { state in
            guard state.queue.count < Self.maxWaiting, state.bytes + bytes <= Self.maxWaitingBytes else {
                if case .push(let tenant, _, _) = item { state.numbers[tenant, default: 0] += 1 }
                state.dropped += 1
                return false
            }
            state.queue.append(item)
            state.bytes += bytes
            return state.queue.count == 1
        }
        if isFirst { bell.yield() }
    }

    func run() async throws {
        await cancelWhenGracefulShutdown {
            await withDiscardingTaskGroup { group in
                group.addTask { await self.bus.run() }
                group.addTask { for await _ in self.rings { await self.drain() } }
            }
        }
    }

    private func drain() async {
        while !Task.isCancelled {
            let commands = state.withLock { state in
                let items = state.queue.prefix(Self.batch)
                let commands = items.map { item in command(item, &state) }
                state.queue.removeFirst(items.count)
                if state.queue.isEmpty { state.bytes = 0 }
                return commands
            }
            if commands.isEmpty { return }
            do throws(RedisError) {
                let replies = try await bus.pipeline(commands)
                let refused = replies.count { if case .error = $0 { true } else { false } }
                state.withLock {
                    $0.relayed += replies.count - refused
                    $0.dropped += refused
                }
            } catch {
                state.withLock { $0.dropped += commands.count }
            }
        }
    }

    private func command(_ item: Item, _ state: inout State) -> [RedisArgument] {
        switch item {
        case .push(let tenant, let channel, let payload):
            state.numbers[tenant, default: 0] += 1
            state.bytes -= payload.count
            var writer = JSONWriter(capacity: payload.count + 128)
            let number = state.numbers[tenant] ?? 0
            writer.object {
                $0.field("server", server)
                $0.field("n", number)
                $0.field("channel", channel)
                $0.field("data", raw: payload)
            }
            return ["PUBLISH", RedisArgument("\(bus.prefix)push:\(tenant)"), RedisArgument(writer.bytes)]
        case .job(let job):
            state.bytes -= 200
            return [
                "XADD", RedisArgument("\(bus.prefix)jobs"), "MAXLEN", "~", RedisArgument(Self.jobNotices), "*", "server", RedisArgument(server),
                "tenant",
                RedisArgument(job.tenant.description), "id", RedisArgument(job.id.description), "kind", RedisArgument(job.kind), "lane",
                RedisArgument(job.lane), "run_at", RedisArgument(job.runAt.milliseconds),
            ]
        }
    }

    var report: API.RelayReport {
        let (waiting, relayed, dropped) = state.withLock { ($0.queue.count, $0.relayed, $0.dropped) }
        let status = bus.status
        return API.RelayReport(
            isConnected: status.isConnected,
            breaker: status.breaker.state.rawValue,
            timesOpened: status.breaker.timesOpened,
            waiting: waiting,
            relayed: relayed,
            dropped: dropped
        )
    }
}
