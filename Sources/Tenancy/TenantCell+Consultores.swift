package import Consultores
import Conversations
package import Kernel
package import Storage

extension TenantCell {
    package func addConsultor(_ profile: ConsultorProfile) -> Pending<[UInt8]> {
        let (moment, desk) = (environment.moment(), desk)
        return onQueue { queue in Self.dispatching(queue.add(profile, moment), desk, moment) }
    }

    /// - Parameter author: who changed them, for the audit trail.
    package func updateConsultor(_ id: Int64, _ changes: ConsultorChanges, by author: Author = .system) -> Pending<[UInt8]> {
        let (moment, desk) = (environment.moment(), desk)
        return onQueue { queue throws(Refusal) in try Self.update(id, changes, queue, desk, by: author, moment) }
    }

    private static func update(
        _ id: Int64,
        _ changes: ConsultorChanges,
        _ queue: isolated ConsultorQueue,
        _ desk: ConversationDesk,
        leaving: ConversationDesk.Leaving = .byHand,
        by author: Author,
        _ moment: Moment
    ) throws(Refusal) -> ([UInt8], Change) {
        let wasOnline = queue.isOnline(id)
        var (json, change) = try queue.update(id, changes, moment)
        let isOnline = queue.isOnline(id)
        change.append(
            desk.assumeIsolated { desk in
                if wasOnline != isOnline {
                    return isOnline ? desk.attendantCame(id, by: author, moment) : desk.attendantLeft(id, leaving, by: author, moment)
                }
                return desk.attendantChanged(id, isStopped: changes.statusAtivo == false, by: author, moment)
            }
        )
        return (json, change)
    }

    /// A user who had no connection has one.
    package func agentCame(_ user: UserID) -> Pending<Void> {
        let desk = desk
        return onQueue { queue in
            var change = queue.connected(user)
            change.append(desk.assumeIsolated { $0.visitor(ContactID(user.value), isOnline: true) })
            return ((), change)
        }
    }

    /// A user has had no connection for the grace: the consultor they are goes offline, and what was on offer to them goes on at once.
    package func agentLeft(_ user: UserID) -> Pending<Void> {
        let (moment, desk) = (environment.moment(), desk)
        return onQueue { queue throws(Refusal) in
            guard let id = queue.onlineID(of: user) else { return ((), desk.assumeIsolated { $0.visitor(ContactID(user.value), isOnline: false) }) }
            var changes = ConsultorChanges()
            changes.statusOnline = false
            return ((), try Self.update(id, changes, queue, desk, leaving: .lost, by: .system, moment).1)
        }
    }

    /// A user may not log in any more: the consultor they are takes no more turns, and what they had goes back to the line.
    package func accountClosed(_ user: UserID, by author: Author) -> Pending<Void> {
        let (moment, desk) = (environment.moment(), desk)
        return onQueue { queue throws(Refusal) in
            guard let id = queue.id(of: user) else { return ((), Change()) }
            var changes = ConsultorChanges()
            changes.statusOnline = false
            changes.statusAtivo = false
            let wasOnline = queue.isOnline(id)
            var (_, change) = try Self.update(id, changes, queue, desk, leaving: .closed, by: author, moment)
            // Offline they may have had conversations all the same.
            if !wasOnline { change.append(desk.assumeIsolated { $0.attendantLeft(id, .closed, by: author, moment) }) }
            return ((), change)
        }
    }

    /// They are done with what follows a conversation.
    package func wrappedUp(_ id: Int64) -> Pending<[UInt8]> {
        let (moment, desk) = (environment.moment(), desk)
        return onQueue { queue throws(Refusal) in Self.dispatching(try queue.wrappedUp(id), desk, moment) }
    }

    package func removeConsultor(_ id: Int64) -> Pending<Void> {
        let moment = environment.moment()
        return onQueue { queue throws(Refusal) in ((), try queue.remove(id, moment)) }
    }

    package func takeTurn(idioma: String, _ command: IdempotentCommand?, earlier: String?) -> Pending<ConsultorQueue.Answer> {
        let moment = environment.moment()
        return onQueue { queue throws(Refusal) in try queue.takeTurn(idioma: idioma, command, earlier: earlier, moment) }
    }

    package func issueProtocol(consultor: Int64?, _ command: IdempotentCommand?, earlier: String?) -> Pending<ConsultorQueue.Answer> {
        let moment = environment.moment()
        return onQueue { queue throws(Refusal) in try queue.issueProtocol(consultor: consultor, command, earlier: earlier, moment) }
    }

    package func hasProtocol(_ id: Int64) -> Bool { queue.assumeIsolated { $0.hasProtocol(id) } }
    package func adopt(_ protocolo: Protocolo) { queue.assumeIsolated { $0.adopt(protocolo) } }

    package func updateProtocol(_ id: Int64, _ changes: ProtocoloChanges, by: String) -> Pending<[UInt8]> {
        let moment = environment.moment()
        return onQueue { queue throws(Refusal) in try queue.update(protocolo: id, changes, by: by, moment) }
    }

    package func importConsultor(_ line: ConsultorLine) -> Pending<ConsultorQueue.ImportOutcome> {
        let (moment, desk) = (environment.moment(), desk)
        return onQueue { queue throws(Refusal) in
            var (outcome, change) = try queue.imported(line, moment)
            if !change.rows.isEmpty { change.append(desk.assumeIsolated { $0.consultoresChanged(moment) }) }
            return (outcome, change)
        }
    }

    package func consultores() -> Pending<[UInt8]> { onQueue { ($0.list(), Change()) } }
    package func consultor(_ id: Int64) -> Pending<[UInt8]> { onQueue { queue throws(Refusal) in (try queue.one(id), Change()) } }
    package func consultorID(of user: UserID) -> Pending<Int64?> { onQueue { ($0.id(of: user), Change()) } }

    /// Whoever came online, or got capacity, may be who somebody in line waits for.
    private static func dispatching(_ decision: ([UInt8], Change), _ desk: ConversationDesk, _ moment: Moment) -> ([UInt8], Change) {
        var (json, change) = decision
        change.append(desk.assumeIsolated { $0.consultoresChanged(moment) })
        return (json, change)
    }
}
