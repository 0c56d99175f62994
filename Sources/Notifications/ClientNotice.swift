package import Jobs
package import Kernel
package import Scheduling
package import Wire

/// What a queued message is about: read again when it is sent, so that it says what then is true.
package struct ClientNotice: Sendable, Equatable {
    package enum Subject: Sendable, Equatable {
        /// - Parameters:
        ///   - revision: of which its client is told.
        ///   - former: when it was to be before it was moved.
        case appointment(AppointmentID, revision: Int64, former: Timestamp?)
        case offer(WaitlistID, hold: HoldID)
    }

    package var event: NotificationEvent
    package var subject: Subject
    /// As the rule is called in keys.
    package var rule: String
    /// When it was to be sent; later than that by how much says whether it still is.
    package var due: Timestamp

    package init(_ event: NotificationEvent, _ subject: Subject, rule: String, due: Timestamp) {
        self.event = event
        self.subject = subject
        self.rule = rule
        self.due = due
    }

    package var payload: String {
        var writer = JSONWriter()
        writer.object {
            $0.field("event", event.rawValue)
            switch subject {
            case .appointment(let id, let revision, let former):
                $0.field("appointment_id", id.description)
                $0.field("revision", revision)
                if let former { $0.field("former_start", former.description) }
            case .offer(let id, let hold):
                $0.field("waitlist_id", id.description)
                $0.field("hold_id", hold.description)
            }
            $0.field("rule", rule)
            $0.field("due", due.description)
        }
        return String(decoding: writer.bytes, as: UTF8.self)
    }

    /// `nil` for a payload of another shape, such as one that says itself what to send.
    package init?(payload: String) {
        guard let json = try? JSON.parse(payload), let event = json["event"]?.string.flatMap(NotificationEvent.init(rawValue:)),
            let rule = json["rule"]?.string, let due = json["due"]?.string.flatMap({ Timestamp(rfc3339: $0) })
        else { return nil }
        if let id = json["appointment_id"]?.string.flatMap({ AppointmentID($0) }), let revision = json["revision"]?.int {
            let former = json["former_start"]?.string.flatMap { Timestamp(rfc3339: $0) }
            self.init(event, .appointment(id, revision: revision, former: former), rule: rule, due: due)
        } else if let id = json["waitlist_id"]?.string.flatMap({ WaitlistID($0) }), let hold = json["hold_id"]?.string.flatMap({ HoldID($0) }) {
            self.init(event, .offer(id, hold: hold), rule: rule, due: due)
        } else {
            return nil
        }
    }

    package static func subject(of id: AppointmentID) -> String { "appointment:\(id)" }
    package static func subject(of id: WaitlistID) -> String { "waitlist:\(id)" }
}
