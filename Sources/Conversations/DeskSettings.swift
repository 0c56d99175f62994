package import Kernel
package import Wire

/// How one business runs its desk: data of the tenant's, changed while it runs. What is `nil` is off.
package struct DeskSettings: Sendable, Equatable {
    package var assignment = AssignmentRules()
    /// How long a consultor has to accept an offer. `nil`: as the server is configured.
    package var offerTimeout: Duration?

    package var firstAnswer: Duration?
    package var nextAnswer: Duration?
    package var resolution: Duration?
    /// How long before a promise is due its people are warned.
    package var warnBefore = Duration.seconds(300)
    /// Promises count working time only.
    package var countsOnlyHours = false

    /// What somebody whose connection is lost was attending goes back to the line, to its old place.
    package var requeuesWhenLost = false

    /// After so long without a word a conversation of the bot is closed.
    package var botInactivity: Duration?
    /// The same for one that a consultor has, once nothing is owed to the customer.
    package var consultorInactivity: Duration?
    package var inactivityMessage: String?

    package var timeZone = "America/Sao_Paulo"
    /// Seven days from Sunday on; `nil`: always open.
    package var week: [[BusinessHours.Interval]]?
    package var holidays: Set<String> = []
    package var outOfHoursMessage: String?

    /// Whether a customer is asked how it was, once a consultor's conversation is resolved.
    package var asksSatisfaction = false
    package var satisfactionQuestion: String?
    /// How long an answer is taken for one.
    package var satisfactionWait = Duration.seconds(3600)

    package private(set) var hours: BusinessHours?
    package var version: Int64 = 0

    package init() {}

    /// To be called once `week`, `timeZone` and `holidays` are as they shall be.
    /// - Returns: whether there is such a time zone.
    package mutating func setHours() -> Bool {
        let made = BusinessHours(timeZone: timeZone, week: week ?? Array(repeating: [], count: 7), holidays: holidays)
        hours = week == nil ? nil : made
        return made != nil
    }

    /// Something may fall due for a conversation that nobody waits in: whoever starts anew must look.
    package var hasTimers: Bool {
        firstAnswer != nil || nextAnswer != nil || resolution != nil || botInactivity != nil || consultorInactivity != nil || asksSatisfaction
    }

    package func isOpen(at time: Timestamp) -> Bool { hours?.isOpen(at: time) ?? true }

    /// After so much time in which the business works.
    func time(after duration: Duration, from start: Timestamp) -> Timestamp { hours?.time(after: duration, from: start) ?? start + duration }

    func target(_ metric: ServiceLevels.Metric) -> Duration? {
        switch metric {
        case .firstAnswer: firstAnswer
        case .nextAnswer: nextAnswer
        case .resolution: resolution
        }
    }

    /// When a promise made at `start` is due, and when to warn of it.
    func promise(_ metric: ServiceLevels.Metric, from start: Timestamp) -> (dueAt: Timestamp, warnAt: Timestamp)? {
        guard let target = target(metric) else { return nil }
        let early = max(.zero, target - warnBefore)
        guard countsOnlyHours, let hours else { return (start + target, start + early) }
        return (hours.time(after: target, from: start), hours.time(after: early, from: start))
    }

    // MARK: Wire

    private static func clock(_ minute: Int) -> String {
        func two(_ number: Int) -> String { number < 10 ? "0\(number)" : String(number) }
        return "\(two(minute / 60)):\(two(minute % 60))"
    }

    package func write(to writer: inout JSONWriter) {
        func seconds(_ duration: Duration?) -> Int64? { duration.map { $0.inMilliseconds / 1000 } }
        writer.object {
            $0.field("policy", assignment.policy.rawValue)
            $0.field("offer_timeout_seconds", seconds(offerTimeout))
            $0.field("wrap_up_seconds", seconds(assignment.wrapUp))
            $0.field("away_after_missed", assignment.awayAfterMissed)
            $0.field("first_answer_seconds", seconds(firstAnswer))
            $0.field("next_answer_seconds", seconds(nextAnswer))
            $0.field("resolution_seconds", seconds(resolution))
            $0.field("warn_before_seconds", seconds(warnBefore))
            $0.field("sla_only_in_hours", countsOnlyHours)
            $0.field("requeues_when_lost", requeuesWhenLost)
            $0.field("bot_inactivity_seconds", seconds(botInactivity))
            $0.field("consultor_inactivity_seconds", seconds(consultorInactivity))
            $0.field("inactivity_message", inactivityMessage)
            $0.field("timezone", timeZone)
            if let week {
                $0.field("weekly_hours") { days in
                    for (name, intervals) in zip(BusinessHours.dayNames, week) {
                        days.list(name) { list in
                            for interval in intervals {
                                list.array {
                                    $0.string(Self.clock(interval.opens))
                                    $0.string(Self.clock(interval.closes))
                                }
                            }
                        }
                    }
                }
            } else {
                $0.field("weekly_hours", JSON.null)
            }
            $0.field("holidays", strings: holidays.sorted())
            $0.field("out_of_hours_message", outOfHoursMessage)
            $0.field("asks_satisfaction", asksSatisfaction)
            $0.field("satisfaction_question", satisfactionQuestion)
            $0.field("satisfaction_wait_seconds", seconds(satisfactionWait))
        }
    }

    package var json: [UInt8] {
        var writer = JSONWriter(capacity: 1024)
        write(to: &writer)
        return writer.bytes
    }

    mutating func image(tenant: TenantID, at now: Timestamp) -> RowImage {
        version += 1
        return RowImage(
            DeskTables.settings,
            version: version,
            values: [.id(tenant), .json(String(decoding: json, as: UTF8.self)), .boolean(hasTimers), .timestamp(now)]
        )
    }
}
