package import Kernel
package import Storage
package import Wire

/// A time kept for somebody for a short while, and not beyond its beginning.
package struct Hold: Sendable {
    package let id: HoldID
    package let service: ServiceID
    package let place: Placement
    package let start: Timestamp
    package let end: Timestamp
    package let expiresAt: Timestamp
    /// The entry of the waiting list that it is offered to.
    package let waitlist: WaitlistID?
    /// Who keeps it; `nil` for the waiting list, and for what was held before this was written down.
    package let owner: Asker.Owner?

    package init(_ row: Row) {
        var row = row
        let tenant: TenantID = row.id()
        id = row.id()
        service = row.id()
        let staff: StaffID? = row.optionalID()
        let lane = Int(row.integer())
        let seat = Int(row.integer())
        let session: AppointmentID = row.id()
        let blocked = row.timestamp()..<row.timestamp()
        place = Placement(resource: staff.map(Resource.staff) ?? .business(tenant), lane: lane, seat: seat, session: session, blocked: blocked)
        start = row.timestamp()
        end = row.timestamp()
        expiresAt = min(row.timestamp(), start)
        waitlist = row.optionalID()
        owner = row.optionalText().flatMap(Asker.Owner.init)
    }

    init(
        id: HoldID,
        service: ServiceID,
        place: Placement,
        start: Timestamp,
        end: Timestamp,
        expiresAt: Timestamp,
        waitlist: WaitlistID?,
        owner: Asker.Owner?
    ) {
        self.id = id
        self.service = service
        self.place = place
        self.start = start
        self.end = end
        self.expiresAt = expiresAt
        self.waitlist = waitlist
        self.owner = owner
    }

    func image(tenant: TenantID) -> RowImage {
        RowImage(
            SchedulingTables.holds,
            version: 1,
            values: [
                .id(tenant), .id(id), .id(service), .id(place.resource.staff), .integer(Int64(place.lane)), .integer(Int64(place.seat)),
                .id(place.session), .timestamp(place.blocked.lowerBound), .timestamp(place.blocked.upperBound), .timestamp(start), .timestamp(end),
                .timestamp(expiresAt), .id(waitlist), .optional(owner?.description),
            ]
        )
    }

    func deletion(tenant: TenantID) -> RowImage { RowImage(deleting: [.id(tenant), .id(id)], from: SchedulingTables.holds, version: 2) }

    package func write(to writer: inout JSONWriter) {
        writer.object {
            $0.field("hold_id", id.description)
            $0.field("service_id", service.description)
            $0.field("staff_id", place.resource.staff?.description)
            $0.field("start_time", start.description)
            $0.field("end_time", end.description)
            $0.field("expires_at", expiresAt.description)
            $0.field("held_by", waitlist == nil ? owner?.description : "waitlist")
        }
    }

    package var json: [UInt8] {
        var writer = JSONWriter()
        write(to: &writer)
        return writer.bytes
    }
}

/// Who asks for a time, as far as holds are concerned: what somebody holds is theirs to book and to let go, and an administrator's.
package struct Asker: Sendable {
    package enum Owner: Sendable, Hashable, CustomStringConvertible {
        case user(UserID)
        /// Somebody on the public page, who knows the hold's id because it is theirs.
        case guest

        package var description: String {
            switch self {
            case .user(let id): id.description
            case .guest: "guest"
            }
        }

        init?(_ text: String) {
            if text == "guest" { self = .guest } else if let id = UserID(text) { self = .user(id) } else { return nil }
        }
    }

    package let owner: Owner
    package let isAdministrator: Bool

    package init(_ owner: Owner, isAdministrator: Bool = false) {
        self.owner = owner
        self.isAdministrator = isAdministrator
    }

    func mayUse(_ hold: Hold) -> Bool { hold.waitlist == nil && hold.owner == nil || hold.owner == owner || isAdministrator }

    /// Whoever has no business with it is not told that it is there.
    func refusal(_ hold: Hold) -> Refusal {
        if owner == .guest { return .notFound(.hold) }
        return Refusal(.conflict, "hold_of_another", "A reserva temporária é de outra pessoa; só ela ou um administrador pode usá-la.")
    }
}
