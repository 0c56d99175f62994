package import Consultores
package import Conversations
import CustomerHealth
package import Jobs
package import Kernel
import Notifications
package import Plans
package import Resilience
import Sales
package import Scheduling
package import Storage
package import Telemetry
package import Wire

/// The live actors of one tenant, and the place where their turns become changes.
///
/// All of them share one executor (`TenantTurn`). Each method here is one turn: it asks the actors, hands what they decided to the gate, sets the
/// alarm, and answers with a `Pending` that opens when the change is on disk. None awaits.
package actor TenantCell {
    package let tenant: TenantID
    package let activation: Activation
    private let turn: TenantTurn
    private let queue: ConsultorQueue
    let desk: ConversationDesk
    let calendar: Calendar
    let clientNotices: ClientNotices
    let queues: MessageQueues
    private var board: NoticeBoard
    let gate: Gate
    let environment: Environment
    /// How much of its plan the business has used.
    var meter: UsageMeter
    private let alarms: AlarmClock
    private let queueBell: QueueBell
    private let breakers: BreakerBoard?
    private let tracer: Tracer?
    let metrics: Metrics
    private var toldBreakers: [UInt8]?
    private let isConnected: @Sendable (TenantID, UserID) -> Bool
    private let consulting: (any Consulting)?
    let store: any Store
    let staff: @Sendable (TenantID) -> Staff
    /// Customers and sales, once somebody has asked for them.
    var portfolio: Portfolio?
    var portfolioLoading: Task<Result<Portfolio, Refusal>, Never>?
    let healthPages = PageMemo()
    var recordedLately = RecentAnswers<Mark.Key, String>(limit: 2000)
    /// There are customers, whose scores move with time.
    package var hasCustomers: Bool { customers > 0 }
    /// How many there are in the portfolio, whether or not it is in memory.
    var customers: Int

    package nonisolated var unownedExecutor: UnownedSerialExecutor { turn.unownedExecutor }

    package struct Surroundings: Sendable {
        package let gate: Gate
        package let store: any Store
        package let environment: Environment
        package let alarms: AlarmClock
        package let settings: ConversationDesk.Settings
        /// Whether a user is connected to any of the realtime doors.
        package let isConnected: @Sendable (TenantID, UserID) -> Bool
        package let breakers: BreakerBoard?
        package let telemetry: Telemetry
        /// Carries out the turns that the bot's assistant takes.
        package let consulting: (any Consulting)?
        /// What a business is called in public addresses.
        package let slug: @Sendable (TenantID) async -> String?
        /// Whether a business's hand-offs are told to Pipedrive.
        package let tellsPipedrive: @Sendable (TenantID) -> Bool
        package let plans: PlanCatalogue
        package let account: @Sendable (TenantID) -> AccountStanding
        /// Who is told what concerns a customer.
        package let staff: @Sendable (TenantID) -> Staff
        /// Tells the workers of the queues that there is something for them.
        package let queueBell: QueueBell
        package let queueRules: QueueRules

        package init(
            gate: Gate,
            store: any Store,
            environment: Environment,
            alarms: AlarmClock,
            settings: ConversationDesk.Settings,
            breakers: BreakerBoard? = nil,
            telemetry: Telemetry = Telemetry(),
            isConnected: @escaping @Sendable (TenantID, UserID) -> Bool = { _, _ in false },
            consulting: (any Consulting)? = nil,
            slug: @escaping @Sendable (TenantID) async -> String? = { _ in nil },
            tellsPipedrive: @escaping @Sendable (TenantID) -> Bool = { _ in false },
            plans: PlanCatalogue = .standard,
            account: @escaping @Sendable (TenantID) -> AccountStanding = { _ in .unlimited },
            staff: @escaping @Sendable (TenantID) -> Staff = { _ in Staff() },
            queueBell: QueueBell = QueueBell(),
            queueRules: QueueRules = QueueRules()
        ) {
            self.queueBell = queueBell
            self.queueRules = queueRules
            self.tellsPipedrive = tellsPipedrive
            self.slug = slug
            self.plans = plans
            self.account = account
            self.staff = staff
            self.gate = gate
            self.store = store
            self.environment = environment
            self.alarms = alarms
            self.settings = settings
            self.isConnected = isConnected
            self.breakers = breakers
            self.telemetry = telemetry
            self.consulting = consulting
        }
    }

    /// Reads a tenant's open state from the store and brings it to life.
    package static func load(_ tenant: TenantID, flow: BotFlow, _ surroundings: Surroundings) async throws(Refusal) -> TenantCell {
        let rules = try await DeskSettings.load(tenant, from: surroundings.store)
        let conversations = try await ConversationDesk.load(tenant: tenant, rules: rules, from: surroundings.store)
        let consultores = try await ConsultorQueue.load(tenant: tenant, openProtocols: conversations.openProtocols, from: surroundings.store)
        let board = try await NoticeBoard.load(tenant, from: surroundings.store)
        var book = try await CalendarBook.load(tenant, now: surroundings.environment.now(), from: surroundings.store)
        book.owner = surroundings.account(tenant).owner
        let now = surroundings.environment.now()
        let told = try await ClientNotices.load(tenant, now: now, from: surroundings.store, settings: NotificationSettings.stored)
        let messages = try await QueueBook.load(
            tenant,
            now: now,
            rules: surroundings.queueRules,
            from: surroundings.store
        )
        let turn = TenantTurn()
        let isConnected = surroundings.isConnected
        let queue = ConsultorQueue(
            executor: turn,
            tenant: tenant,
            isConnected: { isConnected(tenant, $0) },
            tellsPipedrive: surroundings.tellsPipedrive(tenant),
            loaded: consultores
        )
        await queue.begin(with: rules.assignment)
        for conversation in conversations.conversations {
            if let consultor = conversation.assignee ?? conversation.offer?.consultor { await queue.resume(conversation.id, consultor) }
        }
        let desk = ConversationDesk(
            executor: turn,
            tenant: tenant,
            pool: queue,
            flow: flow,
            settings: surroundings.settings,
            loaded: conversations
        )
        let meter = UsageMeter(
            tenant: tenant,
            rows: try await UsageMeter.rows(of: tenant, from: surroundings.store),
            clients: try await StoredClients.listed(tenant, from: surroundings.store),
            zone: book.rules.zone,
            now: surroundings.environment.now(),
            catalogue: surroundings.plans,
            account: surroundings.account
        )
        let calendar = Calendar(executor: turn, tenant: tenant, slug: await surroundings.slug(tenant), loaded: book, now: now)
        let clientNotices = ClientNotices(executor: turn, tenant: tenant, loaded: told, book.appointments.values, now: now)
        let queues = MessageQueues(executor: turn, tenant: tenant, loaded: messages)
        let customers = try await Self.customers(tenant, surroundings.store)
        let cell = TenantCell(
            tenant: tenant,
            turn: turn,
            queue: queue,
            desk: desk,
            calendar: calendar,
            clientNotices: clientNotices,
            queues: queues,
            board: board,
            meter: meter,
            customers: customers,
            surroundings
        )
        // Offers may have run out while nobody was awake, and people in line may find somebody. Not now: what cannot be stored must not keep anybody
        // from reading.
        surroundings.alarms.set(tenant, at: surroundings.environment.now())
        return cell
    }

    private init(
        tenant: TenantID,
        turn: TenantTurn,
        queue: ConsultorQueue,
        desk: ConversationDesk,
        calendar: Calendar,
        clientNotices: ClientNotices,
        queues: MessageQueues,
        board: NoticeBoard,
        meter: UsageMeter,
        customers: Int,
        _ surroundings: Surroundings
    ) {
        self.meter = meter
        self.customers = customers
        store = surroundings.store
        staff = surroundings.staff
        self.tenant = tenant
        self.turn = turn
        self.queue = queue
        self.desk = desk
        self.calendar = calendar
        self.clientNotices = clientNotices
        self.queues = queues
        self.board = board
        activation = Activation(tenant: tenant)
        gate = surroundings.gate
        environment = surroundings.environment
        alarms = surroundings.alarms
        queueBell = surroundings.queueBell
        breakers = surroundings.breakers
        tracer = surroundings.telemetry.tracer
        metrics = surroundings.telemetry.metrics
        isConnected = surroundings.isConnected
        consulting = surroundings.consulting
    }

    // MARK: Turns

    /// - Parameter released: told by the gate, beside whoever waits for the ticket.
    func commit(_ change: Change, _ released: Gate.Release? = nil) -> Ticket {
        let ticket = Ticket()
        gate.enqueue(change, activation) {
            released?($0)
            ticket.settle($0)
        }
        let (deadline, consultations) = desk.assumeIsolated { desk in
            let (begun, cancelled) = desk.takeConsultations()
            return (desk.nextDeadline, begun.isEmpty && cancelled.isEmpty ? nil : (begun, cancelled))
        }
        if let deadline { alarms.set(tenant, at: deadline) }
        if let deadline = calendar.assumeIsolated({ $0.nextDeadline }) { alarms.set(tenant, at: deadline) }
        let now = environment.now()
        var (due, wanted) = queues.assumeIsolated { ($0.nextDue(at: now), $0.wants(at: now)) }
        if clientNotices.assumeIsolated({ $0.needsStore(now) }) { wanted.needsStore = true }
        if due < .distantFuture { alarms.set(tenant, at: due) }
        queueBell.ring(tenant, wanted)
        if let portfolio { alarms.set(tenant, at: portfolio.nextDue) }
        alarms.set(tenant, at: meter.periodEnd)
        if let (begun, cancelled) = consultations, let consulting {
            for (turn, conversation) in cancelled { consulting.cancelled(turn, of: conversation, tenant: tenant) }
            for request in begun { consulting.began(request, tenant: tenant, after: ticket) }
        }
        return ticket
    }

    /// Runs a turn's decision on the desk. They share the executor, so this is a plain call.
    func onDesk<T: Sendable>(_ body: @Sendable (isolated ConversationDesk) throws(Refusal) -> (T, Change)) -> Pending<T> {
        let span = turnBegins("desk")
        defer { turnEnds(span) }
        return settle(
            desk.assumeIsolated { desk -> Result<(T, Change), Refusal> in
                do throws(Refusal) { return .success(try body(desk)) } catch { return .failure(error) }
            }.map { ($0.0, followingContacts($0.1)) }
        )
    }

    private func onQueue<T: Sendable>(_ body: @Sendable (isolated ConsultorQueue) throws(Refusal) -> (T, Change)) -> Pending<T> {
        let span = turnBegins("consultores")
        defer { turnEnds(span) }
        return settle(
            queue.assumeIsolated { queue -> Result<(T, Change), Refusal> in
                do throws(Refusal) { return .success(try body(queue)) } catch { return .failure(error) }
            }
        )
    }

    /// - Parameter joint: committed with it, unless it is refused.
    func onCalendar<T: Sendable>(with joint: JointChange? = nil, _ body: @Sendable (isolated Calendar) -> Calendar.Decision<T>) -> Pending<T> {
        let span = turnBegins("calendar")
        defer { turnEnds(span) }
        let moment = environment.moment()
        meterIsNow(moment)
        let allowance = meter.allowance
        let (decision, made) = calendar.assumeIsolated { calendar in
            calendar.lend(allowance)
            let decision = body(calendar)
            return (decision, calendar.giveBack())
        }
        meter.made(made)
        // What was due is done whether or not the command is refused.
        var change = decision.change
        var released: Gate.Release?
        switch decision.answer {
        case .failure(let refusal): refused(refusal)
        case .success:
            if let joint { change.append(joint.change) }
            released = joint?.release
        }
        change.append(tellClients(moment))
        return Pending(decision.answer, commit(metered(&change, moment), released))
    }

    private func turnBegins(_ name: String) -> Span? { tracer.flatMap { tracer in Trace.current.map { tracer.begin("turn \(name)", in: $0) } } }
    private func turnEnds(_ span: Span?) { if let span { tracer?.end(span) } }

    private static func customers(_ tenant: TenantID, _ store: any Store) async throws(Refusal) -> Int {
        let rows = try await store.rows(
            Query("SELECT COUNT(*) FROM customers WHERE tenant_id = ?", [.id(tenant)], kinds: [.integer], tenant: tenant).forDeciding
        )
        guard var row = rows.first else { return 0 }
        return Int(row.integer())
    }

    func settle<T: Sendable>(_ decision: Result<(T, Change), Refusal>) -> Pending<T> {
        switch decision {
        case .success((let answer, let change)): Pending(.success(answer), commit(change))
        case .failure(let refusal): Pending(.failure(refusal), gate.enqueue(Change(), activation))
        }
    }

    /// Something has fallen due, or may have.
    package func timePassed() -> Pending<Void> {
        let moment = environment.moment()
        meterIsNow(moment)
        var others = calendar.assumeIsolated { $0.timePassed(moment) }
        others.append(tellClients(moment))
        others.append(queues.assumeIsolated { $0.timePassed(moment) })
        others.append(portfolioTimePassed(moment))
        let rest = metered(&others, moment)
        return onDesk { desk in
            var change = desk.timePassed(moment)
            change.append(rest)
            return ((), change)
        }
    }

    // MARK: Conversations

    package func received(_ message: CustomerMessage, seenBefore: Bool) -> Pending<ConversationDesk.Reception> {
        let moment = environment.moment()
        let (notices, queues, theirs) = (clientNotices, queues, appointments(reachedBy: .whatsapp, moment))
        return onDesk { desk throws(Refusal) in
            var (reception, change) = try desk.received(message, seenBefore: seenBefore, moment)
            if reception != .duplicate { change.append(Self.heed(message, notices, queues, theirs: theirs, moment)) }
            return (reception, change)
        }
    }

    package func reported(_ report: StatusReport) -> Pending<Void> {
        let moment = environment.moment()
        return onDesk { ((), $0.reported(report, moment)) }
    }

    package func perform(
        _ command: AgentCommand,
        on id: ConversationID,
        by principal: Principal,
        earlier: String?,
        among people: [Person] = []
    ) -> Pending<ConversationDesk.Answer> {
        let moment = environment.moment()
        return onDesk { desk throws(Refusal) in try desk.perform(command, on: id, by: principal, earlier: earlier, among: people, moment) }
    }

    /// Not stored, and so told at once.
    package func typing(_ isTyping: Bool, on id: ConversationID, by principal: Principal) throws(Refusal) -> [Event] {
        try desk.assumeIsolated { desk -> Result<[Event], Refusal> in
            do throws(Refusal) { return .success(try desk.typing(isTyping, on: id, by: principal)) } catch { return .failure(error) }
        }.get()
    }

    package func conversation(_ id: ConversationID) -> Pending<[UInt8]> {
        onDesk { desk throws(Refusal) in
            guard let json = desk.json(id) else { throw .notFound(.conversation) }
            return (json, Change())
        }
    }

    package func visited(name: String) -> Pending<Visit> {
        let moment = environment.moment()
        return onDesk { ($0.visited(name: name, moment), Change()) }
    }

    package func returned(_ visit: Visit) -> Pending<Visit> {
        let moment = environment.moment()
        return onDesk { desk throws(Refusal) in (try desk.returned(visit, moment), Change()) }
    }

    package func visitorWrote(_ text: String, clientMessageID: String, on visit: Visit, earlier: String?) -> Pending<ConversationDesk.Answer> {
        let moment = environment.moment()
        return onDesk { desk throws(Refusal) in
            try desk.visitorWrote(text, clientMessageID: clientMessageID, on: visit, earlier: earlier, moment)
        }
    }

    package func visitorRead(_ visit: Visit) -> Pending<[UInt8]> {
        let moment = environment.moment()
        return onDesk { desk throws(Refusal) in try desk.visitorRead(visit, moment) }
    }

    package func conversation(of visit: Visit) -> Pending<[UInt8]> {
        onDesk { desk throws(Refusal) in (try desk.visitorJSON(visit), Change()) }
    }

    /// A JSON array of conversations that were read from the store, with the names of those who have them.
    package func json(_ conversations: [Conversation]) -> Pending<[UInt8]> {
        let queue = queue
        return onDesk { _ in
            var writer = JSONWriter(capacity: 1024 * conversations.count)
            writer.array { for conversation in conversations { conversation.write(to: &$0, attendant: queue.attendant) } }
            return (writer.bytes, Change())
        }
    }

    package func attemptBegan(_ job: Job) -> Pending<ConversationDesk.Attempt> {
        let moment = environment.moment()
        return onDesk { $0.attemptBegan(job, moment) }
    }

    package func attemptEnded(_ job: Job, _ result: SendResult) -> Pending<ConversationDesk.AttemptEnd> {
        let moment = environment.moment()
        return onDesk { $0.attemptEnded(job, result, moment) }
    }

    // MARK: Consultores

    package func addConsultor(_ profile: ConsultorProfile) -> Pending<[UInt8]> {
        let (moment, desk) = (environment.moment(), desk)
        return onQueue { queue in Self.dispatching(queue.add(profile, moment), desk, moment) }
    }

    /// - Parameter author: who changed them, for the audit trail.
    package func updateConsultor(_ id: Int64, _ changes: ConsultorChanges, by author: Author = .system) -> Pending<[UInt8]> {
        let (moment, desk) = (environment.moment(), desk)
        return onQueue { queue throws(Refusal) in try Self.update(id, changes, queue, desk, by: author, moment) }
    }

    private static func update(
        _ id: Int64,
        _ changes: ConsultorChanges,
        _ queue: isolated ConsultorQueue,
        _ desk: ConversationDesk,
        leaving: ConversationDesk.Leaving = .byHand,
        by author: Author,
        _ moment: Moment
    ) throws(Refusal) -> ([UInt8], Change) {
        let wasOnline = queue.isOnline(id)
        var (json, change) = try queue.update(id, changes, moment)
        let isOnline = queue.isOnline(id)
        change.append(
            desk.assumeIsolated { desk in
                if wasOnline != isOnline {
                    return isOnline ? desk.attendantCame(id, by: author, moment) : desk.attendantLeft(id, leaving, by: author, moment)
                }
                return desk.attendantChanged(id, isStopped: changes.statusAtivo == false, by: author, moment)
            }
        )
        return (json, change)
    }

    /// A user who had no connection has one.
    package func agentCame(_ user: UserID) -> Pending<Void> {
        let desk = desk
        return onQueue { queue in
            var change = queue.connected(user)
            change.append(desk.assumeIsolated { $0.visitor(ContactID(user.value), isOnline: true) })
            return ((), change)
        }
    }

    /// A user has had no connection for the grace: the consultor they are goes offline, and what was on offer to them goes on at once.
    package func agentLeft(_ user: UserID) -> Pending<Void> {
        let (moment, desk) = (environment.moment(), desk)
        return onQueue { queue throws(Refusal) in
            guard let id = queue.onlineID(of: user) else { return ((), desk.assumeIsolated { $0.visitor(ContactID(user.value), isOnline: false) }) }
            var changes = ConsultorChanges()
            changes.statusOnline = false
            return ((), try Self.update(id, changes, queue, desk, leaving: .lost, by: .system, moment).1)
        }
    }

    /// A user may not log in any more: the consultor they are takes no more turns, and what they had goes back to the line.
    package func accountClosed(_ user: UserID, by author: Author) -> Pending<Void> {
        let (moment, desk) = (environment.moment(), desk)
        return onQueue { queue throws(Refusal) in
            guard let id = queue.id(of: user) else { return ((), Change()) }
            var changes = ConsultorChanges()
            changes.statusOnline = false
            changes.statusAtivo = false
            let wasOnline = queue.isOnline(id)
            var (_, change) = try Self.update(id, changes, queue, desk, leaving: .closed, by: author, moment)
            // Offline they may have had conversations all the same.
            if !wasOnline { change.append(desk.assumeIsolated { $0.attendantLeft(id, .closed, by: author, moment) }) }
            return ((), change)
        }
    }

    /// They are done with what follows a conversation.
    package func wrappedUp(_ id: Int64) -> Pending<[UInt8]> {
        let (moment, desk) = (environment.moment(), desk)
        return onQueue { queue throws(Refusal) in Self.dispatching(try queue.wrappedUp(id), desk, moment) }
    }

    package func removeConsultor(_ id: Int64) -> Pending<Void> {
        let moment = environment.moment()
        return onQueue { queue throws(Refusal) in ((), try queue.remove(id, moment)) }
    }

    package func takeTurn(idioma: String, _ command: IdempotentCommand?, earlier: String?) -> Pending<ConsultorQueue.Answer> {
        let moment = environment.moment()
        return onQueue { queue throws(Refusal) in try queue.takeTurn(idioma: idioma, command, earlier: earlier, moment) }
    }

    package func issueProtocol(consultor: Int64?, _ command: IdempotentCommand?, earlier: String?) -> Pending<ConsultorQueue.Answer> {
        let moment = environment.moment()
        return onQueue { queue throws(Refusal) in try queue.issueProtocol(consultor: consultor, command, earlier: earlier, moment) }
    }

    package func hasProtocol(_ id: Int64) -> Bool { queue.assumeIsolated { $0.hasProtocol(id) } }
    package func adopt(_ protocolo: Protocolo) { queue.assumeIsolated { $0.adopt(protocolo) } }

    package func updateProtocol(_ id: Int64, _ changes: ProtocoloChanges, by: String) -> Pending<[UInt8]> {
        let moment = environment.moment()
        return onQueue { queue throws(Refusal) in try queue.update(protocolo: id, changes, by: by, moment) }
    }

    package func importConsultor(_ line: ConsultorLine) -> Pending<ConsultorQueue.ImportOutcome> {
        let (moment, desk) = (environment.moment(), desk)
        return onQueue { queue throws(Refusal) in
            var (outcome, change) = try queue.imported(line, moment)
            if !change.rows.isEmpty { change.append(desk.assumeIsolated { $0.consultoresChanged(moment) }) }
            return (outcome, change)
        }
    }

    package func consultores() -> Pending<[UInt8]> { onQueue { ($0.list(), Change()) } }
    package func consultor(_ id: Int64) -> Pending<[UInt8]> { onQueue { queue throws(Refusal) in (try queue.one(id), Change()) } }
    package func consultorID(of user: UserID) -> Pending<Int64?> { onQueue { ($0.id(of: user), Change()) } }

    /// Whoever came online, or got capacity, may be who somebody in line waits for.
    private static func dispatching(_ decision: ([UInt8], Change), _ desk: ConversationDesk, _ moment: Moment) -> ([UInt8], Change) {
        var (json, change) = decision
        change.append(desk.assumeIsolated { $0.consultoresChanged(moment) })
        return (json, change)
    }

    // MARK: What a CRM is told, and tells

    package func customer(of id: ConversationID) -> ConversationCustomer? { desk.assumeIsolated { $0.customer(of: id) } }
    package func hasContact(_ id: ContactID) -> Bool { desk.assumeIsolated { $0.hasContact(id) } }

    /// - Parameter change: what belongs to it, such as the end of the job that brought it.
    package func named(_ contact: ContactID, _ name: String, with change: Change) -> Pending<Void> {
        let moment = environment.moment()
        return onDesk { desk in
            var change = change
            change.append(desk.named(contact, name, moment))
            return ((), change)
        }
    }

    /// Writes down what came of a job that no live state depends on.
    package func noted(_ change: Change) -> Pending<Void> { settle(.success(((), change))) }

    // MARK: How the desk is run

    package func deskSettings() -> Pending<[UInt8]> { onDesk { ($0.deskSettings.json, Change()) } }

    package func changeDeskSettings(_ json: JSON?, by principal: Principal) -> Pending<[UInt8]> {
        let moment = environment.moment()
        return onDesk { desk throws(Refusal) in
            let (settings, change) = desk.govern(try desk.deskSettings.changed(by: json), by: principal, moment)
            return (settings.json, change)
        }
    }

    package func cannedReplies() -> Pending<[CannedReply]> { onDesk { ($0.cannedReplies, Change()) } }
    package func cannedReply(_ id: CannedReplyID) -> Pending<CannedReply> {
        onDesk { desk throws(Refusal) in (try desk.cannedReply(id), Change()) }
    }

    package func putCannedReply(_ id: CannedReplyID?, shortcut: String?, text: String?, by principal: Principal) -> Pending<CannedReply> {
        let moment = environment.moment()
        return onDesk { desk throws(Refusal) in try desk.putCannedReply(id, shortcut: shortcut, text: text, by: principal, moment) }
    }

    package func removeCannedReply(_ id: CannedReplyID, by principal: Principal) -> Pending<Void> {
        let moment = environment.moment()
        return onDesk { desk throws(Refusal) in ((), try desk.removeCannedReply(id, by: principal, moment)) }
    }

    // MARK: Notices

    /// Posted once under one key.
    package func postNotice(_ text: String, clientMessageID: String?, by principal: Principal) -> Pending<Notice> {
        if let earlier = clientMessageID.flatMap({ board.earlier($0, by: principal.user) }) { return settle(.success((earlier, Change()))) }
        let moment = environment.moment()
        let notice = Notice(id: moment.id(), text: text, by: principal, clientMessageID: clientMessageID, at: moment.now)
        board.put(notice)
        var writer = JSONWriter(capacity: text.utf8.count + 256)
        writer.object {
            $0.field("type", "notice.created")
            $0.field("notice", raw: notice.json)
        }
        var change = Change()
        change.rows = [notice.image(of: tenant)]
        change.events = [Event(channel: "notices", payload: writer.bytes)]
        if let clientMessageID {
            change.marks = [Mark(.notice(clientMessageID, by: principal), at: moment.now, result: notice.id.description)]
        }
        return settle(.success((notice, change)))
    }

    // MARK: Circuit breakers

    /// They change outside of any turn; what is told is what they are in this one, as with the snapshot: so whoever subscribes in between has the latest.
    package func breakersChanged() -> Pending<Void> {
        let json = BreakerReport.json(of: tenant, breakers)
        var change = Change()
        if json != toldBreakers { change.events = [BreakerReport.event(of: tenant, breakers)] }
        toldBreakers = json
        return settle(.success(((), change)))
    }

    /// Writes down what somebody told a breaker, and that they did; the breaker does it once that is on disk.
    /// - Parameter owner: whose breaker it is: the tenant, or who runs the server.
    package func ordered(_ order: BreakerOrder, _ dependency: Dependency, reason: String?, by principal: Principal, owner: TenantID) -> Pending<Void>
    {
        guard let breakers else { return settle(.success(((), Change()))) }
        let (moment, ticket) = (environment.moment(), Ticket())
        do throws(Refusal) {
            try breakers.decide(order, on: dependency, of: tenant, isOperator: owner == tenant, at: moment.now) { version, carryOut in
                let change = BreakerRecord.change(order, dependency, reason: reason, by: principal, owner: owner, version: version, moment)
                gate.enqueue(change, activation) { result in
                    if case .success = result { carryOut(true) } else { carryOut(false) }
                    ticket.settle(result)
                }
            }
            return Pending(.success(()), ticket)
        } catch { return settle(.failure(error)) }
    }

    // MARK: Subscribing

    /// Takes channels' snapshots and lets `register` know when everything in them is on disk: in the order of the gate, between the publications that they
    /// hold and those they do not. One turn, no `await` (DESIGN §1, invariant 3).
    /// - Parameter visit: whose web chat it is, when a visitor subscribes.
    /// - Parameter needsSnapshot: asked within the turn, by the channel's place; without one, the client is expected to recover.
    package func subscribe(
        to channels: [Channel],
        for visit: Visit?,
        needsSnapshot: (Int) -> Bool,
        register: @escaping @Sendable (Result<[[UInt8]?], Refusal>) -> Void
    ) throws(Refusal) {
        var snapshots: [[UInt8]?] = []
        snapshots.reserveCapacity(channels.count)
        for (index, channel) in channels.enumerated() {
            if visit == nil, case .conversation(let id) = channel, !desk.assumeIsolated({ $0.has(id) }) { throw .notFound(.conversation) }
            snapshots.append(needsSnapshot(index) ? try snapshot(channel, for: visit) : nil)
        }
        let seen = snapshots
        gate.enqueue(Change(), activation) { result in register(result.map { seen }) }
    }

    private func snapshot(_ channel: Channel, for visit: Visit?) throws(Refusal) -> [UInt8]? {
        switch channel {
        case .conversation(let id):
            let moment = environment.moment()
            if let visit {
                return try desk.assumeIsolated { desk -> Result<[UInt8], Refusal> in
                    do throws(Refusal) { return .success(try desk.visitorSnapshot(visit, moment)) } catch { return .failure(error) }
                }.get()
            }
            let (tenant, isConnected) = (tenant, isConnected)
            return desk.assumeIsolated { $0.snapshot(id, moment, isVisitorOnline: { isConnected(tenant, UserID($0.value)) }) }
        case .conversations: return desk.assumeIsolated { $0.conversationsSnapshot() }
        case .queue: return desk.assumeIsolated { $0.queueSnapshot() }
        case .queueCounts: return desk.assumeIsolated { $0.countsSnapshot() }
        case .consultores: return queue.assumeIsolated { $0.snapshot() }
        case .notices: return board.snapshot()
        case .breakers: return BreakerReport.json(of: tenant, breakers)
        case .desk: return desk.assumeIsolated { $0.deskSnapshot() }
        case .supervision: return desk.assumeIsolated { $0.supervisionSnapshot() }
        case .user(let id):
            let actions = portfolio?.customers.openActions(of: id, staff(tenant)) ?? []
            return desk.assumeIsolated { $0.inboxSnapshot(id) { CustomerBoard.write(actions, to: &$0) } }
        case .calendar:
            let moment = environment.moment()
            return calendar.assumeIsolated { $0.snapshot(moment) }
        case .calendarDay(let day):
            let moment = environment.moment()
            return calendar.assumeIsolated { $0.snapshot(of: day, moment) }
        case .booking(let slug):
            let moment = environment.moment()
            return calendar.assumeIsolated { $0.bookingSnapshot(slug, moment) }
        case .usage:
            meterIsNow(environment.moment())
            return meter.json
        case .health: return portfolio?.customers.snapshot()
        case .sales: return portfolio?.sales.snapshot()
        case .jobs:
            let now = environment.now()
            return queues.assumeIsolated { $0.snapshot(now) }
        }
    }

    // MARK: What is not in memory

    package func knows(_ id: ConversationID) -> Bool { desk.assumeIsolated { $0.knows(id) } }
    package func has(_ id: ConversationID) -> Bool { desk.assumeIsolated { $0.has(id) } }
    package func hasMessage(_ id: MessageID) -> Bool { desk.assumeIsolated { $0.hasMessage(id) } }
    package func hasMessage(externalID: String) -> Bool { desk.assumeIsolated { $0.hasMessage(externalID: externalID) } }
    package func missing(_ identities: [ContactIdentity]) -> [ContactIdentity] { desk.assumeIsolated { $0.missing(identities) } }
    package func strangers(_ identities: [ContactIdentity]) -> [ContactIdentity] { desk.assumeIsolated { $0.strangers(identities) } }
    func beginsReadingContactKeys() -> Bool { desk.assumeIsolated { $0.beginsReadingKeys() } }
    func read(contactKeys: [String]?) { desk.assumeIsolated { $0.read(keys: contactKeys) } }
    package func adopt(_ loaded: ConversationDesk.Loaded) {
        let moment = environment.moment()
        desk.assumeIsolated { $0.adopt(loaded, moment) }
    }
    package func adopt(_ contacts: [Contact]) {
        let moment = environment.moment()
        desk.assumeIsolated { $0.adopt(contacts, moment) }
    }
    package func adopt(_ message: Message) {
        let moment = environment.moment()
        desk.assumeIsolated { $0.adopt(message, moment) }
    }

    /// Whether the tenant may be put to sleep: nobody waits for anybody.
    package var isQuiet: Bool { desk.assumeIsolated { $0.isQuiet } }
}
