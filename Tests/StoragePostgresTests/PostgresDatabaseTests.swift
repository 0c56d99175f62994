import Foundation
import Kernel
import Resilience
import Storage
import TestSupport
import Testing

@testable import StoragePostgres

@Suite struct PostgresDatabaseTests {
    let cluster: PostgresCluster

    init() async { cluster = await PostgresCluster.shared }

    /// - Parameter journal: a new one that owes nothing, unless told.
    private func open(
        _ configuration: PostgresConfiguration,
        _ journal: JournalIdentity = .fresh(),
        _ schema: Schema = schema
    ) async throws -> PostgresDatabase {
        let database = try await PostgresDatabase.open(configuration, schema: schema, journal: journal, logger: .silent)
        try await database.claim()
        return database
    }

    private func texts(_ database: PostgresDatabase) async throws -> [Int64: String?] {
        let rows = try await database.rows(Query("SELECT id, text FROM things", kinds: [.integer, .text]))
        return Dictionary(
            uniqueKeysWithValues: rows.map { row in
                var row = row
                return (row.integer(), row.optionalText())
            }
        )
    }

    // MARK: Writing

    @Test func writingTheSameImagesAgainOrOlderOnesChangesNothing() async throws {
        let database = try await open(await cluster.database())
        let first = [thing(1, "a"), thing(2, "b")]
        let second = [thing(1, "a2", version: 2), gone(2, version: 2), thing(3, "c")]
        for images in [first, second, second] { try await database.write(images) }
        #expect(try await texts(database) == [1: "a2", 3: "c"])
        // As after a crash between the commit there and the note of it here: the whole stretch comes again, in order.
        for images in [first, second] { try await database.write(images) }
        #expect(try await texts(database) == [1: "a2", 3: "c"])
        try await database.write([thing(3, "older", version: 0), thing(1, "older", version: 1)])
        #expect(try await texts(database) == [1: "a2", 3: "c"])
        await database.close()
    }

    @Test func ofABatchWithARefusedRowNothingIsWritten() async throws {
        let database = try await open(await cluster.database())
        try await database.write([thing(1, "taken")])
        let error = await #expect(throws: RemoteError.self) { try await database.write([thing(2, "new"), thing(3, "taken"), thing(4, nil)]) }
        #expect(error?.kind == .content)
        #expect(error?.description.contains("23505") == true && error?.description.contains("'taken'") == false)
        #expect(try await texts(database) == [1: "taken"])
        #expect(database.status.breaker == "closed", "a refused row says that the database works")
        await database.close()
    }

    @Test func aNULIsNoReasonToRefuseARow() async throws {
        let database = try await open(await cluster.database())
        let values: [SQLValue] = [
            .id(tenantA), .integer(1), .text("a\0b"), .textArray(["\0"]), .timestamp(Timestamp(milliseconds: .max)), .null,
            .json(#"{"a":"\u0000","b":"\\u0000","c":"\\\u0000"}"#), .null, .null,
        ]
        try await database.write([RowImage(things, version: 1, values: values)])
        let rows = try await database.rows(Query("SELECT text, labels, facts FROM things", kinds: [.text, .textArray, .json]))
        #expect(rows.first?[0] == .text("a\u{fffd}b") && rows.first?[1] == .textArray(["\u{fffd}"]))
        #expect(rows.first?[2] == .json(#"{"a": "\#u{fffd}", "b": "\\u0000", "c": "\\\#u{fffd}"}"#))
        await database.close()
    }

    @Test func tenThousandRowsAreOneRoundTrip() async throws {
        let database = try await open(await cluster.database())
        try await database.write((1...10_000).map { thing(Int64($0), "t\($0)") })
        #expect(try await database.rows(Query("SELECT COUNT(*) FROM things", kinds: [.integer])).first?[0] == .integer(10_000))
        try await database.write((1...10_000).map { gone(Int64($0), version: 2) })
        #expect(try await texts(database).isEmpty)
        await database.close()
    }

    @Test func aTableThatWasTakenAwayHoldsRowsUpAndRefusesNone() async throws {
        let configuration = try await cluster.database()
        let database = try await open(configuration)
        try await cluster.sql("ALTER TABLE things RENAME TO elsewhere", in: configuration.database)
        let error = await #expect(throws: RemoteError.self) { try await database.write([thing(1, "a")]) }
        guard case .unavailable = error?.kind else {
            Issue.record("\(String(describing: error))")
            return
        }
        try await cluster.sql("ALTER TABLE elsewhere RENAME TO things", in: configuration.database)
        try await database.write([thing(1, "a")])
        #expect(try await texts(database) == [1: "a"])
        await database.close()
    }

    // MARK: Trouble on the way

    @Test func aStatementThatTakesTooLongIsGivenUp() async throws {
        var configuration = try await cluster.database()
        configuration.statementTimeout = .milliseconds(200)
        let database = try await open(configuration)
        let error = await #expect(throws: RemoteError.self) {
            try await database.rows(Query("SELECT 1 FROM pg_sleep(30)", kinds: [.integer]))
        }
        #expect(error?.kind == .timedOut)
        // That says nothing against the database: whoever asks for too much does not shut others out.
        for _ in 0..<6 { await #expect(throws: RemoteError.self) { try await database.rows(Query("SELECT 1 FROM pg_sleep(30)", kinds: [.integer])) } }
        #expect(database.status.breaker == "closed")
        try await database.write([thing(1, "a")])
        await database.close()
    }

    @Test func aReaderWhoseNameLeadsToAnotherDatabaseReadsNothing() async throws {
        let configuration = try await cluster.database()
        let database = try await open(configuration)
        try await database.write([thing(1, "a")])
        _ = try await texts(database)
        try await cluster.sql("UPDATE plantao_store SET store_id = gen_random_uuid()", in: configuration.database)
        try await cluster.sql(
            "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()",
            in: configuration.database
        )
        for _ in 0..<3 {
            let error = await #expect(throws: RemoteError.self) { try await texts(database) }
            #expect(error?.description.contains("another database than before") == true)
            await #expect(throws: RemoteError.self) { try await database.write([thing(2, "b")]) }
        }
        await database.close()
    }

    @Test func connectionsThatTheServerEndsAreOpenedAgain() async throws {
        let configuration = try await cluster.database()
        let database = try await open(configuration)
        try await database.write([thing(1, "a")])
        _ = try await texts(database)
        let end = "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()"
        for round in 2...4 as ClosedRange<Int64> {
            try await cluster.sql(end, in: configuration.database)
            #expect(await eventually { (try? await database.write([thing(round, "\(round)")])) != nil })
            #expect(await eventually { (try? await texts(database).count) == Int(round) })
        }
        #expect(database.status.breaker == "closed")
        await database.close()
    }

    @Test func theBreakerOpensWhenTheServerIsGoneAndClosesByItself() async throws {
        let cluster = await PostgresCluster.started(isDurable: true)
        var configuration = try await cluster.database()
        configuration.breaker = CircuitBreaker.Settings(failureThreshold: 5, openFor: .seconds(6))
        let database = try await open(configuration)
        try await database.write([thing(1, "a")])
        await cluster.crash()
        for _ in 0..<5 { await #expect(throws: RemoteError.self) { try await database.write([thing(2, "b")]) } }
        #expect(database.status.breaker == "open" && database.status.timesOpened == 1 && database.status.connections == 0)
        let refused = await #expect(throws: RemoteError.self) { try await texts(database) }
        guard case .unavailable(let wait) = refused?.kind else {
            Issue.record("\(String(describing: refused))")
            return
        }
        #expect(wait > .zero && wait <= .milliseconds(6600) && refused?.description.contains("circuit breaker") == true)
        await cluster.restart()
        #expect(await eventually { (try? await database.write([thing(2, "b")])) != nil })
        #expect(database.status.breaker == "closed")
        #expect(try await texts(database) == [1: "a", 2: "b"])
        await database.close()
    }

    @Test func moreReadsThanConnectionsWaitTheirTurnAndPastTheBoundAreRefused() async throws {
        var configuration = try await cluster.database()
        configuration.poolSize = 2
        configuration.maxOverflow = 1
        configuration.maxWaitingReads = 100
        configuration.readPatience = .seconds(300)
        let database = try await open(configuration)
        let results = await withTaskGroup(of: Bool?.self) { group in
            for _ in 0..<300 {
                group.addTask {
                    do throws(RemoteError) {
                        return try await database.rows(Query("SELECT 1 FROM pg_sleep(0.005)", kinds: [.integer])).count == 1
                    } catch {
                        if case .unavailable = error.kind { return nil } else { return false }
                    }
                }
            }
            return await group.reduce(into: [:]) { $0[$1, default: 0] += 1 }
        }
        #expect(results[false] == nil && (results[true] ?? 0) >= 103)
        #expect((results[true] ?? 0) + (results[nil] ?? 0) == 300)
        #expect(database.status.connections <= 4 && database.status.waiting == 0)
        await database.close()
    }

    @Test func whoHasWaitedTooLongForAConnectionIsToldSoAndTheNextOnesAreServed() async throws {
        var configuration = try await cluster.database()
        configuration.poolSize = 1
        configuration.maxOverflow = 0
        configuration.readPatience = .milliseconds(100)
        let database = try await open(configuration)
        let slow = Task { try await database.rows(Query("SELECT 1 FROM pg_sleep(600)", kinds: [.integer])) }
        let sleeping =
            "SELECT pid FROM pg_stat_activity WHERE datname = current_database() AND query LIKE '%pg_sleep(600)%' AND pid <> pg_backend_pid()"
        #expect(try await eventually { try await cluster.sql(sleeping, in: configuration.database, kinds: [.integer]).isEmpty == false })
        let error = await #expect(throws: RemoteError.self) { try await database.rows(Query("SELECT 1", kinds: [.integer])) }
        #expect(error?.description == "all connections are busy" && database.status.waiting == 0)
        try await cluster.sql("SELECT pg_cancel_backend(pid::int) FROM (\(sleeping)) s", in: configuration.database)
        await #expect(throws: RemoteError.self) { try await slow.value }
        #expect(try await database.rows(Query("SELECT 1", kinds: [.integer])).count == 1)
        await database.close()
    }

    @Test func closingAnswersWhoeverWaits() async throws {
        var configuration = try await cluster.database()
        configuration.poolSize = 1
        configuration.maxOverflow = 0
        let database = try await open(configuration)
        await withTaskGroup(of: Void.self) { group in
            for _ in 0..<10 {
                group.addTask {
                    await #expect(throws: RemoteError.self) { try await database.rows(Query("SELECT 1 FROM pg_sleep(60)", kinds: [.integer])) }
                }
            }
            #expect(await eventually { database.status.waiting == 9 })
            await database.close()
        }
        await #expect(throws: RemoteError.self) { try await database.write([thing(1, "a")]) }
    }

    // MARK: Opening

    @Test func twoServersThatStartAtOnceTakeTurnsAtTheTablesAndOneBecomesTheWriter() async throws {
        var configuration = try await cluster.database()
        configuration.patience = .milliseconds(500)
        let opened = await withTaskGroup(of: PostgresDatabase?.self) { [configuration] group in
            for _ in 0..<6 {
                group.addTask {
                    do { return try await open(configuration) } catch {
                        #expect("\(error)".contains("another plantao server"))
                        return nil
                    }
                }
            }
            return await group.reduce(into: [] as [PostgresDatabase]) { if let database = $1 { $0.append(database) } }
        }
        #expect(opened.count == 1)
        let present = try await cluster.sql(
            "SELECT count(*), max(schema_version) FROM plantao_store",
            in: configuration.database,
            kinds: [.integer, .integer]
        )
        #expect(present.first?[0] == .integer(1) && present.first?[1] == .integer(Int64(schema.version)))
        // The next one may write as soon as the first has ended and owes nothing.
        try await opened.first?.release()
        await opened.first?.close()
        configuration.patience = .seconds(10)
        let next = try await open(configuration)
        try await next.write([thing(1, "a")])
        await next.close()
    }

    @Test func aJournalThatMayOweRowsKeepsOthersOutUntilItIsReleasedOrGivenUp() async throws {
        var configuration = try await cluster.database()
        configuration.patience = .milliseconds(200)
        let (mine, other) = (JournalIdentity.fresh(), JournalIdentity.fresh())
        // A start that ends before it has taken over what stands there is told again that it is new.
        let broken = try await PostgresDatabase.open(configuration, schema: schema, journal: mine, logger: .silent)
        #expect(broken.isNewToJournal)
        await broken.close()
        let first = try await open(configuration, mine)
        #expect(first.isNewToJournal)
        try await first.write([thing(1, "first")])
        await first.close()
        let refused = await #expect(throws: StartupError.self) { try await open(configuration, other) }
        #expect(refused?.description.contains("may still owe") == true && refused?.description.contains("DATABASE_TAKE_OVER=1") == true)
        // The same journal goes on where it was.
        let again = try await open(configuration, mine)
        #expect(!again.isNewToJournal)
        try await again.release()
        await again.close()
        // Once it has said that it owes nothing, another one may follow; and it is told when it comes back that it was away.
        let second = try await open(configuration, other)
        #expect(second.isNewToJournal)
        try await second.release()
        await second.close()
        let back = try await open(configuration, mine)
        #expect(back.isNewToJournal)
        await back.close()
        // Given up on an operator's word.
        configuration.takesOver = true
        let third = try await open(configuration, .fresh())
        try await third.release()
        await third.close()
        let owing = await #expect(throws: StartupError.self) {
            try await open(configuration, JournalIdentity(id: mine.id, storeID: mine.storeID, owedRows: 3))
        }
        #expect(owing?.description.contains("owes 3 rows") == true && owing?.description.contains("cannot be merged") == true)
    }

    @Test func aWriterThatWasReplacedIsToldSoAndWritesNothing() async throws {
        var configuration = try await cluster.database()
        let first = try await open(configuration)
        try await first.write([thing(1, "first")])
        func disconnect() async throws {
            try await cluster.sql(
                "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()",
                in: configuration.database
            )
        }
        try await disconnect()
        configuration.takesOver = true
        let second = try await open(configuration)
        try await second.write([thing(1, "second", version: 2)])
        await #expect(throws: RemoteError.self) { try await first.write([thing(1, "stale", version: 3)]) }
        #expect(first.status.lastError == PostgresLock.heldByAnother && first.status.breaker == "closed")
        await second.close()
        for _ in 0..<2 {
            let error = await #expect(throws: RemoteError.self) { try await first.write([thing(1, "stale", version: 3)]) }
            #expect(error?.kind == .usurped)
        }
        let error = await #expect(throws: RemoteError.self) { try await first.attend() }
        #expect(error?.kind == .usurped)
        let rows = try await cluster.sql("SELECT text FROM things", in: configuration.database, kinds: [.text])
        #expect(rows.map { $0[0] } == [.text("second")])
        await first.close()
    }

    @Test func anIdleWriterNoticesThatItsConnectionEndedAndTakesItsPlaceAgain() async throws {
        let configuration = try await cluster.database()
        let database = try await open(configuration)
        let held =
            "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND database = (SELECT oid FROM pg_database WHERE datname = current_database())"
        for _ in 0..<3 {
            try await cluster.sql(
                "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()",
                in: configuration.database
            )
            #expect(try await cluster.sql(held, in: configuration.database, kinds: [.integer]).first?[0] == .integer(0))
            try await database.attend()
            #expect(try await cluster.sql(held, in: configuration.database, kinds: [.integer]).first?[0] == .integer(1))
        }
        #expect(database.status.timesOpened == 0 && database.status.lastError == nil)
        await database.close()
    }

    @Test func connectionsThatEndedWhileNobodyUsedThemCostNoReader() async throws {
        let cluster = await PostgresCluster.started(isDurable: true)
        var configuration = try await cluster.database()
        configuration.poolSize = 8
        let database = try await open(configuration)
        for _ in 0..<3 {
            try await withThrowingTaskGroup(of: Int.self) { group in
                for _ in 0..<8 { group.addTask { try await database.rows(Query("SELECT 1 FROM pg_sleep(0.05)", kinds: [.integer])).count } }
                for try await count in group { #expect(count == 1) }
            }
            await cluster.crash()
            await cluster.restart()
        }
        #expect(database.status.timesOpened == 0)
        await database.close()
    }

    @Test func anotherDatabaseThanTheJournalsIsRefused() async throws {
        let configuration = try await cluster.database()
        await (try open(configuration)).close()
        let empty = try await cluster.database()
        let emptyError = await #expect(throws: StartupError.self) { try await open(empty, .fresh(of: UniqueID(high: 1, low: 2).description)) }
        #expect(emptyError?.description.contains("an empty database") == true)
        #expect(
            try await cluster.sql("SELECT to_regclass('things') IS NULL", in: empty.database, kinds: [.boolean]).first?[0] == .boolean(true),
            "left as it was"
        )
        let error = await #expect(throws: StartupError.self) { try await open(configuration, .fresh(of: UniqueID(high: 1, low: 2).description)) }
        #expect(error?.description.contains("the journal in PLANTAO_DATA belongs to store") == true)
    }

    @Test func tablesOfANewerProgramAreRefusedUntouched() async throws {
        let configuration = try await cluster.database()
        let later = Table("later", since: 2, key: ["id"], columns: [Column("id", .integer)])
        await (try open(configuration, .fresh(), Schema(schema.tables + [later]))).close()
        let error = await #expect(throws: StartupError.self) { try await open(configuration) }
        #expect(error?.description.contains("schema version 2") == true && error?.description.contains("newer program") == true)
    }

    @Test func tablesThatCameThroughEveryVersionEqualNewOnes() async throws {
        let wider = Table(
            "things",
            since: 1,
            key: things.key,
            columns: things.columns.dropLast() + [Column("colour", .text, since: 2)],
            indexes: things.indexes + [Index("things_by_colour", on: ["colour"], since: 3)]
        )
        let newest = Schema(StorageTables.all + [wider])
        let configuration = try await cluster.database()
        let old = try await open(configuration)
        try await old.write([thing(1, "old")])
        try await old.release()
        await old.close()
        #expect(try await PostgresDatabase.inspect(configuration, schema: newest).schema.pending.map(\.number) == [2, 3])
        let migrated = try await open(configuration, .fresh(), newest)
        #expect(try await migrated.rows(.select(from: wider)).count == 1)
        let status = try await PostgresDatabase.inspect(configuration, schema: newest).schema
        #expect(status.isUpToDate && status.drift == [])
        await migrated.close()
    }

    @Test func whatSomebodyAlteredIsNamed() async throws {
        let configuration = try await cluster.database()
        await (try open(configuration)).close()
        #expect(try await PostgresDatabase.inspect(configuration, schema: schema).schema.isUpToDate)
        for statement in [
            "DROP INDEX things_by_text", "ALTER TABLE things DROP COLUMN price", "ALTER TABLE things ALTER facts TYPE text", "DROP TABLE marks",
            "ALTER TABLE things ALTER at SET NOT NULL", "ALTER TABLE jobs DROP CONSTRAINT jobs_pkey", "DROP INDEX jobs_by_lane",
            "CREATE INDEX jobs_by_lane ON jobs (position, lane)",
        ] { try await cluster.sql(statement, in: configuration.database) }
        let status = try await PostgresDatabase.inspect(configuration, schema: schema).schema
        #expect(
            Set(status.drift) == [
                "index things_by_text is missing", "column things.price is missing", "column things.facts is of type text", "table marks is missing",
                "column things.at differs in NOT NULL", "the primary key of jobs is missing", "index jobs_by_lane is on jobs (position, lane)",
            ]
        )
    }

    @Test func whatIsWrongWithTheAddressIsSaidWithWhatToDo() async throws {
        let right = try await cluster.database()
        try await cluster.sql("CREATE ROLE nobody_\(right.database) LOGIN PASSWORD 'secret'", in: "postgres")
        let cases = [
            (cluster.url(right.database, password: "wr0ng"), ["28P01", "Check the user and the password"]),
            (cluster.url(right.database, user: "stranger"), ["Check the user and the password"]),
            (cluster.url("missing"), ["3D000", "createdb missing"]),
            (cluster.url(right.database, user: "nobody_\(right.database)"), ["42501", "GRANT CREATE"]),
            (cluster.url(right.database, more: "?sslmode=require"), ["SSL", "Check that Postgres runs at 127.0.0.1:\(cluster.port)"]),
            ("postgresql://a:wr0ng@127.0.0.1:1/d", ["refused", "Check that Postgres runs at 127.0.0.1:1"]),
        ]
        for (url, expected) in cases {
            var configuration = try PostgresConfiguration(url: url)
            configuration.patience = .milliseconds(50)
            let error = await #expect(throws: StartupError.self) { try await open(configuration) }
            for part in expected + ["DATABASE_URL: "] { #expect(error?.description.contains(part) == true, "\(error?.description ?? "")") }
            #expect(error?.description.contains("wr0ng") == false && error?.description.contains("secret") == false)
        }
    }

    @Test func theStartWaitsForADatabaseThatIsStillStarting() async throws {
        let cluster = await PostgresCluster.started(isDurable: true)
        let configuration = try await cluster.database()
        await cluster.crash()
        async let opened = open(configuration)
        try await Task.sleep(for: .milliseconds(300))
        await cluster.restart()
        let database = try await opened
        try await database.write([thing(1, "a")])
        await database.close()
    }

    @Test func anEncryptedConnectionIsUsedAndAStrangersCertificateIsRefused() async throws {
        let cluster = await PostgresCluster.started(isDurable: true)
        let plain = try await cluster.database()
        try await cluster.encrypt()
        let database = try await open(
            try PostgresConfiguration(url: cluster.url(plain.database, more: "?sslmode=verify-full&sslrootcert=\(cluster.certificate)"))
        )
        try await database.write([thing(1, "a")])
        await database.close()
        let inspection = try await PostgresDatabase.inspect(
            try PostgresConfiguration(url: cluster.url(plain.database, more: "?ssl=require")),
            schema: schema
        )
        #expect(inspection.isEncrypted && inspection.isLocal && inspection.clockSkew < .seconds(5))
        let stranger = try PostgresCluster.selfSignedCertificate(in: cluster.directory.path, named: "stranger")
        var wrong = try PostgresConfiguration(url: cluster.url(plain.database, more: "?sslmode=verify-ca&sslrootcert=\(stranger)"))
        wrong.patience = .zero
        let error = await #expect(throws: StartupError.self) { try await open(wrong) }
        #expect(error?.description.contains("certificate verify failed") == true)
    }
}

extension PostgresCluster {
    var certificate: String { directory.path + "/server.crt" }

    /// Makes a key and a certificate for 127.0.0.1.
    static func selfSignedCertificate(in directory: String, named name: String) throws -> String {
        let process = Process()
        process.executableURL = URL(fileURLWithPath: "/usr/bin/openssl")
        process.arguments =
            [
                "req", "-new", "-x509", "-days", "2", "-nodes", "-newkey", "rsa:2048", "-subj", "/CN=127.0.0.1", "-addext",
                "subjectAltName=IP:127.0.0.1",
            ]
            + ["-keyout", "\(directory)/\(name).key", "-out", "\(directory)/\(name).crt"]
        process.standardError = FileHandle.nullDevice
        try process.run()
        process.waitUntilExit()
        return "\(directory)/\(name).crt"
    }

    /// Turns TLS on.
    func encrypt() async throws {
        _ = try Self.selfSignedCertificate(in: directory.path, named: "server")
        let key = directory.path + "/server.key"
        if getuid() == 0 {
            let owner = try FileManager.default.attributesOfItem(atPath: directory.path)
            try FileManager.default.setAttributes(
                [.ownerAccountID: owner[.ownerAccountID] as Any, .groupOwnerAccountID: owner[.groupOwnerAccountID] as Any],
                ofItemAtPath: key
            )
        }
        try FileManager.default.setAttributes([.posixPermissions: 0o600], ofItemAtPath: key)
        for (name, value) in [("ssl_cert_file", certificate), ("ssl_key_file", key), ("ssl", "on")] {
            try await sql("ALTER SYSTEM SET \(name) = '\(value)'", in: "postgres")
        }
        await crash()
        await restart()
    }
}
