import NIOCore
import Wire

/// The client's half of the opening handshake (RFC 6455 §4.1), without I/O: gives the request, reads the response.
struct WebSocketUpgrade {
    /// A response head longer than this is not one.
    static let maxHeadBytes = 16 << 10

    let request: String
    private let expectedAccept: String
    private var received = ByteBuffer()

    init(url: RealtimeURL, headers: [(name: String, value: String)], key: String = WebSocketHandshake.newKey()) {
        var lines = ["GET \(url.target) HTTP/1.1", "Host: \(url.authority)", "Upgrade: websocket", "Connection: Upgrade"]
        lines += ["Sec-WebSocket-Version: 13", "Sec-WebSocket-Key: \(key)"]
        lines += headers.map { "\($0.name): \($0.value)" }
        request = lines.joined(separator: "\r\n") + "\r\n\r\n"
        expectedAccept = WebSocketHandshake.accept(key: key, sha1: SHA1.digest)
    }

    /// Nil while the response's head is incomplete; then what came after it, which is already WebSocket.
    mutating func responseReceived(_ bytes: ByteBuffer) throws(RealtimeError) -> ByteBuffer? {
        received.writeImmutableBuffer(bytes)
        let view = received.readableBytesView
        guard let end = Self.endOfHead(view) else {
            guard view.count <= Self.maxHeadBytes else { throw .violation("the head of the response does not end") }
            return nil
        }
        let lines = String(decoding: view[..<end], as: UTF8.self).split(separator: "\r\n")
        received.moveReaderIndex(to: end)

        let status = lines.first?.split(separator: " ", maxSplits: 2) ?? []
        guard status.count >= 2, status[0].hasPrefix("HTTP/1."), let code = Int(status[1]) else { throw .violation("the answer is not HTTP/1.1") }
        guard code == 101 else { throw .refused(status: code, body: String(buffer: received)) }
        var headers: [String: String] = [:]
        for line in lines.dropFirst() {
            let parts = line.split(separator: ":", maxSplits: 1)
            guard parts.count == 2 else { continue }
            let name = parts[0].lowercased()
            let value = String(parts[1].drop { $0 == " " || $0 == "\t" })
            headers[name] = headers[name].map { "\($0), \(value)" } ?? value
        }
        guard headers["upgrade"]?.lowercased() == "websocket", headers["connection"]?.lowercased().contains("upgrade") == true else {
            throw .violation("101 without an upgrade to WebSocket")
        }
        guard headers["sec-websocket-accept"] == expectedAccept else { throw .violation("Sec-WebSocket-Accept is not the answer to our key") }
        guard headers["sec-websocket-extensions"] == nil, headers["sec-websocket-protocol"] == nil else {
            throw .violation("an extension or subprotocol that was not asked for")
        }
        return received.slice()
    }

    private static func endOfHead(_ view: ByteBufferView) -> Int? {
        let mark = Array("\r\n\r\n".utf8)
        var index = view.startIndex
        while index + 4 <= view.endIndex {
            if view[index] == mark[0], view[index..<index + 4].elementsEqual(mark) { return index + 4 }
            index += 1
        }
        return nil
    }
}
