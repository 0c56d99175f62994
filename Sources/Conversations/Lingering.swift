import DequeModule
import Kernel

/// Keys that may be forgotten once nobody has touched them for a while.
///
/// What was read from the store is decided upon only after an `await`. Were a thing forgotten as soon as it is finished with, a reading begun before its last
/// change could bring an old image back in. So it stays for longer than any reading may take.
struct Lingering<Key: Hashable & Sendable>: Sendable {
    private var order: Deque<(key: Key, at: Timestamp)> = []
    private var touched: [Key: Timestamp] = [:]

    var count: Int { touched.count }

    /// Times are rounded down to ten seconds, so that a key touched all the time has few entries.
    mutating func touch(_ key: Key, at time: Timestamp) {
        let time = Timestamp(milliseconds: time.milliseconds - time.milliseconds % 10_000)
        if touched[key] == time { return }
        touched[key] = time
        order.append((key, time))
    }

    /// The keys last touched before `time`, which are forgotten hereby.
    mutating func expired(before time: Timestamp) -> [Key] {
        var expired: [Key] = []
        while let first = order.first, first.at < time {
            order.removeFirst()
            if touched[first.key] == first.at {
                touched[first.key] = nil
                expired.append(first.key)
            }
        }
        return expired
    }
}
