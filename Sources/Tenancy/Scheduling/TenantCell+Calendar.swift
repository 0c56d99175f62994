package import Kernel
import Notifications
package import Scheduling
package import Storage
package import Wire

// The turns of the calendar.

extension TenantCell {
    /// One turn of the machine.
    package func book<T: Sendable>(_ body: @Sendable (inout CalendarBook, Moment) throws(Refusal) -> T) -> Pending<T> {
        let moment = environment.moment()
        return onCalendar { $0.decide(moment) { book throws(Refusal) in try body(&book, moment) } }
    }

    /// One turn that is carried out once under a key.
    package func bookOnce<T: Sendable>(
        _ key: Mark.Key?,
        digest: String,
        earlier: String?,
        again: @Sendable (CalendarBook, String) throws(Refusal) -> T,
        _ body: @Sendable (inout CalendarBook, Moment) throws(Refusal) -> (T, id: String)
    ) -> Pending<T> {
        let moment = environment.moment()
        return onCalendar { calendar in
            calendar.decideOnce(key, digest: digest, earlier: earlier, moment, again: again) { book throws(Refusal) in try body(&book, moment) }
        }
    }

    /// To look at, once what was due is done.
    package func readCalendar<T: Sendable>(_ body: @Sendable (CalendarBook, Timestamp) throws(Refusal) -> T) -> Pending<T> {
        let moment = environment.moment()
        return onCalendar { calendar in
            calendar.decide(moment) { book throws(Refusal) in
                book.timePassed(moment)
                return try body(book, moment.now)
            }
        }
    }

    package func publicCatalogue() -> Pending<[UInt8]> {
        onCalendar { calendar in
            var writer = JSONWriter(capacity: 4096)
            writer.object { calendar.publicCatalogue(to: &$0) }
            return (.success(writer.bytes), Change())
        }
    }

    /// - Parameters:
    ///   - revision: what the caller has seen; another one is refused. `nil` for any.
    ///   - joint: committed with it.
    package func changeBookingRules(_ json: JSON?, revision: Int64? = nil, with joint: JointChange? = nil) -> Pending<[UInt8]> {
        let (moment, notices) = (environment.moment(), clientNotices)
        return onCalendar(with: joint) { calendar in
            do throws(Refusal) {
                let zone = calendar.zone
                var decision = Self.rearranged(
                    calendar,
                    calendar.govern(
                        try calendar.reading { book throws(Refusal) in
                            if let revision, revision != book.rules.version {
                                throw .stale("O horário de atendimento", revision: book.rules.version, current: book.rules.json)
                            }
                            return try book.rules.changed(by: json)
                        },
                        moment
                    ),
                    moment
                )
                // Quiet hours and days before are of the business's clock.
                if calendar.zone.identifier != zone.identifier { decision.change.append(notices.assumeIsolated { $0.planAnew(moment) }) }
                return decision
            } catch {
                return (.failure(error), Change())
            }
        }
    }

    /// The secret that opens the calendar's feed; another one than before with `isNew`.
    package func feedToken(isNew: Bool) -> Pending<String> {
        let moment = environment.moment()
        return onCalendar { calendar in
            let rules = try? calendar.reading { book throws(Refusal) in book.rules }
            if !isNew, let token = rules?.feedToken { return (.success(token), Change()) }
            let (a, b): (Identifier<Feed>, Identifier<Feed>) = (moment.id(), moment.id())
            let token = String(a.value.low, radix: 16) + String(b.value.low, radix: 16)
            var changed = rules ?? BookingRules()
            changed.feedToken = token
            let (answer, change) = calendar.govern(changed, moment)
            return (answer.map { _ in token }, change)
        }
    }

    private enum Feed {}

    /// A change of what the business is made of: `make` looks at what there is, and gives what it is to be.
    package func arrange<T: Sendable>(
        _ make: @Sendable (CalendarBook, Moment) throws(Refusal) -> T,
        put: @Sendable (isolated Calendar, T) -> Calendar.Decision<T>
    ) -> Pending<T> {
        let moment = environment.moment()
        return onCalendar { calendar in
            do throws(Refusal) {
                return Self.rearranged(calendar, put(calendar, try calendar.reading { book throws(Refusal) in try make(book, moment) }), moment)
            } catch {
                return (.failure(error), Change())
            }
        }
    }

    package func removeCategory(_ id: CategoryID) -> Pending<Void> {
        let moment = environment.moment()
        return onCalendar { $0.remove(id, moment) }
    }

    package func removeTimeOff(_ id: TimeOffID) -> Pending<Void> {
        let moment = environment.moment()
        return onCalendar { Self.rearranged($0, $0.remove(id), moment) }
    }

    /// In the turn of the change, after it.
    private static func rearranged<T>(_ calendar: isolated Calendar, _ decision: Calendar.Decision<T>, _ moment: Moment) -> Calendar.Decision<T> {
        guard case .success = decision.answer else { return decision }
        var decision = decision
        decision.change.append(calendar.rearranged(moment))
        return decision
    }

    // MARK: What is not in memory

    package func hasAppointment(_ id: AppointmentID) -> Bool {
        calendar.assumeIsolated { calendar in (try? calendar.reading { book throws(Refusal) in book.appointments[id] != nil }) ?? false }
    }
    package func adopt(_ appointments: [Appointment]) { calendar.assumeIsolated { $0.adopt(appointments) } }
    func missing(_ clients: [ClientID]) -> [ClientID] {
        calendar.assumeIsolated { calendar in (try? calendar.reading { book throws(Refusal) in clients.filter { !book.clients.has($0) } }) ?? [] }
    }
    func unknown(keys: [String]) -> [String] {
        calendar.assumeIsolated { calendar in (try? calendar.reading { book throws(Refusal) in keys.filter { !book.clients.knows(key: $0) } }) ?? keys
        }
    }
    func adopt(_ clients: [Client], free: [String] = []) {
        let now = environment.now()
        calendar.assumeIsolated { $0.adopt(clients, free: free, at: now) }
    }
    package func bookingZone() -> Zone {
        calendar.assumeIsolated { calendar in (try? calendar.reading { book throws(Refusal) in book.rules.zone }) ?? BookingRules().zone }
    }
}
