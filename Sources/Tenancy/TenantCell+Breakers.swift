package import Kernel
package import Resilience
package import Storage
import Wire

extension TenantCell {
    /// They change outside of any turn; what is told is what they are in this one, as with the snapshot: so whoever subscribes in between has the latest.
    package func breakersChanged() -> Pending<Void> {
        let json = BreakerReport.json(of: tenant, breakers)
        var change = Change()
        if json != toldBreakers { change.events = [BreakerReport.event(of: tenant, breakers)] }
        toldBreakers = json
        return settle(.success(((), change)))
    }

    /// Writes down what somebody told a breaker, and that they did; the breaker does it once that is on disk.
    /// - Parameter owner: whose breaker it is: the tenant, or who runs the server.
    package func ordered(_ order: BreakerOrder, _ dependency: Dependency, reason: String?, by principal: Principal, owner: TenantID) -> Pending<Void>
    {
        guard let breakers else { return settle(.success(((), Change()))) }
        let (moment, ticket) = (environment.moment(), Ticket())
        do throws(Refusal) {
            try breakers.decide(order, on: dependency, of: tenant, isOperator: owner == tenant, at: moment.now) { version, carryOut in
                let change = BreakerRecord.change(order, dependency, reason: reason, by: principal, owner: owner, version: version, moment)
                gate.enqueue(change, activation) { result in
                    if case .success = result { carryOut(true) } else { carryOut(false) }
                    ticket.settle(result)
                }
            }
            return Pending(.success(()), ticket)
        } catch { return settle(.failure(error)) }
    }
}
