import Crypto

/// Proof that a webhook delivery came from Meta: `X-Hub-Signature-256: sha256=<hex of HMAC-SHA256(app secret, body)>`.
///
/// It is taken over the bytes as they came. Meta escapes on the wire (`\u00e4`, `\/`), so a body that was read and written again no longer
/// matches as soon as somebody writes an accent (research/conversations.md §5.1).
package struct WhatsAppSignature: Sendable {
    package enum Verdict: Sendable, Equatable {
        /// There is no header: answer 401.
        case missing
        /// The header is not `sha256=` and 64 hexadecimal digits: answer 403.
        case malformed
        /// Another secret, or other bytes: answer 403.
        case wrong
        case valid
    }

    private let key: SymmetricKey

    package init(appSecret: String) { key = SymmetricKey(data: Array(appSecret.utf8)) }

    /// - Parameters:
    ///   - header: the value of `X-Hub-Signature-256`, `nil` when the request has none.
    ///   - body: the body as received, before any decoding.
    package func verdict(on body: [UInt8], header: String?) -> Verdict {
        guard let header else { return .missing }
        guard let claimed = Self.code(in: header) else { return .malformed }
        // Compares in constant time: how long a refusal takes tells nothing about how much of it was right.
        return HMAC<SHA256>.isValidAuthenticationCode(claimed, authenticating: body, using: key) ? .valid : .wrong
    }

    private static func code(in header: String) -> [UInt8]? {
        let prefix = "sha256="
        guard header.hasPrefix(prefix) else { return nil }
        let digits = Array(header.utf8.dropFirst(prefix.utf8.count))
        guard digits.count == 2 * SHA256.byteCount else { return nil }
        var code: [UInt8] = []
        for index in stride(from: 0, to: digits.count, by: 2) {
            guard let high = value(ofHexDigit: digits[index]), let low = value(ofHexDigit: digits[index + 1]) else { return nil }
            code.append(high << 4 | low)
        }
        return code
    }

    private static func value(ofHexDigit byte: UInt8) -> UInt8? {
        switch byte {
        case UInt8(ascii: "0")...UInt8(ascii: "9"): byte - UInt8(ascii: "0")
        case UInt8(ascii: "a")...UInt8(ascii: "f"): byte - UInt8(ascii: "a") + 10
        case UInt8(ascii: "A")...UInt8(ascii: "F"): byte - UInt8(ascii: "A") + 10
        default: nil
        }
    }
}
