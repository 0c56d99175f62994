package import Kernel
package import Wire

/// How a business takes bookings. Minutes and seconds as the names say.
package struct BookingRules: Sendable {
    package var zone: Zone
    package var weekly = WeeklyHours.standard
    package var breaks = WeeklyHours()
    /// What replaces the hours of single dates, breaks and all.
    package var overrides: [CivilDay: [Period]] = [:]
    package var bufferBeforeMinutes = 0
    package var bufferAfterMinutes = 0
    package var minimumNoticeMinutes = 0
    package var maximumAdvanceDays = 365
    /// From one start to the next; `nil` is the service's own length.
    package var startIntervalMinutes: Int?
    /// How many can be attended at a time, of each member of the staff, or of the business when it has none.
    package var capacity = 1
    package var holdSeconds = 300
    /// Appointments are confirmed as they are booked.
    package var confirmsAtOnce = false
    /// After this long without a decision a pending appointment is given up; `nil` is never.
    package var pendingMinutes: Int?
    /// Until this long before its start a client may cancel or move an appointment.
    package var cutoffMinutes = 0
    package var isPublic = true
    package var limits = BookingLimits()
    package var waitlistOfferMinutes = 15
    /// What opens the calendar's feed; `nil` while there is none.
    package var feedToken: String?
    package var version: Int64 = 0

    package init() {
        guard let zone = Zone.named(Zone.standard) ?? Zone.named("UTC") else { preconditionFailure("the system knows no time zone") }
        self.zone = zone
    }

    /// The hours of a date, where nobody of the staff has their own.
    func periods(on day: CivilDay) -> [Period] {
        if let own = overrides[day] { return own }
        let (hours, pauses) = (weekly.days[day.weekday], breaks.days[day.weekday])
        return pauses.isEmpty ? hours : WeeklyHours.subtract(pauses, from: hours)
    }

    /// The object of `GET /api/users/business-hours`, and what is stored.
    package func write(to writer: inout JSONWriter, isStored: Bool = false) {
        writer.object {
            $0.field("timezone", zone.identifier)
            $0.key("weekly_hours")
            weekly.write(to: &$0)
            $0.key("breaks")
            breaks.write(to: &$0)
            $0.overrides("overrides", overrides)
            $0.field("buffer_before_minutes", bufferBeforeMinutes)
            $0.field("buffer_after_minutes", bufferAfterMinutes)
            $0.field("minimum_notice_minutes", minimumNoticeMinutes)
            $0.field("maximum_advance_days", maximumAdvanceDays)
            $0.field("start_interval_minutes", startIntervalMinutes)
            $0.field("capacity", capacity)
            $0.field("hold_seconds", holdSeconds)
            $0.field("auto_confirm", confirmsAtOnce)
            $0.field("pending_minutes", pendingMinutes)
            $0.field("cutoff_minutes", cutoffMinutes)
            $0.field("public_booking", isPublic)
            limits.write(to: &$0)
            $0.field("waitlist_offer_minutes", waitlistOfferMinutes)
            if isStored { $0.field("feed_token", feedToken) } else { $0.field("revision", version) }
        }
    }

    package var json: [UInt8] { json(isStored: false) }
    /// The same, with what is not shown.
    package var storedJSON: [UInt8] { json(isStored: true) }

    private func json(isStored: Bool) -> [UInt8] {
        var writer = JSONWriter(capacity: 1024)
        write(to: &writer, isStored: isStored)
        return writer.bytes
    }
}
