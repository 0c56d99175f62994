import ArgumentParser
import Foundation

/// What all scenarios of the realtime door have in common: who is measured, where, and where the figures go.
struct ScenarioOptions: ParsableArguments {
    @Option(help: "The server's binary.") var server = ".build/release/plantao"
    @Option(help: "Who is measured; may be given more than once: \(Peer.allCases.map(\.rawValue).joined(separator: ", ")).") var peer: [Peer] = [
        .plantao
    ]
    @Flag(help: "Also measure the FastAPI server in the same run, and print ratios.") var baseline = false
    @Option(help: "A Python with loadtest/baseline/requirements.txt installed.") var python = ".build/baseline-venv/bin/python"
    @Option(help: "Where the baseline's server.py is.") var baselineFolder = "loadtest/baseline"
    @Option(help: "How often each server is measured, in turns.") var rounds = 1
    @Option(help: "The core that servers run on.") var serverCore = 0
    @Option(help: "The core that this generator runs on.") var generatorCore = 1
    @Flag(help: "Run servers and generator before all ordinary processes (SCHED_RR), so that neighbours do not show in the tail. Needs root.")
    var realtime = false
    @Option(help: "Also write the figures here, as JSON.") var json: String?
    @Option(help: "Also write the latencies by percentile here, as an SVG picture.") var svg: String?

    func validate() throws {
        guard rounds > 0 else { throw ValidationError("--rounds: at least one") }
    }

    /// Starts each server in turn, measures it, ends it; then reports. Exits with a failure when anything was lost, repeated, out of order or broken.
    func compare(
        _ scenario: String,
        _ summary: String,
        environment: [String: String] = [:],
        baselineScript: String = "server.py",
        baselineEnvironment: [String: String] = [:],
        measure: (Peer, Subject, Target) async throws -> Run
    ) async throws {
        OpenFiles.raiseLimit()
        let placement = Placement(serverCore: serverCore, generatorCore: generatorCore, isRealtime: realtime)
        var report = Report(scenario: scenario, summary: summary)
        let peers = baseline && !peer.contains(.baseline) ? peer + [.baseline] : peer
        for round in 1...rounds {
            for peer in peers {
                Progress.say("\(scenario): \(peer.title), round \(round) of \(rounds)")
                let directory = FileManager.default.temporaryDirectory.appendingPathComponent("plantao-load-\(UUID().uuidString)").path
                defer { try? FileManager.default.removeItem(atPath: directory) }
                let subject =
                    switch peer {
                    case .plantao:
                        try await Subject.start(binary: server, directory: directory, environment: environment, launcher: placement.launcher)
                    case .baseline:
                        try await Subject.startBaseline(
                            python: python,
                            folder: baselineFolder,
                            script: baselineScript,
                            directory: directory,
                            environment: baselineEnvironment,
                            launcher: placement.launcher
                        )
                    }
                defer { subject.stop() }
                let target = try Target(port: subject.port, token: try await subject.login())
                _ = Generator.loop
                // Now that all threads are there, they move together.
                try placement.settle()
                report.runs.append(try await measure(peer, subject, target))
            }
        }
        try publish(report)
    }

    private func publish(_ report: Report) throws {
        print("\(report.summary)\n\n\(report.table)")
        if let json { try Data(report.json).write(to: URL(fileURLWithPath: json)) }
        if let svg {
            let curves = report.runs.map {
                Plot.Curve(name: rounds > 1 ? "\($0.peer.title), load \($0.loadAverage)" : $0.peer.title, latencies: $0.latencies)
            }
            try Data(Plot(title: report.summary, curves: curves).svg.utf8).write(to: URL(fileURLWithPath: svg))
        }
        let faults = report.faults
        guard !faults.isClean else { return }
        print("\n**Not a result**: \(faults.summary)")
        for note in faults.notes { print("- \(note)") }
        throw ExitCode.failure
    }
}

extension LoopConfined where Value == Crowd {
    /// Connects and subscribes all clients.
    func openAll(seconds: Double = 120) async throws {
        try await run { $0.open() }
        var said = ContinuousClock.now
        let isReady = try await Generator.wait(seconds: seconds) {
            let (ready, isDone) = try await run { ($0.ready, $0.isReady || $0.hasFailed) }
            if ContinuousClock.now - said > .seconds(5) {
                Progress.say("  \(ready) clients are connected")
                said = .now
            }
            return isDone
        }
        let (ready, faults) = try await run { ($0.ready, $0.faults) }
        guard isReady, faults.isClean else {
            throw Subject.Failure(description: "only \(ready) clients could connect and subscribe: \(faults.notes.joined(separator: "; "))")
        }
    }
}

/// What a server used within a time.
struct Usage: Sendable {
    let seconds: Double
    let cpu: Subject.CPUTime
    let generatorCPUSeconds: Double
    /// The most that was seen.
    let residentBytes: Int

    /// Watches for so many seconds, reporting on the error output about every five.
    static func watch(_ subject: Subject, seconds: Double, progress: (Double) async throws -> String) async throws -> Usage {
        let began = ContinuousClock.now
        let (cpu, own) = (try subject.cpuTime(), try Subject.ownCPUSeconds())
        var resident = try subject.residentBytes()
        var said = 0.0
        while true {
            let elapsed = (ContinuousClock.now - began).inSeconds
            if elapsed >= seconds { break }
            try await Task.sleep(for: .seconds(min(0.25, seconds - elapsed)))
            resident = max(resident, try subject.residentBytes())
            if elapsed - said >= 5 {
                said = elapsed
                Progress.say("  \(Int(elapsed)) of \(Int(seconds)) s: \(try await progress(elapsed))")
            }
        }
        return Usage(
            seconds: (ContinuousClock.now - began).inSeconds,
            cpu: try subject.cpuTime() - cpu,
            generatorCPUSeconds: try Subject.ownCPUSeconds() - own,
            residentBytes: resident
        )
    }

    var cpuSeconds: Double { cpu.total }

    var metrics: [Metric] {
        [
            Metric("server_cpu_percent", "server CPU %", cpuSeconds / seconds * 100),
            Metric("generator_cpu_percent", "generator CPU %", generatorCPUSeconds / seconds * 100),
            Metric("server_rss_mb", "server RSS MB", Double(residentBytes) / 1_048_576, decimals: 1),
        ]
    }
}
