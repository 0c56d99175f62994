import AsyncHTTPClient
import Integrations
import NIOCore
import Testing
import Wire

@Suite struct WhatsAppCloudClientTests {
    private let credentials = WhatsAppCredentials(phoneNumberID: "110", accessToken: "token-secreto")
    private let message = OutboundMessage(to: .waID("5511987654321"), body: "Olá, \"Ana\"", callbackData: "job-1")

    /// Sends through a client of its own to `url`.
    private func send(
        _ message: OutboundMessage? = nil,
        to url: String,
        credentials: WhatsAppCredentials? = nil,
        timeout: Duration = .seconds(10)
    ) async throws -> SendOutcome {
        let http = HTTPClient(eventLoopGroupProvider: .singleton, configuration: WhatsAppCloudClient.httpConfiguration)
        var configuration = try #require(WhatsAppCloudClient.Configuration(apiURL: url))
        configuration.timeout = timeout
        let outcome = await WhatsAppCloudClient(http: http, configuration: configuration)
            .send(message ?? self.message, credentials: credentials ?? self.credentials)
        try await http.shutdown()
        return outcome
    }

    private func send(_ behaviour: FakeGraph.Behaviour, timeout: Duration = .seconds(10)) async throws -> (
        outcome: SendOutcome, requests: [FakeGraph.Request]
    ) {
        let graph = try await FakeGraph.start(behaviour)
        let outcome = try await send(to: graph.url, timeout: timeout)
        try await graph.stop()
        return (outcome, graph.requests)
    }

    private static let accepted =
        #"{"messaging_product":"whatsapp","contacts":[{"input":"5511987654321","wa_id":"551187654321"}],"messages":[{"id":"wamid.A"}]}"#

    // MARK: The request

    @Test func aTextIsPostedAsTheAPIWantsIt() async throws {
        let (outcome, requests) = try await send(.answer(status: 200, body: Self.accepted))
        #expect(outcome == .sent(wamid: "wamid.A", waID: "551187654321"))
        #expect(requests.count == 1)
        #expect(requests[0].method == "POST")
        #expect(requests[0].path == "/v23.0/110/messages")
        #expect(requests[0].header("Authorization") == "Bearer token-secreto")
        #expect(requests[0].header("Content-Type") == "application/json")
        let expected: JSON = [
            "messaging_product": "whatsapp", "recipient_type": "individual", "to": "5511987654321", "type": "text",
            "text": ["body": "Olá, \"Ana\"", "preview_url": false], "biz_opaque_callback_data": "job-1",
        ]
        #expect(try JSON.parse(requests[0].body) == expected)
    }

    @Test func aReplyQuotesAndABusinessScopedIDIsARecipient() async throws {
        let graph = try await FakeGraph.start(.answer(status: 200, body: Self.accepted))
        let message = OutboundMessage(to: .bsuid("BR.9"), body: "oi", replyingTo: "wamid.Q", previewsLink: true, callbackData: "job-2")
        _ = try await send(message, to: graph.url + "/v18.0")
        try await graph.stop()
        #expect(graph.requests[0].path == "/v18.0/110/messages")
        let body = try JSON.parse(graph.requests[0].body)
        #expect(body["recipient"] == "BR.9")
        #expect(body["to"] == nil)
        #expect(body["context"] == ["message_id": "wamid.Q"])
        #expect(body["text"]?["preview_url"] == true)
    }

    @Test func aPhoneNumberIDThatIsNoNumberNeverReachesAnAddress() async throws {
        let graph = try await FakeGraph.start(.answer(status: 200, body: Self.accepted))
        for id in ["", "../me", "1 1", "110?x=1"] {
            let outcome = try await send(to: graph.url, credentials: WhatsAppCredentials(phoneNumberID: id, accessToken: "t"))
            guard case .refused(100, _, .fixConfiguration) = outcome else {
                Issue.record("\(outcome)")
                return
            }
        }
        #expect(graph.requests.isEmpty)
        try await graph.stop()
    }

    @Test(arguments: ["", "token\n", "to ken", "tóken"]) func aTokenNoHeaderCanHoldIsRefused(token: String) async throws {
        let outcome = try await send(to: "http://127.0.0.1:1", credentials: WhatsAppCredentials(phoneNumberID: "110", accessToken: token))
        guard case .refused(190, _, .stopTenant) = outcome else {
            Issue.record("\(outcome)")
            return
        }
    }

    // MARK: The answer

    @Test(
        arguments: [
            (401, 190, ErrorAction.stopTenant), (403, 10, .stopTenant), (400, 131_047, .offerTemplate), (400, 131_026, .markContact),
            (400, 131_048, .waitADay), (400, 100, .fixRequest), (400, 131_030, .fixConfiguration), (400, 131_051, .showAgent),
            (400, 130_472, .giveUp), (400, 139_999, .reportUnlisted),
        ]
    )
    func aPermanentErrorIsRefused(status: Int, code: Int, action: ErrorAction) async throws {
        let (outcome, requests) = try await send(.answer(status: status, body: #"{"error":{"message":"(#\#(code)) x","code":\#(code)}}"#))
        guard case .refused(code, _, action) = outcome else {
            Issue.record("\(outcome)")
            return
        }
        #expect(requests.count == 1)
    }

    @Test(arguments: [(400, 4), (400, 80_007), (400, 130_429), (400, 131_056), (500, 131_000), (503, 131_016), (503, 2), (400, 131_057)])
    func aTransientErrorMayBeTriedAgain(status: Int, code: Int) async throws {
        let (outcome, requests) = try await send(.answer(status: status, body: #"{"error":{"message":"(#\#(code)) x","code":\#(code)}}"#))
        guard case .retry(_, code, _) = outcome else {
            Issue.record("\(outcome)")
            return
        }
        // The job decides when; the client does not try by itself.
        #expect(requests.count == 1)
    }

    @Test func aWaitTheServerAsksForIsKept() async throws {
        let (outcome, _) = try await send(.answer(status: 429, headers: [("Retry-After", "42")]))
        #expect(outcome == .retry(after: .seconds(42), code: 429, reason: "HTTP 429 without an error code"))
        let (endless, _) = try await send(.answer(status: 429, headers: [("Retry-After", "9223372036854775807")]))
        #expect(endless == .retry(after: .seconds(86_400), code: 429, reason: "HTTP 429 without an error code"))
    }

    @Test func aServerErrorWithoutABodyIsUnknown() async throws {
        let (outcome, _) = try await send(.answer(status: 500))
        #expect(outcome == .unknown(reason: "HTTP 500 without an error code"))
    }

    @Test func anUnavailableServiceIsTriedAgain() async throws {
        let (outcome, _) = try await send(.answer(status: 503))
        #expect(outcome == .retry(after: nil, code: nil, reason: "HTTP 503 without an error code"))
    }

    @Test func aRedirectIsNotFollowedAndTheTokenGoesNowhereElse() async throws {
        let elsewhere = try await FakeGraph.start(.answer(status: 200, body: Self.accepted))
        for status in [301, 302, 307] {
            let (outcome, _) = try await send(.answer(status: status, headers: [("Location", elsewhere.url + "/x")]))
            guard case .refused(status, _, .reportUnlisted) = outcome else {
                Issue.record("\(outcome)")
                return
            }
        }
        #expect(elsewhere.requests.isEmpty)
        try await elsewhere.stop()
    }

    @Test func anEndlessAnswerIsGivenUp() async throws {
        let (outcome, _) = try await send(.answer(status: 200, body: String(repeating: " ", count: 200_000)))
        guard case .unknown = outcome else {
            Issue.record("\(outcome)")
            return
        }
    }

    // MARK: No answer

    @Test(arguments: [FakeGraph.Behaviour.silence, .stall]) func anAnswerThatTakesTooLongIsUnknown(behaviour: FakeGraph.Behaviour) async throws {
        let (outcome, requests) = try await send(behaviour, timeout: .milliseconds(300))
        #expect(outcome == .unknown(reason: "no answer within 0.3 seconds"))
        #expect(requests.count == 1)
    }

    @Test(arguments: [FakeGraph.Behaviour.drop, .cutShort]) func aConnectionLostAfterTheRequestIsUnknown(behaviour: FakeGraph.Behaviour) async throws
    {
        let (outcome, requests) = try await send(behaviour)
        guard case .unknown = outcome else {
            Issue.record("\(outcome)")
            return
        }
        #expect(requests.count == 1)
    }

    @Test func aRefusedConnectionIsCertainlyNotSent() async throws {
        let graph = try await FakeGraph.start(.silence)
        try await graph.stop()
        let outcome = try await send(to: graph.url)
        guard case .retry(nil, nil, _) = outcome else {
            Issue.record("\(outcome)")
            return
        }
        #expect(outcome.countsAgainstBreaker)
    }

    @Test func aNameThatDoesNotResolveIsCertainlyNotSent() async throws {
        let outcome = try await send(to: "http://nao-existe.invalid")
        guard case .retry(nil, nil, _) = outcome else {
            Issue.record("\(outcome)")
            return
        }
    }

    @Test func cancellingAfterTheRequestIsUnknownAndPrompt() async throws {
        let graph = try await FakeGraph.start(.silence)
        let sending = Task { try await send(to: graph.url, timeout: .seconds(60)) }
        while graph.requests.isEmpty { try await Task.sleep(for: .milliseconds(5)) }
        sending.cancel()
        guard case .unknown = try await sending.value else {
            Issue.record("another kind of outcome")
            return
        }
        try await graph.stop()
    }

    // MARK: Secrets and settings

    @Test func credentialsNeverShowTheToken() {
        #expect("\(credentials)" == "WhatsAppCredentials(110)")
        #expect(String(reflecting: credentials) == "WhatsAppCredentials(110)")
        var dumped = ""
        dump(credentials, to: &dumped)
        #expect(!dumped.contains("secreto"))
    }

    @Test func anAddressMayEndInAVersion() throws {
        let plain = try #require(WhatsAppCloudClient.Configuration(apiURL: "https://graph.facebook.com/"))
        #expect(plain == WhatsAppCloudClient.Configuration())
        let versioned = try #require(WhatsAppCloudClient.Configuration(apiURL: "https://graph.facebook.com/v18.0"))
        #expect(versioned.baseURL == "https://graph.facebook.com")
        #expect(versioned.version == "v18.0")
        let nested = try #require(WhatsAppCloudClient.Configuration(apiURL: "http://127.0.0.1:9000/proxy/vivo"))
        #expect(nested.baseURL == "http://127.0.0.1:9000/proxy/vivo")
        for bad in ["", "graph.facebook.com", "ftp://a/b", "http://", "https:///v18.0"] {
            #expect(WhatsAppCloudClient.Configuration(apiURL: bad) == nil, "\(bad)")
        }
    }
}
