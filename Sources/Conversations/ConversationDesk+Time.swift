package import Kernel
import Wire

// What time does to the desk. One alarm for each conversation, for the earliest of:
//
//     offered            its offer runs out
//     queued             whoever declined it may be asked again
//     snoozed            the pause ends
//     active, queued, …  a promise is to be warned of, or is broken (`ServiceLevels`)
//     bot, active        nobody has written for so long that it is closed
//     resolved           an answer to how it was is no longer waited for
//
// One for each of which the bot owes something (`botTimePassed`);
//
// and, for the desk as a whole, the end of the next wrap-up and the next telling of estimates. An alarm carries nothing: who is woken looks at the state,
// whose own times are the generation. One that was set for a state that is gone finds no time that is past, does nothing, and is set anew.

extension ConversationDesk {
    /// When something falls due next.
    package var nextDeadline: Timestamp? {
        [deadlines.next, botDeadlines.next, pool.nextWrapUpEnd, line.places.isEmpty ? nil : outlook.dueAt].compactMap { $0 }.min()
    }

    var offerTimeout: Duration { rules.offerTimeout ?? settings.offerTimeout }

    func look(at conversation: Conversation) {
        deadlines.set(conversation.id, at: Self.nextLook(conversation, rules, missed: lastMissed[conversation.id]))
    }

    static func nextLook(_ conversation: Conversation, _ rules: DeskSettings, missed: Missed?) -> Timestamp? {
        let stateEnds: Timestamp? =
            switch conversation.state {
            case .offered(let offer, _): offer.expiresAt
            case .snoozed(_, let until): until
            // What was silence is over as it is noted.
            case .queued: missed.flatMap { $0.isRefusal ? $0.notBefore : nil }
            case .resolved: conversation.satisfaction?.until
            case .bot, .active: nil
            }
        return [stateEnds, conversation.levels.next, idleUntil(conversation, rules)].compactMap { $0 }.min()
    }

    /// When it is closed if nobody writes.
    static func idleUntil(_ conversation: Conversation, _ rules: DeskSettings) -> Timestamp? {
        let last = conversation.lastMessage?.at ?? conversation.createdAt
        return switch conversation.state {
        case .bot: rules.botInactivity.map { max(last, conversation.stateSince) + $0 }
        case .active where conversation.owedSince == nil: rules.consultorInactivity.map { max(last, conversation.stateSince) + $0 }
        default: nil
        }
    }

    /// Everything that has fallen due. Late alarms find nothing to do.
    package func timePassed(_ moment: Moment) -> Change {
        var turn = Turn(moment)
        let due = deadlines.due(at: moment.now)
        var postponed: [ConversationID] = []
        for id in due {
            guard let conversation = sessions[id]?.conversation else { continue }
            stateEnds(conversation, &turn)
            promisesFallDue(id, &turn)
            guard let until = Self.idleUntil(conversation, rules), until <= moment.now else { continue }
            if isOwedSomething(id) { postponed.append(id) } else { closeForInactivity(id, &turn) }
        }
        turn.cause = "wrap_up_ended"
        turn.change.append(pool.timePassed(moment))
        turn.cause = "bot"
        botTimePassed(&turn)
        let change = finish(turn)
        for id in due { if let conversation = sessions[id]?.conversation { look(at: conversation) } }
        for id in postponed { deadlines.set(id, at: moment.now + Self.inactivityPause) }
        return change
    }

    private func stateEnds(_ conversation: Conversation, _ turn: inout Turn) {
        let (id, moment) = (conversation.id, turn.moment)
        switch conversation.state {
        case .offered(let offer, _) where offer.expiresAt <= moment.now:
            turn.cause = "offer_expired"
            alter(id, &turn) { $0.offerEnded(moment) }
            lastMissed[id] = Missed(consultor: offer.consultor, notBefore: moment.now, isRefusal: false)
            turn.change.append(pool.missed(id, offer.consultor, bySilence: true, moment))
            record("\(name(offer.consultor)) não respondeu à oferta a tempo", by: .system, id, &turn)
            // After so many in a row they are taken to be away, and nothing else waits for them.
            if !pool.isOnline(offer.consultor) {
                turn.cause = "missed_offers"
                auditConsultor(offer.consultor, isOnline: false, &turn)
                wentAway(offer.consultor, &turn)
            }
        case .snoozed(_, let until) where until <= moment.now:
            turn.cause = "snooze_ended"
            guard alter(id, &turn, { $0.snoozeEnded(moment) }) else { break }
            record("A pausa terminou", by: .system, id, &turn)
            requeueIfAway(id, &turn)
        case .resolved:
            guard let until = conversation.satisfaction?.until, until <= moment.now else { break }
            alter(id, &turn) { $0.satisfaction?.until = nil }
            lingeringSessions.touch(id, at: moment.now)
        default: break
        }
    }

    // MARK: Promises

    /// A person is asked for: the clocks for the first answer and for the end run.
    func attendanceBegan(_ id: ConversationID, _ turn: inout Turn) {
        begin(.firstAnswer, id, &turn)
        begin(.resolution, id, &turn)
    }

    func begin(_ metric: ServiceLevels.Metric, _ id: ConversationID, _ turn: inout Turn) {
        guard let promise = rules.promise(metric, from: turn.moment.now) else { return }
        alter(id, &turn) { $0.levels.began(metric, dueAt: promise.dueAt, warnAt: promise.warnAt) }
    }

    private func promisesFallDue(_ id: ConversationID, _ turn: inout Turn) {
        let now = turn.moment.now
        guard let next = sessions[id]?.conversation.levels.next, next <= now else { return }
        let reached = alter(id, &turn) { $0.levels.timePassed(now) }
        for (metric, stage, dueAt) in reached { tellPromise(metric, stage, dueAt, id, &turn) }
    }

    /// A promise that is given up is a broken one.
    func breakPromise(_ metric: ServiceLevels.Metric, _ id: ConversationID, _ turn: inout Turn) {
        guard let dueAt = alter(id, &turn, { $0.levels.broke(metric) }) else { return }
        tellPromise(metric, .breached, dueAt, id, &turn)
    }

    private func tellPromise(
        _ metric: ServiceLevels.Metric,
        _ stage: ServiceLevels.Stage,
        _ dueAt: Timestamp,
        _ id: ConversationID,
        _ turn: inout Turn
    ) {
        let assignee = sessions[id]?.conversation.assignee
        let user = assignee.flatMap { pool.attendant($0)?.user }
        for channel in ["supervision"] + (user.map { ["user:\($0)"] } ?? []) {
            turn.change.events.append(
                event(channel, stage == .breached ? "sla.breached" : "sla.warned") {
                    $0.field("conversation_id", id.description)
                    $0.field("metric", metric.rawValue)
                    $0.field("due_at", dueAt.description)
                    $0.field("consultor_id", assignee)
                }
            )
        }
        let cause = turn.cause
        turn.cause = "sla_\(metric.rawValue)_\(stage.rawValue)"
        audit(id, &turn)
        turn.cause = cause
    }

    // MARK: Inactivity

    /// How soon it is looked again whether a conversation that is owed something may be closed.
    private static let inactivityPause = Duration.seconds(30)

    /// It is not for the customer to say something: the bot is about to, or what was said has not left yet.
    private func isOwedSomething(_ id: ConversationID) -> Bool {
        guard let session = sessions[id] else { return false }
        return session.burst != nil || session.consultation != nil
            || session.recent.contains { messages[$0].map { $0.direction == .outbound && $0.status.isOnItsWay } ?? false }
    }

    private func closeForInactivity(_ id: ConversationID, _ turn: inout Turn) {
        guard let conversation = sessions[id]?.conversation else { return }
        let (moment, assignee, contact) = (turn.moment, conversation.assignee, conversation.contact)
        turn.cause = "inactivity"
        if let text = rules.inactivityMessage { botSays(text, id, in: nil, &turn) }
        record("A conversa foi encerrada por falta de resposta", by: .system, id, &turn)
        let (_, released) = alter(id, &turn) { $0.resolved(moment) }
        if let assignee {
            turn.change.append(pool.finished(id, by: assignee, moment))
            attended(by: assignee, contact, &turn)
        } else if let released {
            turn.change.append(pool.released(id, by: released, moment))
        }
        lastMissed[id] = nil
        lingeringSessions.touch(id, at: moment.now)
    }
}
