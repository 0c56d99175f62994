/// The ways WhatsApp names one person. Any of them may be absent but never all, and a phone number is never required: since April 2026 people
/// may hide theirs behind a username (research/conversations.md §5.4). Match by `bsuid` first, then by `waID` in both of its Brazilian forms.
package struct WhatsAppIdentity: Sendable, Hashable {
    /// The number as WhatsApp writes it: digits with the country code, for Brazil with or without the ninth digit.
    package var waID: String?
    /// The id of the person within this business: `BR.1502576394655843`. A new phone number brings a new one.
    package var bsuid: String?
    /// The id of the person within a group of businesses: `BR.ENT.118`.
    package var parentBSUID: String?

    package init(waID: String? = nil, bsuid: String? = nil, parentBSUID: String? = nil) {
        self.waID = waID
        self.bsuid = bsuid
        self.parentBSUID = parentBSUID
    }

    package var isEmpty: Bool { waID == nil && bsuid == nil && parentBSUID == nil }

    /// `^[A-Z]{2}\.(ENT\.)?[A-Za-z0-9]{1,128}$`
    package static func isBSUID(_ text: String) -> Bool {
        var rest = text.utf8[...]
        guard rest.count > 3, rest.prefix(2).allSatisfy({ (UInt8(ascii: "A")...UInt8(ascii: "Z")).contains($0) }) else { return false }
        rest = rest.dropFirst(2)
        guard rest.first == UInt8(ascii: ".") else { return false }
        rest = rest.dropFirst()
        if rest.starts(with: "ENT.".utf8) { rest = rest.dropFirst(4) }
        return (1...128).contains(rest.count)
            && rest.allSatisfy { byte in
                (UInt8(ascii: "0")...UInt8(ascii: "9")).contains(byte) || (UInt8(ascii: "A")...UInt8(ascii: "Z")).contains(byte)
                    || (UInt8(ascii: "a")...UInt8(ascii: "z")).contains(byte)
            }
    }
}
