import DequeModule
import HeapModule
package import Kernel

// The queues of one business: what is to be sent, when, and what has become of it.
//
//     scheduled ─▶ (available) ─▶ claimed ─▶ sending ─▶ sent
//         ▲             ▲            │           │
//         │             └─ lost ─────┘           ├─▶ retryable ─▶ (available) …     surely not sent
//         └─────────── put off ──────────────────┤
//                                                ├─▶ dead          surely not sent, and never will be
//                                                └─▶ quarantined   it may have been sent: the lease was lost, or nobody can tell
//     scheduled, retryable, claimed ─▶ cancelled | dropped
//     whatever it counts as ─▶ sent      its worker speaks up late: the provider has taken it
//     sent ─▶ dead                       the provider says later that it could not be delivered
//
// The rows are the truth; in memory is what is due soon and a bounded part of what is due.
//
// Invariants
// 1. Between a message's becoming `sending` and its end nobody else may send it: the row says so on disk before it is handed over, and whoever
//    finds it so after a crash quarantines it.
// 2. What became of an attempt counts only from whoever has it: compared by (id, attempt, token). Anybody else is superseded and changes nothing.
// 3. Of each key there is one message. One that is taken under a key may turn out to have come second; it is handed out only once that has been
//    looked up (`confirmed`), and is gone when it did.
// 4. Whatever waits and is not in memory is due at `beyond` of its queue, or later.
// 5. A row that was read is believed only where nothing of it was decided since the read began (`touched`).

package struct QueueBook: Sendable {
    /// What was decided, to be stored and told.
    package struct Effects: Sendable {
        package var changed: [QueueMessage] = []
        package var deleted: [(id: QueueMessageID, version: Int64)] = []
        package var controls: [(queue: QueueName, control: QueueControl)] = []
        package var callOffs: [(subject: String, callOff: CallOff)] = []
        package var callOffsEnded: [(subject: String, version: Int64)] = []
        /// Messages that found no room, by queue: they are among those that have changed, as dead.
        package var foundNoRoom: [QueueName: Int] = [:]
        /// What had been counted in the plan and is surely not sent, with when it was counted.
        package var uncharged: [(content: OutgoingMessage, at: Timestamp)] = []

        var isEmpty: Bool { changed.isEmpty && deleted.isEmpty && controls.isEmpty && callOffs.isEmpty && callOffsEnded.isEmpty }
    }

    package struct CallOff: Sendable, Equatable {
        package let reason: String
        /// Messages made before are meant.
        package let at: Timestamp

        package init(reason: String, at: Timestamp) {
            self.reason = reason
            self.at = at
        }
    }

    package enum Ending: Sendable, Equatable {
        case settled(QueueMessage.State)
        /// Somebody else has it, or it is over: nothing was changed.
        case superseded
    }

    struct Held: Sendable {
        var message: QueueMessage
        /// No other message had its key before.
        var isConfirmed: Bool
        var offeredUntil: Timestamp?
        /// Changes with each change of it: what was noted in the heaps before is void.
        var stamp: UInt64
    }

    struct Unconfirmed: Sendable, Equatable {
        let id: QueueMessageID
        let key: String
        let queue: QueueName
    }

    struct Window: Sendable {
        var due = Heap<Due>()
        /// Waiting, in memory.
        var waiting = 0
        /// When the first of those that are not in memory is due, at the earliest.
        var beyond = Timestamp.distantFuture
        /// What is due and not in memory has this priority or comes after it; `nil`: nothing is left out.
        var cutPriority: Int?
    }

    struct Due: Sendable, Comparable {
        let priority: Int
        let runAt: Timestamp
        let id: QueueMessageID
        let stamp: UInt64
        static func < (a: Due, b: Due) -> Bool { (a.priority, a.runAt, a.id) < (b.priority, b.runAt, b.id) }
    }

    struct Timer: Sendable, Comparable {
        let at: Timestamp
        let id: QueueMessageID
        let stamp: UInt64
        static func < (a: Timer, b: Timer) -> Bool { (a.at, a.id) < (b.at, b.id) }
    }

    package let rules: QueueRules
    package var effects = Effects()
    package internal(set) var controls: [QueueName: [QueueControl.Kind: QueueControl]] = [:]
    package internal(set) var callOffs: [String: CallOff] = [:]
    var messages: [QueueMessageID: Held] = [:]
    var windows: [QueueName: Window] = [:]
    var timers = Heap<Timer>()
    var subjects: [String: Set<QueueMessageID>] = [:]
    /// The messages in memory by their keys, and the latest that are over.
    var keys: [String: QueueMessageID] = [:]
    private var recentKeys: Deque<String> = []
    /// Called off while they were being handed over: what fails of these is not tried again.
    var calledOff: [QueueMessageID: String] = [:]
    /// Being handed over, and to be forgotten once it is over.
    var toForget: Set<QueueMessageID> = []
    /// Due, and waiting for another about the same that is in a worker's hands, by subject: so that of two the later is never sent first, nor both at once.
    private var parked: [String: Set<QueueMessageID>] = [:]
    /// Whose keys are to be looked up.
    var unconfirmed: [Unconfirmed] = []
    /// Those of them that are not over.
    var unconfirmedIDs: Set<QueueMessageID> = []
    /// Messages that are not over, in memory or not.
    package internal(set) var openCount = 0
    /// What a provider could not deliver, by its own ids, of messages that nobody knows by these yet: the answer to our own sending may be on its way.
    var undelivered: [String: String] = [:]
    var undeliveredInOrder: Deque<String> = []
    /// Reads that have begun, and what was decided since the first of them did of messages that are not in memory.
    var reads = 0
    var touched: Set<QueueMessageID> = []
    /// When the first is due that was left to the store since then.
    var leftWhileReading: [QueueName: Timestamp] = [:]
    private var lastStamp: UInt64 = 0
    /// The latest time that was given to a message or a call-off; each gets a later one, so that what came before what can be told.
    private var lastTime: Timestamp

    static let maxRecentKeys = 5000

    package init(rules: QueueRules = QueueRules(), lastTime: Timestamp = Timestamp(milliseconds: 0)) {
        self.rules = rules
        self.lastTime = lastTime
    }

    // MARK: Taking messages in

    /// Whether somebody may put so many more in.
    /// - Parameter isOwn: the business's own rules plan them, or they are about the account.
    package func hasRoom(for count: Int, isOwn: Bool) -> Bool { openCount + count <= (isOwn ? 2 : 1) * rules.maxOpen }

    /// What finds no room is dead from the beginning: shown, and there for a person to have it tried once there is.
    /// - Parameter isCharged: those that count in a plan were counted in this turn.
    /// - Returns: each message's id; that of the first under its key where there was one.
    package mutating func add(_ contents: [OutgoingMessage], isCharged: Bool = false, _ moment: Moment) -> [QueueMessageID] {
        let time = later(than: moment.now)
        return contents.map { content in
            if let key = content.key, let known = keys[key] { return known }
            var content = content
            content.priority = min(max(content.priority, 0), 9)
            content.maxAttempts = min(max(content.maxAttempts, 1), 50)
            var message = QueueMessage(id: moment.id(), content, at: time)
            if isCharged, !content.isOfTheAccount { message.chargedAt = moment.now }
            if let key = content.key { remember(key, message.id) }
            guard hasRoom(for: 1, isOwn: true) else {
                effects.foundNoRoom[content.queue, default: 0] += 1
                message.note("no_room", "a empresa tem mensagens demais à espera", at: moment.now)
                openCount += 1
                finish(message, .dead, why: "queue_full: há \(openCount - 1) mensagens à espera", moment.now)
                return message.id
            }
            message.version = 1
            openCount += 1
            effects.changed.append(message)
            if let key = content.key, !content.isKeyNew {
                unconfirmed.append(Unconfirmed(id: message.id, key: key, queue: content.queue))
                unconfirmedIDs.insert(message.id)
            }
            place(message, isConfirmed: !unconfirmedIDs.contains(message.id), moment.now)
            return message.id
        }
    }

    private mutating func later(than now: Timestamp) -> Timestamp {
        lastTime = max(now, lastTime + .milliseconds(1))
        return lastTime
    }

    /// In memory, when it is due soon and there is room; else it is read in time.
    mutating func place(_ message: QueueMessage, isConfirmed: Bool, _ now: Timestamp) {
        let queue = message.content.queue
        var window = windows[queue] ?? Window()
        let isSoon = message.content.runAt <= now + rules.horizon
        let isFirst = window.cutPriority.map { message.content.priority < $0 } ?? true
        if isSoon, isFirst, window.waiting < 2 * rules.inMemory {
            keep(message, isConfirmed: isConfirmed, now)
        } else {
            window.beyond = min(window.beyond, message.content.runAt)
            if reads > 0 { leftWhileReading[queue] = min(leftWhileReading[queue] ?? .distantFuture, message.content.runAt) }
            if message.content.runAt <= now { window.cutPriority = min(window.cutPriority ?? 9, message.content.priority) }
            windows[queue] = window
            leave(message)
        }
    }

    /// Puts what is in memory where it belongs, as it now is.
    mutating func keep(_ message: QueueMessage, isConfirmed: Bool, offeredUntil: Timestamp? = nil, _ now: Timestamp) {
        let queue = message.content.queue
        lastStamp += 1
        let stamp = lastStamp
        let before = messages[message.id]
        var window = windows[queue] ?? Window()
        if before?.message.state.isWaiting == true { window.waiting -= 1 }
        if message.state.isWaiting { window.waiting += 1 }
        messages[message.id] = Held(message: message, isConfirmed: isConfirmed, offeredUntil: offeredUntil, stamp: stamp)
        if message.state == .sending, message.why == QueueMessage.toBeForgotten { toForget.insert(message.id) }
        if let key = message.content.key { keys[key] = message.id }
        if let subject = message.content.subject { subjects[subject, default: []].insert(message.id) }
        if let lease = message.lease {
            timers.insert(Timer(at: lease.until, id: message.id, stamp: stamp))
        } else {
            if let expiry = message.content.expiresAt { timers.insert(Timer(at: expiry, id: message.id, stamp: stamp)) }
            if let offeredUntil {
                timers.insert(Timer(at: offeredUntil, id: message.id, stamp: stamp))
            } else if message.content.runAt > now {
                timers.insert(Timer(at: message.content.runAt, id: message.id, stamp: stamp))
            } else if isConfirmed {
                window.due.insert(Due(priority: message.content.priority, runAt: message.content.runAt, id: message.id, stamp: stamp))
            }
        }
        windows[queue] = window
        // Timers that are void stay until their time; where those are most of them, they are made anew.
        if timers.count > 4 * messages.count + 1000 { timers = Heap(messages.values.flatMap(Self.timers)) }
    }

    private static func timers(of held: Held) -> [Timer] {
        let content = held.message.content
        let times = held.message.lease.map { [$0.until] } ?? [content.expiresAt, held.offeredUntil ?? content.runAt].compactMap { $0 }
        return times.map { Timer(at: $0, id: held.message.id, stamp: held.stamp) }
    }

    /// It is over, or is left to the store.
    mutating func leave(_ message: QueueMessage) {
        if reads > 0 { touched.insert(message.id) }
        calledOff[message.id] = nil
        guard let held = messages.removeValue(forKey: message.id) else { return }
        if held.message.state.isWaiting { windows[message.content.queue]?.waiting -= 1 }
        if let key = message.content.key { remember(key, message.id) }
        if let subject = message.content.subject {
            subjects[subject]?.remove(message.id)
            if subjects[subject]?.isEmpty == true { subjects[subject] = nil }
            if held.message.state.isHeld { unpark(subject) }
        }
    }

    private mutating func remember(_ key: String, _ id: QueueMessageID) {
        keys[key] = id
        recentKeys.append(key)
        while recentKeys.count > Self.maxRecentKeys, let oldest = recentKeys.popFirst() {
            // Of one in memory it is found by the message.
            if let id = keys[oldest], messages[id] == nil { keys[oldest] = nil }
        }
    }

    /// Messages in memory.
    package var inMemoryCount: Int { messages.count }

    // MARK: What is due

    package func isHeldUp(_ queue: QueueName) -> Bool { controls[queue]?.values.contains { $0.isSet } ?? false }

    /// The queues that may have something for workers.
    package var ready: [QueueName] { QueueName.allCases.filter { windows[$0]?.due.isEmpty == false && !isHeldUp($0) } }

    /// When there is something to do that nobody else brings about.
    package func nextDue(at now: Timestamp) -> Timestamp {
        var next = timers.min?.at ?? .distantFuture
        for (queue, window) in windows where window.waiting <= rules.inMemory / 2 && !isHeldUp(queue) {
            // What is due and not in memory is being read; where that fails it is not asked for all the time.
            next = min(next, window.beyond <= now ? now + .seconds(1) : window.beyond)
        }
        return next
    }

    package mutating func timePassed(_ moment: Moment) {
        let now = moment.now
        while let timer = timers.min, timer.at <= now {
            timers.removeMin()
            guard let held = messages[timer.id], held.stamp == timer.stamp else { continue }
            let message = held.message
            if let lease = message.lease {
                if lease.until <= now { leaseLost(message, moment) }
            } else if let expiry = message.content.expiresAt, expiry <= now {
                finish(message, .dropped, why: "expirou antes de ser enviada", now)
            } else {
                // Its time has come, or nobody took what was offered.
                keep(message, isConfirmed: held.isConfirmed, now)
            }
        }
    }

    /// The first of a queue, for a worker to claim. Until then, or until the offer runs out, nobody else is offered it.
    package mutating func offer(_ queue: QueueName, _ now: Timestamp) -> QueueMessageID? {
        guard !isHeldUp(queue) else { return nil }
        while let first = windows[queue]?.due.popMin() {
            guard let held = messages[first.id], held.stamp == first.stamp else { continue }
            if let subject = held.message.content.subject, hasOneInHand(like: held.message.content) {
                parked[subject, default: []].insert(first.id)
                continue
            }
            keep(held.message, isConfirmed: true, offeredUntil: now + rules.offer, now)
            return first.id
        }
        return nil
    }

    /// Whether a worker has another message of this subject and channel. Letters about the account are about nothing in common.
    private func hasOneInHand(like content: OutgoingMessage) -> Bool {
        guard let subject = content.subject, !content.isOfTheAccount, let others = subjects[subject], others.count > 1 else { return false }
        return others.contains { messages[$0].map { $0.message.state.isHeld && $0.message.content.channel == content.channel } ?? false }
    }

    /// One about this is in nobody's hands any more.
    private mutating func unpark(_ subject: String) {
        for id in parked.removeValue(forKey: subject) ?? [] {
            guard let held = messages[id], held.message.state.isWaiting, held.offeredUntil == nil, held.isConfirmed else { continue }
            let content = held.message.content
            windows[content.queue, default: Window()].due.insert(Due(priority: content.priority, runAt: content.runAt, id: id, stamp: held.stamp))
        }
    }

    /// What was offered has got lost on the way.
    package mutating func withdraw(_ id: QueueMessageID, _ now: Timestamp) {
        guard let held = messages[id], held.offeredUntil != nil, held.message.state.isWaiting else { return }
        keep(held.message, isConfirmed: held.isConfirmed, now)
    }

    // MARK: Attempts

    /// - Returns: `nil` for what is not there to be claimed: somebody else has it, it is not due, it is over, the queue rests.
    package mutating func claim(_ id: QueueMessageID, token: LeaseToken, _ moment: Moment) -> QueueMessage? {
        guard let held = messages[id], held.isConfirmed, held.message.state.isWaiting, held.message.content.runAt <= moment.now,
            !isHeldUp(held.message.content.queue)
        else { return nil }
        var message = held.message
        if let expiry = message.content.expiresAt, expiry <= moment.now {
            finish(message, .dropped, why: "expirou antes de ser enviada", moment.now)
            return nil
        }
        if hasOneInHand(like: message.content) {
            // Offered before the other was claimed: it is offered again once that is over.
            keep(message, isConfirmed: true, moment.now)
            return nil
        }
        message.state = .claimed
        message.attempt += 1
        message.lease = .init(until: moment.now + rules.lease, token: token)
        return put(message, moment.now)
    }

    /// Whether `handingOver` would say yes, and if so the message as it is.
    package func wouldHandOver(_ id: QueueMessageID, attempt: Int, token: LeaseToken, _ now: Timestamp) -> QueueMessage? {
        guard let message = own(id, attempt, token), message.state == .claimed, message.content.expiresAt.map({ now < $0 }) ?? true else {
            return nil
        }
        return message
    }

    /// From the moment this is on disk the message counts as perhaps sent.
    /// - Parameter isCharged: it was counted in the plan in this turn.
    /// - Returns: whether it may be handed over.
    package mutating func handingOver(_ id: QueueMessageID, attempt: Int, token: LeaseToken, isCharged: Bool = false, _ moment: Moment) -> Bool {
        guard var message = own(id, attempt, token), message.state == .claimed else { return false }
        if let expiry = message.content.expiresAt, expiry <= moment.now {
            finish(message, .dropped, why: "expirou antes de ser enviada", moment.now)
            return false
        }
        message.state = .sending
        if isCharged { message.chargedAt = moment.now }
        message.lease?.until = moment.now + rules.lease
        put(message, moment.now)
        return true
    }

    /// The worker lives. `false`: it has the message no more.
    package mutating func heartbeat(_ id: QueueMessageID, attempt: Int, token: LeaseToken, _ now: Timestamp) -> Bool {
        guard var message = own(id, attempt, token) else { return false }
        message.lease?.until = now + rules.lease
        put(message, now)
        return true
    }

    package mutating func ended(_ id: QueueMessageID, attempt: Int, token: LeaseToken, _ outcome: SendOutcome, _ moment: Moment) -> Ending {
        guard var message = own(id, attempt, token) else { return .superseded }
        if outcome.isSurelyNotSent { uncharge(&message) }
        let now = moment.now
        switch outcome {
        case .sent(let providerID):
            message.providerID = providerID
            // Its delivery may have failed faster than we were told that it was taken.
            if let reason = providerID.flatMap({ forgetUndelivered($0) }) {
                finishUndelivered(message, reason, now)
                return .settled(.dead)
            }
            finish(message, .sent, why: nil, now)
            return .settled(.sent)
        case .dropped(let reason):
            finish(message, .dropped, why: reason, now)
            return .settled(.dropped)
        case .refused(let reason):
            message.note("refused", reason, at: now)
            finish(message, .dead, why: reason, now)
            return .settled(.dead)
        case .unknown(let reason):
            message.note("unknown", reason, at: now)
            finish(message, .quarantined, why: "outcome_unknown: " + reason, now)
            return .settled(.quarantined)
        case .postponed(let until, let reason):
            message.note("postponed", reason, at: now)
            message.attempt -= 1
            message.state = message.attempt > 0 ? .retryable : .scheduled
            message.lease = nil
            message.content.runAt = min(max(until, now + rules.shortestPause), now + rules.longestPause)
            return .settled(again(message, now))
        case .failed(let reason):
            message.note("failed", reason, at: now)
            guard message.attempt < message.content.maxAttempts else {
                finish(message, .dead, why: reason, now)
                return .settled(.dead)
            }
            let next = now + rules.backoff(afterAttempts: message.attempt, fraction: moment.fraction)
            if let expiry = message.content.expiresAt, expiry <= next {
                finish(message, .dead, why: "sem tempo para outra tentativa: " + reason, now)
                return .settled(.dead)
            }
            message.state = .retryable
            message.lease = nil
            message.content.runAt = next
            return .settled(again(message, now))
        }
    }

    private func own(_ id: QueueMessageID, _ attempt: Int, _ token: LeaseToken) -> QueueMessage? {
        guard let message = messages[id]?.message, message.state.isHeld, message.attempt == attempt, message.lease?.token == token else { return nil }
        return message
    }

    /// Its worker has given no sign of life.
    private mutating func leaseLost(_ message: QueueMessage, _ moment: Moment) {
        var message = message
        let wasSending = message.state == .sending
        message.crashCount += 1
        message.note("lost", wasSending ? "o envio foi interrompido" : "o processamento foi interrompido", at: moment.now)
        if wasSending {
            finish(message, .quarantined, why: "outcome_unknown: o envio foi interrompido e pode ter acontecido", moment.now)
        } else if message.crashCount >= rules.maxCrashes {
            finish(message, .quarantined, why: "crashed: o processamento foi interrompido \(message.crashCount) vezes", moment.now)
        } else {
            message.attempt -= 1
            message.state = message.attempt > 0 ? .retryable : .scheduled
            message.lease = nil
            message.content.runAt = moment.now
            again(message, moment.now)
        }
    }

    /// It waits again, unless it was called off meanwhile.
    @discardableResult
    private mutating func again(_ message: QueueMessage, _ now: Timestamp) -> QueueMessage.State {
        var message = message
        if let reason = calledOff[message.id] ?? callOff(of: message)?.reason {
            finish(message, .cancelled, why: reason, now)
            return .cancelled
        }
        message.version += 1
        effects.changed.append(message)
        // Out of memory and in again: it may not be due for long.
        if let held = messages[message.id], held.message.state.isHeld { leave(message) }
        place(message, isConfirmed: true, now)
        return message.state
    }

    @discardableResult
    mutating func put(_ message: QueueMessage, _ now: Timestamp) -> QueueMessage {
        var message = message
        message.version += 1
        effects.changed.append(message)
        keep(message, isConfirmed: true, now)
        return message
    }

    mutating func finish(_ message: QueueMessage, _ state: QueueMessage.State, why: String?, _ now: Timestamp) {
        var message = message
        if message.state.isOpen { openCount -= 1 }
        unconfirmedIDs.remove(message.id)
        message.state = state
        message.why = why.map { String($0.prefix(QueueMessage.maxReason)) }
        message.lease = nil
        message.finishedAt = now
        if state.isUnsent { uncharge(&message) }
        if message.content.isOfTheAccount { message.content.payload = "{}" }
        message.version += 1
        leave(message)
        if toForget.remove(message.id) != nil { message.scrub() }
        effects.changed.append(message)
    }

    /// It takes nothing of the plan.
    private mutating func uncharge(_ message: inout QueueMessage) {
        guard let at = message.chargedAt else { return }
        effects.uncharged.append((message.content, at))
        message.chargedAt = nil
    }

    // MARK: Calling off

    /// Whatever is about this and has not been handed over is not sent any more.
    package mutating func callOff(_ subject: String, reason: String, _ moment: Moment) {
        for id in (subjects[subject] ?? []).sorted() {
            guard let message = messages[id]?.message else { continue }
            if message.state == .sending {
                calledOff[id] = reason
                continue
            }
            finish(message, .cancelled, why: reason, moment.now)
        }
        // Of those that are not in memory it is written down, and each is told when it is met.
        guard windows.values.contains(where: { $0.beyond < .distantFuture }) || reads > 0 else { return }
        let callOff = CallOff(reason: reason, at: later(than: moment.now))
        callOffs[subject] = callOff
        effects.callOffs.append((subject, callOff))
    }

    func callOff(of message: QueueMessage) -> CallOff? {
        message.content.subject.flatMap { callOffs[$0] }.flatMap { message.createdAt < $0.at ? $0 : nil }
    }

    // MARK: Resting

    package mutating func put(_ control: QueueControl, on queue: QueueName) {
        var control = control
        control.version = (controls[queue]?[control.kind]?.version ?? 0) + 1
        controls[queue, default: [:]][control.kind] = control
        effects.controls.append((queue, control))
    }

    /// As it was stored; or of the whole server, which is stored elsewhere.
    package mutating func adopt(_ control: QueueControl, on queue: QueueName) { controls[queue, default: [:]][control.kind] = control }
}
