import Dispatch
import Foundation
import Glibc
import Synchronization

/// A private Postgres in a temporary folder. It ends when told, and in any case with this process: a shell in between waits for our end of a pipe to close.
package final class PostgresCluster: Sendable {
    package let directory: TemporaryDirectory
    package let port: Int
    private let isDurable: Bool
    private let shell = Mutex<(process: Process, pipe: Pipe)?>(nil)

    /// - Parameter isDurable: with `fsync`, for tests that kill it.
    package init(isDurable: Bool = false) {
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

    /// A new one. Starting takes seconds, during which nobody else's test is held up.
    package static func started(isDurable: Bool = false) async -> PostgresCluster { await offPool { PostgresCluster(isDurable: isDurable) } }
    package func restart() async { await Self.offPool { self.start() } }
    package func crash() async { await Self.offPool { self.kill() } }

    /// Carries out what blocks on a thread that may be blocked: the pool that all tests share has two on a small machine.
    package static func offPool<Value: Sendable>(_ body: @escaping @Sendable () -> Value) async -> Value {
        await withCheckedContinuation { continuation in
            DispatchQueue.global().async { continuation.resume(returning: body()) }
        }
    }

    package func start() {
        let process = Process()
        let pipe = Pipe()
        process.executableURL = URL(fileURLWithPath: "/bin/sh")
        let options =
            "-p \(port) -k '\(directory.path)' -c listen_addresses=127.0.0.1 -c fsync=\(isDurable ? "on" : "off") -c max_connections=120 -c shared_buffers=64MB -c logging_collector=off"
        // `read` ends when we do, and fails then: nobody is left to take the folder away. Postgres takes QUIT for an immediate stop.
        process.arguments = [
            "-c",
            "\(Self.asPostgres)'\(Self.binaries)/postgres' -D '\(data)' \(options) < /dev/null >> '\(directory.path)/log' 2>&1 & read line; told=$?; kill -QUIT $(head -1 '\(data)/postmaster.pid'); [ $told = 0 ] || { sleep 1; rm -rf '\(directory.path)'; }",
        ]
        process.currentDirectoryURL = URL(fileURLWithPath: "/tmp")
        process.standardInput = pipe
        // It outlives us by a moment, and must not hold open what whoever started us reads.
        process.standardOutput = FileHandle.nullDevice
        process.standardError = FileHandle.nullDevice
        // Other children must not hold our end open.
        _ = fcntl(pipe.fileHandleForWriting.fileDescriptor, F_SETFD, FD_CLOEXEC)
        try! process.run()
        shell.withLock { $0 = (process, pipe) }
        let end = ContinuousClock.now + .seconds(60)
        while !isReady, ContinuousClock.now < end { usleep(50_000) }
    }

    private var isReady: Bool { Self.run("'\(Self.binaries)/pg_isready' -h '\(directory.path)' -p \(port) -t 1") == 0 }

    /// Processor time of all its processes, of those that have ended too; in seconds.
    package func cpuSeconds() throws -> Double {
        let pid = try String(contentsOfFile: data + "/postmaster.pid", encoding: .utf8).prefix { $0.isNumber }
        var ticks = 0.0
        for process in try FileManager.default.contentsOfDirectory(atPath: "/proc") where process.allSatisfy(\.isNumber) {
            // One that has ended by now counts among the ended children of its parent: proc(5), fields 14 to 17, behind the name in parentheses.
            guard let stat = try? String(contentsOfFile: "/proc/\(process)/stat", encoding: .utf8), let end = stat.lastIndex(of: ")") else {
                continue
            }
            let fields = stat[end...].split(separator: " ")
            let isMain = process == pid
            guard isMain || fields[2] == pid else { continue }
            ticks += fields[12..<(isMain ? 16 : 14)].compactMap { Double($0) }.reduce(0, +)
        }
        return ticks / Double(sysconf(Int32(_SC_CLK_TCK)))
    }

    /// As a crash of all its processes: `pg_ctl stop -m immediate`.
    package func kill() {
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

    package func url(_ database: String, user: String = "postgres", password: String = "secret", more: String = "") -> String {
        "postgresql+asyncpg://\(user):\(password)@127.0.0.1:\(port)/\(database)\(more)"
    }
}
