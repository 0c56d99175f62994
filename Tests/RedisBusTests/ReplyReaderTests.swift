import NIOCore
import NIOEmbedded
import TestSupport
import Testing

@testable import RedisBus

@Suite struct ReplyReaderTests {
    /// Every kind of reply, nested, empty, with line ends and zero bytes inside.
    static let wire =
        "+OK\r\n-WRONGTYPE Operation\r\n:-42\r\n:9223372036854775807\r\n$0\r\n\r\n$-1\r\n*-1\r\n*0\r\n$6\r\na\r\n\0b\r\r\n*3\r\n:1\r\n*2\r\n$1\r\nx\r\n*1\r\n+y\r\n$-1\r\n+\r\n"
    static let replies: [RedisReply] = [
        .status("OK"), .error(RedisServerError("WRONGTYPE Operation")), .integer(-42), .integer(.max), .bulk([]), .null, .null, .array([]),
        .bulk("a\r\n\0b\r".bytes), .array([.integer(1), .array([.bulk("x".bytes), .array([.status("y")])]), .null]), .status(""),
    ]

    private func read(_ pieces: [[UInt8]], maxBytes: Int = 1 << 20, maxElements: Int = 1000) throws -> [RedisReply] {
        let channel = EmbeddedChannel(handler: ReplyDecoder(maxBytes: maxBytes, maxElements: maxElements))
        var replies: [RedisReply] = []
        for piece in pieces {
            try channel.writeInbound(ByteBuffer(bytes: piece))
            while let reply = try channel.readInbound(as: RedisReply.self) { replies.append(reply) }
        }
        #expect(try channel.finish(acceptAlreadyClosed: true).isClean)
        return replies
    }

    @Test func everySplitInTwoReadsTheSame() throws {
        let bytes = Self.wire.bytes
        for split in 0...bytes.count { #expect(try read([Array(bytes[..<split]), Array(bytes[split...])]) == Self.replies, "split at \(split)") }
    }

    @Test func byteByByteReadsTheSame() throws {
        #expect(try read(Self.wire.bytes.map { [$0] }) == Self.replies)
    }

    @Test func randomSplitsReadTheSame() throws {
        var random = SeededGenerator.fresh()
        let bytes = Array(repeating: Self.wire.bytes, count: 20).flatMap { $0 }
        let expected = Array(repeating: Self.replies, count: 20).flatMap { $0 }
        for _ in 0..<100 {
            var rest = bytes[...]
            var pieces: [[UInt8]] = []
            while !rest.isEmpty {
                let piece = rest.prefix(Int.random(in: 0...60, using: &random))
                pieces.append(Array(piece))
                rest = rest.dropFirst(piece.count)
            }
            #expect(try read(pieces) == expected)
        }
    }

    @Test(arguments: [
        "HTTP/1.1 400 Bad Request\r\n", "$x\r\n", "*2\r\n:1\r\n?\r\n", ":12a\r\n", "$-2\r\n", "\r\n", String(repeating: "*1\r\n", count: 9),
    ])
    func whatIsNotRESPClosesTheConnection(_ text: String) throws {
        let channel = EmbeddedChannel(handler: ReplyDecoder(maxBytes: 1000, maxElements: 1000))
        try channel.connect(to: .init(unixDomainSocketPath: "/x")).wait()
        let error = #expect(throws: ConnectionProblem.self) { try channel.writeInbound(ByteBuffer(string: text)) }
        guard case .violation = error else {
            Issue.record("\(String(describing: error))")
            return
        }
        channel.embeddedEventLoop.run()
        #expect(!channel.isActive)
    }

    @Test(arguments: [
        // A length alone reserves nothing, and what comes after it is counted.
        "$2000\r\n" + String(repeating: "x", count: 1100), "+" + String(repeating: "x", count: 1100),
        "*30\r\n" + String(repeating: "$50\r\n" + String(repeating: "x", count: 50) + "\r\n", count: 29),
        // In one piece.
        "$1200\r\n" + String(repeating: "x", count: 1200) + "\r\n",
        "*2147483647\r\n", "*101\r\n", "*60\r\n*60\r\n",
    ])
    func whatIsTooLongClosesTheConnection(_ text: String) throws {
        let channel = EmbeddedChannel(handler: ReplyDecoder(maxBytes: 1000, maxElements: 100))
        let error = #expect(throws: ConnectionProblem.self) { try channel.writeInbound(ByteBuffer(string: text)) }
        #expect(error == .oversizedReply(maxBytes: 1000, maxElements: 100))
    }

    @Test func theBoundIsOfOneReplyAndNotOfThemAll() throws {
        let one = "*50\r\n" + String(repeating: ":1\r\n", count: 50)
        #expect(try read([String(repeating: one, count: 100).bytes], maxBytes: 300, maxElements: 50).count == 100)
    }

    @Test func anUnfinishedReplyIsLetGo() throws {
        _ = try read(["*3\r\n$1\r\na\r\n*2\r\n:1\r\n".bytes])
    }

    @Test func commandsAreWrittenWithTheirLengths() {
        let commands: [[RedisArgument]] = [["SET", "é", RedisArgument([0, 13, 10, 255])], ["GET", ""], ["X", 5]]
        let bytes = CommandFormat.encode(commands)
        #expect(
            Array(bytes.readableBytesView)
                == "*3\r\n$3\r\nSET\r\n$2\r\né\r\n$4\r\n".bytes + [0, 13, 10, 255]
                + "\r\n*2\r\n$3\r\nGET\r\n$0\r\n\r\n*2\r\n$1\r\nX\r\n$1\r\n5\r\n".bytes
        )
        #expect(CommandFormat.size(commands) >= bytes.readableBytes)
    }
}
