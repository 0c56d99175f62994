import Jobs
package import Kernel
package import Plans
import Scheduling
package import Storage
import Wire

// The turns that count, and are counted in.

extension TenantCell {
    /// To be called at the beginning of a turn that looks at the usage.
    func meterIsNow(_ moment: Moment) {
        let (zone, standing) = calendar.assumeIsolated { ($0.zone, $0.standing) }
        meter.isNow(moment.now, zone: zone, services: standing.services, staff: standing.staff)
    }

    /// The change of a turn with what follows for the usage: to be committed as one.
    func metered(_ change: inout Change, _ moment: Moment) -> Change {
        let (counted, letters) = meter.settled(moment)
        change.append(counted)
        if !letters.isEmpty { post(letters, tenant) }
        return change
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

    /// The plan is another now.
    /// - Returns: the usage under it, and the names of what is above its limit.
    package func planChanged(from former: PlanType, by name: String, at time: Timestamp) -> Pending<(usage: [UInt8], over: [String])> {
        let moment = environment.moment()
        meterIsNow(moment)
        var change = Change()
        change.events.append(meter.planChanged(from: former, by: name, at: time))
        return Pending(.success((meter.json, meter.over)), commit(metered(&change, moment)))
    }

    /// Takes so many of what is metered within a turn of this cell: to be followed by `metered` in the same turn.
    /// - Throws: 402, and nothing is taken.
    package func reserve(_ resource: PlanResource, _ count: Int, operation: String? = nil) throws(Refusal) {
        meterIsNow(environment.moment())
        try meter.reserve(resource, count, operation: operation)
    }
}
