/// `ws://host[:port][/path][?query]` (RFC 6455 §3), taken apart.
package struct RealtimeURL: Sendable, Hashable {
    package let host: String
    package let port: Int
    /// Path and query, as the request line wants them.
    package let target: String

    /// The `Host` header (RFC 9112 §3.2): a port only if it is not 80, an IPv6 address in brackets.
    var authority: String {
        let name = host.contains(":") ? "[\(host)]" : host
        return port == 80 ? name : "\(name):\(port)"
    }

    package init(_ text: String) throws(RealtimeError) {
        let scheme = "ws://"
        guard text.lowercased().hasPrefix(scheme) else { throw .badURL("\(text): an address begins with ws:// (TLS is for a proxy in front)") }
        let rest = text.dropFirst(scheme.count)
        guard !rest.contains(where: { $0 == "#" || $0.isWhitespace }) else { throw .badURL("\(text): no fragment or space may be in it") }
        let end = rest.firstIndex { $0 == "/" || $0 == "?" } ?? rest.endIndex
        let target = rest[end...]
        self.target = target.hasPrefix("/") ? String(target) : "/" + target

        var authority = rest[..<end]
        guard !authority.contains("@") else { throw .badURL("\(text): no user name may be in it") }
        var port = 80
        if let colon = authority.lastIndex(of: ":"), !authority[colon...].contains("]") {
            guard let number = UInt16(authority[authority.index(after: colon)...]), number > 0 else {
                throw .badURL("\(text): the port is not a number")
            }
            port = Int(number)
            authority = authority[..<colon]
        }
        if authority.hasPrefix("["), authority.hasSuffix("]") { authority = authority.dropFirst().dropLast() }
        guard !authority.isEmpty else { throw .badURL("\(text): the host is missing") }
        self.host = String(authority)
        self.port = port
    }
}
