import DequeModule
import Synchronization
package import Telemetry

/// Traced changes that the database does not have yet. So many are followed at a time, and no more.
struct FollowedSpans: Sendable {
    private static let limit = 1024
    private var waiting: Deque<(sequence: Int64, since: UInt64, context: SpanContext)> = []

    mutating func add(_ contexts: [SpanContext], through sequence: Int64, at time: UInt64) {
        for context in contexts.prefix(Self.limit - waiting.count) { waiting.append((sequence, time, context)) }
    }

    mutating func reached(_ sequence: Int64) -> [(since: UInt64, context: SpanContext)] {
        var done: [(since: UInt64, context: SpanContext)] = []
        while let first = waiting.first, first.sequence <= sequence {
            done.append((first.since, first.context))
            waiting.removeFirst()
        }
        return done
    }
}

extension WriteBehindStore {
    package func follow(_ spans: [SpanContext]) {
        guard settings.tracer != nil, !spans.isEmpty else { return }
        let now = Tracer.now()
        state.withLock { $0.followed.add(spans, through: $0.queue.lastSequence, at: now) }
        endFollowed()
    }

    /// The database has come further.
    func endFollowed() {
        guard let tracer = settings.tracer else { return }
        for (since, context) in state.withLock({ $0.followed.reached($0.queue.flushedThrough) }) {
            tracer.end(tracer.begin("write_behind", in: context, at: since))
        }
    }
}
