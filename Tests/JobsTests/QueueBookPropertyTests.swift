import Foundation
import Kernel
import Storage
import TestSupport
import Testing

@testable import Jobs

/// Any interleaving of adding, claiming, handing over, signs of life and their absence, late ends, duplicate tickets, calling off, pausing, reading on, retrying and
/// crashes, rules that change, workers that speak up late, against a naive record of what was handed over. Rows are kept as the store keeps them: an image that is not newer is a fault.
@Suite struct QueueBookPropertyTests {
    static let seeds: [UInt64] = {
        if let one = ProcessInfo.processInfo.environment["PLANTAO_SEED"].flatMap({ UInt64($0) }) { return [one] }
        let start = UInt64.random(in: 1...1_000_000_000)
        print("QueueBookPropertyTests: PLANTAO_SEED=\(start)…")
        return (0..<100).map { start + $0 }
    }()

    @Test(arguments: seeds) func whateverHappensAMessageIsHandedOverAtMostOnceAndNoneIsLost(seed: UInt64) {
        var world = World(seed: seed)
        for _ in 0..<600 where world.faults.isEmpty { world.step() }
        world.finish()
        #expect(world.faults.isEmpty, "seed \(seed): \(world.faults.prefix(3))\n\(world.story)")
        #expect(world.handOvers > 0, "seed \(seed): nothing was going on")
    }

    /// A worker with a message in its hands.
    private struct Attempt {
        let message: QueueMessage
        let token: LeaseToken
        var isSending = false
    }

    private struct Read {
        let errand: QueueBook.Errand
        let rows: [QueueMessageID: QueueMessage]
    }

    private struct World {
        let seed: UInt64
        let clock: ManualEnvironment
        var random: SeededGenerator
        let rules: QueueRules
        var book: QueueBook
        var rows: [QueueMessageID: QueueMessage] = [:]
        var controls: [QueueName: QueueControl] = [:]
        var callOffs: [String: QueueBook.CallOff] = [:]
        var attempts: [Attempt] = []
        var reads: [Read] = []
        /// Subjects that are planned again, with the rows as they were read.
        var plans: [(subject: String, rows: [QueueMessage])] = []
        var newKeys = 0
        /// Ids that were offered some time: tickets that may come again.
        var tickets: [QueueMessageID] = []

        // The naive record.
        var accepted: Set<QueueMessageID> = []
        var firstOfKey: [String: QueueMessageID] = [:]
        /// Handed over, and not known to have failed for sure.
        var perhapsSent: Set<QueueMessageID> = []
        var calledOff: Set<QueueMessageID> = []
        var handOvers = 0
        var faults: [String] = []
        var history: [String] = []

        init(seed: UInt64) {
            self.seed = seed
            clock = ManualEnvironment()
            random = SeededGenerator(seed: seed)
            var rules = QueueRules()
            (rules.inMemory, rules.horizon, rules.backoff, rules.longestBackoff) = (3, .seconds(20), .seconds(4), .seconds(16))
            self.rules = rules
            book = QueueBook(rules: rules)
        }

        var now: Timestamp { clock.now }
        var moment: Moment { clock.environment.moment() }
        let queues: [QueueName] = [.reminders, .email]

        /// Everything that was about the first message at fault, and what came last.
        var story: String {
            let id = String((faults.first ?? "").prefix(36))
            return (history.filter { $0.contains(id) || $0.contains("crash") } + ["…"] + history.suffix(20)).joined(separator: "\n")
        }

        mutating func chance(_ n: Int) -> Bool { Int.random(in: 0..<n, using: &random) == 0 }

        /// What was decided is on disk.
        mutating func commit(_ what: String) {
            history.append("\(now.milliseconds % 10_000_000) \(what)")
            let effects = book.effects
            book.effects = QueueBook.Effects()
            for message in effects.changed {
                if let before = rows[message.id], before.version >= message.version {
                    faults.append("\(what): version \(message.version) over \(before.version)")
                }
                rows[message.id] = message
            }
            for (id, _) in effects.deleted { rows[id] = nil }
            for (queue, control) in effects.controls { controls[queue] = control }
            for (subject, callOff) in effects.callOffs { callOffs[subject] = callOff }
            for (subject, _) in effects.callOffsEnded { callOffs[subject] = nil }
            let open = rows.values.count { $0.state.isOpen }
            if book.openCount != open { faults.append("\(what): \(book.openCount) are counted, \(open) are not over") }
        }

        mutating func step() {
            switch Int.random(in: 0..<26, using: &random) {
            case 0...3: add()
            case 4: callOff()
            case 5: rest()
            case 6...10: offerAndClaim()
            case 11: duplicateTicket()
            case 12...15: advanceAttempt()
            case 16: if let attempt = attempts.randomElement(using: &random) { heartbeat(attempt) }
            case 17: if !attempts.isEmpty, chance(3) { attempts.remove(at: Int.random(in: attempts.indices, using: &random)) }
            case 18...19: beginRead()
            case 20...21: endRead()
            case 22: order()
            case 23: beginPlan()
            case 24: endPlan()
            default:
                clock.advance(by: .milliseconds(Int.random(in: 1...(chance(8) ? 40_000 : 3000), using: &random)))
                book.timePassed(moment)
                commit("time")
            }
            if chance(60) { crash() }
        }

        mutating func add() {
            var contents: [OutgoingMessage] = []
            for _ in 0..<Int.random(in: 1...4, using: &random) {
                var content = OutgoingMessage(
                    queue: queues.randomElement(using: &random)!,
                    channel: .email,
                    recipient: "r",
                    runAt: now + .seconds(chance(3) ? Int.random(in: 0...300, using: &random) : 0),
                    payload: "{}"
                )
                if !chance(3) { content.key = "k\(Int.random(in: 0..<60, using: &random))" }
                if chance(6) {
                    newKeys += 1
                    (content.key, content.isKeyNew) = ("n\(newKeys)", true)
                }
                if !chance(3) { content.subject = "s\(Int.random(in: 0..<8, using: &random))" }
                if chance(4) { content.expiresAt = content.runAt + .seconds(Int.random(in: 1...60, using: &random)) }
                content.priority = Int.random(in: 0...9, using: &random)
                content.maxAttempts = Int.random(in: 1...4, using: &random)
                contents.append(content)
            }
            let ids = book.add(contents, moment)
            for (content, id) in zip(contents, ids) {
                if let key = content.key {
                    if firstOfKey[key] == nil { firstOfKey[key] = id }
                    if firstOfKey[key] == id { accepted.insert(id) }
                } else {
                    accepted.insert(id)
                }
            }
            commit("add \(zip(ids, contents).map { "\($0) \($1.key ?? "-") \($1.subject ?? "-") \($1.runAt.milliseconds % 10_000_000)" })")
        }

        mutating func callOff() {
            let subject = "s\(Int.random(in: 0..<8, using: &random))"
            let sending = Set(attempts.filter(\.isSending).map(\.message.id))
            for (id, message) in rows where message.content.subject == subject && !sending.contains(id) { calledOff.insert(id) }
            book.callOff(subject, reason: "called off", moment)
            commit("call off \(subject): \(rows.values.filter { $0.content.subject == subject }.map { "\($0.id) \($0.state)" })")
        }

        mutating func rest() {
            let queue = queues.randomElement(using: &random)!
            let maria = Principal(tenant: tenant, user: UserID(UniqueID(high: 1, low: 2)), role: .owner, name: "Maria")
            book.put(QueueControl(.paused, isSet: chance(2), by: maria, reason: nil, at: now), on: queue)
            commit("rest \(queue)")
        }

        mutating func offerAndClaim() {
            guard let id = book.offer(queues.randomElement(using: &random)!, now) else { return }
            tickets.append(id)
            commit("offer \(id)")
            // Some tickets are lost on the way.
            if !chance(6) { claim(id) }
        }

        mutating func duplicateTicket() { if let id = tickets.randomElement(using: &random) { claim(id) } }

        mutating func claim(_ id: QueueMessageID) {
            let token: LeaseToken = moment.id()
            let claimed = book.claim(id, token: token, moment)
            commit("claim \(id): \(claimed != nil)")
            guard let claimed else { return }
            if controls[claimed.content.queue]?.isSet == true { faults.append("\(id) was claimed while its queue rested") }
            if claimed.content.runAt > now { faults.append("\(id) was claimed before its time") }
            attempts.append(Attempt(message: claimed, token: token))
        }

        mutating func heartbeat(_ attempt: Attempt) {
            _ = book.heartbeat(attempt.message.id, attempt: attempt.message.attempt, token: attempt.token, now)
            commit("heartbeat \(attempt.message.id)")
        }

        mutating func advanceAttempt() {
            guard !attempts.isEmpty else { return }
            let index = Int.random(in: attempts.indices, using: &random)
            let attempt = attempts[index]
            let id = attempt.message.id
            if !attempt.isSending, !chance(5) {
                let owner = rows[id]?.lease?.token
                let mayBeSent = book.handingOver(id, attempt: attempt.message.attempt, token: attempt.token, moment)
                commit("handing over \(id): \(mayBeSent)")
                guard mayBeSent else {
                    attempts.remove(at: index)
                    return
                }
                if owner != attempt.token { faults.append("\(id) was handed over by somebody who did not have it") }
                attempts[index].isSending = true
                handOvers += 1
                if !perhapsSent.insert(id).inserted { faults.append("\(id) was handed over twice") }
                if !accepted.contains(id) { faults.append("\(id) came second under its key, and was handed over") }
                if calledOff.contains(id) { faults.append("\(id) was handed over after it was called off") }
                if let expiry = attempt.message.content.expiresAt, expiry <= now { faults.append("\(id) was handed over after it expired") }
                return
            }
            attempts.remove(at: index)
            let outcome: SendOutcome =
                switch Int.random(in: 0..<8, using: &random) {
                case 0...2: .sent(providerID: nil)
                case 3...4: .failed(reason: "f")
                case 5: .postponed(until: now + .seconds(2), reason: "p")
                case 6: .refused(reason: "r")
                default: .unknown(reason: "u")
                }
            let before = rows[id]
            let ending = book.ended(id, attempt: attempt.message.attempt, token: attempt.token, outcome, moment)
            commit("ended \(id) \(outcome): \(ending)")
            guard ending != .superseded else {
                if rows[id] != before { faults.append("\(id): a late finisher has changed the row") }
                if case .sent = outcome, attempt.isSending { sentAfterAll(id) }
                return
            }
            if before?.lease?.token != attempt.token { faults.append("\(id) was ended by somebody who did not have it") }
            switch outcome {
            case .failed, .postponed, .refused: perhapsSent.remove(id)
            case .sent, .dropped, .unknown: break
            }
        }

        mutating func sentAfterAll(_ id: QueueMessageID) {
            guard let stored = rows[id] else { return }
            _ = book.readBegan(now)
            let isDone = book.sentAfterAll(stored, providerID: "late", moment)
            book.readEnded()
            commit("sent after all \(id): \(isDone)")
            if isDone, let state = rows[id]?.state, ![.sent, .sending, .forgotten].contains(state) {
                faults.append("\(id) was sent, and is \(state)")
            }
        }

        mutating func beginPlan() {
            guard plans.count < 3 else { return }
            let subject = "s\(Int.random(in: 0..<8, using: &random))"
            _ = book.readBegan(now)
            plans.append((subject, rows.values.filter { $0.content.subject == subject }.sorted { ($0.createdAt, $0.id) < ($1.createdAt, $1.id) }))
            commit("plan \(subject)")
        }

        /// The rules are others: some of what is planned is moved, some withdrawn, some asked for again.
        mutating func endPlan() {
            guard !plans.isEmpty else { return }
            let plan = plans.remove(at: Int.random(in: plans.indices, using: &random))
            let queue = queues.randomElement(using: &random)!
            for message in book.asTheyAre(plan.rows.filter { $0.content.queue == queue }, about: plan.subject, in: queue) ?? [] {
                if let stored = rows[message.id], stored != message { faults.append("\(message.id) is not as it is said to be") }
                guard message.state.isWaiting || message.isWithdrawn, chance(2) else { continue }
                var content = message.content
                content.runAt = now + .seconds(Int.random(in: 0...90, using: &random))
                content.expiresAt = nil
                let isWithdrawn = message.state.isWaiting && chance(2)
                if isWithdrawn { calledOff.insert(message.id) } else { calledOff.remove(message.id) }
                book.revise(message, to: isWithdrawn ? nil : content, moment)
            }
            book.readEnded()
            commit("planned \(plan.subject)")
        }

        mutating func beginRead() {
            guard reads.count < 3, book.needsStore(now) || chance(4) else { return }
            reads.append(Read(errand: book.readBegan(now), rows: rows))
            commit("read")
        }

        mutating func endRead() {
            guard !reads.isEmpty else { return }
            let read = reads.remove(at: Int.random(in: reads.indices, using: &random))
            if chance(5) {
                book.readEnded()
                return commit("read failed")
            }
            let all = read.rows.values.sorted { ($0.createdAt, $0.id) < ($1.createdAt, $1.id) }
            func first(_ keys: [String]) -> [String: QueueMessageID] {
                var first: [String: QueueMessageID] = [:]
                for message in all { if let key = message.content.key, keys.contains(key), first[key] == nil { first[key] = message.id } }
                return first
            }
            for (queue, inMemory) in read.errand.queues {
                let limit = rules.inMemory + inMemory
                let waiting = all.filter { $0.content.queue == queue && $0.state.isWaiting }
                let due = waiting.filter { $0.content.runAt <= read.errand.now }
                    .sorted { ($0.content.priority, $0.content.runAt, $0.id) < ($1.content.priority, $1.content.runAt, $1.id) }
                let later = waiting.filter { $0.content.runAt > read.errand.now }.sorted { ($0.content.runAt, $0.id) < ($1.content.runAt, $1.id) }
                let horizon = read.errand.now + rules.horizon
                var reading = QueueBook.Reading()
                reading.messages = Array(due.prefix(limit))
                if due.count >= limit {
                    (reading.beyond, reading.cutPriority) = (read.errand.now, reading.messages.last?.content.priority)
                } else {
                    let soon = Array(later.filter { $0.content.runAt <= horizon }.prefix(limit))
                    reading.messages += soon
                    reading.beyond =
                        soon.count == limit
                        ? soon[limit - 1].content.runAt : later.first { $0.content.runAt > horizon }?.content.runAt ?? .distantFuture
                }
                let winners = first(reading.messages.compactMap(\.content.key))
                reading.duplicates = Set(reading.messages.filter { $0.content.key.map { winners[$0] }.flatMap { $0 } ?? $0.id != $0.id }.map(\.id))
                book.adopt(reading, of: queue, now)
            }
            book.confirmed(read.errand.keys, first: first(read.errand.keys), now)
            let found = all.filter { message in
                message.state.isWaiting && message.content.subject.flatMap { read.errand.callOffs[$0] }.map { message.createdAt < $0 } ?? false
            }
            book.calledOff(read.errand.callOffs, Array(found.prefix(5)), isAll: found.count < 5, now)
            book.readEnded()
            commit("read ended")
        }

        /// A person does something to a message, as its row was a while ago.
        mutating func order() {
            guard let stored = rows.values.filter({ $0.state != .forgotten }).sorted(by: { $0.id < $1.id }).randomElement(using: &random) else {
                return
            }
            _ = book.readBegan(now)
            // Of what was withdrawn nothing is left, and its key may come again: for a test of its own.
            if stored.isWithdrawn { return book.readEnded() }
            let order: QueueBook.Order = [.cancel(reason: "by hand"), .retry, .retry, .clear].randomElement(using: &random)!
            let changed = book.carryOut(order, on: stored, moment)
            book.readEnded()
            commit("\(order) \(stored.id): \(changed != nil)")
            guard changed != nil else { return }
            // Whoever retries what is in doubt takes it upon them.
            if order == .retry {
                perhapsSent.remove(stored.id)
                calledOff.remove(stored.id)
            }
        }

        /// The process ends, or the live state is dropped. Workers of before may go on for a while, and speak up late.
        mutating func crash() {
            reads = []
            plans = []
            let last = rows.values.map(\.createdAt).max() ?? Timestamp(milliseconds: 0)
            book = QueueBook(rules: rules, lastTime: last)
            for (queue, control) in controls { book.adopt(control, on: queue) }
            for (subject, callOff) in callOffs { book.adopt(callOff, of: subject) }
            book.adopt(openCount: rows.values.count { $0.state.isOpen })
            for queue in queues {
                if let first = rows.values.filter({ $0.content.queue == queue && $0.state.isWaiting }).map(\.content.runAt).min() {
                    book.adopt(beyond: first, of: queue)
                }
            }
            for message in rows.values.filter(\.state.isHeld).sorted(by: { $0.id < $1.id }) { book.adopt(held: message, now) }
            history.append("crash")
        }

        /// From here on all is well: whatever was taken comes to an end.
        mutating func finish() {
            guard faults.isEmpty else { return }
            let maria = Principal(tenant: tenant, user: UserID(UniqueID(high: 1, low: 2)), role: .owner, name: "Maria")
            for queue in queues { book.put(QueueControl(.paused, isSet: false, by: maria, reason: nil, at: now), on: queue) }
            commit("resume")
            while !reads.isEmpty { endRead() }
            while !plans.isEmpty { endPlan() }
            var rounds = 0
            while rows.values.contains(where: { $0.state.isWaiting || $0.state.isHeld }), rounds < 20_000, faults.isEmpty {
                rounds += 1
                if book.needsStore(now) {
                    beginRead()
                    while !reads.isEmpty { endRead() }
                }
                offerAndClaim()
                while !attempts.isEmpty, faults.isEmpty { advanceAttempt() }
                let due = book.nextDue(at: now)
                if book.ready.isEmpty, !book.needsStore(now), due < .distantFuture { clock.advance(by: max(.milliseconds(1), due - now)) }
                book.timePassed(moment)
                commit("time")
            }
            let open = rows.values.filter { $0.state.isWaiting || $0.state.isHeld }
            if faults.isEmpty, let one = open.first { faults.append("\(open.count) never ended, such as \(one)") }
            let lost = accepted.filter { id in rows[id] == nil }
            // Put away without a key: nothing is left of it.
            for id in lost where !history.contains("\(id)") {
                if !history.contains(where: { $0.contains("clear \(id): true") }) { faults.append("\(id) is lost") }
            }
        }
    }
}
