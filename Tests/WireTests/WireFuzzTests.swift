import Foundation
import NIOCore
import TestSupport
import Testing

@testable import Wire

/// Random bytes and damaged streams, against everything that reads from the network. A quarter of a second each; `PLANTAO_FUZZ_SECONDS` makes it
/// longer, and `PLANTAO_SEED` repeats one.
@Suite("Whatever arrives, nothing crashes and nothing grows")
struct WireFuzzTests {
    static let maxFrame = 2000
    static let maxMessage = 3000

    @Test("Frames, without deflate")
    func frames() {
        fuzz { random in
            let stream = damaged(Self.stream(&random, deflater: nil), &random)
            Self.feed(
                stream,
                WebSocketFrameParser(
                    role: Bool.random(using: &random) ? .server : .client,
                    maxFrameBytes: Self.maxFrame,
                    maxMessageBytes: Self.maxMessage
                ),
                &random
            )
        }
    }

    @Test("Frames, with deflate")
    func framesWithDeflate() {
        let pool = DeflatePool(.with { _ in })
        fuzz { random in
            let seed = random.seed
            let takesContextOver = Bool.random(using: &random)
            let deflater = MessageDeflater(windowBits: Int.random(in: 9...15, using: &random), takesContextOver: takesContextOver)
            let stream = damaged(Self.stream(&random, deflater: deflater), &random)
            let inflater = MessageInflater(
                windowBits: Int.random(in: 8...15, using: &random),
                takesContextOver: takesContextOver,
                maxMessageBytes: Self.maxMessage,
                pool: Bool.random(using: &random) ? pool : nil
            )
            Self.feed(stream, WebSocketFrameParser(maxFrameBytes: Self.maxFrame, maxMessageBytes: Self.maxMessage, inflater: inflater), &random)
            #expect(pool.idleInflaterCount <= DeflatePool.maxIdleInflaters, "PLANTAO_SEED=\(seed)")
        }
    }

    @Test("The inflater")
    func inflater() {
        fuzz { random in
            let seed = random.seed
            let inflater = MessageInflater(max: Self.maxMessage, takesContextOver: Bool.random(using: &random))
            let deflater = MessageDeflater(windowBits: 15, takesContextOver: false, .with { $0.level = Int.random(in: 1...9, using: &random) })
            for _ in 0..<4 {
                let data =
                    Bool.random(using: &random)
                    ? Self.noise(Int.random(in: 0...200, using: &random), &random)
                    : damaged(
                        deflater.deflated(Payload.allCases.randomElement(using: &random)!.bytes(Int.random(in: 0...4000, using: &random), &random)),
                        &random
                    )
                var total = 0
                do throws(WebSocketViolation) {
                    for piece in data.cut(upTo: 300, using: &random) {
                        try piece.buffer.withUnsafeReadableBytes { (bytes) throws(WebSocketViolation) in
                            try inflater.inflate(bytes) { chunk in total += chunk.count }
                        }
                    }
                    try inflater.finish { chunk in total += chunk.count }
                } catch {
                    #expect([1007, 1009].contains(error.code), "PLANTAO_SEED=\(seed)")
                    inflater.abandon()
                    #expect(!inflater.isHoldingStream, "PLANTAO_SEED=\(seed)")
                }
                #expect(total <= Self.maxMessage, "PLANTAO_SEED=\(seed)")
            }
        }
    }

    @Test("Extension headers")
    func extensionHeaders() {
        let words = [
            "permessage-deflate", "server_max_window_bits", "client_max_window_bits", "server_no_context_takeover", ";", "=", ",", "\"", "\\", "10",
            "8", " ", "é",
        ]
        let negotiators = [DeflateNegotiator(), DeflateNegotiator(.takeover)]
        fuzz { random in
            let header = (0..<Int.random(in: 0...12, using: &random)).map { _ in words.randomElement(using: &random)! }.joined()
            for negotiator in negotiators {
                _ = try? negotiator.answer([header])
                _ = try? negotiator.accept([header])
            }
        }
    }

    @Test("Centrifuge commands and replies")
    func centrifuge() {
        fuzz { random in
            let seed = random.seed
            var frame: [UInt8] = []
            for _ in 0..<Int.random(in: 0...3, using: &random) {
                frame += CentrifugeCommandTests.golden.randomElement(using: &random)!.0.bytes + [0x0a]
            }
            if Int.random(in: 0..<4, using: &random) == 0 { frame = Self.noise(Int.random(in: 0...100, using: &random), &random) }
            if Int.random(in: 0..<8, using: &random) == 0 {
                frame += [UInt8](repeating: [0x5b, 0x7b, 0x22, 0x5c].randomElement(using: &random)!, count: Int.random(in: 0...2000, using: &random))
            }
            let stream = damaged(frame, &random)
            if let commands = try? ClientCommand.decode(stream) {
                #expect(commands.count <= ClientCommand.maxPerFrame, "PLANTAO_SEED=\(seed)")
                // What was understood is understood again.
                #expect((try? ClientCommand.decode(ClientCommand.encode(commands))) == commands, "PLANTAO_SEED=\(seed)")
            }
            _ = try? CentrifugeReply.decode(stream)
            _ = try? EmulationRequest.decode(stream)
        }
    }

    // MARK: Streams

    private static func stream(_ random: inout SeededGenerator, deflater: MessageDeflater?) -> [UInt8] {
        if Int.random(in: 0..<8, using: &random) == 0 { return noise(Int.random(in: 0...300, using: &random), &random) }
        var stream: [UInt8] = []
        for _ in 0..<Int.random(in: 1...5, using: &random) {
            let kind = Payload.allCases.randomElement(using: &random)!
            let message = kind.bytes([0, 1, 125, 126, 700, 3500].randomElement(using: &random)!, &random)
            let deflater = Bool.random(using: &random) ? deflater : nil
            let data = deflater?.deflated(message) ?? message
            let size = [1, 20, 1000, 5000].randomElement(using: &random)!
            stream += fragmented(
                kind.isText ? 1 : 2,
                size == 1 && data.count > 200 ? Array(data.prefix(200)) : data,
                size: size,
                isCompressed: deflater != nil
            )
            if Int.random(in: 0..<3, using: &random) == 0 {
                stream += masked(
                    [0x89, 0x8a, 0x88, 0x80, 0xc9].randomElement(using: &random)!,
                    noise(Int.random(in: 0...126, using: &random), &random)
                )
            }
        }
        return stream
    }

    private static func noise(_ count: Int, _ random: inout SeededGenerator) -> [UInt8] {
        (0..<count).map { _ in UInt8.random(in: .min ... .max, using: &random) }
    }

    /// Flips, drops, doubles or cuts, now and then nothing.
    private func damaged(_ stream: [UInt8], _ random: inout SeededGenerator) -> [UInt8] {
        var stream = stream
        for _ in 0..<Int.random(in: 0...3, using: &random) where !stream.isEmpty {
            let at = Int.random(in: 0..<stream.count, using: &random)
            switch Int.random(in: 0..<5, using: &random) {
            case 0: stream[at] ^= 1 << UInt8.random(in: 0..<8, using: &random)
            case 1: stream[at] = UInt8.random(in: .min ... .max, using: &random)
            case 2: stream.remove(at: at)
            case 3: stream.insert(contentsOf: stream[at..<min(at + 40, stream.count)], at: at)
            default: stream.removeLast(stream.count - at)
            }
        }
        return stream
    }

    private static func feed(_ stream: [UInt8], _ parser: WebSocketFrameParser, _ random: inout SeededGenerator) {
        let seed = random.seed
        var parser = parser
        var hasEnded = false
        for piece in stream.cut(upTo: 900, using: &random) {
            parser.append(piece.buffer)
            do throws(WebSocketViolation) {
                while let message = try parser.next() {
                    #expect(!hasEnded, "a message after the end, PLANTAO_SEED=\(seed)")
                    switch message {
                    case .text(let payload):
                        #expect(payload.readableBytes <= maxMessage, "PLANTAO_SEED=\(seed)")
                        #expect(String(validating: payload.readableBytesView, as: UTF8.self) != nil, "PLANTAO_SEED=\(seed)")
                    case .binary(let payload): #expect(payload.readableBytes <= maxMessage, "PLANTAO_SEED=\(seed)")
                    case .ping(let payload), .pong(let payload): #expect(payload.readableBytes <= 125, "PLANTAO_SEED=\(seed)")
                    case .close: hasEnded = true
                    }
                }
            } catch {
                #expect([1002, 1007, 1009].contains(error.code), "PLANTAO_SEED=\(seed)")
                hasEnded = true
            }
            #expect(
                parser.heldBytes <= (hasEnded ? 0 : maxMessage + WebSocketFrameHeader.maxSize + WebSocketFrameHeader.maxControlLength),
                "PLANTAO_SEED=\(seed)"
            )
        }
    }

    /// Runs `body` with one seed after another until the time is over.
    private func fuzz(_ test: String = #function, _ body: (inout SeededGenerator) -> Void) {
        let long = ProcessInfo.processInfo.environment["PLANTAO_FUZZ_SECONDS"].flatMap { Double($0) }
        var seeds = SeededGenerator.fresh(test)
        let clock = ContinuousClock()
        let end = clock.now + .seconds(long ?? 0.25)
        var rounds = 0
        repeat {
            // The first round's seed is the one printed.
            var random = rounds == 0 ? SeededGenerator(seed: seeds.seed) : SeededGenerator(seed: seeds.next())
            body(&random)
            rounds += 1
        } while clock.now < end
        if long != nil { print("\(test): \(rounds) rounds") }
    }
}
