package import Conversations
package import Kernel
package import Wire

extension DeskSettings {
    /// A day, in seconds.
    private static let day: Int64 = 86_400
    private static let maxHolidays = 400
    private static let maxIntervalsADay = 8

    /// These settings with the fields of a body in place of their own (protocol/README.md "The desk"). What is left out stays; null is off, or the default.
    /// - Throws: 422 naming the fields at fault.
    package func changed(by json: JSON?) throws(Refusal) -> DeskSettings {
        var fields = try RequestFields(json)
        var settings = self
        func seconds(_ name: String, _ range: ClosedRange<Int64>, _ value: inout Duration?) {
            if fields.has(name) { value = fields.optionalInteger(name, in: range).map { .seconds($0) } }
        }
        func seconds(_ name: String, _ range: ClosedRange<Int64>, _ value: inout Duration, default missing: Int64) {
            if fields.has(name) { value = .seconds(fields.optionalInteger(name, in: range) ?? missing) }
        }
        func text(_ name: String, _ value: inout String?) { if fields.has(name) { value = fields.optionalText(name, min: 1, max: 1000) } }

        if fields.has("policy") {
            let policy = fields.optionalText("policy", max: 32)
            settings.assignment.policy = policy.flatMap(AssignmentRules.Policy.init(rawValue:)) ?? .longestIdle
            if let policy, AssignmentRules.Policy(rawValue: policy) == nil {
                fields.refuse(
                    "policy",
                    "deve ser um destes: \(AssignmentRules.Policy.allCases.map(\.rawValue).joined(separator: ", "))",
                    type: "enum"
                )
            }
        }
        seconds("offer_timeout_seconds", 1...3600, &settings.offerTimeout)
        seconds("wrap_up_seconds", 0...3600, &settings.assignment.wrapUp, default: 0)
        if fields.has("away_after_missed") {
            settings.assignment.awayAfterMissed = Int(fields.optionalInteger("away_after_missed", in: 1...100) ?? 2)
        }

        seconds("first_answer_seconds", 1...(30 * Self.day), &settings.firstAnswer)
        seconds("next_answer_seconds", 1...(30 * Self.day), &settings.nextAnswer)
        seconds("resolution_seconds", 1...(90 * Self.day), &settings.resolution)
        seconds("warn_before_seconds", 0...(30 * Self.day), &settings.warnBefore, default: 300)
        if fields.has("sla_only_in_hours") { settings.countsOnlyHours = fields.optionalBool("sla_only_in_hours") ?? false }

        if fields.has("requeues_when_lost") { settings.requeuesWhenLost = fields.optionalBool("requeues_when_lost") ?? false }
        seconds("bot_inactivity_seconds", 1...(30 * Self.day), &settings.botInactivity)
        seconds("consultor_inactivity_seconds", 1...(30 * Self.day), &settings.consultorInactivity)
        text("inactivity_message", &settings.inactivityMessage)

        if fields.has("timezone") { settings.timeZone = fields.optionalText("timezone", min: 1, max: 64) ?? "America/Sao_Paulo" }
        if fields.has("weekly_hours") { settings.week = Self.week(&fields) }
        if fields.has("holidays") {
            let days = fields.optionalTexts("holidays", maxCount: Self.maxHolidays, maxLength: 10) ?? []
            if let wrong = days.first(where: { $0.utf8.count != 10 || Timestamp(rfc3339: $0 + "T00:00:00Z") == nil }) {
                fields.refuse("holidays", "'\(wrong)' não é uma data como 2026-12-25", type: "date_parsing")
            }
            settings.holidays = Set(days)
        }
        if !settings.setHours() { fields.refuse("timezone", "não há fuso horário com este nome; use um como America/Sao_Paulo", type: "timezone") }
        text("out_of_hours_message", &settings.outOfHoursMessage)

        if fields.has("asks_satisfaction") { settings.asksSatisfaction = fields.optionalBool("asks_satisfaction") ?? false }
        text("satisfaction_question", &settings.satisfactionQuestion)
        seconds("satisfaction_wait_seconds", 1...Self.day, &settings.satisfactionWait, default: 3600)
        try fields.check()
        return settings
    }

    /// `{"mon": [["09:00", "12:00"], ["13:00", "18:00"]], …}`: a day that is left out is closed, null for the whole is always open.
    private static func week(_ fields: inout RequestFields) -> [[BusinessHours.Interval]]? {
        guard let json = fields.json("weekly_hours") else { return nil }
        guard let names = json.names, names.allSatisfy(BusinessHours.dayNames.contains) else {
            fields.refuse("weekly_hours", "deve ser um objeto com os dias \(BusinessHours.dayNames.joined(separator: ", "))")
            return nil
        }
        var week: [[BusinessHours.Interval]] = []
        for name in BusinessHours.dayNames {
            let given = json[name].flatMap { $0.isNull ? nil : $0 } ?? .array([])
            guard let intervals = given.array.map({ $0.compactMap(interval) }), intervals.count == given.array?.count,
                intervals.count <= maxIntervalsADay,
                zip(intervals, intervals.dropFirst()).allSatisfy({ $0.closes <= $1.opens })
            else {
                fields.refuse("weekly_hours", "\(name): deve ser uma lista em ordem de pares como [\"09:00\", \"18:00\"], sem sobreposição")
                return nil
            }
            week.append(intervals)
        }
        return week
    }

    private static func interval(_ json: JSON) -> BusinessHours.Interval? {
        guard let pair = json.array, pair.count == 2, let opens = pair[0].string.flatMap(minute), let closes = pair[1].string.flatMap(minute),
            opens < closes
        else { return nil }
        return .init(opens: opens, closes: closes)
    }

    /// `09:30`, and `24:00` for the midnight at the end of the day.
    private static func minute(_ text: String) -> Int? {
        let parts = text.split(separator: ":", omittingEmptySubsequences: false)
        guard parts.count == 2, parts.allSatisfy({ $0.count == 2 && $0.allSatisfy(\.isASCII) }), let hour = Int(parts[0]), let minute = Int(parts[1]),
            (0...24).contains(hour), (0..<60).contains(minute), hour * 60 + minute <= 1440
        else { return nil }
        return hour * 60 + minute
    }
}
