import Foundation
import Kernel
import Storage
import TestSupport
import Testing

@Suite struct SQLiteStoreTests {
    let directory = TemporaryDirectory()

    private func open(_ schema: Schema = schema) throws -> SQLiteStore { try SQLiteStore(directory: directory.path, schema: schema) }

    private func texts(_ store: SQLiteStore) async throws -> [String?] {
        try await store.rows(.select(from: notes, "ORDER BY id")).map { row in
            var row = row
            let _: TenantID = row.id()
            _ = row.integer()
            return row.optionalText()
        }
    }

    @Test func valuesOfEveryKindSurviveTheRoundTrip() async throws {
        let store = try open()
        let values: [SQLValue] = [
            .id(tenantA), .integer(.max), .text("ação \"😮\" '; DROP TABLE notes"), .textArray(["a", "b,c", "é"]),
            .timestamp(Timestamp(milliseconds: -5)),
        ]
        try store.commit([change(RowImage(notes, version: 1, values: values))])
        let rows = try await store.rows(.select(from: notes))
        var row = try #require(rows.first)
        for value in values { #expect(row.next() == value) }
    }

    @Test func anImageThatIsNotNewerIsRefusedAndReplacesNothing() async throws {
        let store = try open()
        try store.commit([change(note(1, "two", version: 2))])
        for version in [1, 2] as [Int64] {
            let error = #expect(throws: JournalError.self) { try store.commit([change(note(1, "stale", version: version))]) }
            #expect(error?.kind == .content)
        }
        #expect(try await texts(store) == ["two"])
        try store.commit([change(note(1, "three", version: 3))])
        #expect(try await texts(store) == ["three"])
    }

    @Test func aValueThatCannotBeReadIsAnErrorAndNotTheEndOfTheServer() async throws {
        let store = try open()
        try store.commit([change(note(1, "not a uuid"))])
        let query = Query("SELECT text FROM notes", kinds: [.uuid])
        let refusal = await #expect(throws: Refusal.self) { _ = try await store.rows(query) }
        #expect(refusal?.code == "store_damaged")
    }

    @Test func aBatchIsWrittenWholeOrNotAtAll() async throws {
        let store = try open()
        try store.commit([change(note(1, "taken"))])
        let error = #expect(throws: JournalError.self) { try store.commit([change(note(2, "fine")), change(note(3, "taken"))]) }
        #expect(error?.kind == .content)
        #expect(error?.description.contains("taken") == false, "an error's text carries no values")
        #expect(try await texts(store) == ["taken"])
    }

    @Test func rowsMarksAndJobsOutliveTheProcess() async throws {
        let job = Job(
            id: JobID(UniqueID(high: 9, low: 9)),
            tenant: tenantA,
            kind: "k",
            lane: "l",
            order: 3,
            runAt: Timestamp(seconds: 5),
            payload: "{}"
        )
        let mark = Mark(Mark.Key(tenant: tenantA, scope: "wamid", key: "w1"), at: Timestamp(seconds: 1), result: "r")
        do {
            let store = try open()
            var all = change(note(1, "kept"))
            all.jobs = [job]
            all.marks = [mark]
            try store.commit([all])
            store.close()
        }
        let store = try open()
        #expect(try await texts(store) == ["kept"])
        #expect(try await store.rows(.select(from: StorageTables.jobs)).map(Job.init) == [job])
        let other = Mark.Key(tenant: tenantB, scope: "wamid", key: "w1")
        #expect(try await store.marks([mark.key, other]) == [mark.key: "r"])
        try store.forgetMarks(before: Timestamp(seconds: 2))
        #expect(try await store.marks([mark.key]).isEmpty)
    }

    @Test func aJobsStatesFollowOneAnotherAndEndInNothing() async throws {
        let store = try open()
        var job = Job(
            id: JobID(UniqueID(high: 9, low: 9)),
            tenant: tenantA,
            kind: "k",
            lane: "l",
            order: 1,
            runAt: Timestamp(seconds: 5),
            payload: "{}"
        )
        func stored() async throws -> [Job] { try await store.rows(.select(from: StorageTables.jobs)).map(Job.init) }
        for (state, attempts) in [(Job.State.ready, 0), (.attempting, 1), (.ready, 1), (.attempting, 2)] {
            job.state = state
            job.attempts = attempts
            var next = Change()
            next.jobs = [job]
            try store.commit([next])
            #expect(try await stored() == [job])
        }
        var end = Change()
        end.endedJobs = [job]
        try store.commit([end])
        #expect(try await stored().isEmpty)
    }

    @Test func aSecondServerOnTheSameDirectoryIsRefused() throws {
        let store = try open()
        let error = #expect(throws: StartupError.self) { try open() }
        #expect(error?.description.contains("another plantao process") == true)
        withExtendedLifetime(store) {}
    }

    @Test func aStoreOfANewerProgramIsRefusedUntouched() async throws {
        let later = Table("later", since: 2, key: ["id"], columns: [Column("id", .integer)])
        try open(Schema(schema.tables + [later])).close()
        let error = #expect(throws: StartupError.self) { try open() }
        #expect(error?.description.contains("schema version 2") == true)
    }

    @Test func aStoreThatCameThroughEveryVersionEqualsANewOne() async throws {
        let wider = Table(
            "notes",
            since: 1,
            key: ["tenant_id", "id"],
            columns: [
                Column("tenant_id", .uuid), Column("id", .integer), .optional("text", .text), .optional("labels", .textArray),
                .optional("at", .timestamp),
                Column("colour", .text, since: 2),
            ],
            indexes: [Index("notes_by_text", on: ["tenant_id", "text"], isUnique: true), Index("notes_by_colour", on: ["colour"], since: 3)]
        )
        let newest = Schema(StorageTables.all + [wider])
        #expect(newest.version == 3)
        do {
            let old = try open()
            try old.commit([change(note(1, "old"))])
            old.close()
        }
        let migrated = try open(newest)
        let fresh = try SQLiteStore(directory: TemporaryDirectory().path, schema: newest)
        let layout = Query(
            "SELECT name FROM pragma_table_info('notes') UNION ALL SELECT name FROM sqlite_master WHERE type = 'index' ORDER BY 1",
            kinds: [.text]
        )
        func names(_ store: SQLiteStore) async throws -> [String] {
            try await store.rows(layout).map { row in
                var row = row
                return row.text()
            }
        }
        #expect(try await names(migrated) == names(fresh))
        #expect(try await migrated.rows(.select(from: wider)).count == 1)
    }

    @Test func aDirectoryThatCannotBeMadeIsNamedAtTheStart() {
        let error = #expect(throws: StartupError.self) { try SQLiteStore(directory: "/proc/nowhere/data", schema: schema) }
        #expect(error?.description.contains("PLANTAO_DATA") == true)
    }
}
