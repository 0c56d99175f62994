import Testing

@testable import Wire

@Suite("permessage-deflate, negotiated")
struct DeflateNegotiationTests {
    typealias Row = (offers: [String], response: String?)

    static let forgetful = "permessage-deflate; server_no_context_takeover; client_no_context_takeover"

    @Test(
        "A server without takeover and with a window of 12 bits answers each offer",
        arguments: [
            ([], nil), ([""], nil), ([" , ,"], nil), (["permessage-foo"], nil), (["x-webkit-deflate-frame"], nil), (["Permessage-Deflate"], nil),
            // Simplest; what Chrome and Firefox send; and what Safari did.
            (["permessage-deflate"], forgetful), (["permessage-deflate; client_max_window_bits"], forgetful),
            (["x-webkit-deflate-frame, permessage-deflate;client_max_window_bits"], forgetful),
            (["permessage-deflate; client_no_context_takeover; server_no_context_takeover"], forgetful),
            // §7.1.2.1: the same or smaller, and always said.
            (["permessage-deflate; server_max_window_bits=15"], forgetful + "; server_max_window_bits=12"),
            (["permessage-deflate; server_max_window_bits=12"], forgetful + "; server_max_window_bits=12"),
            (["permessage-deflate; server_max_window_bits=9"], forgetful + "; server_max_window_bits=9"),
            // zlib has no raw 8: declined, and the next offer taken.
            (["permessage-deflate; server_max_window_bits=8"], nil),
            (["permessage-deflate; server_max_window_bits=8, permessage-deflate"], forgetful),
            // §7.1.2.2: a bound of the client's own is repeated.
            (["permessage-deflate; client_max_window_bits=8"], forgetful + "; client_max_window_bits=8"),
            (["permessage-deflate; client_max_window_bits=15"], forgetful + "; client_max_window_bits=15"),
            (
                ["permessage-deflate; client_max_window_bits=10; server_max_window_bits=10"],
                forgetful + "; server_max_window_bits=10; client_max_window_bits=10"
            ),
            // §7.1.3's list of two.
            (
                ["permessage-deflate; client_max_window_bits; server_max_window_bits=10, permessage-deflate; client_max_window_bits"],
                forgetful + "; server_max_window_bits=10"
            ),
            // Several headers are one list; others' extensions are passed over.
            (["permessage-foo; a; b=\"c\"", "permessage-deflate"], forgetful),
            (["permessage-foo; server_max_window_bits=8 , permessage-deflate; server_max_window_bits=11"], forgetful + "; server_max_window_bits=11"),
            // White space and quotes.
            (["\tpermessage-deflate \t;\tserver_max_window_bits = \"10\" ,"], forgetful + "; server_max_window_bits=10"),
            (["permessage-deflate;server_max_window_bits=\"\\1\\0\""], forgetful + "; server_max_window_bits=10"),
        ] as [Row]
    )
    func aServerAnswersEachOffer(row: Row) throws {
        let agreement = try DeflateNegotiator().answer(row.offers)
        #expect(agreement?.headerValue == row.response)
    }

    @Test(
        "An offer with a parameter that is unknown, repeated or ill-valued is declined (§7.1), and the next one taken",
        arguments: [
            "foo", "foo=1", "server_no_context_takeover=1", "client_no_context_takeover=true", "server_no_context_takeover=\"x\"",
            "server_no_context_takeover; server_no_context_takeover", "client_no_context_takeover; client_no_context_takeover",
            "server_max_window_bits", "server_max_window_bits=7", "server_max_window_bits=16", "server_max_window_bits=08",
            "server_max_window_bits=010", "server_max_window_bits=-9", "server_max_window_bits=+9", "server_max_window_bits=1e1",
            "server_max_window_bits=0x9", "server_max_window_bits=99999999999999999999", "server_max_window_bits=10; server_max_window_bits=10",
            "client_max_window_bits=7", "client_max_window_bits=16", "client_max_window_bits=09", "client_max_window_bits=ten",
            "client_max_window_bits; client_max_window_bits=10", "Server_max_window_bits=10", "server_max_window_bits=10; foo",
        ]
    )
    func anIllOfferIsDeclined(parameters: String) throws {
        #expect(try DeflateNegotiator().answer(["permessage-deflate; \(parameters)"]) == nil)
        #expect(try DeflateNegotiator().answer(["permessage-deflate; \(parameters), permessage-deflate"])?.headerValue == Self.forgetful)
    }

    @Test(
        "A header that is not in the grammar fails the handshake (RFC 6455 §9.1)",
        arguments: [
            ";", "=", "permessage-deflate;", "permessage-deflate;;a", "permessage-deflate; a=", "permessage-deflate; =a",
            "permessage-deflate a", "permessage-deflate; a b", "permessage-deflate; a=b c", "permessage-deflate; a=\"", "permessage-deflate; a=\"b",
            "permessage-deflate; a=\"\"", "permessage-deflate; a=\"b\\", "permessage-deflate; a=\"b c\"", "permessage-deflate; a=\"b,c\"",
            "permessage-deflate; a=\"b\\\"c\"", "permessage-deflate; a=\"b\"c", "permessage-deflate; a==b", "permessage/deflate", "é",
            "permessage-deflate; a=\u{7f}", "permessage-deflate, ;", "\"permessage-deflate\"",
        ]
    )
    func aHeaderOutsideTheGrammarFails(value: String) {
        #expect(throws: WebSocketExtensionError.self) { try DeflateNegotiator().answer([value]) }
        #expect(throws: WebSocketExtensionError.self) { try DeflateNegotiator().accept([value]) }
    }

    @Test("A disabled server says nothing to any header")
    func aDisabledServerSaysNothing() throws {
        #expect(try DeflateNegotiator(.disabled).answer(["permessage-deflate", ";;"]) == nil)
        #expect(DeflateNegotiator(.disabled).offer == nil)
    }

    @Test(
        "A server that allows takeover says only what it was asked",
        arguments: [
            ("permessage-deflate", "permessage-deflate"),
            ("permessage-deflate; client_max_window_bits", "permessage-deflate; client_max_window_bits=11"),
            ("permessage-deflate; client_max_window_bits=9", "permessage-deflate; client_max_window_bits=9"),
            ("permessage-deflate; server_no_context_takeover", "permessage-deflate; server_no_context_takeover"),
            ("permessage-deflate; client_no_context_takeover", "permessage-deflate; client_no_context_takeover"),
            ("permessage-deflate; server_max_window_bits=15", "permessage-deflate; server_max_window_bits=15"),
        ]
    )
    func aServerThatAllowsTakeover(offer: String, response: String) throws {
        var policy = DeflatePolicy.takeover
        policy.maxWindowBits = 15
        policy.peerMaxWindowBits = 11
        #expect(try DeflateNegotiator(policy).answer([offer])?.headerValue == response)
    }

    // MARK: Client

    @Test("A client offers what its policy says")
    func aClientOffersItsPolicy() {
        #expect(
            DeflateNegotiator().offer == "permessage-deflate; server_no_context_takeover; client_no_context_takeover; client_max_window_bits=12"
        )
        var policy = DeflatePolicy.takeover
        policy.maxWindowBits = 15
        #expect(DeflateNegotiator(policy).offer == "permessage-deflate; client_max_window_bits")
        policy.peerMaxWindowBits = 10
        #expect(DeflateNegotiator(policy).offer == "permessage-deflate; server_max_window_bits=10; client_max_window_bits")
    }

    @Test("A client takes a response that keeps to its offer")
    func aClientTakesAResponse() throws {
        let plain = DeflateNegotiator(.takeover)
        #expect(try plain.accept([]) == nil)
        #expect(try plain.accept(["permessage-deflate"]) == DeflateParameters(clientMaxWindowBits: 12))
        // Unasked, but allowed (§7.1.1.1, §7.1.1.2, §7.1.2.1).
        #expect(
            try plain.accept(["permessage-deflate; server_no_context_takeover; client_no_context_takeover; server_max_window_bits=8"])
                == DeflateParameters(serverNoContextTakeover: true, clientNoContextTakeover: true, serverMaxWindowBits: 8, clientMaxWindowBits: 12)
        )
        #expect(try plain.accept(["permessage-deflate; client_max_window_bits=\"9\""]) == DeflateParameters(clientMaxWindowBits: 9))
        // A larger bound than its own leaves it at its own.
        #expect(try plain.accept(["permessage-deflate; client_max_window_bits=15"]) == DeflateParameters(clientMaxWindowBits: 12))
        #expect(
            try DeflateNegotiator().accept(["permessage-deflate; server_no_context_takeover"])
                == DeflateParameters(serverNoContextTakeover: true, clientNoContextTakeover: true, clientMaxWindowBits: 12)
        )
    }

    @Test(
        "A client fails the connection at a response that does not",
        arguments: [
            "permessage-foo", "permessage-deflate, permessage-foo", "permessage-deflate, permessage-deflate", "permessage-deflate; foo",
            "permessage-deflate; client_max_window_bits", "permessage-deflate; client_max_window_bits=7",
            "permessage-deflate; client_max_window_bits=16",
            "permessage-deflate; server_max_window_bits", "permessage-deflate; server_max_window_bits=16",
            "permessage-deflate; server_no_context_takeover=1", "permessage-deflate; client_no_context_takeover; client_no_context_takeover",
        ]
    )
    func aClientFailsAtAWrongResponse(response: String) {
        #expect(throws: WebSocketExtensionError.self) { try DeflateNegotiator(.takeover).accept([response]) }
    }

    @Test("A client fails the connection when what it asked for is missing, or was never offered")
    func aClientFailsWhenWhatItAskedForIsMissing() throws {
        #expect(throws: WebSocketExtensionError.self) { try DeflateNegotiator().accept(["permessage-deflate"]) }
        let bounded = DeflateNegotiator(.with { $0.peerMaxWindowBits = 10 })
        let answer = "permessage-deflate; server_no_context_takeover; client_no_context_takeover"
        #expect(throws: WebSocketExtensionError.self) { try bounded.accept([answer]) }
        #expect(throws: WebSocketExtensionError.self) { try bounded.accept([answer + "; server_max_window_bits=11"]) }
        #expect(try bounded.accept([answer + "; server_max_window_bits=9"])?.serverMaxWindowBits == 9)
        #expect(throws: WebSocketExtensionError.self) { try DeflateNegotiator(.disabled).accept(["permessage-deflate"]) }
        // §7.1.2.2: not without the parameter in the offer. Our offers always have it.
        var offer = DeflateOffer(.takeover)
        offer.clientMaxWindowBits = nil
        let parameters = try WebSocketExtension.list(["permessage-deflate; client_max_window_bits=10"])[0].parameters
        #expect(throws: WebSocketExtensionError.self) { try DeflateResponse(parsing: parameters, to: offer) }
    }

    @Test("Whatever the two policies, both sides agree on the same parameters or on none")
    func bothSidesAgree() throws {
        for bits in 9...15 {
            for peerBits in 8...15 {
                for takeover in 0..<16 {
                    let server = DeflatePolicy.with { policy in
                        policy.maxWindowBits = bits
                        policy.peerMaxWindowBits = peerBits
                        policy.allowsContextTakeover = takeover & 1 != 0
                        policy.allowsPeerContextTakeover = takeover & 2 != 0
                    }
                    let client = DeflatePolicy.with { policy in
                        policy.maxWindowBits = 9 + (bits + peerBits) % 7
                        policy.peerMaxWindowBits = 8 + (bits * peerBits) % 8
                        policy.allowsContextTakeover = takeover & 4 != 0
                        policy.allowsPeerContextTakeover = takeover & 8 != 0
                    }
                    let agreement = try DeflateNegotiator(server).answer([DeflateNegotiator(client).offer!])
                    #expect((agreement == nil) == (client.peerMaxWindowBits == 8))
                    guard let agreement else { continue }
                    let parameters = agreement.parameters
                    #expect(try DeflateNegotiator(client).accept([agreement.headerValue]) == parameters)
                    #expect(parameters.serverNoContextTakeover != (server.allowsContextTakeover && client.allowsPeerContextTakeover))
                    #expect(parameters.clientNoContextTakeover != (client.allowsContextTakeover && server.allowsPeerContextTakeover))
                    #expect(parameters.serverMaxWindowBits <= client.peerMaxWindowBits)
                    #expect(parameters.clientMaxWindowBits <= min(peerBits, client.maxWindowBits))
                }
            }
        }
    }
}
