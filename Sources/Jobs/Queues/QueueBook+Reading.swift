package import Kernel

// What is read from the store while the book is in use.
//
// A read is begun in one turn, made once everything decided before is on disk, and taken in by another turn. What was decided in between of a message that
// is not in memory is in `touched`: the row that was read is then an older one, and passed over.

extension QueueBook {
    /// What is to be read now.
    package struct Errand: Sendable, Equatable {
        /// Of these queues what is due, and how many more than that are in memory already.
        package var queues: [QueueName: Int] = [:]
        /// Keys to be looked up.
        package var keys: [String] = []
        /// Subjects whose messages of before are to be told that they are called off.
        package var callOffs: [String: Timestamp] = [:]
        package var now = Timestamp(milliseconds: 0)

        package init() {}
    }

    /// What was read of one queue.
    package struct Reading: Sendable {
        package var messages: [QueueMessage] = []
        /// Those of them that came second under their keys.
        package var duplicates: Set<QueueMessageID> = []
        /// When the first is due that was not read; at the earliest.
        package var beyond = Timestamp.distantFuture
        /// Not all that is due was read: the last had this priority.
        package var cutPriority: Int?

        package init() {}
    }

    /// Keys, and subjects, in one errand.
    static let atOnce = 100

    /// Asked in every turn, and so it looks at little.
    package func needsStore(_ now: Timestamp) -> Bool { !unconfirmed.isEmpty || !callOffs.isEmpty || windows.contains { isHungry($0, $1, now) } }

    private func isHungry(_ queue: QueueName, _ window: Window, _ now: Timestamp) -> Bool {
        window.beyond <= now && window.waiting <= rules.inMemory / 2 && !isHeldUp(queue)
    }

    private func errand(_ now: Timestamp) -> Errand {
        var errand = Errand()
        errand.now = now
        for (queue, window) in windows where isHungry(queue, window, now) { errand.queues[queue] = window.waiting }
        errand.keys = unconfirmed.prefix(Self.atOnce).map(\.key)
        // Whichever: each of them is over once its messages have been told.
        for (subject, callOff) in callOffs.prefix(Self.atOnce) { errand.callOffs[subject] = callOff.at }
        return errand
    }

    package mutating func readBegan(_ now: Timestamp) -> Errand {
        reads += 1
        return errand(now)
    }

    package mutating func readEnded() {
        reads -= 1
        if reads == 0 { (touched, leftWhileReading) = ([], [:]) }
    }

    /// What is due of a queue.
    package mutating func adopt(_ reading: Reading, of queue: QueueName, _ now: Timestamp) {
        var window = windows[queue] ?? Window()
        // What was left to the store meanwhile counts, too.
        window.beyond = min(reading.beyond, leftWhileReading[queue] ?? .distantFuture)
        window.cutPriority = reading.cutPriority
        windows[queue] = window
        for message in reading.messages where messages[message.id] == nil && !touched.contains(message.id) && message.state.isWaiting {
            if reading.duplicates.contains(message.id) {
                openCount -= 1
                unconfirmedIDs.remove(message.id)
                touched.insert(message.id)
                effects.deleted.append((message.id, message.version + 1))
            } else if let callOff = callOff(of: message) {
                finish(message, .cancelled, why: callOff.reason, now)
            } else {
                keep(message, isConfirmed: true, now)
            }
        }
    }

    /// As it was when the book was opened: what was in a worker's hands.
    package mutating func adopt(held message: QueueMessage, _ now: Timestamp) { keep(message, isConfirmed: true, now) }
    package mutating func adopt(_ callOff: CallOff, of subject: String) { callOffs[subject] = callOff }
    package mutating func adopt(openCount: Int) { self.openCount = openCount }
    package mutating func adopt(beyond: Timestamp, of queue: QueueName) { windows[queue, default: Window()].beyond = beyond }

    /// - Parameter first: who came first under each key that was looked up.
    package mutating func confirmed(_ keys: [String], first: [String: QueueMessageID], _ now: Timestamp) {
        let asked = Set(keys)
        let answered = unconfirmed.filter { asked.contains($0.key) }
        guard !answered.isEmpty else { return }
        let ids = Set(answered.map(\.id))
        unconfirmed.removeAll { ids.contains($0.id) }
        for one in answered {
            let winner = first[one.key] ?? one.id
            let isOpen = unconfirmedIDs.remove(one.id) != nil
            if winner == one.id {
                if let held = messages[one.id], !held.isConfirmed { keep(held.message, isConfirmed: true, now) }
            } else {
                if let held = messages[one.id] { leave(held.message) } else if reads > 0 { touched.insert(one.id) }
                self.keys[one.key] = winner
                if isOpen { openCount -= 1 }
                effects.deleted.append((one.id, 1000))
            }
        }
    }

    /// Waiting messages of subjects that were called off.
    /// - Parameters:
    ///   - subjects: those that were looked for, with the times that messages had to be from before.
    ///   - isAll: there are no more of them.
    package mutating func calledOff(_ subjects: [String: Timestamp], _ found: [QueueMessage], isAll: Bool, _ now: Timestamp) {
        var doubtful: Set<String> = []
        for message in found where messages[message.id] == nil && message.state.isWaiting {
            guard let callOff = callOff(of: message), let subject = message.content.subject else { continue }
            // Of what has just changed the row says nothing: it is looked for once more.
            if touched.contains(message.id) { doubtful.insert(subject) } else { finish(message, .cancelled, why: callOff.reason, now) }
        }
        guard isAll else { return }
        for (subject, before) in subjects where !doubtful.contains(subject) {
            // Called off once more since: looked for once more.
            guard let callOff = callOffs[subject], callOff.at == before else { continue }
            callOffs[subject] = nil
            effects.callOffsEnded.append((subject, callOff.at.milliseconds + 1))
        }
    }

    // MARK: By hand

    package enum Order: Sendable, Equatable {
        case cancel(reason: String)
        case retry
        /// Put away: not to be looked at any more.
        case clear
    }

    /// - Parameter stored: as its row has it.
    /// - Returns: as it now is; `nil` when it is in no state for that, or has just changed.
    package mutating func carryOut(_ order: Order, on stored: QueueMessage, _ moment: Moment) -> QueueMessage? {
        let inMemory = messages[stored.id]
        if inMemory == nil, touched.contains(stored.id) { return nil }
        var message = inMemory?.message ?? stored
        // Nobody is shown these, and of one that is over nothing is left to send.
        if message.content.isOfTheAccount { return nil }
        switch order {
        case .cancel(let reason):
            guard message.state.isWaiting || message.state == .claimed else { return nil }
            finish(message, .cancelled, why: reason, moment.now)
            return effects.changed.last
        case .retry:
            guard message.state.isFailed, message.content.expiresAt.map({ moment.now < $0 }) ?? true, hasRoom(for: 1, isOwn: false) else {
                return nil
            }
            message.begin()
            openCount += 1
            message.content.runAt = moment.now
            message.version += 1
            effects.changed.append(message)
            place(message, isConfirmed: true, moment.now)
            return message
        case .clear:
            guard message.finishedAt != nil, message.state != .forgotten else { return nil }
            putAway(message)
            return message
        }
    }

    /// Its time to be looked at is over. The key stays.
    package mutating func putAway(_ message: QueueMessage) {
        guard message.finishedAt != nil, messages[message.id] == nil, !touched.contains(message.id) else { return }
        if reads > 0 { touched.insert(message.id) }
        // What was withdrawn was surely not sent: its key may be used again.
        guard message.content.key != nil, message.state != .forgotten, !message.isWithdrawn else {
            if let key = message.content.key, keys[key] == message.id { keys[key] = nil }
            effects.deleted.append((message.id, message.version + 1))
            return
        }
        var message = message
        message.scrub()
        message.version += 1
        effects.changed.append(message)
    }

    /// Whom it went to and what it said is forgotten; if it waits, it is not sent. One that is being handed over is forgotten once that is over.
    /// - Parameter stored: as its row has it.
    package mutating func forget(_ stored: QueueMessage, reason: String, _ moment: Moment) -> Forgetting {
        let inMemory = messages[stored.id]
        if inMemory == nil, touched.contains(stored.id) { return .changedMeanwhile }
        var message = inMemory?.message ?? stored
        switch message.state {
        case .forgotten: return .nothing
        case .sending:
            calledOff[message.id] = reason
            guard !toForget.contains(message.id) else { return .nothing }
            message.why = QueueMessage.toBeForgotten
            put(message, moment.now)
            return .done
        case .scheduled, .retryable, .claimed:
            finish(message, .cancelled, why: reason, moment.now)
            // One image says it all.
            message = effects.changed.removeLast()
        case .sent, .cancelled, .dropped, .dead, .quarantined: if reads > 0 { touched.insert(message.id) }
        }
        if message.content.key == nil {
            effects.deleted.append((message.id, message.version + 1))
        } else {
            message.scrub()
            message.version += 1
            effects.changed.append(message)
        }
        return .done
    }

    package enum Forgetting: Sendable {
        case done
        /// There is nothing to do, or it is done once the message is over.
        case nothing
        /// It is to be read once more.
        case changedMeanwhile
    }
}
