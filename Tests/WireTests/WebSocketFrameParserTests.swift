import NIOCore
import Testing

@testable import Wire

@Suite("WebSocket frames, read")
struct WebSocketFrameParserTests {
    @Test("The examples of RFC 6455 §5.7 are read")
    func theExamplesAreRead() throws {
        #expect(try read([0x81, 0x05, 0x48, 0x65, 0x6c, 0x6c, 0x6f], role: .client) == [.text("Hello")])
        #expect(try read([0x81, 0x85, 0x37, 0xfa, 0x21, 0x3d, 0x7f, 0x9f, 0x4d, 0x51, 0x58]) == [.text("Hello")])
        #expect(try read([0x01, 0x03, 0x48, 0x65, 0x6c, 0x80, 0x02, 0x6c, 0x6f], role: .client) == [.text("Hello")])
        #expect(try read([0x89, 0x05, 0x48, 0x65, 0x6c, 0x6c, 0x6f], role: .client) == [.ping(ByteBuffer(string: "Hello"))])
        #expect(try read([0x8a, 0x85, 0x37, 0xfa, 0x21, 0x3d, 0x7f, 0x9f, 0x4d, 0x51, 0x58]) == [.pong(ByteBuffer(string: "Hello"))])
        let bytes = (0..<256).map { UInt8($0) }
        #expect(try read([0x82, 0x7e, 0x01, 0x00] + bytes, role: .client) == [.binary(ByteBuffer(bytes: bytes))])
        let many = [UInt8](repeating: 7, count: 65536)
        #expect(try read([0x82, 0x7f, 0, 0, 0, 0, 0, 1, 0, 0] + many, role: .client) == [.binary(ByteBuffer(bytes: many))])
    }

    @Test("What the encoder writes is read, at every length where the header changes", arguments: [0, 1, 7, 8, 125, 126, 127, 65535, 65536, 70000])
    func whatIsWrittenIsRead(length: Int) throws {
        let bytes = (0..<length).map { UInt8(truncatingIfNeeded: $0 &* 31) }
        for (role, mask) in [(.client, nil), (.server, WebSocketMask(key: 0x1234_5678)), (.server, WebSocketMask(key: 0))]
            as [(WebSocketFrameParser.Role, WebSocketMask?)]
        {
            #expect(try read(WebSocketFrame.binary(bytes, mask: mask), role: role, max: 70000) == [.binary(ByteBuffer(bytes: bytes))])
        }
    }

    @Test("Control frames may come between fragments (§5.4)")
    func controlFramesMayComeBetweenFragments() throws {
        var stream = masked(0x01, "Ol\u{e1}".bytes.dropLast())  // ends inside a character
        stream += masked(0x89, "p".bytes)
        stream += masked(0x00, [])
        stream += masked(0x8a, [])
        stream += masked(0x80, [0xa1])
        stream += masked(0x82, [1])
        #expect(try read(stream) == [.ping(ByteBuffer(string: "p")), .pong(ByteBuffer()), .text("Olá"), .binary(ByteBuffer(bytes: [1]))])
    }

    @Test("A close frame gives its code and reason, and is the last thing read (§5.5.1)")
    func aCloseFrameIsTheLastThingRead() throws {
        #expect(try read(masked(0x88, []) + masked(0x81, "x".bytes)) == [.close(code: nil, reason: "")])
        #expect(try read(masked(0x88, [0x03, 0xe8]) + [0xff, 0xff]) == [.close(code: 1000, reason: "")])
        #expect(try read(masked(0x88, [0x0d, 0xae] + "má".bytes)) == [.close(code: 3502, reason: "má")])
    }

    @Test("A frame alone in its buffer is unmasked where it lies")
    func aLoneFrameIsUnmaskedWhereItLies() throws {
        var buffer = WebSocketFrame.text("sem cópia", mask: WebSocketMask(key: 0xdead_beef))
        let address = buffer.withVeryUnsafeBytes { Int(bitPattern: $0.baseAddress) }
        var parser = WebSocketFrameParser()
        parser.append(buffer)
        buffer = ByteBuffer()  // the parser's is the only reference left
        guard case .text(let payload)? = try parser.next() else { return #expect(Bool(false), "no text") }
        #expect(payload.withVeryUnsafeBytes { Int(bitPattern: $0.baseAddress) } == address)
        #expect(String(buffer: payload) == "sem cópia")
    }

    @Test("A buffer still in use elsewhere is left as it was")
    func aBufferInUseIsLeftAsItWas() throws {
        let buffer = WebSocketFrame.text("duas mãos", mask: WebSocketMask(key: 0xdead_beef))
        let before = Array(buffer.readableBytesView)
        #expect(try read(buffer) == [.text("duas mãos")])
        #expect(Array(buffer.readableBytesView) == before)
    }

    @Test("Messages of one buffer do not share bytes that later change")
    func messagesOfOneBufferAreIndependent() throws {
        let texts = (0..<50).map { "mensagem \($0)" }
        var stream = ByteBuffer()
        for text in texts { stream.writeImmutableBuffer(WebSocketFrame.text(text, mask: .random())) }
        #expect(try read(stream) == texts.map { .text($0) })
    }

    @Test("A large buffer is not kept for the few bytes left in it", arguments: [1, 5, 7])
    func aLargeBufferIsNotKept(left: Int) throws {
        let ping = masked(0x89, "still here".bytes)
        var buffer = ByteBufferAllocator().buffer(capacity: 1 << 16)
        buffer.writeBytes(masked(0x81, "a".bytes) + ping.prefix(left))
        var parser = WebSocketFrameParser()
        parser.append(buffer)
        #expect(try parser.next() == .text("a"))
        #expect(try parser.next() == nil)
        #expect(parser.heldBytes == left)
        parser.append(ByteBuffer(bytes: ping.dropFirst(left)))
        #expect(try parser.next() == .ping(ByteBuffer(string: "still here")))
    }

    @Test("No more is held than the limits allow")
    func noMoreIsHeldThanTheLimits() throws {
        var parser = WebSocketFrameParser(maxFrameBytes: 1000, maxMessageBytes: 2000)
        for _ in 0..<4 {
            parser.append(ByteBuffer(bytes: masked(0x02, [UInt8](repeating: 1, count: 400)).dropLast(1)))
            #expect(try parser.next() == nil)
            parser.append(ByteBuffer(bytes: [9] + masked(0x00, [])))
            #expect(try parser.next() == nil)
            #expect(parser.heldBytes <= 2000)
            parser.append(ByteBuffer(bytes: masked(0x80, [])))
            #expect(try parser.next() != nil)
            #expect(parser.heldBytes == 0)
        }
        // Frames that carry nothing cost nothing.
        parser.append(ByteBuffer(bytes: masked(0x02, [])))
        for _ in 0..<1000 {
            parser.append(ByteBuffer(bytes: masked(0x00, [])))
            #expect(try parser.next() == nil)
        }
        #expect(parser.heldBytes == 0)
    }
}

// MARK: Making and reading streams

extension WebSocketMessage {
    static func text(_ text: String) -> WebSocketMessage { .text(ByteBuffer(string: text)) }
}

/// A client's frame whose first octet is given.
func masked(_ first: UInt8, _ payload: some Collection<UInt8>, key: [UInt8] = [0xa5, 0x5a, 0x3c, 0xc3]) -> [UInt8] {
    var bytes = [first]
    switch payload.count {
    case ...125: bytes.append(0x80 | UInt8(payload.count))
    case ...65535: bytes += [0x80 | 126, UInt8(payload.count >> 8), UInt8(payload.count & 255)]
    default: bytes += [0x80 | 127] + (0..<8).map { UInt8(truncatingIfNeeded: payload.count >> (56 - 8 * $0)) }
    }
    bytes += key
    for (index, byte) in payload.enumerated() { bytes.append(byte ^ key[index % 4]) }
    return bytes
}

func read(_ bytes: some Sequence<UInt8>, role: WebSocketFrameParser.Role = .server, max: Int = 65536) throws(WebSocketViolation) -> [WebSocketMessage]
{
    try read(ByteBuffer(bytes: bytes), role: role, max: max)
}

func read(_ buffer: ByteBuffer, role: WebSocketFrameParser.Role = .server, max: Int = 65536) throws(WebSocketViolation) -> [WebSocketMessage] {
    var parser = WebSocketFrameParser(role: role, maxFrameBytes: max, maxMessageBytes: max)
    parser.append(buffer)
    var messages: [WebSocketMessage] = []
    while let message = try parser.next() { messages.append(message) }
    return messages
}
