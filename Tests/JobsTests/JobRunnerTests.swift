import Kernel
import Storage
import Synchronization
import TestSupport
import Testing

@testable import Jobs

/// The runner over a store and a worker that the test holds in its hands. A job is named `lane-order`.
@Suite struct JobRunnerTests {
    let clock = CountingClock()
    let store = FakeStore()
    let worker: FakeWorker

    init() { worker = FakeWorker(store) }

    private func job(
        _ lane: String,
        _ order: Int64,
        state: Job.State = .ready,
        in delay: Duration = .zero,
        kind: String = "work",
        of tenant: TenantID = tenant
    ) -> Job {
        Job(
            id: JobID(UniqueID(high: UInt64(lane.utf8.reduce(0) { $0 * 31 + Int($1) }), low: UInt64(order))),
            tenant: tenant,
            kind: kind,
            lane: lane,
            order: order,
            state: state,
            runAt: clock.manual.now + delay,
            payload: "\(lane)-\(order)"
        )
    }

    private func runner(concurrency: Int = 64, inMemory: Int = 20_000) -> JobRunner {
        var limits = JobRunner.Limits()
        limits.concurrency = concurrency
        limits.inMemory = inMemory
        return JobRunner(workers: ["work": worker], store: store, environment: clock.environment, limits: limits, logger: .silent)
    }

    /// Runs the runner for as long as `body` takes.
    private func running(_ runner: JobRunner, _ body: () async throws -> Void) async throws {
        let task = Task { await runner.run() }
        try await body()
        task.cancel()
        await task.value
    }

    /// As the gate does it: stored first, told then.
    private func add(_ jobs: [Job], to runner: JobRunner) {
        store.put(jobs)
        runner.add(jobs)
    }

    @Test(.timeLimit(.minutes(1))) func jobsOfALaneRunOneAtATimeInOrder() async throws {
        let runner = runner()
        store.put([job("a", 3), job("a", 1), job("a", 2), job("b", 2), job("b", 1)])
        try await running(runner) { await worker.state.until { $0.ended.count == 5 } }
        let begun = worker.state.value.begun
        #expect(begun.filter { $0.hasPrefix("a") } == ["a-1", "a-2", "a-3"])
        #expect(begun.filter { $0.hasPrefix("b") } == ["b-1", "b-2"])
        #expect(!worker.state.value.overlapped)
    }

    @Test(.timeLimit(.minutes(1))) func aJobThatTakesLongHoldsUpItsLaneAndNoOther() async throws {
        let runner = runner()
        worker.hold("a-1")
        store.put([job("a", 1), job("a", 2), job("b", 1), job("b", 2)])
        try await running(runner) {
            await worker.state.until { $0.ended.contains("b-2") && $0.begun.contains("a-1") }
            #expect(!worker.state.value.begun.contains("a-2"))
            worker.letGo("a-1")
            await worker.state.until { $0.ended.contains("a-2") }
        }
    }

    @Test(.timeLimit(.minutes(1))) func whatIsHastenedIsTriedAtOnceAndInItsOrder() async throws {
        let runner = runner()
        let later = clock.manual.now + .seconds(600)
        worker.state.change { state in for lane in ["a", "b"] { state.postponements["\(lane)-1"] = [later] } }
        store.put([job("a", 1), job("a", 2), job("b", 1)])
        try await running(runner) {
            await worker.state.until { $0.begun.count == 2 && $0.running.isEmpty }
            #expect(runner.waiting(tenant) == 3)
            runner.hasten(TenantID(UniqueID(high: 7, low: 7)))
            #expect(runner.waiting(TenantID(UniqueID(high: 7, low: 7))) == 0)
            // A lane that has only just been postponed may not be marked so yet.
            while worker.state.value.ended.count < 3 {
                runner.hasten(tenant)
                await Task.yield()
            }
        }
        #expect(worker.state.value.begun.filter { $0.hasPrefix("a") } == ["a-1", "a-1", "a-2"])
    }

    @Test(.timeLimit(.minutes(1))) func aPostponedJobHoldsUpItsLaneUntilItsTimeAndNoOther() async throws {
        let runner = runner()
        let time = clock.manual.now + .seconds(60)
        worker.state.change { $0.postponements["a-1"] = [time] }
        store.put([job("a", 1), job("a", 2), job("b", 1)])
        try await running(runner) {
            await worker.state.until { $0.ended.contains("b-1") && $0.begun.contains("a-1") && $0.running.isEmpty }
            clock.manual.advance(by: .milliseconds(59_999))
            await clock.runnerWentRound()
            #expect(worker.state.value.begun.filter { $0.hasPrefix("a") } == ["a-1"], "a millisecond too early")
            add([job("b", 2)], to: runner)
            await worker.state.until { $0.ended.contains("b-2") }
            clock.manual.advance(by: .milliseconds(1))
            await worker.state.until { $0.ended.contains("a-2") }
        }
        #expect(worker.state.value.begun.filter { $0.hasPrefix("a") } == ["a-1", "a-1", "a-2"])
    }

    @Test(.timeLimit(.minutes(1))) func aJobForLaterWaitsForItsTime() async throws {
        let runner = runner()
        store.put([job("a", 1, in: .seconds(10))])
        try await running(runner) {
            await clock.runnerWentRound()
            await clock.runnerWentRound()
            #expect(worker.state.value.begun.isEmpty)
            #expect(runner.waiting == 1)
            clock.manual.advance(by: .seconds(10))
            await worker.state.until { $0.ended == ["a-1"] }
        }
    }

    @Test(.timeLimit(.minutes(1))) func aJobFoundInTheMiddleOfAnAttemptIsNotAttemptedAgain() async throws {
        let runner = runner()
        store.put([job("a", 1, state: .attempting), job("a", 2)])
        try await running(runner) { await worker.state.until { $0.ended.count == 2 } }
        #expect(worker.state.value.interrupted == ["a-1"])
        #expect(worker.state.value.begun == ["a-2"])
    }

    @Test(.timeLimit(.minutes(1))) func aJobIsRunOnceHoweverOftenItIsTold() async throws {
        let runner = runner()
        try await running(runner) {
            await clock.runnerWentRound()
            worker.hold("a-1")
            for _ in 0..<3 { add([job("a", 1)], to: runner) }
            await worker.state.until { $0.begun == ["a-1"] }
            add([job("a", 1)], to: runner)
            worker.letGo("a-1")
            add([job("z", 1)], to: runner)
            await worker.state.until { $0.ended.contains("z-1") && $0.ended.contains("a-1") }
            await clock.runnerWentRound()
        }
        #expect(worker.state.value.begun.filter { $0 == "a-1" }.count == 1)
    }

    @Test(.timeLimit(.minutes(1))) func noMoreRunAtOnceThanAllowedAndAllThatAreAllowedDo() async throws {
        let runner = runner(concurrency: 3)
        worker.state.change { $0.isEverythingHeld = true }
        store.put((1...10).map { job("lane\($0)", 1) })
        try await running(runner) {
            await worker.state.until { $0.running.count == 3 }
            await clock.runnerWentRound()
            #expect(worker.state.value.running.count == 3)
            worker.state.change { $0.isEverythingHeld = false }
            await worker.state.until { $0.ended.count == 10 }
        }
        #expect(worker.state.value.mostAtOnce == 3)
    }

    @Test(.timeLimit(.minutes(1))) func nothingBeginsOnceItIsStoppedAndWhatHasBegunEnds() async throws {
        let runner = runner()
        worker.hold("a-1")
        store.put([job("a", 1), job("a", 2)])
        let task = Task { await runner.run() }
        await worker.state.until { $0.begun == ["a-1"] }
        runner.stop()
        add([job("b", 1)], to: runner)
        worker.letGo("a-1")
        await task.value
        #expect(worker.state.value.begun == ["a-1"])
        #expect(worker.state.value.ended == ["a-1"])
        #expect(store.state.value.jobs.count == 2, "the next start finds what was not begun")
    }

    @Test(.timeLimit(.minutes(1))) func aKindThatNobodyKnowsHoldsUpItsLaneAndStays() async throws {
        let runner = runner()
        store.put([job("a", 1, kind: "unknown"), job("a", 2), job("b", 1)])
        try await running(runner) {
            await worker.state.until { $0.ended == ["b-1"] }
            await clock.runnerWentRound()
            #expect(worker.state.value.begun == ["b-1"])
            #expect(store.state.value.jobs.count == 2)
        }
    }

    @Test(.timeLimit(.minutes(1))) func aStoreThatDoesNotAnswerIsAskedAgain() async throws {
        store.state.change { $0.failures = 2 }
        store.put([job("a", 1)])
        try await running(runner()) { await worker.state.until { $0.ended == ["a-1"] } }
        #expect(store.state.value.readings >= 3)
    }

    // MARK: More than memory holds

    @Test(.timeLimit(.minutes(1)), arguments: 1...6) func ofManyMoreThanFitIntoMemoryNoneIsLostRunTwiceOrOutOfOrder(_ seed: UInt64) async throws {
        var random = SeededGenerator(seed: seed)
        let runner = runner(concurrency: 4, inMemory: 10)
        var orders: [String: Int64] = [:]
        var total = 0
        func some(_ count: Int) -> [Job] {
            (0..<count).map { _ in
                let lane = "l\(Int.random(in: 0..<7, using: &random))"
                orders[lane, default: 0] += 1
                return job(lane, orders[lane]!)
            }
        }
        store.put(some(60))
        total += 60
        try await running(runner) {
            for _ in 0..<30 {
                let count = Int.random(in: 1...9, using: &random)
                add(some(count), to: runner)
                total += count
                let enough = Int.random(in: 0...total, using: &random)
                await worker.state.until { [total] in $0.begun.count >= min(enough, total - 20) }
            }
            // Every job leaves the store only by being carried out.
            await store.state.until { $0.jobs.isEmpty }
            await worker.state.until { $0.running.isEmpty }
        }
        let begun = worker.state.value.begun
        #expect(begun.count == total, "seed \(seed)")
        for (lane, last) in orders {
            #expect(begun.filter { $0.hasPrefix(lane + "-") } == (1...last).map { "\(lane)-\($0)" }, "seed \(seed), lane \(lane)")
        }
        #expect(!worker.state.value.overlapped, "seed \(seed)")
    }

    // MARK: Many businesses

    /// A business whose every attempt is held, as that of a stopped account is, with many times what fits into memory, and others that write meanwhile.
    @Test(.timeLimit(.minutes(1)), arguments: 1...6) func aBusinessThatIsStoppedKeepsNobodyElseWaiting(_ seed: UInt64) async throws {
        var random = SeededGenerator(seed: seed)
        let runner = runner(concurrency: 4, inMemory: 40)
        let stopped = TenantID(UniqueID(high: 9, low: 9))
        let others = (1...8).map { TenantID(UniqueID(high: 2, low: $0)) }
        let monday = clock.manual.now + .seconds(86_400)
        worker.state.change { $0.heldUntil["stopped"] = monday }
        let backlog = (0..<400).map { job("stopped\($0 % 100)", Int64($0 / 100 + 1), of: stopped) }
        store.put(backlog)
        try await running(runner) {
            add((0..<400).map { job("stopped\($0 % 50)x", Int64($0 / 50 + 1), of: stopped) }, to: runner)
            var orders: [String: Int64] = [:]
            for _ in 0..<20 {
                let added = (0..<Int.random(in: 1...12, using: &random)).map { _ in
                    let business = Int.random(in: 0..<others.count, using: &random)
                    let lane = "l\(business)\(Int.random(in: 0..<3, using: &random))"
                    orders[lane, default: 0] += 1
                    return job(lane, orders[lane]!, of: others[business])
                }
                add(added, to: runner)
                // No clock moves: what is added is carried out now, or never.
                await worker.state.until { state in added.allSatisfy { state.ended.contains($0.payload) } }
            }
            for (lane, last) in orders {
                #expect(
                    worker.state.value.begun.filter { $0.hasPrefix(lane + "-") } == (1...last).map { "\(lane)-\($0)" },
                    "seed \(seed), lane \(lane)"
                )
            }
            #expect(worker.state.value.ended.allSatisfy { !$0.hasPrefix("stopped") })
            // Put in order again, all of it goes out, each lane in its order.
            worker.state.change { $0.heldUntil = [:] }
            for _ in 0..<4000 where store.state.value.jobs.count > 0 {
                runner.letGo("work", of: stopped)
                await clock.runnerWentRound()
            }
        }
        #expect(store.state.value.jobs.isEmpty, "seed \(seed)")
        let ended = worker.state.value.ended
        for lane in 0..<100 { #expect(ended.filter { $0.hasPrefix("stopped\(lane)-") } == (1...4).map { "stopped\(lane)-\($0)" }, "seed \(seed)") }
        for lane in 0..<50 { #expect(ended.filter { $0.hasPrefix("stopped\(lane)x-") } == (1...8).map { "stopped\(lane)x-\($0)" }, "seed \(seed)") }
        #expect(!worker.state.value.overlapped, "seed \(seed)")
    }

    @Test(.timeLimit(.minutes(1))) func aBusinessWhoseAttemptsTakeLongLeavesSlotsToOthers() async throws {
        let runner = runner(concurrency: 4)
        let (slow, quick) = (TenantID(UniqueID(high: 3, low: 1)), TenantID(UniqueID(high: 3, low: 2)))
        let names = (1...20).map { "slow\($0)-1" }
        worker.state.change { $0.held.formUnion(names) }
        try await running(runner) {
            add((1...20).map { job("slow\($0)", 1, of: slow) }, to: runner)
            await worker.state.until { $0.running.count == 4 }
            add((1...20).map { job("quick\($0)", 1, of: quick) }, to: runner)
            await worker.state.until { state in (1...20).allSatisfy { state.ended.contains("quick\($0)-1") } }
            worker.state.change { $0.held.subtract(names) }
            await worker.state.until { $0.ended.count == 40 }
        }
        #expect(worker.state.value.mostAtOnce <= 8)
    }

    @Test(.timeLimit(.minutes(1))) func kindsHaveSlotsOfTheirOwn() async throws {
        var limits = JobRunner.Limits()
        limits.concurrency = 2
        limits.concurrencyOfKind["files"] = 1
        let runner = JobRunner(
            workers: ["work": worker, "files": worker],
            store: store,
            environment: clock.environment,
            limits: limits,
            logger: .silent
        )
        let names = (1...5).map { "f\($0)-1" }
        worker.state.change { $0.held.formUnion(names) }
        try await running(runner) {
            add((1...5).map { job("f\($0)", 1, kind: "files") } + (1...5).map { job("w\($0)", 1) }, to: runner)
            await worker.state.until { state in (1...5).allSatisfy { state.ended.contains("w\($0)-1") } }
            #expect(worker.state.value.running.filter { $0.hasPrefix("f") }.count == 1)
            worker.state.change { $0.held = [] }
            await worker.state.until { $0.ended.count == 10 }
        }
    }

    @Test(.timeLimit(.minutes(1))) func aNewJobDoesNotOvertakeThoseOfItsLaneThatAreStillInTheStore() async throws {
        let runner = runner()
        store.put([job("a", 1)])
        // The server has just started, and takes a message in before the runner has read what was left.
        add([job("a", 2)], to: runner)
        try await running(runner) { await worker.state.until { $0.ended.count == 2 } }
        #expect(worker.state.value.begun == ["a-1", "a-2"])
    }

    @Test(.timeLimit(.minutes(1))) func aJobToldWhileTheStoreIsBeingReadIsNotLost() async throws {
        let runner = runner()
        store.put([job("0", 1)])
        store.state.change { $0.isHeld = true }
        try await running(runner) {
            // The reading has looked, and seen neither.
            await store.state.until { $0.looked == 1 }
            worker.hold("a-1")
            add([job("a", 1)], to: runner)
            add([job("b", 1)], to: runner)
            store.state.change { $0.isHeld = false }
            worker.letGo("a-1")
            for _ in 0..<5 { await clock.runnerWentRound() }
        }
        #expect(worker.state.value.begun.sorted() == ["0-1", "a-1", "b-1"])
    }

    @Test(.timeLimit(.minutes(1))) func aJobThatEndsWhileTheStoreIsBeingReadIsNotRunAgain() async throws {
        let runner = runner(inMemory: 4)
        worker.hold("a-1", "b-1")
        store.put([job("a", 1), job("b", 1), job("c", 1), job("d", 1), job("e", 1)])
        try await running(runner) {
            // As many as fit: there is more, and the store is read again once half the room is free.
            await worker.state.until { Set($0.ended) == ["c-1", "d-1"] && $0.running == ["a-1", "b-1"] }
            store.state.change { $0.isHeld = true }
            worker.letGo("b-1")
            // This reading still sees the one that runs.
            await store.state.until { $0.looked == 1 }
            worker.letGo("a-1")
            await worker.state.until { $0.ended.contains("a-1") }
            store.state.change { $0.isHeld = false }
            await store.state.until { $0.jobs.isEmpty }
            for _ in 0..<3 { await clock.runnerWentRound() }
        }
        #expect(worker.state.value.begun.filter { $0 == "a-1" }.count == 1)
    }
}
