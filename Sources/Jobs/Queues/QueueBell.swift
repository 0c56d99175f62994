package import Kernel
import Synchronization

/// Tells the workers which businesses have something for them. Rung within a turn; never waits.
package final class QueueBell: Sendable {
    /// What a business has to be done.
    package struct Wants: Sendable, Equatable {
        package var ready: Set<QueueName> = []
        /// Something is to be read from the store before it goes on.
        package var needsStore = false

        package init(ready: [QueueName], needsStore: Bool) {
            self.ready = Set(ready)
            self.needsStore = needsStore
        }

        package var isEmpty: Bool { ready.isEmpty && !needsStore }
    }

    private let wants = Mutex<[TenantID: Wants]>([:])
    private let continuation: AsyncStream<Void>.Continuation
    package let rings: AsyncStream<Void>

    package init() { (rings, continuation) = AsyncStream.makeStream(bufferingPolicy: .bufferingNewest(1)) }

    package func ring(_ tenant: TenantID, _ new: Wants) {
        guard !new.isEmpty else { return }
        wants.withLock { wants in
            var all = wants[tenant] ?? Wants(ready: [], needsStore: false)
            all.ready.formUnion(new.ready)
            all.needsStore = all.needsStore || new.needsStore
            wants[tenant] = all
        }
        continuation.yield()
    }

    /// Something else has changed that workers wait for.
    package func ring() { continuation.yield() }

    package func taken() -> [TenantID: Wants] {
        wants.withLock { wants in
            defer { wants = [:] }
            return wants
        }
    }
}
