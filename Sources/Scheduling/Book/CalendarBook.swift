package import Kernel

// The machine of a business's calendar (contracts/agendazap.md "Agendamentos", research/scheduling.md A5 and §6). No I/O; time and ids come in.
//
//     hold ──▶ held ──book──▶ pending | confirmed
//               │ expired, released         │ cancel, decline, expired        ▲ an offer of the waiting list is a hold
//               ▼                           ▼                                 │
//              free ─────────────────────────────▶ who waits longest for such a time
//
// `slots` is the one answer to "when is there room": it is listed, held, booked, moved and offered by.
//
// Rules of a start: it lies in a working period at a whole number of intervals from the period's beginning by the wall clock, and what begins there ends within
// the periods that follow one another without a break; it is not before now + notice, nor after the day that is `maximumAdvanceDays` ahead; nobody of whom it is
// asked is off meanwhile; with its buffers it overlaps nothing that has buffers (they add up); and no limit of the day, week or month is reached by then.
//
// Invariants
// 1. On one lane of one resource no two sessions overlap, buffers counted, but those that the staff forced; no seat of a session is given twice.
// 2. A hold lasts until its deadline and not at it; what holds a time books it, whoever asks in between.
// 3. Unless it was forced, nothing is booked or held by which a limit is passed; and `tally` has the start of each.
// 4. Whatever is decided at `now` is decided as if everything due by then had been done at its time.
package struct CalendarBook: Sendable {
    package let tenant: TenantID
    /// Whose the business is, as contracts name it: `user_id` of what is shown of it.
    package var owner: UserID?
    package var rules = BookingRules()
    package var services: [ServiceID: Service] = [:]
    package var categories: [CategoryID: ServiceCategory] = [:]
    package var staff: [StaffMember] = []
    package var timeOff: [TimeOffID: TimeOff] = [:]
    package internal(set) var appointments: [AppointmentID: Appointment] = [:]
    package internal(set) var holds: [HoldID: Hold] = [:]
    package internal(set) var waitlist: [WaitlistID: WaitlistEntry] = [:]
    /// Those of the waiting list to whom what is free is offered at the next turn.
    var untried: Set<WaitlistID> = []
    /// Who waits no more, since when; in order.
    var endedWaiting: [(id: WaitlistID, at: Timestamp)] = []
    package var clients = ClientLedger()
    var occupancy: [Resource: Occupancy] = [:]
    /// From this month and week on.
    var tally = Tally()
    /// Who of the staff was given something last, by a count.
    var lastGiven: [StaffID: Int] = [:]
    var given = 0
    /// Not later than anything falls due.
    package internal(set) var nextDue = Timestamp.distantFuture
    package var effects = Effects()
    /// What the plan still allows, in this turn.
    package var allowance = Allowance.unlimited

    /// What happened since it was last taken.
    package struct Effects: Sendable {
        package var appointments: [AppointmentID] = []
        /// As those of them were that are not new.
        package var before: [AppointmentID: Appointment] = [:]
        /// Where those stood that have been moved or are new: the former start.
        package var formerStarts: [AppointmentID: Timestamp] = [:]
        package var holdsMade: [Hold] = []
        package var holdsEnded: [Hold] = []
        package var waitlist: [WaitlistID] = []
        /// Times at which there may be more room than before, or less.
        package var touched: [Range<Timestamp>] = []

        package init() {}

        package var isEmpty: Bool {
            appointments.isEmpty && holdsMade.isEmpty && holdsEnded.isEmpty && waitlist.isEmpty && touched.isEmpty
        }
    }

    package static let maxHolds = 2000
    /// Of those who wait still.
    package static let maxWaiting = 5000
    /// To how many of those who wait what is free is offered in one turn.
    static let maxTried = 200
    /// How many of those who wait no more are remembered, and how long.
    static let maxEnded = 500
    static let endedLast = Duration.seconds(3600)
    package static let maxAlternatives = 5
    /// How far from now something may be forced, either way: as far as rules let others book.
    package static let maxForcedYears = 5

    package init(tenant: TenantID) { self.tenant = tenant }

    // MARK: Loading

    /// - Parameter isCounted: it is in the tally already.
    package mutating func adopt(_ appointment: Appointment, isCounted: Bool = false) {
        guard appointments[appointment.id] == nil else { return }
        if !isCounted, appointment.status != .cancelled { adoptCount(appointment.service, appointment.start) }
        appointments[appointment.id] = appointment
        if appointment.status.isBlocking {
            occupy(
                .appointment(appointment.id),
                appointment.service,
                appointment.start,
                appointment.end,
                appointment.place,
                isForced: appointment.isForced
            )
        }
        due(appointment.status == .pending ? appointment.pendingUntil : nil)
    }

    /// Something that begins then, of which no more needs to be known.
    package mutating func adoptCount(_ service: ServiceID, _ start: Timestamp) { tally.add(service, start) }

    package mutating func adopt(_ hold: Hold) {
        adoptCount(hold.service, hold.start)
        holds[hold.id] = hold
        occupy(.hold(hold.id), hold.service, hold.start, hold.end, hold.place)
        due(hold.expiresAt)
    }

    package mutating func adopt(_ entry: WaitlistEntry) {
        waitlist[entry.id] = entry
        if entry.status == .waiting { due(entry.until) }
    }

    /// Forgets appointments that ended before a time, and what is over of the waiting list: the store has them.
    package mutating func forget(before time: Timestamp) {
        for appointment in appointments.values where appointment.end < time { appointments[appointment.id] = nil }
        let today = rules.zone.day(of: time)
        tally.forget(before: rules.zone.start(of: min(today.firstOfMonth, today + -6)))
        for resource in occupancy.keys { occupancy[resource]?.forget(before: time.milliseconds) }
        for entry in waitlist.values where entry.until < time && entry.status != .offered { waitlist[entry.id] = nil }
    }

    // MARK: Occupying

    mutating func occupy(
        _ holder: Holder,
        _ service: ServiceID,
        _ start: Timestamp,
        _ end: Timestamp,
        _ place: Placement,
        isForced: Bool = false
    ) {
        occupancy[place.resource, default: Occupancy()]
            .add(holder, service, start: start.milliseconds, end: end.milliseconds, place, isForced: isForced)
    }

    mutating func took(_ holder: Holder, _ service: ServiceID, _ start: Timestamp, _ end: Timestamp, _ place: Placement, isForced: Bool = false) {
        occupy(holder, service, start, end, place, isForced: isForced)
        begins(service, start)
        if let staff = place.resource.staff {
            given += 1
            lastGiven[staff] = given
        }
        effects.touched.append(place.blocked)
    }

    mutating func freed(_ holder: Holder, _ place: Placement) {
        occupancy[place.resource]?.remove(holder, place)
        effects.touched.append(place.blocked)
    }

    mutating func due(_ time: Timestamp?) { if let time { nextDue = min(nextDue, time) } }

    // MARK: Time

    /// Does what is due.
    package mutating func timePassed(_ moment: Moment) {
        guard nextDue <= moment.now else { return }
        let now = moment.now
        for hold in holds.values.filter({ $0.expiresAt <= now }).sorted(by: { $0.id < $1.id }) { end(hold, lapsed: true) }
        for appointment in appointments.values.filter({ $0.status == .pending && $0.pendingUntil.map { $0 <= now } ?? false }).sorted(by: {
            $0.id < $1.id
        }) {
            cancel(appointment, by: "system", reason: "Não confirmado a tempo", now)
        }
        giveUpWaiting(now)
        nextDue = .distantFuture
        for hold in holds.values { due(hold.expiresAt) }
        for appointment in appointments.values where appointment.status == .pending { due(appointment.pendingUntil) }
        for entry in waitlist.values where entry.status == .waiting { due(entry.until) }
        offerWhatIsFree(moment)
    }
}
