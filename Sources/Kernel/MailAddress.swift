/// An e-mail address that a mail server can be asked to write to.
package enum MailAddress {
    /// `false` where it has what no address has, such as a space, an angle bracket or a line break; or what takes SMTPUTF8 (RFC 6531).
    package static func isOne(_ text: String) -> Bool {
        guard text.utf8.count <= 254, text.utf8.allSatisfy({ (0x21...0x7e).contains($0) }) else { return false }
        let parts = text.split(separator: "@", omittingEmptySubsequences: false)
        guard parts.count == 2, (1...64).contains(parts[0].utf8.count), !parts[1].isEmpty else { return false }
        return !text.contains { "<>()[]\\,;:\"".contains($0) }
    }
}
