import ArgumentParser

/// Everybody is cut off at once, misses something, and comes back at once.
struct Storm: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "All clients are cut at once, miss some messages, and come back at once: how long until each has exactly what it missed."
    )

    @OptionGroup var options: ScenarioOptions
    @Option(help: "Clients subscribed to `notices`.") var clients = 10_000
    @Option(help: "Notices before the cut, while away, and after the recovery.") var messages = 50
    @Option(help: "Bytes of a notice's text.") var bytes = 200
    @Option(help: "Seconds within which all must be back.") var within = 60.0

    func run() async throws {
        let count = Metric.text(Double(clients), 0)
        try await options.compare(
            "storm",
            "Storm: \(count) clients cut at once, \(messages) notices of \(bytes) bytes while they are away, all back at once"
        ) { peer, subject, target in
            let (clients, messages) = (clients, messages)
            let bench = try await FanoutBench.open(
                target,
                Crowd.Plan(clients: clients, channels: ["notices"], stampedType: "notice.created", lanes: 4),
                bytes: bytes
            )
            let (crowd, publisher) = (bench.crowd, bench.publisher)
            func publish() async throws {
                try await bench.openPublisher()
                try await publisher.run { $0.publish(messages) }
                try await bench.drainPublished(seconds: 60)
            }
            try await publish()
            try await bench.awaitDeliveries(seconds: 60)
            Progress.say("  cut")
            try await crowd.run { $0.cutAll() }
            try await Task.sleep(for: .seconds(1))
            try await publish()
            Progress.say("  back")
            let (cpu, own) = (try subject.cpuSeconds(), try Subject.ownCPUSeconds())
            try await crowd.run { $0.comeBack() }
            var said = ContinuousClock.now
            let areBack = try await Generator.wait(seconds: within) {
                let (ready, isReady, hasFailed) = try await crowd.run { ($0.ready, $0.isReady, $0.hasFailed) }
                if ContinuousClock.now - said > .seconds(2) {
                    Progress.say("  \(ready) of \(clients) are back")
                    said = .now
                }
                return isReady || hasFailed
            }
            let (cpuUsed, ownUsed) = (try subject.cpuSeconds() - cpu, try Subject.ownCPUSeconds() - own)
            let resident = try subject.residentBytes()
            if areBack {
                // They must go on from there.
                try await publish()
                try await bench.awaitDeliveries(seconds: 60)
            }
            let (times, recovered, handed, retries) = try await crowd.run {
                ($0.recoveryTimes, $0.recoveredClients, $0.recoveredMessages, $0.retries)
            }
            var faults = try await bench.finish()
            if !areBack { faults.disconnected += 1 }
            return Run(
                peer: peer,
                metrics: [
                    Metric("recovered_clients", "recovered clients", Double(recovered)),
                    Metric("messages_handed_over", "messages handed over", Double(handed)),
                    Metric("all_recovered_seconds", "all recovered s", times.largestInMilliseconds / 1000, decimals: 2),
                    Metric("recovery_p50_ms", "p50 ms", times.quantile(0.5)),
                    Metric("recovery_p99_ms", "p99 ms", times.quantile(0.99)),
                    Metric("connection_retries", "connections tried again", Double(retries)),
                    Metric("server_cpu_seconds", "server CPU s", cpuUsed, decimals: 2),
                    Metric("generator_cpu_seconds", "generator CPU s", ownUsed, decimals: 2),
                    Metric("server_rss_mb", "server RSS MB", Double(resident) / 1_048_576, decimals: 1),
                ],
                latencies: times,
                faults: faults
            )
        }
    }
}

extension FanoutBench {
    func drainPublished(seconds: Double) async throws {
        let isDone = try await Generator.wait(seconds: seconds, every: 5) { try await publisher.run { $0.isIdle || !$0.faults.isClean } }
        guard isDone else { throw Subject.Failure(description: "the notices were not all accepted within \(Int(seconds)) s") }
    }

    func awaitDeliveries(seconds: Double) async throws {
        let sent = try await publisher.run { $0.sent }
        _ = try await Generator.wait(seconds: seconds) { try await crowd.run { $0.deliveries >= sent * $0.plan.clients } }
    }
}
