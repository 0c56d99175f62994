import Integrations
import Testing
import Wire

/// Streams as Gemini sends them, in pieces as networks cut them.
@Suite struct GeminiStreamTests {
    private static func frame(_ text: String, finish: String? = nil) -> String {
        let reason = finish.map { #","finishReason":"\#($0)""# } ?? ""
        return #"data: {"candidates":[{"content":{"role":"model","parts":[{"text":"\#(text)"}]}\#(reason)}]}"# + "\n\n"
    }

    private func events(_ body: [UInt8], cutAt cuts: [Int] = []) -> [GeminiStreamParser.Event] {
        var parser = GeminiStreamParser()
        var events: [GeminiStreamParser.Event] = []
        var start = 0
        for cut in cuts + [body.count] {
            events += parser.receive(body[start..<cut])
            start = cut
        }
        return events + parser.finish()
    }

    private func answer(_ body: String, cutAt cuts: [Int] = []) -> (GeminiAnswer, GeminiFailure?) {
        var answer = GeminiAnswer()
        for event in events(Array(body.utf8), cutAt: cuts) {
            switch event {
            case .chunk(let chunk): _ = answer.take(chunk)
            case .failure(let failure): return (answer, failure)
            }
        }
        return (answer, nil)
    }

    private static let wholeStream =
        frame("Olá, não ") + ": keep-alive\r\n\r\n" + frame("há 🛰️ ") + "event: message\nid: 7\n"
        + #"data: {"candidates":[{"content":{"role":"model"}}]}"# + "\r\n\r\n"
        + #"data: {"candidates":[{"content":{"parts":[{"text":"ação."}]},"finishReason":"STOP"}],"usageMetadata":{"promptTokenCount":7,"candidatesTokenCount":5,"thoughtsTokenCount":2,"totalTokenCount":14}}"#
        + "\r\r"

    @Test func everyCutOfAStreamInTwoGivesTheSame() {
        let bytes = Array(Self.wholeStream.utf8)
        let expected = events(bytes)
        #expect(expected.count == 4)
        for cut in 0...bytes.count { #expect(events(bytes, cutAt: [cut]) == expected, "cut at \(cut)") }
        #expect(events(bytes, cutAt: Array(1..<bytes.count)) == expected, "byte by byte")
    }

    @Test func textIsPutTogetherAndTheLastUsageCounts() {
        let (answer, failure) = answer(Self.wholeStream)
        #expect(failure == nil)
        #expect(answer.text == "Olá, não há 🛰️ ação.")
        #expect(answer.usage == GeminiUsage(promptTokens: 7, answerTokens: 5, thoughtTokens: 2))
        #expect(answer.conclusion == .said(isTruncated: false))
    }

    @Test func theLastFrameMayLackItsEnd() {
        let (answer, failure) = answer(#"data: {"candidates":[{"content":{"parts":[{"text":"fim"}]},"finishReason":"STOP"}]}"#)
        #expect(failure == nil)
        #expect(answer.text == "fim")
    }

    @Test func aDataFieldOfSeveralLinesIsOne() {
        #expect(answer("data: {\"candidates\":\ndata:[{\"finishReason\":\"STOP\",\"content\":{\"parts\":[{\"text\":\"a\"}]}}]}\n\n").0.text == "a")
    }

    // MARK: What goes wrong

    @Test(arguments: [
        (#"data: {"candidates":[],"promptFeedback":{"blockReason":"SAFETY"}}"#, GeminiFailure.blocked("SAFETY")),
        (#"data: {"promptFeedback":{"blockReason":"PROHIBITED_CONTENT"}}"#, .blocked("PROHIBITED_CONTENT")),
        (#"data: {"candidates":[{"finishReason":"SAFETY"}]}"#, .blocked("SAFETY")),
        (#"data: {"candidates":[{"content":{"parts":[{"text":"half"}]},"finishReason":"RECITATION"}]}"#, .blocked("RECITATION")),
        (#"data: {"candidates":[{"finishReason":"MALFORMED_FUNCTION_CALL"}]}"#, .blocked("MALFORMED_FUNCTION_CALL")),
        (#"data: {"candidates":[{"finishReason":"STOP"}]}"#, .empty),
        (#"data: {"candidates":[{"content":{"parts":[{"text":" \n"}]},"finishReason":"STOP"}]}"#, .empty),
        (#"data: {"candidates":[{"finishReason":"SOMETHING_NEW"}]}"#, .empty),
        (#"data: {"candidates":[{"finishReason":"MAX_TOKENS"}],"usageMetadata":{"thoughtsTokenCount":1024}}"#, .outOfTokens),
        (#"data: {"candidates":[{"content":{"parts":[{"text":"hm","thought":true}]},"finishReason":"MAX_TOKENS"}]}"#, .outOfTokens),
        (#"data: {"candidates":[]}"#, .incomplete), ("", .incomplete), ("data: {}", .incomplete),
        (#"data: {"candidates":[{"content":{"parts":[{"text":"no end"}]}}]}"#, .incomplete),
    ])
    func anAnswerThatIsNoneSaysWhy(_ body: String, _ expected: GeminiFailure) {
        let (answer, failure) = answer(body + "\n\n")
        #expect(failure == nil)
        #expect(answer.conclusion == .failure(expected))
    }

    @Test func whatThinkingOrALimitLeavesIsKept() {
        let (thinking, _) = answer(
            #"data: {"candidates":[{"content":{"parts":[{"text":"hm","thought":true},{"text":"Sim."}]},"finishReason":"STOP"}]}"# + "\n\n"
        )
        #expect(thinking.text == "Sim.")
        #expect(thinking.parts.count == 2, "thoughts go back to the model as they came")
        #expect(answer(Self.frame("cortado", finish: "MAX_TOKENS")).0.conclusion == .said(isTruncated: true))
        #expect(answer(Self.frame("novo", finish: "SOMETHING_NEW")).0.conclusion == .said(isTruncated: false))
    }

    @Test func severalCallsInOneAnswerAreKeptInOrderWithTheirSignatures() {
        let (answer, _) = answer(
            #"data: {"candidates":[{"content":{"parts":[{"functionCall":{"name":"a","args":{"x":1}},"thoughtSignature":"c2ln"},{"functionCall":{"name":"b","id":"7"}}]},"finishReason":"STOP"}]}"#
                + "\n\n"
        )
        #expect(answer.conclusion == .calls)
        #expect(answer.calls == [GeminiCall(name: "a", arguments: ["x": 1]), GeminiCall(name: "b", arguments: .emptyObject, id: "7")])
        #expect(answer.parts.first?["thoughtSignature"]?.string == "c2ln")
    }

    @Test(arguments: ["\n", "\r\n", ""]) func anErrorInMidStreamComesWithoutDataAndEndsIt(_ end: String) {
        let (answer, failure) = answer(Self.frame("meio") + #"{"error":{"code":503,"message":"overloaded","status":"UNAVAILABLE"}}"# + end)
        #expect(answer.text == "meio")
        #expect(failure == .overloaded(retryAfter: nil))
    }

    @Test func anErrorOverSeveralLinesOrInAnArrayIsReadAtTheEnd() {
        let pretty = "[{\n  \"error\": {\n    \"code\": 499,\n    \"status\": \"CANCELLED\"\n  }\n}\n]\n"
        #expect(answer(Self.frame("meio") + pretty).1 == .dropped)
        #expect(answer(#"data: {"error":{"code":500}}"# + "\n\n").1 == .server(status: 500))
    }

    @Test func aServerThatDoesNotKnowSSESendsOneArray() {
        let body =
            "[{\"candidates\":[{\"content\":{\"parts\":[{\"text\":\"a\"}]}}]}\n,\r\n{\"candidates\":[{\"content\":{\"parts\":[{\"text\":\"b\"}]},\"finishReason\":\"STOP\"}]}]"
        #expect(answer(body).0.text == "ab")
    }

    @Test(arguments: ["data: {\n\n", "data: [1]\n\n", "<html>oops</html>", "data: {\"a\":1\n\ndata: }\n\n"])
    func whatIsNoStreamIsMalformed(_ body: String) { #expect(answer(body).1 == .malformed) }

    @Test func aStreamWithoutEndIsBounded() {
        var parser = GeminiStreamParser()
        let piece = [UInt8](repeating: UInt8(ascii: "x"), count: 1 << 20)
        var failures = 0
        for _ in 0..<8 { failures += parser.receive(piece).count }
        #expect(failures == 1)
        #expect(parser.finish().isEmpty)
    }

    @Test(arguments: [
        (
            400,
            #"{"error":{"code":400,"status":"INVALID_ARGUMENT","details":[{"@type":"type.googleapis.com/google.rpc.ErrorInfo","reason":"API_KEY_INVALID"}]}}"#,
            GeminiFailure.invalidKey
        ),
        (400, #"{"error":{"code":400,"status":"FAILED_PRECONDITION"}}"#, .locationUnsupported),
        (400, #"{"error":{"code":400,"status":"INVALID_ARGUMENT"}}"#, .badRequest),
        (403, "", .invalidKey), (404, #"[{"error":{"code":404,"status":"NOT_FOUND"}}]"#, .modelNotFound),
        (
            429, #"{"error":{"code":429,"details":[{"@type":"type.googleapis.com/google.rpc.RetryInfo","retryDelay":"37s"}]}}"#,
            .quota(isDaily: false, retryAfter: .seconds(37))
        ),
        (
            429,
            #"[{"error":{"code":429,"details":[{"@type":"type.googleapis.com/google.rpc.QuotaFailure","violations":[{"quotaId":"GenerateRequestsPerDayPerProjectPerModel-FreeTier"}]}]}}]"#,
            .quota(isDaily: true, retryAfter: nil)
        ),
        (429, "", .quota(isDaily: false, retryAfter: nil)), (503, #"{"error":{"status":"UNAVAILABLE"}}"#, .overloaded(retryAfter: nil)),
        (500, "<html>", .server(status: 500)), (504, "", .server(status: 504)),
    ]) func errorsAreReadByStatusAndDetails(_ status: Int, _ body: String, _ expected: GeminiFailure) {
        #expect(GeminiFailure(status: status, body: Array(body.utf8)) == expected)
    }

    @Test func aRequestBeginsWithTheCustomerAndJoinsLinesOfOneSide() throws {
        let contents = GeminiRequest.contents([
            (isCustomer: false, text: "menu"), (true, "a"), (true, "b"), (false, "c"), (true, "d"),
        ])
        #expect(contents.map(\.role) == ["user", "model", "user"])
        #expect(contents[0].parts.count == 2)
        let body = try JSON.parse(GeminiRequest(instructions: "i", contents: contents, functions: [["name": "f"]]).body)
        #expect(body["systemInstruction"]?["parts"]?.array?.first?["text"]?.string == "i")
        #expect(body["tools"]?.array?.first?["functionDeclarations"]?.array?.count == 1)
        #expect(body["contents"]?.array?.count == 3)
    }
}
