import Foundation
import Jobs
import Kernel
import Logging
import RedisBus
import Synchronization
import Tenancy

/// Redis Streams as the way from a queue to its workers: a stream for each queue, `queue:<name>`, with one group, and a ticket for each message that is due.
///
///     entry    tenant, message: the ids
///
/// What Redis loses is offered again, what it brings twice is claimed once: the rows are the truth. Without Redis tickets go straight to a worker.
/// Consumers are never deleted: one that has died has entries pending, which others take over (XAUTOCLAIM).
final class QueueStreams: QueueTransport {
    private let bus: RedisBus
    private let consumer: String
    private let rules: QueueRules
    private let logger: Logger
    private let gates = Mutex(0)

    private static let group = "workers"
    /// A stream is so long at the most, about; what goes from it before anybody took it is offered again.
    private static let maxEntries = 100_000
    private static let batch = 32
    /// Tickets in the hands of this process, at the most.
    private static let maxAtOnce = 256
    private static let streams = QueueName.allCases.map { "queue:" + $0.rawValue }

    /// - Parameter dataDirectory: names this consumer, so that it is the same after a restart.
    init(bus: RedisBus, dataDirectory: String, rules: QueueRules, logger: Logger) {
        self.bus = bus
        self.rules = rules
        self.logger = logger
        let path = URL(fileURLWithPath: dataDirectory).standardizedFileURL.path
        consumer = "\(ProcessInfo.processInfo.hostName):\(path)"
    }

    func publish(_ ticket: QueueTicket) async -> Bool {
        guard bus.status.isConnected else { return false }
        do throws(RedisError) {
            try await bus.xadd(
                "queue:" + ticket.queue.rawValue,
                maxLength: Self.maxEntries,
                fields: ["tenant": Array(ticket.tenant.description.utf8), "message": Array(ticket.message.description.utf8)]
            )
            return true
        } catch {
            // It may be there all the same: then it comes once more, and finds the message claimed.
            return false
        }
    }

    func run(take: @escaping @Sendable (QueueTicket) async -> Void, lost: @escaping @Sendable () async -> Void) async {
        await withDiscardingTaskGroup { group in
            var isReady = false
            var claimAt = ContinuousClock.now
            while !Task.isCancelled {
                do throws(RedisError) {
                    if !isReady {
                        for stream in Self.streams { try await bus.xgroupCreate(stream, group: Self.group) }
                        isReady = true
                        // Whatever Redis has forgotten is published again; what it has not is claimed once.
                        await lost()
                    }
                    if claimAt <= .now {
                        claimAt = .now + rules.lease / 2
                        for stream in Self.streams { try await claimAbandoned(stream) { begin($0, take, &group) } }
                    }
                    while gates.withLock({ $0 }) >= Self.maxAtOnce { try? await Task.sleep(for: .milliseconds(20)) }
                    let entries = try await bus.xreadgroup(
                        Self.group,
                        consumer: consumer,
                        streams: Self.streams,
                        count: Self.batch,
                        block: .seconds(1)
                    )
                    for entry in entries { begin(entry, take, &group) }
                } catch {
                    if error.isGroupGone { logger.warning("Redis has lost the queues' groups; they are made again") }
                    isReady = false
                    try? await Task.sleep(for: error.isGroupGone ? .milliseconds(10) : .milliseconds(500))
                }
            }
        }
    }

    /// What a consumer has had for long without a word.
    private func claimAbandoned(_ stream: String, _ begin: (RedisStreamEntry) -> Void) async throws(RedisError) {
        var start = "0-0"
        repeat {
            let claim = try await bus.xautoclaim(
                stream,
                group: Self.group,
                consumer: consumer,
                minIdle: rules.lease,
                start: start,
                count: Self.batch
            )
            for entry in claim.entries { begin(entry) }
            start = claim.next
        } while start != "0-0" && !Task.isCancelled
    }

    private func begin(_ entry: RedisStreamEntry, _ take: @escaping @Sendable (QueueTicket) async -> Void, _ group: inout DiscardingTaskGroup) {
        gates.withLock { $0 += 1 }
        group.addTask {
            if let ticket = QueueTicket(entry) { await take(ticket) }
            // Done with, whatever became of it: what is not acknowledged is only brought once more.
            _ = try? await self.bus.xack(entry.stream, group: Self.group, ids: [entry.id])
            _ = try? await self.bus.xdel(entry.stream, ids: [entry.id])
            self.gates.withLock { $0 -= 1 }
        }
    }
}

extension QueueTicket {
    fileprivate init?(_ entry: RedisStreamEntry) {
        guard let queue = QueueName(rawValue: String(entry.stream.dropFirst("queue:".count))),
            let tenant = entry.fields["tenant"].flatMap({ TenantID(String(decoding: $0, as: UTF8.self)) }),
            let message = entry.fields["message"].flatMap({ QueueMessageID(String(decoding: $0, as: UTF8.self)) })
        else { return nil }
        self.init(queue: queue, tenant: tenant, message: message)
    }
}
