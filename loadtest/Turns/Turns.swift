import ArgumentParser
import Foundation
import NIOCore
import TestSupport
import Wire

/// Turns given away: the contract's `da-vez`, each on disk before it is answered.
struct Turns: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "turns",
        abstract: "GET /consultor/da-vez in a closed loop: a turn and a protocol number, on disk before the answer.",
        discussion: """
            The baseline is FastAPI, SQLAlchemy and Postgres (with fsync, on whichever core it likes), as contracts/consultores.md has it: one transaction that locks \
            with SELECT … FOR UPDATE. Both give every number once, without a gap, and every turn to whoever waits longest, or it is no result.
            """
    )

    @OptionGroup var options: ScenarioOptions
    @Option(help: "Clients, each with a connection of its own.") var clients = 64
    @Option(help: "Consultores who take turns.") var consultores = 20
    @Option(help: "Seconds that are measured, after one to warm up.") var seconds = 10.0

    private static let apiKey = "chave-da-carga"

    func run() async throws {
        // Before anybody is moved to a core: it has all of them.
        let cluster = options.baseline || options.peer.contains(.baseline) ? PostgresCluster(isDurable: true) : nil
        defer { cluster?.kill() }
        let environment = [
            "AUTHENTICATION_API_KEY": Self.apiKey, "PLANTAO_REQUESTS_PER_SECOND_READS": "0", "PLANTAO_REQUESTS_PER_SECOND_WRITES": "0",
        ]
        let database = cluster?.url("postgres").replacingOccurrences(of: "+asyncpg", with: "+psycopg") ?? ""
        try await options.compare(
            "turns",
            "da-vez by \(clients) clients among \(consultores) consultores, each turn on disk before it is answered",
            environment: environment,
            baselineScript: "consultores.py",
            baselineEnvironment: ["DATABASE_URL": database, "AUTHENTICATION_API_KEY": Self.apiKey]
        ) { peer, subject, target in
            var ids: [Int] = []
            for number in 1...consultores {
                let made = try await subject.call(
                    "POST",
                    "/consultor",
                    ["nome": .string("Consultor \(number)"), "idiomas": ["pt"], "status_online": true],
                    apiKey: Self.apiKey
                )
                ids.append(Int(made["id"]?.int ?? 0))
            }
            let (clients, team) = (clients, ids)
            let crowd = try await LoopConfined { TurnClients(clients, apiKey: Self.apiKey, target) }
            try await crowd.run { $0.open() }
            guard try await Generator.wait(seconds: 30, { try await crowd.run { $0.isOpen || !$0.faults.isClean } }) else {
                throw Subject.Failure(description: "not all clients could connect")
            }
            try await crowd.run { $0.begin() }
            try await Task.sleep(for: .seconds(1))
            try await crowd.run { $0.beginWindow() }
            let usage = try await Usage.watch(subject, seconds: seconds) { elapsed in
                "\(Metric.text(Double(try await crowd.run { $0.answers }) / elapsed, 0)) a second"
            }
            try await crowd.run {
                $0.endWindow()
                $0.stop()
            }
            _ = try await Generator.wait(seconds: 30) { try await crowd.run { $0.isIdle } }
            let (answers, latencies, faults) = try await crowd.run { crowd in
                crowd.check(consultores: team)
                crowd.close()
                return (crowd.answers, crowd.latencies, crowd.faults)
            }
            return Run(
                peer: peer,
                metrics: [
                    Metric("turns_per_second", "turns/s", Double(answers) / usage.seconds),
                    Metric("cpu_us_per_turn", "server CPU µs a turn", usage.cpuSeconds * 1e6 / Double(max(answers, 1)), decimals: 1),
                ] + .percentiles(of: latencies) + usage.metrics,
                latencies: latencies,
                faults: faults
            )
        }
    }
}
