import ArgumentParser

/// What the others notice of those who do not read.
struct SlowConsumers: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "slow-consumers",
        abstract: "Fan-out while some clients have stopped reading: the others' latency with and without them, in turns, and the server's memory."
    )

    @OptionGroup var options: ScenarioOptions
    @Option(help: "Clients subscribed to `notices` who read.") var subscribers = 500
    @Option(help: "Clients who stop reading, in per cent of the others.") var slow = 1.0
    @Option(help: "Deliveries a second, to those who read.") var rate = 50_000.0
    @Option(help: "Seconds that are measured in each turn.") var seconds = 20.0
    @Option(help: "Turns without and with the slow ones.") var turns = 2
    @Option(help: "Bytes of a notice's text; large, so that kernel and server soon hold all they will for the slow ones.") var bytes = 4000
    @Option(help: "HTTP connections that publish.") var publishers = 8

    func run() async throws {
        let slowClients = max(1, Int((Double(subscribers) * slow / 100).rounded()))
        try await options.compare(
            "slow-consumers",
            "Slow consumers: \(Metric.text(rate, 0)) deliveries/s of \(bytes) bytes to \(Metric.text(Double(subscribers), 0)) subscribers, without and with \(slowClients) more who do not read"
        ) { peer, subject, target in
            let plan = Crowd.Plan(clients: subscribers, channels: ["notices"], stampedType: "notice.created", lanes: publishers)
            let bench = try await FanoutBench.open(target, plan, bytes: bytes)
            var (without, with) = (Histogram(), Histogram())
            var (residentWithout, residentWith, closed) = (0, 0, 0)
            var (usages, deliveries): ([Usage], Int) = ([], 0)
            for turn in 1...turns {
                Progress.say("  turn \(turn) of \(turns), all read")
                let (quiet, heard) = try await bench.measure(subject, rate: rate, window: 0, seconds: seconds)
                without.merge(heard.latencies)
                residentWithout = max(residentWithout, quiet.residentBytes)

                Progress.say("  turn \(turn) of \(turns), \(slowClients) do not")
                let slowPlan = Crowd.Plan(
                    clients: slowClients,
                    channels: ["notices"],
                    stampedType: "notice.created",
                    lanes: publishers,
                    receiveBufferBytes: 4096
                )
                let sleepers = try await LoopConfined { Crowd(slowPlan, target) }
                try await sleepers.openAll()
                try await sleepers.run { crowd in
                    crowd.mayBeDisconnected = true
                    crowd.read(false)
                }
                let (usage, slowed) = try await bench.measure(subject, rate: rate, window: 0, seconds: seconds)
                with.merge(slowed.latencies)
                residentWith = max(residentWith, usage.residentBytes)
                usages.append(usage)
                deliveries += slowed.deliveries
                // A server that waits for those who do not read has stopped for everybody by now.
                let hasStopped = try await bench.publisher.run { !$0.faults.isClean }
                // They read again, and find what the server has done with them.
                try await sleepers.run { $0.read(true) }
                try await Task.sleep(for: .seconds(1))
                closed += try await sleepers.run { crowd in
                    for (ending, count) in crowd.endings { Progress.say("  \(count) slow ones closed: \(ending)") }
                    crowd.end()
                    return crowd.plan.clients - crowd.ready
                }
                if hasStopped { break }
            }
            let faults = try await bench.finish()
            let time = usages.reduce(0) { $0 + $1.seconds }
            return Run(
                peer: peer,
                metrics: [
                    Metric("p50_without_ms", "p50 ms without", without.quantile(0.5), decimals: 2),
                    Metric("p50_with_ms", "p50 ms with", with.quantile(0.5), decimals: 2),
                    Metric("p99_without_ms", "p99 ms without", without.quantile(0.99), decimals: 2),
                    Metric("p99_with_ms", "p99 ms with", with.quantile(0.99), decimals: 2),
                    Metric("p99_change_percent", "p99 change %", (with.quantile(0.99) / without.quantile(0.99) - 1) * 100),
                    Metric("deliveries_per_second_with", "deliveries/s with", Double(deliveries) / time),
                    Metric("slow_clients_closed", "slow ones closed", Double(closed)),
                    Metric("rss_without_mb", "RSS MB without", Double(residentWithout) / 1_048_576, decimals: 1),
                    Metric("rss_with_mb", "RSS MB with", Double(residentWith) / 1_048_576, decimals: 1),
                ],
                latencies: with,
                faults: faults
            )
        }
    }
}
