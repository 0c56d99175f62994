package import Kernel
package import Storage
package import Wire

package import struct Foundation.Decimal

/// What a business offers (contracts/agendazap.md "Modelo Service"). What is `nil` of its rules is as the business has it.
package struct Service: Sendable {
    package let id: ServiceID
    package var category: CategoryID?
    package var name: String
    package var description: String?
    package var durationMinutes: Int
    package var price: Decimal?
    package var isActive = true
    /// Ids of files, or addresses elsewhere, in the order of showing.
    package var images: [String] = []
    /// JSON as the client gave it, `nil` for nothing.
    package var credentials: String?
    package var promotions: String?
    package var customFields: String?
    /// Places in one session: more than 1 for classes and groups.
    package var seats = 1
    package var bufferBeforeMinutes: Int?
    package var bufferAfterMinutes: Int?
    package var minimumNoticeMinutes: Int?
    package var maximumAdvanceDays: Int?
    package var startIntervalMinutes: Int?
    package var confirmsAtOnce: Bool?
    package var isPublic = true
    package var limits = BookingLimits()
    /// Who does it; empty for everybody.
    package var staff: [StaffID] = []
    package let createdAt: Timestamp
    package var updatedAt: Timestamp
    package var removedAt: Timestamp?
    package var version: Int64 = 0

    package init(id: ServiceID, name: String, durationMinutes: Int, at time: Timestamp) {
        self.id = id
        self.name = name
        self.durationMinutes = durationMinutes
        createdAt = time
        updatedAt = time
    }

    package init(_ row: Row) {
        var row = row
        let _: TenantID = row.id()
        id = row.id()
        category = row.optionalID()
        name = row.text()
        description = row.optionalText()
        durationMinutes = Int(row.integer())
        price = row.optionalNumeric()
        isActive = row.boolean()
        images = row.textArray()
        credentials = row.optionalText()
        promotions = row.optionalText()
        customFields = row.optionalText()
        seats = Int(row.integer())
        bufferBeforeMinutes = row.optionalInteger().map(Int.init)
        bufferAfterMinutes = row.optionalInteger().map(Int.init)
        minimumNoticeMinutes = row.optionalInteger().map(Int.init)
        maximumAdvanceDays = row.optionalInteger().map(Int.init)
        startIntervalMinutes = row.optionalInteger().map(Int.init)
        confirmsAtOnce = row.optionalBoolean()
        isPublic = row.boolean()
        staff = row.textArray().compactMap { StaffID($0) }
        createdAt = row.timestamp()
        updatedAt = row.timestamp()
        removedAt = row.optionalTimestamp()
        for scope in BookingLimits.Scope.allCases { limits[scope] = row.optionalInteger().map(Int.init) }
        version = row.integer()
    }

    mutating func image(tenant: TenantID) -> RowImage {
        version += 1
        func optional(_ number: Int?) -> SQLValue { .optional(number.map(Int64.init)) }
        func json(_ text: String?) -> SQLValue { text.map { .json($0) } ?? .null }
        return RowImage(
            SchedulingTables.services,
            version: version,
            values: [
                .id(tenant), .id(id), .id(category), .text(name), .optional(description), .integer(Int64(durationMinutes)),
                price.map { .numeric($0) } ?? .null, .boolean(isActive), .textArray(images), json(credentials), json(promotions), json(customFields),
                .integer(Int64(seats)), optional(bufferBeforeMinutes), optional(bufferAfterMinutes), optional(minimumNoticeMinutes),
                optional(maximumAdvanceDays), optional(startIntervalMinutes), confirmsAtOnce.map { .boolean($0) } ?? .null, .boolean(isPublic),
                .textArray(staff.map(\.description)), .timestamp(createdAt), .timestamp(updatedAt), .optional(removedAt),
                optional(limits.perDay), optional(limits.perWeek), optional(limits.perMonth),
            ]
        )
    }

    package static let maxImages = 10

    /// Where an image is shown from.
    package func imageAddress(_ image: String) -> String { image.contains("://") ? image : "/api/services/\(id)/images/\(image)" }

    /// The contract's object, with the rules beside its fields.
    /// - Parameter owner: whose the business is.
    package func write(to writer: inout JSONWriter, categoryName: String?, of owner: UserID?) {
        writer.object {
            $0.field("id", id.description)
            $0.field("user_id", owner?.description)
            $0.field("category_id", category?.description)
            $0.field("category_name", categoryName)
            $0.field("name", name)
            $0.field("description", description)
            $0.field("duration", durationMinutes)
            $0.price("price", price)
            $0.field("is_active", isActive)
            $0.list("images") { for image in images { $0.string(imageAddress(image)) } }
            $0.field("credentials", raw: credentials ?? "null")
            $0.field("promotions", raw: promotions ?? "null")
            $0.field("custom_fields", raw: customFields ?? "null")
            $0.field("capacity", seats)
            $0.field("buffer_before_minutes", bufferBeforeMinutes)
            $0.field("buffer_after_minutes", bufferAfterMinutes)
            $0.field("minimum_notice_minutes", minimumNoticeMinutes)
            $0.field("maximum_advance_days", maximumAdvanceDays)
            $0.field("start_interval_minutes", startIntervalMinutes)
            $0.key("auto_confirm")
            if let confirmsAtOnce { $0.bool(confirmsAtOnce) } else { $0.null() }
            $0.field("public_booking", isPublic)
            limits.write(to: &$0)
            $0.field("staff_ids", strings: staff.map(\.description))
            $0.field("revision", version)
            $0.field("created_at", createdAt.description)
            $0.field("updated_at", updatedAt.description)
        }
    }

    package func json(categoryName: String?, of owner: UserID?) -> [UInt8] {
        var writer = JSONWriter(capacity: 1024)
        write(to: &writer, categoryName: categoryName, of: owner)
        return writer.bytes
    }
}

package struct ServiceCategory: Sendable {
    package let id: CategoryID
    package var name: String
    package let createdAt: Timestamp
    package var version: Int64 = 0

    package init(id: CategoryID, name: String, at time: Timestamp) {
        self.id = id
        self.name = name
        createdAt = time
    }

    package init(_ row: Row) {
        var row = row
        let _: TenantID = row.id()
        id = row.id()
        name = row.text()
        createdAt = row.timestamp()
        version = row.integer()
    }

    mutating func image(tenant: TenantID) -> RowImage {
        version += 1
        return RowImage(SchedulingTables.categories, version: version, values: [.id(tenant), .id(id), .text(name), .timestamp(createdAt)])
    }

    package func write(to writer: inout JSONWriter) {
        writer.object {
            $0.field("id", id.description)
            $0.field("name", name)
            $0.field("revision", version)
            $0.field("created_at", createdAt.description)
        }
    }

    package var json: [UInt8] {
        var writer = JSONWriter()
        write(to: &writer)
        return writer.bytes
    }
}

extension JSONWriter {
    /// An exact amount, written as a number.
    package mutating func price(_ name: String, _ amount: Decimal?) {
        if let amount { field(name, raw: amount.description) } else { field(name, raw: "null") }
    }
}
