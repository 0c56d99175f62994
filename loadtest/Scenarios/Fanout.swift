import ArgumentParser
import NIOCore

/// Notices published over REST, delivered to everybody who is subscribed.
struct Fanout: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Notices to many subscribers, at a steady rate of deliveries or as many as there can be."
    )

    @OptionGroup var options: ScenarioOptions
    @Option(help: "Clients subscribed to `notices`.") var subscribers = 1000
    @Option(help: "Deliveries a second, to all of them together; 0 for as many as there can be.") var rate = 50_000.0
    @Option(help: "Seconds that are measured, after a second to warm up.") var seconds = 10.0
    @Option(help: "Bytes of a notice's text.") var bytes = 200
    @Option(help: "HTTP connections that publish; unless told, 8, and 64 with --rate 0.") var publishers: Int?
    @Option(help: "Notices on their way at the most, with --rate 0.") var window = 128

    func run() async throws {
        let publishers = publishers ?? (rate > 0 ? 8 : 64)
        let pace = rate > 0 ? "\(Metric.text(rate, 0)) deliveries/s" : "as fast as it goes, \(window) notices on their way"
        try await options.compare(
            rate > 0 ? "fanout" : "fanout-saturated",
            "Fan-out: notices of \(bytes) bytes over REST to \(Metric.text(Double(subscribers), 0)) subscribers, \(pace)"
        ) { peer, subject, target in
            let fanout = try await FanoutBench.open(
                target,
                Crowd.Plan(clients: subscribers, channels: ["notices"], stampedType: "notice.created", lanes: publishers),
                bytes: bytes
            )
            let (usage, crowd) = try await fanout.measure(subject, rate: rate, window: window, seconds: seconds)
            let million = Double(crowd.deliveries) / 1e6
            return Run(
                peer: peer,
                metrics: [
                    Metric("deliveries_per_second", "deliveries/s", Double(crowd.deliveries) / usage.seconds),
                    Metric("cpu_seconds_per_million", "server CPU-s per million", usage.cpuSeconds / million, decimals: 2),
                    Metric("user_cpu_seconds_per_million", "of it user", usage.cpu.user / million, decimals: 2),
                ] + .percentiles(of: crowd.latencies) + [
                    Metric("published_p99_ms", "POST p99 ms", crowd.answers.quantile(0.99), decimals: 2),
                    Metric("bytes_per_delivery", "bytes a delivery", Double(crowd.bytes) / Double(max(crowd.deliveries, 1))),
                ] + usage.metrics,
                latencies: crowd.latencies,
                faults: try await fanout.finish()
            )
        }
    }
}

/// A crowd and its publisher.
struct FanoutBench {
    struct Heard: Sendable {
        let deliveries: Int
        let bytes: Int
        let latencies: Histogram
        let answers: Histogram
    }

    let crowd: LoopConfined<Crowd>
    let publisher: LoopConfined<Publisher>

    static func open(_ target: Target, _ plan: Crowd.Plan, bytes: Int) async throws -> FanoutBench {
        let crowd = try await LoopConfined { Crowd(plan, target) }
        try await crowd.openAll()
        let publisher = try await LoopConfined { Publisher(lanes: plan.lanes, textBytes: bytes, target) }
        let bench = FanoutBench(crowd: crowd, publisher: publisher)
        try await bench.openPublisher()
        return bench
    }

    func openPublisher() async throws {
        try await publisher.run { $0.open() }
        guard try await Generator.wait(seconds: 20, { try await publisher.run { $0.isOpen } }) else {
            throw Subject.Failure(description: "the publisher cannot connect")
        }
    }

    /// Publishes for a second and `seconds` more, and measures the latter.
    func measure(_ subject: Subject, rate: Double, window: Int, seconds: Double) async throws -> (Usage, Heard) {
        try await openPublisher()
        let clients = try await crowd.run { $0.plan.clients }
        let crowd = crowd
        try await publisher.run { [box = crowd.reference] publisher in
            if rate > 0 { publisher.pace(messagesPerSecond: rate / Double(clients)) } else { publisher.saturate(window: window, box.value) }
        }
        try await Task.sleep(for: .seconds(1))
        let refusals = try await publisher.run { $0.faults }
        guard refusals.isClean else { throw Subject.Failure(description: "the server takes no notices: \(refusals.notes.joined(separator: "; "))") }
        try await crowd.run { $0.beginWindow(Stamp.now()..<Int64.max) }
        let usage = try await Usage.watch(subject, seconds: seconds) { elapsed in
            let (deliveries, p99) = try await crowd.run { ($0.deliveriesInWindow, $0.latencies.quantile(0.99)) }
            return "\(Metric.text(Double(deliveries) / elapsed, 0)) deliveries/s, p99 \(Metric.text(p99, 1)) ms"
        }
        let deliveries = try await crowd.run { crowd in
            crowd.window = crowd.window.lowerBound..<Stamp.now()
            return (crowd.deliveriesInWindow, crowd.bytesInWindow)
        }
        try await drain()
        let latencies = try await crowd.run { $0.latencies }
        let answers = try await publisher.run { $0.answers }
        return (usage, Heard(deliveries: deliveries.0, bytes: deliveries.1, latencies: latencies, answers: answers))
    }

    /// Stops publishing, and waits until everything sent has arrived, or does not any more.
    func drain(seconds: Double = 20) async throws {
        try await publisher.run { $0.stop() }
        _ = try await Generator.wait(seconds: seconds) { try await publisher.run { $0.isIdle || !$0.faults.isClean } }
        let sent = try await publisher.run { $0.sent }
        _ = try await Generator.wait(seconds: seconds) { try await crowd.run { $0.deliveries >= sent * $0.plan.clients } }
    }

    /// Settles the ledger against what was published, and ends all connections.
    func finish() async throws -> Faults {
        let (sequences, published) = try await publisher.run { publisher in
            publisher.close()
            return ((0..<publisher.lanes).map { publisher.sequence($0) }, publisher.faults)
        }
        return try await crowd.run { crowd in
            crowd.settle { _, lane in sequences[lane] }
            crowd.end()
            return published + crowd.faults
        }
    }
}
