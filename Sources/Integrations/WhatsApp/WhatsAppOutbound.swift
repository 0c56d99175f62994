import Wire

/// What every message to a customer says besides its contents.
package struct OutboundEnvelope: Sendable, Hashable {
    package enum Recipient: Sendable, Hashable {
        /// A phone number, or better the `wa_id` WhatsApp answered with before.
        case waID(String)
        /// A business-scoped id, for people who hide their number. Not allowed for authentication templates (error 131062).
        case bsuid(String)
    }

    package var recipient: Recipient
    /// The message to quote.
    package var replyingTo: String?
    /// Comes back with every status of the message. The API knows no idempotency key: this is how a send whose answer was lost is recognised.
    package var callbackData: String

    package init(to recipient: Recipient, replyingTo: String? = nil, callbackData: String) {
        self.recipient = recipient
        self.replyingTo = replyingTo
        self.callbackData = callbackData
    }

    /// The body of `POST /{phone_number_id}/messages` (research/conversations.md §5.5). Every type of message is this with its own `type`.
    func requestBody(type: String, _ content: (inout JSONWriter) -> Void) -> [UInt8] {
        var writer = JSONWriter(capacity: 512)
        writer.object {
            $0.field("messaging_product", "whatsapp")
            $0.field("recipient_type", "individual")
            switch recipient {
            case .waID(let number): $0.field("to", number)
            case .bsuid(let id): $0.field("recipient", id)
            }
            if let replyingTo { $0.field("context", object: { $0.field("message_id", replyingTo) }) }
            $0.field("type", type)
            $0.field(type, object: content)
            $0.field("biz_opaque_callback_data", callbackData)
        }
        return writer.bytes
    }
}

/// One message to a customer, whatever its type.
package struct OutboundMessage: Sendable, Hashable {
    package var envelope: OutboundEnvelope
    package var content: OutboundContent

    package init(_ content: OutboundContent, in envelope: OutboundEnvelope) {
        self.content = content
        self.envelope = envelope
    }

    /// A text.
    /// - Parameter previewsLink: show a preview of the first link.
    package init(
        to recipient: OutboundEnvelope.Recipient,
        body: String,
        replyingTo: String? = nil,
        previewsLink: Bool = false,
        callbackData: String
    ) {
        envelope = OutboundEnvelope(to: recipient, replyingTo: replyingTo, callbackData: callbackData)
        content = .text(body: body, previewsLink: previewsLink)
    }

    var requestBody: [UInt8] { envelope.requestBody(type: content.type) { content.write(to: &$0) } }
}
