package import Jobs
package import Kernel

/// What a client is told of. The names stand in settings, templates and keys.
package enum NotificationEvent: String, Sendable, Hashable, CaseIterable {
    case awaitingApproval = "awaiting_approval"
    case confirmed, declined, rescheduled, cancelled, reminder
    case followUp = "follow_up"
    case noShow = "no_show"
    case waitlistOffer = "waitlist_offer"

    /// Those that are told at once, of which a business only says by which channels.
    package static let immediate: [NotificationEvent] = [
        .awaitingApproval, .confirmed, .declined, .rescheduled, .cancelled, .noShow, .waitlistOffer,
    ]

    /// What somebody has to know of what they have booked themselves: told also to those who want no other messages, and at any time of the day.
    package var isTransactional: Bool {
        switch self {
        case .awaitingApproval, .confirmed, .declined, .rescheduled, .cancelled, .waitlistOffer: true
        case .reminder, .followUp, .noShow: false
        }
    }

    package var queue: QueueName {
        switch self {
        case .awaitingApproval, .confirmed, .rescheduled, .waitlistOffer: .confirmations
        case .declined, .cancelled: .cancellations
        case .reminder: .reminders
        case .followUp, .noShow: .followUps
        }
    }

    /// It is of no use once the appointment has begun.
    package var endsWithStart: Bool { self != .followUp && self != .noShow }

    var priority: Int {
        switch self {
        case .waitlistOffer: 1
        case .awaitingApproval, .confirmed, .declined, .rescheduled, .cancelled: 3
        case .reminder: 4
        case .followUp, .noShow: 7
        }
    }
}

/// What a template is called: an event, or for reminders and follow-ups also one of several of its kind, such as `reminder_1h`.
package struct TemplateName: Sendable, Hashable, Comparable, CustomStringConvertible {
    package let event: NotificationEvent
    package let description: String

    package init(_ event: NotificationEvent) { self.init(event, event.rawValue) }

    package init?(_ text: some StringProtocol) {
        if let event = NotificationEvent(rawValue: String(text)) {
            self.init(event)
            return
        }
        guard let event = [NotificationEvent.reminder, .followUp].first(where: { text.hasPrefix($0.rawValue + "_") }),
            (1...40).contains(text.utf8.count - event.rawValue.utf8.count - 1),
            text.utf8.allSatisfy({ (0x61...0x7a).contains($0) || (0x30...0x39).contains($0) || $0 == 0x5f })
        else { return nil }
        self.init(event, String(text))
    }

    private init(_ event: NotificationEvent, _ description: String) {
        self.event = event
        self.description = description
    }

    package static func < (a: TemplateName, b: TemplateName) -> Bool { a.description < b.description }
}

extension OutgoingMessage.Channel {
    package static let all: [OutgoingMessage.Channel] = [.whatsapp, .email]
}
