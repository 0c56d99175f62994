import Foundation
import Kernel
import Logging
import Storage
import TestSupport
import Testing

@testable import StoragePostgres

/// What every store promises, asked of each of them.
@Suite struct StoreSuite {
    enum Kind: String, CaseIterable, Sendable { case sqlite, postgres }

    /// A store that can be closed and opened again, as a restart does.
    final class Place: Sendable {
        let kind: Kind
        let directory = TemporaryDirectory()
        let configuration: PostgresConfiguration?

        init(_ kind: Kind) async throws {
            self.kind = kind
            configuration = kind == .postgres ? try await PostgresCluster.shared.database() : nil
        }

        func open() async throws -> any ManagedStore {
            guard let configuration else { return try SQLiteStore(directory: directory.path, schema: schema) }
            return try await WriteBehindStore.open(directory: directory.path, schema: schema, logger: .silent) { journal in
                try await PostgresDatabase.open(configuration, schema: schema, journal: journal, logger: .silent)
            }
        }
    }

    private func all(_ store: any ManagedStore, _ tenant: TenantID = tenantA) async throws -> [Int64: [SQLValue]] {
        let rows = try await store.rows(.select(from: things, "WHERE tenant_id = ? ORDER BY id", [.id(tenant)], tenant: tenant))
        return Dictionary(
            uniqueKeysWithValues: rows.map { row in
                guard case .integer(let id) = row[1] else { return (-1, []) }
                return (id, (0..<things.columns.count).map { row[$0] })
            }
        )
    }

    @Test(arguments: Kind.allCases) func everyKindOfValueComesBackAsItWas(_ kind: Kind) async throws {
        let place = try await Place(kind)
        let store = try await place.open()
        let times = [
            Timestamp(milliseconds: 0), Timestamp(milliseconds: -1), Timestamp(milliseconds: 1_790_000_000_123),
            Timestamp(milliseconds: -62_135_596_800_000),
        ]
        let texts = ["", "plain", "ção 😀 \u{202e}", "it's \"quoted\" \\ {a,b} NULL", String(repeating: "x", count: 100_000)]
        let arrays: [[String]] = [[], [""], ["a", "b"], ["{", "\"", "\\", ",", "NULL", "não", " "]]
        let numbers = ["0", "1", "-1", "0.1", "12345678901234567890.123456789", "-0.0001", "10000", "99999999.99", "0.00000001", "100000000"]
        let integers: [Int64] = [0, -1, .max, .min]
        let objects = [#"{"a": [1, 2.5, null, true], "b": "ç"}"#, "[]", #""text""#, "0"]
        var rows: [[SQLValue]] = []
        for number in 0..<40 {
            rows.append([
                .id(tenantA), .integer(integers.indices.contains(number) ? integers[number] : Int64(number)),
                .text("\(number)" + texts[number % texts.count]),
                .textArray(arrays[number % arrays.count]), .timestamp(times[number % times.count]), .boolean(number % 2 == 0),
                .json(objects[number % objects.count]), .numeric(Decimal(string: numbers[number % numbers.count])!),
                .uuid(UniqueID(high: .max - UInt64(number), low: UInt64(number))),
            ])
        }
        rows.append([.id(tenantA), .integer(1000)] + [SQLValue](repeating: .null, count: 7))
        var all = Change()
        all.rows = rows.map { RowImage(things, version: 1, values: $0) }
        // The index on text cannot hold the long ones in Postgres.
        for index in all.rows.indices {
            if case .values(var values) = all.rows[index].content, case .text(let text) = values[2], text.utf8.count > 2000 {
                values[2] = .text(String(text.prefix(2000)))
                rows[index] = values
                all.rows[index] = RowImage(things, version: 1, values: values)
            }
        }
        try store.commit([all])
        let found = try await self.all(store)
        #expect(found.count == rows.count)
        for row in rows {
            guard case .integer(let id) = row[1], let stored = found[id] else {
                Issue.record("row \(row[1]) is missing")
                continue
            }
            #expect(Array(stored.dropLast()) == row)
            #expect(stored.last == .integer(1))
        }
        #expect(try await store.quarantined(of: nil).isEmpty)
        await store.close()
        withExtendedLifetime(place) {}
    }

    @Test(arguments: Kind.allCases) func theLatestImageIsWhatIsRead(_ kind: Kind) async throws {
        let place = try await Place(kind)
        var store = try await place.open()
        for version in 1...20 as ClosedRange<Int64> { try store.commit([change(thing(1, "v\(version)", version: version), thing(version + 1, nil))]) }
        try store.commit([change(gone(2, version: 2))])
        #expect(try await all(store)[1]?[2] == .text("v20"))
        await store.close()
        store = try await place.open()
        let found = try await all(store)
        #expect(found[1]?[2] == .text("v20") && found[2] == nil && found.count == 20)
        await store.close()
        withExtendedLifetime(place) {}
    }

    @Test(arguments: Kind.allCases) func aNamePassesFromRowToRowWithinOneChange(_ kind: Kind) async throws {
        let place = try await Place(kind)
        let store = try await place.open()
        try store.commit([change(thing(1, "name"))])
        _ = try await all(store)
        try store.commit([change(thing(1, "old", version: 2), thing(2, "name")), change(gone(2, version: 2), thing(3, "name"))])
        let found = try await all(store)
        #expect(found[1]?[2] == .text("old") && found[2] == nil && found[3]?[2] == .text("name"))
        #expect(try await store.quarantined(of: nil).isEmpty)
        await store.close()
        withExtendedLifetime(place) {}
    }

    @Test(arguments: Kind.allCases) func tenantsDoNotSeeOneAnother(_ kind: Kind) async throws {
        let place = try await Place(kind)
        let store = try await place.open()
        try store.commit([change(thing(1, "a"), thing(1, "b", tenant: tenantB))])
        #expect(try await all(store)[1]?[2] == .text("a"))
        #expect(try await all(store, tenantB)[1]?[2] == .text("b"))
        try store.commit([change(gone(1, version: 2))])
        #expect(try await all(store).isEmpty)
        #expect(try await all(store, tenantB).count == 1)
        await store.close()
        withExtendedLifetime(place) {}
    }

    @Test(arguments: Kind.allCases) func jobsAndMarksOutliveARestart(_ kind: Kind) async throws {
        let place = try await Place(kind)
        var store = try await place.open()
        let jobs = (1...3).map { number in
            Job(
                id: JobID(UniqueID(high: 9, low: UInt64(number))),
                tenant: tenantA,
                kind: "k",
                lane: "l\(number % 2)",
                order: Int64(number),
                runAt: Timestamp(seconds: 5),
                payload: #"{"n": \#(number)}"#
            )
        }
        let mark = Mark(Mark.Key(tenant: tenantA, scope: "wamid", key: "w1"), at: Timestamp(seconds: 1), result: "r")
        var all = Change()
        all.jobs = jobs
        all.marks = [mark]
        try store.commit([all])
        var end = Change()
        end.endedJobs = [jobs[0]]
        try store.commit([end])
        await store.close()
        store = try await place.open()
        #expect(try await store.jobs(of: jobs[1].tenant, after: "", limit: 10) == [jobs[1], jobs[2]])
        #expect(try await store.marks([mark.key]) == [mark.key: "r"])
        #expect(try await store.rows(.select(from: StorageTables.jobs)).count == 2)
        try store.forgetMarks(before: Timestamp(seconds: 2))
        #expect(try await store.marks([mark.key]).isEmpty)
        await store.close()
        withExtendedLifetime(place) {}
    }

    @Test(arguments: Kind.allCases) func textHasOneOrder(_ kind: Kind) async throws {
        let place = try await Place(kind)
        let store = try await place.open()
        let texts = ["a", "B", "á", "Z", "z", "_", "10", "9", "ab", "a b"]
        var all = Change()
        all.rows = texts.enumerated().map { thing(Int64($0), $1) }
        try store.commit([all])
        let rows = try await store.rows(
            Query("SELECT text FROM things WHERE tenant_id = ? ORDER BY text", [.id(tenantA)], kinds: [.text], tenant: tenantA)
        )
        #expect(rows.map { $0[0] } == texts.sorted { Array($0.utf8).lexicographicallyPrecedes(Array($1.utf8)) }.map { .text($0) })
        await store.close()
        withExtendedLifetime(place) {}
    }

    /// Random histories of rows and deletions: what is read in between and in the end is what a dictionary says, also after restarts.
    @Test(arguments: Kind.allCases) func randomHistoriesEndAsAModelSays(_ kind: Kind) async throws {
        var random = SeededGenerator.fresh()
        let place = try await Place(kind)
        var store = try await place.open()
        var model: [Int64: (text: String?, version: Int64)] = [:]
        var versions: [Int64: Int64] = [:]
        for step in 0..<400 {
            var batch = Change()
            for _ in 0..<Int.random(in: 1...8, using: &random) {
                let id = Int64.random(in: 0..<30, using: &random)
                guard !batch.rows.contains(where: { $0.key[1] == .integer(id) }) else { continue }
                versions[id, default: 0] += 1
                let version = versions[id] ?? 1
                if model[id] != nil, Bool.random(using: &random) {
                    batch.rows.append(gone(id, version: version))
                    model[id] = nil
                } else {
                    let text = "\(id) at \(step)"
                    batch.rows.append(thing(id, text, version: version))
                    model[id] = (text, version)
                }
            }
            try store.commit([batch])
            if step % 40 == 0 {
                #expect(try await all(store).mapValues { $0[2] } == model.mapValues { .optional($0.text) })
            }
            if step % 130 == 129 {
                await store.close()
                store = try await place.open()
            }
        }
        let found = try await all(store)
        #expect(found.mapValues { $0[2] } == model.mapValues { .optional($0.text) })
        #expect(found.mapValues { $0.last } == model.mapValues { .integer($0.version) })
        await store.close()
        withExtendedLifetime(place) {}
    }
}
