package import Kernel
import OrderedCollections
package import Storage
package import Wire

/// Somebody, or something such as a room or a chair, that is booked. A business without any is booked itself.
package struct StaffMember: Sendable {
    package let id: StaffID
    package var name: String
    package var user: UserID?
    package var isActive = true
    /// Their own hours, in place of the business's and its breaks; `nil` for the business's.
    package var weekly: WeeklyHours?
    package var overrides: [CivilDay: [Period]] = [:]
    /// `nil` for the business's.
    package var capacity: Int?
    package let createdAt: Timestamp
    package var removedAt: Timestamp?
    package var version: Int64 = 0

    package init(id: StaffID, name: String, at time: Timestamp) {
        self.id = id
        self.name = name
        createdAt = time
    }

    package init(_ row: Row) {
        var row = row
        let _: TenantID = row.id()
        id = row.id()
        name = row.text()
        user = row.optionalID()
        isActive = row.boolean()
        // What was understood when it was stored.
        if let text = row.optionalText(), let json = try? JSON.parse(text), case .success(let hours) = WeeklyHours.read(json) { weekly = hours }
        if let text = row.optionalText(), let members = (try? JSON.parse(text))?.object {
            for (date, value) in members {
                if let day = CivilDay(date), case .success(let periods) = Period.read(value) { overrides[day] = periods }
            }
        }
        capacity = row.optionalInteger().map(Int.init)
        createdAt = row.timestamp()
        removedAt = row.optionalTimestamp()
        version = row.integer()
    }

    mutating func image(tenant: TenantID) -> RowImage {
        version += 1
        func json(_ write: (inout JSONWriter) -> Void) -> SQLValue {
            var writer = JSONWriter()
            write(&writer)
            return .json(String(decoding: writer.bytes, as: UTF8.self))
        }
        return RowImage(
            SchedulingTables.staff,
            version: version,
            values: [
                .id(tenant), .id(id), .text(name), .id(user), .boolean(isActive), weekly.map { hours in json { hours.write(to: &$0) } } ?? .null,
                json { writer in
                    writer.object { object in
                        for (day, periods) in overrides.sorted(by: { $0.key < $1.key }) {
                            object.list(day.description) { Period.write(periods, to: &$0) }
                        }
                    }
                },
                .optional(capacity.map(Int64.init)), .timestamp(createdAt), .optional(removedAt),
            ]
        )
    }

    package func write(to writer: inout JSONWriter) {
        writer.object {
            $0.field("id", id.description)
            $0.field("name", name)
            $0.field("user_id", user?.description)
            $0.field("is_active", isActive)
            $0.key("weekly_hours")
            if let weekly { weekly.write(to: &$0) } else { $0.null() }
            $0.overrides("overrides", overrides)
            $0.field("capacity", capacity)
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

/// When somebody, or with `staff` `nil` everybody, is not there.
package struct TimeOff: Sendable {
    package let id: TimeOffID
    package let staff: StaffID?
    package let start: Timestamp
    package let end: Timestamp
    package let reason: String?

    package init(id: TimeOffID, staff: StaffID?, start: Timestamp, end: Timestamp, reason: String?) {
        self.id = id
        self.staff = staff
        self.start = start
        self.end = end
        self.reason = reason
    }

    package init(_ row: Row) {
        var row = row
        let _: TenantID = row.id()
        id = row.id()
        staff = row.optionalID()
        start = row.timestamp()
        end = row.timestamp()
        reason = row.optionalText()
    }

    func image(tenant: TenantID) -> RowImage {
        RowImage(
            SchedulingTables.timeOff,
            version: 1,
            values: [.id(tenant), .id(id), .id(staff), .timestamp(start), .timestamp(end), .optional(reason)]
        )
    }

    package func write(to writer: inout JSONWriter) {
        writer.object {
            $0.field("id", id.description)
            $0.field("staff_id", staff?.description)
            $0.field("start_time", start.description)
            $0.field("end_time", end.description)
            $0.field("reason", reason)
        }
    }
}
