import Foundation
import Wire

/// What one run gave.
struct Figures: Sendable {
    let clients: Int
    let commandsPerSecond: Double
    let p50: Double
    let p99: Double
    let worst: Double
    let changesPerCommit: Double
    /// Microseconds of the server's processor time for each command, user and system.
    let cpuMicroseconds: Double

    init(clients: Int, seconds: Double, latencies: [Double], before: Subject.Reading, after: Subject.Reading) {
        func quantile(_ part: Double) -> Double { latencies.isEmpty ? 0 : latencies[min(latencies.count - 1, Int(Double(latencies.count) * part))] }
        self.clients = clients
        commandsPerSecond = Double(latencies.count) / seconds
        p50 = quantile(0.5)
        p99 = quantile(0.99)
        worst = latencies.last ?? 0
        changesPerCommit = Double(after.changes - before.changes) / Double(max(after.commits - before.commits, 1))
        cpuMicroseconds = (after.cpuSeconds - before.cpuSeconds) * 1_000_000 / Double(max(latencies.count, 1))
    }

    static let header = """
        | clients | commands/s | against one client | p50 ms | p99 ms | max ms | changes a commit | server CPU µs a command |
        | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: |
        """

    func row(baseline: Figures) -> String {
        String(
            format: "| %d | %.0f | %.1f× | %.2f | %.2f | %.1f | %.1f | %.0f |",
            clients,
            commandsPerSecond,
            commandsPerSecond / baseline.commandsPerSecond,
            p50,
            p99,
            worst,
            changesPerCommit,
            cpuMicroseconds
        )
    }

    static func json(_ all: [Figures]) -> String {
        var writer = JSONWriter()
        writer.array {
            for figures in all {
                $0.object {
                    $0.field("clients", figures.clients)
                    $0.field("commands_per_second", .double(figures.commandsPerSecond))
                    $0.field("p50_ms", .double(figures.p50))
                    $0.field("p99_ms", .double(figures.p99))
                    $0.field("max_ms", .double(figures.worst))
                    $0.field("changes_per_commit", .double(figures.changesPerCommit))
                    $0.field("server_cpu_us_per_command", .double(figures.cpuMicroseconds))
                }
            }
        }
        return String(decoding: writer.bytes, as: UTF8.self)
    }
}
