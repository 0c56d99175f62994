package import Kernel
import Storage
package import Wire

/// The live calendar of one business: runs `CalendarBook`, and turns what it says into rows and events.
///
/// Shares the tenant's executor. Every turn answers with what there is to write, also when it refuses: by then what was due has been done.
package actor Calendar {
    private let executor: any Actor
    private let tenant: TenantID
    private var book: CalendarBook
    /// What was booked or held under which key: `kind:id:digest`, as it is marked.
    private var answered: [Mark.Key: String] = [:]
    private var answeredInOrder: [Mark.Key] = []
    /// The business's name in public addresses. Whoever looks at its public page may have begun to before this came into memory.
    private let slug: String?
    /// Grows with each change of what the public sees, also over what was in memory before.
    private var publicVersion: Int64
    /// When what is over is forgotten next, and what was asked for of it since the last time.
    private var forgetsAt: Timestamp
    private var broughtIn: Set<AppointmentID> = []
    /// What clients may have to be told, since it was last taken.
    private var news = CalendarNews()

    private static let maxAnswered = 5000
    private static let forgetsEvery = Duration.seconds(3600)
    private static let remembers = Duration.seconds(2 * 86_400)
    /// Of what is shown to the public at once, in days and services.
    private static let publicDays = 7
    private static let maxPublicServices = 50
    /// Times that were touched in one turn and are told one by one, and what may be searched for that: times, services and members of the staff multiplied.
    private static let maxRanges = 16
    private static let maxSearches = 2500
    private static let shownDays = 7
    private static let maxShown = 500

    package nonisolated var unownedExecutor: UnownedSerialExecutor { executor.unownedExecutor }

    package init(executor: any Actor, tenant: TenantID, slug: String? = nil, loaded: CalendarBook, now: Timestamp) {
        self.executor = executor
        self.tenant = tenant
        self.slug = slug
        book = loaded
        // It changes less often than there are milliseconds.
        publicVersion = now.milliseconds
        forgetsAt = now + Self.forgetsEvery
    }

    // MARK: Turns

    package typealias Decision<T> = (answer: Result<T, Refusal>, change: Change)

    /// One turn of the machine.
    package func decide<T>(_ moment: Moment, _ body: (inout CalendarBook) throws(Refusal) -> T) -> Decision<T> {
        let answer: Result<T, Refusal>
        do throws(Refusal) { answer = .success(try body(&book)) } catch { answer = .failure(error) }
        return (answer, settled(moment))
    }

    /// Carried out once under one key; a second time answers the first, and refuses another request under the same key.
    package func decideOnce<T>(
        _ key: Mark.Key?,
        digest: String,
        earlier: String?,
        _ moment: Moment,
        again: (CalendarBook, String) throws(Refusal) -> T,
        _ body: (inout CalendarBook) throws(Refusal) -> (T, id: String)
    ) -> Decision<T> {
        guard let key else { return decide(moment) { book throws(Refusal) in try body(&book).0 } }
        if let known = answered[key] ?? earlier {
            return decide(moment) { book throws(Refusal) in
                let parts = known.split(separator: " ")
                guard parts.count == 2, parts[1] == digest else {
                    throw Refusal(.conflict, "idempotency_conflict", "Esta Idempotency-Key já foi usada com outro pedido.")
                }
                book.timePassed(moment)
                return try again(book, String(parts[0]))
            }
        }
        var mark: Mark?
        var decision = decide(moment) { book throws(Refusal) in
            let (answer, id) = try body(&book)
            mark = Mark(key, at: moment.now, result: "\(id) \(digest)")
            return answer
        }
        if let mark {
            decision.change.marks.append(mark)
            answered[key] = mark.result
            answeredInOrder.append(key)
            if answeredInOrder.count > Self.maxAnswered { answered[answeredInOrder.removeFirst()] = nil }
        }
        return decision
    }

    package func timePassed(_ moment: Moment) -> Change {
        if book.nextDue > moment.now { return Change() }
        book.timePassed(moment)
        return settled(moment)
    }

    /// What has changed for clients in the turns since this was last asked.
    package func takeNews() -> CalendarNews {
        defer { news = CalendarNews() }
        return news
    }

    package var nextDeadline: Timestamp? { book.nextDue == .distantFuture ? nil : book.nextDue }

    /// To look at what is there; for what changes it there are turns.
    package func reading<T>(_ body: (CalendarBook) throws(Refusal) -> T) throws(Refusal) -> T { try body(book) }

    package func adopt(_ appointments: [Appointment]) {
        for appointment in appointments { book.adopt(appointment, isCounted: true) }
        broughtIn.formUnion(appointments.map(\.id))
    }

    /// - Parameter free: keys that the store has nobody for.
    package func adopt(_ clients: [Client], free: [String] = [], at now: Timestamp) {
        for client in clients { book.clients.adopt(client, at: now) }
        for key in free { book.clients.learned(free: key) }
    }

    package func beginsReadingKeys() -> Bool { book.clients.filter.begin() }
    package func read(keys: [String]?) { book.clients.filter.read(keys) }

    /// A person who writes, told by the conversations within the same turn.
    package func contactCame(_ news: [CalendarBook.ContactNews], _ moment: Moment) -> Change {
        for one in news { book.contactCame(one, moment) }
        return settled(moment)
    }

    // MARK: What the plan allows

    /// For the turn that comes.
    package func lend(_ allowance: Allowance) { book.allowance = allowance }
    /// What the turn has made.
    package func giveBack() -> [Allowance.Thing: Int] {
        defer { book.allowance = .unlimited }
        var made = book.allowance.made
        made[.client] = book.clients.takeListedMoved()
        return made
    }

    /// How much there is of what is limited.
    package var standing: (services: Int, staff: Int) { (book.services.count, book.staff.count) }
    package var zone: Zone { book.rules.zone }
    package func isOwned(by owner: UserID?) { book.owner = owner }

    /// Whether one more of these may be made; counts it.
    private func admit(_ thing: Allowance.Thing) -> Refusal? {
        do throws(Refusal) { try book.allowance.check(thing) } catch { return error }
        book.allowance.take(thing)
        return nil
    }

    // MARK: What the business is made of. Each is a row and the news of it.

    package func govern(_ rules: BookingRules, _ moment: Moment) -> Decision<[UInt8]> {
        var rules = rules
        rules.version = book.rules.version + 1
        book.rules = rules
        book.timePassed(moment)
        var change = settled(moment)
        change.rows.append(
            RowImage(
                SchedulingTables.settings,
                version: rules.version,
                values: [.id(tenant), .json(String(decoding: rules.storedJSON, as: UTF8.self)), .timestamp(moment.now)]
            )
        )
        change.events.append(event("calendar", "booking_rules.changed") { $0.field("settings", raw: rules.json) })
        change.append(publicNews())
        return (.success(rules.json), change)
    }

    package func put(_ service: Service) -> Decision<Service> {
        if book.services[service.id] == nil, let refusal = admit(.service) { return (.failure(refusal), Change()) }
        var service = service
        let row = service.image(tenant: tenant)
        book.services[service.id] = service.removedAt == nil ? service : nil
        return told(service, [row], "service.changed") { $0.field("service_id", service.id.description) }
    }

    package func put(_ category: ServiceCategory) -> Decision<ServiceCategory> {
        var category = category
        let row = category.image(tenant: tenant)
        book.categories[category.id] = category
        return told(category, [row], "service.changed") { $0.field("service_id", nil as String?) }
    }

    /// Its services stay, without a category.
    package func remove(_ id: CategoryID, _ moment: Moment) -> Decision<Void> {
        guard let category = book.categories.removeValue(forKey: id) else { return (.failure(.notFound(.category)), Change()) }
        var rows = [RowImage(deleting: [.id(tenant), .id(id)], from: SchedulingTables.categories, version: category.version + 1)]
        for var service in book.services.values.filter({ $0.category == id }).sorted(by: { $0.id < $1.id }) {
            service.category = nil
            service.updatedAt = moment.now
            rows.append(service.image(tenant: tenant))
            book.services[service.id] = service
        }
        return told((), rows, "service.changed") { $0.field("service_id", nil as String?) }
    }

    package func put(_ member: StaffMember) -> Decision<StaffMember> {
        if !book.staff.contains(where: { $0.id == member.id }), let refusal = admit(.staff) { return (.failure(refusal), Change()) }
        var member = member
        let row = member.image(tenant: tenant)
        if let index = book.staff.firstIndex(where: { $0.id == member.id }) {
            if member.removedAt == nil { book.staff[index] = member } else { book.staff.remove(at: index) }
        } else {
            book.staff.append(member)
        }
        return told(member, [row], "staff.changed") { $0.field("staff_id", member.id.description) }
    }

    package func put(_ off: TimeOff) -> Decision<TimeOff> {
        book.timeOff[off.id] = off
        return told(off, [off.image(tenant: tenant)], "time_off.changed") { $0.field("time_off_id", off.id.description) }
    }

    package func remove(_ id: TimeOffID) -> Decision<Void> {
        guard book.timeOff.removeValue(forKey: id) != nil else { return (.failure(.notFound(.timeOff)), Change()) }
        let row = RowImage(deleting: [.id(tenant), .id(id)], from: SchedulingTables.timeOff, version: 2)
        return told((), [row], "time_off.changed") { $0.field("time_off_id", id.description) }
    }

    private func told<T>(_ answer: T, _ rows: [RowImage], _ type: String, _ members: (inout JSONWriter) -> Void) -> Decision<T> {
        var change = Change()
        change.rows = rows
        change.events = [event("calendar", type, members)]
        change.append(publicNews())
        return (.success(answer), change)
    }

    /// What the business is made of has changed: those who wait may have what there is now. Follows each such change, in its turn.
    package func rearranged(_ moment: Moment) -> Change {
        book.offerAnew(moment)
        return settled(moment)
    }

    // MARK: What was decided, as rows and events

    private func settled(_ moment: Moment) -> Change {
        defer { forgetPast(moment.now) }
        let effects = book.effects
        guard !effects.isEmpty || !book.clients.isUnchanged else { return Change() }
        book.effects = CalendarBook.Effects()
        var change = Change()
        // What gives way comes before what takes its place: at any row a store may stop, and nothing overlaps there.
        let passing = Set(effects.holdsMade.map(\.id)).intersection(effects.holdsEnded.map(\.id))
        for hold in effects.holdsEnded where !passing.contains(hold.id) {
            change.rows.append(hold.deletion(tenant: tenant))
            let id = hold.id
            tell(&change, [day(hold.start)], "hold.ended") { $0.field("hold_id", id.description) }
        }
        let (clients, records) = book.clients.taken()
        for client in clients {
            change.rows.append(client.image(tenant: tenant))
            change.events.append(
                event("calendar", "client.changed") {
                    $0.key("client")
                    client.writeSummary(at: moment.now, book.rules.zone, of: book.owner, to: &$0)
                }
            )
        }
        for record in records { change.rows.append(record.image(tenant: tenant)) }
        book.forgetClients(at: moment.now)
        let changed = effects.appointments.compactMap { book.appointments[$0] }
        news.appointments += changed.map { AppointmentNews(before: effects.before[$0.id], after: $0) }
        for appointment in changed.filter({ !$0.status.isBlocking }) + changed.filter(\.status.isBlocking) {
            change.rows.append(appointment.image(tenant: tenant))
            let json = appointment.json(of: book.owner)
            tell(&change, [day(appointment.start)], "appointment.changed") { $0.field("appointment", raw: json) }
            if let former = effects.formerStarts[appointment.id], day(former) != day(appointment.start) {
                change.events.append(
                    event("calendar:\(day(former))", "appointment.left") {
                        $0.field("appointment_id", appointment.id.description)
                        $0.field("date", day(appointment.start).description)
                    }
                )
            }
        }
        for hold in effects.holdsMade where !passing.contains(hold.id) {
            change.rows.append(hold.image(tenant: tenant))
            let json = hold.json
            tell(&change, [day(hold.start)], "hold.made") { $0.field("hold", raw: json) }
        }
        for id in Set(effects.waitlist).sorted() {
            guard var entry = book.waitlist[id] else { continue }
            if !entry.isOpen { (entry.endedAt, entry.origin) = (entry.endedAt ?? moment.now, nil) }
            change.rows.append(entry.image(tenant: tenant))
            book.keep(entry, at: moment.now)
            news.waitlist.append(entry)
            change.events.append(event("calendar", "waitlist.changed") { $0.field("entry", raw: entry.json()) })
        }
        book.forgetEnded(at: moment.now)
        if !effects.turned.isEmpty {
            change.append(publicNews())
        } else if let news = slotNews(effects.touched, moment) {
            change.events.append(news)
        }
        return change
    }

    /// Once in a while, however little falls due: who is always looked at never sleeps.
    private func forgetPast(_ now: Timestamp) {
        guard forgetsAt <= now else { return }
        forgetsAt = now + Self.forgetsEvery
        book.forget(before: now - Self.remembers, but: broughtIn)
        broughtIn = []
    }

    private func day(_ time: Timestamp) -> CivilDay { book.rules.zone.day(of: time) }

    private func event(_ channel: String, _ type: String, _ members: (inout JSONWriter) -> Void) -> Event {
        var writer = JSONWriter(capacity: 1024)
        writer.object {
            $0.field("type", type)
            members(&$0)
        }
        return Event(channel: channel, payload: writer.bytes)
    }

    /// On the calendar as a whole and on those of these dates.
    private func tell(_ change: inout Change, _ days: [CivilDay], _ type: String, _ members: (inout JSONWriter) -> Void) {
        let news = event("calendar", type, members)
        change.events.append(news)
        for day in days { change.events.append(Event(channel: "calendar:\(day)", payload: news.payload)) }
    }

    // MARK: What the public sees

    /// What there is to book has changed altogether: whoever looks asks again.
    private func publicNews() -> Change {
        publicVersion += 1
        return publicNews(as: publicVersion)
    }

    private func publicNews(as version: Int64) -> Change {
        guard let slug else { return Change() }
        var change = Change()
        let news = event("booking:\(slug)", "booking.changed") { $0.field("version", version) }
        change.events = [Event(channel: news.channel, payload: news.payload, audience: .visitor)]
        return change
    }

    private var publicServices: [Service] {
        guard book.rules.isPublic else { return [] }
        return book.services.values.filter { $0.isActive && $0.isPublic }.sorted { ($0.name, $0.id) < ($1.name, $1.id) }.prefix(
            Self.maxPublicServices
        ).map(\.self)
    }

    /// For every service, the starts that there are now around what was touched: they replace those that were there. Nothing of who has the others.
    private func slotNews(_ touched: [Range<Timestamp>], _ moment: Moment) -> Event? {
        guard !touched.isEmpty else { return nil }
        publicVersion += 1
        guard let slug else { return nil }
        let services = publicServices
        // A series of many touches many days: what is dear to find out is asked for by whoever looks.
        if touched.count * services.count * max(book.staff.count, 1) > Self.maxSearches || touched.count > Self.maxRanges {
            return publicNews(as: publicVersion).events.first
        }
        let reach =
            services.map { service in
                let rules = book.rules
                return service.durationMinutes + (service.bufferBeforeMinutes ?? rules.bufferBeforeMinutes)
                    + (service.bufferAfterMinutes ?? rules.bufferAfterMinutes)
            }.max() ?? 0
        let ranges = CalendarBook.joined(touched.map { ($0.lowerBound - .seconds(reach * 60))..<($0.upperBound + .seconds(reach * 60)) })
        let version = publicVersion
        let news = event("booking:\(slug)", "slots.changed") { members in
            members.field("version", version)
            members.list("ranges") { list in
                for range in ranges {
                    list.object {
                        $0.field("from", range.lowerBound.description)
                        $0.field("until", range.upperBound.description)
                        $0.list("services") { write(services, slotsIn: range, to: &$0, moment) }
                    }
                }
            }
        }
        return Event(channel: news.channel, payload: news.payload, audience: .visitor)
    }

    private func write(_ services: [Service], slotsIn range: Range<Timestamp>, to list: inout JSONWriter, _ moment: Moment) {
        for service in services {
            let wish = try? book.wish(service.id, isPublic: true, now: moment.now)
            list.object {
                $0.field("service_id", service.id.description)
                $0.list("slots") { slots in
                    if let wish { for start in book.slots(wish, in: range) { slots.string(start.description) } }
                }
            }
        }
    }

    /// What there is to book, for anybody.
    package func publicCatalogue(to members: inout JSONWriter) {
        let services = publicServices
        // Who does none of what is on offer here is nobody's business.
        let bookable = book.staff.filter { member in
            member.isActive && services.contains { $0.staff.isEmpty || $0.staff.contains(member.id) }
        }
        members.field("timezone", book.rules.zone.identifier)
        members.list("services") { list in
            for service in services {
                list.object {
                    $0.field("id", service.id.description)
                    $0.field("name", service.name)
                    $0.field("description", service.description)
                    $0.field("category_name", service.category.flatMap { book.categories[$0]?.name })
                    $0.field("duration", service.durationMinutes)
                    $0.price("price", service.price)
                    $0.field("capacity", service.seats)
                    $0.list("images") { for image in service.images { $0.string(service.imageAddress(image)) } }
                    $0.field("minimum_notice_minutes", service.minimumNoticeMinutes ?? book.rules.minimumNoticeMinutes)
                    $0.field("maximum_advance_days", service.maximumAdvanceDays ?? book.rules.maximumAdvanceDays)
                    $0.field("staff_ids", strings: service.staff.filter { id in bookable.contains { $0.id == id } }.map(\.description))
                }
            }
        }
        members.list("staff") { list in
            for member in bookable {
                list.object {
                    $0.field("id", member.id.description)
                    $0.field("name", member.name)
                }
            }
        }
    }

    /// The snapshot of `booking:<slug>`: the next days.
    package func bookingSnapshot(_ slug: String, _ moment: Moment) -> [UInt8] {
        let zone = book.rules.zone
        let until = zone.end(of: zone.day(of: moment.now) + (Self.publicDays - 1))
        var writer = JSONWriter(capacity: 16_384)
        writer.object { members in
            members.field("slug", slug)
            members.field("version", publicVersion)
            members.field("from", moment.now.description)
            members.field("until", until.description)
            publicCatalogue(to: &members)
            members.list("slots") { write(publicServices, slotsIn: moment.now..<until, to: &$0, moment) }
        }
        return writer.bytes
    }

    // MARK: What the staff sees

    /// The snapshot of `calendar`: what is to come in the next days, what is held, and who waits.
    package func snapshot(_ moment: Moment) -> [UInt8] {
        let zone = book.rules.zone
        let today = zone.day(of: moment.now)
        let range = zone.start(of: today)..<zone.end(of: today + (Self.shownDays - 1))
        let appointments = book.appointments.values.filter { range.contains($0.start) && $0.status != .cancelled }
            .sorted { ($0.start, $0.id) < ($1.start, $1.id) }.prefix(Self.maxShown)
        let waiting = book.waitlist.values.filter { $0.status == .waiting || $0.status == .offered }.sorted {
            ($0.createdAt, $0.id) < ($1.createdAt, $1.id)
        }
        var writer = JSONWriter(capacity: 16_384)
        writer.object {
            $0.field("timezone", zone.identifier)
            $0.field("from", range.lowerBound.description)
            $0.field("until", range.upperBound.description)
            $0.list("appointments") { for appointment in appointments { appointment.write(to: &$0, of: book.owner) } }
            $0.list("holds") { for hold in book.holds.values.sorted(by: { ($0.start, $0.id) < ($1.start, $1.id) }) { hold.write(to: &$0) } }
            $0.list("waitlist") { for entry in waiting.prefix(Self.maxShown) { entry.write(to: &$0) } }
        }
        return writer.bytes
    }

    /// The snapshot of `calendar:<date>`: everything of that day, whatever became of it.
    package func snapshot(of day: CivilDay, _ moment: Moment) -> [UInt8] {
        let zone = book.rules.zone
        let range = zone.start(of: day)..<zone.end(of: day)
        let appointments = book.appointments.values.filter { range.contains($0.start) }.sorted { ($0.start, $0.id) < ($1.start, $1.id) }
        let holds = book.holds.values.filter { range.contains($0.start) }.sorted { ($0.start, $0.id) < ($1.start, $1.id) }
        var writer = JSONWriter(capacity: 16_384)
        writer.object {
            $0.field("date", day.description)
            $0.field("timezone", zone.identifier)
            $0.field("from", range.lowerBound.description)
            $0.field("until", range.upperBound.description)
            $0.list("appointments") { for appointment in appointments { appointment.write(to: &$0, of: book.owner) } }
            $0.list("holds") { for hold in holds { hold.write(to: &$0) } }
        }
        return writer.bytes
    }
}
