package import AsyncHTTPClient
import NIOCore
import NIOHTTP1
import Wire

/// Gemini over HTTP: one streamed answer (research/conversations.md §7).
///
/// It says nothing to a log, and tries nothing again: whether to ask once more is for the breaker and the conversation to decide.
package struct GeminiClient: Sendable {
    package struct Configuration: Sendable {
        /// Without a slash at the end.
        package var baseURL = "https://generativelanguage.googleapis.com"
        package var version = "v1beta"
        package var model = "gemini-2.5-flash"
        package var apiKey: String
        /// From the request to the first frame of the answer.
        package var firstTokenTimeout = Duration.seconds(10)

        package init(apiKey: String) { self.apiKey = apiKey }

        /// Reads an address with or without a version at its end. `false` when it is not one of http or https.
        package mutating func setURL(_ url: String) -> Bool {
            var parts = url.split(separator: "/", omittingEmptySubsequences: false)
            while parts.last?.isEmpty == true { parts.removeLast() }
            guard parts.count >= 3, parts[0] == "https:" || parts[0] == "http:", parts[1].isEmpty, !parts[2].isEmpty else { return false }
            if parts.count > 3, let last = parts.last, last.first == "v", last.dropFirst().first?.isNumber == true {
                version = String(parts.removeLast())
            }
            baseURL = parts.joined(separator: "/")
            return true
        }
    }

    package let configuration: Configuration
    private let http: HTTPClient

    package init(http: HTTPClient, configuration: Configuration) {
        self.http = http
        self.configuration = configuration
    }

    private enum End: Sendable {
        case answered(GeminiAnswer)
        case failed(GeminiFailure, GeminiAnswer)
    }

    /// - Parameters:
    ///   - timeout: for the answer as a whole.
    ///   - show: more has come for the customer. `false`: nobody wants to hear more.
    /// - Returns: what came, and the failure if that is not all.
    package func stream(
        _ request: GeminiRequest,
        timeout: Duration,
        show: @escaping @Sendable (String) async -> Bool
    ) async -> (GeminiAnswer, GeminiFailure?) {
        let begun = FirstTime()
        let end = await withTaskGroup(of: End.self) { group in
            group.addTask { await exchange(request, timeout, began: { begun.note(.zero) }, show) }
            group.addTask {
                let first = min(configuration.firstTokenTimeout, timeout)
                try? await Task.sleep(for: first)
                if begun.value == nil { return .failed(Task.isCancelled ? .cancelled : first < timeout ? .noFirstToken : .tooSlow, GeminiAnswer()) }
                try? await Task.sleep(for: timeout - first)
                return .failed(Task.isCancelled ? .cancelled : .tooSlow, GeminiAnswer())
            }
            let first = await group.next() ?? .failed(.cancelled, GeminiAnswer())
            group.cancelAll()
            return first
        }
        switch end {
        case .failed(let failure, let answer): return (answer, Task.isCancelled ? .cancelled : failure)
        case .answered(let answer):
            if case .failure(let failure) = answer.conclusion { return (answer, failure) }
            return (answer, nil)
        }
    }

    private static let maxErrorBytes = 64 * 1024

    private func exchange(
        _ request: GeminiRequest,
        _ timeout: Duration,
        began: @Sendable () -> Void,
        _ show: @Sendable (String) async -> Bool
    ) async -> End {
        var answer = GeminiAnswer()
        // Such as the end of a line that came with it from a file: no header can hold it.
        guard !configuration.apiKey.isEmpty, configuration.apiKey.utf8.allSatisfy({ (0x21...0x7e).contains($0) }) else {
            return .failed(.invalidKey, answer)
        }
        var call = HTTPClientRequest(
            url: "\(configuration.baseURL)/\(configuration.version)/models/\(configuration.model):streamGenerateContent?alt=sse"
        )
        call.method = .POST
        call.headers.add(name: "x-goog-api-key", value: configuration.apiKey)
        call.headers.add(name: "Content-Type", value: "application/json")
        call.body = .bytes(ByteBuffer(bytes: request.body))
        do {
            // A little more than our own, which is the one to decide.
            let response = try await http.execute(call, timeout: .nanoseconds(Int64(timeout / .nanoseconds(1)) + 1_000_000_000))
            guard response.status == .ok else {
                let body = try await response.body.collect(upTo: Self.maxErrorBytes)
                return .failed(GeminiFailure(status: Int(response.status.code), body: Array(body.readableBytesView)), answer)
            }
            var parser = GeminiStreamParser()
            for try await piece in response.body {
                for event in parser.receive(piece.readableBytesView) {
                    began()
                    if let failure = try await take(event, &answer, show) { return .failed(failure, answer) }
                }
            }
            for event in parser.finish() { if let failure = try await take(event, &answer, show) { return .failed(failure, answer) } }
            return .answered(answer)
        } catch is CancellationError {
            return .failed(.cancelled, answer)
        } catch {
            return .failed(Task.isCancelled ? .cancelled : .dropped, answer)
        }
    }

    private func take(
        _ event: GeminiStreamParser.Event,
        _ answer: inout GeminiAnswer,
        _ show: @Sendable (String) async -> Bool
    ) async throws -> GeminiFailure? {
        switch event {
        case .failure(let failure): return failure
        case .chunk(let chunk):
            if answer.take(chunk), await !show(answer.text) { throw CancellationError() }
            return nil
        }
    }
}
