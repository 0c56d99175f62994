import Realtime
import Synchronization

/// The way of a session's frames into an HTTP response that goes on. Confined to its event loop.
final class StreamOutlet {
    private let encoding: StreamEncoding
    private let continuation: AsyncStream<[UInt8]>.Continuation
    /// Bytes given to the response and not written yet.
    private let queued: QueuedBytes
    private var pending: [UInt8] = []
    private(set) var isOpen = true

    init(_ encoding: StreamEncoding, _ continuation: AsyncStream<[UInt8]>.Continuation, _ queued: QueuedBytes) {
        self.encoding = encoding
        self.continuation = continuation
        self.queued = queued
    }

    var hasUnflushed: Bool { !pending.isEmpty }

    /// - Parameter id: what a browser says in `Last-Event-ID` when it comes back after this event.
    func put(_ json: some Collection<UInt8>, id: [UInt8]? = nil) {
        guard isOpen else { return }
        switch encoding {
        case .lines:
            pending += json
            pending.append(UInt8(ascii: "\n"))
        case .events:
            if let id {
                pending += "id: ".utf8
                pending += id
                pending.append(UInt8(ascii: "\n"))
            }
            pending += "data: ".utf8
            pending += json
            pending += "\n\n".utf8
        }
    }

    /// How long a browser waits before it comes back.
    func putRetry(milliseconds: Int) { if isOpen, encoding == .events { pending += "retry: \(milliseconds)\n\n".utf8 } }

    /// Something that means nothing, so that nobody on the way takes the connection for dead.
    func putComment() { if isOpen { pending += ":\n\n".utf8 } }

    /// - Returns: how many bytes were still on their way.
    @discardableResult func flush() -> Int {
        guard isOpen, !pending.isEmpty else { return 0 }
        let waiting = queued.add(pending.count)
        continuation.yield(pending)
        // What was there before counts, and not the frame itself, as with a WebSocket.
        let before = waiting - pending.count
        pending = []
        return before
    }

    func finish() {
        isOpen = false
        continuation.finish()
    }
}

/// Bytes on their way, counted on one thread and uncounted on another.
final class QueuedBytes: Sendable {
    private let count = Atomic<Int>(0)
    /// - Returns: how many there are now.
    func add(_ bytes: Int) -> Int { count.wrappingAdd(bytes, ordering: .relaxed).newValue }
    func remove(_ bytes: Int) { count.wrappingSubtract(bytes, ordering: .relaxed) }
}
