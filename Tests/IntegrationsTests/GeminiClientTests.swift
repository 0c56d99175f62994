import AsyncHTTPClient
import Integrations
import NIOPosix
import Synchronization
import Testing
import Wire

@Suite struct GeminiClientTests {
    private let http = HTTPClient(eventLoopGroup: MultiThreadedEventLoopGroup.singleton, configuration: WhatsAppCloudClient.httpConfiguration)
    private static let stream =
        #"data: {"candidates":[{"content":{"parts":[{"text":"Olá"}]},"finishReason":"STOP"}],"usageMetadata":{"promptTokenCount":3,"candidatesTokenCount":1}}"#
        + "\n\n"

    private final class Heard: Sendable, GeminiObserver {
        let texts = Mutex<[String]>([])
        let reports = Mutex<[GeminiReport]>([])
        func ended(_ report: GeminiReport) { reports.withLock { $0.append(report) } }
    }

    private func run(
        _ behaviour: FakeGraph.Behaviour,
        timeout: Duration = .seconds(5),
        firstToken: Duration = .seconds(5),
        goesOn: Bool = true,
        maxRounds: Int = 4,
        key: String = "k"
    ) async throws -> (GeminiDialogue.Ending, [FakeGraph.Request], Heard) {
        let server = try await FakeGraph.start(behaviour)
        var configuration = GeminiClient.Configuration(apiKey: key)
        let isURL = configuration.setURL(server.url + "/v1beta/")
        #expect(isURL)
        configuration.firstTokenTimeout = firstToken
        let heard = Heard()
        var dialogue = GeminiDialogue(GeminiClient(http: http, configuration: configuration), observer: heard)
        dialogue.timeout = timeout
        dialogue.maxRounds = maxRounds
        let ending = await dialogue.run(GeminiRequest(instructions: "i", contents: [.text("oi", from: "user")])) { text in
            heard.texts.withLock { $0.append(text) }
            return goesOn
        } call: { call in
            call.name == "hand_off" ? .ends : .value(["ok": true])
        }
        let requests = server.requests
        try await server.stop()
        try await http.shutdown()
        #expect(heard.reports.withLock { $0.count } == 1, "every answer is counted once")
        return (ending, requests, heard)
    }

    @Test func anAnswerIsShownAndCounted() async throws {
        let (ending, requests, heard) = try await run(.answer(status: 200, body: Self.stream))
        #expect(ending.outcome == .said(isTruncated: false))
        #expect(ending.text == "Olá")
        #expect(heard.texts.withLock { $0 } == ["Olá"])
        #expect(requests.first?.path == "/v1beta/models/gemini-2.5-flash:streamGenerateContent?alt=sse")
        #expect(requests.first?.header("x-goog-api-key") == "k")
        let report = try #require(heard.reports.withLock { $0.first })
        #expect(report.outcome == "answered")
        #expect(report.usage == GeminiUsage(promptTokens: 3, answerTokens: 1))
        #expect(report.firstText != nil)
        let counters = GeminiCounters()
        counters.ended(report)
        #expect(counters.prometheus.contains("plantao_gemini_answers_total{outcome=\"answered\"} 1\n"))
        #expect(counters.prometheus.contains("plantao_gemini_tokens_total{kind=\"prompt\"} 3\n"))
        #expect(counters.prometheus.contains("plantao_gemini_answer_seconds_count 1\n"))
    }

    @Test func functionsAreCalledAndWhatTheyGaveBackIsToldWithTheSignature() async throws {
        let call =
            #"data: {"candidates":[{"content":{"role":"model","parts":[{"functionCall":{"name":"lookup","args":{}},"thoughtSignature":"c2ln"}]},"finishReason":"STOP"}]}"#
            + "\n\n"
        let (ending, requests, heard) = try await run(.answer(status: 200, body: call), maxRounds: 3)
        #expect(ending.outcome == .failure(.tooManyRounds))
        #expect(requests.count == 3, "rounds are bounded")
        let second = try JSON.parse(requests[1].body)
        let contents = try #require(second["contents"]?.array)
        #expect(contents.map { $0["role"]?.string } == ["user", "model", "user"])
        #expect(contents[1]["parts"]?.array?.first?["thoughtSignature"]?.string == "c2ln")
        #expect(contents[2]["parts"]?.array?.first?["functionResponse"]?["response"]?["ok"]?.bool == true)
        #expect(heard.reports.withLock { $0[0].rounds } == 3)
    }

    @Test func aCallThatEndsTheDialogueIsItsOutcome() async throws {
        let body =
            #"data: {"candidates":[{"content":{"parts":[{"text":"Um momento."},{"functionCall":{"name":"hand_off","args":{"reason":"r"}}}]},"finishReason":"STOP"}]}"#
            + "\n\n"
        let (ending, requests, _) = try await run(.answer(status: 200, body: body))
        #expect(ending.outcome == .called(GeminiCall(name: "hand_off", arguments: ["reason": "r"])))
        #expect(ending.text == "Um momento.")
        #expect(requests.count == 1)
    }

    @Test func nobodyWhoWantsToHearMoreEndsIt() async throws {
        let (ending, _, _) = try await run(.answer(status: 200, body: Self.stream), goesOn: false)
        #expect(ending.outcome == .failure(.cancelled))
    }

    @Test func silenceAndCutsAreFailures() async throws {
        #expect(try await run(.silence, firstToken: .milliseconds(100)).0.outcome == .failure(.noFirstToken))
    }
    @Test func anAnswerThatStallsIsTooSlow() async throws {
        let (ending, _, _) = try await run(.stall, timeout: .milliseconds(200))
        #expect(ending.outcome == .failure(.tooSlow))
    }
    @Test func aDroppedConnectionIsAFailure() async throws { #expect(try await run(.drop).0.outcome == .failure(.dropped)) }
    @Test func anAnswerCutShortIsAFailure() async throws { #expect(try await run(.cutShort).0.outcome == .failure(.dropped)) }
    @Test func aRefusalIsRead() async throws {
        #expect(try await run(.answer(status: 503, body: "{}")).0.outcome == .failure(.overloaded(retryAfter: nil)))
    }
    @Test func aKeyThatNoHeaderCanHoldIsNotSent() async throws {
        let (ending, requests, _) = try await run(.silence, key: "k\n")
        #expect(ending.outcome == .failure(.invalidKey))
        #expect(requests.isEmpty)
    }
}
