import Crypto
package import Jobs
package import Kernel

import struct Foundation.Data

/// Addresses that say for whoever follows them that they want no more reminders, of one business and one recipient. Signed, so that nobody makes one for another.
package struct UnsubscribeLinks: Sendable {
    private let key: SymmetricKey

    package init(secret: String) {
        key = SymmetricKey(data: HMAC<SHA256>.authenticationCode(for: Data("unsubscribe".utf8), using: SymmetricKey(data: Data(secret.utf8))))
    }

    package struct Target: Sendable, Equatable {
        package let tenant: TenantID
        package let channel: OutgoingMessage.Channel
        package let recipient: String

        package init(tenant: TenantID, channel: OutgoingMessage.Channel, recipient: String) {
            self.tenant = tenant
            self.channel = channel
            self.recipient = recipient
        }
    }

    package func token(_ target: Target) -> String {
        let text = Data("\(target.tenant)/\(target.channel.rawValue)/\(Recipient.canonical(target.recipient, target.channel))".utf8)
        return "\(Self.base64URL(text)).\(Self.base64URL(signature(text)))"
    }

    /// `nil` for a token that is none of ours.
    package func target(_ token: String) -> Target? {
        let parts = token.split(separator: ".", omittingEmptySubsequences: false)
        // Written as we write it: base64 leaves bits at its end that mean nothing, and one address is to have one form.
        guard token.utf8.count <= 1024, parts.count == 2, let text = Self.data(parts[0]), let signed = Self.data(parts[1]),
            Self.base64URL(text) == parts[0], Self.base64URL(signed) == parts[1]
        else { return nil }
        guard Secret.isEqual(signed, signature(text)) else { return nil }
        let fields = String(decoding: text, as: UTF8.self).split(separator: "/", maxSplits: 2)
        guard fields.count == 3, let tenant = TenantID(fields[0]), let channel = OutgoingMessage.Channel(rawValue: String(fields[1])) else {
            return nil
        }
        return Target(tenant: tenant, channel: channel, recipient: String(fields[2]))
    }

    private func signature(_ text: Data) -> Data { Data(HMAC<SHA256>.authenticationCode(for: text, using: key).prefix(16)) }

    private static func base64URL(_ data: Data) -> String {
        data.base64EncodedString().replacing("+", with: "-").replacing("/", with: "_").replacing("=", with: "")
    }

    private static func data(_ text: Substring) -> Data? {
        let plain = text.replacing("-", with: "+").replacing("_", with: "/")
        return Data(base64Encoded: plain + String(repeating: "=", count: (4 - plain.utf8.count % 4) % 4))
    }
}
