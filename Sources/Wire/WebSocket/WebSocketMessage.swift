package import NIOCore

/// Something a peer said, complete: a message put together from its frames, or a control frame (RFC 6455 §5.5, §5.6).
package enum WebSocketMessage: Sendable, Hashable {
    /// Well-formed UTF-8.
    case text(ByteBuffer)
    case binary(ByteBuffer)
    case ping(ByteBuffer)
    case pong(ByteBuffer)
    /// `code` is absent when the frame had no body (§7.1.5).
    case close(code: UInt16?, reason: String)
}

/// The four bits that say what a frame is (RFC 6455 §5.2).
enum WebSocketOpcode: UInt8, Sendable {
    case continuation = 0x0
    case text = 0x1
    case binary = 0x2
    case close = 0x8
    case ping = 0x9
    case pong = 0xa

    var isControl: Bool { rawValue & 0x8 != 0 }
}

/// What a peer did that RFC 6455 forbids. The connection is failed with `code` (§7.1.7).
package struct WebSocketViolation: Error, Hashable, CustomStringConvertible {
    package let code: UInt16
    package let reason: String

    package var description: String { "\(code): \(reason)" }

    static func protocolError(_ reason: String) -> WebSocketViolation { WebSocketViolation(code: WebSocketCloseCode.protocolError, reason: reason) }
    static func notUTF8(_ what: String) -> WebSocketViolation {
        WebSocketViolation(code: WebSocketCloseCode.invalidPayload, reason: "\(what) is not UTF-8")
    }
    static func tooBig(_ what: String, max: Int) -> WebSocketViolation {
        WebSocketViolation(code: WebSocketCloseCode.tooBig, reason: "\(what) is larger than \(max) bytes")
    }
}

/// Close codes (RFC 6455 §7.4.1 and the IANA registry it opens).
package enum WebSocketCloseCode {
    package static let normal: UInt16 = 1000
    package static let goingAway: UInt16 = 1001
    package static let protocolError: UInt16 = 1002
    package static let unsupportedData: UInt16 = 1003
    package static let invalidPayload: UInt16 = 1007
    package static let policyViolation: UInt16 = 1008
    package static let tooBig: UInt16 = 1009
    package static let internalError: UInt16 = 1011
    package static let serviceRestart: UInt16 = 1012
    package static let tryAgainLater: UInt16 = 1013

    /// Whether a close frame may carry `code`: 1004–1006 and 1015 are reserved for local use, 1016–2999 for later versions of the protocol (§7.4.2).
    package static func mayTravel(_ code: UInt16) -> Bool {
        switch code {
        case 1000...1003, 1007...1014, 3000...4999: true
        default: false
        }
    }
}
