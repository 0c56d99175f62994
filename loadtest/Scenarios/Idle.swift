import ArgumentParser

/// What it costs to have clients who say nothing.
struct Idle: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Memory for each connected and subscribed client, and processor time while nothing happens."
    )

    @OptionGroup var options: ScenarioOptions
    @Option(help: "Clients subscribed to `notices`.") var sockets = 10_000
    @Option(help: "Seconds of doing nothing.") var seconds = 60.0
    @Option(help: "Seconds between the server's pings. The baseline has WebSocket's own, every 20 s.") var ping = 25

    func run() async throws {
        try await options.compare(
            "idle",
            "Idle: \(Metric.text(Double(sockets), 0)) connected and subscribed clients, a ping every \(ping) s",
            environment: ["PLANTAO_PING_SECONDS": String(ping)]
        ) { peer, subject, target in
            let sockets = sockets
            // A first client brings in what is not a client's: code, tables, the first subscription's channel.
            let first = try await LoopConfined { Crowd(Crowd.Plan(clients: 1, channels: ["notices"]), target) }
            try await first.openAll()
            try await Task.sleep(for: .seconds(1))
            let before = try subject.residentBytes()
            let cpuBefore = try subject.cpuSeconds()
            let began = ContinuousClock.now
            let crowd = try await LoopConfined { Crowd(Crowd.Plan(clients: sockets, channels: ["notices"]), target) }
            try await crowd.openAll()
            let opened = (ContinuousClock.now - began).inSeconds
            let openingCPU = try subject.cpuSeconds() - cpuBefore
            try await Task.sleep(for: .seconds(3))
            let after = try subject.residentBytes()
            let pinged = try await crowd.run { $0.pings }
            let usage = try await Usage.watch(subject, seconds: seconds) { _ in "\(try await crowd.run { $0.pings }) pings" }
            let (pings, faults) = try await crowd.run { crowd in
                crowd.end()
                return (crowd.pings - pinged, crowd.faults)
            }
            let others = try await first.run { crowd in
                crowd.end()
                return crowd.faults
            }
            return Run(
                peer: peer,
                metrics: [
                    Metric("kb_per_connection", "KB a client", Double(after - before) / 1024 / Double(sockets), decimals: 2),
                    Metric("rss_before_mb", "RSS before MB", Double(before) / 1_048_576, decimals: 1),
                    Metric("rss_after_mb", "RSS after MB", Double(after) / 1_048_576, decimals: 1),
                    Metric("rss_max_mb", "RSS later MB", Double(usage.residentBytes) / 1_048_576, decimals: 1),
                    Metric("open_seconds", "opening s", opened, decimals: 2),
                    Metric("open_cpu_us", "server CPU µs a client opened", openingCPU * 1e6 / Double(sockets)),
                    Metric("idle_cpu_percent", "idle CPU %", usage.cpuSeconds / usage.seconds * 100, decimals: 2),
                    Metric("pings", "pings", Double(pings)),
                    Metric("cpu_us_per_ping", "CPU µs a ping", pings > 0 ? usage.cpuSeconds * 1e6 / Double(pings) : 0, decimals: 1),
                ],
                faults: faults + others
            )
        }
    }
}
