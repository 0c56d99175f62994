/// The key a client's frame is masked with, and the masking itself (RFC 6455 §5.3): octet `i` of the payload is xored with octet `i mod 4` of the key.
package struct WebSocketMask: Sendable, Hashable {
    /// The four octets, first one in the most significant place, as on the wire.
    package let key: UInt32

    package init(key: UInt32) { self.key = key }

    /// A fresh key for each frame, from a source nobody can predict (§5.3, §10.3).
    package static func random() -> WebSocketMask {
        var generator = SystemRandomNumberGenerator()
        return WebSocketMask(key: generator.next())
    }

    /// Masks or unmasks in place. `offset` is where in the frame's payload `bytes` begins.
    func apply(to bytes: UnsafeMutableRawBufferPointer, offset: Int = 0) {
        guard key != 0 else { return }
        let turned = (key << UInt32((offset & 3) * 8)) | (key >> UInt32((4 - offset & 3) % 4 * 8))
        let word = (UInt64(turned) << 32 | UInt64(turned)).bigEndian
        var index = 0
        while index + 8 <= bytes.count {
            bytes.storeBytes(of: bytes.loadUnaligned(fromByteOffset: index, as: UInt64.self) ^ word, toByteOffset: index, as: UInt64.self)
            index += 8
        }
        while index < bytes.count {
            bytes[index] ^= UInt8(truncatingIfNeeded: turned >> UInt32((3 - index & 3) * 8))
            index += 1
        }
    }
}
