import Kernel

// People write one thought in several messages. The bot waits until they pause, and answers once.
//
// A burst is due `quiet` after its last message, but never later than `atMost` after its first. What calls for an answer at once (a tapped button, a word for a
// person) ends it.

package struct Burst: Sendable, Equatable {
    package struct Settings: Sendable {
        /// No pause: every message is answered as it comes.
        package var quiet = Duration.milliseconds(1500)
        package var atMost = Duration.seconds(10)

        package init() {}
    }

    let firstAt: Timestamp
    private(set) var lastAt: Timestamp

    init(at now: Timestamp) {
        firstAt = now
        lastAt = now
    }

    mutating func wroteOn(at now: Timestamp) { lastAt = max(lastAt, now) }

    func dueAt(_ settings: Settings) -> Timestamp { min(lastAt + settings.quiet, firstAt + settings.atMost) }
}
