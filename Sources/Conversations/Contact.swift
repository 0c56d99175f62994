package import Kernel
package import Storage

/// A person who writes to the business. Known by a set of identities, of which each may be missing: the WhatsApp number, and the business-scoped id that
/// hides it (research/conversations.md §5.4).
package struct Contact: Sendable, Equatable {
    package let id: ContactID
    package var name: String
    /// As WhatsApp last gave it, with or without the ninth digit: what answers are sent to.
    package var waID: String?
    package var bsuid: String?
    package let createdAt: Timestamp
    package var updatedAt: Timestamp
    /// Who attended them last.
    package var lastConsultor: Int64?
    /// Somebody has written the name in the CRM: the customer's own profile no longer changes it.
    package var isNameCurated = false
    /// The contact that this one turned out to be (research/conversations.md §5.4). Its row stays, and keeps its ids for the other.
    package var mergedInto: ContactID?
    /// The ids of one that was merged into this one.
    package var mergedWaID: String?
    package var mergedBSUID: String?
    /// What WhatsApp answers with when something is sent to the number: the same number, as it is written where it was registered.
    package var answeredWaID: String?
    /// Since when WhatsApp says that they receive no messages (131026).
    package var unreachableSince: Timestamp?
    /// Until then WhatsApp passes on no more marketing to them (131049).
    package var templatesPausedUntil: Timestamp?
    package var version: Int64 = 0

    init(id: ContactID, name: String, waID: String?, bsuid: String?, at time: Timestamp) {
        self.id = id
        self.name = name
        self.waID = waID
        self.bsuid = bsuid
        createdAt = time
        updatedAt = time
    }

    package init(_ row: Row) {
        var row = row
        let _: TenantID = row.id()
        id = row.id()
        name = row.text()
        waID = row.optionalText()
        bsuid = row.optionalText()
        createdAt = row.timestamp()
        updatedAt = row.timestamp()
        lastConsultor = row.optionalInteger()
        isNameCurated = row.optionalBoolean() ?? false
        mergedInto = row.optionalID()
        mergedWaID = row.optionalText()
        mergedBSUID = row.optionalText()
        answeredWaID = row.optionalText()
        unreachableSince = row.optionalTimestamp()
        templatesPausedUntil = row.optionalTimestamp()
        version = row.integer()
    }

    mutating func image(tenant: TenantID) -> RowImage {
        version += 1
        return RowImage(
            ConversationTables.contacts,
            version: version,
            values: [
                .id(tenant), .id(id), .text(name), .optional(waID), .optional(bsuid), .timestamp(createdAt), .timestamp(updatedAt),
                .optional(lastConsultor), .boolean(isNameCurated), .id(mergedInto), .optional(mergedWaID), .optional(mergedBSUID),
                .optional(answeredWaID), .optional(unreachableSince), .optional(templatesPausedUntil),
            ]
        )
    }

    /// What answers are sent to, and what people see.
    package var number: String? { waID ?? mergedWaID }
    package var userID: String? { bsuid ?? mergedBSUID }
    var waIDs: [String] { [waID, mergedWaID, answeredWaID].compactMap(\.self) }
    var bsuids: [String] { [bsuid, mergedBSUID].compactMap(\.self) }
}

/// How a customer is known from outside: at least one of the two.
package struct ContactIdentity: Sendable, Hashable {
    /// Every form in which the same number may be written, the one that was received first.
    package let waIDs: [String]
    package let bsuid: String?

    package init(waIDs: [String], bsuid: String?) {
        self.waIDs = waIDs
        self.bsuid = bsuid
    }
}
