package import Jobs
package import Kernel
package import Storage
import Synchronization

/// How the queues of all businesses are, for operators: looked up now and then, and seldom where that takes long.
package final class QueueCensus: Sendable {
    package struct Report: Sendable {
        /// Messages by queue and shown state.
        package var counts: [QueueName: [String: Int]] = [:]
        /// When the first message fell due that waits for a worker of a queue that does not rest.
        package var oldest: [QueueName: Timestamp] = [:]

        package init() {}
    }

    private struct State {
        var report = Report()
        var dueAt = ContinuousClock.now
    }

    private let state = Mutex(State())
    private let store: any Store
    private let environment: Environment
    private static let pause = Duration.seconds(2)

    init(store: any Store, environment: Environment) {
        self.store = store
        self.environment = environment
    }

    package var report: Report { state.withLock { $0.report } }

    func takeWhenDue() async {
        let start = ContinuousClock.now
        guard state.withLock({ $0.dueAt <= start }) else { return }
        do throws(Refusal) {
            let report = try await take()
            state.withLock { $0.report = report }
        } catch {
            // What was found last stands; `/health` says what is wrong with the store.
        }
        let end = ContinuousClock.now
        state.withLock { $0.dueAt = end + max(Self.pause, (end - start) * 50) }
    }

    private func take() async throws(Refusal) -> Report {
        let now = environment.now()
        var report = Report()
        let open = "('scheduled', 'retryable', 'claimed', 'sending', 'dead', 'quarantined')"
        for row in try await store.rows(
            Query("SELECT state, queue, COUNT(*) FROM queue_messages WHERE state IN \(open) GROUP BY state, queue", kinds: [.text, .text, .integer])
        ) {
            var row = row
            let state = row.text()
            guard let queue = QueueName(rawValue: row.text()) else { continue }
            report.counts[queue, default: [:]][state == "retryable" ? "scheduled" : state, default: 0] += Int(row.integer())
        }
        var resting: Set<String> = []
        for row in try await store.rows(Query("SELECT tenant_id, queue FROM queue_controls WHERE is_set", kinds: [.uuid, .text])) {
            var row = row
            let tenant: TenantID = row.id()
            resting.insert("\(tenant)/\(row.text())")
        }
        for row in try await store.rows(
            Query(
                "SELECT tenant_id, queue, COUNT(*), MIN(run_at) FROM queue_messages WHERE state IN \(QueueMessage.State.waiting) AND run_at <= ? GROUP BY tenant_id, queue",
                [.timestamp(now)],
                kinds: [.uuid, .text, .integer, .timestamp]
            )
        ) {
            var row = row
            let tenant: TenantID = row.id()
            guard let queue = QueueName(rawValue: row.text()) else { continue }
            let (count, first) = (Int(row.integer()), row.timestamp())
            report.counts[queue, default: [:]]["available", default: 0] += count
            report.counts[queue, default: [:]]["scheduled", default: 0] -= count
            if !resting.contains("\(tenant)/\(queue.rawValue)") { report.oldest[queue] = min(report.oldest[queue] ?? .distantFuture, first) }
        }
        return report
    }
}
