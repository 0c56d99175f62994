import ArgumentParser
import AsyncHTTPClient
import Foundation
import NIOCore
import NIOHTTP1
import Synchronization
import TestSupport
import Wire

/// Measures the appointment book over HTTP, beside FastAPI with SQLAlchemy: bookings a second, each answered once it is durable, and how long a month's availability
/// takes once these are booked. Both have a Postgres of their own, alike, with `fsync`.
struct Bookings: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Bookings per second, each durable, and a month's availability, beside FastAPI + SQLAlchemy + Postgres in the same run."
    )

    @Option(help: "The server's binary.") var server = ".build/release/plantao"
    @Option(help: "A Python with loadtest/baseline/requirements.txt installed.") var python = ".build/baseline-venv/bin/python"
    @Option(help: "Where the baseline's bookings.py is.") var baselineFolder = "loadtest/baseline"
    @Option(help: "Clients at once.") var clients = 32
    @Option(help: "Seconds for each measurement.") var seconds = 5.0
    @Option(help: "How often each server is measured, in turns.") var turns = 2
    @Option(help: "Also write the figures here, as JSON.") var json: String?

    /// Who is measured, and with how much that follows from a booking.
    enum Contender: String, CaseIterable, Sendable {
        case plantao
        /// The business has turned off that its clients are told.
        case untold
        /// `WORK=whole`
        case whole
        case bare

        var isOurs: Bool { self == .plantao || self == .untold }

        var title: String {
            switch self {
            case .plantao: "Plantão"
            case .untold: "Plantão, nobody told"
            case .whole: "FastAPI, with client, usage and messages"
            case .bare: "FastAPI, the appointment alone"
            }
        }
    }

    struct Result: Sendable {
        let contender: Contender
        let what: String
        let perSecond: Double
        let p50: Double
        let p99: Double
        /// What the server itself says a request took, in milliseconds.
        let serverP50: Double
        /// Of the server and of its Postgres, in milliseconds a request.
        let serverCPU: Double
        let databaseCPU: Double
    }

    func run() async throws {
        var results: [Result] = []
        for turn in 1...turns {
            for contender in Contender.allCases {
                FileHandle.standardError.write(Data("turn \(turn) of \(turns): \(contender.title)\n".utf8))
                results += try await measure(contender)
            }
        }
        print("\(clients) clients over HTTP, \(seconds) s each; bookings are answered once they are durable\n")
        print(
            """
            | server | what | a second | p50 ms | p99 ms | server's own p50 ms | server CPU ms each | Postgres CPU ms each |
            | --- | --- | ---: | ---: | ---: | ---: | ---: | ---: |
            """
        )
        for result in results {
            print(
                String(
                    format: "| \(result.contender.title) | \(result.what) | %.0f | %.2f | %.2f | %.3f | %.3f | %.3f |",
                    result.perSecond,
                    result.p50,
                    result.p99,
                    result.serverP50,
                    result.serverCPU,
                    result.databaseCPU
                )
            )
        }
        // Of each the median turn.
        func median(_ contender: Contender, _ what: String, _ value: (Result) -> Double) -> Double {
            let values = results.filter { $0.contender == contender && $0.what == what }.map(value).sorted()
            return values.isEmpty ? .nan : (values[(values.count - 1) / 2] + values[values.count / 2]) / 2
        }
        print("\n| ours, of the baseline | what | throughput | p99 | CPU, with Postgres |\n| --- | --- | ---: | ---: | ---: |")
        for (ours, theirs) in [(Contender.plantao, Contender.whole), (.untold, .bare), (.plantao, .bare)] {
            for what in ["bookings", "availability"] {
                func ratio(_ value: (Result) -> Double) -> Double { median(ours, what, value) / median(theirs, what, value) }
                print(
                    String(
                        format: "| \(ours.title) ÷ \(theirs.title) | \(what) | %.1f× | %.2f× | %.2f× |",
                        ratio(\.perSecond),
                        ratio(\.p99),
                        ratio { $0.serverCPU + $0.databaseCPU }
                    )
                )
            }
        }
        if let json {
            var writer = JSONWriter()
            writer.array { list in
                for result in results {
                    list.object {
                        $0.field("server", result.contender.rawValue)
                        $0.field("what", result.what)
                        $0.field("per_second", result.perSecond)
                        $0.field("p50_ms", result.p50)
                        $0.field("p99_ms", result.p99)
                        $0.field("server_p50_ms", result.serverP50)
                        $0.field("server_cpu_ms", result.serverCPU)
                        $0.field("database_cpu_ms", result.databaseCPU)
                    }
                }
            }
            try Data(writer.bytes).write(to: URL(fileURLWithPath: json))
        }
    }

    /// Of one server: bookings first, and then availability of what they have left.
    private func measure(_ contender: Contender) async throws -> [Result] {
        let cluster = PostgresCluster(isDurable: true)
        defer { cluster.kill() }
        let directory = TemporaryDirectory()
        var environment = ["DATABASE_URL": cluster.url("postgres")]
        if contender == .whole { environment["WORK"] = "whole" }
        let subject =
            contender.isOurs
            ? try await Subject.start(binary: server, directory: directory.path, environment: environment)
            : try await Subject.start([python, baselineFolder + "/bookings.py"], directory: directory.path, environment: environment)
        defer { subject.stop() }
        let token = contender.isOurs ? try await subject.login() : nil
        // Ten at a time: enough room for all that is booked, while every booking has others beside it to look at.
        if contender.isOurs { _ = try await subject.call("PUT", "/api/users/business-hours", ["capacity": 10], token: token) }
        if contender == .untold {
            let off: JSON = ["whatsapp_enabled": false, "email_enabled": false]
            _ = try await subject.call("PUT", "/api/users/notification-settings", off, token: token)
        }
        let service = try await subject.call(
            "POST",
            "/api/services",
            contender.isOurs ? ["name": "Corte", "duration": 30] : ["name": "Corte", "duration": 30, "capacity": 10],
            token: token
        )
        guard let id = service["id"]?.string else { throw Subject.Failure(description: "the service has no id") }
        let starts = Self.starts()
        let next = Atomic<Int>(0)
        func measured(_ what: String, _ next: @escaping @Sendable () -> (String, String, JSON?)?) async throws -> Result {
            let before = (try subject.cpuSeconds(), try cluster.cpuSeconds())
            let load = try await load(subject, token, next)
            let used = (try subject.cpuSeconds() - before.0, try cluster.cpuSeconds() - before.1)
            return load.result(contender, what, serverCPU: used.0, databaseCPU: used.1)
        }
        let booked = try await measured("bookings") {
            let number = next.wrappingAdd(1, ordering: .relaxed).oldValue
            guard number < starts.count * 10 else { return nil }
            let body: JSON = [
                "service_id": .string(id), "client_name": "Ana Silva", "client_whatsapp": .string("+55119\(10_000_000 + number % 5000)"),
                "start_time": .string(starts[number % starts.count]),
            ]
            return ("POST", "/api/appointments", body)
        }
        let (from, until) = (String(starts[0].prefix(10)), Self.day(31))
        let asked = try await measured("availability") {
            ("GET", "/api/appointments/availability?service_id=\(id)&start_date=\(from)&end_date=\(until)", nil)
        }
        return [booked, asked]
    }

    /// Every half hour of a year's working days from tomorrow on, in UTC: São Paulo is three hours behind.
    private static func starts() -> [String] {
        (1...360).filter { day in Calendar(identifier: .gregorian).component(.weekday, from: Date(timeIntervalSinceNow: Double(day) * 86_400)) != 1 }
            .flatMap { day in
                (0..<18).map { "\(Self.day(day))T\(String(format: "%02d:%02d", 12 + $0 / 2, $0 % 2 * 30)):00Z" }
            }
    }

    private static func day(_ ahead: Int) -> String {
        String(Date(timeIntervalSinceNow: Double(ahead) * 86_400).formatted(.iso8601).prefix(10))
    }

    private static func pool(_ clients: Int) -> HTTPClient.Configuration {
        var configuration = HTTPClient.Configuration()
        configuration.connectionPool.concurrentHTTP1ConnectionsPerHostSoftLimit = clients
        return configuration
    }

    private struct Load: Sendable {
        var latencies: [Double] = []
        var own: [Double] = []
        var seconds = 0.0

        /// - Parameters:
        ///   - serverCPU: seconds in all, as `databaseCPU`.
        func result(_ contender: Contender, _ what: String, serverCPU: Double, databaseCPU: Double) -> Result {
            func quantile(_ values: [Double], _ part: Double) -> Double {
                values.isEmpty ? 0 : values[min(values.count - 1, Int(Double(values.count) * part))]
            }
            let (sorted, own) = (latencies.sorted(), own.sorted())
            return Result(
                contender: contender,
                what: what,
                perSecond: Double(sorted.count) / seconds,
                p50: quantile(sorted, 0.5),
                p99: quantile(sorted, 0.99),
                serverP50: quantile(own, 0.5),
                serverCPU: serverCPU * 1000 / Double(max(sorted.count, 1)),
                databaseCPU: databaseCPU * 1000 / Double(max(sorted.count, 1))
            )
        }
    }

    /// Clients that ask one after the other. Whatever is not answered well ends the run: it would be no result.
    private func load(_ subject: Subject, _ token: String?, _ next: @escaping @Sendable () -> (String, String, JSON?)?) async throws -> Load {
        let http = HTTPClient(eventLoopGroupProvider: .singleton, configuration: Self.pool(clients))
        let began = ContinuousClock.now
        let end = began + .seconds(seconds)
        var load = try await withThrowingTaskGroup(of: Load.self) { tasks in
            for _ in 0..<clients {
                tasks.addTask {
                    var mine = Load()
                    while ContinuousClock.now < end, let (method, path, body) = next() {
                        var request = HTTPClientRequest(url: "http://127.0.0.1:\(subject.port)\(path)")
                        request.method = HTTPMethod(rawValue: method)
                        request.headers.add(name: "content-type", value: "application/json")
                        if let token { request.headers.add(name: "authorization", value: "Bearer \(token)") }
                        if let body { request.body = .bytes(ByteBuffer(bytes: body.bytes)) }
                        let start = ContinuousClock.now
                        let response = try await http.execute(request, timeout: .seconds(30))
                        _ = try await response.body.collect(upTo: 8 << 20)
                        guard (200..<300).contains(response.status.code) else {
                            throw Subject.Failure(description: "\(method) \(path): \(response.status.code)")
                        }
                        mine.latencies.append((ContinuousClock.now - start).inMilliseconds)
                        if let own = response.headers.first(name: "x-process-time").flatMap(Double.init) { mine.own.append(own * 1000) }
                    }
                    return mine
                }
            }
            return try await tasks.reduce(into: Load()) {
                $0.latencies += $1.latencies
                $0.own += $1.own
            }
        }
        load.seconds = (ContinuousClock.now - began).inMilliseconds / 1000
        try await http.shutdown()
        return load
    }
}
