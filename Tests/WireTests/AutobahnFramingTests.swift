import NIOCore
import TestSupport
import Testing

@testable import Wire

/// The cases of the Autobahn test suite, classes 1 to 5, as streams a client sends and what the parser makes of them.
@Suite("Autobahn 1–5: framing, pings, reserved bits, opcodes, fragmentation")
struct AutobahnFramingTests {
    @Test("1.1 and 1.2: text and binary of any length, whole and chopped", arguments: [0, 125, 126, 127, 128, 65535, 65536])
    func messagesOfAnyLength(length: Int) {
        let payload = [UInt8](repeating: UInt8(ascii: "*"), count: length)
        let parser = WebSocketFrameParser(maxFrameBytes: 65536, maxMessageBytes: 65536)
        for (opcode, message) in [(0x81, WebSocketMessage.text(payload.buffer)), (0x82, .binary(payload.buffer))] as [(UInt8, WebSocketMessage)] {
            let stream = masked(opcode, payload)
            for pieces in [[stream], stream.chunked(997)] {
                let outcome = Outcome(pieces, parser)
                #expect(outcome.messages == [message] && outcome.violation == nil)
            }
        }
    }

    @Test("2: pings are given with their payload, in their order; unasked pongs are nothing special")
    func pings() {
        let text = masked(0x89, "Hello, world!".bytes)
        let binary: [UInt8] = [0x00, 0xff, 0xfe, 0xfd, 0xfc, 0xfb, 0x00, 0xff]
        let full = [UInt8](repeating: 0xfe, count: 125)
        expect("2.1", masked(0x89, []), [.ping(ByteBuffer())])
        expect("2.2", text, [.ping(ByteBuffer(string: "Hello, world!"))])
        expect("2.3", masked(0x89, binary), [.ping(binary.buffer)])
        expect("2.4", masked(0x89, full), [.ping(full.buffer)])
        expect("2.5", masked(0x89, full + [0xfe]), [], 1002)
        expect("2.6", masked(0x89, full), [.ping(full.buffer)], chop: 1)
        expect("2.7", masked(0x8a, []), [.pong(ByteBuffer())])
        expect("2.8", masked(0x8a, "unsolicited pong".bytes), [.pong(ByteBuffer(string: "unsolicited pong"))])
        expect(
            "2.9",
            masked(0x8a, "unsolicited pong".bytes) + text,
            [.pong(ByteBuffer(string: "unsolicited pong")), .ping(ByteBuffer(string: "Hello, world!"))]
        )
        let ten = (0..<10).map { "payload-\($0)" }
        for chop in [nil, 1] { expect("2.10–11", ten.flatMap { masked(0x89, $0.bytes) }, ten.map { .ping(ByteBuffer(string: $0)) }, chop: chop) }
    }

    @Test("3: a reserved bit fails the connection, and what came before it is given")
    func reservedBits() {
        let hello = masked(0x81, "Hello".bytes)
        for (index, bits) in ([0x10, 0x20, 0x30, 0x40, 0x50, 0x60, 0x70] as [UInt8]).enumerated() {
            for opcode in [0x81, 0x82, 0x88, 0x89, 0x8a] as [UInt8] {
                let stream = hello + masked(opcode | bits, "x".bytes) + masked(0x89, [])
                for chop in [nil, 1] { expect("3.\(index + 1)", stream, [.text("Hello")], 1002, chop: chop) }
            }
        }
    }

    @Test("4: a reserved opcode fails the connection, and what came before it is given", arguments: [3, 4, 5, 6, 7, 11, 12, 13, 14, 15] as [UInt8])
    func reservedOpcodes(opcode: UInt8) {
        for payload in [[], "reserved opcode payload".bytes] {
            let stream = masked(0x81, "Hello".bytes) + masked(0x80 | opcode, payload) + masked(0x89, [])
            for chop in [nil, 1] { expect("4", stream, [.text("Hello")], 1002, chop: chop) }
        }
    }

    @Test("5: fragments are put together, control frames come between them, and anything else is refused")
    func fragmentation() {
        let (one, two) = ("fragment1".bytes, "fragment2".bytes)
        let both = WebSocketMessage.text("fragment1fragment2")
        let ping = WebSocketMessage.ping(ByteBuffer(string: "ping"))
        let asked = masked(0x89, "ping".bytes)
        for chop in [nil, 1] {
            expect("5.1", masked(0x09, one) + masked(0x80, two), [], 1002, chop: chop)
            expect("5.2", masked(0x0a, one) + masked(0x80, two), [], 1002, chop: chop)
            expect("5.3–5", masked(0x01, one) + masked(0x80, two), [both], chop: chop)
            expect("5.6–8", masked(0x01, one) + asked + masked(0x80, two), [ping, both], chop: chop)
            expect("5.9–11", masked(0x80, one) + masked(0x81, "x".bytes), [], 1002, chop: chop)
            expect("5.12–14", masked(0x00, one) + masked(0x81, "x".bytes), [], 1002, chop: chop)
            expect("5.15", masked(0x01, one) + masked(0x80, two) + masked(0x00, one) + masked(0x81, two), [both], 1002, chop: chop)
            expect("5.16", masked(0x00, one) + masked(0x01, two) + masked(0x80, two), [], 1002, chop: chop)
            expect("5.17", masked(0x80, one) + masked(0x01, two) + masked(0x80, two), [], 1002, chop: chop)
            expect("5.18", masked(0x01, one) + masked(0x81, two), [], 1002, chop: chop)
            let five = (1...5).map { "fragment\($0)" }
            let stream =
                masked(0x01, five[0].bytes) + masked(0x00, five[1].bytes) + asked + masked(0x00, five[2].bytes) + masked(0x00, five[3].bytes) + asked
                + masked(0x80, five[4].bytes)
            expect("5.19–20", stream, [ping, ping, .text(five.joined())], chop: chop)
        }
    }

    private func expect(_ id: String, _ stream: [UInt8], _ messages: [WebSocketMessage], _ code: UInt16? = nil, chop: Int? = nil) {
        let outcome = Outcome(chop.map { stream.chunked($0) } ?? [stream], WebSocketFrameParser())
        #expect(outcome.messages == messages && outcome.violation?.code == code, "case \(id)")
        // That deflate was agreed on changes nothing for frames that do not use it. RSV1 on a data frame is another matter: class 12.
        if code != 1002 { #expect(Outcome([stream], deflateParser()) == outcome, "case \(id) with deflate") }
    }
}
