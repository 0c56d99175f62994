/// What one side wants of permessage-deflate (RFC 7692 §7). "Ours" is what we compress, "the peer's" what we inflate.
///
/// Memory, of zlib (zconf.h): a deflater takes 2^(windowBits + 2) + 2^(memoryLevel + 9) bytes and about 6 KB, which is 38 KB as it is here and
/// 262 KB at 15 and 8; an inflater takes 2^windowBits and about 7 KB. Without context takeover they belong to the event loop, with it to the
/// connection.
///
/// A compressed length tells something about what was compressed: a secret and text of a stranger's choosing do not belong in one message
/// (CRIME). Without takeover, what was in other messages is no part of it.
package struct DeflatePolicy: Sendable, Hashable {
    package var isEnabled = true
    /// Whether our compressor may refer back to our earlier messages (§7.1.1). If not, the same message is the same bytes for every peer, so that
    /// one that goes to many is compressed once.
    package var allowsContextTakeover = false
    /// Whether the peer's may; each connection then keeps a window for it.
    package var allowsPeerContextTakeover = false
    /// The largest window we compress with, 9...15: the zlib we link refuses raw streams of 8.
    package var maxWindowBits = 12
    /// The largest window the peer is to compress with, 8...15. A server may only ask it of a client that lets it (§7.1.2.2).
    package var peerMaxWindowBits = 15
    /// 1...9: memory against speed and ratio.
    package var memoryLevel = 5
    /// 1...9: time against ratio.
    package var level = 1
    /// Shorter messages go out as they are.
    package var minimumBytes = 256
    /// The most a message of the peer's may inflate to (1009 beyond).
    package var maxMessageBytes = 64 << 10

    package init() {}

    package static var disabled: DeflatePolicy {
        var policy = DeflatePolicy()
        policy.isEnabled = false
        return policy
    }

    func validated() -> DeflatePolicy {
        precondition((9...15).contains(maxWindowBits), "maxWindowBits is \(maxWindowBits), must be 9...15")
        precondition((8...15).contains(peerMaxWindowBits), "peerMaxWindowBits is \(peerMaxWindowBits), must be 8...15")
        precondition((1...9).contains(memoryLevel), "memoryLevel is \(memoryLevel), must be 1...9")
        precondition((1...9).contains(level), "level is \(level), must be 1...9")
        precondition(maxMessageBytes >= 0, "maxMessageBytes is \(maxMessageBytes), must not be negative")
        return self
    }
}
