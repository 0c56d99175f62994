package import Kernel

// What the desk does when its people come and go. Offers to whoever goes return to the line at once. What they are attending stays with them, unless the
// business wants it back in the line once their connection is lost (`DeskSettings.requeuesWhenLost`), or they may not log in any more.

extension ConversationDesk {
    /// Why a consultor is no longer there.
    package enum Leaving: Sendable {
        /// They said so, or somebody for them: they go on with what they have.
        case byHand
        /// Their last connection is gone, and its grace over.
        case lost
        /// Their account was closed.
        case closed
    }

    /// A consultor went.
    package func attendantLeft(_ consultor: Int64, _ leaving: Leaving = .byHand, by author: Author = .system, _ moment: Moment) -> Change {
        var turn = Turn(moment, by: author, cause: leaving == .byHand ? "went_offline" : leaving == .lost ? "connection_lost" : "account_closed")
        outlook.isStale = true
        auditConsultor(consultor, isOnline: false, &turn)
        turn.actor = .system
        turn.cause = "consultor_left"
        wentAway(consultor, &turn)
        if leaving == .closed || leaving == .lost && rules.requeuesWhenLost {
            for id in (inbox.work[consultor] ?? []).sorted() where leaving == .closed || sessions[id]?.conversation.state.name == "active" {
                backToLine(id, &turn)
            }
        }
        return finish(turn)
    }

    /// Consultors came or changed: somebody in line may have found somebody.
    package func consultoresChanged(_ moment: Moment) -> Change {
        outlook.isStale = true
        return finish(Turn(moment))
    }

    /// One came online.
    package func attendantCame(_ consultor: Int64, by author: Author, _ moment: Moment) -> Change {
        var turn = Turn(moment, by: author, cause: "came_online")
        outlook.isStale = true
        turn.touched.insert(consultor)
        auditConsultor(consultor, isOnline: true, &turn)
        turn.actor = .system
        return finish(turn)
    }

    /// Something else about one has changed: what they can do, or how many they can have.
    /// - Parameter isStopped: they are to have no more offers.
    package func attendantChanged(_ consultor: Int64, isStopped: Bool, by author: Author, _ moment: Moment) -> Change {
        var turn = Turn(moment, by: author, cause: "consultor_changed")
        outlook.isStale = true
        audit(consultor: consultor, from: nil, to: nil, &turn)
        turn.actor = .system
        turn.cause = "consultor_left"
        if isStopped { wentAway(consultor, &turn) }
        return finish(turn)
    }

    func auditConsultor(_ consultor: Int64, isOnline: Bool, _ turn: inout Turn) {
        audit(consultor: consultor, from: isOnline ? "offline" : "online", to: isOnline ? "online" : "offline", &turn)
    }

    /// What was on offer to them goes to whoever's turn it is now, in its old place; and supervisors see that what they have is with nobody who is there.
    func wentAway(_ consultor: Int64, _ turn: inout Turn) {
        let moment = turn.moment
        turn.touched.insert(consultor)
        for place in line.places {
            guard let offer = sessions[place.conversation]?.conversation.offer, offer.consultor == consultor else { continue }
            alter(place.conversation, &turn) { $0.offerEnded(moment) }
            turn.change.append(pool.missed(place.conversation, consultor, bySilence: false, moment))
            record("\(name(consultor)) saiu; a oferta voltou para a fila", by: .system, place.conversation, &turn)
        }
    }

    /// A pause is over, and who paused is not there.
    func requeueIfAway(_ id: ConversationID, _ turn: inout Turn) {
        guard rules.requeuesWhenLost, let assignee = sessions[id]?.conversation.assignee, !pool.isOnline(assignee) else { return }
        backToLine(id, &turn)
    }

    private func backToLine(_ id: ConversationID, _ turn: inout Turn) {
        let moment = turn.moment
        do throws(Refusal) {
            let present = try alter(id, &turn) { c throws(Refusal) in try c.requeued(language: nil, moment) }
            turn.change.append(pool.released(id, by: present, moment))
            lastMissed[id] = nil
            _ = protocolNumber(of: id, &turn)
            record("\(name(present)) não está mais on-line; a conversa voltou para a fila", by: .system, id, &turn)
        } catch {
            preconditionFailure("what somebody has can be put back in line: \(error)")
        }
    }
}
