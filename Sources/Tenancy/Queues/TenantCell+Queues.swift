package import Jobs
import Kernel
package import Storage
import Telemetry

// The turns of the queues.

extension QueueBook {
    /// Whether so many more find no room.
    func refusal(of count: Int, isOwn: Bool = false) -> Refusal? {
        guard !hasRoom(for: count, isOwn: isOwn) else { return nil }
        var refusal = Refusal(
            .tooMany,
            "queue_full",
            "Há \(openCount) mensagens à espera de envio, e o máximo é \(rules.maxOpen); espere que saiam, ou cancele algumas.",
            retryAfterSeconds: 60
        )
        refusal.numbers = ["limit": rules.maxOpen, "waiting": openCount]
        return refusal
    }
}

extension TenantCell {
    /// One turn of the machine.
    private func onQueues<T: Sendable>(_ body: @Sendable (inout QueueBook, Moment) -> T) -> Pending<T> {
        let moment = environment.moment()
        var (answer, change, hasUncharged) = queues.assumeIsolated { queues in
            let (answer, change) = queues.decide { body(&$0, moment) }
            return (answer, change, queues.hasUncharged)
        }
        guard hasUncharged else { return Pending(.success(answer), commit(change)) }
        meterIsNow(moment)
        return Pending(.success(answer), commit(metered(&change, moment)))
    }

    /// - Returns: each message's id; that of the first under its key where there was one. 402 when the plan has no room for all of them, and none is put in.
    package func enqueue(_ messages: [OutgoingMessage]) -> Pending<[QueueMessageID]> {
        let moment = environment.moment()
        let isOwn = messages.allSatisfy(\.isOfTheAccount)
        if let full = queues.assumeIsolated({ $0.reading { $0.refusal(of: messages.count, isOwn: isOwn) } }) {
            for message in messages { metrics.queueRefusals.add(1, LabelValues(message.queue.rawValue, "request")) }
            return Pending(.failure(full), commit(Change()))
        }
        do throws(Refusal) { try take(messages, moment) } catch {
            var change = Change()
            refused(error)
            return Pending(.failure(error), commit(metered(&change, moment)))
        }
        var (ids, change) = queues.assumeIsolated { queues in queues.decide { $0.add(messages, isCharged: true, moment) } }
        return Pending(.success(ids), commit(metered(&change, moment)))
    }

    // MARK: Workers

    /// Not stored: what is offered is still there for whoever claims it.
    package func offerMessage(of queue: QueueName) -> QueueMessageID? {
        let now = environment.now()
        return queues.assumeIsolated { queues in queues.decide { $0.offer(queue, now) }.0 }
    }

    package func withdrawOffer(_ id: QueueMessageID) -> Pending<Void> { onQueues { book, moment in book.withdraw(id, moment.now) } }

    package func claim(_ id: QueueMessageID, token: LeaseToken) -> Pending<QueueMessage?> {
        onQueues { book, moment in book.claim(id, token: token, moment) }
    }

    /// What clients are told of their appointments counts in the plan when it goes out: it may have been planned long before, and be called off. What somebody
    /// puts in has counted then, and counts again when it is tried again after it was surely not sent. That it was counted is in its row, so that it counts once, over a crash as well.
    /// - Returns: whether it is to be handed over; if not, it is somebody else's by now, or over. Without room in the plan it waits for a person, as what a
    ///   provider refuses does: seen, and to be tried again.
    package func handingOver(_ message: QueueMessage, token: LeaseToken) -> Pending<Bool> {
        let moment = environment.moment()
        let (id, attempt) = (message.id, message.attempt)
        let held = queues.assumeIsolated { $0.reading { $0.wouldHandOver(id, attempt: attempt, token: token, moment.now) } }
        let counts = held.map { !$0.content.isOfTheAccount && $0.chargedAt == nil } ?? false
        var denial: Refusal?
        if counts {
            meterIsNow(moment)
            do throws(Refusal) { try meter.reserve(message.content.resource, 1) } catch { denial = error }
        }
        if let denial { refused(denial) }
        let why = denial?.message
        var (mayBeSent, change) = queues.assumeIsolated { queues in
            queues.decide { book in
                guard let why else { return book.handingOver(id, attempt: attempt, token: token, isCharged: counts, moment) }
                _ = book.ended(id, attempt: attempt, token: token, .refused(reason: why), moment)
                return false
            }
        }
        return Pending(.success(mayBeSent), commit(metered(&change, moment)))
    }

    package func heartbeat(_ message: QueueMessage, token: LeaseToken) -> Pending<Bool> {
        onQueues { book, moment in book.heartbeat(message.id, attempt: message.attempt, token: token, moment.now) }
    }

    package func ended(_ message: QueueMessage, token: LeaseToken, _ outcome: SendOutcome) -> Pending<QueueBook.Ending> {
        onQueues { book, moment in book.ended(message.id, attempt: message.attempt, token: token, outcome, moment) }
    }

    /// - Parameter stored: as it was read since `queueReadBegan`; nothing where there is no such message any more.
    /// - Returns: `false` where it is to be read once more.
    func sentAfterAll(_ stored: [QueueMessage], _ providerID: String?) -> Pending<Bool> {
        onQueues { book, moment in
            defer { book.readEnded() }
            return stored.first.map { book.sentAfterAll($0, providerID: providerID, moment) } ?? true
        }
    }

    /// A provider says that it could not deliver something.
    func deliveryFailed(_ providerID: String, reason: String) -> Pending<Void> {
        onQueues { book, _ in book.deliveryFailed(providerID, reason: reason) }
    }

    /// - Parameter stored: as they were read since `queueReadBegan`.
    func undelivered(_ stored: [QueueMessage], reason: String) -> Pending<Void> {
        onQueues { book, moment in
            defer { book.readEnded() }
            for message in stored { book.undelivered(message, reason: reason, moment) }
        }
    }

    // MARK: Reading on

    /// What is to be read, once everything decided so far is on disk.
    package func queueReadBegan() -> Pending<QueueBook.Errand> { onQueues { book, moment in book.readBegan(moment.now) } }

    package func queueReadEnded(_ findings: QueueBook.Findings?) -> Pending<Void> {
        onQueues { book, moment in
            if let findings {
                for (queue, reading) in findings.queues { book.adopt(reading, of: queue, moment.now) }
                book.confirmed(findings.keys, first: findings.first, moment.now)
                book.calledOff(findings.callOffs, findings.calledOff.messages, isAll: findings.calledOff.isAll, moment.now)
            }
            book.readEnded()
        }
    }

    // MARK: By hand

    /// Reads rows that a turn is to decide on, which has to say that the read is over (`carryOut`, `putAway`).
    nonisolated func readingQueues<T: Sendable>(_ read: () async throws(Refusal) -> T) async throws(Refusal) -> T {
        _ = try await queueReadBegan().committed()
        do throws(Refusal) { return try await read() } catch {
            _ = await queueReadEnded(nil)
            throw error
        }
    }

    /// Whether another message finds no room.
    func noRoom() -> Refusal? { queues.assumeIsolated { $0.reading { $0.refusal(of: 1) } } }

    package func carryOut(_ order: QueueBook.Order, on stored: [QueueMessage]) -> Pending<[QueueMessage]> {
        onQueues { book, moment in
            defer { book.readEnded() }
            return stored.compactMap { book.carryOut(order, on: $0, moment) }
        }
    }

    /// - Returns: to how many of them something was done, and how many are to be read once more.
    package func forget(_ stored: [QueueMessage]) -> Pending<(done: Int, again: Int)> {
        onQueues { book, moment in
            defer { book.readEnded() }
            let outcomes = stored.map { book.forget($0, reason: "o cliente foi removido", moment) }
            return (outcomes.count { $0 == .done }, outcomes.count { $0 == .changedMeanwhile })
        }
    }

    package func putAway(_ stored: [QueueMessage]) -> Pending<Void> {
        onQueues { book, _ in
            for message in stored { book.putAway(message) }
            book.readEnded()
        }
    }

    package func put(_ control: QueueControl, on queue: QueueName) -> Pending<Void> { onQueues { book, _ in book.put(control, on: queue) } }

    // MARK: What is shown

    package func queuesCounted(_ stats: QueueStats) -> Pending<Void> {
        let now = environment.now()
        return Pending(.success(()), commit(queues.assumeIsolated { $0.counted(stats, now) }))
    }

    package func queueStatus(_ stats: QueueStats, ofServer: [QueueName: QueueControl]) -> Pending<[UInt8]> {
        let now = environment.now()
        return Pending(.success(queues.assumeIsolated { $0.status(stats, ofServer: ofServer, now) }), commit(Change()))
    }

    package func queueWorkers(busy: [QueueName: Int], concurrency: Int, ofServer: [QueueName: QueueControl]) -> Pending<[UInt8]> {
        Pending(
            .success(queues.assumeIsolated { $0.workers(busy: busy, concurrency: concurrency, ofServer: ofServer) }),
            commit(Change())
        )
    }
}
