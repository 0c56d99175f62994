package import Kernel

// The machine that slows down whoever guesses passwords.
//
// State, for each of three keys of an attempt — the account from this address, the account from anywhere, the address with any account:
//
//     open ──failed, the threshold-th time──▶ locked until ──time──▶ open, one failure short of the threshold ──failed──▶ locked for twice as long
//      ▲                                                                        │
//      └───────────── succeeded (not the address), or nothing for `forgetAfter` ┘
//
// An account is whatever was given for one: whether it exists makes no difference anywhere here. The threshold of an account from anywhere is higher than that
// from one address, so that a stranger cannot lock somebody out as easily as they can lock themselves out.
//
// Invariants
// 1. Between two locks of a key there are at most `threshold` failures, however many attempts are under way at once: one that ends while its key is locked counts
//    for nothing, whatever it found out.
// 2. A lock is `firstLock` × 2ⁿ, up to a quarter more by chance, and never beyond `longestLock` and that quarter.
// 3. There are at most `maxKeys`; the one that was idle for longest is forgotten first.

package struct LoginGuard: Sendable {
    package struct Settings: Sendable {
        /// Failures of one account from one address.
        package var failures = 10
        /// Of one account, from wherever.
        package var failuresPerAccount = 50
        /// From one address, with whatever account.
        package var failuresPerAddress = 100
        package var firstLock = Duration.seconds(30)
        package var longestLock = Duration.seconds(900)
        package var forgetAfter = Duration.seconds(3600)
        package var maxKeys = 50_000

        package init() {}
    }

    private enum Key: Hashable {
        case pair(String, String)
        case account(String)
        case address(String)
    }

    private struct Entry {
        var failures = 0
        var locks = 0
        var lockedUntil: Timestamp?
        /// A refusal under the present lock has been put on record.
        var isRecorded = false
        var touchedAt: Timestamp
    }

    private let settings: Settings
    private var entries: [Key: Entry] = [:]

    package init(_ settings: Settings = Settings()) { self.settings = settings }

    package var count: Int { entries.count }

    /// - Parameter address: `nil` for who comes through no door.
    private func keys(_ account: String, _ address: String?) -> [(Key, threshold: Int)] {
        [(.account(account), settings.failuresPerAccount)]
            + (address.map { [(.pair(account, $0), settings.failures), (.address($0), settings.failuresPerAddress)] } ?? [])
    }

    /// How long an attempt has to wait, if it has to.
    package func wait(_ account: String, from address: String?, at now: Timestamp) -> Duration? {
        keys(account, address).compactMap { entries[$0.0]?.lockedUntil }.filter { $0 > now }.map { $0 - now }.max()
    }

    /// Whether the refusal is the first under its lock. The others would say nothing new, and are not to fill the record.
    package mutating func isWorthRecording(_ account: String, from address: String?, at now: Timestamp) -> Bool {
        var isNew = false
        for (key, _) in keys(account, address) {
            guard let entry = entries[key], entry.lockedUntil.map({ $0 > now }) ?? false, !entry.isRecorded else { continue }
            entries[key]?.isRecorded = true
            isNew = true
        }
        return isNew
    }

    /// - Parameter random: for the jitter, any bits.
    package mutating func failed(_ account: String, from address: String?, at now: Timestamp, random: UInt64) {
        for (key, threshold) in keys(account, address) {
            var entry = entries[key] ?? Entry(touchedAt: now)
            if now - entry.touchedAt >= settings.forgetAfter { entry = Entry(touchedAt: now) }
            if let until = entry.lockedUntil {
                // Invariant 1.
                if until > now { continue }
                entry.lockedUntil = nil
                entry.failures = threshold - 1
            }
            entry.failures += 1
            entry.touchedAt = now
            if entry.failures >= threshold {
                let full = min(settings.firstLock * (1 << min(entry.locks, 20)), settings.longestLock)
                entry.lockedUntil = now + full + .milliseconds(Int64(random % UInt64(full.inMilliseconds / 4 + 1)))
                entry.locks += 1
                entry.isRecorded = false
            }
            if entries[key] == nil { makeRoom(now) }
            entries[key] = entry
        }
    }

    /// The right password clears the account, and from this address. Not the address: one good account would wash any number of guesses.
    package mutating func succeeded(_ account: String, from address: String?) {
        entries[.account(account)] = nil
        if let address { entries[.pair(account, address)] = nil }
    }

    private mutating func makeRoom(_ now: Timestamp) {
        guard entries.count >= settings.maxKeys else { return }
        entries = entries.filter { now - $0.value.touchedAt < settings.forgetAfter }
        guard entries.count >= settings.maxKeys else { return }
        // A tenth at a time, so that the next ones cost nothing.
        for (key, _) in entries.sorted(by: { $0.value.touchedAt < $1.value.touchedAt }).prefix(settings.maxKeys / 10 + 1) { entries[key] = nil }
    }
}
