import Foundation
import NIOCore
import TestSupport
import Testing

@testable import Wire

/// Histories of messages, compressed by one side and restored by the other.
@Suite("permessage-deflate, histories")
struct DeflateHistoryTests {
    static let sizes = [0, 1, 2, 7, 100, 255, 256, 1000, 5000, 40000]

    /// Every window, memory level and takeover, beside every level now and then.
    static let settings: [(bits: Int, memory: Int, level: Int, takeover: Bool)] = (9...15).flatMap { bits in
        [1, 5, 8, 9].flatMap { memory in [false, true].map { (bits, memory, 1 + (bits + memory) % 9, $0) } }
    }

    @Test("Any history comes out as it went in, with every window, memory level and takeover", arguments: settings)
    func anyHistoryComesOut(bits: Int, memory: Int, level: Int, takeover: Bool) throws {
        var random = SeededGenerator.fresh()
        let policy = Self.policy(memory: memory, level: level)
        let deflater = MessageDeflater(windowBits: bits, takesContextOver: takeover, policy)
        let inflater = MessageInflater(windowBits: bits, takesContextOver: takeover)
        for message in history(12, &random) {
            let compressed = deflater.deflated(message)
            #expect(!compressed.isEmpty)
            #expect(try inflater.inflated(compressed) == message, "PLANTAO_SEED=\(random.seed)")
            #expect(inflater.isHoldingStream == takeover)
        }
    }

    @Test("With takeover a message like the last one is next to nothing; without, each is the same bytes")
    func takeoverPaysForLikeMessages() {
        var random = SeededGenerator(seed: 7)
        let message = Payload.json.bytes(800, &random)
        let keeping = MessageDeflater(windowBits: 12, takesContextOver: true)
        let first = keeping.deflated(message)
        #expect(keeping.deflated(message).count * 5 < first.count)
        let forgetting = MessageDeflater(windowBits: 12, takesContextOver: false)
        #expect(forgetting.deflated(message) == first)
        _ = forgetting.deflated(Payload.noise.bytes(3000, &random))
        #expect(forgetting.deflated(message) == first)
    }

    @Test("Both ends of every agreement understand each other, both ways")
    func bothEndsUnderstandEachOther() throws {
        var random = SeededGenerator.fresh()
        for takeover in 0..<4 {
            for bits in [9, 11, 15] {
                for peerBits in [8, 9, 12, 15] {
                    let server = DeflatePolicy.with { policy in
                        policy.maxWindowBits = bits
                        policy.peerMaxWindowBits = peerBits
                        policy.allowsContextTakeover = takeover & 1 != 0
                        policy.allowsPeerContextTakeover = takeover & 2 != 0
                    }
                    var client = DeflatePolicy.takeover
                    client.maxWindowBits = 15
                    let pair = try DeflatedPair(server: server, client: client)
                    #expect((pair.client.deflater == nil) == (peerBits == 8), "zlib has no raw window of 8 bits")
                    var toServer = WebSocketFrameParser(
                        role: .server,
                        maxFrameBytes: 1 << 17,
                        maxMessageBytes: 1 << 17,
                        inflater: pair.server.inflater
                    )
                    var toClient = WebSocketFrameParser(
                        role: .client,
                        maxFrameBytes: 1 << 17,
                        maxMessageBytes: 1 << 17,
                        inflater: pair.client.inflater
                    )
                    for message in history(5, &random) {
                        toServer.append(pair.client.binary(message, mask: .random()))
                        #expect(try toServer.next() == .binary(message.buffer), "PLANTAO_SEED=\(random.seed)")
                        toClient.append(pair.server.binary(message))
                        #expect(try toClient.next() == .binary(message.buffer), "PLANTAO_SEED=\(random.seed)")
                    }
                }
            }
        }
    }

    @Test("Python's zlib restores what we compress, and we what it does", .enabled(if: PythonZlib.isThere))
    func pythonAgrees() throws {
        var random = SeededGenerator.fresh()
        var requests: [PythonZlib.Request] = []
        var expected: [[[UInt8]]] = []
        for (bits, memory, level, takeover) in Self.settings {
            let messages = history(6, &random, sizes: [0, 3, 90, 700, 6000])
            let deflater = MessageDeflater(windowBits: bits, takesContextOver: takeover, Self.policy(memory: memory, level: level))
            requests.append(
                .init(operation: "inflate", bits: bits, takeover: takeover, level: level, messages: messages.map { deflater.deflated($0) })
            )
            requests.append(.init(operation: "deflate", bits: bits, takeover: takeover, level: level, messages: messages))
            // Streams that end with BFINAL, whose window is the message before.
            requests.append(.init(operation: "finish", bits: bits, takeover: takeover, level: level, messages: messages))
            expected.append(messages)
        }
        let answers = try PythonZlib.run(requests)
        #expect(answers.count == requests.count)
        for (index, messages) in expected.enumerated() where index * 3 + 2 < answers.count {
            let (bits, _, _, takeover) = Self.settings[index]
            #expect(answers[index * 3] == messages, "PLANTAO_SEED=\(random.seed) \(bits) bits")
            for compressed in answers[index * 3 + 1...index * 3 + 2] {
                let inflater = MessageInflater(windowBits: bits, takesContextOver: takeover)
                for (compressed, message) in zip(compressed, messages) {
                    #expect(try inflater.inflated(compressed) == message, "PLANTAO_SEED=\(random.seed) \(bits) bits")
                }
            }
        }
    }

    private static func policy(memory: Int, level: Int) -> DeflatePolicy {
        .with { policy in
            policy.memoryLevel = memory
            policy.level = level
        }
    }

    private func history(_ count: Int, _ random: inout SeededGenerator, sizes: [Int] = sizes) -> [[UInt8]] {
        (0..<count).map { _ in Payload.allCases.randomElement(using: &random)!.bytes(sizes.randomElement(using: &random)!, &random) }
    }
}

/// `zlib` of Python, a program of its own.
enum PythonZlib {
    struct Request {
        let operation: String
        let bits: Int
        let takeover: Bool
        let level: Int
        let messages: [[UInt8]]
    }

    static let isThere = (try? run([])) != nil

    /// One answer for each request: its messages compressed or restored.
    static func run(_ requests: [Request]) throws -> [[[UInt8]]] {
        let directory = TemporaryDirectory()
        try FileManager.default.createDirectory(atPath: directory.path, withIntermediateDirectories: true)
        let (input, output) = (directory.path + "/in", directory.path + "/out")
        let lines = requests.map { request in
            let words = [request.operation, "\(request.bits)", request.takeover ? "1" : "0", "\(request.level)"]
            return (words + request.messages.map { "." + hex($0) }).joined(separator: " ") + "\n"
        }
        try lines.joined().write(toFile: input, atomically: false, encoding: .utf8)
        try "".write(toFile: output, atomically: false, encoding: .utf8)
        let process = Process()
        process.executableURL = URL(fileURLWithPath: "/usr/bin/env")
        process.arguments = ["python3", "-c", program]
        process.standardInput = try FileHandle(forReadingFrom: URL(fileURLWithPath: input))
        process.standardOutput = try FileHandle(forWritingTo: URL(fileURLWithPath: output))
        process.standardError = FileHandle.nullDevice
        try process.run()
        process.waitUntilExit()
        guard process.terminationStatus == 0 else { throw CocoaError(.featureUnsupported) }
        return try String(contentsOfFile: output, encoding: .utf8).split(separator: "\n").map { line in
            line.split(separator: " ").map { bytes($0.dropFirst()) }
        }
    }

    private static let program = """
        import sys, zlib
        for line in sys.stdin:
            op, bits, takeover, level, *messages = line.split()
            bits, z, answers, before = -int(bits), None, [], b''
            for message in (bytes.fromhex(m[1:]) for m in messages):
                if op == 'finish':
                    z = zlib.compressobj(int(level), zlib.DEFLATED, bits, zdict=before) if takeover == '1' else zlib.compressobj(int(level), zlib.DEFLATED, bits)
                    answers.append(z.compress(message) + z.flush(zlib.Z_FINISH) + b'\\0')
                    before = message or before
                    continue
                if z is None or takeover == '0':
                    z = zlib.decompressobj(bits) if op == 'inflate' else zlib.compressobj(int(level), zlib.DEFLATED, bits)
                if op == 'inflate':
                    answers.append(z.decompress(message + b'\\0\\0\\xff\\xff'))
                    assert not z.unused_data
                else:
                    flushed = z.compress(message) + z.flush(zlib.Z_SYNC_FLUSH)
                    assert not flushed or flushed.endswith(b'\\0\\0\\xff\\xff')
                    answers.append(flushed[:-4] or b'\\0')
            print(' '.join('.' + a.hex() for a in answers))
        """

    private static func hex(_ bytes: [UInt8]) -> String {
        let digits = Array("0123456789abcdef".utf8)
        return String(decoding: bytes.flatMap { [digits[Int($0 >> 4)], digits[Int($0 & 15)]] }, as: UTF8.self)
    }

    private static func bytes(_ hex: Substring) -> [UInt8] {
        let digits = hex.utf8.map { $0 < 0x60 ? $0 - 0x30 : $0 - 0x57 }
        return stride(from: 0, to: digits.count, by: 2).map { digits[$0] << 4 | digits[$0 + 1] }
    }
}
