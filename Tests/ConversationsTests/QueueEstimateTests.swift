import Kernel
import Synchronization
import Testing
import Wire

@testable import Conversations

@Suite struct QueueEstimateTests {
    private func staffing(online: Int, seats: Double, free: Int) -> Staffing {
        var staffing = Staffing()
        staffing.online = online
        staffing.seats = seats
        staffing.free = free
        return staffing
    }

    @Test func itIsARangeAroundHowLongItTakesUntilSeatsAreFree() {
        // The 6th of those who wait, four seats and none free, five minutes each: 450 s.
        let estimate = QueueEstimate(position: 6, staffing: staffing(online: 2, seats: 4, free: 0), average: 300, told: nil)
        #expect(estimate.wait == .init(from: 300, to: 720))
        // A seat is free for them.
        let next = QueueEstimate(position: 1, staffing: staffing(online: 2, seats: 4, free: 1), average: 300, told: nil)
        #expect(next.wait == .init(from: 10, to: 20))
        // Half a person.
        let half = QueueEstimate(position: 1, staffing: staffing(online: 1, seats: 0.5, free: 0), average: 300, told: nil)
        #expect(half.wait == .init(from: 420, to: 900))
    }

    @Test func nobodyOnlineIsToldAndNoNumberWithIt() {
        let estimate = QueueEstimate(position: 3, staffing: Staffing(), average: 300, told: .init(from: 10, to: 20))
        #expect(estimate.online == 0)
        #expect(estimate.wait == nil)
    }

    @Test func whatWasToldNeverRises() {
        let told = QueueEstimate.Range(from: 60, to: 120)
        let worse = QueueEstimate(position: 9, staffing: staffing(online: 1, seats: 1, free: 0), average: 600, told: told)
        #expect(worse.wait == told)
        let better = QueueEstimate(position: 1, staffing: staffing(online: 1, seats: 10, free: 0), average: 300, told: told)
        #expect(better.wait == .init(from: 20, to: 50))
    }

    // MARK: At the desk

    private let bench = Bench()

    private func estimates(_ change: Change) -> [[String: JSON]] {
        change.events.filter { $0.channel == "queue" }.compactMap { try? parsed($0.payload) }
            .filter { $0["type"]?.string == "queue.estimated" }
            .map { event in
                Dictionary(uniqueKeysWithValues: (event["estimates"]?.array ?? []).map { ($0["conversation_id"]?.string ?? "", $0) })
            }
    }

    @Test func theFirstIsToldAtOnceAndAllAtMostEveryFewSeconds() async throws {
        let (_, first) = try await bench.receives(bench.message("atendente", from: "5511900000001"))
        #expect(estimates(first).first?.values.map { $0["position"]?.int } == [1])
        #expect(estimates(first).first?.values.map { $0["online"]?.int } == [0])
        let (reception, second) = try await bench.receives(bench.message("atendente", from: "5511900000002"))
        #expect(estimates(second).isEmpty, "a moment later")
        #expect(await bench.desk.nextDeadline == bench.clock.now + QueueOutlook.pause)
        let late = await bench.time(passes: QueueOutlook.pause)
        guard case .taken(let id) = reception else { throw Surprise("taken") }
        #expect(estimates(late).count == 1)
        #expect(estimates(late).first?[id.description]?["position"]?.int == 2)
        #expect(estimates(late).first?.count == 1, "only what has changed")
        #expect(late.types(on: "conversation:\(id)").contains("queue.position"))
        let nothing = await bench.time(passes: .seconds(60))
        #expect(nothing.events.isEmpty, "nothing changed, nothing is told")
        let snapshot = try parsed(await bench.desk.snapshot(id, bench.moment))
        #expect(snapshot["queue"]?["position"]?.int == 2)
        #expect(try parsed(await bench.desk.queueSnapshot())["estimates"]?.array?.count == 2)
    }

    @Test func whoGetsAPersonOnlineIsToldARange() async throws {
        let id = try await bench.customer("atendente")
        bench.pool.state.withLock { $0.capacity = 0 }
        bench.pool.arrives(1, maria)
        bench.pool.state.withLock {
            $0.capacity = 1; $0.busy[1] = [ConversationID(UniqueID(high: 9, low: 9))]
        }
        bench.clock.advance(by: .seconds(10))
        let change = await bench.desk.consultoresChanged(bench.moment)
        bench.ledger.absorb(change)
        let told = estimates(change).first?[id.description]
        #expect(told?["online"]?.int == 1)
        #expect(told?["wait"]?["from_seconds"]?.int == 210)
        #expect(told?["wait"]?["to_seconds"]?.int == 480)
    }
}
