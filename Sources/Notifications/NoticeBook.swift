package import Jobs
package import Kernel
package import Scheduling
package import Storage

// What a business's clients are told of their appointments, and when (research/scheduling.md B5.4–5.7). No I/O; time comes in.
//
//     appointment changed ──▶ what was planned before is called off, what is now to be told is planned
//     rules changed       ──▶ what is planned for what is to come is moved, what nobody asks for any longer withdrawn, what is new added
//     message due         ──▶ looked at again with the appointment, the rules and the wishes as they then are: told, put off or dropped
//
// Keys are `appointment:revision:rule:channel`, where the revision is the one at which what is told last changed: the time, the service, who attends, whether
// it takes place, or for one channel whom it reaches. A note that somebody adds changes nothing of what was planned.
//
// Invariants
// 1. Of each (revision, rule, channel) there is at most one message: a plan that is made again has the same keys, which the queue takes once.
// 2. Nothing planned for an earlier revision is told, however late its message is delivered, and nothing but what says so of one that was cancelled.
// 3. Nothing but follow-ups is told once the appointment has begun.
package struct NoticeBook: Sendable {
    package typealias Channel = OutgoingMessage.Channel

    /// Of which revision a client is told, by channel.
    package struct Told: Sendable, Equatable {
        var revisions: [Channel: Int64]
        var forgetAt: Timestamp
        var version: Int64 = 0

        init(_ revision: Int64, forgetAt: Timestamp) {
            revisions = [.whatsapp: revision, .email: revision]
            self.forgetAt = forgetAt
        }

        mutating func image(_ id: AppointmentID, tenant: TenantID) -> RowImage {
            version += 1
            return RowImage(
                NotificationTables.told,
                version: version,
                values: [.id(tenant), .id(id), .integer(revisions[.whatsapp] ?? 0), .integer(revisions[.email] ?? 0), .timestamp(forgetAt)]
            )
        }
    }

    /// What there is to do.
    package struct Plan: Sendable {
        /// Subjects about which nothing that waits is to be told any more. Done before anything is added.
        package var calledOff: [String] = []
        package var messages: [OutgoingMessage] = []
        /// What those that were planned are to be from now on; `nil`: no rule asks for them any longer.
        package var revised: [(message: QueueMessage, content: OutgoingMessage?)] = []
        package var rows: [RowImage] = []

        package init() {}

        package var isEmpty: Bool { calledOff.isEmpty && messages.isEmpty && revised.isEmpty && rows.isEmpty }
    }

    package let tenant: TenantID
    package var settings = NotificationSettings()
    package var templates: [TemplateName: [Channel: MessageTemplate]] = [:]
    package var optOuts = OptOuts()
    private var told: [AppointmentID: Told] = [:]

    /// What is taken up within so long is on time.
    static let punctual = Duration.seconds(15)
    /// What a client does with an appointment themselves is told after so long, unless they do something else.
    static let settles = Duration.seconds(60)
    /// Follow-ups are of use for so long.
    static let usefulFor = Duration.seconds(7 * 86_400)
    /// After an appointment it is remembered for so long what was told of it.
    static let rememberedFor = Duration.seconds(45 * 86_400)

    package init(tenant: TenantID) { self.tenant = tenant }

    package mutating func adopt(_ row: Row) {
        var row = row
        let _: TenantID = row.id()
        let id: AppointmentID = row.id()
        let (whatsapp, email) = (row.integer(), row.integer())
        var found = Told(whatsapp, forgetAt: row.timestamp())
        found.revisions[.email] = email
        found.version = row.integer()
        told[id] = found
    }

    package func knows(_ id: AppointmentID) -> Bool { told[id] != nil }
    /// When what was told of it is of no use any more; `nil` for one that nothing is known of.
    package func forgets(_ id: AppointmentID) -> Timestamp? { told[id]?.forgetAt }

    package mutating func forget(before time: Timestamp) { told = told.filter { $0.value.forgetAt >= time } }

    // MARK: Planning

    /// What is told is about this. Something else than that may change without anybody being told.
    private struct Facts: Equatable {
        let start: Timestamp
        let end: Timestamp
        let service: ServiceID
        let staff: StaffID?
        /// Whether it is to take place, did, or will not.
        let status: Appointment.Status?

        init(_ appointment: Appointment) {
            start = appointment.start
            end = appointment.end
            service = appointment.service
            staff = appointment.staff
            status = appointment.status.isBlocking ? nil : appointment.status
        }
    }

    /// Appointments have changed in one turn.
    package mutating func changed(_ news: [AppointmentNews], _ zone: Zone, now: Timestamp) -> Plan {
        var plan = Plan()
        // Of a series that is booked, moved or cancelled at once, one message is enough.
        var series: Set<String> = []
        for one in news.sorted(by: { ($0.after.start, $0.after.id) < ($1.after.start, $1.after.id) }) {
            let event = Self.event(one)
            let isTold = one.after.series.flatMap { series in event.map { "\(series) \($0.rawValue)" } }.map { series.insert($0).inserted } ?? true
            changed(one, isTold ? event : nil, zone, now, &plan)
        }
        return plan
    }

    /// What there is to say of a change at once.
    private static func event(_ news: AppointmentNews) -> NotificationEvent? {
        let after = news.after
        guard let before = news.before else {
            switch after.status {
            case .pending: return .awaitingApproval
            case .confirmed: return .confirmed
            case .cancelled, .completed, .noShow: return nil
            }
        }
        switch (before.status, after.status) {
        case (.cancelled, .cancelled), (.completed, .completed), (.noShow, .noShow): return nil
        case (.pending, .cancelled) where after.cancelledBy != "client": return .declined
        case (_, .cancelled): return .cancelled
        case (_, .noShow): return .noShow
        case (_, .completed): return nil
        case (_, .pending), (_, .confirmed):
            if Facts(before) != Facts(after) { return .rescheduled }
            return before.status != after.status && after.status == .confirmed ? .confirmed : nil
        }
    }

    private mutating func changed(_ news: AppointmentNews, _ event: NotificationEvent?, _ zone: Zone, _ now: Timestamp, _ plan: inout Plan) {
        let (before, after) = (news.before, news.after)
        let hasMoved = before.map { Facts($0) != Facts(after) } ?? true
        let reached = Channel.all.filter { channel in before.map { Self.recipient($0, channel) != Self.recipient(after, channel) } ?? false }
        let isNews = event != nil || hasMoved || !reached.isEmpty
        guard isNews else { return }
        let forgetAt = max(after.end, now) + Self.rememberedFor
        let planned = plan.messages.count
        var told = told[after.id] ?? Told(after.revision, forgetAt: forgetAt)
        told.forgetAt = forgetAt
        if hasMoved {
            if before != nil { plan.calledOff.append(ClientNotice.subject(of: after.id)) }
            told.revisions = [.whatsapp: after.revision, .email: after.revision]
        }
        for channel in reached { told.revisions[channel] = after.revision }
        // Where this turn has made the revision, nobody has used its keys.
        let made = before.map { $0.revision < after.revision } ?? true ? after.revision : nil
        defer {
            for index in plan.messages.indices.dropFirst(planned) where made != nil {
                plan.messages[index].isKeyNew = told.revisions[plan.messages[index].channel] == made
            }
        }
        plan.rows.append(told.image(after.id, tenant: tenant))
        self.told[after.id] = told

        if let event {
            let former = event == .rescheduled ? before?.start : nil
            // A client who moves it to and fro is told once, of the last time.
            let isMoveOfClient = before.map { $0.clientMoves != after.clientMoves } ?? false
            let soon = isMoveOfClient && after.start > now + Self.settles ? now + Self.settles : now
            for channel in Channel.all where settings.channels(of: event).contains(channel) {
                tell(event, event.rawValue, after, former: former, channel, at: event.isTransactional ? soon : settings.calm(now, zone), now, &plan)
            }
        }
        // Whoever is reached now and was not before learns how things stand.
        if !hasMoved, event == nil, after.status.isBlocking {
            let standing: NotificationEvent = after.status == .pending ? .awaitingApproval : .confirmed
            for channel in reached where settings.channels(of: standing).contains(channel) {
                tell(standing, standing.rawValue, after, former: nil, channel, at: now, now, &plan)
            }
        }
        if after.status.isBlocking {
            let isOtherTime = before?.start != after.start
            for channel in Channel.all where hasMoved || reached.contains(channel) {
                remind(after, channel, zone, now, isOtherTime: isOtherTime, &plan)
            }
        }
        if after.status == .completed, before?.status != .completed, now - after.end < Self.usefulFor {
            for rule in settings.followUps {
                for channel in Channel.all where rule.channels.contains(channel) && settings.channels.contains(channel) {
                    let due = settings.calm(now + .seconds(rule.minutesAfter * 60), zone)
                    tell(.followUp, rule.key, after, former: nil, channel, at: due, now, &plan)
                }
            }
        }
    }

    /// - Parameter isOtherTime: it was booked or moved just now, so that a reminder's time may have passed before anybody could be reminded.
    private func remind(_ appointment: Appointment, _ channel: Channel, _ zone: Zone, _ now: Timestamp, isOtherTime: Bool, _ plan: inout Plan) {
        guard settings.channels.contains(channel) else { return }
        for rule in settings.reminders where rule.channels.contains(channel) {
            var due = settings.due(rule, before: appointment.start, zone)
            if due <= now {
                guard isOtherTime, rule.insideLead == .sendNow else { continue }
                due = settings.calm(now, zone)
            }
            tell(.reminder, rule.key, appointment, former: nil, channel, at: due, now, &plan)
        }
    }

    private func tell(
        _ event: NotificationEvent,
        _ rule: String,
        _ appointment: Appointment,
        former: Timestamp?,
        _ channel: Channel,
        at due: Timestamp,
        _ now: Timestamp,
        _ plan: inout Plan
    ) {
        if let message = message(event, rule, appointment, former: former, channel, at: due, now) { plan.messages.append(message) }
    }

    /// `nil` where there is nobody to tell, or no time left.
    private func message(
        _ event: NotificationEvent,
        _ rule: String,
        _ appointment: Appointment,
        former: Timestamp?,
        _ channel: Channel,
        at due: Timestamp,
        _ now: Timestamp
    ) -> OutgoingMessage? {
        let expires = event.endsWithStart ? appointment.start : due + Self.usefulFor
        guard due < expires, now < expires, let recipient = Self.recipient(appointment, channel),
            let revision = told[appointment.id]?.revisions[channel],
            event.isTransactional || !optOuts.isOut(channel, recipient)
        else { return nil }
        let notice = ClientNotice(event, .appointment(appointment.id, revision: revision, former: former), rule: rule, due: due)
        var message = OutgoingMessage(queue: event.queue, channel: channel, recipient: recipient, runAt: due, payload: notice.payload)
        message.key = Self.key(appointment.id, revision, rule, channel)
        message.subject = ClientNotice.subject(of: appointment.id)
        message.priority = event.priority
        message.expiresAt = expires
        return message
    }

    package static func key(_ id: AppointmentID, _ revision: Int64, _ rule: String, _ channel: Channel) -> String {
        "\(id):\(revision):\(rule):\(channel.rawValue)"
    }

    /// Plans the reminders of an appointment as the rules and the zone now are.
    /// - Parameter planned: all that there ever were, as they now are.
    package mutating func replan(_ appointment: Appointment, planned: [QueueMessage], _ zone: Zone, now: Timestamp) -> Plan {
        var plan = Plan()
        guard appointment.status.isBlocking, appointment.start > now else { return plan }
        if told[appointment.id] == nil {
            var first = Told(appointment.revision, forgetAt: appointment.end + Self.rememberedFor)
            plan.rows.append(first.image(appointment.id, tenant: tenant))
            told[appointment.id] = first
        }
        let known = Dictionary(planned.compactMap { message in message.content.key.map { ($0, message) } }) { first, _ in first }
        var wanted: Set<String> = []
        for channel in Channel.all where settings.channels.contains(channel) {
            guard let revision = told[appointment.id]?.revisions[channel] else { continue }
            for rule in settings.reminders where rule.channels.contains(channel) {
                let due = settings.due(rule, before: appointment.start, zone)
                let key = Self.key(appointment.id, revision, rule.key, channel)
                wanted.insert(key)
                guard let before = known[key] else {
                    if due > now { tell(.reminder, rule.key, appointment, former: nil, channel, at: due, now, &plan) }
                    continue
                }
                guard let content = revised(before, rule, appointment, channel, due: due, zone, now) else { continue }
                plan.revised.append((before, content))
            }
        }
        for message in planned where message.state.isWaiting && !wanted.contains(message.content.key ?? "") { plan.revised.append((message, nil)) }
        return plan
    }

    /// What a reminder that was planned is to be from now on; `nil`: as it is. What was to come later, and by the new rules should have come by now, comes now.
    private func revised(
        _ before: QueueMessage,
        _ rule: NotificationSettings.Reminder,
        _ appointment: Appointment,
        _ channel: Channel,
        due: Timestamp,
        _ zone: Zone,
        _ now: Timestamp
    ) -> OutgoingMessage? {
        let former = ClientNotice(payload: before.content.payload)?.due ?? before.content.runAt
        // One whose time passed while nobody asked for it is over.
        guard before.state.isWaiting || before.isWithdrawn && due > now else { return nil }
        let calm = settings.calm(now, zone)
        let time = due > now ? due : min(former, calm)
        let runAt = due > now ? due : max(time, calm)
        let wasPutOff = before.state == .scheduled && before.content.runAt > runAt
        guard before.isWithdrawn || time != former || wasPutOff,
            var content = message(.reminder, rule.key, appointment, former: nil, channel, at: time, now)
        else { return nil }
        content.runAt = runAt
        return runAt < appointment.start ? content : nil
    }

    /// Somebody who waits for a time was offered one, or is no longer.
    package func changed(_ entry: WaitlistEntry, now: Timestamp) -> Plan {
        var plan = Plan()
        guard entry.status == .offered, let hold = entry.hold, let until = entry.offerUntil, until > now else {
            if entry.status != .waiting { plan.calledOff.append(ClientNotice.subject(of: entry.id)) }
            return plan
        }
        for channel in Channel.all where settings.channels(of: .waitlistOffer).contains(channel) {
            guard let recipient = Self.recipient(entry, channel) else { continue }
            let event = NotificationEvent.waitlistOffer
            let notice = ClientNotice(event, .offer(entry.id, hold: hold), rule: event.rawValue, due: now)
            var message = OutgoingMessage(queue: event.queue, channel: channel, recipient: recipient, runAt: now, payload: notice.payload)
            message.key = "\(entry.id):\(hold):\(event.rawValue):\(channel.rawValue)"
            message.subject = ClientNotice.subject(of: entry.id)
            message.priority = event.priority
            message.expiresAt = until
            plan.messages.append(message)
        }
        return plan
    }

    // MARK: Whom

    package static func recipient(_ appointment: Appointment, _ channel: Channel) -> String? {
        channel == .email ? address(appointment.clientEmail) : Recipient.number(appointment.clientWhatsapp)
    }

    package static func recipient(_ entry: WaitlistEntry, _ channel: Channel) -> String? {
        channel == .email ? address(entry.clientEmail) : Recipient.number(entry.clientWhatsapp)
    }

    private static func address(_ email: String?) -> String? { email.flatMap { $0.isEmpty ? nil : $0 } }

    // MARK: Looking again

    package enum Verdict: Sendable, Equatable {
        case tell
        case drop(String)
        case putOff(until: Timestamp, String)
    }

    /// Whether a message about an appointment is still to be told, now that its time has come.
    package func verdict(_ notice: ClientNotice, _ channel: Channel, to recipient: String, _ appointment: Appointment, _ zone: Zone, now: Timestamp)
        -> Verdict
    {
        guard case .appointment(_, let revision, _) = notice.subject else { return .drop("não é deste agendamento") }
        guard revision == told[appointment.id]?.revisions[channel] ?? appointment.revision else { return .drop("o agendamento mudou depois") }
        guard Self.fits(notice.event, appointment.status) else { return .drop("o agendamento está \(appointment.status.rawValue)") }
        guard !notice.event.endsWithStart || now < appointment.start else { return .drop("o agendamento já começou") }
        guard Self.recipient(appointment, channel) == recipient else { return .drop("o contato mudou") }
        if let refused = refused(notice.event, channel, recipient) { return .drop(refused) }
        switch notice.event {
        case .reminder:
            guard let rule = settings.reminders.first(where: { $0.key == notice.rule && $0.channels.contains(channel) }) else {
                return .drop("a regra não existe mais")
            }
            // The rules have changed since: what then was due is not due yet.
            let due = settings.due(rule, before: appointment.start, zone)
            if due > now { return .putOff(until: due, "ainda não é hora") }
            if rule.late == .skip, now - notice.due > .seconds(rule.graceMinutes * 60) + Self.punctual { return .drop("atrasado") }
        case .followUp:
            guard let rule = settings.followUps.first(where: { $0.key == notice.rule && $0.channels.contains(channel) }) else {
                return .drop("a regra não existe mais")
            }
            if rule.late == .skip, now - notice.due > .seconds(rule.graceMinutes * 60) + Self.punctual { return .drop("atrasado") }
        default: break
        }
        // What is on time was moved out of the quiet hours when it was planned; but those may be others now, or the zone.
        if !notice.event.isTransactional, let quiet = settings.quiet?.around(now, zone),
            now - notice.due > QuietHours.margin || quiet.contains(notice.due)
        {
            let isInTime = !notice.event.endsWithStart || quiet.upperBound < appointment.start
            return isInTime ? .putOff(until: quiet.upperBound, "horário de silêncio") : .drop("horário de silêncio até o início")
        }
        return .tell
    }

    package func verdict(_ notice: ClientNotice, _ channel: Channel, to recipient: String, _ entry: WaitlistEntry?, now: Timestamp) -> Verdict {
        guard let entry, case .offer(_, let hold) = notice.subject, entry.status == .offered, entry.hold == hold,
            entry.offerUntil.map({ now < $0 }) ?? false
        else { return .drop("a oferta não vale mais") }
        guard Self.recipient(entry, channel) == recipient else { return .drop("o contato mudou") }
        return refused(notice.event, channel, recipient).map { .drop($0) } ?? .tell
    }

    /// Whether the same is told by another channel too.
    package func isTold(_ notice: ClientNotice, by channel: Channel, to recipient: String) -> Bool {
        let channels: Set<Channel> =
            switch notice.event {
            // There may be a rule of its own for each channel.
            case .reminder: settings.reminders.reduce(into: []) { if $1.key == notice.rule { $0.formUnion($1.channels) } }
            case .followUp: settings.followUps.reduce(into: []) { if $1.key == notice.rule { $0.formUnion($1.channels) } }
            default: settings.channels(of: notice.event)
            }
        return channels.contains(channel) && refused(notice.event, channel, recipient) == nil
    }

    private func refused(_ event: NotificationEvent, _ channel: Channel, _ recipient: String) -> String? {
        if !settings.channels.contains(channel) { return "o canal está desligado" }
        if NotificationEvent.immediate.contains(event), !settings.channels(of: event).contains(channel) { return "este aviso está desligado" }
        if !event.isTransactional, optOuts.isOut(channel, recipient) { return "o cliente não quer receber" }
        return nil
    }

    private static func fits(_ event: NotificationEvent, _ status: Appointment.Status) -> Bool {
        switch event {
        case .awaitingApproval: status == .pending
        case .confirmed: status == .confirmed
        case .rescheduled, .reminder: status.isBlocking
        case .declined, .cancelled: status == .cancelled
        case .followUp: status == .completed
        case .noShow: status == .noShow
        case .waitlistOffer: false
        }
    }

    // MARK: What it says

    package func template(_ name: TemplateName, _ channel: Channel) -> (template: MessageTemplate, isStandard: Bool) {
        if let own = templates[name]?[channel] { return (own, false) }
        // One of several of its kind that nobody has written says what the others say.
        if let common = templates[TemplateName(name.event)]?[channel] { return (common, true) }
        return (StandardTemplates.template(name.event, channel), true)
    }

    /// The template that a notice is written by for a channel.
    package func templateName(_ notice: ClientNotice, _ channel: Channel) -> TemplateName {
        settings.reminders.first { $0.key == notice.rule && $0.channels.contains(channel) }?.template
            ?? settings.followUps.first { $0.key == notice.rule && $0.channels.contains(channel) }?.template ?? TemplateName(notice.event)
    }
}
