package import Jobs
package import Kernel
package import Notifications
import OrderedCollections
package import Wire

extension NotificationSettings {
    /// These with the fields of a body in place of their own. What is left out stays; null is the default.
    /// - Throws: 422 naming the fields at fault; 409 when `version` is not the one that the body was written for.
    package func changed(by json: JSON?) throws(Refusal) -> NotificationSettings {
        var fields = try RequestFields(json)
        var settings = self
        let standard = NotificationSettings()
        for channel in Channel.all where fields.has("\(channel.rawValue)_enabled") {
            if fields.optionalBool("\(channel.rawValue)_enabled") ?? true {
                settings.channels.insert(channel)
            } else {
                settings.channels.remove(channel)
            }
        }
        func text(_ name: String, max: Int, _ value: inout String?) {
            guard fields.has(name) else { return }
            value = fields.optionalText(name, min: 1, max: max)
            if value?.unicodeScalars.contains(where: { $0.value < 0x20 }) ?? false { fields.refuse(name, "deve ter uma linha só") }
        }
        text("sender_name", max: 80, &settings.senderName)
        text("address", max: 300, &settings.address)
        text("reply_to", max: 254, &settings.replyTo)
        if let address = settings.replyTo, fields.has("reply_to"), !Self.isAddress(address) { fields.refuse("reply_to", "deve ser um e-mail válido") }
        text("manage_url", max: 500, &settings.managePattern)
        if let pattern = settings.managePattern, fields.has("manage_url"),
            !pattern.hasPrefix("https://") && !pattern.hasPrefix("http://") || pattern.contains(where: \.isWhitespace) || !pattern.contains("{id}")
                || !pattern.contains("{token}")
        {
            fields.refuse(
                "manage_url",
                "deve ser um endereço http(s) com {id} e {token}, como https://exemplo.com/agenda/{id}?token={token}",
                type: "url"
            )
        }
        if fields.has("quiet_hours") {
            if let given = fields.json("quiet_hours") {
                if let begins = given["start"]?.string.flatMap(Self.minute), let ends = given["end"]?.string.flatMap(Self.minute),
                    let quiet = QuietHours(begins: begins, ends: ends)
                {
                    settings.quiet = quiet
                } else {
                    fields.refuse("quiet_hours", "deve ser null ou {\"start\": \"22:00\", \"end\": \"07:00\"}, com horas diferentes")
                }
            } else {
                settings.quiet = nil
            }
        }
        if fields.has("events") { settings.events = Self.events(&fields, settings.events, standard.events) }
        if fields.has("reminders") {
            settings.reminders = Self.rules("reminders", &fields, read: Self.reminder) ?? standard.reminders
            for (channel, key) in Self.repeated(settings.reminders.map { ($0.key, $0.channels) }) {
                fields.refuse("reminders", "há dois lembretes para a mesma hora (\(key)) por \(channel.rawValue)")
            }
        }
        if fields.has("follow_ups") {
            settings.followUps = Self.rules("follow_ups", &fields, read: Self.followUp) ?? standard.followUps
            for (channel, key) in Self.repeated(settings.followUps.map { ($0.key, $0.channels) }) {
                fields.refuse("follow_ups", "há dois acompanhamentos para a mesma hora (\(key)) por \(channel.rawValue)")
            }
        }
        let seen = fields.optionalInteger("version", in: 0...(.max))
        try fields.check()
        if let seen, seen != version {
            throw Refusal(
                .conflict,
                "stale_version",
                "As configurações foram alteradas por outra pessoa; recarregue e tente de novo.",
                facts: ["version": String(version)]
            )
        }
        return settings
    }

    /// What was valid once is; else the defaults.
    static func stored(_ json: JSON) -> NotificationSettings {
        guard case .object(var members) = json else { return NotificationSettings() }
        members["version"] = nil
        return (try? NotificationSettings().changed(by: .object(members))) ?? NotificationSettings()
    }

    static func isAddress(_ text: String) -> Bool {
        let parts = text.split(separator: "@", omittingEmptySubsequences: false)
        return parts.count == 2 && !parts[0].isEmpty && parts[1].contains(".") && text.utf8.allSatisfy { (0x21...0x7e).contains($0) }
            && !text.contains { "<>()[]\\,;:\"".contains($0) }
    }

    private static func repeated(_ rules: [(String, Set<Channel>)]) -> [(Channel, String)] {
        var seen: Set<String> = []
        return rules.flatMap { key, channels in channels.filter { !seen.insert("\(key) \($0.rawValue)").inserted }.map { ($0, key) } }
    }

    /// `09:30`
    private static func minute(_ text: String) -> Int? {
        let parts = text.split(separator: ":", omittingEmptySubsequences: false)
        guard parts.count == 2, parts.allSatisfy({ $0.count == 2 && $0.allSatisfy { $0.isASCII && $0.isNumber } }), let hour = Int(parts[0]),
            let minute = Int(parts[1]), hour < 24, minute < 60
        else { return nil }
        return hour * 60 + minute
    }

    private static func events(
        _ fields: inout RequestFields,
        _ present: [NotificationEvent: Set<Channel>],
        _ standard: [NotificationEvent: Set<Channel>]
    ) -> [NotificationEvent: Set<Channel>] {
        guard let given = fields.json("events") else { return standard }
        guard let members = given.object else {
            fields.refuse("events", "deve ser um objeto como {\"confirmed\": [\"whatsapp\", \"email\"]}", type: "dict_type")
            return present
        }
        var events = present
        for (name, value) in members {
            guard let event = NotificationEvent(rawValue: name), NotificationEvent.immediate.contains(event) else {
                fields.refuse(
                    "events",
                    "não há aviso '\(name.prefix(40))'; há \(NotificationEvent.immediate.map(\.rawValue).joined(separator: ", "))"
                )
                continue
            }
            if value.isNull {
                events[event] = standard[event]
            } else if let channels = Self.channels(value) {
                events[event] = channels
            } else {
                fields.refuse("events", "\(name): deve ser uma lista com whatsapp, email ou nenhum")
            }
        }
        return events
    }

    private static func channels(_ json: JSON?) -> Set<Channel>? {
        guard let names = json?.array?.map(\.string) else { return nil }
        let channels = names.compactMap { $0.flatMap(Channel.init(rawValue:)) }
        return channels.count == names.count ? Set(channels) : nil
    }

    private static func rules<Rule>(_ name: String, _ fields: inout RequestFields, read: (inout RequestFields) -> Rule) -> [Rule]? {
        guard let given = fields.json(name) else { return nil }
        guard let list = given.array, list.count <= maxRules else {
            fields.refuse(name, "deve ser uma lista de no máximo \(maxRules) regras", type: "list_type")
            return []
        }
        var rules: [Rule] = []
        for (index, one) in list.enumerated() {
            do throws(Refusal) {
                var rule = try RequestFields(one, at: ["body", name, String(index)])
                rules.append(read(&rule))
                try rule.check()
            } catch {
                for fault in error.fields {
                    fields.refuse("\(name).\(fault.location.dropFirst(2).joined(separator: "."))", fault.message, type: fault.type)
                }
            }
        }
        return rules
    }

    private static func reminder(_ fields: inout RequestFields) -> Reminder {
        let time: Reminder.Time
        switch (fields.has("minutes_before"), fields.has("days_before")) {
        case (false, true):
            let days = Int(fields.integer("days_before", in: 0...60))
            let text = fields.text("at", max: 5)
            let at = minute(text)
            if at == nil, !text.isEmpty { fields.refuse("at", "deve ser uma hora como 18:00") }
            time = .daysBefore(days, at: at ?? 0)
        case (true, true):
            fields.refuse("days_before", "use minutes_before, ou days_before com at; não os dois")
            time = .minutesBefore(60)
        default: time = .minutesBefore(Int(fields.integer("minutes_before", in: 1...87_840)))
        }
        var rule = Reminder(time, channels(of: &fields))
        rule.template = template(of: &fields, .reminder)
        rule.late = late(of: &fields)
        rule.graceMinutes = Int(fields.optionalInteger("grace_minutes", in: 0...10_080) ?? 60)
        if let text = fields.optionalText("booked_inside_lead", max: 20) {
            if let policy = InsideLead(rawValue: text) {
                rule.insideLead = policy
            } else {
                fields.refuse("booked_inside_lead", "deve ser skip ou send_now", type: "enum")
            }
        }
        return rule
    }

    private static func followUp(_ fields: inout RequestFields) -> FollowUp {
        var rule = FollowUp(minutesAfter: Int(fields.integer("minutes_after", in: 0...43_200)), channels(of: &fields))
        rule.template = template(of: &fields, .followUp)
        rule.late = late(of: &fields)
        rule.graceMinutes = Int(fields.optionalInteger("grace_minutes", in: 0...10_080) ?? 1440)
        return rule
    }

    private static func channels(of fields: inout RequestFields) -> Set<Channel> {
        guard fields.has("channels") else { return [.whatsapp, .email] }
        guard let channels = channels(fields.json("channels")), !channels.isEmpty else {
            fields.refuse("channels", "deve ser uma lista com whatsapp, email ou os dois")
            return []
        }
        return channels
    }

    private static func template(of fields: inout RequestFields, _ event: NotificationEvent) -> TemplateName {
        guard let text = fields.optionalText("template", min: 1, max: 64) else { return TemplateName(event) }
        guard let name = TemplateName(text), name.event == event else {
            fields.refuse("template", "deve ser '\(event.rawValue)' ou um nome como '\(event.rawValue)_curto', em minúsculas")
            return TemplateName(event)
        }
        return name
    }

    private static func late(of fields: inout RequestFields) -> Late {
        guard let text = fields.optionalText("late", max: 10) else { return .send }
        guard let late = Late(rawValue: text) else {
            fields.refuse("late", "deve ser send ou skip", type: "enum")
            return .send
        }
        return late
    }
}

extension MessageTemplate {
    /// - Throws: 422 naming the fields at fault, and the variable that there is not.
    package static func read(_ json: JSON?, _ name: TemplateName, _ channel: Channel) throws(Refusal) -> MessageTemplate {
        var fields = try RequestFields(json)
        let standard = StandardTemplates.template(name.event, channel)
        func template(_ field: String, _ text: String?) -> TemplateText? {
            guard let text else { return nil }
            do throws(TemplateText.Mistake) { return try TemplateText(text) } catch {
                fields.refuse(field, error.message, type: "template_variable")
                return nil
            }
        }
        let text = template("text", fields.text("text", max: channel == .whatsapp ? 4096 : 20_000))
        var subject = standard.subject
        var html: TemplateText?
        if channel == .email {
            if let given = fields.optionalText("subject", min: 1, max: 200) {
                if given.contains(where: \.isNewline) { fields.refuse("subject", "deve ter uma linha só") }
                subject = template("subject", given)
            }
            html = template("html", fields.optionalText("html", min: 1, max: 100_000))
        }
        var made = MessageTemplate(subject: subject, text: text ?? standard.text, html: html)
        if let given = fields.json("whatsapp_template") {
            if channel == .email {
                fields.refuse("whatsapp_template", "só o canal whatsapp tem modelo aprovado")
            } else {
                made.approved = try approved(given, &fields)
            }
        }
        try fields.check()
        return made
    }

    package typealias Channel = OutgoingMessage.Channel

    private static func approved(_ json: JSON, _ fields: inout RequestFields) throws(Refusal) -> Approved? {
        var own = try RequestFields(json, at: ["body", "whatsapp_template"])
        let name = own.text("name", max: 512)
        if !name.utf8.allSatisfy({ (0x61...0x7a).contains($0) || (0x30...0x39).contains($0) || $0 == 0x5f }) {
            own.refuse("name", "só tem letras minúsculas, números e _")
        }
        let language = own.optionalText("language", min: 2, max: 10) ?? "pt_BR"
        var parameters: [TemplateText.Variable] = []
        for given in own.optionalTexts("parameters", maxCount: 20, maxLength: 64) ?? [] {
            if let variable = TemplateText.Variable(rawValue: given) {
                parameters.append(variable)
            } else {
                own.refuse("parameters", TemplateText.Mistake.unknown(given).message, type: "template_variable")
            }
        }
        for fault in own.faults { fields.refuse(fault.location.dropFirst().joined(separator: "."), fault.message, type: fault.type) }
        return Approved(name: name, language: language, parameters: parameters)
    }
}
