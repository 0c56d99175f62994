import Foundation
import Kernel
import Logging
import Storage
import Synchronization
import TestSupport

@testable import StoragePostgres

extension PostgresCluster {
    /// The one that tests share which do not stop it; without `fsync`, as nothing of it outlives the tests.
    static var shared: PostgresCluster { get async { await starting.value } }
    private static let starting = Task { await PostgresCluster.started() }
    private static let databases = Mutex(0)

    /// A new empty database, and how to reach it over TCP with a password.
    func database() async throws -> PostgresConfiguration {
        let number = Self.databases.withLock { number in
            number += 1
            return number
        }
        let name = "t\(number)"
        try await sql("CREATE DATABASE \(name)", in: "postgres")
        return try PostgresConfiguration(url: url(name), poolSize: 4, maxOverflow: 4, patience: .seconds(10))
    }

    /// Runs a statement as the superuser, over the socket.
    @discardableResult func sql(_ text: String, in database: String, kinds: [Column.Kind] = []) async throws -> [Row] {
        let url = "host='\(directory.path)' port=\(port) user=postgres dbname=\(database)"
        return try await Self.offPool {
            Result {
                let connection = try LibPQ(try PostgresConfiguration(url: url), isInterrupted: { false })
                return try connection.run([PostgresStatement(sql: text, kinds: kinds)], deadline: .now + .seconds(300))[0]
            }
        }.get()
    }
}

extension PostgresConfiguration {
    var database: String { self["dbname"] ?? "" }
}

// MARK: Tables and rows to test with

/// One column of each kind.
let things = Table(
    "things",
    since: 1,
    key: ["tenant_id", "id"],
    columns: [
        Column("tenant_id", .uuid), Column("id", .integer), .optional("text", .text), .optional("labels", .textArray), .optional("at", .timestamp),
        .optional("is_on", .boolean), .optional("facts", .json), .optional("price", .numeric), .optional("other", .uuid),
    ],
    indexes: [Index("things_by_text", on: ["tenant_id", "text"], isUnique: true)]
)
let schema = Schema(StorageTables.all + [things])
let tenantA = TenantID(UniqueID(high: 1, low: 0xa))
let tenantB = TenantID(UniqueID(high: 1, low: 0xb))

func thing(_ id: Int64, _ text: String? = nil, version: Int64 = 1, tenant: TenantID = tenantA) -> RowImage {
    RowImage(things, version: version, values: [.id(tenant), .integer(id), .optional(text), .null, .null, .null, .null, .null, .null])
}
func gone(_ id: Int64, version: Int64, tenant: TenantID = tenantA) -> RowImage {
    RowImage(deleting: [.id(tenant), .integer(id)], from: things, version: version)
}
func change(_ rows: RowImage...) -> Change {
    var change = Change()
    change.rows = rows
    return change
}

/// Tries `condition` until it holds, for half a minute at the most.
func eventually(_ condition: () async throws -> Bool) async rethrows -> Bool {
    let end = ContinuousClock.now + .seconds(30)
    while ContinuousClock.now < end {
        if try await condition() { return true }
        try? await Task.sleep(for: .milliseconds(20))
    }
    return false
}

extension JournalIdentity {
    /// A journal nobody has seen before, of a store or of none yet.
    static func fresh(of storeID: String? = nil) -> JournalIdentity {
        let id = UniqueID(high: .random(in: 0...UInt64.max), low: .random(in: 0...UInt64.max))
        return JournalIdentity(id: id.description, storeID: storeID, owedRows: 0)
    }
}
