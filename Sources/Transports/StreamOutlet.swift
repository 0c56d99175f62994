import NIOCore
import Realtime
import Synchronization

// The way of a session's frames into an HTTP response that goes on. Confined to its event loop.
//
//     flowing ──more than `pausesAt` bytes are on their way──▶ paused ──half of it has been written──▶ flowing
//
// Paused, things wait in an `OutboundQueue`, as they do for a slow socket.
final class StreamOutlet {
    /// Bytes handed to the response and not written, past which the client is slow.
    private static let pausesAt = 64 << 10

    private let encoding: StreamEncoding
    private let continuation: AsyncStream<[UInt8]>.Continuation
    private let queued: QueuedBytes
    private let maxQueuedBytes: Int
    private var pending: [UInt8] = []
    private var queue: OutboundQueue<[UInt8]>?
    private var isPaused = false
    private(set) var isOpen = true

    init(
        _ encoding: StreamEncoding,
        _ continuation: AsyncStream<[UInt8]>.Continuation,
        _ queued: QueuedBytes,
        loop: any EventLoop,
        maxQueuedBytes: Int
    ) {
        self.encoding = encoding
        self.continuation = continuation
        self.queued = queued
        self.maxQueuedBytes = maxQueuedBytes
        let outlet = NIOLoopBound(Weak(self), eventLoop: loop)
        queued.whenDrained { loop.execute { outlet.value.outlet?.goOn() } }
    }

    private struct Weak {
        weak var outlet: StreamOutlet?
        init(_ outlet: StreamOutlet) { self.outlet = outlet }
    }

    var hasUnflushed: Bool { !pending.isEmpty }

    // MARK: In

    /// - Parameters:
    ///   - id: what a browser says in `Last-Event-ID` when it comes back after this event.
    ///   - delivery: what it is of; `nil` for what the client itself is owed.
    func put(_ json: some Collection<UInt8>, id: [UInt8]? = nil, _ delivery: Delivery? = nil) -> OutboundVerdict {
        guard isOpen else { return .settled }
        guard isPaused else {
            write(json, id, to: &pending)
            return .settled
        }
        var event: [UInt8] = []
        write(json, id, to: &event)
        var queue = queue.take() ?? OutboundQueue(limit: maxQueuedBytes)
        defer { self.queue = queue }
        return if let delivery { queue.put(event, delivery) } else { queue.put(event) }
    }

    /// How long a browser waits before it comes back.
    func putRetry(milliseconds: Int) { if isOpen, encoding == .events { pending += "retry: \(milliseconds)\n\n".utf8 } }

    /// Something that means nothing, so that nobody on the way takes the connection for dead.
    func putComment() { if isOpen, !isPaused { pending += ":\n\n".utf8 } }

    private func write(_ json: some Collection<UInt8>, _ id: [UInt8]?, to bytes: inout [UInt8]) {
        switch encoding {
        case .lines:
            bytes += json
            bytes.append(UInt8(ascii: "\n"))
        case .events:
            if let id {
                bytes += "id: ".utf8
                bytes += id
                bytes.append(UInt8(ascii: "\n"))
            }
            bytes += "data: ".utf8
            bytes += json
            bytes += "\n\n".utf8
        }
    }

    // MARK: Out

    func flush() {
        guard isOpen, !pending.isEmpty else { return }
        isPaused = queued.add(pending.count, resumesAt: Self.pausesAt / 2) > Self.pausesAt
        continuation.yield(pending)
        pending = []
    }

    /// The next portion of what waits.
    private func goOn() {
        guard isOpen, isPaused else { return }
        isPaused = false
        guard var queue = queue.take() else { return }
        while pending.count < Self.pausesAt, let event = queue.next() { pending += event }
        // Anything larger than a portion has gone alone, and what comes later waits behind it.
        if !queue.isEmpty { self.queue = queue }
        flush()
        if !isPaused, self.queue != nil { isPaused = true }
    }

    /// What waits is dropped; the last word goes all the same.
    func putLast(_ json: some Collection<UInt8>) {
        guard isOpen else { return }
        queue = nil
        write(json, nil, to: &pending)
        flush()
    }

    func finish() {
        isOpen = false
        queue = nil
        continuation.finish()
    }
}

/// Bytes on their way, counted on one thread and uncounted on another.
final class QueuedBytes: Sendable {
    private struct State {
        var count = 0
        /// `nil` where nobody waits for it.
        var resumesAt: Int?
        var drained: @Sendable () -> Void = {}
    }
    private let state = Mutex(State())

    /// - Parameter body: called whenever no more than `resumesAt` are left after more had been there.
    func whenDrained(_ body: @escaping @Sendable () -> Void) { state.withLock { $0.drained = body } }

    /// - Returns: how many there are now.
    func add(_ bytes: Int, resumesAt limit: Int) -> Int {
        state.withLock { state in
            state.count += bytes
            if state.count > limit { state.resumesAt = limit }
            return state.count
        }
    }

    func remove(_ bytes: Int) {
        let drained = state.withLock { state -> (@Sendable () -> Void)? in
            state.count -= bytes
            guard let limit = state.resumesAt, state.count <= limit else { return nil }
            state.resumesAt = nil
            return state.drained
        }
        drained?()
    }
}

extension [UInt8]: OutboundMessage {
    var byteCount: Int { count }
}
