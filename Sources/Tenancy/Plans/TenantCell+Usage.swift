import Jobs
package import Kernel
import Plans
import Scheduling
package import Storage
import Telemetry
import Wire

// The turns that count, and are counted in.

extension TenantCell {
    /// To be called at the beginning of a turn that looks at the usage.
    func meterIsNow(_ moment: Moment) {
        let owner = meter.owner
        let (zone, standing) = calendar.assumeIsolated { calendar in
            calendar.isOwned(by: owner)
            return (calendar.zone, calendar.standing)
        }
        meter.isNow(moment.now, zone: zone, services: standing.services, staff: standing.staff, customers: customers)
    }

    /// The change of a turn with what follows for the usage: to be committed as one.
    func metered(_ change: inout Change, _ moment: Moment) -> Change {
        for (content, at) in queues.assumeIsolated({ $0.takeUncharged() }) { meter.giveBack(content.resource, takenAt: at) }
        let (counted, letters) = meter.settled(moment)
        change.append(counted)
        if !letters.isEmpty { change.append(queues.assumeIsolated { $0.add(letters, moment) }) }
        return change
    }

    func refused(_ refusal: Refusal) {
        guard refusal.code == Refusal.planLimitCode, let resource = refusal.facts["resource"] else { return }
        metrics.planRefusals.add(1, LabelValues(resource))
    }

    // MARK: Messages

    /// What messages take of the plan. Those about the account itself take nothing, and neither do those whose key is known: they are not sent again.
    private func charge(_ messages: [OutgoingMessage]) -> [PlanResource: Int] {
        var charge: [PlanResource: Int] = [:]
        for message in messages where !message.isOfTheAccount {
            if let key = message.key, queues.assumeIsolated({ $0.reading { $0.isKnown(key) } }) { continue }
            charge[message.resource, default: 0] += 1
        }
        return charge
    }

    /// Takes what messages take of the plan, all or none. In the turn that puts them into the queues; `metered` follows.
    func take(_ messages: [OutgoingMessage], _ moment: Moment) throws(Refusal) {
        meterIsNow(moment)
        let charge = charge(messages).sorted { $0.key.rawValue < $1.key.rawValue }
        for (index, (resource, count)) in charge.enumerated() {
            do throws(Refusal) { try meter.reserve(resource, count) } catch {
                for (taken, count) in charge[..<index] { meter.giveBack(taken, count) }
                throw error
            }
        }
    }

    package func usage() -> Pending<[UInt8]> {
        let moment = environment.moment()
        meterIsNow(moment)
        var change = Change()
        return Pending(.success(meter.json), commit(metered(&change, moment)))
    }

    /// What is not made in the turns of this cell has changed, such as the users.
    package func accountChanged() -> Pending<Void> {
        let moment = environment.moment()
        meterIsNow(moment)
        var change = Change()
        return Pending(.success(()), commit(metered(&change, moment)))
    }

    /// The plan is another with this change: it is told, and counts, with it or not at all.
    /// - Returns: the usage under it, and the names of what is above its limit.
    package func planChanged(
        to plan: PlanType,
        from former: PlanType,
        by name: String,
        at time: Timestamp,
        with joint: JointChange
    ) -> Pending<(usage: [UInt8], over: [String])> {
        let moment = environment.moment()
        meterIsNow(moment)
        var change = joint.change
        if plan != former {
            meter.planIs(plan)
            change.events.append(meter.planChanged(from: former, by: name, at: time))
        }
        return Pending(.success((meter.json, meter.over)), commit(metered(&change, moment), joint.release))
    }
}

extension OutgoingMessage {
    var resource: PlanResource {
        switch channel {
        case .whatsapp: .whatsappMessages
        case .email: .emails
        }
    }
}
