import AsyncHTTPClient
import Foundation
import NIOCore
import NIOHTTP1
import Wire

/// A server of its own for the measurement: started on a free port with an empty store, ended afterwards, and in any case with this process.
final class Subject: Sendable {
    struct Failure: Error, CustomStringConvertible { let description: String }

    /// The server's own counters, and the processor time it has used.
    struct Reading: Sendable {
        let changes: Int64
        let commits: Int64
        let cpuSeconds: Double
    }

    let pid: Int32
    let port: Int
    private let launch: Launch
    private let http = HTTPClient(eventLoopGroupProvider: .singleton)
    private static let password = "Carga#2026ok"

    private init(_ launch: Launch, port: Int) {
        self.launch = launch
        pid = launch.pid
        self.port = port
    }

    /// - Parameter launcher: a command that starts the one behind it, as `taskset` does.
    static func start(binary: String, directory: String, environment: [String: String] = [:], launcher: [String] = []) async throws -> Subject {
        try await start(
            launcher + [binary, "serve"],
            directory: directory,
            environment: [
                "PLANTAO_DATA": directory + "/data", "ADMIN_EMAIL": "load@example.com", "ADMIN_PASSWORD": password, "BCRYPT_ROUNDS": "4",
                "LOG_LEVEL": "warning",
                // All connections are one user's here, who asks as much as the server can answer.
                "PLANTAO_MAX_CONNECTIONS": "1000000", "PLANTAO_MAX_CONNECTIONS_PER_TENANT": "1000000",
                "PLANTAO_MAX_CONNECTIONS_PER_USER": "1000000", "PLANTAO_COMMANDS_PER_SECOND_PER_CONNECTION": "1000000",
                "PLANTAO_COMMANDS_PER_SECOND_PER_USER": "10000000", "PLANTAO_COMMANDS_PER_SECOND_PER_TENANT": "10000000",
            ].merging(environment) { $1 }
        )
    }

    /// The FastAPI server in `loadtest/baseline`, run by a Python that has its requirements.
    /// - Parameter script: which of those in the folder.
    static func startBaseline(
        python: String,
        folder: String,
        script: String = "server.py",
        directory: String,
        environment: [String: String] = [:],
        launcher: [String]
    ) async throws -> Subject {
        guard FileManager.default.isExecutableFile(atPath: python) else {
            throw Failure(description: "\(python) is not there: make baseline-venv")
        }
        return try await start(launcher + [python, folder + "/" + script], directory: directory, environment: environment)
    }

    static func start(_ command: [String], directory: String, environment: [String: String]) async throws -> Subject {
        try FileManager.default.createDirectory(atPath: directory, withIntermediateDirectories: true)
        let port = Int.random(in: 20_000..<30_000)
        let path = ProcessInfo.processInfo.environment["PATH"] ?? "/usr/bin:/bin"
        let launch = try Launch(command, environment: ["PATH": path, "HOST": "127.0.0.1", "PORT": String(port)].merging(environment) { $1 })
        let subject = Subject(launch, port: port)
        for _ in 0..<150 {
            if (try? await subject.call("GET", "/health")) != nil { return subject }
            try await Task.sleep(for: .milliseconds(100))
        }
        subject.stop()
        throw Failure(description: "\(command.joined(separator: " ")) did not start within fifteen seconds")
    }

    func stop() {
        launch.end()
        try? http.syncShutdown()
    }

    var socketURL: String { "ws://127.0.0.1:\(port)/connection/websocket" }

    func login() async throws -> String {
        let answer = try await call("POST", "/api/v1/auth/login", ["email": "load@example.com", "password": .string(Self.password)])
        guard let token = answer["access_token"]?.string else { throw Failure(description: "the login gave no token") }
        return token
    }

    func makeConversations(_ count: Int, _ token: String) async throws -> [String] {
        for number in 0..<count {
            _ = try await call(
                "POST",
                "/api/v1/simulator/messages",
                ["from": .string("55119\(String(format: "%08d", number))"), "text": "oi"],
                token: token
            )
        }
        let list = try await call("GET", "/api/v1/conversations/?state=open&per_page=200", token: token)
        return (list["items"]?.array ?? []).compactMap { $0["id"]?.string }
    }

    func reading(_ token: String) async throws -> Reading {
        let gate = try await call("GET", "/info", token: token)["gate"]
        return Reading(changes: gate?["changes"]?.int ?? 0, commits: gate?["commits"]?.int ?? 0, cpuSeconds: try cpuSeconds())
    }

    // MARK: proc(5)

    /// Seconds of processor time, counted in ticks of 10 ms.
    struct CPUTime: Sendable {
        let user: Double
        let system: Double
        var total: Double { user + system }

        static func - (later: CPUTime, earlier: CPUTime) -> CPUTime {
            CPUTime(user: later.user - earlier.user, system: later.system - earlier.system)
        }
    }

    func cpuTime() throws -> CPUTime { try Self.cpuTime(ofProcess: String(pid)) }
    func cpuSeconds() throws -> Double { try cpuTime().total }

    /// Of this process, the generator.
    static func ownCPUSeconds() throws -> Double { try cpuTime(ofProcess: "self").total }

    private static func cpuTime(ofProcess pid: String) throws -> CPUTime {
        // Fields 14 and 15, counted behind the name in parentheses.
        let stat = try String(contentsOfFile: "/proc/\(pid)/stat", encoding: .utf8)
        let fields = stat[(stat.lastIndex(of: ")") ?? stat.startIndex)...].split(separator: " ")
        let second = Double(sysconf(Int32(_SC_CLK_TCK)))
        return CPUTime(user: (Double(fields[12]) ?? 0) / second, system: (Double(fields[13]) ?? 0) / second)
    }

    /// Memory in use, in bytes, without the kernel's socket buffers.
    func residentBytes() throws -> Int {
        let status = try String(contentsOfFile: "/proc/\(pid)/status", encoding: .utf8)
        let line = status.split(separator: "\n").first { $0.hasPrefix("VmRSS:") } ?? ""
        return (line.split(separator: " ").compactMap { Int($0) }.first ?? 0) << 10
    }

    func call(_ method: String, _ path: String, _ body: JSON? = nil, token: String? = nil, apiKey: String? = nil) async throws -> JSON {
        var request = HTTPClientRequest(url: "http://127.0.0.1:\(port)\(path)")
        request.method = HTTPMethod(rawValue: method)
        request.headers.add(name: "content-type", value: "application/json")
        if let token { request.headers.add(name: "authorization", value: "Bearer \(token)") }
        if let apiKey { request.headers.add(name: "api-key", value: apiKey) }
        if let body { request.body = .bytes(ByteBuffer(bytes: body.bytes)) }
        let response = try await http.execute(request, timeout: .seconds(10))
        let bytes = Array(try await response.body.collect(upTo: 8 << 20).readableBytesView)
        guard (200..<300).contains(response.status.code) else { throw Failure(description: "\(method) \(path): \(response.status.code)") }
        return try JSON.parse(bytes)
    }
}
