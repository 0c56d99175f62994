import Conversations
import Integrations
import Kernel
import Wire

extension CustomerMessage {
    init(_ message: InboundMessage, phoneNumberID: String?, isEcho: Bool = false) {
        self.init(
            channel: "whatsapp",
            externalID: message.wamid,
            from: ContactIdentity(message.customer),
            name: isEcho ? nil : message.profileName ?? message.username,
            kind: message.type,
            text: message.text,
            content: message.contentJSON,
            replyTo: message.context.quotedWamid,
            sentAt: message.providerTimestamp
        )
        self.phoneNumberID = phoneNumberID
        self.isEcho = isEcho
        switch message.content {
        case .media: hasMedia = true
        case .reaction(let other, let emoji): annotation = (other, .reaction(emoji))
        case .edit(let other, let content): annotation = (other, .edited(content.text))
        case .revoke(let other): annotation = (other, .revoked)
        case .system(let notice) where !notice.newIdentity.isEmpty: newIdentity = ContactIdentity(notice.newIdentity)
        default: break
        }
    }
}

extension ContactIdentity {
    init(_ identity: WhatsAppIdentity) { self.init(waIDs: identity.waID.map(BrazilianPhone.variants(of:)) ?? [], bsuid: identity.bsuid) }
}

extension InboundContent {
    /// What the customer said, where they said it in words; else one line on what they sent.
    fileprivate var text: String {
        switch self {
        case .text(let body): body
        case .interactiveReply(_, let title): title
        case .button(_, let text): text
        default: summary
        }
    }
}

extension InboundMessage {
    fileprivate var text: String { content.text }

    /// What a bot or a screen needs beside the text (protocol/README.md "What messages carry").
    fileprivate var contentJSON: String? {
        var writer = JSONWriter()
        writer.object { object in
            switch content {
            case .text, .revoke: break
            case .media(let media):
                object.field("state", "pending")
                object.field("media_id", media.id)
                object.field("mime_type", media.mimeType)
                object.field("sha256", media.sha256)
                object.field("caption", media.caption)
                object.field("filename", media.filename)
                object.field("voice", media.isVoice)
            case .location(let location):
                object.field("latitude", location.latitude)
                object.field("longitude", location.longitude)
                object.field("name", location.name)
                object.field("address", location.address)
            case .contacts(let contacts):
                object.list("contacts") { list in
                    for contact in contacts {
                        list.object {
                            $0.field("name", contact.name)
                            $0.field("phones", strings: contact.phones)
                        }
                    }
                }
            case .reaction(let message, let emoji):
                object.field("message_id", message)
                object.field("emoji", emoji)
            case .interactiveReply(let id, let title):
                object.field("id", id)
                object.field("title", title)
            case .flowReply(let name, _, let response):
                object.field("name", name)
                object.field("response", (try? JSON.parse(response)) ?? .string(response))
            case .button(let payload, let text):
                object.field("payload", payload)
                object.field("text", text)
            case .order(let order):
                object.field("catalog_id", order.catalogID)
                object.field("text", order.text)
                object.list("items") { list in
                    for item in order.items {
                        list.object {
                            $0.field("product_id", item.productID)
                            $0.field("quantity", item.quantity)
                            $0.field("price", item.price)
                            $0.field("currency", item.currency)
                        }
                    }
                }
            case .system(let notice):
                object.field("type", notice.kind)
                object.field("body", notice.body)
                object.field("number", notice.newIdentity.waID)
            case .unsupported(let error):
                object.field("code", error?.code)
                object.field("reason", error?.details ?? error?.title)
            case .edit(let original, let content):
                object.field("message_id", original)
                object.field("text", content.text)
            case .unknown(let raw): object.field("raw", raw: raw)
            }
            if case .revoke(let original) = content { object.field("message_id", original) }
            if context.isForwarded { object.field("forwarded", true) }
            if let referral {
                object.field("referral") {
                    $0.field("source_url", referral.sourceURL)
                    $0.field("source_id", referral.sourceID)
                    $0.field("source_type", referral.sourceType)
                    $0.field("headline", referral.headline)
                    $0.field("click_id", referral.clickID)
                }
            }
        }
        let json = String(decoding: writer.bytes, as: UTF8.self)
        return json == "{}" ? nil : json
    }
}
