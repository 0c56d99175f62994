package import Kernel

/// How many messages of each queue there are, by state, as they were counted in the store.
package struct QueueStats: Sendable, Equatable {
    package struct One: Sendable, Equatable {
        /// By stored state.
        package var counts: [QueueMessage.State: Int] = [:]
        /// Waiting, and due.
        package var available = 0
        /// When the first of those fell due.
        package var oldest: Timestamp?
        /// When the latest message was made.
        package var last: Timestamp?

        /// Waiting for their time.
        package var scheduled: Int { (counts[.scheduled] ?? 0) + (counts[.retryable] ?? 0) - available }

        /// By the states that people are shown. What is due counts as available alone.
        var shownCounts: [(String, Int)] {
            [("available", available), ("scheduled", scheduled)]
                + [.claimed, .sending, .sent, .cancelled, .dropped, .dead, .quarantined].map { (state: QueueMessage.State) in
                    (state.rawValue, counts[state] ?? 0)
                }
        }

        package init() {}
    }

    package var queues: [QueueName: One] = [:]

    package subscript(queue: QueueName) -> One {
        get { queues[queue] ?? One() }
        set { queues[queue] = newValue }
    }

    package init() {}
}
