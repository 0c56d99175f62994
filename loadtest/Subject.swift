import AsyncHTTPClient
import Foundation
import NIOCore
import NIOHTTP1
import Wire

/// A server of its own for the measurement: started on a free port with an empty store, ended afterwards.
final class Subject: Sendable {
    struct Failure: Error, CustomStringConvertible { let description: String }

    /// The server's own counters, and the processor time it has used.
    struct Reading: Sendable {
        let changes: Int64
        let commits: Int64
        let cpuSeconds: Double
    }

    private let pid: Int32
    private let port: Int
    private let http = HTTPClient(eventLoopGroupProvider: .singleton)
    private static let password = "Carga#2026ok"

    private init(pid: Int32, port: Int) {
        self.pid = pid
        self.port = port
    }

    static func start(binary: String, directory: String, environment: [String: String] = [:]) async throws -> Subject {
        try FileManager.default.createDirectory(atPath: directory, withIntermediateDirectories: true)
        let port = Int.random(in: 20_000..<30_000)
        let process = Process()
        process.executableURL = URL(fileURLWithPath: binary)
        process.arguments = ["serve"]
        process.environment = [
            "HOST": "127.0.0.1", "PORT": String(port), "PLANTAO_DATA": directory + "/data", "ADMIN_EMAIL": "load@example.com",
            "ADMIN_PASSWORD": password,
            "BCRYPT_ROUNDS": "4", "LOG_LEVEL": "warning",
        ].merging(environment) { $1 }
        process.standardOutput = FileHandle.nullDevice
        try process.run()
        let subject = Subject(pid: process.processIdentifier, port: port)
        for _ in 0..<100 {
            if (try? await subject.call("GET", "/health")) != nil { return subject }
            try await Task.sleep(for: .milliseconds(100))
        }
        subject.stop()
        throw Failure(description: "\(binary) did not start within ten seconds")
    }

    func stop() {
        kill(pid, SIGTERM)
        var status: Int32 = 0
        waitpid(pid, &status, 0)
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
        // proc(5): fields 14 and 15, counted behind the name in parentheses.
        let stat = try String(contentsOfFile: "/proc/\(pid)/stat", encoding: .utf8)
        let fields = stat[(stat.lastIndex(of: ")") ?? stat.startIndex)...].split(separator: " ")
        let ticks = (Double(fields[12]) ?? 0) + (Double(fields[13]) ?? 0)
        return Reading(
            changes: gate?["changes"]?.int ?? 0,
            commits: gate?["commits"]?.int ?? 0,
            cpuSeconds: ticks / Double(sysconf(Int32(_SC_CLK_TCK)))
        )
    }

    private func call(_ method: String, _ path: String, _ body: JSON? = nil, token: String? = nil) async throws -> JSON {
        var request = HTTPClientRequest(url: "http://127.0.0.1:\(port)\(path)")
        request.method = HTTPMethod(rawValue: method)
        request.headers.add(name: "content-type", value: "application/json")
        if let token { request.headers.add(name: "authorization", value: "Bearer \(token)") }
        if let body { request.body = .bytes(ByteBuffer(bytes: body.bytes)) }
        let response = try await http.execute(request, timeout: .seconds(10))
        let bytes = Array(try await response.body.collect(upTo: 8 << 20).readableBytesView)
        guard (200..<300).contains(response.status.code) else { throw Failure(description: "\(method) \(path): \(response.status.code)") }
        return try JSON.parse(bytes)
    }
}
