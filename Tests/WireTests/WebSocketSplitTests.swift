import NIOCore
import TestSupport
import Testing

@testable import Wire

/// A stream gives the same messages however the network cuts it.
@Suite("WebSocket frames, cut")
struct WebSocketSplitTests {
    /// What a stream gives: its messages and how it ended.
    struct Outcome: Equatable {
        var messages: [WebSocketMessage] = []
        var violation: WebSocketViolation?
    }

    static let streams: [[UInt8]] = {
        var lengths = masked(0x82, (0..<126).map { UInt8($0) }) + masked(0x81, String(repeating: "é", count: 100).bytes)
        lengths += masked(0x82, [UInt8](repeating: 3, count: 300))
        let talk =
            masked(0x81, "{}".bytes) + masked(0x01, "pão ".bytes.dropLast(2)) + masked(0x89, "?".bytes) + masked(0x80, [0xa3, 0x6f, 0x20])
            + masked(0x88, [0x03, 0xe9] + "até".bytes)
        return [
            lengths, talk, masked(0x81, [0x61, 0xff]) + masked(0x81, "x".bytes), masked(0x81, "ok".bytes) + [0x91, 0x80],
            masked(0x01, "a".bytes) + masked(0x81, "b".bytes),
            masked(0x88, [0x03]),
        ]
    }()

    @Test("Every place to cut once gives the same", arguments: streams)
    func everyCutGivesTheSame(stream: [UInt8]) {
        let whole = outcome([stream])
        for cut in 0...stream.count { #expect(outcome([Array(stream[..<cut]), Array(stream[cut...])]) == whole, "cut at \(cut)") }
    }

    @Test("Byte by byte gives the same", arguments: streams)
    func byteByByteGivesTheSame(stream: [UInt8]) {
        #expect(outcome(stream.map { [$0] }) == outcome([stream]))
        #expect(outcome(stream.map { [$0] }, drainsEachTime: false) == outcome([stream]))
    }

    @Test("Random streams cut at random give the same, and never crash or hoard")
    func randomStreamsGiveTheSame() {
        var random = SeededGenerator.fresh()
        for _ in 0..<3000 {
            var stream: [UInt8] = []
            for _ in 0..<Int.random(in: 1...6, using: &random) {
                let first =
                    Bool.random(using: &random)
                    ? [0x81, 0x82, 0x01, 0x80, 0x00, 0x89, 0x88].randomElement(using: &random)! : UInt8.random(in: .min ... .max, using: &random)
                let payload = (0..<[0, 1, 2, 5, 130].randomElement(using: &random)!).map { _ in UInt8.random(in: 0...0x7f, using: &random) }
                stream += masked(first, payload, key: (0..<4).map { _ in UInt8.random(in: .min ... .max, using: &random) })
            }
            if Int.random(in: 0..<4, using: &random) == 0 {
                stream[Int.random(in: 0..<stream.count, using: &random)] ^= 1 << UInt8.random(in: 0..<8, using: &random)
            }
            var pieces: [[UInt8]] = []
            var rest = stream[...]
            while !rest.isEmpty {
                let count = Int.random(in: 1...min(rest.count, 40), using: &random)
                pieces.append(Array(rest.prefix(count)))
                rest = rest.dropFirst(count)
            }
            let whole = outcome([stream], max: 256)
            #expect(outcome(pieces, max: 256) == whole, "PLANTAO_SEED=\(random.seed)")
            #expect(outcome(pieces, max: 256, drainsEachTime: false) == whole, "PLANTAO_SEED=\(random.seed)")
        }
    }

    @Test("Random bytes never crash")
    func randomBytesNeverCrash() {
        var random = SeededGenerator.fresh()
        for _ in 0..<5000 {
            let bytes = (0..<Int.random(in: 1...64, using: &random)).map { _ in UInt8.random(in: .min ... .max, using: &random) }
            for role in [WebSocketFrameParser.Role.server, .client] { _ = try? read(bytes, role: role, max: 100) }
        }
    }

    private func outcome(_ pieces: [[UInt8]], max: Int = 65536, drainsEachTime: Bool = true) -> Outcome {
        var parser = WebSocketFrameParser(maxFrameBytes: max, maxMessageBytes: max)
        var outcome = Outcome()
        for piece in pieces {
            parser.append(ByteBuffer(bytes: piece))
            if drainsEachTime { drain(&parser, &outcome) }
            if drainsEachTime { #expect(parser.heldBytes <= max + WebSocketFrameHeader.maxSize + WebSocketFrameHeader.maxControlLength) }
        }
        drain(&parser, &outcome)
        return outcome
    }

    private func drain(_ parser: inout WebSocketFrameParser, _ outcome: inout Outcome) {
        guard outcome.violation == nil else { return }
        do throws(WebSocketViolation) {
            while let message = try parser.next() { outcome.messages.append(message) }
        } catch {
            outcome.violation = error
            #expect(throws: error) { try parser.next() }  // and it stays so
        }
    }
}
