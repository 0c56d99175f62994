/// Tells one request from another (FNV-1a, 64 bits), piece by piece as it comes in.
package struct RequestDigest: Sendable {
    private var hash: UInt64 = 0xcbf2_9ce4_8422_2325

    package init() {}

    package mutating func take(_ byte: UInt8) { hash = (hash ^ UInt64(byte)) &* 0x100_0000_01b3 }
    package mutating func take(_ bytes: [UInt8]) { for byte in bytes { take(byte) } }

    package var text: String { String(hash, radix: 16) }
}
