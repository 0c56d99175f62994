import Consultores
package import Conversations
import CustomerHealth
package import Jobs
package import Kernel
import Notifications
package import Plans
package import Resilience
import Sales
import Scheduling
package import Storage
package import Telemetry
import Wire

/// The live actors of one tenant, and the place where their turns become changes.
///
/// All of them share one executor (`TenantTurn`). Each method here is one turn: it asks the actors, hands what they decided to the gate, sets the
/// alarm, and answers with a `Pending` that opens when the change is on disk. None awaits.
package actor TenantCell {
    package let tenant: TenantID
    package let activation: Activation
    private let turn: TenantTurn
    let queue: ConsultorQueue
    let desk: ConversationDesk
    let calendar: Calendar
    let clientNotices: ClientNotices
    let queues: MessageQueues
    var board: NoticeBoard
    let gate: Gate
    let environment: Environment
    /// How much of its plan the business has used.
    var meter: UsageMeter
    private let alarms: AlarmClock
    private let queueBell: QueueBell
    let breakers: BreakerBoard?
    let tracer: Tracer?
    let metrics: Metrics
    var toldBreakers: [UInt8]?
    let isConnected: @Sendable (TenantID, UserID) -> Bool
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

    func onQueue<T: Sendable>(_ body: @Sendable (isolated ConsultorQueue) throws(Refusal) -> (T, Change)) -> Pending<T> {
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
}
