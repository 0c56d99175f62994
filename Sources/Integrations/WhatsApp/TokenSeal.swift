import Crypto

import struct Foundation.Data

/// Keeps access tokens unreadable in the database: AES-256-GCM under a key made of the server's secret (HKDF, RFC 5869). A token sealed under another secret
/// does not open, and has to be registered again.
package struct TokenSeal: Sendable {
    private let key: SymmetricKey

    package init(secret: String) {
        key = HKDF<SHA256>.deriveKey(
            inputKeyMaterial: SymmetricKey(data: Array(secret.utf8)),
            info: Array("plantao whatsapp access token".utf8),
            outputByteCount: 32
        )
    }

    package func seal(_ token: String) throws -> String {
        let box = try AES.GCM.seal(Array(token.utf8), using: key)
        return "g1." + (box.combined ?? Data()).base64EncodedString()
    }

    package func open(_ sealed: String) -> String? {
        guard sealed.hasPrefix("g1."), let data = Data(base64Encoded: String(sealed.dropFirst(3))), let box = try? AES.GCM.SealedBox(combined: data),
            let token = try? AES.GCM.open(box, using: key)
        else { return nil }
        return String(decoding: token, as: UTF8.self)
    }
}
