/// The names that the server answers to (`ALLOWED_HOSTS`): a page of another name that leads here does not reach it through a browser (DNS rebinding).
package struct AllowedHosts: Sendable, Equatable {
    private let names: [String]

    /// - Parameter names: hosts without a port; `*.example.com` is any under it, and `*` any at all.
    package init(_ names: [String]) { self.names = names.map { $0.lowercased() } }

    package static let any = AllowedHosts(["*"])

    /// Whether something is such a name.
    package static func isName(_ text: String) -> Bool {
        text == "*" || text.wholeMatch(of: #/(\*\.)?[A-Za-z0-9]([A-Za-z0-9.\-]*[A-Za-z0-9])?|\[[0-9a-fA-F:.]+\]/#) != nil
    }

    /// - Parameter host: as a request says it, with or without a port (RFC 9110 §7.2).
    package func allows(_ host: String?) -> Bool {
        if names.contains("*") { return true }
        guard var name = host?.lowercased() else { return false }
        if let end = name.lastIndex(of: "]") { name = String(name[...end]) } else { name = String(name.prefix { $0 != ":" }) }
        if name.hasSuffix(".") { name.removeLast() }
        return names.contains { $0 == name || $0.hasPrefix("*.") && name.hasSuffix($0.dropFirst()) && name.count >= $0.count }
    }
}
