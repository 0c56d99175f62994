import Foundation
import Glibc
import Kernel
import Logging
import Storage
import Synchronization
import TestSupport

@testable import StoragePostgres

/// A private Postgres in a temporary folder. It ends when told, and in any case with this process: a shell in between waits for our end of a pipe to close.
final class PostgresCluster: Sendable {
    let directory: TemporaryDirectory
    let port: Int
    private let isDurable: Bool
    private let shell = Mutex<(process: Process, pipe: Pipe)?>(nil)
    private let databases = Mutex(0)

    /// The one that tests share which do not stop it; without `fsync`, as nothing of it outlives the tests.
    static let shared = PostgresCluster()

    /// - Parameter isDurable: with `fsync`, for tests that kill it.
    init(isDurable: Bool = false) {
        directory = TemporaryDirectory()
        port = Self.freePort()
        self.isDurable = isDurable
        try! FileManager.default.createDirectory(atPath: directory.path, withIntermediateDirectories: true)
        if Self.isRoot { Self.run("chown postgres '\(directory.path)'") }
        Self.run("printf 'secret' > '\(directory.path)/password' && chmod 644 '\(directory.path)/password'")
        Self.run(
            "\(Self.asPostgres)'\(Self.binaries)/initdb' -D '\(data)' -U postgres --pwfile='\(directory.path)/password' --auth-local=trust --auth-host=scram-sha-256 -E UTF8 --locale=C.UTF-8 --no-sync"
        )
        start()
    }

    private var data: String { directory.path + "/data" }
    private static let isRoot = getuid() == 0
    /// Postgres will not run as root.
    private static let asPostgres = isRoot ? "runuser -u postgres -- " : ""
    private static let binaries: String = {
        let versions = (try? FileManager.default.contentsOfDirectory(atPath: "/usr/lib/postgresql"))?.sorted {
            $0.compare($1, options: .numeric) == .orderedAscending
        }
        return versions?.last.map { "/usr/lib/postgresql/\($0)/bin" } ?? "/usr/bin"
    }()

    private static func freePort() -> Int {
        let descriptor = socket(AF_INET, Int32(SOCK_STREAM.rawValue), 0)
        defer { close(descriptor) }
        var address = sockaddr_in(
            sin_family: sa_family_t(AF_INET),
            sin_port: 0,
            sin_addr: in_addr(s_addr: UInt32(0x7f00_0001).bigEndian),
            sin_zero: (0, 0, 0, 0, 0, 0, 0, 0)
        )
        var length = socklen_t(MemoryLayout<sockaddr_in>.size)
        withUnsafeMutablePointer(to: &address) { pointer in
            pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                _ = bind(descriptor, $0, length)
                _ = getsockname(descriptor, $0, &length)
            }
        }
        return Int(UInt16(bigEndian: address.sin_port))
    }

    @discardableResult private static func run(_ command: String) -> Int32 {
        let process = Process()
        process.executableURL = URL(fileURLWithPath: "/bin/sh")
        process.arguments = ["-c", "\(command) > /dev/null 2>&1"]
        process.currentDirectoryURL = URL(fileURLWithPath: "/tmp")
        try! process.run()
        process.waitUntilExit()
        return process.terminationStatus
    }

    func start() {
        let process = Process()
        let pipe = Pipe()
        process.executableURL = URL(fileURLWithPath: "/bin/sh")
        let options =
            "-p \(port) -k '\(directory.path)' -c listen_addresses=127.0.0.1 -c fsync=\(isDurable ? "on" : "off") -c max_connections=120 -c shared_buffers=64MB -c logging_collector=off"
        // `read` ends when we do; postgres takes QUIT for an immediate stop.
        process.arguments = [
            "-c",
            "\(Self.asPostgres)'\(Self.binaries)/postgres' -D '\(data)' \(options) < /dev/null >> '\(directory.path)/log' 2>&1 & read line; kill -QUIT $(head -1 '\(data)/postmaster.pid')",
        ]
        process.currentDirectoryURL = URL(fileURLWithPath: "/tmp")
        process.standardInput = pipe
        // Other children must not hold our end open.
        _ = fcntl(pipe.fileHandleForWriting.fileDescriptor, F_SETFD, FD_CLOEXEC)
        try! process.run()
        shell.withLock { $0 = (process, pipe) }
        let end = ContinuousClock.now + .seconds(60)
        while !isReady, ContinuousClock.now < end { usleep(50_000) }
    }

    private var isReady: Bool { Self.run("'\(Self.binaries)/pg_isready' -h '\(directory.path)' -p \(port) -t 1") == 0 }

    /// As a crash of all its processes: `pg_ctl stop -m immediate`.
    func kill() {
        guard
            let (_, pipe) = shell.withLock({ shell in
                defer { shell = nil }
                return shell
            })
        else { return }
        try? pipe.fileHandleForWriting.write(contentsOf: Data("stop\n".utf8))
        // It removes the file as the last thing it does.
        while FileManager.default.fileExists(atPath: data + "/postmaster.pid") { usleep(20_000) }
    }

    deinit { kill() }

    /// A new empty database, and how to reach it over TCP with a password.
    func database() throws -> PostgresConfiguration {
        let number = databases.withLock { number in
            number += 1
            return number
        }
        let name = "t\(number)"
        _ = try sql("CREATE DATABASE \(name)", in: "postgres")
        return try PostgresConfiguration(url: url(name), poolSize: 4, maxOverflow: 4, patience: .seconds(10))
    }

    func url(_ database: String, user: String = "postgres", password: String = "secret", more: String = "") -> String {
        "postgresql+asyncpg://\(user):\(password)@127.0.0.1:\(port)/\(database)\(more)"
    }

    /// Runs a statement as the superuser, over the socket.
    @discardableResult func sql(_ text: String, in database: String, kinds: [Column.Kind] = []) throws -> [Row] {
        let configuration = try PostgresConfiguration(url: "host='\(directory.path)' port=\(port) user=postgres dbname=\(database)")
        let connection = try LibPQ(configuration, isInterrupted: { false })
        return try connection.run([PostgresStatement(sql: text, kinds: kinds)], deadline: .now + .seconds(120))[0]
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
