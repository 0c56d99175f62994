import Synchronization

#if canImport(Glibc)
    import Glibc
#else
    import Darwin
#endif

// Spans through the change path: request → turn → gate → journal → fan-out → write-behind.
//
// Off unless there is somebody to send them to: then there is no tracer, and all that is left is the question whether there is one. Within a task the current span
// is a task-local value; where work changes hands (the gate, the flusher) it goes along as a value.
//
// Invariant: nobody ever waits for a span. What is finished is put in a buffer of bounded size, and left out and counted while that is full.

/// Which span something belongs to (W3C Trace Context, https://www.w3.org/TR/trace-context/).
package struct SpanContext: Sendable, Hashable {
    package let traceHigh: UInt64
    package let traceLow: UInt64
    package let span: UInt64
    package let isSampled: Bool

    package init(traceHigh: UInt64, traceLow: UInt64, span: UInt64, isSampled: Bool) {
        self.traceHigh = traceHigh
        self.traceLow = traceLow
        self.span = span
        self.isSampled = isSampled
    }

    /// `00-<32 hex>-<16 hex>-<2 hex>`. Later versions may have more behind it; zeros and anything else are no context (§3.2.2).
    package init?(traceparent text: String) {
        let parts = text.split(separator: "-", omittingEmptySubsequences: false)
        guard parts.count >= 4, parts[0].utf8.count == 2, parts[0] != "ff", parts[0] != "00" || parts.count == 4, parts[1].utf8.count == 32,
            parts[2].utf8.count == 16, parts[3].utf8.count == 2,
            parts.prefix(4).allSatisfy({ $0.utf8.allSatisfy { (0x30...0x39).contains($0) || (0x61...0x66).contains($0) } }),
            let high = UInt64(parts[1].prefix(16), radix: 16), let low = UInt64(parts[1].suffix(16), radix: 16), high | low != 0,
            let span = UInt64(parts[2], radix: 16), span != 0, let flags = UInt8(parts[3], radix: 16)
        else { return nil }
        self.init(traceHigh: high, traceLow: low, span: span, isSampled: flags & 1 == 1)
    }

    package var traceparent: String { "00-\(traceID)-\(spanID)-\(isSampled ? "01" : "00")" }
    package var traceID: String { Self.hex(traceHigh) + Self.hex(traceLow) }
    package var spanID: String { Self.hex(span) }

    package static func hex(_ value: UInt64) -> String {
        let digits = String(value, radix: 16)
        return String(repeating: "0", count: 16 - digits.count) + digits
    }
}

package enum Trace {
    /// The span that the current task works for.
    @TaskLocal package static var current: SpanContext?
}

package struct Span: Sendable {
    package enum Kind: Int, Sendable {
        case inside = 1
        case server, client, producer, consumer
    }

    package enum Value: Sendable, Equatable {
        case text(String)
        case number(Int)
    }

    package let context: SpanContext
    package let parent: UInt64?
    package let name: String
    package let kind: Kind
    /// Nanoseconds since 1970.
    package let start: UInt64
    package fileprivate(set) var end: UInt64 = 0
    package var attributes: [(String, Value)] = []
    package var hasFailed = false
}

package final class Tracer: Sendable {
    private struct State {
        var finished: [Span] = []
        var dropped = 0
        var taken = 0
    }

    private let state = Mutex(State())
    private let capacity: Int
    /// Of traces that begin here, out of 2^63: the others have ids and no spans.
    private let threshold: UInt64

    /// - Parameter ratio: the share of traces that are kept, of those that begin here. Those that come in say themselves whether they are.
    package init(ratio: Double = 1, capacity: Int = 8192) {
        self.capacity = capacity
        threshold = ratio >= 1 ? .max : UInt64(max(0, ratio) * 0x1p63)
    }

    package static func now() -> UInt64 {
        var time = timespec()
        clock_gettime(CLOCK_REALTIME, &time)
        return UInt64(time.tv_sec) * 1_000_000_000 + UInt64(time.tv_nsec)
    }

    /// - Parameter parent: `nil` where a trace begins.
    package func begin(_ name: String, _ kind: Span.Kind = .inside, in parent: SpanContext?, at start: UInt64 = Tracer.now()) -> Span {
        var random = SystemRandomNumberGenerator()
        let span = UInt64.random(in: 1 ... .max, using: &random)
        let context: SpanContext
        if let parent {
            context = SpanContext(traceHigh: parent.traceHigh, traceLow: parent.traceLow, span: span, isSampled: parent.isSampled)
        } else {
            let low = UInt64.random(in: 1 ... .max, using: &random)
            // OpenTelemetry's TraceIdRatioBased: by the id, so that all who see the trace decide alike.
            let isSampled = threshold == .max || low >> 1 < threshold
            context = SpanContext(traceHigh: .random(in: 0 ... .max, using: &random), traceLow: low, span: span, isSampled: isSampled)
        }
        return Span(context: context, parent: parent?.span, name: name, kind: kind, start: start)
    }

    package func end(_ span: consuming Span, at end: UInt64 = Tracer.now()) {
        guard span.context.isSampled else { return }
        span.end = end
        let finished = span
        state.withLock { state in
            guard state.finished.count < capacity else {
                state.dropped += 1
                return
            }
            state.finished.append(finished)
        }
    }

    /// Those that are finished, at most so many, oldest first.
    package func take(_ count: Int) -> [Span] {
        state.withLock { state in
            let spans = Array(state.finished.prefix(count))
            state.finished.removeFirst(spans.count)
            state.taken += spans.count
            return spans
        }
    }

    /// A batch that nobody took.
    package func lost(_ count: Int) { state.withLock { $0.dropped += count } }

    package var counters: (taken: Int, dropped: Int, waiting: Int) { state.withLock { ($0.taken, $0.dropped, $0.finished.count) } }
}

/// What there is to tell by: counters always, spans when somebody wants them.
package struct Telemetry: Sendable {
    package let metrics: Metrics
    package let tracer: Tracer?

    package init(metrics: Metrics = Metrics(), tracer: Tracer? = nil) {
        self.metrics = metrics
        self.tracer = tracer
    }

    /// Runs `body` as a span of its own, within the current one. Without a tracer it just runs it; without a current span as well, unless it `begins` a trace.
    package func span<T, Failure: Error>(
        _ name: String,
        _ kind: Span.Kind = .inside,
        begins: Bool = false,
        _ body: () async throws(Failure) -> T
    ) async throws(Failure) -> T {
        guard let tracer else { return try await body() }
        let parent = Trace.current
        guard parent != nil || begins else { return try await body() }
        var span = tracer.begin(name, kind, in: parent)
        let result: Result<T, Failure> = await Trace.$current.withValue(span.context) {
            do throws(Failure) { return .success(try await body()) } catch { return .failure(error) }
        }
        if case .failure = result { span.hasFailed = true }
        tracer.end(span)
        return try result.get()
    }
}
