package import Conversations
package import Kernel
import Synchronization

// Accounts that WhatsApp has stopped: a token that expired, a payment that failed, a policy broken (research/conversations.md §5.6). Every further send would be
// refused the same and make it worse. So the first refusal stops the whole account, people are told, and everything waits, in its order. Once a minute
// one message may try whether a person has put it right; `lift` lets all go at once.
//
// What is said of one number stops that number: a business's others go on (lesson 16).
//
// Not stored: after a restart the first send finds out again.

package final class AccountStops: Sendable {
    package struct Stop: Sendable, Equatable {
        package let failure: Message.Failure
        package let since: Timestamp
        package var nextTry: Timestamp
    }

    private struct Key: Hashable {
        let tenant: TenantID
        /// `nil`: the whole account.
        let number: String?
    }

    package static let pause = Duration.seconds(60)
    /// Errors of a number rather than of the account: it is locked.
    static let codesOfNumbers: Set<String> = ["131031"]

    private let stops = Mutex<[Key: Stop]>([:])

    package init() {}

    /// What stops the whole account.
    package func stop(of tenant: TenantID) -> Stop? { stops.withLock { $0[Key(tenant: tenant, number: nil)] } }

    /// The numbers of a business that are stopped by themselves.
    package func stoppedNumbers(of tenant: TenantID) -> [(number: String, stop: Stop)] {
        stops.withLock { $0.compactMap { key, stop in key.tenant == tenant ? key.number.map { ($0, stop) } : nil } }.sorted { $0.number < $1.number }
    }

    /// - Parameter number: which of several it would go out from; `nil` for the only one.
    /// - Returns: until when a send is to wait. Of several that ask when the time has come one goes ahead and the others wait for what it finds.
    func holds(_ tenant: TenantID, _ number: String? = nil, at now: Timestamp) -> Timestamp? {
        stops.withLock { stops in
            let keys = [Key(tenant: tenant, number: nil)] + (number.map { [Key(tenant: tenant, number: $0)] } ?? [])
            let due = keys.filter { stops[$0] != nil }
            if let until = due.compactMap({ stops[$0]?.nextTry }).max(), until > now { return until }
            for key in due { stops[key]?.nextTry = now + Self.pause }
            return nil
        }
    }

    /// - Returns: whether that is news, and of what: `number` is `nil` where the whole account is stopped.
    func refused(_ tenant: TenantID, _ number: String? = nil, _ failure: Message.Failure, at now: Timestamp) -> (isNews: Bool, number: String?) {
        let number = Self.codesOfNumbers.contains(failure.code) ? number : nil
        let isNews = stops.withLock { stops in
            let key = Key(tenant: tenant, number: number)
            let before = stops[key]
            let isSame = before?.failure.code == failure.code
            stops[key] = Stop(failure: failure, since: isSame ? before?.since ?? now : now, nextTry: now + Self.pause)
            return !isSame
        }
        return (isNews, number)
    }

    /// Something went out from a number, which says that neither it nor the account is stopped.
    /// - Returns: whether one was.
    func passed(_ tenant: TenantID, _ number: String?) -> Bool {
        stops.withLock { stops in
            let account = stops.removeValue(forKey: Key(tenant: tenant, number: nil))
            let own = number.flatMap { stops.removeValue(forKey: Key(tenant: tenant, number: $0)) }
            return account != nil || own != nil
        }
    }

    /// Of the account and all its numbers.
    /// - Returns: whether there was one.
    @discardableResult package func lift(_ tenant: TenantID) -> Bool {
        stops.withLock { stops in
            let keys = stops.keys.filter { $0.tenant == tenant }
            for key in keys { stops[key] = nil }
            return !keys.isEmpty
        }
    }
}
