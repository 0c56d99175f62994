import NIOCore
import TestSupport
import Testing

@testable import Wire

/// Classes 12 and 13 of the Autobahn test suite, with a few messages instead of a thousand: a client that offers what each case offers, and sends
/// messages that come back as they went.
@Suite("Autobahn 12–13: permessage-deflate")
struct AutobahnDeflateTests {
    /// Message size, frame size (0: one frame), how many.
    static let shapes = [
        (16, 0, 50), (64, 0, 50), (256, 0, 50), (1024, 0, 20), (4096, 0, 10), (8192, 0, 5), (16384, 0, 4), (32768, 0, 2), (65536, 0, 2),
        (131_072, 0, 1),
        (8192, 256, 4), (16384, 256, 2), (32768, 1024, 2), (65536, 4096, 1), (131_072, 32768, 1),
    ]

    /// What the client asks of the server, best first: whether to forget, and a window (0: says nothing).
    static let offers: [(id: String, offers: [(forgets: Bool, bits: Int)])] = [
        ("12, 13.1", [(false, 0)]), ("13.2", [(true, 0)]), ("13.3", [(false, 9)]), ("13.4", [(false, 15)]), ("13.5", [(true, 9)]),
        ("13.6", [(true, 15)]),
        ("13.7", [(true, 9), (true, 0), (false, 0)]), ("a window zlib has not", [(false, 8), (true, 15)]),
    ]

    @Test("Every offer is answered, and every message comes back", arguments: offers, [false, true])
    func everyMessageComesBack(row: (id: String, offers: [(forgets: Bool, bits: Int)]), allowsTakeover: Bool) throws {
        var random = SeededGenerator.fresh()
        let header = row.offers.map { offer in
            "permessage-deflate; client_max_window_bits" + (offer.forgets ? "; server_no_context_takeover" : "")
                + (offer.bits == 0 ? "" : "; server_max_window_bits=\(offer.bits)")
        }
        let policy = DeflatePolicy.with { policy in
            policy.maxWindowBits = 15
            policy.allowsContextTakeover = allowsTakeover
            policy.allowsPeerContextTakeover = allowsTakeover
        }
        let agreement = try #require(try DeflateNegotiator(policy).answer([header.joined(separator: ", ")]))
        let taken = row.offers.first { $0.bits != 8 }!
        #expect(agreement.parameters.serverNoContextTakeover == (taken.forgets || !allowsTakeover), "case \(row.id)")
        #expect(agreement.parameters.serverMaxWindowBits == (taken.bits == 0 ? 15 : taken.bits), "case \(row.id)")

        let server = WebSocketDeflate(agreement.parameters, role: .server, pool: DeflatePool(policy))
        let client = WebSocketDeflate(agreement.parameters, role: .client, pool: DeflatePool(policy))
        var toServer = WebSocketFrameParser(role: .server, maxFrameBytes: 1 << 18, maxMessageBytes: 1 << 18, inflater: server.inflater)
        var toClient = WebSocketFrameParser(role: .client, maxFrameBytes: 1 << 18, maxMessageBytes: 1 << 18, inflater: client.inflater)
        for (size, frameSize, count) in Self.shapes {
            let kind = Payload.allCases.randomElement(using: &random)!
            for _ in 0..<count {
                let payload = kind.bytes(size, &random)
                let compressed = client.deflater!.deflated(payload)
                let stream = fragmented(kind.isText ? 1 : 2, compressed, size: frameSize == 0 ? compressed.count : frameSize, isCompressed: true)
                toServer.append(stream.buffer)
                let message = try #require(try toServer.next())
                #expect(message == (kind.isText ? .text(payload.buffer) : .binary(payload.buffer)), "case \(row.id) PLANTAO_SEED=\(random.seed)")
                switch message {
                case .text(let text): toClient.append(server.text(text))
                case .binary(let data): toClient.append(server.binary(data))
                default: Issue.record("a control frame")
                }
                #expect(try toClient.next() == message, "case \(row.id) PLANTAO_SEED=\(random.seed)")
            }
        }
    }
}
