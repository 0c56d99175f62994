/// What Redis answers, in RESP2. The null string and the null array, which mean the same thing to every command, are one.
package enum RedisReply: Sendable, Hashable {
    case status(String)
    case error(RedisServerError)
    case integer(Int)
    case bulk([UInt8])
    case array([RedisReply])
    case null
}

/// An error reply: its first word is by convention a code (`WRONGTYPE`, `NOGROUP`, or `ERR` for most).
package struct RedisServerError: Error, Sendable, Hashable, CustomStringConvertible {
    /// All of it, the code included.
    package let message: String

    package init(_ message: String) { self.message = message }

    package var code: String { String(message.prefix { $0 != " " }) }
    package var description: String { message }
}

extension RedisReply {
    package var bytes: [UInt8]? {
        if case .bulk(let bytes) = self { bytes } else { nil }
    }

    /// A status or a string, as text.
    package var text: String? {
        switch self {
        case .status(let text): text
        case .bulk(let bytes): String(decoding: bytes, as: UTF8.self)
        default: nil
        }
    }

    package var integer: Int? {
        if case .integer(let number) = self { number } else { nil }
    }

    package var elements: [RedisReply]? {
        if case .array(let elements) = self { elements } else { nil }
    }
}
