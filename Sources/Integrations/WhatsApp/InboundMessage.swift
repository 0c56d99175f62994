package import Kernel

/// One message as a webhook brought it: from a customer, or as an echo of what the business wrote on its own handset.
package struct InboundMessage: Sendable, Hashable {
    /// WhatsApp's id of the message, the same at every redelivery.
    package let wamid: String
    /// The person at the other end: who wrote it, or for an echo who it was written to.
    package let customer: WhatsAppIdentity
    package let profileName: String?
    package let username: String?
    /// To the second. Two messages may share one, and they may arrive in another order.
    package let providerTimestamp: Timestamp
    /// WhatsApp's name for the type, also of types that are not known here.
    package let type: String
    package let content: InboundContent
    package let context: MessageContext
    /// The advertisement the customer came from.
    package let referral: Referral?
    /// One line to show in a list, in Portuguese.
    package var summary: String { content.summary }

    package struct MessageContext: Sendable, Hashable {
        /// The message this one answers or quotes.
        package var quotedWamid: String?
        package var isForwarded = false
        package init(quotedWamid: String? = nil, isForwarded: Bool = false) {
            self.quotedWamid = quotedWamid
            self.isForwarded = isForwarded
        }
    }

    package struct Referral: Sendable, Hashable {
        package let sourceURL: String?
        package let sourceID: String?
        package let sourceType: String?
        package let headline: String?
        package let clickID: String?
    }
}

/// What a message says (research/conversations.md §5.2).
package indirect enum InboundContent: Sendable, Hashable {
    case text(body: String)
    case media(InboundMedia)
    case location(InboundLocation)
    case contacts([SharedContact])
    /// `emoji` is `nil` when the reaction was taken back.
    case reaction(messageID: String, emoji: String?)
    /// A tap on one of the buttons or list rows we sent.
    case interactiveReply(id: String, title: String)
    /// A form the customer filled in; `response` is JSON of the form's own shape.
    case flowReply(name: String, title: String, response: String)
    /// A tap on a quick reply of a template.
    case button(payload: String, text: String)
    case order(InboundOrder)
    case system(SystemNotice)
    /// WhatsApp itself could not pass the message on.
    case unsupported(WhatsAppError?)
    case edit(originalID: String, content: InboundContent)
    case revoke(originalID: String)
    /// A type that is not known here, whole.
    case unknown(rawJSON: String)
}

package struct InboundMedia: Sendable, Hashable {
    package enum Kind: String, Sendable, Hashable { case image, video, audio, document, sticker }

    package let kind: Kind
    /// Fetch it at once: the id dies within days, the address behind it within minutes.
    package let id: String
    package let mimeType: String?
    /// In Base64.
    package let sha256: String?
    package let caption: String?
    package let filename: String?
    /// Recorded in the conversation, as opposed to an audio file.
    package let isVoice: Bool
}

package struct InboundLocation: Sendable, Hashable {
    package let latitude: Double
    package let longitude: Double
    package let name: String?
    package let address: String?
}

package struct SharedContact: Sendable, Hashable {
    package let name: String
    package let phones: [String]
}

package struct InboundOrder: Sendable, Hashable {
    package struct Item: Sendable, Hashable {
        package let productID: String
        package let quantity: Int64
        /// Decimal text.
        package let price: String?
        package let currency: String?
    }

    package let catalogID: String?
    package let text: String?
    package let items: [Item]
}

/// Something about the customer changed: `user_changed_number`, `user_changed_user_id`, `customer_identity_changed`.
package struct SystemNotice: Sendable, Hashable {
    package let kind: String
    package let body: String?
    package let newIdentity: WhatsAppIdentity
    package let previousBSUID: String?
}

/// An error as WhatsApp reports it, in a webhook or in an answer.
package struct WhatsAppError: Sendable, Hashable {
    package let code: Int
    package let title: String
    package let details: String?

    package init(code: Int, title: String, details: String?) {
        self.code = code
        self.title = title
        self.details = details
    }
}
