import NIOCore
import Testing

@testable import Wire

@Suite("WebSocket frames, written")
struct WebSocketFrameTests {
    @Test("The examples of RFC 6455 §5.7 are written")
    func theExamplesAreWritten() {
        #expect(bytes(WebSocketFrame.text("Hello")) == [0x81, 0x05, 0x48, 0x65, 0x6c, 0x6c, 0x6f])
        #expect(
            bytes(WebSocketFrame.text("Hello".bytes, mask: WebSocketMask(key: 0x37fa_213d))) == [
                0x81, 0x85, 0x37, 0xfa, 0x21, 0x3d, 0x7f, 0x9f, 0x4d, 0x51, 0x58,
            ]
        )
        #expect(bytes(WebSocketFrame.ping(ByteBuffer(string: "Hello"))) == [0x89, 0x05, 0x48, 0x65, 0x6c, 0x6c, 0x6f])
        #expect(
            bytes(WebSocketFrame.pong(ByteBuffer(string: "Hello"), mask: WebSocketMask(key: 0x37fa_213d))) == [
                0x8a, 0x85, 0x37, 0xfa, 0x21, 0x3d, 0x7f, 0x9f, 0x4d, 0x51, 0x58,
            ]
        )
        #expect(bytes(WebSocketFrame.binary([UInt8](repeating: 1, count: 256))).prefix(4) == [0x82, 0x7e, 0x01, 0x00])
        #expect(bytes(WebSocketFrame.binary([UInt8](repeating: 1, count: 65536))).prefix(10) == [0x82, 0x7f, 0, 0, 0, 0, 0, 1, 0, 0])
    }

    @Test("A close frame has a body only with a code, and its reason is cut between characters")
    func aCloseReasonIsCutBetweenCharacters() throws {
        #expect(bytes(WebSocketFrame.close()) == [0x88, 0x00])
        #expect(bytes(WebSocketFrame.close(1000)) == [0x88, 0x02, 0x03, 0xe8])
        let reason = String(repeating: "é", count: 100)
        let frame = WebSocketFrame.close(3001, reason: reason)
        #expect(frame.readableBytes == 2 + 2 + 122)
        #expect(try read(frame, role: .client) == [.close(code: 3001, reason: String(repeating: "é", count: 61))])
    }

    @Test("A control frame never carries more than 125 bytes (§5.5)")
    func aControlFrameIsAtMost125Bytes() throws {
        let long = ByteBuffer(bytes: [UInt8](repeating: 1, count: 200))
        #expect(try read(WebSocketFrame.ping(long), role: .client) == [.ping(ByteBuffer(bytes: [UInt8](repeating: 1, count: 125)))])
    }

    @Test("Masking is the octet-by-octet rule of §5.3, at every length and offset")
    func maskingIsTheOctetRule() {
        let mask = WebSocketMask(key: 0x0102_0408)
        let key: [UInt8] = [1, 2, 4, 8]
        for count in 0...40 {
            for offset in 0..<9 {
                var bytes = (0..<count).map { UInt8($0) }
                bytes.withUnsafeMutableBytes { mask.apply(to: $0, offset: offset) }
                #expect(bytes == (0..<count).map { UInt8($0) ^ key[($0 + offset) % 4] }, "\(count) bytes at \(offset)")
            }
        }
    }

    @Test("Fresh masks differ")
    func freshMasksDiffer() {
        #expect(Set((0..<100).map { _ in WebSocketMask.random() }).count > 90)
    }

    private func bytes(_ buffer: ByteBuffer) -> [UInt8] { Array(buffer.readableBytesView) }
}
