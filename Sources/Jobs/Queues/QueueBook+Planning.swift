package import Kernel

// What was planned by rules follows them when they change: the messages that wait are moved, and those that nobody asks for any longer withdrawn. No message is
// made here, and none of one key beside another.

extension QueueBook {
    /// The messages of a queue about one thing, as they now are.
    /// - Parameter stored: as they were read since `readBegan`.
    /// - Returns: `nil` where one of them has changed since and is not in memory: they are to be read once more.
    package func asTheyAre(_ stored: [QueueMessage], about subject: String, in queue: QueueName) -> [QueueMessage]? {
        let elsewhere = stored.filter { messages[$0.id] == nil }
        guard !elsewhere.contains(where: { touched.contains($0.id) }) else { return nil }
        return elsewhere + (subjects[subject] ?? []).sorted().compactMap { messages[$0]?.message }.filter { $0.content.queue == queue }
    }

    /// One that waits, or was withdrawn, is to be this from now on.
    /// - Parameters:
    ///   - message: of `asTheyAre`, in this turn.
    ///   - content: `nil` when no rule asks for it any longer.
    package mutating func revise(_ message: QueueMessage, to content: OutgoingMessage?, _ moment: Moment) {
        guard message.state.isWaiting || message.isWithdrawn else { return }
        guard let content else { return finish(message, .cancelled, why: QueueMessage.withdrawn, moment.now) }
        var message = message
        if !message.state.isWaiting {
            message.begin()
            openCount += 1
        }
        message.content = content
        message.version += 1
        effects.changed.append(message)
        place(message, isConfirmed: !unconfirmedIDs.contains(message.id), moment.now)
    }
}
