package import Jobs
package import Kernel

/// Stands in for the queues until they are there.
package actor MessageQueues {
    private let executor: any Actor
    private var keys: Set<String> = []
    package private(set) var messages: [OutgoingMessage] = []

    package nonisolated var unownedExecutor: UnownedSerialExecutor { executor.unownedExecutor }

    package init(executor: any Actor) { self.executor = executor }

    package func add(_ messages: [OutgoingMessage], _ moment: Moment) -> Change {
        for message in messages where message.key.map({ keys.insert($0).inserted }) ?? true { self.messages.append(message) }
        return Change()
    }

    package func callOff(subject: String, reason: String, _ moment: Moment) -> Change {
        messages.removeAll { $0.subject == subject }
        return Change()
    }
}
