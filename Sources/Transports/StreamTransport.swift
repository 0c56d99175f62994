import Kernel
import NIOCore
import Realtime
import Synchronization
import Wire

/// A session whose frames go into an HTTP response, and whose commands come in requests of their own (`/emulation`). Confined to its event loop.
final class StreamTransport: SessionTransport, TimedConnection {
    private let encoding: StreamEncoding
    private let services: SessionServices
    private let continuation: AsyncStream<[UInt8]>.Continuation
    /// Bytes given to the response and not written yet.
    private let queued: QueuedBytes
    private var pending: [UInt8] = []
    private var isOpen = true
    private(set) var session: ClientSession?
    /// Told once, when the session has ended.
    private let whenEnded: () -> Void

    init(
        _ encoding: StreamEncoding,
        services: SessionServices,
        loop: any EventLoop,
        secret: String,
        continuation: AsyncStream<[UInt8]>.Continuation,
        queued: QueuedBytes,
        whenEnded: @escaping () -> Void
    ) {
        self.encoding = encoding
        self.services = services
        self.continuation = continuation
        self.queued = queued
        self.whenEnded = whenEnded
        session = ClientSession(services: services, loop: loop, transport: self, emulationSession: secret)
    }

    func received(_ commands: [UInt8]) { session?.received(ByteBuffer(bytes: commands)) }

    /// The client has gone.
    func ended() {
        guard isOpen else { return }
        isOpen = false
        session?.ended()
        continuation.finish()
        whenEnded()
    }

    func timePassed(_ now: Timestamp) { session?.timePassed(now) }
    func stop() { session?.close(.shutdown) }
    func close(_ sessions: Set<LoginSessionID>) {
        guard let credential = session?.credential, sessions.contains(credential.session) else { return }
        session?.close(.invalidToken)
    }

    // MARK: SessionTransport

    var hasUnflushed: Bool { !pending.isEmpty }

    func deliver(_ message: inout PreparedMessage, _ delivery: Delivery) -> Bool {
        let wasDirty = hasUnflushed
        // Several frames may have come together, a line each.
        for line in message.payload.readableBytesView.split(separator: UInt8(ascii: "\n")) { put(line) }
        return !wasDirty && hasUnflushed
    }

    func write(_ reply: CentrifugeReply) { put(reply.bytes) }

    private func put(_ json: some Collection<UInt8>) {
        guard isOpen else { return }
        switch encoding {
        case .lines:
            pending += json
            pending.append(UInt8(ascii: "\n"))
        case .events:
            pending += "data: ".utf8
            pending += json
            pending += "\n\n".utf8
        }
    }

    func flush() {
        guard isOpen, !pending.isEmpty else { return }
        let waiting = queued.add(pending.count)
        continuation.yield(pending)
        // What was there before counts, and not the frame itself, as with a WebSocket.
        let before = waiting - pending.count
        pending = []
        if before > services.settings.maxQueuedBytes { session?.close(.slow) }
    }

    func close(_ disconnect: CentrifugeDisconnect) {
        // An EventSource comes back by itself, after the time it has last been told (WHATWG HTML §9.2.3).
        if encoding == .events, isOpen, disconnect.isReconnectable { pending += "retry: \(services.reconnectDelay().inMilliseconds)\n\n".utf8 }
        put(CentrifugeReply.push(.disconnect(disconnect)).bytes)
        flush()
        ended()
    }
}

/// Bytes on their way, counted on one thread and uncounted on another.
final class QueuedBytes: Sendable {
    private let count = Atomic<Int>(0)
    /// - Returns: how many there are now.
    func add(_ bytes: Int) -> Int { count.wrappingAdd(bytes, ordering: .relaxed).newValue }
    func remove(_ bytes: Int) { count.wrappingSubtract(bytes, ordering: .relaxed) }
}
