package import Kernel
package import Scheduling
import Wire

extension RequestFields {
    /// What every booking says, whoever makes it. `service_id` stands in for itself until `check`.
    package mutating func booking() -> BookingRequest {
        let service: ServiceID? = id("service_id", isRequired: true)
        var booking = BookingRequest(
            service: service ?? ServiceID(UniqueID(high: 0, low: 0)),
            start: time("start_time"),
            clientName: text("client_name", max: 255),
            clientWhatsapp: whatsapp("client_whatsapp", isRequired: true) ?? ""
        )
        booking.staff = id("staff_id")
        booking.clientEmail = email("client_email")
        booking.notes = optionalText("notes", max: 5000)
        booking.source = optionalText("source", max: 100)
        booking.customFields = object("custom_fields")
        booking.hold = id("hold_id")
        return booking
    }

    package mutating func reason() -> String? {
        optionalText("reason", min: 1, max: 500) ?? optionalText("cancellation_reason", min: 1, max: 500)
    }

    package mutating func revision() -> Int64? { optionalInteger("revision", in: 0...Int64.max) }

    package mutating func move(isRequired: Bool) -> CalendarBook.Move {
        var move = CalendarBook.Move()
        move.start = isRequired ? time("start_time") : optionalTime("start_time")
        if has("staff_id") { move.staff = .some(id("staff_id")) }
        move.durationMinutes = optionalInteger("duration_minutes", in: 5...1440).map(Int.init)
        move.revision = revision()
        if optionalBool("force") == true { move.force = optionalText("force_reason", min: 1, max: 500) ?? "Encaixe" }
        return move
    }

    /// `recurrence: {frequency, interval?, count, skip_unavailable?}`
    package mutating func recurrence() throws(Refusal) -> CalendarBook.Recurrence? {
        guard let json = json("recurrence") else { return nil }
        var fields = try RequestFields(json, location: "recurrence")
        let name = fields.text("frequency", max: 16)
        let frequency = CalendarBook.Recurrence.Frequency(rawValue: name)
        if !name.isEmpty, frequency == nil { fields.refuse("frequency", "deve ser daily, weekly ou monthly", type: "enum") }
        let interval = Int(fields.optionalInteger("interval", in: 1...52) ?? 1)
        let count = Int(fields.integer("count", in: 2...Int64(CalendarBook.Recurrence.maxCount)))
        let skips = fields.optionalBool("skip_unavailable") ?? false
        try fields.check()
        return CalendarBook.Recurrence(frequency: frequency ?? .weekly, interval: interval, count: count, skipsUnavailable: skips)
    }

    package mutating func waitlistEntry(_ moment: Moment) throws(Refusal) -> WaitlistEntry {
        let service: ServiceID? = id("service_id", isRequired: true)
        let staff: StaffID? = id("staff_id")
        let (from, until) = (time("from"), time("until"))
        if until <= from { refuse("until", "deve ser depois de from") }
        if until > from + .seconds(92 * 86_400) { refuse("until", "deve ser no máximo 92 dias depois de from") }
        let name = text("client_name", max: 255)
        let whatsapp = whatsapp("client_whatsapp", isRequired: true)
        let email = email("client_email")
        try check()
        return WaitlistEntry(
            id: moment.id(),
            service: service ?? ServiceID(UniqueID(high: 0, low: 0)),
            staff: staff,
            from: from,
            until: until,
            clientName: name,
            clientWhatsapp: whatsapp ?? "",
            clientEmail: email,
            moment
        )
    }

    /// `max_per_day`, `max_per_week`, `max_per_month`; null takes one away, and what is left out stays.
    package mutating func limits(_ limits: inout BookingLimits) {
        for scope in BookingLimits.Scope.allCases {
            let name = "max_per_\(scope.rawValue)"
            if has(name) { limits[scope] = optionalInteger(name, in: 1...100_000).map(Int.init) }
        }
    }
}
