import ArgumentParser
import Foundation

/// A server that is measured.
enum Peer: String, Sendable, CaseIterable, ExpressibleByArgument {
    case plantao
    /// The usual Python way to the same job: loadtest/baseline.
    case baseline

    var title: String {
        switch self {
        case .plantao: "Plantão"
        case .baseline: "FastAPI + uvicorn"
        }
    }
}

/// Which cores and which priority. Both servers and the generator keep to one core each, so that figures are per core and do not depend on who else is at work
/// more than they must.
struct Placement: Sendable {
    var serverCore: Int
    var generatorCore: Int
    /// Before all ordinary processes (sched(7), SCHED_RR): on a machine that others use, only so the tail is the server's own.
    var isRealtime: Bool

    /// What stands before a server's command.
    var launcher: [String] { (isRealtime ? ["chrt", "--rr", "10"] : []) + ["taskset", "--cpu-list", String(serverCore)] }

    /// Moves this process, with all threads it has by now, to its core.
    func settle() throws {
        let pid = String(ProcessInfo.processInfo.processIdentifier)
        try Self.run(["taskset", "--all-tasks", "--pid", "--cpu-list", String(generatorCore), pid])
        if isRealtime { try Self.run(["chrt", "--all-tasks", "--rr", "--pid", "10", pid]) }
    }

    private static func run(_ command: [String]) throws {
        let process = Process()
        process.executableURL = URL(fileURLWithPath: "/usr/bin/env")
        process.arguments = command
        process.standardOutput = FileHandle.nullDevice
        try process.run()
        process.waitUntilExit()
        guard process.terminationStatus == 0 else { throw Subject.Failure(description: "failed: \(command.joined(separator: " "))") }
    }
}

/// Each socket is a file, for the server as for us. Children inherit it.
enum OpenFiles {
    static func raiseLimit() {
        var limit = rlimit()
        guard getrlimit(__rlimit_resource_t(RLIMIT_NOFILE.rawValue), &limit) == 0 else { return }
        limit.rlim_cur = limit.rlim_max
        _ = setrlimit(__rlimit_resource_t(RLIMIT_NOFILE.rawValue), &limit)
    }

    static var limit: Int {
        var limit = rlimit()
        return getrlimit(__rlimit_resource_t(RLIMIT_NOFILE.rawValue), &limit) == 0 ? Int(limit.rlim_cur) : 1024
    }
}
