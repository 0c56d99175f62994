package import Kernel
package import Storage
package import Wire

package import struct Foundation.Decimal

/// A booked time (contracts/agendazap.md "Modelo Appointment").
///
///     pending ──▶ confirmed ──▶ completed | no_show
///        └───────────┴────────▶ cancelled
///
/// `pending` and `confirmed` keep others out. Every change makes `revision` one more: it is the sequence of the calendar file, what reminders are good for,
/// and what a client that changes something may name as what it has seen.
package struct Appointment: Sendable {
    package enum Status: String, Sendable, CaseIterable {
        case pending, confirmed, cancelled, completed
        case noShow = "no_show"

        package var isBlocking: Bool { self == .pending || self == .confirmed }
    }

    package let id: AppointmentID
    package let service: ServiceID
    package var serviceName: String
    package var place: Placement
    package var client: ClientID
    package var clientName: String
    package var clientWhatsapp: String
    package var clientEmail: String?
    package var start: Timestamp
    package var end: Timestamp
    package var durationMinutes: Int
    /// The zone it was booked in, in which it is shown.
    package var timezone: String
    package var price: Decimal?
    package var status: Status
    package var notes: String?
    package var internalNotes: String?
    package let source: String?
    package var customFields: String?
    package let series: SeriesID?
    package var revision: Int64 = 0
    /// Somebody of the staff put it over what was there, or outside the hours; why.
    package var forcedReason: String?
    package var cancelReason: String?
    /// `client`, `staff` or `system`.
    package var cancelledBy: String?
    package var pendingUntil: Timestamp?
    /// Opens this appointment to the client who has it, and nothing else.
    package let manageToken: String
    package let createdAt: Timestamp
    package var updatedAt: Timestamp

    package var isForced: Bool { forcedReason != nil }
    package var staff: StaffID? { place.resource.staff }

    package init(_ row: Row) {
        var row = row
        let tenant: TenantID = row.id()
        id = row.id()
        service = row.id()
        serviceName = row.text()
        let staff: StaffID? = row.optionalID()
        let _: TenantID = row.id()
        let lane = Int(row.integer())
        let seat = Int(row.integer())
        let session: AppointmentID = row.id()
        let blocked = row.timestamp()..<row.timestamp()
        place = Placement(resource: staff.map(Resource.staff) ?? .business(tenant), lane: lane, seat: seat, session: session, blocked: blocked)
        client = row.id()
        clientName = row.text()
        clientWhatsapp = row.text()
        clientEmail = row.optionalText()
        _ = row.text()
        start = row.timestamp()
        end = row.timestamp()
        durationMinutes = Int(row.integer())
        timezone = row.text()
        _ = row.text()
        price = row.optionalNumeric()
        status = Status(rawValue: row.text()) ?? .cancelled
        _ = row.boolean()
        notes = row.optionalText()
        internalNotes = row.optionalText()
        source = row.optionalText()
        customFields = row.optionalText()
        series = row.optionalID()
        revision = row.integer()
        _ = row.boolean()
        forcedReason = row.optionalText()
        cancelReason = row.optionalText()
        cancelledBy = row.optionalText()
        pendingUntil = row.optionalTimestamp()
        manageToken = row.text()
        createdAt = row.timestamp()
        updatedAt = row.timestamp()
    }

    init(
        id: AppointmentID,
        service: Service,
        place: Placement,
        start: Timestamp,
        end: Timestamp,
        _ request: BookingRequest,
        client: Client,
        zone: Zone,
        _ moment: Moment
    ) {
        self.id = id
        self.service = service.id
        serviceName = service.name
        self.place = place
        self.client = client.id
        clientName = request.clientName
        clientWhatsapp = request.clientWhatsapp
        clientEmail = request.clientEmail
        self.start = start
        self.end = end
        durationMinutes = Int((end - start).inMilliseconds / 60_000)
        timezone = zone.identifier
        price = service.price
        status = .pending
        notes = request.notes
        internalNotes = request.internalNotes
        source = request.source
        customFields = request.customFields
        series = request.series
        let (a, b): (Identifier<AppointmentKind>, Identifier<AppointmentKind>) = (moment.id(), moment.id())
        // The random parts of two ids: 128 bits that nobody guesses.
        manageToken = Self.hexadecimal(a.value.low) + Self.hexadecimal(b.value.low)
        createdAt = moment.now
        updatedAt = moment.now
    }

    private static func hexadecimal(_ value: UInt64) -> String {
        let digits = String(value, radix: 16)
        return String(repeating: "0", count: 16 - digits.count) + digits
    }

    func image(tenant: TenantID) -> RowImage {
        func json(_ text: String?) -> SQLValue { text.map { .json($0) } ?? .null }
        let zone = Zone.named(timezone)
        return RowImage(
            SchedulingTables.appointments,
            version: revision + 1,
            values: [
                .id(tenant), .id(id), .id(service), .text(serviceName), .id(staff), .uuid(place.resource.rowID),
                .integer(Int64(place.lane)), .integer(Int64(place.seat)), .id(place.session), .timestamp(place.blocked.lowerBound),
                .timestamp(place.blocked.upperBound), .id(client), .text(clientName), .text(clientWhatsapp), .optional(clientEmail),
                .text(Self.searchable(clientName, clientWhatsapp, clientEmail)), .timestamp(start), .timestamp(end), .integer(Int64(durationMinutes)),
                .text(timezone), .text(zone.map { String($0.text(start).prefix(19)) } ?? ""), price.map { .numeric($0) } ?? .null,
                .text(status.rawValue), .boolean(status.isBlocking), .optional(notes), .optional(internalNotes), .optional(source),
                json(customFields),
                .id(series), .integer(revision), .boolean(isForced), .optional(forcedReason), .optional(cancelReason), .optional(cancelledBy),
                .optional(pendingUntil), .text(manageToken), .timestamp(createdAt), .timestamp(updatedAt),
            ]
        )
    }

    static func searchable(_ name: String, _ whatsapp: String, _ email: String?) -> String {
        "\(name.lowercased()) \(whatsapp.filter { $0.isASCII && $0.isNumber }) \(email?.lowercased() ?? "")"
    }

    /// The contract's object. `public` is what its client sees: nothing that the staff keeps to itself.
    /// - Parameter owner: whose the business is.
    package func write(to writer: inout JSONWriter, of owner: UserID?, isPublic: Bool = false, withToken: Bool = false) {
        writer.object {
            $0.field("id", id.description)
            $0.field("user_id", owner?.description)
            $0.field("service_id", service.description)
            $0.field("service_name", serviceName)
            $0.field("staff_id", staff?.description)
            if !isPublic { $0.field("client_id", client.description) }
            $0.field("client_name", clientName)
            $0.field("client_whatsapp", clientWhatsapp)
            $0.field("client_email", clientEmail)
            $0.field("start_time", start.description)
            $0.field("end_time", end.description)
            $0.field("duration_minutes", durationMinutes)
            $0.field("timezone", timezone)
            $0.field("local_start_time", Zone.named(timezone)?.text(start))
            $0.price("price", price)
            $0.field("status", status.rawValue)
            $0.field("is_confirmed", status == .confirmed || status == .completed)
            $0.field("is_cancelled", status == .cancelled)
            $0.field("is_completed", status == .completed)
            $0.field("notes", notes)
            if !isPublic {
                $0.field("internal_notes", internalNotes)
                $0.field("source", source)
                $0.field("is_forced", isForced)
                $0.field("forced_reason", forcedReason)
            }
            $0.field("custom_fields", raw: customFields ?? "null")
            $0.field("series_id", series?.description)
            $0.field("revision", revision)
            $0.field("cancel_reason", cancelReason)
            $0.field("cancelled_by", cancelledBy)
            $0.field("pending_until", pendingUntil?.description)
            if withToken { $0.field("manage_token", manageToken) }
            $0.field("created_at", createdAt.description)
            $0.field("updated_at", updatedAt.description)
        }
    }

    package func json(of owner: UserID?, isPublic: Bool = false, withToken: Bool = false) -> [UInt8] {
        var writer = JSONWriter(capacity: 1024)
        write(to: &writer, of: owner, isPublic: isPublic, withToken: withToken)
        return writer.bytes
    }
}

/// What is asked for when something is booked.
package struct BookingRequest: Sendable {
    package var service: ServiceID
    package var staff: StaffID?
    package var start: Timestamp
    package var durationMinutes: Int?
    package var clientName: String
    package var clientWhatsapp: String
    package var clientEmail: String?
    package var notes: String?
    package var internalNotes: String?
    package var source: String?
    package var customFields: String?
    package var hold: HoldID?
    /// Over whatever is there; why.
    package var force: String?
    package var series: SeriesID?
    /// Whoever asks has no credential.
    package var isPublic = false
    /// Whose holds it may take; `nil` for the calendar itself.
    package var asker: Asker?

    package init(service: ServiceID, start: Timestamp, clientName: String, clientWhatsapp: String) {
        self.service = service
        self.start = start
        self.clientName = clientName
        self.clientWhatsapp = clientWhatsapp
    }
}

/// Somebody who wants a time that there is none of.
package struct WaitlistEntry: Sendable {
    package enum Status: String, Sendable { case waiting, offered, booked, lapsed, left }

    package let id: WaitlistID
    package let service: ServiceID
    package let staff: StaffID?
    /// They would come at any start in here.
    package let from: Timestamp
    package let until: Timestamp
    package var clientName: String
    package var clientWhatsapp: String
    package var clientEmail: String?
    package let token: String
    package let createdAt: Timestamp
    package var status = Status.waiting
    package var hold: HoldID?
    package var offeredStart: Timestamp?
    package var offerUntil: Timestamp?
    package var version: Int64 = 0

    /// They wait, or have been offered something that they have not answered.
    package var isOpen: Bool { status == .waiting || status == .offered }

    /// The same person's wish for the same time, however the number is written.
    func wantsTheSame(as other: WaitlistEntry) -> Bool {
        guard service == other.service, staff == other.staff, from == other.from, until == other.until else { return false }
        // Nearly all of them differ in the last digits, which any way of writing a number has.
        func end(_ entry: WaitlistEntry) -> some Sequence<UInt8> {
            entry.clientWhatsapp.utf8.reversed().lazy.filter { (48...57).contains($0) }.prefix(4)
        }
        func number(_ entry: WaitlistEntry) -> String { PhoneNumber.canonical(entry.clientWhatsapp) ?? entry.clientWhatsapp }
        return end(self).elementsEqual(end(other)) && number(self) == number(other)
    }

    package init(
        id: WaitlistID,
        service: ServiceID,
        staff: StaffID?,
        from: Timestamp,
        until: Timestamp,
        clientName: String,
        clientWhatsapp: String,
        clientEmail: String?,
        _ moment: Moment
    ) {
        self.id = id
        self.service = service
        self.staff = staff
        self.from = from
        self.until = until
        self.clientName = clientName
        self.clientWhatsapp = clientWhatsapp
        self.clientEmail = clientEmail
        let secret: (WaitlistID, WaitlistID) = (moment.id(), moment.id())
        token = "\(String(secret.0.value.low, radix: 16))\(String(secret.1.value.low, radix: 16))"
        createdAt = moment.now
    }

    package init(_ row: Row) {
        var row = row
        let _: TenantID = row.id()
        id = row.id()
        service = row.id()
        staff = row.optionalID()
        from = row.timestamp()
        until = row.timestamp()
        clientName = row.text()
        clientWhatsapp = row.text()
        clientEmail = row.optionalText()
        token = row.text()
        createdAt = row.timestamp()
        status = Status(rawValue: row.text()) ?? .left
        hold = row.optionalID()
        offeredStart = row.optionalTimestamp()
        offerUntil = row.optionalTimestamp()
        version = row.integer()
    }

    mutating func image(tenant: TenantID) -> RowImage {
        version += 1
        return RowImage(
            SchedulingTables.waitlist,
            version: version,
            values: [
                .id(tenant), .id(id), .id(service), .id(staff), .timestamp(from), .timestamp(until), .text(clientName), .text(clientWhatsapp),
                .optional(clientEmail), .text(token), .timestamp(createdAt), .text(status.rawValue), .id(hold), .optional(offeredStart),
                .optional(offerUntil),
            ]
        )
    }

    package func write(to writer: inout JSONWriter, withToken: Bool = false) {
        writer.object {
            $0.field("id", id.description)
            $0.field("service_id", service.description)
            $0.field("staff_id", staff?.description)
            $0.field("from", from.description)
            $0.field("until", until.description)
            $0.field("client_name", clientName)
            $0.field("client_whatsapp", clientWhatsapp)
            $0.field("client_email", clientEmail)
            $0.field("status", status.rawValue)
            $0.field("hold_id", status == .offered ? hold?.description : nil)
            $0.field("offered_start_time", offeredStart?.description)
            $0.field("offer_expires_at", offerUntil?.description)
            if withToken { $0.field("token", token) }
            $0.field("created_at", createdAt.description)
        }
    }

    package func json(withToken: Bool = false) -> [UInt8] {
        var writer = JSONWriter()
        write(to: &writer, withToken: withToken)
        return writer.bytes
    }
}
