/// Which keys a business may have in a table that is not all in memory, so that the store need not be asked about one that nobody has.
///
/// As with a Bloom filter "no" is certain; a "perhaps" is asked of the store. Keys are only ever added: one that is given up costs a question. Of a key that is
/// not there one in `2^32 / keys` is taken for one that is.
///
/// Invariant: once it is whole, it has every key of every row that the store has or is about to have. Whoever writes a row therefore adds its keys in the same turn;
/// whatever was written before is in what was read.
package struct KeyFilter: Sendable {
    private enum Reading { case notBegun, underWay, done, tooMany }

    private var hashes: Set<UInt32> = []
    private var reading = Reading.notBegun

    /// Of one business, in keys; where there are more the store is asked about each.
    package static let limit = 250_000

    package init() {}

    private static func hash(_ key: String) -> UInt32 { UInt32(truncatingIfNeeded: key.hashValue) }

    package mutating func add(_ key: String) {
        guard reading != .tooMany else { return }
        hashes.insert(Self.hash(key))
    }

    /// Nobody has it.
    package func excludes(_ key: String) -> Bool { reading == .done && !hashes.contains(Self.hash(key)) }

    /// Whether the caller is to read all keys now, and to tell `read` what came of it. One at a time; everybody else asks about their own until then.
    package mutating func begin() -> Bool {
        guard reading == .notBegun else { return false }
        reading = .underWay
        return true
    }

    /// - Parameter keys: up to `limit + 1` of them; `nil` when they could not be read.
    package mutating func read(_ keys: [String]?) {
        guard let keys else { return reading = .notBegun }
        guard keys.count <= Self.limit else {
            (reading, hashes) = (.tooMany, [])
            return
        }
        hashes.reserveCapacity(hashes.count + keys.count)
        for key in keys { add(key) }
        reading = .done
    }
}
