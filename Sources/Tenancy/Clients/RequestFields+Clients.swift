import Kernel
import Scheduling
import Wire

extension RequestFields {
    /// The fields of a client that a body names, put in place of what they are; what is left out stays, and null clears.
    /// - Parameter isNew: a name is needed then, and something to be found by.
    mutating func client(_ profile: inout ClientProfile, isActive: inout Bool, isNew: Bool) {
        if isNew {
            profile.name = text("name", max: 255)
        } else if has("name") {
            profile.name = text("name", max: 255)
        }
        if has("whatsapp") { profile.whatsapp = whatsapp("whatsapp", isRequired: false) }
        if has("email") { profile.email = email("email") }
        if profile.whatsapp == nil, profile.email == nil, isNew || has("whatsapp") || has("email"), faults.isEmpty {
            refuse("whatsapp", "informe o número do WhatsApp, ou um e-mail", type: "missing")
        }
        func take(_ name: String, max: Int, _ value: inout String?) {
            if has(name) { value = optionalText(name, min: 1, max: max) }
        }
        take("notes", max: 5000, &profile.notes)
        take("gender", max: 20, &profile.gender)
        take("address", max: 500, &profile.address)
        take("city", max: 100, &profile.city)
        take("state", max: 50, &profile.state)
        take("zip_code", max: 20, &profile.zipCode)
        take("source", max: 100, &profile.source)
        take("referral_code", max: 50, &profile.referralCode)
        if has("birth_date") { profile.birthDate = birthDate("birth_date") }
        if let flag = optionalBool("is_active") { isActive = flag }
        if let flag = optionalBool("is_vip") { profile.isVIP = flag }
        if let wanted = communication() { profile.communicationPreference = wanted }
        if has("tags") { profile.tags = tags("tags") ?? [] }
        if has("custom_fields") { profile.customFields = object("custom_fields") }
    }

    mutating func communication() -> ClientProfile.Communication? {
        guard let text = optionalText("communication_preference", min: 1, max: 20) else { return nil }
        guard let wanted = ClientProfile.Communication(rawValue: text) else {
            refuse(
                "communication_preference",
                "deve ser um destes: \(ClientProfile.Communication.allCases.map(\.rawValue).joined(separator: ", "))",
                type: "enum"
            )
            return nil
        }
        return wanted
    }

    /// Each once, in the order in which they were said.
    mutating func tags(_ name: String) -> [String]? {
        guard let tags = optionalTexts(name, maxCount: ClientProfile.maxTags, maxLength: 50) else { return nil }
        return tags.enumerated().filter { tags.firstIndex(of: $0.element) == $0.offset }.map(\.element)
    }

    private mutating func birthDate(_ name: String) -> String? {
        guard let text = optionalText(name, min: 1, max: 10) else { return nil }
        guard let date = CivilDate(text), date >= CivilDate(days: -54_787) else {
            refuse(name, "deve ser uma data de 1820 em diante, como 1990-05-17", type: "date_parsing")
            return nil
        }
        return text
    }
}

/// What a mass update does to each client (contracts/agendazap.md "Atualização em massa").
package struct ClientBulk: Sendable {
    var tagsAdded: [String] = []
    var tagsRemoved: [String] = []
    var tags: [String]?
    var isActive: Bool?
    var isVIP: Bool?
    var communication: ClientProfile.Communication?
    var texts: [String: String?] = [:]

    /// - Throws: 422 when nothing is to be changed, or something that cannot be.
    init(_ json: JSON?) throws(Refusal) {
        var fields = try RequestFields(json, at: ["body", "changes"])
        let columns = ["city", "state", "source", "gender", "notes"]
        let known = columns + ["tags_add", "tags_remove", "tags", "is_active", "is_vip", "communication_preference"]
        for name in json?.names ?? [] where !known.contains(name) {
            fields.refuse(name, "não pode ser alterado em massa; use um destes: \(known.joined(separator: ", "))", type: "extra_forbidden")
        }
        tagsAdded = fields.tags("tags_add") ?? []
        tagsRemoved = fields.tags("tags_remove") ?? []
        tags = fields.tags("tags")
        isActive = fields.optionalBool("is_active")
        isVIP = fields.optionalBool("is_vip")
        communication = fields.communication()
        for (name, max) in zip(columns, [100, 50, 100, 20, 5000]) where fields.has(name) {
            texts[name] = .some(fields.optionalText(name, min: 1, max: max))
        }
        if json?.names?.isEmpty ?? true { fields.refuse("tags_add", "informe ao menos uma alteração", type: "missing") }
        try fields.check()
    }

    /// - Throws: when somebody would have too many tags.
    func apply(to profile: inout ClientProfile, _ isActive: inout Bool) throws(Refusal) {
        if let tags { profile.tags = tags }
        for tag in tagsAdded where !profile.tags.contains(tag) { profile.tags.append(tag) }
        profile.tags.removeAll { tagsRemoved.contains($0) }
        guard profile.tags.count <= ClientProfile.maxTags else {
            throw Refusal(.conflict, "too_many_tags", "Um cliente pode ter no máximo \(ClientProfile.maxTags) etiquetas.")
        }
        if let flag = self.isActive { isActive = flag }
        if let isVIP { profile.isVIP = isVIP }
        if let communication { profile.communicationPreference = communication }
        for (name, text) in texts {
            switch name {
            case "city": profile.city = text
            case "state": profile.state = text
            case "source": profile.source = text
            case "gender": profile.gender = text
            default: profile.notes = text
            }
        }
    }
}
