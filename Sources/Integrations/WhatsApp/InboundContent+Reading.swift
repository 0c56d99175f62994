import Wire

extension InboundContent {
    /// Reads what stands under the name of the message's type (research/conversations.md §5.2).
    ///
    /// - Parameter deliveryErrors: `errors` of the change, which sometimes say why a message came without its contents.
    init(reading json: JSON, type: String, deliveryErrors: JSON? = nil) throws(UnreadableElement) {
        switch type {
        case "text": self = .text(body: try json.requiredObject("text").requiredText("body"))
        case "image", "video", "audio", "document", "sticker":
            guard let kind = InboundMedia.Kind(rawValue: type) else { throw UnreadableElement(reason: "type is not a kind of media") }
            self = .media(try InboundMedia(reading: try json.requiredObject(type), kind: kind))
        case "location": self = .location(try InboundLocation(reading: try json.requiredObject(type)))
        case "contacts": self = .contacts(try json.requiredList(type).map { SharedContact(reading: $0) })
        case "reaction":
            let reaction = try json.requiredObject(type)
            // Taken back: the emoji is empty, or the member is absent.
            self = .reaction(messageID: try reaction.required("message_id"), emoji: reaction.optional("emoji"))
        case "interactive": self = try Self.interactive(json, deliveryErrors)
        case "button":
            let button = try json.requiredObject(type)
            let text = try button.required("text")
            self = .button(payload: button.optional("payload") ?? text, text: text)
        case "order": self = .order(try InboundOrder(reading: try json.requiredObject(type)))
        case "system": self = .system(SystemNotice(reading: try json.requiredObject(type)))
        case "unsupported": self = .unsupported(Self.firstError(json, deliveryErrors))
        case "edit":
            let edit = try json.requiredObject(type)
            let message = try edit.requiredObject("message")
            let content = try InboundContent(reading: message, type: try message.required("type"))
            self = .edit(originalID: try edit.required("original_message_id"), content: content)
        case "revoke": self = .revoke(originalID: try json.requiredObject(type).required("original_message_id"))
        default: self = .unknown(rawJSON: json.text)
        }
    }

    private static func interactive(_ json: JSON, _ deliveryErrors: JSON?) throws(UnreadableElement) -> InboundContent {
        guard let reply = json["interactive"], reply.object != nil, reply != [:] else { return .unsupported(firstError(json, deliveryErrors)) }
        switch reply.optional("type") {
        case "button_reply":
            let button = try reply.requiredObject("button_reply")
            return .interactiveReply(id: try button.required("id"), title: try button.required("title"))
        case "list_reply":
            let row = try reply.requiredObject("list_reply")
            return .interactiveReply(id: try row.required("id"), title: try row.required("title"))
        case "nfm_reply":
            let form = try reply.requiredObject("nfm_reply")
            return .flowReply(name: form.optional("name") ?? "flow", title: form.optional("body") ?? "", response: try form.required("response_json"))
        default: return .unknown(rawJSON: json.text)
        }
    }

    private static func firstError(_ json: JSON, _ deliveryErrors: JSON?) -> WhatsAppError? {
        json["errors"]?.whatsAppErrors.first ?? deliveryErrors?.whatsAppErrors.first
    }
}

extension JSON {
    /// What somebody wrote: text only, and it may be empty.
    fileprivate func requiredText(_ name: String) throws(UnreadableElement) -> String {
        guard let text = self[name]?.string else { throw UnreadableElement(reason: "\(name) is not a string") }
        return text
    }
}

extension InboundMedia {
    fileprivate init(reading json: JSON, kind: Kind) throws(UnreadableElement) {
        self.init(
            kind: kind,
            id: try json.required("id"),
            mimeType: json.optional("mime_type"),
            sha256: json.optional("sha256"),
            caption: json.optional("caption"),
            filename: json.optional("filename"),
            isVoice: json["voice"]?.bool == true
        )
    }
}

extension InboundLocation {
    fileprivate init(reading json: JSON) throws(UnreadableElement) {
        self.init(
            latitude: try json.requiredNumber("latitude"),
            longitude: try json.requiredNumber("longitude"),
            name: json.optional("name"),
            address: json.optional("address")
        )
    }
}

extension SharedContact {
    fileprivate init(reading json: JSON) {
        let phones = (json["phones"]?.array ?? []).compactMap { $0.optional("wa_id") ?? $0.optional("phone") }
        self.init(name: json["name"]?.optional("formatted_name") ?? json["name"]?.optional("first_name") ?? "", phones: phones)
    }
}

extension InboundOrder {
    fileprivate init(reading json: JSON) throws(UnreadableElement) {
        var items: [Item] = []
        for item in try json.requiredList("product_items") {
            // JSON numbers, or strings in older payloads. The text of a short decimal is exact either way.
            let price: String? =
                switch item["item_price"] {
                case .double(let price): price.description
                default: item.optional("item_price")
                }
            items.append(
                Item(
                    productID: try item.required("product_retailer_id"),
                    quantity: item.optional("quantity").flatMap { Int64($0) } ?? 1,
                    price: price,
                    currency: item.optional("currency")
                )
            )
        }
        self.init(catalogID: json.optional("catalog_id"), text: json.optional("text"), items: items)
    }
}

extension SystemNotice {
    fileprivate init(reading json: JSON) {
        self.init(
            kind: json.optional("type") ?? "",
            body: json.optional("body"),
            newIdentity: WhatsAppIdentity(
                waID: json.optional("wa_id"),
                bsuid: json.optional("user_id"),
                parentBSUID: json.optional("parent_user_id")
            ),
            previousBSUID: json.optional("previous_user_id")
        )
    }
}
