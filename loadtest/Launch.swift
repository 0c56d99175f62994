import Foundation
import Synchronization

/// A server's process. A shell in between waits for our end of a pipe to close, so that the server ends even when we do not get to end it.
final class Launch: Sendable {
    /// The server's own.
    let pid: Int32
    private let shell: Mutex<(process: Process, input: Pipe)?>

    /// What `taskset` and its like start has their own process number.
    init(_ command: [String], environment: [String: String]) throws {
        let process = Process()
        let (input, output) = (Pipe(), Pipe())
        process.executableURL = URL(fileURLWithPath: "/bin/sh")
        process.arguments = ["-c", #""$@" > /dev/null & echo $!; read line; kill -TERM $!"#, "sh"] + command
        process.environment = environment
        process.standardInput = input
        process.standardOutput = output
        // Other children must not hold our end open.
        _ = fcntl(input.fileHandleForWriting.fileDescriptor, F_SETFD, FD_CLOEXEC)
        try Self.withoutBlockedSignals { try process.run() }
        var line: [UInt8] = []
        while let byte = try output.fileHandleForReading.read(upToCount: 1)?.first, byte != UInt8(ascii: "\n") { line.append(byte) }
        guard let pid = Int32(String(decoding: line, as: UTF8.self)) else {
            throw Subject.Failure(description: "\(command.joined(separator: " ")) was not started")
        }
        self.pid = pid
        shell = Mutex((process, input))
    }

    /// Threads of Swift's pool have signals blocked, and a child inherits that: it would not hear SIGTERM.
    private static func withoutBlockedSignals(_ body: () throws -> Void) rethrows {
        var (none, before) = (sigset_t(), sigset_t())
        sigemptyset(&none)
        pthread_sigmask(SIG_SETMASK, &none, &before)
        defer { pthread_sigmask(SIG_SETMASK, &before, nil) }
        try body()
    }

    /// Asks it to end, and makes it after ten seconds.
    func end() {
        let taken = shell.withLock { shell in
            defer { shell = nil }
            return shell.map { UncheckedPair($0) }
        }
        guard let (process, input) = taken?.pair else { return }
        try? input.fileHandleForWriting.close()
        process.waitUntilExit()
        // The server is no child of ours, so it is not waited for but looked at.
        for _ in 0..<200 where isRunning { usleep(50_000) }
        if isRunning { kill(pid, SIGKILL) }
    }

    /// proc(5): a process that has ended and that nobody has asked about is a zombie, Z.
    private var isRunning: Bool {
        guard let stat = try? String(contentsOfFile: "/proc/\(pid)/stat", encoding: .utf8) else { return false }
        return !stat[(stat.lastIndex(of: ")") ?? stat.startIndex)...].hasPrefix(") Z")
    }

    /// Handed out of the lock once, and nobody else's from then on.
    private struct UncheckedPair: @unchecked Sendable {
        let pair: (process: Process, input: Pipe)
        init(_ pair: (process: Process, input: Pipe)) { self.pair = pair }
    }
}
