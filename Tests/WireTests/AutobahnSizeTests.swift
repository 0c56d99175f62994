import NIOCore
import TestSupport
import Testing

@testable import Wire

/// Classes 9 and 10 of the Autobahn test suite, with a few sizes instead of many: large messages, whole, in fragments and chopped.
@Suite("Autobahn 9–10: sizes")
struct AutobahnSizeTests {
    static let mebibyte = 1 << 20
    private let parser = WebSocketFrameParser(maxFrameBytes: 16 << 20, maxMessageBytes: 16 << 20)

    @Test("9.1 and 9.2: text and binary up to 16 MiB", arguments: [64 << 10, 256 << 10, 1 << 20, 16 << 20])
    func largeMessages(size: Int) throws {
        let payload = [UInt8](repeating: UInt8(ascii: "*"), count: size)
        for message in [WebSocketMessage.text(payload.buffer), .binary(payload.buffer)] {
            let mask = WebSocketMask(key: 0xa55a_3cc3)
            let frame = if case .text = message { WebSocketFrame.text(payload, mask: mask) } else { WebSocketFrame.binary(payload, mask: mask) }
            var parser = parser
            parser.append(frame)
            #expect(try parser.next() == message)
        }
        var tight = WebSocketFrameParser(maxFrameBytes: size - 1, maxMessageBytes: size)
        tight.append(WebSocketFrame.binary(payload, mask: WebSocketMask(key: 1)))
        let violation = #expect(throws: WebSocketViolation.self) { try tight.next() }
        #expect(violation?.code == 1009)
    }

    @Test("9.3 and 9.4: one message in fragments", arguments: [64, 256, 1 << 10, 4 << 10, 16 << 10, 64 << 10])
    func messagesInFragments(size: Int) {
        let total = size < 1024 ? 64 << 10 : 512 << 10
        let payload = [UInt8](repeating: UInt8(ascii: "*"), count: total)
        #expect(Outcome([fragmented(1, payload, size: size)], parser).messages == [.text(payload.buffer)])
        #expect(Outcome([fragmented(2, payload, size: size)], parser).messages == [.binary(payload.buffer)])
    }

    @Test("9.5 and 9.6: one message in pieces", arguments: [64, 128, 256, 512, 1024, 2048])
    func messagesInPieces(size: Int) {
        let payload = [UInt8](repeating: UInt8(ascii: "*"), count: 128 << 10)
        #expect(Outcome(masked(0x81, payload).chunked(size), parser).messages == [.text(payload.buffer)])
        #expect(Outcome(masked(0x82, payload).chunked(size), parser).messages == [.binary(payload.buffer)])
    }

    @Test("9.7 and 9.8: many messages", arguments: [0, 16, 64, 256, 1024, 4096])
    func manyMessages(size: Int) {
        let payload = [UInt8](repeating: UInt8(ascii: "*"), count: size)
        let frame = masked(0x81, payload)
        let outcome = Outcome([Array([[UInt8]](repeating: frame, count: 100).joined())], parser)
        #expect(outcome.messages == [WebSocketMessage](repeating: .text(payload.buffer), count: 100))
    }

    @Test("10.1: 64 KiB in fragments of 1300 bytes")
    func autoFragmentation() {
        let payload = [UInt8](repeating: UInt8(ascii: "*"), count: 65536)
        #expect(Outcome([fragmented(1, payload, size: 1300)], parser).messages == [.text(payload.buffer)])
    }
}
