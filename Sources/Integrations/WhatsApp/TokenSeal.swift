import Crypto

import struct Foundation.Data

/// How access tokens were kept before they were sealed like everything else (docs/operating.md "Sealed columns"): AES-256-GCM under a key made of the server's
/// secret (HKDF, RFC 5869), as `g1.` and the base64 of nonce, text and tag. Only read any more: `rotate-keys`, or registering the number again, replaces it.
package struct TokenSeal: Sendable {
    private let key: SymmetricKey

    package init(secret: String) {
        key = HKDF<SHA256>.deriveKey(
            inputKeyMaterial: SymmetricKey(data: Array(secret.utf8)),
            info: Array("plantao whatsapp access token".utf8),
            outputByteCount: 32
        )
    }

    package static func isSealed(_ text: String) -> Bool { text.hasPrefix("g1.") }

    /// `nil` for what this secret has not sealed.
    package func open(_ sealed: String) -> String? {
        guard Self.isSealed(sealed), let data = Data(base64Encoded: String(sealed.dropFirst(3))), let box = try? AES.GCM.SealedBox(combined: data),
            let token = try? AES.GCM.open(box, using: key)
        else { return nil }
        return String(decoding: token, as: UTF8.self)
    }
}
