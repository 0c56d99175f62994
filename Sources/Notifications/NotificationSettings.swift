package import Jobs
package import Kernel
package import Scheduling
package import Wire

/// How a business tells its clients of their appointments.
package struct NotificationSettings: Sendable, Equatable {
    package typealias Channel = OutgoingMessage.Channel

    /// What becomes of something whose time has passed, as after an outage.
    package enum Late: String, Sendable, CaseIterable { case send, skip }
    /// What becomes of a reminder whose time has passed already when the appointment is booked or moved.
    package enum InsideLead: String, Sendable, CaseIterable {
        case skip
        case sendNow = "send_now"
    }

    package struct Reminder: Sendable, Equatable {
        package enum Time: Sendable, Hashable {
            case minutesBefore(Int)
            /// Days before the appointment's, at a minute of that day by the business's clock.
            case daysBefore(Int, at: Int)
        }

        package var time: Time
        package var channels: Set<Channel>
        package var template = TemplateName(.reminder)
        package var late = Late.send
        package var graceMinutes = 60
        package var insideLead = InsideLead.skip

        package init(_ time: Time, _ channels: Set<Channel>) {
            self.time = time
            self.channels = channels
        }

        /// What the rule is called in keys: what it does, so that another time is another rule.
        package var key: String {
            switch time {
            case .minutesBefore(let minutes): "reminder-\(minutes)m"
            case .daysBefore(let days, let minute): "reminder-\(days)d-\(minute)"
            }
        }

        /// When it is due, quiet hours aside. A time that the clock skips is the first one after it; of one that it repeats, the first counts.
        package func due(before start: Timestamp, _ zone: Zone) -> Timestamp {
            switch time {
            case .minutesBefore(let minutes): start - .seconds(minutes * 60)
            case .daysBefore(let days, let minute):
                Timestamp(milliseconds: zone.opening(local: QuietHours.local(zone.day(of: start) + -days, minute)))
            }
        }
    }

    package struct FollowUp: Sendable, Equatable {
        package var minutesAfter: Int
        package var channels: Set<Channel>
        package var template = TemplateName(.followUp)
        package var late = Late.send
        package var graceMinutes = 1440

        package init(minutesAfter: Int, _ channels: Set<Channel>) {
            self.minutesAfter = minutesAfter
            self.channels = channels
        }

        package var key: String { "follow_up-\(minutesAfter)m" }
    }

    /// The channels that are on at all.
    package var channels: Set<Channel> = [.whatsapp, .email]
    package var events: [NotificationEvent: Set<Channel>] = Dictionary(
        uniqueKeysWithValues: NotificationEvent.immediate.map { ($0, $0 == .noShow ? [] : [.whatsapp, .email]) }
    )
    package var reminders: [Reminder] = [.init(.minutesBefore(1440), [.whatsapp, .email]), .init(.minutesBefore(60), [.whatsapp])]
    package var followUps: [FollowUp] = []
    package var quiet = QuietHours(begins: 22 * 60, ends: 7 * 60)
    /// Who e-mails say they are from; `nil` is the business's name.
    package var senderName: String?
    package var replyTo: String?
    package var address: String?
    /// Where a client looks after an appointment: `{id}`, `{token}` and `{slug}` stand for its own. `nil` is this server's own address.
    package var managePattern: String?
    package var version: Int64 = 0

    package static let maxRules = 10

    package init() {}

    /// By which channels something is told.
    func channels(of event: NotificationEvent) -> Set<Channel> { (events[event] ?? []).intersection(channels) }

    /// When a reminder is sent: moved out of the quiet hours, to their end if that is before the appointment, and else to before they begin.
    package func due(_ rule: Reminder, before start: Timestamp, _ zone: Zone) -> Timestamp {
        let due = rule.due(before: start, zone)
        guard let quiet = quiet?.around(due, zone) else { return due }
        return quiet.upperBound < start ? quiet.upperBound : quiet.lowerBound - QuietHours.margin
    }

    /// When something is told that nothing has to come after.
    package func calm(_ time: Timestamp, _ zone: Zone) -> Timestamp { quiet?.around(time, zone)?.upperBound ?? time }

    // MARK: Wire

    static func clock(_ minute: Int) -> String {
        func two(_ number: Int) -> String { number < 10 ? "0\(number)" : String(number) }
        return "\(two(minute / 60)):\(two(minute % 60))"
    }

    /// The object of `GET /api/users/notification-settings`, and what is stored.
    package func write(to writer: inout JSONWriter) {
        writer.object { object in
            for channel in Channel.all { object.field("\(channel.rawValue)_enabled", channels.contains(channel)) }
            object.field("sender_name", senderName)
            object.field("reply_to", replyTo)
            object.field("address", address)
            object.field("manage_url", managePattern)
            object.key("quiet_hours")
            if let quiet {
                object.object {
                    $0.field("start", Self.clock(quiet.begins))
                    $0.field("end", Self.clock(quiet.ends))
                }
            } else {
                object.null()
            }
            object.field("events") { members in
                for event in NotificationEvent.immediate { members.field(event.rawValue, strings: Self.names(events[event] ?? [])) }
            }
            object.list("reminders") { list in
                for rule in reminders {
                    list.object {
                        switch rule.time {
                        case .minutesBefore(let minutes): $0.field("minutes_before", minutes)
                        case .daysBefore(let days, let minute):
                            $0.field("days_before", days)
                            $0.field("at", Self.clock(minute))
                        }
                        $0.field("channels", strings: Self.names(rule.channels))
                        $0.field("template", rule.template.description)
                        $0.field("late", rule.late.rawValue)
                        $0.field("grace_minutes", rule.graceMinutes)
                        $0.field("booked_inside_lead", rule.insideLead.rawValue)
                    }
                }
            }
            object.list("follow_ups") { list in
                for rule in followUps {
                    list.object {
                        $0.field("minutes_after", rule.minutesAfter)
                        $0.field("channels", strings: Self.names(rule.channels))
                        $0.field("template", rule.template.description)
                        $0.field("late", rule.late.rawValue)
                        $0.field("grace_minutes", rule.graceMinutes)
                    }
                }
            }
            object.field("version", version)
        }
    }

    static func names(_ channels: Set<Channel>) -> [String] { Channel.all.filter(channels.contains).map(\.rawValue) }

    package var json: [UInt8] {
        var writer = JSONWriter(capacity: 1024)
        write(to: &writer)
        return writer.bytes
    }
}
