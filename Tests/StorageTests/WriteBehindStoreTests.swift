import Foundation
import Kernel
import Logging
import Storage
import Synchronization
import TestSupport
import Testing

/// A table in memory that can be cut off, slowed down, and made to refuse rows.
final class FakeDatabase: RemoteDatabase {
    struct State {
        var rows: [WriteBehindQueue.RowKey: RowImage] = [:]
        var isDown = false
        var isHeld = false
        var breaker = "closed"
        var poison: Set<String> = []
        var writes = 0
        var isClosed = false
        var isUsurped = false
        var isReleased = false
        var isClaimed = false
    }
    let state = Mutex(State())
    let storeID: String
    init(storeID: String = "one") { self.storeID = storeID }

    var status: RemoteStatus { state.withLock { RemoteStatus(breaker: $0.breaker, timesOpened: 0, connections: 1, waiting: 0, lastError: nil) } }

    func write(_ images: [RowImage]) async throws(RemoteError) {
        while state.withLock({ $0.isHeld && !$0.isClosed }) { try? await Task.sleep(for: .milliseconds(2)) }
        let error: RemoteError? = state.withLock { state in
            state.writes += 1
            if state.isUsurped { return RemoteError(.usurped, "another server took over") }
            if state.isDown || state.isClosed { return RemoteError(.unavailable(retryAfter: .milliseconds(20)), "down") }
            if images.contains(where: { Self.text($0).map(state.poison.contains) ?? false }) { return RemoteError(.content, "made to refuse") }
            for image in images {
                let key = WriteBehindQueue.RowKey(image)
                if case .deleted = image.content {
                    state.rows[key] = nil
                } else if state.rows[key].map({ $0.version < image.version }) ?? true {
                    state.rows[key] = image
                }
            }
            return nil
        }
        if let error { throw error }
    }

    private static func text(_ image: RowImage) -> String? {
        if image.table == notes, case .values(let values) = image.content, case .text(let text) = values[2] { text } else { nil }
    }

    /// All rows of the table that stands after FROM, by key.
    func rows(_ query: Query) async throws(RemoteError) -> [Row] {
        let (rows, isDown) = state.withLock { (Array($0.rows.values), $0.isDown) }
        if isDown { throw RemoteError(.unavailable(retryAfter: .seconds(7)), "down") }
        let images = rows.filter { query.sql.contains("FROM \"\($0.table.name)\"") }
        if query.sql.contains("> (") { return [] }
        return images.compactMap { image in if case .values(let values) = image.content { Row(values + [.integer(image.version)]) } else { nil } }
    }

    var isNewToJournal: Bool { false }
    func claim() async throws(RemoteError) { state.withLock { $0.isClaimed = true } }
    func attend() async throws(RemoteError) {
        if state.withLock({ $0.isUsurped }) { throw RemoteError(.usurped, "another server took over") }
    }
    func release() async throws(RemoteError) { state.withLock { $0.isReleased = true } }

    var texts: Set<String> { state.withLock { Set($0.rows.values.compactMap(Self.text)) } }
    func close() async { state.withLock { $0.isClosed = true } }
}

@Suite struct WriteBehindStoreTests {
    let directory = TemporaryDirectory()

    private func open(_ database: FakeDatabase, _ change: (inout WriteBehindStore.Settings) -> Void = { _ in }) async throws -> WriteBehindStore {
        var settings = WriteBehindStore.Settings()
        settings.barrierPatience = .milliseconds(300)
        settings.stopPatience = .milliseconds(300)
        settings.startPatience = .milliseconds(500)
        change(&settings)
        return try await .open(directory: directory.path, schema: schema, settings: settings, logger: .silent) { journal in
            if let storeID = journal.storeID, storeID != database.storeID { throw StartupError("the journal belongs to \(storeID)") }
            return database
        }
    }

    private func texts(_ store: WriteBehindStore) async throws -> Set<String> {
        Set(
            try await store.rows(.select(from: notes, tenant: tenantA)).compactMap { row in
                var row = row
                let _: TenantID = row.id()
                _ = row.integer()
                return row.optionalText()
            }
        )
    }

    @Test func whoReadsSeesWhatWasCommittedBefore() async throws {
        let database = FakeDatabase()
        let store = try await open(database)
        for number in 1...50 as ClosedRange<Int64> {
            try store.commit([change(note(number, "n\(number)"))])
            #expect(try await texts(store).contains("n\(number)"))
        }
        await store.close()
    }

    @Test(.timeLimit(.minutes(1))) func aReaderWhoIsCancelledWaitsNoLonger() async throws {
        let database = FakeDatabase()
        let store = try await open(database) { $0.barrierPatience = .seconds(3600) }
        database.state.withLock { $0.isHeld = true }
        try store.commit([change(note(1, "mine"))])
        let reading = Task { try? await store.rows(.select(from: notes, tenant: tenantA)) }
        // By then it waits, on any machine but a very slow one; and who is cancelled before they wait is not to begin to.
        try await Task.sleep(for: .milliseconds(50))
        reading.cancel()
        #expect(await reading.value == nil)
        database.state.withLock { $0.isHeld = false }
        await store.close()
    }

    @Test func aReaderOfAnotherTenantWaitsForNothing() async throws {
        let database = FakeDatabase()
        let store = try await open(database)
        database.state.withLock { $0.isHeld = true }
        try store.commit([change(note(1, "mine"))])
        _ = try await store.rows(.select(from: notes, tenant: tenantB))
        let refusal = await #expect(throws: Refusal.self) { try await store.rows(.select(from: notes, tenant: tenantA)) }
        #expect(refusal?.code == "store_behind" && refusal?.retryAfterSeconds == 1)
        database.state.withLock { $0.isHeld = false }
        #expect(try await texts(store) == ["mine"])
        await store.close()
    }

    @Test func nothingIsLostWhileTheDatabaseIsAwayAndReadersAreToldWhenToComeBack() async throws {
        let database = FakeDatabase()
        let store = try await open(database)
        database.state.withLock { $0.isDown = true }
        for number in 1...20 as ClosedRange<Int64> { try store.commit([change(note(number, "n\(number)"))]) }
        #expect(store.status.writeBehind?.depth == 20)
        let quiet = await #expect(throws: Refusal.self) { try await store.rows(.select(from: notes, tenant: tenantB)) }
        #expect(quiet?.code == "store_unavailable" && quiet?.retryAfterSeconds == 7)
        database.state.withLock { $0.isDown = false }
        #expect(try await texts(store).count == 20)
        #expect(store.status.writeBehind?.depth == 0)
        await store.close()
    }

    @Test func whatWasOwedWhenTheProcessEndedIsBroughtOverAtTheNextStart() async throws {
        let database = FakeDatabase()
        do {
            let store = try await open(database)
            try store.commit([change(note(1, "written"))])
            _ = try await texts(store)
            database.state.withLock { $0.isDown = true }
            try store.commit([change(note(2, "owed")), change(note(1, "written again", version: 2))])
            await store.close()
        }
        #expect(try WriteBehindStore.summary(of: directory.path)?.owedRows == 2)
        await #expect(throws: StartupError.self) { try await open(database) }
        database.state.withLock {
            $0.isDown = false
            $0.isClosed = false
        }
        let store = try await open(database)
        #expect(database.texts == ["written again", "owed"])
        await store.close()
    }

    @Test func aRowThatIsRefusedGoesToQuarantineAndTheRestFlows() async throws {
        let database = FakeDatabase()
        let store = try await open(database)
        database.state.withLock {
            $0.poison = ["bad", "worse"]
            $0.isHeld = true
        }
        try store.commit((1...30).map { number in change(note(number, number == 7 ? "bad" : number == 20 ? "worse" : "n\(number)")) })
        database.state.withLock { $0.isHeld = false }
        #expect(try await texts(store).count == 28)
        let rows = try await store.quarantined(of: tenantA)
        #expect(rows.map(\.key.last) == ["7", "20"])
        #expect(rows.allSatisfy { $0.table == "notes" && $0.reason == "made to refuse" && $0.attempts == 1 })
        #expect(try await store.quarantined(of: tenantB).isEmpty)
        #expect(store.status.writeBehind?.quarantined == 2)

        database.state.withLock { $0.poison = ["worse"] }
        #expect(try await store.retryQuarantined(rows.map(\.id)) == 1)
        #expect(try await store.quarantined(of: nil).map(\.attempts) == [2])
        // A newer image that is taken replaces the one in quarantine.
        try store.commit([change(note(20, "better", version: 2))])
        #expect(try await texts(store).contains("better"))
        #expect(try await store.quarantined(of: nil).isEmpty)
        #expect(store.status.writeBehind?.quarantined == 0)
        await store.close()
    }

    @Test func quarantineOutlivesTheProcessAndIsTriedAgainAtTheStart() async throws {
        let database = FakeDatabase()
        do {
            let store = try await open(database)
            database.state.withLock { $0.poison = ["bad"] }
            try store.commit([change(note(1, "bad"))])
            _ = try await texts(store)
            await store.close()
        }
        database.state.withLock { $0.isClosed = false }
        do {
            let store = try await open(database)
            #expect(try await store.quarantined(of: nil).count == 1)
            await store.close()
        }
        database.state.withLock {
            $0.isClosed = false
            $0.poison = []
        }
        let store = try await open(database)
        #expect(try await store.quarantined(of: nil).isEmpty)
        #expect(database.texts == ["bad"])
        await store.close()
    }

    @Test func pastItsBoundTheJournalObjects() async throws {
        let database = FakeDatabase()
        let store = try await open(database) { $0.maxBytes = 2000 }
        database.state.withLock { $0.isDown = true }
        #expect(store.objection == nil)
        for number in 1...40 as ClosedRange<Int64> { try store.commit([change(note(number, "n\(number)"))]) }
        #expect(store.objection?.code == "journal_full" && store.objection?.retryAfterSeconds == 10)
        #expect(store.status.writeBehind?.isFull == true)
        database.state.withLock { $0.isDown = false }
        _ = try await texts(store)
        #expect(store.objection == nil)
        await store.close()
    }

    @Test func jobsAndMarksAreReadLocallyAndANewJournalTakesThemOver() async throws {
        let database = FakeDatabase()
        let job = Job(
            id: JobID(UniqueID(high: 9, low: 9)),
            tenant: tenantA,
            kind: "k",
            lane: "l",
            order: 3,
            runAt: Timestamp(seconds: 5),
            payload: "{}"
        )
        let over = Job(
            id: JobID(UniqueID(high: 9, low: 8)),
            tenant: tenantA,
            kind: "k",
            lane: "l",
            order: 2,
            runAt: Timestamp(seconds: 5),
            payload: "{}"
        )
        let mark = Mark(Mark.Key(tenant: tenantA, scope: "wamid", key: "w1"), at: Timestamp(seconds: 1), result: "r")
        do {
            let store = try await open(database)
            database.state.withLock { $0.isDown = true }
            var all = Change()
            all.jobs = [over, job]
            all.marks = [mark]
            try store.commit([all])
            var end = Change()
            end.endedJobs = [over]
            try store.commit([end])
            #expect(try await store.jobs(of: job.tenant, after: "", limit: 10) == [job])
            #expect(try await store.jobs(of: job.tenant, in: job.lane, limit: 10) == [job])
            #expect(try await store.jobs(of: job.tenant, after: job.lane, limit: 10).isEmpty)
            #expect(try await store.marks([mark.key]) == [mark.key: "r"])
            database.state.withLock { $0.isDown = false }
            await store.close()
        }
        try FileManager.default.removeItem(atPath: directory.path)
        database.state.withLock { $0.isClosed = false }
        let store = try await open(database)
        #expect(try await store.tenantsWithJobs() == [job.tenant])
        #expect(try await store.jobs(of: job.tenant, after: "", limit: 10) == [job])
        #expect(try await store.marks([mark.key]) == [mark.key: "r"])
        try store.forgetMarks(before: Timestamp(seconds: 2))
        #expect(try await store.marks([mark.key]).isEmpty)
        await store.close()
        #expect(database.state.withLock { $0.rows.keys.allSatisfy { $0.table != "marks" } }, "forgotten there, too")
    }

    @Test func onceAnotherServerHasTakenOverNothingMoreIsDecidedHere() async throws {
        let database = FakeDatabase()
        let store = try await open(database)
        try store.commit([change(note(1, "mine"))])
        _ = try await texts(store)
        #expect(store.objection == nil)
        database.state.withLock { $0.isUsurped = true }
        try store.commit([change(note(2, "too late"))])
        for _ in 0..<500 where store.objection == nil { try await Task.sleep(for: .milliseconds(10)) }
        #expect(store.objection?.code == "usurped")
        let error = #expect(throws: JournalError.self) { try store.commit([change(note(3, "refused"))]) }
        #expect(error?.kind == .environment, "also for what does not ask first")
        await store.close()
        #expect(!database.state.withLock { $0.isReleased }, "it still owes a row")
    }

    @Test func aStoreThatOwesNothingSaysSoAtItsEnd() async throws {
        let database = FakeDatabase()
        let store = try await open(database)
        try store.commit([change(note(1, "mine"))])
        await store.close()
        #expect(database.state.withLock { $0.isReleased })
        #expect(try WriteBehindStore.summary(of: directory.path)?.owedRows == 0, "also as the file tells it")
    }

    /// Forgetting marks, too, drops what it says it drops: a block that stayed would be written once more after a restart, over what came after it.
    @Test func whatWasForgottenAndDeletedStaysSoAfterARestart() async throws {
        let database = FakeDatabase()
        let mark = Mark(Mark.Key(tenant: tenantA, scope: "wamid", key: "w1"), at: Timestamp(seconds: 1), result: "r")
        var store = try await open(database)
        for round in 0..<5 as Range<Int64> {
            var first = change(note(1, "n\(round)", version: 2 * round + 1))
            first.marks = [Mark(mark.key, at: Timestamp(seconds: round + 1))]
            try store.commit([first])
            _ = try await texts(store)
            // The block above is flushed, and goes with this.
            try store.forgetMarks(before: Timestamp(seconds: 1000))
            try store.commit([change(RowImage(deleting: [.id(tenantA), .integer(1)], from: notes, version: 2 * round + 2))])
            _ = try await texts(store)
            await store.close()
            #expect(try WriteBehindStore.summary(of: directory.path)?.owedRows == 0)
            database.state.withLock { $0.isClosed = false }
            store = try await open(database)
            #expect(try await texts(store).isEmpty, "round \(round)")
        }
        await store.close()
    }

    @Test func nothingIsDecidedOnRowsOfATenantWhileSomeOfThemWaitInQuarantine() async throws {
        let database = FakeDatabase()
        let store = try await open(database)
        database.state.withLock { $0.poison = ["bad"] }
        try store.commit([change(note(1, "fine"), note(2, "bad"), note(3, "other", tenant: tenantB))])
        #expect(try await texts(store).isDisjoint(with: ["bad"]), "who only looks is shown what there is")
        let query = Query.select(from: notes, tenant: tenantA).forDeciding
        let refusal = await #expect(throws: Refusal.self) { try await store.rows(query) }
        #expect(refusal?.code == "rows_held_back" && store.holdsBack(tenantA) && !store.holdsBack(tenantB))
        #expect(try await store.rows(Query.select(from: notes, tenant: tenantB).forDeciding).count >= 1)
        // A whole table is put together from both.
        let all = try await store.everything(in: notes)
        #expect(Set(all.map { $0[2] }) == [.text("fine"), .text("bad"), .text("other")])
        database.state.withLock { $0.poison = [] }
        #expect(try await store.retryQuarantined(store.quarantined(of: nil).map(\.id)) == 1)
        #expect(try await store.rows(query).isEmpty == false)
        await store.close()
    }

    @Test func aJournalThatCannotBeReadIsNotTakenForAnEmptyOne() throws {
        try FileManager.default.createDirectory(atPath: directory.path, withIntermediateDirectories: true)
        #expect(try WriteBehindStore.summary(of: directory.path) == nil)
        try Data("not a database at all, but long enough to be looked at as if it were one".utf8).write(
            to: URL(fileURLWithPath: directory.path + "/journal.sqlite")
        )
        #expect(throws: StartupError.self) { try WriteBehindStore.summary(of: directory.path) }
    }

    @Test func theJournalOfAnotherDatabaseIsNotBroughtOver() async throws {
        await (try open(FakeDatabase(storeID: "one"))).close()
        let error = await #expect(throws: StartupError.self) { try await open(FakeDatabase(storeID: "two")) }
        #expect(error?.description.contains("belongs to one") == true)
    }

    @Test func theJournalShrinksWhenThereIsNothingMoreToDo() async throws {
        let database = FakeDatabase()
        let store = try await open(database)
        for number in 1...300 as ClosedRange<Int64> { try store.commit([change(note(number, nil))]) }
        _ = try await texts(store)
        for _ in 0..<100 where (try WriteBehindStore.summary(of: directory.path)?.owedRows ?? 0) > 0 { try await Task.sleep(for: .milliseconds(50)) }
        #expect((try WriteBehindStore.summary(of: directory.path)?.owedRows ?? 0) == 0)
        await store.close()
    }

    /// The database comes and goes, refuses and stalls, while several commit, and now and then the store is opened anew. Afterwards it holds the latest of everything.
    @Test(arguments: 1...6 as ClosedRange<UInt64>) func nothingIsLostInAnyWeather(_ seed: UInt64) async throws {
        var random = SeededGenerator(seed: seed)
        let database = FakeDatabase()
        var latest: [Int64: String] = [:]
        for life in 0..<4 {
            database.state.withLock {
                $0.isClosed = false
                $0.isDown = false
                $0.isHeld = false
            }
            let store = try await open(database) {
                $0.queue.memory = 2000
                $0.queue.firstBatch = 10
                $0.queue.smallestBatch = 1
                $0.queue.linger = .milliseconds(1)
                $0.stopPatience = .milliseconds(50)
            }
            for step in 0..<60 {
                let rows = (0..<Int.random(in: 1...8, using: &random)).map { index in
                    let id = Int64.random(in: 1...40, using: &random)
                    let version = Int64(life * 10_000 + step * 100 + index + 1)
                    latest[id] = "\(id) v\(version)"
                    return note(id, "\(id) v\(version)", version: version)
                }
                try store.commit(rows.map { change($0) })
                let weather = Int.random(in: 0..<10, using: &random)
                database.state.withLock {
                    $0.isDown = weather == 0
                    $0.isHeld = weather == 1
                }
                if weather > 7 { try await Task.sleep(for: .milliseconds(3)) }
            }
            await store.close()
        }
        database.state.withLock {
            $0.isClosed = false
            $0.isDown = false
            $0.isHeld = false
        }
        await (try open(database)).close()
        #expect(database.texts == Set(latest.values), "seed \(seed)")
    }
}
