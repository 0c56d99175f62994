import ArgumentParser
import AsyncHTTPClient
import Client
import Foundation
import NIOCore
import NIOHTTP1
import Synchronization
import Wire

struct Demo: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Play a scripted morning against a running server, and show what each side sees.",
        discussion: "The server must use the built-in simulator, as it does without WhatsApp credentials."
    )

    @Option(help: "Where the server is.") var url = "http://127.0.0.1:8080"
    @Option(help: "An administrator's e-mail. Default: ADMIN_EMAIL.") var email: String?
    @Option(help: "Their password. Default: ADMIN_PASSWORD.") var password: String?
    @Option(help: "Seconds between one thing and the next.") var pace = 0.7

    func run() async throws {
        let environment = ProcessInfo.processInfo.environment
        guard let password = password ?? environment["ADMIN_PASSWORD"] else {
            throw ValidationError("give --password, or set ADMIN_PASSWORD: the server prints it when it starts for the first time")
        }
        let api = DemoAPI(base: url)
        do {
            try await DemoMorning(api: api, url: url, pace: pace, screen: DemoScreen()).play(
                email: email ?? environment["ADMIN_EMAIL"] ?? "admin@plantao.local",
                password: password
            )
            try await api.close()
        } catch {
            try? await api.close()
            FileHandle.standardError.write(Data("plantao demo: \(error)\n".utf8))
            throw ExitCode.failure
        }
    }
}

/// The server's REST API, as far as the morning needs it.
struct DemoAPI: Sendable {
    struct Failure: Error, CustomStringConvertible { let description: String }

    let base: String
    private let http = HTTPClient(eventLoopGroupProvider: .singleton)

    init(base: String) { self.base = base.hasSuffix("/") ? String(base.dropLast()) : base }

    func close() async throws { try await http.shutdown() }

    func post(_ path: String, _ body: JSON, token: String? = nil) async throws -> JSON { try await send("POST", path, body, token) }
    func get(_ path: String, token: String? = nil) async throws -> JSON { try await send("GET", path, nil, token) }

    func send(_ method: String, _ path: String, _ body: JSON?, _ token: String?) async throws -> JSON {
        var request = HTTPClientRequest(url: base + path)
        request.method = .init(rawValue: method)
        request.headers.add(name: "content-type", value: "application/json")
        if let token { request.headers.add(name: "authorization", value: "Bearer \(token)") }
        if let body { request.body = .bytes(ByteBuffer(bytes: body.bytes)) }
        let response: HTTPClientResponse
        do { response = try await http.execute(request, timeout: .seconds(10)) } catch {
            throw Failure(description: "\(base) does not answer (\(error)). Start the server first: make run")
        }
        let bytes = Array(try await response.body.collect(upTo: 1 << 20).readableBytesView)
        let json = bytes.isEmpty ? JSON.null : try JSON.parse(bytes)
        guard (200..<300).contains(response.status.code) else {
            throw Failure(description: "\(method) \(path): \(response.status.code) \(json["detail"]?.string ?? json.text)")
        }
        return json
    }
}

/// Prints what each side sees, one line at a time, from whatever thread it is seen on.
final class DemoScreen: Sendable {
    private let start = ContinuousClock.now
    private let lock = Mutex(())
    private let hasColours = isatty(STDOUT_FILENO) == 1

    enum Side: String {
        case stage = "          "
        case customer = "cliente   "
        case agent = "agente    "
        case server = "servidor  "
    }

    func show(_ side: Side, _ who: String, _ text: String) {
        let elapsed = ContinuousClock.now - start
        let milliseconds = elapsed.components.seconds * 1000 + elapsed.components.attoseconds / 1_000_000_000_000_000
        let time = String(format: "%6.2fs", Double(milliseconds) / 1000)
        let body = text.split(separator: "\n", omittingEmptySubsequences: true).joined(separator: " / ")
        let colour =
            switch side {
            case .stage: "1"
            case .customer: "32"
            case .agent: "36"
            case .server: "33"
            }
        let line = "\(time)  \(side.rawValue)\(who.padding(toLength: 8, withPad: " ", startingAt: 0))  \(body)\n"
        lock.withLock { _ in
            FileHandle.standardOutput.write(Data((hasColours ? "\u{1b}[\(colour)m\(line)\u{1b}[0m" : line).utf8))
        }
    }
}
