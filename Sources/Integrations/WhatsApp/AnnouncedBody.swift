import NIOCore
import Synchronization

/// A request body in one piece that remembers whether it was ever asked for.
///
/// The HTTP client asks once there is a connection and the head is on it. So if an attempt fails and nobody asked, the message was certainly
/// not sent; if somebody did, it may have been. This holds for every way of failing, without knowing the errors one by one.
final class AnnouncedBody: AsyncSequence, Sendable {
    private let bytes: ByteBuffer
    private let asked = Mutex(false)

    init(_ bytes: ByteBuffer) { self.bytes = bytes }

    var wasAskedFor: Bool { asked.withLock { $0 } }

    func makeAsyncIterator() -> Iterator { Iterator(body: self) }

    struct Iterator: AsyncIteratorProtocol {
        fileprivate var body: AnnouncedBody?

        mutating func next() async -> ByteBuffer? {
            guard let body = body.take() else { return nil }
            body.asked.withLock { $0 = true }
            return body.bytes
        }
    }
}
