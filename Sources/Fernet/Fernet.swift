import Crypto
import CryptoExtras

#if canImport(FoundationEssentials)
    package import FoundationEssentials
#else
    package import Foundation
#endif

// Fernet, version 0x80 (https://github.com/fernet/spec, Spec.md), as Python's `cryptography.fernet` speaks it.
//
//     key    base64url of 32 bytes: 16 to sign with, 16 to encrypt with
//     token  base64url, with padding, of
//            0x80 | seconds since 1970, 8 bytes, big-endian | IV, 16 bytes | AES-128-CBC with PKCS #7 padding | HMAC-SHA256 of all before it, 32 bytes
//
// The signature is looked at before anything is decrypted, in constant time; what is wrong with a token is not told apart.

/// One key.
package struct FernetKey: Sendable {
    private let signing: SymmetricKey
    private let encryption: SymmetricKey
    /// As it is written in a setting.
    package let text: String

    /// `nil` for what is not the base64url of 32 bytes.
    package init?(_ text: String) {
        guard let bytes = Base64URL.decode(text), bytes.count == 32 else { return nil }
        signing = SymmetricKey(data: bytes[..<16])
        encryption = SymmetricKey(data: bytes[16...])
        self.text = text
    }

    package static func random() -> FernetKey {
        let bytes = SymmetricKey(size: .bits256).withUnsafeBytes { [UInt8]($0) }
        guard let key = FernetKey(Base64URL.encode(bytes)) else { preconditionFailure("32 bytes are a key") }
        return key
    }

    /// - Parameter iv: 16 bytes; chosen by chance unless a test says otherwise.
    package func encrypt(_ plain: [UInt8], atSeconds seconds: Int64, iv: [UInt8]? = nil) throws -> String {
        let vector = try iv.map { try AES._CBC.IV(ivBytes: $0) } ?? AES._CBC.IV()
        var token: [UInt8] = [0x80]
        token += withUnsafeBytes(of: seconds.bigEndian) { [UInt8]($0) }
        token += [UInt8](vector)
        token += try AES._CBC.encrypt(plain, using: encryption, iv: vector)
        token += HMAC<SHA256>.authenticationCode(for: token, using: signing)
        return Base64URL.encode(token)
    }

    /// `nil` for what this key has not signed.
    fileprivate func open(_ token: [UInt8]) -> [UInt8]? {
        guard HMAC<SHA256>.isValidAuthenticationCode(token.suffix(32), authenticating: token.dropLast(32), using: signing),
            let vector = try? AES._CBC.IV(ivBytes: token[9..<25]),
            let plain = try? AES._CBC.decrypt(token[25..<(token.count - 32)], using: encryption, iv: vector)
        else { return nil }
        return [UInt8](plain)
    }
}

/// Several keys, so that they can be changed while what the old ones encrypted is still about: the first encrypts, all of them decrypt.
package struct FernetKeys: Sendable {
    private let keys: [FernetKey]

    package init(_ first: FernetKey, _ others: [FernetKey] = []) { keys = [first] + others }

    package struct NotOurs: Error, CustomStringConvertible {
        package var description: String { "none of the keys opens it" }
    }

    package func encrypt(_ plain: [UInt8], atSeconds seconds: Int64) throws -> String { try keys[0].encrypt(plain, atSeconds: seconds) }

    package func decrypt(_ token: String) throws(NotOurs) -> [UInt8] {
        guard let bytes = Self.parsed(token) else { throw NotOurs() }
        for key in keys { if let plain = key.open(bytes) { return plain } }
        throw NotOurs()
    }

    /// Whether the first key made it. What another did is to be encrypted anew.
    package func isCurrent(_ token: String) -> Bool { Self.parsed(token).map { keys[0].open($0) != nil } ?? false }

    /// Whether something looks like a token. Its first bytes are the version and a time before the year 5 billion.
    package static func isToken(_ text: String) -> Bool { text.hasPrefix("gAAAAA") && parsed(text) != nil }

    private static func parsed(_ token: String) -> [UInt8]? {
        guard let bytes = Base64URL.decode(token), bytes.count >= 73, bytes[0] == 0x80, (bytes.count - 57) % 16 == 0 else { return nil }
        return bytes
    }
}

/// RFC 4648 §5, with padding.
enum Base64URL {
    static func encode(_ bytes: [UInt8]) -> String {
        Data(bytes).base64EncodedString().replacing("+", with: "-").replacing("/", with: "_")
    }

    static func decode(_ text: String) -> [UInt8]? {
        guard !text.contains("+"), !text.contains("/") else { return nil }
        return Data(base64Encoded: text.replacing("-", with: "+").replacing("_", with: "/")).map { [UInt8]($0) }
    }
}
