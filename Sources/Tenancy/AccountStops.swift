package import Conversations
package import Kernel
import Synchronization

// Accounts that WhatsApp has stopped: a token that expired, a payment that failed, a policy broken (research/conversations.md §5.6). Every further send would be
// refused the same and make it worse. So the first refusal stops the whole account, people are told, and everything waits, in its order. Once a minute
// one message may try whether a person has put it right; `lift` lets all go at once.
//
// Not stored: after a restart the first send finds out again.

package final class AccountStops: Sendable {
    package struct Stop: Sendable, Equatable {
        package let failure: Message.Failure
        package let since: Timestamp
        package var nextTry: Timestamp
    }

    package static let pause = Duration.seconds(60)

    private let stops = Mutex<[TenantID: Stop]>([:])

    package init() {}

    package func stop(of tenant: TenantID) -> Stop? { stops.withLock { $0[tenant] } }

    /// - Returns: until when a send is to wait. Of several that ask when the time has come one goes ahead and the others wait for what it finds.
    func holds(_ tenant: TenantID, at now: Timestamp) -> Timestamp? {
        stops.withLock { stops in
            guard let stop = stops[tenant] else { return nil }
            guard stop.nextTry <= now else { return stop.nextTry }
            stops[tenant]?.nextTry = now + Self.pause
            return nil
        }
    }

    /// - Returns: whether that is news.
    func refused(_ tenant: TenantID, _ failure: Message.Failure, at now: Timestamp) -> Bool {
        stops.withLock { stops in
            let before = stops[tenant]
            let isSame = before?.failure.code == failure.code
            stops[tenant] = Stop(failure: failure, since: isSame ? before?.since ?? now : now, nextTry: now + Self.pause)
            return !isSame
        }
    }

    /// - Returns: whether there was one.
    @discardableResult package func lift(_ tenant: TenantID) -> Bool { stops.withLock { $0.removeValue(forKey: tenant) != nil } }
}
