import NIOCore
import TestSupport
import Testing

@testable import Wire

@Suite("permessage-deflate, refused")
struct DeflateViolationTests {
    @Test(
        "A reserved bit anywhere but on the first frame of a data message is a protocol error (RFC 7692 §6)",
        arguments: [
            ("RSV1 on a ping", masked(0xc9, [])), ("RSV1 on a pong", masked(0xca, [])), ("RSV1 on a close", masked(0xc8, [])),
            ("RSV1 on a continuation", masked(0x41, []) + masked(0xc0, [])), ("RSV1 on a fragment that goes on", masked(0x01, []) + masked(0x40, [])),
            ("RSV1 on a continuation of nothing", masked(0xc0, [])), ("RSV2", masked(0xa1, [])), ("RSV3", masked(0x91, [])),
            ("RSV1 and RSV2", masked(0xe1, [])), ("RSV1 and RSV3", masked(0xd1, [])), ("all", masked(0xf1, [])),
            ("RSV1 on a reserved opcode", masked(0xc3, [])), ("RSV1 on a new message inside another", masked(0x41, []) + masked(0xc1, [])),
        ] as [(String, [UInt8])]
    )
    func aMisplacedReservedBit(what: String, stream: [UInt8]) {
        #expect(Outcome([stream], deflateParser()).violation?.code == 1002, "\(what)")
    }

    @Test("Without an agreement RSV1 is refused as ever")
    func rsv1WithoutAnAgreement() {
        #expect(Outcome([masked(0xc1, DeflateExampleTests.hello)], WebSocketFrameParser()).violation?.code == 1002)
    }

    @Test("Messages that are not compressed are read as ever, also between compressed ones")
    func plainMessagesAmongCompressed() {
        let stream = masked(0x81, "a".bytes) + masked(0xc1, DeflateExampleTests.hello) + masked(0x02, [1]) + masked(0x80, [2])
        let outcome = Outcome([stream], deflateParser(takesContextOver: true))
        #expect(outcome.messages == [.text("a"), .text("Hello"), .binary([1, 2].buffer)] && outcome.violation == nil)
    }

    // MARK: Data that is not deflate

    @Test(
        "What is not deflate, or ends inside a block, is closed with 1007",
        arguments: [
            ("nothing at all", []), ("a reserved block type", [0x06]), ("a stored length without its complement", [0x00, 0x05, 0x00, 0x00, 0x00, 1]),
            ("a stored block cut short", [0x00, 0x08, 0x00, 0xf7, 0xff, 0x48]), ("Hello cut short", [0xf2, 0x48, 0xcd]),
            ("a reference before the beginning", DeflateExampleTests.helloAgain),
            ("a stream that ended and one that began", [0xf3, 0x48, 0xcd, 0xc9, 0xc9, 0x07, 0x00, 0xf2]),
            ("plain text", "Hello, this is not compressed".bytes), ("noise", [0xff, 0xff, 0xff, 0xff]),
        ] as [(String, [UInt8])]
    )
    func whatIsNotDeflateIs1007(what: String, data: [UInt8]) {
        let outcome = Outcome([masked(0xc2, data)], deflateParser())
        #expect(outcome.messages.isEmpty && outcome.violation?.code == 1007, "\(what)")
    }

    @Test("Damage to any byte or bit is refused or restores something else, never more than the cap", arguments: [false, true])
    func damageToAnyByte(takesContextOver: Bool) {
        var random = SeededGenerator(seed: 3)
        let message = Payload.json.bytes(400, &random)
        let compressed = MessageDeflater(windowBits: 12, takesContextOver: false, .with { $0.level = 9 }).deflated(message)
        for index in compressed.indices {
            for flip in [0x01, 0x02, 0x10, 0x80, 0xff] as [UInt8] {
                var damaged = compressed
                damaged[index] ^= flip
                let inflater = MessageInflater(max: 2000, takesContextOver: takesContextOver)
                do throws(WebSocketViolation) {
                    let inflated = try inflater.inflated(damaged)
                    #expect(inflated.count <= 2000)
                } catch { #expect([1007, 1009].contains(error.code)) }
            }
            // Cut here, it is either refused or a beginning of the message.
            let inflater = MessageInflater(max: 2000, takesContextOver: takesContextOver)
            if let inflated = try? inflater.inflated(compressed[..<index]) { #expect(message.starts(with: inflated)) }
        }
    }

    @Test("After a violation nothing more is read, and zlib's memory is let go")
    func afterAViolationNothingIsHeld() throws {
        let inflater = MessageInflater(takesContextOver: true)
        var parser = WebSocketFrameParser(inflater: inflater)
        parser.append((masked(0x41, DeflateExampleTests.hello) + masked(0x00, [])).buffer)
        #expect(try parser.next() == nil)
        #expect(inflater.isHoldingStream && parser.heldBytes == 5)
        parser.append(masked(0x80, [0x06]).buffer)
        #expect(throws: WebSocketViolation.self) { try parser.next() }
        #expect(!inflater.isHoldingStream && parser.heldBytes == 0)
        parser.append(masked(0xc1, DeflateExampleTests.hello).buffer)
        #expect(throws: WebSocketViolation.self) { try parser.next() }
    }

    @Test("A close frame inside a compressed message lets go of it")
    func aCloseInsideAMessage() throws {
        let inflater = MessageInflater(takesContextOver: false)
        var parser = WebSocketFrameParser(inflater: inflater)
        parser.append((masked(0x41, DeflateExampleTests.hello) + masked(0x88, [])).buffer)
        #expect(try parser.next() == .close(code: nil, reason: ""))
        #expect(!inflater.isHoldingStream && parser.heldBytes == 0)
    }

    // MARK: Text

    @Test("Text is checked as it comes out: 1007 at the first bad byte, before the message has ended")
    func textIsCheckedAsItComesOut() {
        let deflater = MessageDeflater(windowBits: 15, takesContextOver: false)
        for bad in [[0xff], [0xed, 0xa0, 0x80], [0xc0, 0x80], [0xf4, 0x90, 0x80, 0x80]] as [[UInt8]] {
            let compressed = deflater.deflated("κόσμε".bytes + bad + "edited".bytes)
            #expect(Outcome([masked(0xc1, compressed)], deflateParser()).violation?.code == 1007)
            #expect(Outcome([masked(0x41, compressed)], deflateParser()).violation?.code == 1007, "the message goes on")
            #expect(Outcome([masked(0xc2, compressed)], deflateParser()).violation == nil, "binary may be anything")
        }
        // A character cut by the end of a piece is fine, one cut by the end of the message is not.
        let cut = deflater.deflated("ol\u{e1}".bytes.dropLast())
        #expect(Outcome([masked(0x41, cut)], deflateParser()).violation == nil)
        #expect(Outcome([masked(0xc1, cut)], deflateParser()).violation?.code == 1007)
    }

    // MARK: Caps

    @Test("A message is given up to its cap and refused one byte over, with 1009", arguments: [1, 100, 16383, 16384, 16385, 40000])
    func theCapIsExact(cap: Int) throws {
        let deflater = MessageDeflater(windowBits: 15, takesContextOver: false)
        let zeros = [UInt8](repeating: 0, count: cap + 1)
        // Each message by itself, whatever came before.
        for takesContextOver in [false, true] {
            let inflater = MessageInflater(max: cap, takesContextOver: takesContextOver)
            for _ in 0..<3 { #expect(try inflater.inflated(deflater.deflated(zeros.dropLast())).count == cap) }
        }
        let violation = #expect(throws: WebSocketViolation.self) { try MessageInflater(max: cap).inflated(deflater.deflated(zeros)) }
        #expect(violation?.code == 1009)
    }

    @Test("A bomb never holds more than the cap and one chunk, however it is cut", arguments: [false, true])
    func aBombIsDefused(takesContextOver: Bool) throws {
        let cap = 64 << 10
        let deflater = MessageDeflater(windowBits: 15, takesContextOver: false, .with { $0.level = 9 })
        let bomb = deflater.deflated([UInt8](repeating: 0x61, count: 32 << 20))
        #expect(bomb.count < 40_000)
        for size in [64, 1000, 50_000] {
            let inflater = MessageInflater(max: cap, takesContextOver: takesContextOver)
            var parser = WebSocketFrameParser(inflater: inflater)
            var violation: WebSocketViolation?
            for frame in bomb.chunked(size).enumerated() {
                parser.append(masked(frame.offset == 0 ? 0x41 : 0x00, frame.element).buffer)
                do throws(WebSocketViolation) { #expect(try parser.next() == nil) } catch { violation = error }
                #expect(parser.heldBytes <= cap)
                if violation != nil { break }
            }
            #expect(violation?.code == 1009 && parser.heldBytes == 0 && !inflater.isHoldingStream)
        }
        // What goes out of the inflater at once is one chunk, and stops at the cap.
        let inflater = MessageInflater(max: cap)
        var total = 0
        do throws(WebSocketViolation) {
            try bomb.buffer.withUnsafeReadableBytes { (bytes) throws(WebSocketViolation) in
                try inflater.inflate(bytes) { chunk in
                    #expect(chunk.count <= MessageInflater.chunkBytes)
                    total += chunk.count
                }
            }
        } catch { #expect(error.code == 1009) }
        #expect(total <= cap)
    }

    @Test("A large message is the reader's: nothing of it stays behind")
    func nothingOfALargeMessageStays() throws {
        let inflater = MessageInflater(max: 8 << 20)
        let large = MessageDeflater(windowBits: 15, takesContextOver: false).deflated([UInt8](repeating: 0x61, count: 8 << 20))
        var parser = WebSocketFrameParser(maxFrameBytes: 1 << 20, inflater: inflater)
        for piece in fragmented(2, large, size: 5000, isCompressed: true).chunked(4096) { parser.append(piece.buffer) }
        guard case .binary(let message)? = try parser.next() else { return #expect(Bool(false), "no message") }
        #expect(message.readableBytes == 8 << 20 && message.storageCapacity == 8 << 20)
        #expect(try parser.next() == nil)
        #expect(parser.heldBytes == 0 && !inflater.isHoldingStream)
    }

    @Test("A message of empty blocks inflates to nothing, and is refused at the cap on compressed bytes")
    func emptyBlocksWithoutEnd() {
        let empty: [UInt8] = [0x00, 0x00, 0x00, 0xff, 0xff]
        let stream = fragmented(0x02, Array(repeating: empty, count: 300).flatMap(\.self), size: 100, isCompressed: true)
        let small = MessageInflater(takesContextOver: false, maxMessageBytes: 1000)
        #expect(small.maxCompressedBytes == 1000 + 125 + 15 + 64)
        #expect(Outcome([stream], WebSocketFrameParser(inflater: small)).violation?.code == 1009)
        // One that ends with a whole block, its tail cut, is an empty message.
        let few = Array(repeating: empty, count: 100).flatMap(\.self) + [0x00]
        #expect(Outcome([masked(0xc2, few)], deflateParser()).messages == [.binary(ByteBuffer())])
        // Likewise for streams that end at once, over and over.
        let final = Array(repeating: [0x03, 0x00] as [UInt8], count: 10_000).flatMap(\.self) + [0x00]
        #expect(Outcome([masked(0xc2, final)], deflateParser()).messages == [.binary(ByteBuffer())])
    }

    @Test("A compressed frame or message over its limit is refused at the header")
    func overTheLimitAtTheHeader() {
        let noise = [UInt8](repeating: 0, count: 1000)
        #expect(Outcome([Array(masked(0xc2, noise).prefix(8))], deflateParser(maxFrame: 999)).violation?.code == 1009)
        #expect(Outcome([Array(masked(0xc2, noise).prefix(8))], deflateParser(maxFrame: 1000)).violation == nil)
        #expect(Outcome([Array(masked(0xc2, noise).prefix(8))], deflateParser(inflated: 500)).violation?.code == 1009)
        let again = Outcome([[[UInt8]](repeating: masked(0xc1, DeflateExampleTests.hello), count: 50).flatMap(\.self)], deflateParser(inflated: 5))
        #expect(again.messages.count == 50 && again.violation == nil, "each message has the limit for itself")
        // The limit for plain messages is not the one for compressed ones.
        let long = MessageDeflater(windowBits: 15, takesContextOver: false).deflated([UInt8](repeating: 0x61, count: 5000))
        #expect(Outcome([masked(0xc1, long)], deflateParser(max: 100)).messages.count == 1)
    }

    @Test("The default cap on compressed bytes lets every compressor's worst through", arguments: [0, 1, 64, 1000, 16384, 60000])
    func theWorstCompressorFits(size: Int) throws {
        var random = SeededGenerator(seed: 11)
        let message = Payload.noise.bytes(size, &random)
        for memory in 1...9 {
            let deflater = MessageDeflater(windowBits: 9, takesContextOver: false, .with { $0.memoryLevel = memory })
            #expect(try MessageInflater(max: size).inflated(deflater.deflated(message)) == message)
        }
        #expect(MessageInflater.largestCompressed(.max) == .max)
    }
}
