#if canImport(Glibc)
    import Glibc
#else
    import Darwin
#endif

/// Where a request comes from, as 128 bits; IPv4 as RFC 4291 §2.5.5.2 maps it.
package struct ClientAddress: Hashable, Sendable {
    let high: UInt64
    let low: UInt64

    private static let mapped: UInt64 = 0xffff_0000_0000

    init(high: UInt64, low: UInt64) {
        self.high = high
        self.low = low
    }

    /// `192.0.2.1`, `2001:db8::1`, `[2001:db8::1]:443` or `192.0.2.1:443`. `nil` for anything else, such as a name or `unknown`.
    package init?(_ text: some StringProtocol) {
        var text = Substring(text).drop { $0 == " " }
        while text.last == " " { text.removeLast() }
        if text.first == "[" {
            guard let end = text.firstIndex(of: "]") else { return nil }
            text = text[text.index(after: text.startIndex)..<end]
        } else if text.contains("."), let colon = text.lastIndex(of: ":"), !text[..<colon].contains(":") {
            text = text[..<colon]
        }
        let address = String(text)
        var four = in_addr()
        if inet_pton(AF_INET, address, &four) == 1 {
            self.init(high: 0, low: Self.mapped | UInt64(UInt32(bigEndian: four.s_addr)))
            return
        }
        var six = in6_addr()
        guard inet_pton(AF_INET6, address, &six) == 1 else { return nil }
        let bytes = withUnsafeBytes(of: &six) { Array($0) }
        func word(_ range: Range<Int>) -> UInt64 { bytes[range].reduce(0) { $0 << 8 | UInt64($1) } }
        self.init(high: word(0..<8), low: word(8..<16))
    }

    var isIPv4: Bool { high == 0 && low >> 32 == 0xffff }

    /// What one customer of a network has: an IPv4 address, or an IPv6 /64, within which they may choose as they like.
    var network: ClientAddress { isIPv4 ? self : ClientAddress(high: high, low: 0) }
}

/// `10.0.0.0/8`, `fd00::/8`, or one address.
package struct AddressRange: Sendable, Hashable {
    private let first: ClientAddress
    private let bits: Int

    package init?(_ text: some StringProtocol) {
        let parts = text.split(separator: "/", maxSplits: 1, omittingEmptySubsequences: false)
        guard let first = parts.first.flatMap({ ClientAddress($0) }) else { return nil }
        let width = first.isIPv4 ? 32 : 128
        guard parts.count == 1 || Int(parts[1]).map({ (0...width).contains($0) }) == true else { return nil }
        bits = 128 - width + (parts.count == 1 ? width : Int(parts[1]) ?? width)
        self.first = first
    }

    func contains(_ address: ClientAddress) -> Bool {
        let (high, low) = (Self.mask(min(bits, 64)), Self.mask(max(bits - 64, 0)))
        return (address.high ^ first.high) & high == 0 && (address.low ^ first.low) & low == 0
    }

    private static func mask(_ bits: Int) -> UInt64 { bits == 0 ? 0 : ~0 << (64 - UInt64(bits)) }
}

extension ClientAddress {
    /// Who sent a request: the peer, unless that is a proxy of ours; then whom the proxy says it had it from, and so on. What a stranger writes into the header stands
    /// left of the last proxy's word and is never reached.
    static func origin(peer: ClientAddress, forwardedFor: [String], trusting proxies: [AddressRange]) -> ClientAddress {
        var origin = peer
        for hop in forwardedFor.flatMap({ $0.split(separator: ",") }).reversed() {
            guard proxies.contains(where: { $0.contains(origin) }), let before = ClientAddress(hop) else { break }
            origin = before
        }
        return origin
    }
}
