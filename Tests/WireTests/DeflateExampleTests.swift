import NIOCore
import Testing

@testable import Wire

/// RFC 7692 §7.2.3, byte for byte.
@Suite("permessage-deflate, the RFC's examples")
struct DeflateExampleTests {
    static let hello: [UInt8] = [0xf2, 0x48, 0xcd, 0xc9, 0xc9, 0x07, 0x00]
    static let helloAgain: [UInt8] = [0xf2, 0x00, 0x11, 0x00, 0x00]

    @Test("§7.2.3.1: Hello in one frame and in two")
    func helloInOneFrameAndInTwo() throws {
        let one: [UInt8] = [0xc1, 0x07] + Self.hello
        let two: [UInt8] = [0x41, 0x03, 0xf2, 0x48, 0xcd, 0x80, 0x04, 0xc9, 0xc9, 0x07, 0x00]
        for stream in [one, two] { #expect(try messages(stream) == [.text("Hello")]) }
        let deflater = MessageDeflater(windowBits: 15, takesContextOver: false, .with { _ in })
        #expect(Array(WebSocketFrame.text("Hello".bytes, deflater: deflater).readableBytesView) == [0x81, 0x05] + "Hello".bytes)
        #expect(deflater.deflated("Hello".bytes) == Self.hello)
    }

    @Test("§7.2.3.2: Hello again, with and without the window of the first")
    func helloAgain() throws {
        #expect(
            try messages([0xc1, 0x07] + Self.hello + [0xc1, 0x05] + Self.helloAgain, takesContextOver: true) == [.text("Hello"), .text("Hello")]
        )
        #expect(try messages([0xc1, 0x07] + Self.hello + [0xc1, 0x07] + Self.hello) == [.text("Hello"), .text("Hello")])
        // Without takeover there is nothing to refer to.
        #expect(throws: WebSocketViolation.self) { try messages([0xc1, 0x07] + Self.hello + [0xc1, 0x05] + Self.helloAgain) }

        let keeping = MessageDeflater(windowBits: 15, takesContextOver: true, .with { _ in })
        #expect(keeping.deflated("Hello".bytes) == Self.hello)
        #expect(keeping.deflated("Hello".bytes) == Self.helloAgain)
        let forgetting = MessageDeflater(windowBits: 15, takesContextOver: false, .with { _ in })
        #expect(forgetting.deflated("Hello".bytes) == Self.hello)
        #expect(forgetting.deflated("Hello".bytes) == Self.hello)
    }

    @Test("§7.2.3.3: a block without compression")
    func aBlockWithoutCompression() throws {
        #expect(try messages([0xc1, 0x0b, 0x00, 0x05, 0x00, 0xfa, 0xff, 0x48, 0x65, 0x6c, 0x6c, 0x6f, 0x00]) == [.text("Hello")])
    }

    @Test("§7.2.3.4: a block with BFINAL, then a message as usual", arguments: [false, true])
    func aBlockWithBFINAL(takesContextOver: Bool) throws {
        let final: [UInt8] = [0xf3, 0x48, 0xcd, 0xc9, 0xc9, 0x07, 0x00, 0x00]
        #expect(try messages([0xc1, 0x08] + final, takesContextOver: takesContextOver) == [.text("Hello")])
        #expect(
            try messages([0xc1, 0x08] + final + [0xc1, 0x07] + Self.hello, takesContextOver: takesContextOver) == [.text("Hello"), .text("Hello")]
        )
        // Some senders leave out the padding: the stream has ended all the same.
        #expect(try messages([0xc1, 0x07] + final.dropLast(), takesContextOver: takesContextOver) == [.text("Hello")])
        // A block after the final one belongs to the message.
        #expect(try messages([0xc1, 0x0e] + final.dropLast() + Self.hello, takesContextOver: takesContextOver) == [.text("HelloHello")])
    }

    @Test("§7.2.3.4: what came before BFINAL may still be referred to, if contexts are taken over")
    func theWindowOutlivesBFINAL() throws {
        let final: [UInt8] = [0xf3, 0x48, 0xcd, 0xc9, 0xc9, 0x07, 0x00, 0x00]
        #expect(try messages([0xc1, 0x08] + final + [0xc1, 0x05] + Self.helloAgain, takesContextOver: true) == [.text("Hello"), .text("Hello")])
        #expect(throws: WebSocketViolation.self) { try messages([0xc1, 0x08] + final + [0xc1, 0x05] + Self.helloAgain) }
    }

    @Test("§7.2.3.5: two blocks in one message")
    func twoBlocksInOneMessage() throws {
        #expect(try messages([0xc1, 0x0d, 0xf2, 0x48, 0x05, 0x00, 0x00, 0x00, 0xff, 0xff, 0xca, 0xc9, 0xc9, 0x07, 0x00]) == [.text("Hello")])
    }

    @Test("§7.2.3.6: an empty message is one zero byte", arguments: [false, true])
    func anEmptyMessage(takesContextOver: Bool) throws {
        #expect(try messages([0xc1, 0x01, 0x00, 0xc2, 0x01, 0x00], takesContextOver: takesContextOver) == [.text(""), .binary(ByteBuffer())])
        // Also cut, and after a frame that carries nothing.
        #expect(try messages([0x41, 0x00, 0x00, 0x01, 0x00, 0x80, 0x00], takesContextOver: takesContextOver) == [.text("")])
        let deflater = MessageDeflater(windowBits: 15, takesContextOver: takesContextOver)
        for _ in 0..<3 { #expect(deflater.deflated([]) == [0x00]) }
        #expect(deflater.deflated("Hello".bytes) == Self.hello)
        #expect(deflater.deflated([]) == [0x00])
    }

    private func messages(_ stream: [UInt8], takesContextOver: Bool = false) throws -> [WebSocketMessage] {
        var parser = WebSocketFrameParser(role: .client, inflater: MessageInflater(takesContextOver: takesContextOver))
        parser.append(stream.buffer)
        var messages: [WebSocketMessage] = []
        while let message = try parser.next() { messages.append(message) }
        return messages
    }
}
