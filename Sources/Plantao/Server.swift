import AsyncHTTPClient
import Consultores
import Conversations
import CustomerHealth
import Foundation
import HTTPAPI
import Hummingbird
import HummingbirdCore
import Identity
import Integrations
import Jobs
import Kernel
import Logging
import NIOCore
import NIOPosix
import Plans
import Realtime
import RedisBus
import Resilience
import Sales
import ServiceLifecycle
import Storage
import StoragePostgres
import Synchronization
import Telemetry
import Tenancy
import Transports
import UnixSignals
import Wire

import enum Notifications.NotificationTables
import struct Notifications.Sender
import struct Notifications.UnsubscribeLinks
import enum Scheduling.SchedulingTables

/// Everything the server consists of, put together. The only place that knows all of it.
struct Server {
    static let schema = Schema(
        StorageTables.all + IdentityTables.all + ConsultorTables.all + ConversationTables.all + DeskTables.all + NoticeTables.all
            + BreakerTables.all + [WhatsAppNumber.table, PipedriveLink.table] + SchedulingTables.all + NotificationTables.all + CustomerTables.all
            + SalesTables.all + QueueTables.all + UsageTables.all
    )

    let settings: Settings
    let logger: Logger

    /// Starts, serves until told to stop, and stops in order: no new commands, sockets told to come back, everything decided on disk.
    func run() async throws {
        // A loop for each core that we may use, which may be fewer than there are; two on one core only get in each other's way.
        NIOSingletons.groupLoopCountSuggestion = Processors.available
        let group = MultiThreadedEventLoopGroup.singleton
        let http = HTTPClient(eventLoopGroup: group, configuration: WhatsAppCloudClient.httpConfiguration)
        do { try await serve(group, http) } catch {
            // A client that is let go without having been shut down ends the process, and nobody would learn why.
            try? await http.shutdown()
            if let refusal = error as? Refusal { throw StartupError("the store cannot be read: \(refusal)") }
            throw error
        }
        try? await http.shutdown()
        logger.notice("stopped; everything acknowledged is on disk")
    }

    private func serve(_ group: MultiThreadedEventLoopGroup, _ http: HTTPClient) async throws {
        let environment = Kernel.Environment.system
        for warning in settings.warnings { logger.warning("\(warning)") }
        let telemetry = Telemetry(tracer: settings.tracing.map { Tracer(ratio: $0.ratio) })
        let breakers = BreakerBoard(settings: settings.breakers, environment: environment)
        let store = MeasuredStore(
            try await openStore(environment, telemetry) { breakers.guards(.database, $0) },
            telemetry.metrics.database
        )
        let loops = Array(group.makeIterator())
        let hub = StreamHub(loops: loops, environment: environment)

        // The gate releases to those who themselves need the gate; they are put in once they exist.
        let relay = settings.redis.map { redis in
            RedisRelay(
                bus: RedisBus(configuration: redis, environment: environment, logger: logger, group: group),
                environment: environment,
                logger: logger
            )
        }
        if let relay { breakers.guards(.redis, relay.bus) }
        let outlet = Junction(hub: hub, relay: relay, metrics: telemetry.metrics, logger: logger)
        let gate = Gate(journal: store, outlet: outlet, logger: logger, tracer: telemetry.tracer, activationEnded: { outlet.activationEnded($0) })

        let seal = Vault.seal(try Vault.keys(settings), environment)
        if settings.isProduction, settings.fernetKeys.isEmpty {
            logger.warning("FERNET_KEYS is not set: what is sealed can be read by whoever has PLANTAO_DATA, where the key lies as well")
        }
        let hasher = PasswordHasher(rounds: settings.bcryptRounds)
        let secret = try secretKey()
        let tokens = try await TokenIssuer(
            secret: secret,
            accessMinutes: settings.accessTokenMinutes,
            visitMinutes: settings.visitMinutes,
            environment: environment
        )
        let directory = Directory(
            store: store,
            gate: gate,
            environment: environment,
            hasher: hasher,
            tokens: tokens,
            guards: LoginGuard(settings.loginGuard),
            refreshGrace: settings.refreshGrace,
            seal: seal,
            codeSecret: try secretKey(),
            seats: settings.plans.seats(telemetry.metrics)
        )
        try await directory.load()
        let welcome = try await firstTenant(directory)
        let apiKeys = APIKeys(store: store, gate: gate, environment: environment)
        try await apiKeys.load()

        var deskSettings = ConversationDesk.Settings()
        deskSettings.offerTimeout = settings.offerTimeout
        deskSettings.burst = settings.burst
        let assistant = settings.gemini.map { GeminiParts($0, http: http, hub: hub, breakers: breakers, environment: environment, logger: logger) }
        if let assistant {
            deskSettings.canConsult = { breakers.wouldAllow(.gemini, of: $0) }
            deskSettings.consultationTimeout = assistant.deadline
        }
        var pipedrive: PipedriveParts?
        if let configured = settings.pipedrive, let tenant = await directory.tenants.first {
            pipedrive = PipedriveParts(configured, tenant: tenant.id, http: http, breakers: breakers, environment: environment)
        }
        let toldToPipedrive = pipedrive?.tenant
        let alarms = AlarmClock()
        let queueBell = QueueBell()
        let presence = PresenceBook(grace: settings.presenceGrace, environment: environment)
        let tenants = Tenants(
            .init(
                gate: gate,
                store: store,
                environment: environment,
                alarms: alarms,
                settings: deskSettings,
                breakers: breakers,
                telemetry: telemetry,
                isConnected: { presence.isPresent(.init(tenant: $0, user: $1)) },
                consulting: assistant?.turns,
                slug: { await directory.tenant($0)?.slug },
                tellsPipedrive: { $0 == toldToPipedrive },
                plans: settings.plans,
                account: { directory.account($0) },
                staff: { directory.staff(of: $0) },
                queueBell: queueBell,
                queueRules: settings.queues.rules
            ),
            logger: logger,
            // Who could not be read back as they were stay awake, and whose streams go on: what time alone brings would be missing from them.
            isWatched: { hub.isRemembered($0) || store.holdsBack($0) },
            flow: { id in await directory.tenant(id).map { .standard(businessName: $0.name) } }
        )
        var operations = Operations(tenants: tenants, gate: gate, store: store, hub: hub, environment: environment, seal: seal)

        let desk = try await whatsAppParts(store, gate, directory, http, operations, seal, environment)
        operations.signals = desk.signals
        if settings.requiresVerifiedEmail { operations.mayChange = { directory.isVerified($0.user) } }
        operations.people = { tenant in
            let users = try? await directory.users(of: tenant)
            return (users ?? []).filter(\.isActive).map { Person(user: $0.id, name: $0.name) }
        }
        assistant?.turns.connect(tenants, store)

        let statuses = SimulatedStatuses(operations: operations, logger: logger)
        let simulator = WhatsAppSimulator(environment: environment) { statuses.put($0) }
        let outbox = OutboxWorker(
            tenants: tenants,
            store: store,
            sender: desk.bridge(simulator, logger: logger),
            guarding: SendGuard(
                board: breakers,
                dependency: .whatsapp,
                verdict: WhatsAppBridge.verdict,
                isOfNumber: WhatsAppBridge.isOfNumber,
                rateLimit: WhatsAppBridge.rateLimit
            ),
            stops: desk.stops,
            accountStopped: { [operations] in await Self.tell($2, $0, $1, operations) },
            environment: environment,
            logger: logger
        )
        var workers: [String: any JobWorker] = [
            ConversationDesk.sendJobKind: outbox,
            ConversationDesk.mediaJobKind: MediaWorker(
                tenants: tenants,
                store: store,
                fetcher: desk.fetcher(maxBytes: settings.maxMediaBytes, logger: logger),
                environment: environment,
                logger: logger
            ),
        ]
        if let pipedrive {
            let worker = pipedrive.worker(tenants, store, breakers, environment, logger)
            for kind in [HandOff.jobKind, PipedriveNews.jobKind] { workers[kind] = worker }
        }
        var jobLimits = JobRunner.Limits()
        jobLimits.concurrencyOfKind[ConversationDesk.mediaJobKind] = MediaWorker.maxConcurrent
        let runner = JobRunner(workers: workers, store: store, environment: environment, limits: jobLimits, logger: logger)
        outlet.connect(runner: runner, tenants: tenants)
        breakers.onMoved { tenant, dependency, before, now in
            logger.log(
                level: now.state.isOpen ? .warning : .notice,
                "a circuit breaker is \(now.state.rawValue)",
                metadata: [
                    "tenant": "\(tenant)", "dependency": "\(dependency)", "was": "\(before.rawValue)", "cause": "\(now.cause?.rawValue ?? "-")",
                    "until": "\(now.openUntil?.description ?? "-")",
                ]
            )
            // What waits for it goes on at once.
            if dependency == .whatsapp, now.state.isClosed { runner.letGo(ConversationDesk.sendJobKind, of: tenant) }
            if dependency == .pipedrive, now.state.isClosed {
                for kind in [HandOff.jobKind, PipedriveNews.jobKind] { runner.letGo(kind, of: tenant) }
            }
        }
        let operatorTenant = await directory.tenants.first?.id
        let dispatcher = queueDispatcher(
            tenants,
            store,
            senders: try messageSenders(outbox.path, operations, directory, breakers, secret, group, environment),
            relay: relay,
            environment: environment,
            bell: queueBell,
            hub: hub,
            operatorTenant: operatorTenant
        )
        try await dispatcher.restore(from: store)
        operations.queues = dispatcher
        try await breakers.restore(from: store, operatorTenant: operatorTenant)

        try await wakeThoseWhoWait(store, alarms, environment)
        try await countConversations(store, telemetry.metrics)
        try await expectThoseWhoWereThere(store, presence)

        var apiSettings = Self.apiSettings(settings)
        let accounts = Accounts(directory, operations, apiSettings, environment, logger: logger)
        operations.accounts = { method, data, principal throws(Refusal) in try await accounts.call(method, data, by: principal) }
        if let relay {
            apiSettings.relay = { relay.report }
            apiSettings.pingRedis = { (try? await relay.bus.send(["PING"], timeout: .seconds(1))) != nil }
        }
        apiSettings.jobs = { (runner.waiting, runner.held) }
        apiSettings.messagesWaiting = { runner.waiting(ConversationDesk.sendJobKind) }
        apiSettings.startedAt = environment.now()
        apiSettings.loginGuard = settings.loginGuard
        apiSettings.operatorTenant = operatorTenant
        apiSettings.queueIsDeafAfter = settings.queues.deafAfter
        if let assistant { apiSettings.assistantMetrics = { assistant.counters.prometheus } }
        apiSettings.whatsapp = desk.office(runner, maxBytes: settings.maxMediaBytes)
        apiSettings.apiKeys = apiKeys
        apiSettings.unsubscribing = UnsubscribeLinks(secret: secret)
        apiSettings.pipedrive = pipedrive?.door(tenants, gate, environment)
        if let tenant = await directory.tenants.first {
            apiSettings.kommo.owner = tenant.id
            apiSettings.kommo.names = settings.kommoNames
            apiSettings.kommo.token = settings.kommoToken
            apiSettings.kommo.isOpen = !settings.isProduction
        }
        if !settings.basicUsers.isEmpty, let tenant = await directory.tenants.first {
            apiSettings.basic = BasicCredentials(users: settings.basicUsers, tenant: tenant.id)
        }
        if let key = settings.apiKey, let tenant = await directory.tenants.first { apiSettings.apiKey = (key, tenant.id) }
        var socketSettings = SocketSettings()
        socketSettings.handshakeTimeout = settings.handshakeTimeout
        socketSettings.requestTimeout = settings.requestTimeout
        socketSettings.idleTimeout = settings.idleTimeout
        socketSettings.reconnectWindow = settings.reconnectWindow
        socketSettings.pingInterval = settings.pingInterval
        socketSettings.pongTimeout = settings.pongTimeout
        socketSettings.allowedOrigins = settings.allowedOrigins
        socketSettings.allowedHosts = settings.allowedHosts
        socketSettings.streamsBody = API.streamsBody
        socketSettings.maxBodyBytes = API.bodyLimit(maxMediaBytes: settings.maxMediaBytes)
        socketSettings.isEchoOpen = settings.isEchoOpen
        socketSettings.deflate.isEnabled = settings.compressesSockets
        let admission = Admission(settings.admission)
        let services = SessionServices(
            operations: operations,
            authenticate: { token throws(Refusal) in
                let claims = try await directory.authenticate(accessToken: token)
                return Credential(principal: claims.principal, session: claims.session, expiresAt: claims.expiresAt)
            },
            stands: { directory.stands($0) },
            presence: presence,
            admission: admission,
            environment: environment,
            settings: socketSettings,
            version: "Plantao \(Version.current)"
        )
        let registries = LoopRegistries(loops: loops, environment: environment, settings: socketSettings)
        directory.onSessionsEnded { registries.close(Set($0)) }
        let api = API(
            operations: operations,
            directory: directory,
            store: store,
            door: HTTPStreams(services: services, registries: registries, loops: loops),
            settings: apiSettings,
            environment: environment
        )
        let application = Application(
            router: api.router(),
            server: HTTPServerBuilder { responder in RealtimeChannel(responder: responder, services: services, registries: registries) },
            configuration: ApplicationConfiguration(address: .hostname(settings.host, port: settings.port), serverName: "Plantao", backlog: 1024),
            onServerRunning: { _ in announce(welcome) },
            eventLoopGroupProvider: .shared(group),
            logger: logger
        )
        let housekeeping = Housekeeping(
            tenants: tenants,
            alarms: alarms,
            hub: hub,
            presence: presence,
            operations: operations,
            gate: gate,
            directory: directory,
            apiKeys: apiKeys,
            customerLoginsAreKept: settings.customerLoginsAreKept,
            environment: environment,
            logger: logger
        )
        let letters = LetterService(api: api, logger: logger)
        var members: [any Service] = [
            housekeeping, letters, JobService(runner: runner), QueueService(dispatcher: dispatcher), SignalService(signals: desk.signals),
        ]
        if let relay { members.append(relay) }
        if let kommo = settings.kommoDatabase, let tenant = await directory.tenants.first {
            members.append(KommoSync(configuration: kommo, tenant: tenant.id, operations: operations, logger: logger))
        }
        if let tracer = telemetry.tracer, let tracing = settings.tracing {
            members.append(TraceExporter(configuration: tracing, tracer: tracer, http: http, version: Version.current, logger: logger))
        }
        if let assistant { members.append(BotTurnService(turns: assistant.turns)) }
        if settings.whatsapp == nil { members.append(SimulatorService(simulator: simulator, statuses: statuses)) }
        var configuration = ServiceGroupConfiguration(
            services: members + [
                Doors(
                    application: application,
                    registries: registries,
                    admission: admission,
                    presence: presence,
                    drainWindow: settings.drainWindow
                ),
                // Last in, first out: nothing is claimed any more before anything else stops.
                QueueStop(dispatcher: dispatcher),
            ],
            gracefulShutdownSignals: [.sigterm, .sigint],
            logger: logger
        )
        configuration.maximumGracefulShutdownDuration = .seconds(10) + settings.drainWindow
        configuration.maximumCancellationDuration = .seconds(5)
        let impatience = Task { await Impatience(logger: logger).run() }
        defer { impatience.cancel() }
        do {
            try await ServiceGroup(configuration: configuration).run()
        } catch {
            await gate.stop()
            await store.close()
            throw error
        }
        await gate.stop()
        await store.close()
    }

    /// Postgres behind a local journal when a database is configured, otherwise the embedded store.
    /// - Parameter guarded: told what stands before the database, if there is one.
    func openStore(
        _ environment: Kernel.Environment,
        _ telemetry: Telemetry = Telemetry(),
        guarded: (any BreakerControl) -> Void = { _ in }
    ) async throws -> any ManagedStore {
        let directory = settings.dataDirectory
        guard let database = settings.database else {
            if let journal = try WriteBehindStore.summary(of: directory), let storeID = journal.storeID {
                throw StartupError(
                    "DATABASE_URL: not set, but the journal in '\(directory)' belongs to a database (store \(storeID)) and owes it \(journal.owedRows) changed rows. Set it as it was; or, to begin without it, name another PLANTAO_DATA."
                )
            }
            return try SQLiteStore(directory: directory, schema: Self.schema)
        }
        if FileManager.default.fileExists(atPath: SQLiteStore.path(in: directory)) {
            logger.warning(
                "PLANTAO_DATA holds an embedded store, which is not used while DATABASE_URL is set; plantao export and import bring a tenant over"
            )
        }
        var writeBehind = settings.writeBehind
        writeBehind.batchWritten = { telemetry.metrics.database.observe($0, LabelValues("write_behind")) }
        writeBehind.tracer = telemetry.tracer
        return try await WriteBehindStore.open(
            directory: directory,
            schema: Self.schema,
            settings: writeBehind,
            environment: environment,
            logger: logger
        ) { journal in
            let opened = try await PostgresDatabase.open(database, schema: Self.schema, journal: journal, logger: logger)
            guarded(opened.breaker)
            return opened
        }
    }

    // MARK: Parts

    /// What the settings alone decide of the HTTP doors, such as which of them there are.
    static func apiSettings(_ settings: Settings) -> API.Settings {
        var api = API.Settings()
        api.version = Version.current
        api.limits = settings.requestLimits
        api.environmentName = settings.environmentName
        api.variables = settings.contractVariables
        api.gzipLevel = settings.gzipLevel
        api.metricsToken = settings.metricsToken
        api.browsers.origins = settings.allowedOrigins
        api.browsers.hosts = settings.allowedHosts
        api.browsers.strictTransportSeconds = settings.strictTransportSeconds
        api.chatSessions = settings.chatSessions
        api.publicHolds = settings.publicHolds
        api.registrations = settings.registrations
        api.plans = settings.plans
        api.defaultPlan = settings.defaultPlan
        api.ownersChangePlans = settings.ownersChangePlans
        api.requiresVerifiedEmail = settings.requiresVerifiedEmail
        api.isSimulated = settings.whatsapp == nil
        api.email = settings.mail == nil ? "simulator" : "smtp"
        api.publicURL = settings.publicURL
        api.whatsappVerifyToken = settings.whatsappVerifyToken
        api.whatsappSignature = settings.whatsappAppSecret.map(WhatsAppSignature.init(appSecret:))
        return api
    }

    /// Outside production a key is made up once and kept with the data, so that tokens outlive a restart.
    func secretKey() throws -> String {
        if let key = settings.secretKey { return key }
        let path = settings.dataDirectory + "/secret.key"
        if let kept = try? String(contentsOfFile: path, encoding: .utf8), kept.utf8.count >= 32 { return kept }
        var generator = SystemRandomNumberGenerator()
        let key = (0..<4).map { _ in String(generator.next(), radix: 16) }.joined()
        guard FileManager.default.createFile(atPath: path, contents: Data(key.utf8), attributes: [.posixPermissions: 0o600]) else {
            throw StartupError("PLANTAO_DATA: '\(path)' cannot be written. Set SECRET_KEY, or free some space.")
        }
        return key
    }

    /// What the start prints for a newcomer.
    struct Welcome {
        let tenant: String
        let email: String
        /// Only when it was made up just now.
        let password: String?
    }

    /// On an empty store, the first business and its owner.
    private func firstTenant(_ directory: Directory) async throws -> Welcome {
        var madeUp: String?
        if await directory.isEmpty {
            let password: String
            if let given = settings.adminPassword {
                password = given
            } else {
                var generator = SystemRandomNumberGenerator()
                password = "Pl4-" + String(generator.next() as UInt64, radix: 36) + "#"
                madeUp = password
            }
            do {
                let objections = PasswordStrength.objections(to: password, email: settings.adminEmail)
                if !objections.isEmpty {
                    guard !settings.isProduction else {
                        throw StartupError("ADMIN_PASSWORD: too weak for production (\(objections.joined(separator: ", "))).")
                    }
                    logger.warning("ADMIN_PASSWORD is weak; production would refuse it")
                }
                _ = try await directory.createTenant(
                    name: settings.tenantName,
                    slug: nil,
                    ownerEmail: settings.adminEmail,
                    ownerName: "Administrador",
                    password: password,
                    byOperator: true,
                    plan: settings.firstPlan
                )
            } catch let error as Refusal {
                throw StartupError("ADMIN_EMAIL, ADMIN_PASSWORD: the first user cannot be made: \(error.message)")
            }
        }
        guard let tenant = await directory.tenants.first else { throw StartupError("there is no tenant") }
        if let whatsapp = settings.whatsapp, tenant.phoneNumberID != whatsapp.phoneNumberID {
            try await directory.setWhatsApp(tenant: tenant.id, phoneNumberID: whatsapp.phoneNumberID, wabaID: whatsapp.businessAccountID)
        }
        return Welcome(tenant: tenant.name, email: settings.adminEmail, password: madeUp)
    }

    /// Sets the alarm of every tenant that has somebody waiting, on offer, or snoozed, or whom the bot may owe an answer: time goes on while the server is
    /// down.
    private func wakeThoseWhoWait(_ store: any Store, _ alarms: AlarmClock, _ environment: Kernel.Environment) async throws {
        let rows = try await store.rows(
            Query(
                "SELECT tenant_id, MIN(COALESCE(snoozed_until, ?)) FROM conversations WHERE state IN ('queued', 'offered', 'snoozed') OR (state = 'bot' AND updated_at > ?) GROUP BY tenant_id",
                // After a day WhatsApp would let the bot answer no more.
                [.timestamp(Timestamp(seconds: 0)), .timestamp(environment.now() + .seconds(-86_400))],
                kinds: [.uuid, .timestamp]
            )
        )
        for var row in rows { alarms.set(row.id(), at: row.timestamp()) }
        // Where conversations may fall due that nobody waits in, the tenant itself has to look.
        let timed = try await store.rows(Query("SELECT tenant_id FROM desk_settings WHERE has_timers", kinds: [.uuid]))
        for var row in timed { alarms.set(row.id(), at: Timestamp(seconds: 0)) }
        // Holds run out and pending appointments are given up, whoever is awake.
        let held = try await store.rows(
            Query(
                "SELECT tenant_id FROM appointment_holds UNION SELECT tenant_id FROM appointments WHERE status = 'pending' AND pending_until IS NOT NULL",
                kinds: [.uuid]
            )
        )
        for var row in held { alarms.set(row.id(), at: Timestamp(seconds: 0)) }
        // Messages of queues fall due; what was in a worker's hands is looked at as soon as its lease is over.
        let queued = try await store.rows(
            Query(
                "SELECT tenant_id, MIN(run_at) FROM queue_messages WHERE state IN ('scheduled', 'retryable', 'claimed', 'sending') GROUP BY tenant_id",
                kinds: [.uuid, .timestamp]
            )
        )
        for var row in queued { alarms.set(row.id(), at: row.timestamp()) }
        // Rules that have changed count for what is booked already.
        let unapplied = try await store.rows(Query("SELECT tenant_id FROM notification_settings WHERE NOT is_applied", kinds: [.uuid]))
        for var row in unapplied { alarms.set(row.id(), at: Timestamp(seconds: 0)) }
        // Scores fall with time alone, and months end.
        let portfolios = try await store.rows(
            Query("SELECT id FROM tenants WHERE EXISTS (SELECT 1 FROM customers WHERE customers.tenant_id = tenants.id)", kinds: [.uuid])
        )
        for var row in portfolios { alarms.set(row.id(), at: Timestamp(seconds: 0)) }
    }

    /// How many conversations are in each state, to count on from there.
    private func countConversations(_ store: any Store, _ metrics: Metrics) async throws {
        let states = Metrics.openStates
        let rows = try await store.rows(
            Query(
                "SELECT state, COUNT(*) FROM conversations WHERE state IN (\(states.map { _ in "?" }.joined(separator: ", "))) GROUP BY state",
                states.map { .text($0) },
                kinds: [.text, .integer]
            )
        )
        for var row in rows { metrics.conversationMoved(from: nil, to: row.text(), count: Int(row.integer())) }
    }

    /// Whoever was online by a connection when the process before this one ended, in whatever way, has the grace to come back.
    private func expectThoseWhoWereThere(_ store: any Store, _ presence: PresenceBook) async throws {
        let rows = try await store.rows(
            Query(
                "SELECT tenant_id, user_id FROM consultores WHERE held_by_connection AND status_online AND user_id IS NOT NULL AND removed_at IS NULL",
                kinds: [.uuid, .uuid]
            )
        )
        for var row in rows { presence.expected(.init(tenant: row.id(), user: row.id())) }
    }

    private func announce(_ welcome: Welcome) {
        let url = "http://\(settings.host):\(settings.port)"
        let mode = settings.whatsapp == nil ? "simulador embutido (defina WHATSAPP_API_TOKEN e WHATSAPP_PHONE_NUMBER_ID)" : "Cloud API"
        let password = welcome.password ?? "(a que você definiu)"
        let text = """

            Plantão \(Version.current) no ar em \(url)
              empresa   \(welcome.tenant)
              login     \(welcome.email)  senha \(password)
              dados     \(settings.dataDirectory)
              WhatsApp  \(mode)
              filas     \(settings.redis == nil ? "no processo (defina REDIS_URL para Redis Streams)" : "Redis Streams")
              e-mail    \(settings.mail.map { "\($0.client.host):\($0.client.port), de \($0.from)" } ?? "simulador: só no log (defina SMTP_SERVER)")
              Pipedrive \(settings.pipedrive == nil ? "desligado (defina PIPEDRIVE_API_TOKEN)" : "API v2")
              bot       \(settings.gemini.map { "fluxo da empresa e \($0.client.model)" } ?? "só o fluxo da empresa (defina GEMINI_API_KEY)")

            Experimente:
              curl \(url)/health
              curl -s \(url)/api/v1/auth/login -H 'content-type: application/json' -d '{"email":"\(welcome.email)","password":"\(welcome.password ?? "…")"}'
              .build/release/plantao demo --url \(url) --email \(welcome.email) --password '\(welcome.password ?? "…")'


            """
        FileHandle.standardOutput.write(Data(text.utf8))
    }
}

/// What the gate releases, on its way to those who are put together after the gate.
private final class Junction: Outlet {
    private struct Ends {
        var runner: JobRunner?
        var tenants: Tenants?
    }

    private let hub: StreamHub
    private let relay: RedisRelay?
    private let metrics: Metrics
    private let logger: Logger
    private let ends = Mutex(Ends())

    init(hub: StreamHub, relay: RedisRelay?, metrics: Metrics, logger: Logger) {
        self.hub = hub
        self.logger = logger
        self.metrics = metrics
        self.relay = relay
    }

    func connect(runner: JobRunner, tenants: Tenants) { ends.withLock { $0 = Ends(runner: runner, tenants: tenants) } }

    func publish(_ events: [Event], tenant: TenantID) {
        hub.publish(events, tenant: tenant)
        relay?.publish(events, tenant: tenant)
    }
    /// Before the runner exists nothing is lost: it reads what is stored when it starts.
    func runnable(_ jobs: [Job]) {
        ends.withLock { $0.runner }?.add(jobs)
        relay?.runnable(jobs)
    }
    func batchReleased() { hub.wake() }
    func happened(_ facts: [Fact]) {
        for fact in facts {
            switch fact {
            case .conversationBegan(let channel): metrics.conversationsCreated.add(1, LabelValues(channel))
            case .conversationMoved(let from, let to): metrics.conversationMoved(from: from, to: to)
            case .conversationResolved(let after): metrics.conversationDuration.observe(after)
            case .messagesFoundNoRoom(let tenant, let queue, let count):
                metrics.queueRefusals.add(count, LabelValues(queue, "rules"))
                logger.error(
                    "messages to clients found no room: too many of their business wait",
                    metadata: ["tenant": "\(tenant)", "queue": "\(queue)", "count": "\(count)"]
                )
            }
        }
    }
    func activationEnded(_ activation: Activation) { ends.withLock { $0.tenants }?.drop(activation) }
}
