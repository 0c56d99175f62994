import ArgumentParser
import NIOCore

/// Questions and answers: RPC `echo`.
struct RPC: AsyncParsableCommand {
    static let configuration = CommandConfiguration(commandName: "rpc", abstract: "RPC round trips of `echo`, in a closed loop.")

    @OptionGroup var options: ScenarioOptions
    @Option(help: "Clients.") var sockets = 100
    @Option(help: "Questions that each has open at any time.") var inFlight = 1
    @Option(help: "Seconds that are measured, after a second to warm up.") var seconds = 10.0
    @Option(help: "Bytes of text echoed.") var bytes = 200

    func run() async throws {
        try await options.compare("rpc", "RPC echo of \(bytes) bytes over \(sockets) sockets, \(inFlight) in flight on each") {
            peer,
            subject,
            target in
            let (sockets, bytes, inFlight) = (sockets, bytes, inFlight)
            let crowd = try await LoopConfined { Crowd(Crowd.Plan(clients: sockets), target) }
            try await crowd.openAll()
            let calls = try await LoopConfined { [box = crowd.reference] in Calls(box.value, [Calls.Template(method: "echo")], textBytes: bytes) }
            try await calls.run { $0.run(inFlight: inFlight) }
            try await Task.sleep(for: .seconds(1))
            try await calls.run { $0.beginWindow(Stamp.now()..<Int64.max) }
            let usage = try await Usage.watch(subject, seconds: seconds) { elapsed in
                "\(Metric.text(Double(try await calls.run { $0.answersInWindow }) / elapsed, 0)) a second"
            }
            try await calls.run { $0.endWindow() }
            let lost = try await calls.drain()
            let (answers, latencies) = try await calls.run { ($0.answersInWindow, $0.latencies) }
            var faults = try await crowd.run { crowd in
                crowd.end()
                return crowd.faults
            }
            faults.lost += lost
            return Run(
                peer: peer,
                metrics: [
                    Metric("calls_per_second", "calls/s", Double(answers) / usage.seconds),
                    Metric("cpu_us_per_call", "server CPU µs a call", usage.cpuSeconds * 1e6 / Double(max(answers, 1)), decimals: 1),
                    Metric("user_cpu_us_per_call", "of it user", usage.cpu.user * 1e6 / Double(max(answers, 1)), decimals: 1),
                ] + .percentiles(of: latencies) + usage.metrics,
                latencies: latencies,
                faults: faults
            )
        }
    }
}
