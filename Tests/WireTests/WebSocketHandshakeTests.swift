import Testing

@testable import Wire

@Suite("WebSocket handshake")
struct WebSocketHandshakeTests {
    static let good = [
        "upgrade": ["websocket"], "connection": ["Upgrade"], "sec-websocket-version": ["13"], "sec-websocket-key": ["dGhlIHNhbXBsZSBub25jZQ=="],
    ]

    /// The one digest RFC 6455 §1.3 spells out.
    static func sha1(_ bytes: [UInt8]) -> [UInt8] {
        guard bytes == "dGhlIHNhbXBsZSBub25jZQ==258EAFA5-E914-47DA-95CA-C5AB0DC85B11".bytes else { return [UInt8](repeating: 0, count: 20) }
        return [0xb3, 0x7a, 0x4f, 0x2c, 0xc0, 0x62, 0x4f, 0x16, 0x90, 0xf6, 0x46, 0x06, 0xcf, 0x38, 0x59, 0x45, 0xb2, 0xbe, 0xc4, 0xea]
    }

    @Test("The example of RFC 6455 §1.3 is accepted")
    func theExampleIsAccepted() {
        #expect(decide(Self.good) == .accept(secWebSocketAccept: "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=", subprotocol: nil))
        #expect(WebSocketHandshake.accept(key: "dGhlIHNhbXBsZSBub25jZQ==", sha1: Self.sha1) == "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=")
    }

    @Test("Tokens are found in lists, in any case (§4.2.1)")
    func tokensAreFoundInLists() {
        var headers = Self.good
        headers["upgrade"] = ["h2c, WebSocket"]
        headers["connection"] = ["keep-alive", " Upgrade , x"]
        headers["sec-websocket-key"] = [" dGhlIHNhbXBsZSBub25jZQ==\t"]
        guard case .accept = decide(headers) else { return #expect(Bool(false), "refused") }
    }

    @Test(
        "What is missing or wrong is refused with the status that says so",
        arguments: [
            ("upgrade", [], 426), ("upgrade", ["h2c"], 426), ("upgrade", ["websockets"], 426), ("connection", [], 426),
            ("connection", ["keep-alive"], 426),
            ("sec-websocket-version", [], 426), ("sec-websocket-version", ["8"], 426), ("sec-websocket-version", ["13, 8"], 426),
            ("sec-websocket-key", [], 400), ("sec-websocket-key", [""], 400), ("sec-websocket-key", ["dGhlIHNhbXBsZSBub25jZQ"], 400),
            ("sec-websocket-key", ["dGhlIHNhbXBsZSBub25jZTE="], 400), ("sec-websocket-key", ["dGhlIHNhbXBsZSBub25j!Q=="], 400),
            ("sec-websocket-key", ["dGhlIHNhbXBsZSBub25jZQ==", "dGhlIHNhbXBsZSBub25jZQ=="], 400),
        ] as [(String, [String], Int)]
    )
    func whatIsWrongIsRefused(header: String, values: [String], status: Int) {
        var headers = Self.good
        headers[header] = values
        guard case .refuse(let got, let answer, let reason) = decide(headers) else { return #expect(Bool(false), "accepted") }
        #expect(got == status && !reason.isEmpty)
        // §4.4: the version spoken is named.
        if header == "sec-websocket-version" { #expect(answer == ["sec-websocket-version": "13"]) }
    }

    @Test("Only GET begins a WebSocket")
    func onlyGETBeginsAWebSocket() {
        let decision = WebSocketHandshake.decide(method: "POST", headers: { Self.good[$0] ?? [] }, sha1: Self.sha1)
        #expect(decision == .refuse(status: 405, headers: ["allow": "GET"], reason: "a WebSocket begins with GET"))
    }

    @Test("The client's first subprotocol that is ours is chosen")
    func theFirstKnownSubprotocolIsChosen() {
        var headers = Self.good
        headers["sec-websocket-protocol"] = ["soap, centrifuge-json", "centrifuge-protobuf"]
        let chosen = { (ours: [String]) -> String? in
            guard
                case .accept(_, let subprotocol) = WebSocketHandshake.decide(
                    method: "GET",
                    headers: { headers[$0] ?? [] },
                    subprotocols: ours,
                    sha1: Self.sha1
                )
            else {
                return "refused"
            }
            return subprotocol
        }
        #expect(chosen(["centrifuge-protobuf", "centrifuge-json"]) == "centrifuge-json")
        #expect(chosen([]) == nil)
    }

    @Test("A client's key is 16 bytes, new each time")
    func aKeyIsNewEachTime() {
        let keys = (0..<20).map { _ in WebSocketHandshake.newKey() }
        #expect(Set(keys).count == 20)
        for key in keys {
            var headers = Self.good
            headers["sec-websocket-key"] = [key]
            guard case .accept = decide(headers) else { return #expect(Bool(false), "refused \(key)") }
        }
    }

    @Test(
        "Base64 is RFC 4648's (§10)",
        arguments: [("", ""), ("f", "Zg=="), ("fo", "Zm8="), ("foo", "Zm9v"), ("foob", "Zm9vYg=="), ("fooba", "Zm9vYmE="), ("foobar", "Zm9vYmFy")]
    )
    func base64IsRFC4648s(text: String, encoded: String) {
        #expect(Base64.encode(text.bytes) == encoded)
    }

    private func decide(_ headers: [String: [String]]) -> WebSocketHandshake.Decision {
        WebSocketHandshake.decide(method: "GET", headers: { headers[$0] ?? [] }, sha1: Self.sha1)
    }
}
