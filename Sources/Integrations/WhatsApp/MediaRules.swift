/// What kinds of files WhatsApp takes, how large, and what a file really is.
///
/// The type a sender names is a claim. What the bytes begin with is compared with it: a page of HTML that calls itself an image must never be shown as one.
package enum MediaRules {
    /// Types and bytes of what may be sent, by kind (WhatsApp Cloud API, "Supported media types").
    package static func limit(of kind: InboundMedia.Kind) -> Int {
        switch kind {
        case .image: 5 << 20
        case .video, .audio: 16 << 20
        case .document: 100 << 20
        case .sticker: 500 << 10
        }
    }

    /// What a file of this type is sent as; `nil` for what WhatsApp does not take.
    package static func kind(of mimeType: String) -> InboundMedia.Kind? {
        switch essence(of: mimeType) {
        case "image/jpeg", "image/png": .image
        case "video/mp4", "video/3gpp": .video
        case "audio/aac", "audio/mp4", "audio/mpeg", "audio/amr", "audio/ogg": .audio
        case "image/webp": .sticker
        case "application/pdf", "text/plain", "text/csv", "application/msword", "application/vnd.ms-excel", "application/vnd.ms-powerpoint",
            "application/vnd.openxmlformats-officedocument.wordprocessingml.document",
            "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet",
            "application/vnd.openxmlformats-officedocument.presentationml.presentation":
            .document
        default: nil
        }
    }

    /// `audio/ogg; codecs=opus` is `audio/ogg`.
    package static func essence(of mimeType: String) -> String {
        String(mimeType.prefix { $0 != ";" }).lowercased().filter { !$0.isWhitespace }
    }

    /// Whether bytes that begin like this may be of the type that is claimed. Types without a mark of their own are taken at their word, unless the bytes
    /// carry another's.
    package static func agrees(_ head: [UInt8], with mimeType: String) -> Bool {
        let claimed = essence(of: mimeType)
        let families = Self.families(of: head)
        if let expected = signatures.first(where: { $0.types.contains(claimed) })?.family { return families.contains(expected) }
        if claimed.hasPrefix("text/") { return families.isEmpty && !head.contains(0) }
        // Of any other type nothing is known; it is only ever offered for download.
        return true
    }

    /// The type the bytes themselves show, where they show one.
    package static func detected(_ head: [UInt8]) -> String? {
        let families = Self.families(of: head)
        return signatures.first { families.contains($0.family) }?.types.first
    }

    private enum Family { case jpeg, png, gif, webp, mp4, ogg, amr, mp3, aac, pdf, zip, ole, html }

    private static let signatures: [(family: Family, types: [String])] = [
        (.jpeg, ["image/jpeg"]), (.png, ["image/png"]), (.gif, ["image/gif"]), (.webp, ["image/webp"]), (.ogg, ["audio/ogg"]),
        (.mp4, ["video/mp4", "audio/mp4", "video/3gpp"]), (.amr, ["audio/amr"]), (.mp3, ["audio/mpeg"]), (.aac, ["audio/aac"]),
        (.pdf, ["application/pdf"]),
        (
            .zip,
            [
                "application/zip", "application/vnd.openxmlformats-officedocument.wordprocessingml.document",
                "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet",
                "application/vnd.openxmlformats-officedocument.presentationml.presentation",
            ]
        ), (.ole, ["application/msword", "application/vnd.ms-excel", "application/vnd.ms-powerpoint"]), (.html, ["text/html"]),
    ]

    private static func families(of head: [UInt8]) -> Set<Family> {
        func begins(_ bytes: [UInt8], at offset: Int = 0) -> Bool { head.dropFirst(offset).starts(with: bytes) }
        func begins(_ text: String, at offset: Int = 0) -> Bool { begins(Array(text.utf8), at: offset) }
        var found: Set<Family> = []
        if begins([0xff, 0xd8, 0xff]) { found.insert(.jpeg) }
        if begins([0x89, 0x50, 0x4e, 0x47, 0x0d, 0x0a, 0x1a, 0x0a]) { found.insert(.png) }
        if begins("GIF8") { found.insert(.gif) }
        if begins("RIFF"), begins("WEBP", at: 8) { found.insert(.webp) }
        if begins("ftyp", at: 4) { found.insert(.mp4) }
        if begins("OggS") { found.insert(.ogg) }
        if begins("#!AMR") { found.insert(.amr) }
        if begins("ID3") { found.formUnion([.mp3, .aac]) }
        // Frame syncs: MPEG audio has a layer, ADTS has none.
        if head.count > 1, head[0] == 0xff, head[1] & 0xe0 == 0xe0 { found.insert(head[1] & 0x06 == 0 ? .aac : .mp3) }
        if begins("%PDF-") { found.insert(.pdf) }
        if begins([0x50, 0x4b, 0x03, 0x04]) { found.insert(.zip) }
        if begins([0xd0, 0xcf, 0x11, 0xe0, 0xa1, 0xb1, 0x1a, 0xe1]) { found.insert(.ole) }
        let text = String(decoding: head.prefix(256), as: UTF8.self).lowercased().drop { $0.isWhitespace }
        if text.hasPrefix("<!doctype html") || text.hasPrefix("<html") || text.hasPrefix("<script") || text.hasPrefix("<svg") { found.insert(.html) }
        return found
    }
}
