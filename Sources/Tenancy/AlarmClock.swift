package import Kernel
import Synchronization

/// Wakes tenants when something of theirs falls due: an offer that nobody took, a snooze that ends. Works for tenants that sleep as well.
///
/// One entry per tenant, the earliest; whoever is woken looks at everything that is due and sets the next alarm. A late or needless alarm does nothing.
package final class AlarmClock: Sendable {
    private struct State {
        var alarms: [TenantID: Timestamp] = [:]
        var earliest: Timestamp?
    }

    private let state = Mutex(State())

    package init() {}

    package func set(_ tenant: TenantID, at time: Timestamp) {
        state.withLock { state in
            if let present = state.alarms[tenant], present <= time { return }
            state.alarms[tenant] = time
            if state.earliest.map({ time < $0 }) ?? true { state.earliest = time }
        }
    }

    /// The tenants whose alarm has gone off; it is set no more.
    package func due(at now: Timestamp) -> [TenantID] {
        state.withLock { state in
            guard let earliest = state.earliest, earliest <= now else { return [] }
            let due = state.alarms.filter { $0.value <= now }.map(\.key)
            for tenant in due { state.alarms[tenant] = nil }
            state.earliest = state.alarms.values.min()
            return due
        }
    }
}
