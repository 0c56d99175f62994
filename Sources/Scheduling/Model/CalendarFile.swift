import Kernel

/// Appointments as other calendars read them (RFC 5545), and as invitations carry them (RFC 5546).
///
/// An appointment has one `UID` for life and its revision as `SEQUENCE`. Times are UTC, which every calendar shows in its reader's zone. Lines end with CRLF and
/// are folded at 75 octets.
package enum CalendarFile {
    package enum Method: String, Sendable {
        /// A feed: to be looked at.
        case publish = "PUBLISH"
        /// An invitation, also when it has moved.
        case request = "REQUEST"
        /// An appointment that was: what removes it.
        case cancel = "CANCEL"
    }

    /// - Parameter organizer: the address that those who are invited answer to.
    package static func text(
        _ appointments: [Appointment],
        businessName: String,
        method: Method,
        organizer: String
    ) -> String {
        var lines = ["BEGIN:VCALENDAR", "VERSION:2.0", "PRODID:-//Plantao//Agenda//PT", "CALSCALE:GREGORIAN", "METHOD:\(method.rawValue)"]
        if method == .publish { lines.append("X-WR-CALNAME:\(escaped(businessName))") }
        for appointment in appointments {
            lines += [
                "BEGIN:VEVENT", "UID:\(appointment.id)@plantao", "SEQUENCE:\(appointment.revision)", "DTSTAMP:\(stamp(appointment.updatedAt))",
                "CREATED:\(stamp(appointment.createdAt))", "LAST-MODIFIED:\(stamp(appointment.updatedAt))", "DTSTART:\(stamp(appointment.start))",
                "DTEND:\(stamp(appointment.end))",
                // Who reads the feed is the business, who is invited is its client.
                "SUMMARY:\(escaped(method == .publish ? "\(appointment.serviceName) – \(appointment.clientName)" : "\(appointment.serviceName) – \(businessName)"))",
                "STATUS:\(status(appointment.status))", "TRANSP:\(appointment.status.isBlocking ? "OPAQUE" : "TRANSPARENT")",
                "ORGANIZER;CN=\(parameter(businessName)):mailto:\(escaped(organizer))",
            ]
            if let email = appointment.clientEmail, method != .publish {
                lines.append("ATTENDEE;CN=\(parameter(appointment.clientName));ROLE=REQ-PARTICIPANT:mailto:\(escaped(email))")
            }
            if let notes = appointment.notes { lines.append("DESCRIPTION:\(escaped(notes))") }
            lines.append("END:VEVENT")
        }
        lines.append("END:VCALENDAR")
        return lines.map(folded).joined()
    }

    private static func status(_ status: Appointment.Status) -> String {
        switch status {
        case .pending: "TENTATIVE"
        // Who did not come was expected: it was not called off.
        case .confirmed, .completed, .noShow: "CONFIRMED"
        case .cancelled: "CANCELLED"
        }
    }

    /// `20260301T093000Z`
    private static func stamp(_ time: Timestamp) -> String { time.description.prefix(19).filter { $0 != "-" && $0 != ":" } + "Z" }

    /// RFC 5545 §3.3.11. What has no place in a line is left out.
    static func escaped(_ text: String) -> String {
        var result = ""
        for scalar in text.unicodeScalars {
            switch scalar {
            case "\\", ";", ",": result += "\\\(scalar)"
            case "\n": result += "\\n"
            case _ where scalar.value < 0x20 || scalar.value == 0x7f: break
            default: result.unicodeScalars.append(scalar)
            }
        }
        return result
    }

    /// RFC 5545 §3.2: in quotes, which it cannot hold.
    private static func parameter(_ text: String) -> String {
        "\"\(String(String.UnicodeScalarView(text.unicodeScalars.filter { $0 != "\"" && $0.value >= 0x20 && $0.value != 0x7f })))\""
    }

    /// RFC 5545 §3.1: no line longer than 75 octets, and no character cut in two.
    static func folded(_ line: String) -> String {
        var result = ""
        var length = 0
        for character in line.unicodeScalars {
            let size = String(character).utf8.count
            if length + size > 75 {
                result += "\r\n "
                length = 1
            }
            result.unicodeScalars.append(character)
            length += size
        }
        return result + "\r\n"
    }
}
