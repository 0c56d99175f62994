package import Kernel
package import Wire

/// The live queues of one business: runs `QueueBook`, and turns what it says into rows and events.
///
/// Shares the tenant's executor: whoever decides that something is to be sent adds it in the same turn, and the message is stored with what it is about.
package actor MessageQueues {
    private let executor: any Actor
    private let tenant: TenantID
    private var book: QueueBook
    /// As they were counted last.
    private var stats = QueueStats()
    private var uncharged: [(content: OutgoingMessage, at: Timestamp)] = []

    package nonisolated var unownedExecutor: UnownedSerialExecutor { executor.unownedExecutor }

    package init(executor: any Actor, tenant: TenantID, loaded: QueueBook) {
        self.executor = executor
        self.tenant = tenant
        book = loaded
    }

    // MARK: For whoever wants something sent

    /// A message under a key that was ever used is not taken.
    package func add(_ messages: [OutgoingMessage], _ moment: Moment) -> Change {
        _ = book.add(messages, moment)
        return settled()
    }

    /// What is about this and has not been handed over ends as `cancelled`.
    package func callOff(subject: String, reason: String, _ moment: Moment) -> Change {
        book.callOff(subject, reason: reason, moment)
        return settled()
    }

    // MARK: Turns

    /// One turn of the machine.
    package func decide<T>(_ body: (inout QueueBook) -> T) -> (T, Change) {
        let answer = body(&book)
        return (answer, settled())
    }

    package func timePassed(_ moment: Moment) -> Change {
        book.timePassed(moment)
        return settled()
    }

    /// What takes nothing of the plan any more, since this was last asked.
    package func takeUncharged() -> [(content: OutgoingMessage, at: Timestamp)] {
        defer { uncharged = [] }
        return uncharged
    }
    package var hasUncharged: Bool { !uncharged.isEmpty }

    /// To look at what is there.
    package func reading<T>(_ body: (QueueBook) -> T) -> T { body(book) }

    package func nextDue(at now: Timestamp) -> Timestamp { book.nextDue(at: now) }

    /// What workers are to be told of.
    package func wants(at now: Timestamp) -> QueueBell.Wants { QueueBell.Wants(ready: book.ready, needsStore: book.needsStore(now)) }

    private func settled() -> Change {
        let effects = book.effects
        guard !effects.isEmpty else { return Change() }
        book.effects = QueueBook.Effects()
        uncharged += effects.uncharged
        var change = Change()
        for message in effects.changed {
            change.rows.append(message.image(of: tenant))
            // Everybody of the business may listen.
            if message.state.isFailed, !message.content.isOfTheAccount {
                let json = message.json(at: message.finishedAt ?? message.createdAt, .masked)
                change.events.append(event("jobs.failed") { $0.field("message", raw: json) })
            }
        }
        change.facts += effects.foundNoRoom.sorted { $0.key.rawValue < $1.key.rawValue }.map {
            .messagesFoundNoRoom(tenant: tenant, queue: $0.key.rawValue, count: $0.value)
        }
        for (id, version) in effects.deleted {
            change.rows.append(RowImage(deleting: [.id(tenant), .id(id)], from: QueueTables.messages, version: version))
        }
        for (queue, control) in effects.controls {
            // What is of the whole server is stored once, by who runs it.
            change.rows.append(control.image(of: queue, tenant))
            change.events.append(
                event("jobs.control") {
                    $0.field("queue", queue.rawValue)
                    $0.field("paused", book.isHeldUp(queue))
                    $0.field("kind", control.kind.rawValue)
                    $0.field("set", control.isSet)
                    $0.field("by", control.byName)
                    $0.field("reason", control.reason)
                }
            )
        }
        for (subject, callOff) in effects.callOffs {
            change.rows.append(
                RowImage(
                    QueueTables.callOffs,
                    version: callOff.at.milliseconds,
                    values: [.id(tenant), .text(subject), .text(callOff.reason), .timestamp(callOff.at)]
                )
            )
        }
        for (subject, version) in effects.callOffsEnded {
            change.rows.append(RowImage(deleting: [.id(tenant), .text(subject)], from: QueueTables.callOffs, version: version))
        }
        return change
    }

    private func event(_ type: String, _ members: (inout JSONWriter) -> Void) -> Event {
        var writer = JSONWriter(capacity: 512)
        writer.object {
            $0.field("type", type)
            members(&$0)
        }
        return Event(channel: "jobs", payload: writer.bytes)
    }

    // MARK: What is shown

    /// - Returns: the news of it, when it is other than what was told last.
    package func counted(_ new: QueueStats, _ now: Timestamp) -> Change {
        defer { stats = new }
        let changed = QueueName.allCases.filter { new[$0] != stats[$0] }
        guard !changed.isEmpty else { return Change() }
        var change = Change()
        change.events = [
            event("jobs.stats") {
                $0.field("at", now.description)
                $0.field("queues", object: { members in for queue in changed { write(queue, new, to: &members, now) } })
            }
        ]
        return change
    }

    /// The snapshot of `jobs`.
    package func snapshot(_ now: Timestamp) -> [UInt8] {
        var writer = JSONWriter(capacity: 2048)
        writer.object {
            $0.field("at", now.description)
            $0.field("queues", object: { members in for queue in QueueName.allCases { write(queue, stats, to: &members, now) } })
        }
        return writer.bytes
    }

    /// Each queue by its name, as `GET /api/queues/status` has it.
    private func write(
        _ queue: QueueName,
        _ stats: QueueStats,
        ofServer: QueueControl? = nil,
        to members: inout JSONWriter,
        _ now: Timestamp
    ) {
        let (one, controls) = (stats[queue], controls(of: queue, ofServer))
        members.field(
            queue.rawValue,
            object: {
                $0.field("length", one.available)
                $0.field("groups", 1)
                $0.field("last-entry", one.last.map { "\($0.milliseconds)-0" })
                $0.field("states", object: { states in for (name, count) in one.shownCounts { states.field(name, count) } })
                $0.field("oldest_available_at", one.oldest?.description)
                $0.field("oldest_available_seconds", one.oldest.map { max(0, (now - $0).inMilliseconds / 1000) })
                $0.field("paused", !controls.isEmpty)
                $0.list("paused_by") { list in for control in controls { control.write(to: &list) } }
            }
        )
    }

    private func controls(of queue: QueueName, _ ofServer: QueueControl?) -> [QueueControl] {
        var controls = book.controls[queue] ?? [:]
        if let ofServer { controls[ofServer.kind] = ofServer }
        return controls.values.filter(\.isSet).sorted { ($0.at, $0.kind.rawValue) < ($1.at, $1.kind.rawValue) }
    }

    /// Contract's `GET /api/queues/status`: `{"appointment_confirmations": {…}, …, "scheduled_messages": {"length"}}`.
    package func status(_ stats: QueueStats, ofServer: [QueueName: QueueControl], _ now: Timestamp) -> [UInt8] {
        var writer = JSONWriter(capacity: 2048)
        writer.object { members in
            for queue in QueueName.allCases { write(queue, stats, ofServer: ofServer[queue], to: &members, now) }
            members.field("scheduled_messages", object: { $0.field("length", QueueName.allCases.reduce(0) { $0 + stats[$1].scheduled }) })
        }
        return writer.bytes
    }

    /// Who works, for `GET /api/queues/workers/status`.
    /// - Parameter busy: attempts of this business under way.
    package func workers(busy: [QueueName: Int], concurrency: Int, ofServer: [QueueName: QueueControl]) -> [UInt8] {
        var writer = JSONWriter(capacity: 1024)
        writer.object { members in
            let isRunning = QueueName.allCases.contains { queue in controls(of: queue, ofServer[queue]).allSatisfy { $0.kind == .paused } }
            members.field("running", isRunning)
            members.field("workers", object: { write(busy: busy, concurrency, ofServer, to: &$0) })
        }
        return writer.bytes
    }

    private func write(busy: [QueueName: Int], _ concurrency: Int, _ ofServer: [QueueName: QueueControl], to members: inout JSONWriter) {
        for queue in QueueName.allCases {
            let controls = controls(of: queue, ofServer[queue]).filter { $0.kind != .paused }
            members.field(
                queue.rawValue,
                object: {
                    $0.field("status", controls.isEmpty ? "running" : "stopped")
                    $0.field("running", controls.isEmpty)
                    $0.field("workers", concurrency)
                    $0.field("busy", busy[queue] ?? 0)
                    $0.list("stopped_by") { list in for control in controls { control.write(to: &list) } }
                }
            )
        }
    }
}
