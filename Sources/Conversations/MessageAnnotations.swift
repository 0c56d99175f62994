package import Kernel
import Wire

/// What became of a message besides its delivery: reactions to it, and what its author made of it later.
package struct MessageAnnotations: Sendable, Equatable {
    /// WhatsApp keeps one reaction of each side.
    package var customerReaction: String?
    package var businessReaction: String?
    /// What the customer changed their words to. What they said at first stays as it was.
    package var editedText: String?
    /// The customer has deleted it. What it said stays with the business.
    package var isRevoked = false
    /// When it was first heard of each, by the provider's clock; any may be missing.
    package var sentAt: Timestamp?
    package var deliveredAt: Timestamp?
    package var readAt: Timestamp?
    /// A recording was listened to.
    package var playedAt: Timestamp?
    /// How often somebody had it sent again.
    package var resends = 0

    package init() {}

    package var isEmpty: Bool { self == MessageAnnotations() }

    init(json text: String) {
        guard let json = try? JSON.parse(text) else { return }
        customerReaction = json["reactions"]?["customer"]?.string
        businessReaction = json["reactions"]?["business"]?.string
        editedText = json["edited_text"]?.string
        isRevoked = json["revoked"]?.bool ?? false
        sentAt = json["sent_at"]?.string.flatMap { Timestamp(rfc3339: $0) }
        deliveredAt = json["delivered_at"]?.string.flatMap { Timestamp(rfc3339: $0) }
        readAt = json["read_at"]?.string.flatMap { Timestamp(rfc3339: $0) }
        playedAt = json["played_at"]?.string.flatMap { Timestamp(rfc3339: $0) }
        resends = json["resends"]?.int.map(Int.init) ?? 0
    }

    /// - Returns: whether that is the first time it is heard of.
    mutating func heard(_ status: Message.Status, isPlayed: Bool, at time: Timestamp) -> Bool {
        let before = self
        switch status {
        case .sent: sentAt = sentAt ?? time
        case .delivered: deliveredAt = deliveredAt ?? time
        case .read where isPlayed: playedAt = playedAt ?? time
        case .read: readAt = readAt ?? time
        default: break
        }
        return self != before
    }

    var json: String? {
        guard !isEmpty else { return nil }
        var writer = JSONWriter()
        writer.object { write(to: &$0) }
        return String(decoding: writer.bytes, as: UTF8.self)
    }

    /// Members of the message, as clients see it; none while there is nothing to tell.
    func write(to object: inout JSONWriter) {
        if customerReaction != nil || businessReaction != nil {
            object.field("reactions") {
                $0.field("customer", customerReaction)
                $0.field("business", businessReaction)
            }
        }
        if let editedText { object.field("edited_text", editedText) }
        if isRevoked { object.field("revoked", true) }
        if let sentAt { object.field("sent_at", sentAt.description) }
        if let deliveredAt { object.field("delivered_at", deliveredAt.description) }
        if let readAt { object.field("read_at", readAt.description) }
        if let playedAt { object.field("played_at", playedAt.description) }
        if resends > 0 { object.field("resends", Int64(resends)) }
    }
}

/// What one message says about another.
package enum Annotation: Sendable, Equatable {
    /// `nil` takes it back.
    case reaction(String?)
    case edited(String)
    case revoked
}

/// What an agent sends beside plain words (DESIGN §7.1): media, buttons, lists, templates, locations, and answers that quote.
package struct Outgoing: Sendable, Equatable {
    /// WhatsApp's word for it: `text`, `image`, `interactive`, `template`, …
    package var kind: String
    /// What it says, or a line on what it is.
    package var text: String
    /// JSON in the shape of protocol/README.md "What messages carry".
    package var content: String?
    package var replyTo: MessageID?

    package init(kind: String, text: String, content: String? = nil, replyTo: MessageID? = nil) {
        self.kind = kind
        self.text = text
        self.content = content
        self.replyTo = replyTo
    }

    /// The one kind that WhatsApp takes outside the 24-hour window.
    static let template = "template"
}
