import Consultores
package import Conversations
import CustomerHealth
import Jobs
package import Kernel
import Sales
import Scheduling
import Storage
import Wire

extension TenantCell {
    /// Takes channels' snapshots and lets `register` know when everything in them is on disk: in the order of the gate, between the publications that they
    /// hold and those they do not. One turn, no `await` (DESIGN §1, invariant 3).
    /// - Parameter visit: whose web chat it is, when a visitor subscribes.
    /// - Parameter needsSnapshot: asked within the turn, by the channel's place; without one, the client is expected to recover.
    package func subscribe(
        to channels: [Channel],
        for visit: Visit?,
        needsSnapshot: (Int) -> Bool,
        register: @escaping @Sendable (Result<[[UInt8]?], Refusal>) -> Void
    ) throws(Refusal) {
        var snapshots: [[UInt8]?] = []
        snapshots.reserveCapacity(channels.count)
        for (index, channel) in channels.enumerated() {
            if visit == nil, case .conversation(let id) = channel, !desk.assumeIsolated({ $0.has(id) }) { throw .notFound(.conversation) }
            snapshots.append(needsSnapshot(index) ? try snapshot(channel, for: visit) : nil)
        }
        let seen = snapshots
        gate.enqueue(Change(), activation) { result in register(result.map { seen }) }
    }

    private func snapshot(_ channel: Channel, for visit: Visit?) throws(Refusal) -> [UInt8]? {
        switch channel {
        case .conversation(let id):
            let moment = environment.moment()
            if let visit {
                return try desk.assumeIsolated { desk -> Result<[UInt8], Refusal> in
                    do throws(Refusal) { return .success(try desk.visitorSnapshot(visit, moment)) } catch { return .failure(error) }
                }.get()
            }
            let (tenant, isConnected) = (tenant, isConnected)
            return desk.assumeIsolated { $0.snapshot(id, moment, isVisitorOnline: { isConnected(tenant, UserID($0.value)) }) }
        case .conversations: return desk.assumeIsolated { $0.conversationsSnapshot() }
        case .queue: return desk.assumeIsolated { $0.queueSnapshot() }
        case .queueCounts: return desk.assumeIsolated { $0.countsSnapshot() }
        case .consultores: return queue.assumeIsolated { $0.snapshot() }
        case .notices: return board.snapshot()
        case .breakers: return BreakerReport.json(of: tenant, breakers)
        case .desk: return desk.assumeIsolated { $0.deskSnapshot() }
        case .supervision: return desk.assumeIsolated { $0.supervisionSnapshot() }
        case .user(let id):
            let actions = portfolio?.customers.openActions(of: id, staff(tenant)) ?? []
            return desk.assumeIsolated { $0.inboxSnapshot(id) { CustomerBoard.write(actions, to: &$0) } }
        case .calendar:
            let moment = environment.moment()
            return calendar.assumeIsolated { $0.snapshot(moment) }
        case .calendarDay(let day):
            let moment = environment.moment()
            return calendar.assumeIsolated { $0.snapshot(of: day, moment) }
        case .booking(let slug):
            let moment = environment.moment()
            return calendar.assumeIsolated { $0.bookingSnapshot(slug, moment) }
        case .usage:
            meterIsNow(environment.moment())
            return meter.json
        case .health: return portfolio?.customers.snapshot()
        case .sales: return portfolio?.sales.snapshot()
        case .jobs:
            let now = environment.now()
            return queues.assumeIsolated { $0.snapshot(now) }
        }
    }
}
