import NIOCore
import TestSupport
import Testing

@testable import Wire

@Suite("permessage-deflate, in frames")
struct DeflateFrameTests {
    /// Small streams with everything in them: fragments, control frames between, characters cut, plain messages, violations.
    static let streams: [[UInt8]] = {
        let hello = DeflateExampleTests.hello
        let deflater = MessageDeflater(windowBits: 15, takesContextOver: false)
        let text = deflater.deflated("pão, κόσμε, 😀, pão, κόσμε, 😀".bytes)
        let long = deflater.deflated([UInt8](repeating: 0x61, count: 3000))
        let noise = deflater.deflated((0..<200).map { UInt8(truncatingIfNeeded: $0 &* $0 &* 31) })
        return [
            masked(0xc1, hello) + masked(0xc1, hello) + masked(0x81, "{}".bytes) + masked(0xc2, [0x00]),
            masked(0x41, text.prefix(5)) + masked(0x89, "?".bytes) + masked(0x00, []) + masked(0x8a, []) + masked(0x80, text.dropFirst(5))
                + masked(0x88, [0x03, 0xe8]),
            masked(0xc1, long) + masked(0xc2, noise),
            masked(0xc1, [0xf3, 0x48, 0xcd, 0xc9, 0xc9, 0x07, 0x00, 0x00]) + masked(0xc1, hello),
            masked(0xc1, hello) + masked(0xc1, deflater.deflated("olá".bytes + [0xff])) + masked(0xc1, hello),
            masked(0x41, hello) + masked(0xc0, []), masked(0xc1, hello.dropLast(3)) + masked(0x81, []), masked(0xc1, hello) + masked(0xc9, []),
        ]
    }()

    @Test("Every place to cut a compressed stream gives the same", arguments: streams, [false, true])
    func everyCutGivesTheSame(stream: [UInt8], takesContextOver: Bool) {
        let whole = outcome([stream], takesContextOver)
        for cut in 0...stream.count {
            #expect(outcome([Array(stream[..<cut]), Array(stream[cut...])], takesContextOver) == whole, "cut at \(cut)")
        }
        #expect(outcome(stream.map { [$0] }, takesContextOver) == whole)
        #expect(outcome(stream.map { [$0] }, takesContextOver, drainsEachTime: false) == whole)
    }

    @Test("Two cuts anywhere give the same")
    func twoCutsGiveTheSame() {
        let stream = Self.streams[1]
        let whole = outcome([stream], false)
        for first in 0...stream.count {
            for second in first...stream.count {
                let pieces = [Array(stream[..<first]), Array(stream[first..<second]), Array(stream[second...])]
                #expect(outcome(pieces, false) == whole, "cut at \(first) and \(second)")
            }
        }
    }

    @Test("Random histories, cut at random in frames and pieces, give the same messages", arguments: [false, true])
    func randomHistoriesGiveTheSame(takesContextOver: Bool) {
        var random = SeededGenerator.fresh()
        for _ in 0..<60 {
            let deflater = MessageDeflater(windowBits: Int.random(in: 9...15, using: &random), takesContextOver: takesContextOver)
            var stream: [UInt8] = []
            var expected: [WebSocketMessage] = []
            for _ in 0..<6 {
                let kind = Payload.allCases.randomElement(using: &random)!
                let message = kind.bytes([0, 1, 30, 300, 3000].randomElement(using: &random)!, &random)
                expected.append(kind.isText ? .text(message.buffer) : .binary(message.buffer))
                let isCompressed = Bool.random(using: &random)
                let data = isCompressed ? deflater.deflated(message) : message
                let frames = data.isEmpty ? [[]] : data.cut(upTo: max(1, data.count), using: &random)
                for (index, piece) in frames.enumerated() {
                    var first: UInt8 = index == 0 ? (kind.isText ? 1 : 2) | (isCompressed ? 0x40 : 0) : 0
                    if index == frames.count - 1 { first |= 0x80 }
                    stream += masked(first, piece, key: (0..<4).map { _ in UInt8.random(in: .min ... .max, using: &random) })
                    if index < frames.count - 1, Bool.random(using: &random) {
                        stream += masked(0x89, [UInt8(index & 0xff)])
                        expected.insert(.ping(ByteBuffer(bytes: [UInt8(index & 0xff)])), at: expected.count - 1)
                    }
                }
            }
            let pieces = stream.cut(upTo: 700, using: &random)
            for drainsEachTime in [true, false] {
                let outcome = outcome(pieces, takesContextOver, drainsEachTime: drainsEachTime)
                #expect(outcome.messages == expected && outcome.violation == nil, "PLANTAO_SEED=\(random.seed)")
            }
        }
    }

    @Test("Compressed frames carry RSV1 and the shortest length, masked or not, at every length where the header changes")
    func compressedFramesAreWellFormed() throws {
        var random = SeededGenerator(seed: 5)
        let deflater = MessageDeflater(windowBits: 15, takesContextOver: true, .with { _ in })
        for size in [1, 100, 125, 126, 127, 128, 3000, 65_500, 65_535, 65_536, 70_000] {
            let message = Payload.noise.bytes(size, &random)
            let compressed = MessageDeflater(windowBits: 15, takesContextOver: false, .with { _ in }).deflated(message)
            for mask in [nil, WebSocketMask(key: 0x1234_5678)] {
                let fresh = MessageDeflater(windowBits: 15, takesContextOver: true, .with { _ in })
                let frame = WebSocketFrame.binary(message, deflater: fresh, mask: mask)
                let headerSize = WebSocketFrame.headerSize(compressed.count, isMasked: mask != nil)
                #expect(frame.readableBytes == headerSize + compressed.count)
                #expect(frame.readableBytesView.first == 0xc2)
                var parser = WebSocketFrameParser(
                    role: mask == nil ? .client : .server,
                    maxFrameBytes: 1 << 17,
                    inflater: MessageInflater(takesContextOver: true)
                )
                parser.append(frame)
                #expect(try parser.next() == .binary(message.buffer))
            }
        }
        #expect(WebSocketFrame.text("{}".bytes, deflater: nil) == WebSocketFrame.text("{}"))
        #expect(
            WebSocketFrame.text(ByteBuffer(string: "{}"), deflater: MessageDeflater(windowBits: 9, takesContextOver: true))
                == WebSocketFrame.text("{}")
        )
        #expect(WebSocketFrame.text([], deflater: deflater).readableBytesView.elementsEqual([0xc1, 0x01, 0x00]))
    }

    @Test("A message that does not shrink goes out plain, unless it is part of a context")
    func whatDoesNotShrinkGoesOutPlain() {
        var random = SeededGenerator(seed: 9)
        let noise = Payload.noise.bytes(1000, &random)
        #expect(WebSocketFrame.binary(noise, deflater: MessageDeflater(windowBits: 12, takesContextOver: false)) == WebSocketFrame.binary(noise))
        let kept = WebSocketFrame.binary(noise, deflater: MessageDeflater(windowBits: 12, takesContextOver: true))
        #expect(kept.readableBytesView.first == 0xc2)
    }

    @Test("A connection that did not agree on deflate pays one pointer for it")
    func aPlainConnectionPaysOnePointer() {
        #expect(MemoryLayout<WebSocketFrameParser>.size == 160 + MemoryLayout<UnsafeRawPointer>.size)
    }

    @Test("An event loop's connections take their streams from one pool, and leave at most two there")
    func streamsArePooled() throws {
        let pool = DeflatePool(.with { _ in })
        let parameters = DeflateParameters(serverNoContextTakeover: true, clientNoContextTakeover: true)
        let connections = (0..<5).map { _ in WebSocketDeflate(parameters, role: .server, pool: pool) }
        var parsers = connections.map { WebSocketFrameParser(inflater: $0.inflater) }
        for index in parsers.indices {
            parsers[index].append(masked(0x41, DeflateExampleTests.hello.prefix(3)).buffer)
            #expect(try parsers[index].next() == nil)
        }
        #expect(connections.allSatisfy(\.inflater.isHoldingStream) && pool.idleInflaterCount == 0)
        for index in parsers.indices {
            parsers[index].append(masked(0x80, DeflateExampleTests.hello.dropFirst(3)).buffer)
            #expect(try parsers[index].next() == .text("Hello"))
        }
        #expect(!connections.contains(where: \.inflater.isHoldingStream) && pool.idleInflaterCount == DeflatePool.maxIdleInflaters)
        #expect(connections.allSatisfy { $0.deflater === connections[0].deflater })
        // A stream that met a violation is as good as new for the next.
        for _ in 0..<3 {
            #expect(throws: WebSocketViolation.self) { try connections[0].inflater.inflated([0x06]) }
            #expect(try connections[1].inflater.inflated(DeflateExampleTests.hello) == "Hello".bytes)
        }
    }

    private func outcome(_ pieces: [[UInt8]], _ takesContextOver: Bool, drainsEachTime: Bool = true) -> Outcome {
        Outcome(pieces, deflateParser(takesContextOver: takesContextOver), drainsEachTime: drainsEachTime)
    }
}
