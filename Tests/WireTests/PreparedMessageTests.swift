import NIOCore
import TestSupport
import Testing

@testable import Wire

@Suite("Messages prepared for many")
struct PreparedMessageTests {
    let pool = DeflatePool(DeflatePolicy())
    let json: [UInt8] = {
        var random = SeededGenerator(seed: 1)
        return Payload.json.bytes(1000, &random)
    }()

    @Test("Each frame is made once and shared")
    func eachFrameIsMadeOnce() throws {
        var message = PreparedMessage(text: json)
        let forgetful = connection(DeflateParameters(serverNoContextTakeover: true, serverMaxWindowBits: 15))
        let plain = message.frame(for: nil)
        let compressed = message.frame(for: forgetful)
        #expect(address(message.frame(for: nil)) == address(plain))
        #expect(
            address(message.frame(for: connection(DeflateParameters(serverNoContextTakeover: true, serverMaxWindowBits: 13)))) == address(compressed)
        )
        #expect(compressed.readableBytes < plain.readableBytes / 3)
        #expect(try read(plain) == .text(json.buffer))
        #expect(try read(compressed) == .text(json.buffer))
        // A smaller window than ours is another variant.
        let narrow = message.frame(for: connection(DeflateParameters(serverNoContextTakeover: true, serverMaxWindowBits: 9)))
        #expect(address(narrow) != address(compressed))
        #expect(try read(narrow, windowBits: 9) == .text(json.buffer))
    }

    @Test("Copies make frames of their own")
    func copiesMakeFramesOfTheirOwn() {
        let message = PreparedMessage(binary: json.buffer)
        var (one, other) = (message, message)
        #expect(address(one.plainFrame()) != address(other.plainFrame()))
        #expect(one.compressedFrame(windowBits: 12, pool) == other.compressedFrame(windowBits: 12, pool))
    }

    @Test("Short messages, and those that do not shrink, have only a plain frame")
    func shortMessagesArePlain() {
        var random = SeededGenerator(seed: 2)
        for payload in [Payload.json.bytes(255, &random), Payload.noise.bytes(5000, &random), []] {
            var message = PreparedMessage(binary: payload.buffer)
            let plain = message.plainFrame()
            #expect(address(message.compressedFrame(windowBits: 12, pool)) == address(plain))
            #expect(address(message.compressedFrame(windowBits: 12, pool)) == address(plain))
        }
    }

    @Test("A connection that keeps its context gets frames of its own")
    func aContextHasItsOwnFrames() throws {
        let keeping = WebSocketDeflate(DeflateParameters(), role: .server, pool: DeflatePool(.takeover))
        let inflater = MessageInflater(takesContextOver: true)
        var parser = WebSocketFrameParser(role: .client, inflater: inflater)
        var message = PreparedMessage(text: json)
        let first = message.frame(for: keeping)
        let second = message.frame(for: keeping)
        #expect(second.readableBytes * 4 < first.readableBytes)
        for frame in [first, second] {
            parser.append(frame)
            #expect(try parser.next() == .text(json.buffer))
        }
    }

    private func connection(_ parameters: DeflateParameters) -> WebSocketDeflate { WebSocketDeflate(parameters, role: .server, pool: pool) }

    private func read(_ frame: ByteBuffer, windowBits: Int = 15) throws -> WebSocketMessage? {
        var parser = WebSocketFrameParser(role: .client, inflater: MessageInflater(windowBits: windowBits))
        parser.append(frame)
        return try parser.next()
    }

    private func address(_ buffer: ByteBuffer) -> Int { buffer.withVeryUnsafeBytes { Int(bitPattern: $0.baseAddress) } }
}
