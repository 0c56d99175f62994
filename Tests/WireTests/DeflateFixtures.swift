import NIOCore
import TestSupport

@testable import Wire

/// What deflate tests are fed with.
enum Payload: CaseIterable {
    /// As on our own wire.
    case json
    /// Text of several bytes a character.
    case prose
    case markup
    /// Does not shrink.
    case noise

    func bytes(_ count: Int, _ random: inout SeededGenerator) -> [UInt8] {
        var bytes: [UInt8] = []
        bytes.reserveCapacity(count + 64)
        while bytes.count < count {
            switch self {
            case .json: bytes += #"{"id":\#(UInt16.random(in: .min ... .max, using: &random)),"status":"aguardando","cliente":{"nome":"Ana"}},"#.utf8
            case .prose:
                bytes += ["Habe nun, ach! ", "Philosophie, ", "Juristerei ", "plantão — ", "κόσμε ", "😀 "].randomElement(using: &random)!.utf8
            case .markup: bytes += "<li class=\"row\"><a href=\"/c/\(UInt8.random(in: .min ... .max, using: &random))\">…</a></li>\n".utf8
            case .noise: bytes += withUnsafeBytes(of: random.next()) { Array($0) }
            }
        }
        bytes.removeLast(bytes.count - count)
        if self != .noise { bytes = Array(String(decoding: bytes, as: UTF8.self).utf8.prefix(count)).droppingPartialCharacter() }
        return bytes + [UInt8](repeating: 0x20, count: count - bytes.count)
    }

    var isText: Bool { self != .noise }
}

extension [UInt8] {
    fileprivate func droppingPartialCharacter() -> [UInt8] {
        var text = self
        while !text.isEmpty, !text.withUnsafeBytes({ UTF8Validator.isValid($0) }) { text.removeLast() }
        return text
    }

    var buffer: ByteBuffer { ByteBuffer(bytes: self) }
}

extension DeflatePolicy {
    static func with(_ change: (inout DeflatePolicy) -> Void) -> DeflatePolicy {
        var policy = DeflatePolicy()
        policy.minimumBytes = 0
        policy.maxMessageBytes = 1 << 20
        change(&policy)
        return policy
    }

    /// Both sides keep their context.
    static let takeover = with { policy in
        policy.allowsContextTakeover = true
        policy.allowsPeerContextTakeover = true
    }
}

extension MessageDeflater {
    func deflated(_ message: some Sequence<UInt8>) -> [UInt8] {
        var buffer = ByteBuffer()
        Array(message).withUnsafeBytes { deflate($0, to: &buffer) }
        return Array(buffer.readableBytesView)
    }
}

extension MessageInflater {
    convenience init(max: Int = 1 << 20, windowBits: Int = 15, takesContextOver: Bool = false) {
        self.init(windowBits: windowBits, takesContextOver: takesContextOver, maxMessageBytes: max)
    }

    func inflated(_ message: some Sequence<UInt8>) throws(WebSocketViolation) -> [UInt8] {
        Array(try inflate(ByteBuffer(bytes: message)).readableBytesView)
    }
}

/// Both ends of a connection that agreed on deflate.
struct DeflatedPair {
    let server: WebSocketDeflate
    let client: WebSocketDeflate

    init(server: DeflatePolicy, client: DeflatePolicy) throws {
        let agreement = try DeflateNegotiator(server).answer([DeflateNegotiator(client).offer!])!
        let accepted = try DeflateNegotiator(client).accept([agreement.headerValue])!
        self.server = WebSocketDeflate(agreement.parameters, role: .server, pool: DeflatePool(server))
        self.client = WebSocketDeflate(accepted, role: .client, pool: DeflatePool(client))
    }
}

/// A server's parser that knows deflate, without context.
func deflateParser(max: Int = 65536, maxFrame: Int = 65536, inflated: Int = 65536, takesContextOver: Bool = false) -> WebSocketFrameParser {
    WebSocketFrameParser(
        maxFrameBytes: maxFrame,
        maxMessageBytes: max,
        inflater: MessageInflater(max: inflated, takesContextOver: takesContextOver)
    )
}

/// What a stream gives: its messages and how it ended.
struct Outcome: Equatable {
    var messages: [WebSocketMessage] = []
    var violation: WebSocketViolation?

    init(_ pieces: [[UInt8]], _ parser: WebSocketFrameParser, drainsEachTime: Bool = true) {
        var parser = parser
        for (index, piece) in pieces.enumerated() {
            parser.append(piece.buffer)
            if drainsEachTime || index == pieces.count - 1 { drain(&parser) }
        }
    }

    private mutating func drain(_ parser: inout WebSocketFrameParser) {
        guard violation == nil else { return }
        do throws(WebSocketViolation) {
            while let message = try parser.next() { messages.append(message) }
        } catch { violation = error }
    }
}

extension Array {
    /// Cut in pieces of at most `limit` elements.
    func cut(upTo limit: Int, using random: inout SeededGenerator) -> [[Element]] {
        var pieces: [[Element]] = []
        var rest = self[...]
        while !rest.isEmpty {
            let count = Int.random(in: 1...Swift.min(rest.count, limit), using: &random)
            pieces.append(Array(rest.prefix(count)))
            rest = rest.dropFirst(count)
        }
        return pieces
    }

    /// Cut in pieces of `size` elements; one empty piece if there are none.
    func chunked(_ size: Int) -> [[Element]] {
        guard !isEmpty else { return [[]] }
        return stride(from: 0, to: count, by: size).map { Array(self[$0..<Swift.min($0 + size, count)]) }
    }
}

/// A client's message cut in frames of `size` bytes, with RSV1 on the first if `isCompressed`.
func fragmented(_ opcode: UInt8, _ payload: [UInt8], size: Int, isCompressed: Bool = false) -> [UInt8] {
    let pieces = payload.chunked(size)
    var stream: [UInt8] = []
    for (index, piece) in pieces.enumerated() {
        var first = index == 0 ? opcode | (isCompressed ? 0x40 : 0) : 0
        if index == pieces.count - 1 { first |= 0x80 }
        stream += masked(first, piece)
    }
    return stream
}
