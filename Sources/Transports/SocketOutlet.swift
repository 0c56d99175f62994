import Glibc
import NIOCore
import Realtime
import Wire

// The way out of one WebSocket. Confined to its event loop.
//
//     flowing ──a flush that the socket does not take whole──▶ stalled ──NIO has written the rest, nothing waits──▶ flowing
//                                                                 └──NIO has written the rest, something waits: the next portion goes──▶ stalled or flowing
//
// Flowing, a frame is given to the kernel straight away at the end of its turn, one system call with nothing in between: in a fan-out to thousands this is most of
// what a delivery costs beyond the kernel's own work. Stalled, what the kernel did not take lies in NIO's buffer, at most one portion, and everything else waits in
// an `OutboundQueue`, where it is counted, and where newer things may replace older ones.
//
// A frame is made when it is handed on and not when it is queued: one compressed with a context of its own must not be left out afterwards (RFC 7692 §7.1.1).
final class SocketOutlet {
    /// What NIO is given at a time, once the socket is slow.
    private static let portionBytes = 64 << 10

    private static let flags = Int32(MSG_NOSIGNAL) | Int32(MSG_DONTWAIT)

    private let deflate: WebSocketDeflate?
    private let maxQueuedBytes: Int
    private let context: ChannelHandlerContext
    /// `nil` where there is none, or something else than NIO's socket takes the bytes.
    private let socket: NIOBSDSocket.Handle?
    /// This turn's frames. Most turns have one.
    private var frame: ByteBuffer?
    private var moreFrames: [ByteBuffer] = []
    /// NIO may still hold the answer to the handshake, or more: the first flush goes behind it.
    private var isStalled = false
    private var hasFlowed = false
    private var queue: OutboundQueue<PreparedMessage>?
    private var waitingPong: ByteBuffer?
    private var isClosed = false
    /// Called when the socket turns out to be broken.
    private let broken: () -> Void

    init(_ context: ChannelHandlerContext, deflate: WebSocketDeflate?, maxQueuedBytes: Int, broken: @escaping () -> Void) {
        self.context = context
        self.deflate = deflate
        self.maxQueuedBytes = maxQueuedBytes
        self.broken = broken
        socket = try? context.pipeline.syncOperations.withUnsafeTransportIfAvailable(of: NIOBSDSocket.Handle.self) { $0 }
    }

    var hasUnflushed: Bool { frame != nil }

    // MARK: In

    /// Something for many connections.
    func put(_ message: inout PreparedMessage, _ delivery: Delivery) -> OutboundVerdict {
        guard !isStalled else { return wait(&message) { $0.put($1, delivery) } }
        add(message.frame(for: deflate))
        return .settled
    }

    /// Something that this client is owed.
    func put(_ reply: [UInt8]) -> OutboundVerdict {
        guard !isStalled else {
            var message = PreparedMessage(text: reply)
            return wait(&message) { $0.put($1) }
        }
        add(deflate?.text(reply) ?? WebSocketFrame.text(reply))
        return .settled
    }

    /// The answer to a ping. Of several pings, only the latest need be answered (RFC 6455 §5.5.3).
    func pong(_ payload: ByteBuffer) {
        if isStalled { waitingPong = payload } else { add(WebSocketFrame.pong(payload)) }
    }

    private func add(_ frame: ByteBuffer) {
        if self.frame == nil { self.frame = frame } else { moreFrames.append(frame) }
    }

    private func wait(_ message: inout PreparedMessage, _ put: (inout OutboundQueue<PreparedMessage>, PreparedMessage) -> OutboundVerdict)
        -> OutboundVerdict
    {
        // Made now where it is the same for all, so that the copies of all who wait share it.
        if deflate?.hasContext != true { _ = message.frame(for: deflate) }
        var queue = queue.take() ?? OutboundQueue(limit: maxQueuedBytes)
        defer { self.queue = queue }
        return put(&queue, message)
    }

    // MARK: Out

    /// Gives something for many connections to the kernel at once, where nothing is before it.
    /// - Returns: whether it has.
    func send(_ message: inout PreparedMessage) -> Bool {
        guard !isStalled, hasFlowed, frame == nil, let socket else { return false }
        send(message.frame(for: deflate), socket)
        return true
    }

    /// Gives everything of this turn to the socket.
    func flush() {
        guard let frame, !isClosed else { return }
        self.frame = nil
        if moreFrames.isEmpty, hasFlowed, let socket {
            send(frame, socket)
        } else {
            let frames = [frame] + moreFrames
            moreFrames = []
            handOver(frames)
        }
    }

    private func send(_ frame: ByteBuffer, _ socket: NIOBSDSocket.Handle) {
        let sent = frame.withUnsafeReadableBytes { bytes in
            while true {
                let count = Glibc.send(socket, bytes.baseAddress, bytes.count, Self.flags)
                if count >= 0 { return count }
                switch errno {
                case EINTR: continue
                case EAGAIN, EWOULDBLOCK: return 0
                default: return -1
                }
            }
        }
        guard sent < frame.readableBytes else { return }
        guard sent >= 0 else { return broken() }
        var rest = frame
        rest.moveReaderIndex(forwardBy: sent)
        handOver([rest])
    }

    /// To NIO, which waits for the socket.
    private func handOver(_ frames: [ByteBuffer]) {
        isStalled = true
        for frame in frames.dropLast() { context.write(NIOAny(frame), promise: nil) }
        let written = context.eventLoop.makePromise(of: Void.self)
        written.futureResult.assumeIsolated().whenComplete { [self] result in
            guard case .success = result, !isClosed else { return }
            isStalled = false
            hasFlowed = true
            goOn()
        }
        frames.last.map { context.writeAndFlush(NIOAny($0), promise: written) }
    }

    /// The next portion of what waits.
    private func goOn() {
        var frames: [ByteBuffer] = []
        if let pong = waitingPong.take() { frames.append(WebSocketFrame.pong(pong)) }
        var queue = queue.take() ?? OutboundQueue(limit: maxQueuedBytes)
        var bytes = 0
        while bytes < Self.portionBytes, var message = queue.next() {
            let frame = message.frame(for: deflate)
            bytes += frame.readableBytes
            frames.append(frame)
        }
        if !queue.isEmpty { self.queue = queue }
        if !frames.isEmpty { handOver(frames) }
    }

    // MARK: The end

    /// The last frame. What waits is dropped; what NIO holds goes before it.
    func close(with frame: ByteBuffer) {
        flush()
        end()
        context.writeAndFlush(NIOAny(frame), promise: nil)
    }

    /// The socket is no longer ours to write to.
    func end() {
        isClosed = true
        frame = nil
        moreFrames = []
        queue = nil
        waitingPong = nil
    }
}

extension PreparedMessage: OutboundMessage {
    var byteCount: Int { payload.readableBytes }
}
