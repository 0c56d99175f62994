import Foundation
import Kernel
import Resilience
import Storage
import Synchronization
import TestSupport
import Testing

@testable import StoragePostgres

/// A store whose database is killed, cut off and shut out at random, under load, with restarts in between.
@Suite(.serialized) struct AttackTests {
    /// What a writer has committed, for readers beside it.
    private final class Progress: Sendable {
        private let state = Mutex<(numbers: [TenantID: Int64], isOver: Bool)>(([:], false))
        var isOver: Bool { state.withLock { $0.isOver } }
        func committed(_ tenant: TenantID) -> Int64 { state.withLock { $0.numbers[tenant] ?? 0 } }
        func commit(_ number: Int64, _ tenant: TenantID) { state.withLock { $0.numbers[tenant] = number } }
        func end() { state.withLock { $0.isOver = true } }
    }

    private func configuration(_ cluster: PostgresCluster) throws -> PostgresConfiguration {
        var configuration = try PostgresConfiguration(url: cluster.url("postgres"), patience: .seconds(20))
        configuration.breaker = CircuitBreaker.Settings(failureThreshold: 3, openFor: .milliseconds(200))
        return configuration
    }

    private func open(_ directory: String, _ configuration: PostgresConfiguration) async throws -> WriteBehindStore {
        var settings = WriteBehindStore.Settings()
        settings.queue.firstBatch = 20
        settings.queue.largestBatch = 200
        settings.stopPatience = .milliseconds(50)
        return try await WriteBehindStore.open(directory: directory, schema: schema, settings: settings, logger: .silent) { journal in
            try await PostgresDatabase.open(configuration, schema: schema, journal: journal, logger: .silent)
        }
    }

    @Test func whateverIsDoneToTheDatabaseEveryCommittedRowIsThereInItsLatestVersion() async throws {
        var random = SeededGenerator.fresh()
        let cluster = await PostgresCluster.started(isDurable: true)
        let configuration = try configuration(cluster)
        let directory = TemporaryDirectory()
        var store = try await open(directory.path, configuration)
        // What was committed, row by row: a version and a text, or gone.
        var model: [Int64: (version: Int64, text: String?)] = [:]
        var isUp = true
        for step in 0..<300 {
            var change = Change()
            for _ in 0..<Int.random(in: 1...12, using: &random) {
                let id = Int64.random(in: 0..<150, using: &random)
                guard !change.rows.contains(where: { $0.key[1] == .integer(id) }) else { continue }
                let version = (model[id]?.version ?? 0) + 1
                if model[id]?.text != nil, Int.random(in: 0..<4, using: &random) == 0 {
                    change.rows.append(gone(id, version: version))
                    model[id] = (version, nil)
                } else {
                    change.rows.append(thing(id, "\(id) in step \(step)", version: version))
                    model[id] = (version, "\(id) in step \(step)")
                }
            }
            try store.commit([change])
            switch Int.random(in: 0..<100, using: &random) {
            case 0..<2 where isUp:
                await cluster.crash()
                isUp = false
            case 2..<12 where !isUp:
                await cluster.restart()
                isUp = true
            case 12..<16 where isUp:
                _ = try? await cluster.sql("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE pid <> pg_backend_pid()", in: "postgres")
            case 16..<18 where isUp:
                // The server ends, with whatever it still owes, and starts again.
                await store.close()
                store = try await open(directory.path, configuration)
            case 18..<20:
                try await Task.sleep(for: .milliseconds(Int.random(in: 1...100, using: &random)))
            default: break
            }
        }
        if !isUp { await cluster.restart() }
        #expect(await eventually { store.status.writeBehind?.depth == 0 })
        #expect(store.status.writeBehind?.quarantined == 0)
        let rows = try await cluster.sql("SELECT id, version, text FROM things", in: "postgres", kinds: [.integer, .integer, .text])
        let stored = Dictionary(
            uniqueKeysWithValues: rows.map { row in
                var row = row
                return (row.integer(), "\(row.integer()) \(row.text())")
            }
        )
        #expect(stored == model.compactMapValues { row in row.text.map { "\(row.version) \($0)" } })
        await store.close()
    }

    @Test func readersSeeWhatWasCommittedBeforeTheyAskedOrAreRefused() async throws {
        let configuration = try await PostgresCluster.shared.database()
        let directory = TemporaryDirectory()
        let store = try await open(directory.path, configuration)
        let progress = Progress()
        // The gate is one writer; here it is this task. Eight readers ask meanwhile.
        let reads = try await withThrowingTaskGroup(of: Int.self) { group in
            for reader in 0..<8 {
                group.addTask {
                    let tenant = reader % 2 == 0 ? tenantA : tenantB
                    var reads = 0
                    while !progress.isOver {
                        let before = progress.committed(tenant)
                        let query = Query(
                            "SELECT COALESCE(MAX(id), 0) FROM things WHERE tenant_id = ?",
                            [.id(tenant)],
                            kinds: [.integer],
                            tenant: tenant
                        )
                        var row = try await store.rows(query)[0]
                        let seen = row.integer()
                        #expect(seen >= before, "\(tenant) had committed \(before), and a reader saw \(seen)")
                        reads += 1
                    }
                    return reads
                }
            }
            for number in 1...1500 as ClosedRange<Int64> {
                let tenant = number % 3 == 0 ? tenantB : tenantA
                try store.commit([change(thing(number, "n\(number)", tenant: tenant))])
                progress.commit(number, tenant)
                if number % 50 == 0 { await Task.yield() }
            }
            progress.end()
            return try await group.reduce(0, +)
        }
        #expect(reads > 50)
        await store.close()
    }
}
