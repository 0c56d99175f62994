package import Kernel
package import NIOCore
import Synchronization

/// Pages of an answer as they were written last, each good as long as what it was written from has not changed and time alone has changed nothing of it. So it is
/// never stale: it saves the writing, and nothing else.
package final class PageMemo: Sendable {
    private struct Page {
        let versions: (UInt64, UInt64)
        let from: Timestamp
        let until: Timestamp
        let bytes: ByteBuffer
    }

    private let pages = Mutex<[Int: Page]>([:])

    package init() {}

    /// - Parameters:
    ///   - versions: of what it is written from.
    ///   - write: gives the bytes, and when time changes something of them.
    package func page(_ number: Int, _ versions: (UInt64, UInt64), at now: Timestamp, write: () -> (ByteBuffer, until: Timestamp)) -> ByteBuffer {
        let kept = pages.withLock { $0[number] }
        if let kept, kept.versions == versions, kept.from <= now, now < kept.until { return kept.bytes }
        let (bytes, until) = write()
        pages.withLock { $0[number] = Page(versions: versions, from: now, until: until, bytes: bytes) }
        return bytes
    }
}
