import DequeModule
package import Jobs
package import Kernel
package import Scheduling
package import Storage
package import Wire

/// What one business's clients are told, live: runs `NoticeBook`, and turns what it says into rows and events.
///
/// Shares the tenant's executor, so that what is to be told is planned in the turn that changed the calendar, and committed with it.
package actor ClientNotices {
    private let executor: any Actor
    private let tenant: TenantID
    private var book: NoticeBook
    private var rowVersions: [String: Int64]
    /// The rules have changed, or there are appointments that nobody has planned anything for: all that are to come are to be listed.
    private var isToList = false
    /// Those that are to be planned again, the soonest first. One that is not in `toPlan` any more is done.
    private var listed: Deque<AppointmentID> = []
    private var toPlan: Set<AppointmentID> = []
    /// When rows that are of no use any more are looked for.
    private var nextSweep = Timestamp(milliseconds: 0)

    package nonisolated var unownedExecutor: UnownedSerialExecutor { executor.unownedExecutor }

    /// Appointments that are planned for again in one turn.
    package static let stepSize = 200
    /// Rows that are put away in one turn.
    package static let sweepSize = 500

    package struct Loaded: Sendable {
        var book: NoticeBook
        var versions: [String: Int64] = [:]
        var isApplied = true
    }

    package init(executor: any Actor, tenant: TenantID, loaded: Loaded, _ appointments: some Sequence<Appointment>, now: Timestamp) {
        self.executor = executor
        self.tenant = tenant
        book = loaded.book
        rowVersions = loaded.versions
        let book = loaded.book
        let hasNew = appointments.contains { $0.status.isBlocking && $0.start > now && !book.knows($0.id) }
        isToList = !loaded.isApplied || hasNew
    }

    /// - Parameter read: a business's settings, as they were stored.
    package static func load(
        _ tenant: TenantID,
        now: Timestamp,
        from store: any Store,
        settings read: (JSON) -> NotificationSettings
    ) async throws(Refusal) -> Loaded {
        func rows(_ table: Table, _ condition: String = "", _ arguments: [SQLValue] = []) async throws(Refusal) -> [Row] {
            try await store.rows(.select(from: table, "WHERE tenant_id = ? \(condition)", [.id(tenant)] + arguments, tenant: tenant).forDeciding)
        }
        var loaded = Loaded(book: NoticeBook(tenant: tenant))
        if var row = try await rows(NotificationTables.settings).first {
            let _: TenantID = row.id()
            let json = (try? JSON.parse(row.text())) ?? .emptyObject
            loaded.book.settings = read(json)
            loaded.book.settings.version = json["version"]?.int ?? 0
            loaded.isApplied = row.boolean()
            _ = row.timestamp()
            loaded.versions["settings"] = row.integer()
        }
        for var row in try await rows(NotificationTables.templates) {
            let _: TenantID = row.id()
            let (name, channel, json) = (row.text(), row.text(), try? JSON.parse(row.text()))
            _ = row.timestamp()
            let isRemoved = row.optionalTimestamp() != nil
            loaded.versions["\(name) \(channel)"] = row.integer()
            guard !isRemoved, let name = TemplateName(name), let channel = OutgoingMessage.Channel(rawValue: channel) else { continue }
            loaded.book.templates[name, default: [:]][channel] = json.flatMap(MessageTemplate.init(stored:))
        }
        loaded.book.optOuts = OptOuts(try await rows(NotificationTables.optOuts))
        for row in try await rows(NotificationTables.told, "AND forget_at > ?", [.timestamp(now)]) { loaded.book.adopt(row) }
        return loaded
    }

    // MARK: Turns

    package func reading<T>(_ body: (NoticeBook) throws(Refusal) -> T) throws(Refusal) -> T { try body(book) }

    /// The calendar has changed in this turn.
    package func follow(_ news: CalendarNews, _ zone: Zone, _ moment: Moment) -> NoticeBook.Plan {
        var plan = book.changed(news.appointments, zone, now: moment.now)
        for entry in news.waitlist {
            let more = book.changed(entry, now: moment.now)
            plan.calledOff += more.calledOff
            plan.messages += more.messages
        }
        return plan
    }

    // MARK: Planning again
    //
    // One at a time: some of those that are to be planned again, whatever is planned for them read from the store, and then a turn that decides with everything as
    // it is by then. A change while it runs lists them all anew.

    package var isReplanning: Bool { isToList || !toPlan.isEmpty }

    /// What is to be read from the store now.
    package struct Errand: Sendable, Equatable {
        /// Appointments whose reminders are planned again.
        package var appointments: [AppointmentID] = []
        /// Rows of what was told that are of no use after this time are looked for.
        package var sweep: Timestamp?

        package var isEmpty: Bool { appointments.isEmpty && sweep == nil }
    }

    /// What was read.
    package struct Findings: Sendable {
        package var reminders: [AppointmentID: [QueueMessage]] = [:]
        package var outdated: [(id: AppointmentID, version: Int64)] = []
    }

    package func needsStore(_ now: Timestamp) -> Bool { isReplanning || nextSweep <= now }

    /// - Parameter upcoming: all appointments that are to come, in order; asked once for each time that they are all planned again.
    package func errand(_ moment: Moment, upcoming: () -> [AppointmentID]) -> Errand {
        if isToList {
            listed = Deque(upcoming())
            toPlan = Set(listed)
            isToList = false
        }
        while let first = listed.first, !toPlan.contains(first) { listed.removeFirst() }
        var errand = Errand()
        // One that was done and is to be planned once more may be listed twice.
        var taken: Set<AppointmentID> = []
        errand.appointments = listed.prefix(Self.stepSize).filter { toPlan.contains($0) && taken.insert($0).inserted }
        if nextSweep <= moment.now { errand.sweep = moment.now }
        return errand
    }

    package static func read(_ errand: Errand, of tenant: TenantID, from store: any Store) async throws(Refusal) -> Findings {
        var findings = Findings()
        if !errand.appointments.isEmpty {
            let subjects = Dictionary(uniqueKeysWithValues: errand.appointments.map { (ClientNotice.subject(of: $0), $0) })
            let places = errand.appointments.map { _ in "?" }.joined(separator: ", ")
            let query = Query.select(
                from: QueueTables.messages,
                "WHERE tenant_id = ? AND subject IN (\(places)) AND queue = ? ORDER BY created_at, id",
                [.id(tenant)] + errand.appointments.map { .text(ClientNotice.subject(of: $0)) } + [.text(QueueName.reminders.rawValue)],
                tenant: tenant
            )
            for message in try await store.rows(query.forDeciding).map(QueueMessage.init) {
                if let id = message.content.subject.flatMap({ subjects[$0] }) { findings.reminders[id, default: []].append(message) }
            }
        }
        if let time = errand.sweep {
            let query = Query.select(
                from: NotificationTables.told,
                "WHERE tenant_id = ? AND forget_at <= ? LIMIT \(sweepSize)",
                [.id(tenant), .timestamp(time)],
                tenant: tenant
            )
            findings.outdated = try await store.rows(query.forDeciding).map { row in
                var row = row
                let _: TenantID = row.id()
                let id: AppointmentID = row.id()
                _ = (row.integer(), row.integer(), row.timestamp())
                return (id, row.integer())
            }
        }
        return findings
    }

    /// - Parameters:
    ///   - appointments: those of the errand that there are.
    ///   - planned: their reminders as they now are; of one that is left out they are to be read once more.
    package func carryOut(
        _ errand: Errand,
        _ findings: Findings,
        _ appointments: [AppointmentID: Appointment],
        planned: [AppointmentID: [QueueMessage]],
        _ zone: Zone,
        _ moment: Moment
    ) -> (NoticeBook.Plan, Change) {
        var plan = NoticeBook.Plan()
        var change = Change()
        for id in errand.appointments {
            guard let planned = planned[id] else { continue }
            toPlan.remove(id)
            guard let appointment = appointments[id] else { continue }
            let more = book.replan(appointment, planned: planned, zone, now: moment.now)
            plan.messages += more.messages
            plan.revised += more.revised
            plan.rows += more.rows
        }
        if !errand.appointments.isEmpty, !isReplanning, rowVersions["settings"] != nil { change.rows.append(settingsRow(isApplied: true, moment)) }
        if let time = errand.sweep {
            for (id, version) in findings.outdated where book.forgets(id).map({ $0 <= time }) ?? true {
                change.rows.append(RowImage(deleting: [.id(tenant), .id(id)], from: NotificationTables.told, version: version + 1))
            }
            book.forget(before: time)
            // Where there may be more of them they follow at once.
            if findings.outdated.count < Self.sweepSize { nextSweep = moment.now + .seconds(6 * 3600) }
        }
        return (plan, change)
    }

    /// All that is to come is to be planned again: with the change that is the reason for it, so that a crash in between changes nothing of that.
    package func planAnew(_ moment: Moment) -> Change {
        listed = []
        toPlan = []
        isToList = true
        var change = Change()
        change.rows = [settingsRow(isApplied: false, moment)]
        return change
    }

    // MARK: How it is done

    package func govern(_ settings: NotificationSettings, _ moment: Moment) -> ([UInt8], Change) {
        var settings = settings
        settings.version = book.settings.version + 1
        book.settings = settings
        var change = planAnew(moment)
        change.events = [event("notification_settings.changed") { $0.field("settings", raw: settings.json) }]
        return (settings.json, change)
    }

    private func settingsRow(isApplied: Bool, _ moment: Moment) -> RowImage {
        let version = (rowVersions["settings"] ?? 0) + 1
        rowVersions["settings"] = version
        return RowImage(
            NotificationTables.settings,
            version: version,
            values: [.id(tenant), .json(String(decoding: book.settings.json, as: UTF8.self)), .boolean(isApplied), .timestamp(moment.now)]
        )
    }

    /// - Parameter template: `nil` for the one that there is without it.
    package func put(_ template: MessageTemplate?, _ name: TemplateName, _ channel: OutgoingMessage.Channel, _ moment: Moment) throws(Refusal)
        -> ([UInt8], Change)
    {
        let before = book.templates[name]?[channel]
        if template == nil, before == nil { return (json(name, channel), Change()) }
        if template != nil, before == nil, book.templates.values.reduce(0, { $0 + $1.count }) >= Self.maxTemplates {
            throw Refusal(.conflict, "too_many_templates", "Já há \(Self.maxTemplates) modelos próprios; apague algum.")
        }
        book.templates[name, default: [:]][channel] = template
        let row = "\(name) \(channel.rawValue)"
        let version = (rowVersions[row] ?? 0) + 1
        rowVersions[row] = version
        var writer = JSONWriter()
        (template ?? before)?.write(to: &writer, channel)
        var change = Change()
        change.rows = [
            RowImage(
                NotificationTables.templates,
                version: version,
                values: [
                    .id(tenant), .text(name.description), .text(channel.rawValue), .json(String(decoding: writer.bytes, as: UTF8.self)),
                    .timestamp(moment.now), template == nil ? .timestamp(moment.now) : .null,
                ]
            )
        ]
        let json = json(name, channel)
        change.events = [event("notification_template.changed") { $0.field("template", raw: json) }]
        return (json, change)
    }

    package static let maxTemplates = 200

    /// Somebody wants no more reminders, or wants them again.
    /// - Parameter theirs: the appointments to come of whoever has this recipient, in its one form; asked when they want them again.
    package func optOut(
        _ channel: OutgoingMessage.Channel,
        _ recipient: String,
        isOut: Bool,
        _ source: OptOuts.Source,
        _ moment: Moment,
        theirs: (_ canonical: String) -> [AppointmentID]
    ) -> (isNews: Bool, Change) {
        guard let entry = book.optOuts.put(channel, recipient, isOut: isOut, source, at: moment.now) else { return (false, Change()) }
        var change = Change()
        change.rows = [entry.image(tenant: tenant)]
        if !isOut, !isToList {
            // What was not planned because of it, is; after a crash whoever comes next goes through them all.
            let new = theirs(entry.recipient).filter { toPlan.insert($0).inserted }
            listed += new
            if !new.isEmpty { change.rows.append(settingsRow(isApplied: false, moment)) }
        }
        change.events = [event("opt_out.changed") { $0.field("opt_out", raw: entry.json) }]
        return (true, change)
    }

    private func event(_ type: String, _ members: (inout JSONWriter) -> Void) -> Event {
        var writer = JSONWriter(capacity: 512)
        writer.object {
            $0.field("type", type)
            members(&$0)
        }
        return Event(channel: "calendar", payload: writer.bytes)
    }

    // MARK: Shown

    private func json(_ name: TemplateName, _ channel: OutgoingMessage.Channel) -> [UInt8] {
        var writer = JSONWriter()
        write(name, channel, to: &writer)
        return writer.bytes
    }

    package func write(_ name: TemplateName, _ channel: OutgoingMessage.Channel, to writer: inout JSONWriter) {
        let (template, isStandard) = book.template(name, channel)
        writer.object {
            $0.field("event", name.description)
            $0.field("channel", channel.rawValue)
            $0.field("is_default", isStandard)
            template.write(membersTo: &$0, channel)
        }
    }

    /// All templates that there are, standard or not.
    package var templates: [UInt8] {
        let names = Set(NotificationEvent.allCases.map(TemplateName.init)).union(book.templates.filter { !$0.value.isEmpty }.keys).sorted()
        var writer = JSONWriter(capacity: 16_384)
        writer.object { object in
            object.list("templates") { list in
                for name in names { for channel in OutgoingMessage.Channel.all { write(name, channel, to: &list) } }
            }
            object.field("variables", strings: TemplateText.Variable.allCases.map(\.rawValue))
        }
        return writer.bytes
    }
}

extension OptOuts.Entry {
    package func write(to writer: inout JSONWriter) {
        writer.object {
            $0.field("channel", channel.rawValue)
            $0.field("recipient", recipient)
            $0.field("is_opted_out", isOut)
            $0.field("source", source.rawValue)
            $0.field("updated_at", updatedAt.description)
        }
    }

    package var json: [UInt8] {
        var writer = JSONWriter()
        write(to: &writer)
        return writer.bytes
    }
}
