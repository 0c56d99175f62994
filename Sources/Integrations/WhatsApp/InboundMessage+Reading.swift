import Wire

/// `value.contacts`: the profiles of the people a change speaks of.
struct ContactProfiles {
    struct Profile {
        let identity: WhatsAppIdentity
        let name: String?
        let username: String?
    }

    private let profiles: [Profile]

    init(_ json: JSON?) {
        profiles = (json?.array ?? []).map {
            Profile(
                identity: WhatsAppIdentity(
                    waID: $0.optional("wa_id"),
                    bsuid: $0.optional("user_id"),
                    parentBSUID: $0.optional("parent_user_id")
                ),
                name: $0["profile"]?.optional("name"),
                username: $0["profile"]?.optional("username")
            )
        }
    }

    /// The profile that shares an id with `identity`.
    func profile(of identity: WhatsAppIdentity) -> Profile? {
        profiles.first { $0.identity.bsuid != nil && $0.identity.bsuid == identity.bsuid }
            ?? profiles.first { $0.identity.waID != nil && $0.identity.waID == identity.waID }
    }

    /// The one profile there is, for a message that does not say who wrote it.
    var only: Profile? { profiles.count == 1 ? profiles[0] : nil }
}

extension InboundMessage {
    init(reading json: JSON, profiles: ContactProfiles, deliveryErrors: JSON?) throws(UnreadableElement) {
        var customer = WhatsAppIdentity(
            number: json.optional("from"),
            bsuid: json.optional("from_user_id"),
            parentBSUID: json.optional("from_parent_user_id")
        )
        if customer.isEmpty, let system = json["system"] {
            customer = WhatsAppIdentity(number: system.optional("customer"), bsuid: system.optional("previous_user_id") ?? system.optional("user_id"))
        }
        try self.init(json, customer: customer, profiles: profiles, deliveryErrors: deliveryErrors)
    }

    init(readingEcho json: JSON, profiles: ContactProfiles) throws(UnreadableElement) {
        let customer = WhatsAppIdentity(
            number: json.optional("to"),
            bsuid: json.optional("to_user_id"),
            parentBSUID: json.optional("to_parent_user_id")
        )
        try self.init(json, customer: customer, profiles: profiles, deliveryErrors: nil)
    }

    private init(_ json: JSON, customer: WhatsAppIdentity, profiles: ContactProfiles, deliveryErrors: JSON?) throws(UnreadableElement) {
        guard json.object != nil else { throw UnreadableElement(reason: "the element is not an object") }
        let profile = customer.isEmpty ? profiles.only : profiles.profile(of: customer)
        let identity = WhatsAppIdentity(
            waID: customer.waID ?? profile?.identity.waID,
            bsuid: customer.bsuid ?? profile?.identity.bsuid,
            parentBSUID: customer.parentBSUID ?? profile?.identity.parentBSUID
        )
        guard !identity.isEmpty else { throw UnreadableElement(reason: "nobody is named as the other end") }
        self.customer = identity
        self.profileName = profile?.name
        self.username = profile?.username
        self.wamid = try json.requiredID("id")
        self.providerTimestamp = try json.requiredTime("timestamp")
        self.type = try json.required("type")
        self.content = try InboundContent(reading: json, type: type, deliveryErrors: deliveryErrors)
        let context = json["context"]
        self.context = MessageContext(
            quotedWamid: context?.optional("id"),
            isForwarded: context?["forwarded"]?.bool == true || context?["frequently_forwarded"]?.bool == true
        )
        self.referral = json["referral"].map {
            Referral(
                sourceURL: $0.optional("source_url"),
                sourceID: $0.optional("source_id"),
                sourceType: $0.optional("source_type"),
                headline: $0.optional("headline"),
                clickID: $0.optional("ctwa_clid")
            )
        }
    }
}

extension WhatsAppIdentity {
    /// `number` may turn out to be a business-scoped id: where a phone is hidden, either may stand in its place.
    init(number: String?, bsuid: String?, parentBSUID: String? = nil) {
        if let number, Self.isBSUID(number) {
            self.init(waID: nil, bsuid: bsuid ?? number, parentBSUID: parentBSUID)
        } else {
            self.init(waID: number, bsuid: bsuid, parentBSUID: parentBSUID)
        }
    }
}

extension StatusUpdate {
    init(reading json: JSON) throws(UnreadableElement) {
        guard json.object != nil else { throw UnreadableElement(reason: "the element is not an object") }
        guard let status = Status(rawValue: try json.required("status")) else {
            throw UnreadableElement(reason: "status is not one of the known ones")
        }
        self.init(
            wamid: try json.requiredID("id"),
            status: status,
            timestamp: try json.requiredTime("timestamp"),
            recipient: WhatsAppIdentity(number: json.optional("recipient_id"), bsuid: json.optional("recipient_user_id")),
            callbackData: json.optional("biz_opaque_callback_data"),
            errors: json["errors"]?.whatsAppErrors ?? []
        )
    }
}
