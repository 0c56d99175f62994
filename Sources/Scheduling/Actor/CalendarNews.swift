/// What turns of the calendar have changed for those who book.
package struct CalendarNews: Sendable {
    package var appointments: [AppointmentNews] = []
    package var waitlist: [WaitlistEntry] = []

    package var isEmpty: Bool { appointments.isEmpty && waitlist.isEmpty }
}

/// An appointment before and after a turn that changed it; there is nothing before a new one.
package struct AppointmentNews: Sendable {
    package let before: Appointment?
    package let after: Appointment

    package init(before: Appointment?, after: Appointment) {
        self.before = before
        self.after = after
    }
}
