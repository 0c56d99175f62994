/// The opening handshake (RFC 6455 §4), for both sides. SHA-1 comes in from outside: Wire does no cryptography.
package enum WebSocketHandshake {
    package typealias SHA1 = ([UInt8]) -> [UInt8]

    package enum Decision: Sendable, Hashable {
        /// Answer 101 with these headers; `subprotocol` is nil when none is to be named.
        case accept(secWebSocketAccept: String, subprotocol: String?)
        /// Answer with `status`, the headers (lower case), and `reason` for a person.
        case refuse(status: Int, headers: [String: String], reason: String)
    }

    /// Whether a request asks for a WebSocket at all, rightly or not. Anything else is an ordinary request.
    package static func isAsked(headers values: (String) -> [String]) -> Bool { has("websocket", in: values("upgrade")) }

    /// Whether a request asks for any other protocol (RFC 9110 §7.8).
    package static func isUpgrade(headers values: (String) -> [String]) -> Bool {
        !values("upgrade").isEmpty && has("upgrade", in: values("connection"))
    }

    /// Decides on a client's request (§4.2.1). `headers` gives all values of a header, asked for in lower case; `subprotocols` are ours.
    package static func decide(method: String, headers values: (String) -> [String], subprotocols: [String] = [], sha1: SHA1) -> Decision {
        guard method == "GET" else { return .refuse(status: 405, headers: ["allow": "GET"], reason: "a WebSocket begins with GET") }
        guard has("websocket", in: values("upgrade")), has("upgrade", in: values("connection")) else {
            return .refuse(status: 426, headers: ["upgrade": "websocket", "connection": "upgrade"], reason: "this address speaks WebSocket only")
        }
        guard values("sec-websocket-version").map(trimmed) == ["13"] else {
            // §4.4: the answer names the version we speak.
            return .refuse(status: 426, headers: ["sec-websocket-version": "13"], reason: "Sec-WebSocket-Version must be 13")
        }
        let keys = values("sec-websocket-key").map(trimmed)
        guard keys.count == 1, isKey(keys[0]) else {
            return .refuse(status: 400, headers: [:], reason: "Sec-WebSocket-Key must be 16 bytes in base64")
        }
        let offered = tokens(values("sec-websocket-protocol"))
        return .accept(secWebSocketAccept: accept(key: keys[0], sha1: sha1), subprotocol: offered.first { subprotocols.contains($0) })
    }

    /// The proof that the server read the key (§4.2.2 item 5.4).
    package static func accept(key: String, sha1: SHA1) -> String { Base64.encode(sha1(Array(key.utf8) + guid)) }

    /// A new nonce for a client's request (§4.1 item 7).
    package static func newKey() -> String {
        var generator = SystemRandomNumberGenerator()
        return Base64.encode((0..<16).map { _ in generator.next() })
    }

    private static let guid = Array("258EAFA5-E914-47DA-95CA-C5AB0DC85B11".utf8)

    private static func isKey(_ key: String) -> Bool {
        key.utf8.count == 24 && key.hasSuffix("==") && key.utf8.prefix(22).allSatisfy(Base64.alphabet.contains)
    }

    // MARK: Header values (RFC 9110 §5.6.1)

    private static func has(_ token: String, in values: [String]) -> Bool { tokens(values).contains { $0.lowercased() == token } }

    private static func tokens(_ values: [String]) -> [String] {
        values.flatMap { $0.split(separator: ",") }.map { trimmed(String($0)) }.filter { !$0.isEmpty }
    }

    private static func trimmed(_ value: String) -> String {
        let isSpace = { (byte: UInt8) in byte == 0x20 || byte == 0x09 }
        let text = value.utf8.drop(while: isSpace)
        guard let last = text.lastIndex(where: { !isSpace($0) }) else { return "" }
        return String(decoding: text[...last], as: UTF8.self)
    }
}

/// Base64 with padding (RFC 4648 §4).
enum Base64 {
    static let alphabet = Array("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/".utf8)

    static func encode(_ bytes: [UInt8]) -> String {
        var text: [UInt8] = []
        text.reserveCapacity((bytes.count + 2) / 3 * 4)
        for start in stride(from: 0, to: bytes.count, by: 3) {
            let group = bytes[start..<min(start + 3, bytes.count)]
            var bits: UInt32 = 0
            for byte in group { bits = bits << 8 | UInt32(byte) }
            bits <<= UInt32((3 - group.count) * 8)
            for place in 0..<4 {
                text.append(place <= group.count ? alphabet[Int(bits >> UInt32((3 - place) * 6) & 0x3f)] : UInt8(ascii: "="))
            }
        }
        return String(decoding: text, as: UTF8.self)
    }
}
