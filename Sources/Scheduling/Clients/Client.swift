package import Kernel
package import Storage

/// Who books or writes (contracts/agendazap.md "Modelo Client"): made at the first booking or message, found again by the number, in whichever way it is written,
/// or by the e-mail where there is no number.
package struct Client: Sendable {
    package let id: ClientID
    package var profile: ClientProfile
    package var isActive = true
    /// The contact of the conversations with them.
    package var contact: ContactID?
    /// The client whom this one turned out to be. The row stays, and leads those who come with its number to the other.
    package var mergedInto: ClientID?
    /// Taken off the lists; whoever books again is back.
    package var removedAt: Timestamp?
    package var tally: ClientTally
    /// The month of the business in which they came, such as `2026-03`.
    package let createdMonth: String
    package let createdAt: Timestamp
    package var updatedAt: Timestamp
    /// Counts the changes of who they are; what their appointments come to changes without it.
    package var revision: Int64 = 1
    /// Of the row: counts every change.
    package var version: Int64 = 0

    package init(id: ClientID, _ profile: ClientProfile, zone: Zone, at time: Timestamp) {
        self.id = id
        self.profile = profile
        tally = ClientTally()
        createdMonth = String(zone.day(of: time).description.prefix(7))
        createdAt = time
        updatedAt = time
    }

    package var name: String { profile.name }
    package var whatsapp: String? { profile.whatsapp }
    package var email: String? { profile.email }
    package var isListed: Bool { removedAt == nil && mergedInto == nil }

    /// What they are found by.
    package var key: String? { Self.key(whatsapp: profile.whatsapp, email: profile.email) }

    package static func key(whatsapp: String?, email: String?) -> String? { whatsapp.flatMap(PhoneNumber.canonical) ?? email.map { $0.lowercased() } }

    /// The keys under which the store may have them: also as numbers were kept before they had one form.
    package static func storedKeys(_ key: String) -> [String] { key.contains("@") ? [key] : PhoneNumber.forms(of: key) }

    /// - Parameter tally: `nil` where it was never counted; the client is to be counted then before anything is decided on.
    package static func read(_ row: Row) -> (client: Client, isCounted: Bool) {
        let tally = row[SchedulingTables.clients.columns.firstIndex { $0.name == "tally" }!]
        let client = Client(row)
        if case .null = tally { return (client, false) }
        return (client, true)
    }

    package init(_ row: Row) {
        var row = row
        let _: TenantID = row.id()
        id = row.id()
        profile = ClientProfile(name: row.text())
        profile.whatsapp = row.optionalText()
        _ = row.optionalText()
        profile.email = row.optionalText()
        createdAt = row.timestamp()
        updatedAt = row.timestamp()
        revision = row.optionalInteger() ?? 1
        _ = row.optionalText()
        _ = row.optionalText()
        profile.notes = row.optionalText()
        isActive = row.optionalBoolean() ?? true
        profile.isVIP = row.optionalBoolean() ?? false
        profile.communicationPreference = row.optionalText().flatMap(ClientProfile.Communication.init(rawValue:)) ?? .whatsapp
        profile.birthDate = row.optionalText()
        profile.gender = row.optionalText()
        profile.address = row.optionalText()
        profile.city = row.optionalText()
        profile.state = row.optionalText()
        profile.zipCode = row.optionalText()
        profile.source = row.optionalText()
        profile.referralCode = row.optionalText()
        if case .textArray(let tags) = row.next() { profile.tags = tags }
        profile.customFields = row.optionalText()
        contact = row.optionalID()
        mergedInto = row.optionalID()
        removedAt = row.optionalTimestamp()
        createdMonth = row.optionalText() ?? String(createdAt.description.prefix(7))
        tally = row.optionalText().flatMap { ClientTally(json: $0) } ?? ClientTally()
        for _ in 0..<9 { _ = row.next() }
        version = row.integer()
    }

    func image(tenant: TenantID) -> RowImage {
        let preferred = ClientMetrics.preferredServices(tally)
        let searchable = SearchText.folded(
            ([name] + (whatsapp.flatMap(PhoneNumber.canonical).map(PhoneNumber.forms) ?? []) + [email].compactMap(\.self)).joined(separator: " ")
        )
        func json(_ text: String?) -> SQLValue { text.map { .json($0) } ?? .null }
        func time(_ milliseconds: Int64?) -> SQLValue { .optional(milliseconds.map { Timestamp(milliseconds: $0) }) }
        return RowImage(
            SchedulingTables.clients,
            version: version,
            values: [
                .id(tenant), .id(id), .text(name), .optional(whatsapp), .optional(key), .optional(email), .timestamp(createdAt),
                .timestamp(updatedAt), .integer(revision), .optional(email?.lowercased()), .text(searchable), .optional(profile.notes),
                .boolean(isActive), .boolean(profile.isVIP), .text(profile.communicationPreference.rawValue), .optional(profile.birthDate),
                .optional(profile.gender), .optional(profile.address), .optional(profile.city), .optional(profile.state), .optional(profile.zipCode),
                .optional(profile.source), .optional(profile.referralCode), .textArray(profile.tags), json(profile.customFields), .id(contact),
                .id(mergedInto), .optional(removedAt), .text(createdMonth), .json(tally.json), .integer(Int64(tally.total)),
                .integer(Int64(tally.visitCount)), time(tally.visits.first), time(tally.visits.last), .optional(tally.visits.last),
                .integer(ClientMetrics.steadyTenths(tally)), .numeric(tally.spent), .textArray(preferred.map(\.description)), .id(preferred.first),
            ]
        )
    }
}

/// Who a client is, as people write it down.
package struct ClientProfile: Sendable, Equatable {
    /// How they want to be reached; `none`: not at all, but by who answers them.
    package enum Communication: String, Sendable, CaseIterable { case whatsapp, email, sms, phone, none }

    package var name: String
    /// As it was written.
    package var whatsapp: String?
    package var email: String?
    package var notes: String?
    package var isVIP = false
    package var communicationPreference = Communication.whatsapp
    /// `1990-05-17`
    package var birthDate: String?
    package var gender: String?
    package var address: String?
    package var city: String?
    package var state: String?
    package var zipCode: String?
    package var source: String?
    package var referralCode: String?
    package var tags: [String] = []
    /// JSON.
    package var customFields: String?

    package static let maxTags = 50

    package init(name: String, whatsapp: String? = nil, email: String? = nil, source: String? = nil) {
        self.name = name
        self.whatsapp = whatsapp
        self.email = email
        self.source = source
    }

    /// What is left of somebody who wants to be forgotten (LGPD, Lei 13.709/2018, art. 18).
    package static let erased = ClientProfile(name: "Cliente removido")

    /// What of it differs from another, by the contract's names.
    func differences(from other: ClientProfile) -> [String] {
        func changed<Value: Equatable>(_ name: String, _ path: KeyPath<ClientProfile, Value>) -> String? {
            self[keyPath: path] == other[keyPath: path] ? nil : name
        }
        return [
            changed("name", \.name), changed("whatsapp", \.whatsapp), changed("email", \.email), changed("notes", \.notes),
            changed("is_vip", \.isVIP), changed("communication_preference", \.communicationPreference), changed("birth_date", \.birthDate),
            changed("gender", \.gender), changed("address", \.address), changed("city", \.city), changed("state", \.state),
            changed("zip_code", \.zipCode), changed("source", \.source), changed("referral_code", \.referralCode), changed("tags", \.tags),
            changed("custom_fields", \.customFields),
        ].compactMap(\.self)
    }

    /// What another knows and this one does not.
    mutating func complete(from other: ClientProfile) {
        whatsapp = whatsapp ?? other.whatsapp
        email = email ?? other.email
        switch (notes, other.notes) {
        case (let one?, let two?) where one != two: notes = String("\(one)\n\(two)".prefix(5000))
        default: notes = notes ?? other.notes
        }
        isVIP = isVIP || other.isVIP
        // Whoever wants to hear nothing is not to be written to because they were known twice.
        if other.communicationPreference == .none { communicationPreference = .none }
        birthDate = birthDate ?? other.birthDate
        gender = gender ?? other.gender
        address = address ?? other.address
        city = city ?? other.city
        state = state ?? other.state
        zipCode = zipCode ?? other.zipCode
        source = source ?? other.source
        referralCode = referralCode ?? other.referralCode
        for tag in other.tags where !tags.contains(tag) && tags.count < Self.maxTags { tags.append(tag) }
        customFields = customFields ?? other.customFields
    }
}

/// What happened to a client, for their history.
package struct ClientRecord: Sendable {
    package enum Kind: String, Sendable { case created, updated, removed, restored, erased, merged, linked }

    package let id: Identifier<ClientRecord>
    package let client: ClientID
    package let at: Timestamp
    package let kind: Kind
    package var fields: [String] = []
    package let author: Author
    /// The other client of a merger.
    package var other: ClientID?

    func image(tenant: TenantID) -> RowImage {
        var (user, name): (UserID?, String?) = (nil, nil)
        if case .user(let id, let known) = author { (user, name) = (id, known) }
        return RowImage(
            SchedulingTables.clientChanges,
            version: 1,
            values: [
                .id(tenant), .id(id), .id(client), .timestamp(at), .text(kind.rawValue), .textArray(fields), .text(author.kind), .id(user),
                .optional(name), .id(other),
            ]
        )
    }
}
