import Integrations
import Testing

@Suite struct WhatsAppAnswerTests {
    private func outcome(_ status: Int, _ body: String, retryAfter: Duration? = nil) -> SendOutcome {
        WhatsAppAnswer.outcome(status: status, retryAfter: retryAfter, body: Array(body.utf8))
    }

    @Test func anAcceptedMessageHasItsIDAndTheNumberAsWhatsAppWritesIt() {
        let body = #"{"messaging_product":"whatsapp","contacts":[{"input":"5511987654321","wa_id":"551187654321"}],"messages":[{"id":"wamid.A"}]}"#
        #expect(outcome(200, body) == .sent(wamid: "wamid.A", waID: "551187654321"))
        #expect(outcome(200, #"{"messages":[{"id":"wamid.A"}]}"#) == .sent(wamid: "wamid.A", waID: nil))
    }

    @Test(arguments: ["", "OK", "{}", #"{"messages":[]}"#, #"{"messages":[{}]}"#]) func anAcceptanceThatNamesNoMessageIsUnknown(body: String) {
        guard case .unknown = outcome(200, body) else {
            Issue.record("\(outcome(200, body))")
            return
        }
    }

    /// The table's verdict on every code it lists, whatever the HTTP status.
    @Test func theCodeDecidesAndNotTheStatus() {
        for rule in WhatsAppErrorRule.table {
            for code in rule.codes.flatMap({ [$0.lowerBound, $0.upperBound] }) {
                for status in [400, 401, 403, 429, 500, 503] {
                    switch outcome(status, #"{"error":{"message":"(#\#(code)) Something","type":"OAuthException","code":\#(code)}}"#) {
                    case .retry(let after, let retried, _):
                        #expect(rule.action.isTransient)
                        #expect(retried == code)
                        #expect(after == rule.action.wait)
                    case .refused(let refused, let title, let action):
                        #expect(!rule.action.isTransient)
                        #expect(refused == code)
                        #expect(title == rule.meaning)
                        #expect(action == rule.action)
                    case .sent, .unknown: Issue.record("code \(code) with HTTP \(status)")
                    }
                }
            }
        }
    }

    @Test func anUnlistedCodeIsBelievedInWhatItSaysAboutItself() {
        let error = #"{"error":{"message":"Nova regra","code":139999}}"#
        #expect(
            outcome(400, error) == .refused(code: 139_999, title: "O WhatsApp recusou a mensagem (erro 139999): Nova regra", action: .reportUnlisted)
        )
        #expect(outcome(500, error) == .retry(after: nil, code: 139_999, reason: "error 139999, HTTP 500"))
        let transient = #"{"error":{"message":"Nova regra","code":139999,"is_transient":true}}"#
        #expect(outcome(400, transient) == .retry(after: nil, code: 139_999, reason: "error 139999, HTTP 400"))
    }

    @Test(arguments: ["", "<html>502 Bad Gateway</html>", "{}", #"{"error":"x"}"#]) func aServerErrorWithoutACodeIsUnknown(body: String) {
        for status in [500, 501, 502, 504, 408] {
            guard case .unknown = outcome(status, body) else {
                Issue.record("HTTP \(status)")
                return
            }
        }
    }

    /// As an outage begins. 502 and 504 are not among it: what gave up may have passed the message on.
    @Test(arguments: ["", "<html>502 Bad Gateway</html>", "{}"]) func aServiceThatIsUnavailableHasNotSentIt(body: String) {
        #expect(outcome(503, body) == .retry(after: nil, code: nil, reason: "HTTP 503 without an error code"))
        #expect(outcome(503, body, retryAfter: .seconds(30)) == .retry(after: .seconds(30), code: nil, reason: "HTTP 503 without an error code"))
        #expect(outcome(503, body).countsAgainstBreaker)
    }

    @Test func otherAnswersWithoutACodeSayItWasNotSent() {
        #expect(outcome(429, "") == .retry(after: .seconds(1), code: 429, reason: "HTTP 429 without an error code"))
        #expect(outcome(429, "", retryAfter: .seconds(30)) == .retry(after: .seconds(30), code: 429, reason: "HTTP 429 without an error code"))
        #expect(outcome(401, "") == .refused(code: 401, title: "O WhatsApp recusou as credenciais (HTTP 401)", action: .stopTenant))
        #expect(outcome(404, "") == .refused(code: 404, title: "O WhatsApp recusou a mensagem (HTTP 404)", action: .reportUnlisted))
        #expect(outcome(302, "") == .refused(code: 302, title: "O WhatsApp recusou a mensagem (HTTP 302)", action: .reportUnlisted))
    }

    @Test func theLongerOfTheTwoWaitsCounts() {
        let error = #"{"error":{"message":"(#131056) Pair rate limit hit","code":131056}}"#
        #expect(outcome(400, error, retryAfter: .seconds(60)) == .retry(after: .seconds(60), code: 131_056, reason: "error 131056, HTTP 400"))
        #expect(outcome(400, error, retryAfter: .seconds(1)) == .retry(after: .seconds(6), code: 131_056, reason: "error 131056, HTTP 400"))
    }
}
