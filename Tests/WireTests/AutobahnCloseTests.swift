import NIOCore
import Testing

@testable import Wire

/// Class 7 of the Autobahn test suite: the closing handshake, as far as frames go.
@Suite("Autobahn 7: close frames")
struct AutobahnCloseTests {
    private let goodbye = masked(0x88, [0x03, 0xe8])
    private let closed = WebSocketMessage.close(code: 1000, reason: "")

    @Test("7.1: nothing that follows a close frame is read")
    func nothingAfterAClose() {
        let hello = masked(0x81, "Hello World!".bytes)
        expect("7.1.1", hello + goodbye, [.text("Hello World!"), closed])
        expect("7.1.2", goodbye + goodbye, [closed])
        expect("7.1.3", goodbye + masked(0x89, []), [closed])
        expect("7.1.4", goodbye + hello, [closed])
        expect("7.1.5", masked(0x01, "fragment1".bytes) + goodbye + masked(0x80, "fragment2".bytes), [closed])
        let long = [UInt8](repeating: UInt8(ascii: "*"), count: 60_000)
        expect("7.1.6", masked(0x81, long) + goodbye + masked(0x89, []), [.text(long.buffer), closed])
    }

    @Test("7.3 and 7.5: bodies of every kind")
    func bodies() {
        let reason = [UInt8](repeating: UInt8(ascii: "*"), count: 123)
        expect("7.3.1", masked(0x88, []), [.close(code: nil, reason: "")])
        expect("7.3.2", masked(0x88, [0x03]), [], 1002)
        expect("7.3.3", goodbye, [closed])
        expect("7.3.4", masked(0x88, [0x03, 0xe8] + "Hello World!".bytes), [.close(code: 1000, reason: "Hello World!")])
        expect("7.3.5", masked(0x88, [0x03, 0xe8] + reason), [.close(code: 1000, reason: String(repeating: "*", count: 123))])
        expect("7.3.6", masked(0x88, [0x03, 0xe8] + reason + [0x2a]), [], 1002)
        expect("7.5.1", masked(0x88, [0x03, 0xe8] + "κόσμε".bytes + [0xed, 0xa0, 0x80] + "edited".bytes), [], 1007)
    }

    @Test(
        "7.7: codes that may travel",
        arguments: [1000, 1001, 1002, 1003, 1007, 1008, 1009, 1010, 1011, 3000, 3999, 4000, 4999] as [UInt16]
    )
    func validCodes(code: UInt16) {
        expect("7.7", close(code), [.close(code: code, reason: "")])
        expect("7.7", close(code, "até"), [.close(code: code, reason: "até")])
    }

    @Test(
        "7.9 and 7.13: codes that may not",
        arguments: [0, 999, 1004, 1005, 1006, 1015, 1016, 1100, 2000, 2999, 5000, 65535] as [UInt16]
    )
    func invalidCodes(code: UInt16) {
        expect("7.9", close(code), [], 1002)
        expect("7.9", close(code, "até"), [], 1002)
    }

    private func close(_ code: UInt16, _ reason: String = "") -> [UInt8] { masked(0x88, [UInt8(code >> 8), UInt8(code & 255)] + reason.bytes) }

    private func expect(_ id: String, _ stream: [UInt8], _ messages: [WebSocketMessage], _ code: UInt16? = nil) {
        for pieces in [[stream], stream.chunked(stream.count > 1000 ? 997 : 1)] {
            for parser in [WebSocketFrameParser(), deflateParser()] {
                let outcome = Outcome(pieces, parser)
                #expect(outcome.messages == messages && outcome.violation?.code == code, "case \(id)")
            }
        }
    }
}
