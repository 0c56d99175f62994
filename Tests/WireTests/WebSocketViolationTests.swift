import NIOCore
import Testing

@testable import Wire

@Suite("WebSocket frames, refused")
struct WebSocketViolationTests {
    @Test(
        "A protocol error is closed with 1002",
        arguments: [
            ("reserved bit 1", masked(0xc1, [])), ("reserved bit 2", masked(0xa1, [])), ("reserved bit 3", masked(0x91, [])),
            ("opcode 3", masked(0x83, [])), ("opcode 7", masked(0x87, [])), ("opcode 11", masked(0x8b, [])), ("opcode 15", masked(0x8f, [])),
            ("a bare frame from a client", [0x81, 0x00]), ("a ping cut in fragments", masked(0x09, [])),
            ("a close cut in fragments", masked(0x08, [])),
            ("a ping of 126 bytes", [0x89, 0xfe]), ("a pong with a 64-bit length", [0x8a, 0xff]), ("a continuation of nothing", masked(0x80, [])),
            ("a text inside a text", masked(0x01, []) + masked(0x81, [])), ("a binary inside a text", masked(0x01, []) + masked(0x02, [])),
            ("125 in 16 bits", [0x81, 0xfe, 0, 125]), ("65535 in 64 bits", [0x81, 0xff, 0, 0, 0, 0, 0, 0, 0xff, 0xff]),
            ("the high bit of a length", [0x82, 0xff, 0x80, 0, 0, 0, 0, 0, 0, 0]), ("half a close code", masked(0x88, [0x03])),
        ] as [(String, [UInt8])]
    )
    func aProtocolErrorIs1002(what: String, stream: [UInt8]) {
        #expect(code(stream) == 1002, "\(what)")
    }

    @Test("A frame with a mask from a server is a protocol error")
    func aMaskFromAServerIsAProtocolError() {
        #expect(code([0x81, 0x80], role: .client) == 1002)
    }

    @Test("What the first octets already make wrong is refused without the rest")
    func theFirstOctetsSuffice() {
        #expect(code([0xf1]) == 1002)
        #expect(code([0x81, 0x05]) == 1002)
        #expect(code([0x82, 0xff, 0x7f, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff]) == nil, "the mask is still missing")
        #expect(code([0x82, 0xff, 0x7f, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1, 2, 3, 4]) == 1009)
    }

    @Test("A close code that may not travel is a protocol error (§7.4)")
    func aCloseCodeThatMayNotTravel() {
        for code in UInt16.min ... .max {
            let isLegal = (1000...1003).contains(code) || (1007...1014).contains(code) || (3000...4999).contains(code)
            let result = self.code(masked(0x88, [UInt8(code >> 8), UInt8(code & 255)]))
            #expect(result == (isLegal ? nil : 1002), "\(code)")
        }
    }

    @Test(
        "Text that is not UTF-8 is closed with 1007 (§8.1)",
        arguments: [
            masked(0x81, [0xff]), masked(0x81, [0xe2, 0x82]), masked(0x81, [0xed, 0xa0, 0x80]), masked(0x01, [0xe2]) + masked(0x80, [0x28]),
            masked(0x01, [0xe2]) + masked(0x80, []), masked(0x88, [0x03, 0xe8, 0xff]), masked(0x88, [0x03, 0xe8, 0xe2, 0x82]),
        ]
    )
    func textThatIsNotUTF8Is1007(stream: [UInt8]) {
        #expect(code(stream) == 1007)
    }

    @Test("Wrong text is refused before the frame has all arrived")
    func wrongTextIsRefusedEarly() {
        let frame = masked(0x81, "κόσμε".bytes + [0xed, 0xa0, 0x80] + "edited".bytes)
        #expect(code(Array(frame.dropLast(7))) == 1007)
    }

    @Test("Binary may be anything")
    func binaryMayBeAnything() {
        #expect(code(masked(0x82, [0xff, 0xc0, 0x80])) == nil)
    }

    @Test("A frame or message over the limit is closed with 1009 at its header")
    func overTheLimitIs1009() {
        let big = [UInt8](repeating: 0x61, count: 101)
        #expect(code(masked(0x81, big.dropLast()), max: 100) == nil)
        #expect(code(Array(masked(0x81, big).prefix(6)), max: 100) == 1009)
        #expect(code(masked(0x01, big.prefix(60)) + masked(0x80, big.prefix(40)), max: 100) == nil)
        #expect(code(masked(0x01, big.prefix(60)) + masked(0x80, big.prefix(41)).prefix(6), max: 100) == 1009)
    }

    @Test("Messages before the violation are given, and nothing after it")
    func messagesBeforeTheViolationAreGiven() throws {
        var parser = WebSocketFrameParser()
        parser.append(ByteBuffer(bytes: masked(0x81, "a".bytes) + [0xff, 0xff] + masked(0x81, "b".bytes)))
        #expect(try parser.next() == .text("a"))
        #expect(throws: WebSocketViolation.self) { try parser.next() }
        parser.append(ByteBuffer(bytes: masked(0x81, "c".bytes)))
        #expect(throws: WebSocketViolation.self) { try parser.next() }
        #expect(parser.heldBytes == 0)
    }

    private func code(_ stream: [UInt8], role: WebSocketFrameParser.Role = .server, max: Int = 65536) -> UInt16? {
        do throws(WebSocketViolation) {
            _ = try read(stream, role: role, max: max)
            return nil
        } catch {
            #expect(!error.reason.isEmpty)
            return error.code
        }
    }
}
