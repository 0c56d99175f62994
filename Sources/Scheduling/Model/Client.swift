package import Kernel
package import Storage

/// Who books, as far as bookings need to know: made at the first one, found again by the number, or by the e-mail where there is no number
/// (contracts/agendazap.md "Modelo Client").
package struct Client: Sendable {
    package let id: ClientID
    package var name: String
    package var whatsapp: String?
    package var email: String?
    package let createdAt: Timestamp
    package var updatedAt: Timestamp
    package var version: Int64 = 0

    package init(id: ClientID, name: String, whatsapp: String?, email: String?, at time: Timestamp) {
        self.id = id
        self.name = name
        self.whatsapp = whatsapp
        self.email = email
        createdAt = time
        updatedAt = time
    }

    package init(_ row: Row) {
        var row = row
        let _: TenantID = row.id()
        id = row.id()
        name = row.text()
        whatsapp = row.optionalText()
        _ = row.optionalText()
        email = row.optionalText()
        createdAt = row.timestamp()
        updatedAt = row.timestamp()
        version = row.integer()
    }

    mutating func image(tenant: TenantID) -> RowImage {
        version += 1
        return RowImage(
            SchedulingTables.clients,
            version: version,
            values: [
                .id(tenant), .id(id), .text(name), .optional(whatsapp), .optional(key), .optional(email), .timestamp(createdAt),
                .timestamp(updatedAt),
            ]
        )
    }

    /// What they are found by.
    var key: String? { Self.key(whatsapp: whatsapp, email: email) }

    static func key(whatsapp: String?, email: String?) -> String? {
        let digits = (whatsapp ?? "").filter { $0.isASCII && $0.isNumber }
        if !digits.isEmpty { return digits }
        return email.map { $0.lowercased() }
    }
}
