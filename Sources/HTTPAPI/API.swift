import Crypto
import Foundation
package import Hummingbird
package import Identity
package import Integrations
package import Kernel
package import Notifications
package import Plans
package import Realtime
package import Resilience
package import Storage
import Telemetry
package import Tenancy

/// Every HTTP door. All routes hang on one router; what a route does is in the file named after its group.
package struct API: Sendable {
    package struct Settings: Sendable {
        /// The contract's api-key, and whose it is. Unset: that door is closed.
        package var apiKey: (value: String, tenant: TenantID)?
        /// The businesses' own keys; `nil` where nothing is served.
        package var apiKeys: APIKeys?
        /// `nil` without Pipedrive.
        package var pipedrive: PipedriveDoor?
        /// The contracts' HTTP Basic users, and whose they are. `nil`: that door is closed.
        package var basic: BasicCredentials?
        /// Slows down who guesses their passwords.
        package var loginGuard = LoginGuard.Settings()
        package var kommo = Kommo()
        /// The token Meta repeats in its handshake.
        package var whatsappVerifyToken: String?
        /// Signs Meta's deliveries. Unset: none are taken.
        package var whatsappSignature: WhatsAppSignature?
        /// Messages go to the built-in simulator, and may be made up through it.
        package var isSimulated = false
        package var limits = RequestLimits()
        /// How the businesses' numbers, files and accounts are looked after; `nil` where nothing is served.
        package var whatsapp: WhatsAppOffice?
        package var version = ""
        /// 1 to 9; 0: answers are not compressed.
        package var gzipLevel = 4
        /// What opens `/metrics` and `/info`. Unset: they are open.
        package var metricsToken: String?
        /// Of those who run the server: what is everybody's may be stopped by them alone.
        package var operatorTenant: TenantID?
        package var browsers = BrowserPolicy()
        package var plans = PlanCatalogue.standard
        /// The plan of those who register.
        package var defaultPlan = PlanType.free
        /// Owners change their plan themselves; else only whoever runs the server does.
        package var ownersChangePlans = true
        /// Whoever has not proved their e-mail only looks.
        package var requiresVerifiedEmail = false
        /// New web chats of one address.
        package var chatSessions: RateLimit? = RateLimit(perSecond: 1, burst: 60)
        /// Times that one address holds on public pages, and places that it takes in waiting lists.
        package var publicHolds: RateLimit? = RateLimit(perSecond: 1, burst: 60)
        /// New businesses of one address.
        package var registrations: RateLimit? = RateLimit(perSecond: 1, burst: 60)
        /// How it goes with Redis; `nil` without one.
        package var relay: (@Sendable () -> RelayReport)?
        /// Whether Redis answers now; `nil` without one.
        package var pingRedis: (@Sendable () async -> Bool)?
        /// Jobs in memory, and those of them that are held up by what they need.
        package var jobs: @Sendable () -> (waiting: Int, held: Int) = { (0, 0) }
        /// Messages waiting to be sent.
        package var messagesWaiting: @Sendable () -> Int = { 0 }
        /// A queue whose first message has been due for longer than this has nobody who listens.
        package var queueIsDeafAfter = Duration.seconds(300)
        /// What takes e-mails: `simulator`, or `smtp`.
        package var email = "simulator"
        /// The address that e-mails come from.
        package var mailFrom = Settings.simulatedMailFrom
        package static let simulatedMailFrom = "simulador@plantao.local"
        package var environmentName = "development"
        package var startedAt: Timestamp?
        /// Variables of the contracts that EcoSys's `/health` lists, and whether they are set.
        package var variables: [String: Bool] = [:]
        /// The assistant's own families of metrics; `nil` without one.
        package var assistantMetrics: (@Sendable () -> String)?
        /// Where this server is reached from outside, without a slash at the end.
        package var publicURL = "http://127.0.0.1:8080"
        /// Reads the addresses that mails carry for those who want no more.
        package var unsubscribing: UnsubscribeLinks?

        package init() {}
    }

    /// Kommo's webhooks, as they are configured for one business; every business may make a token of its own beside it.
    package struct Kommo: Sendable {
        package var owner: TenantID?
        /// Stands in the address that Kommo is given. Unset: with a credential of the portfolio only.
        package var token: String?
        /// Without a token, anybody may tell: not in production.
        package var isOpen = false
        package var names = KommoNames()

        package init() {}
    }

    /// How it goes with Redis, for operators.
    package struct RelayReport: Sendable {
        package var isConnected: Bool
        package var breaker: String
        package var timesOpened: Int
        /// Pushes and job notices waiting for Redis, taken by it, and left out.
        package var waiting: Int
        package var relayed: Int
        package var dropped: Int

        package init(
            isConnected: Bool,
            breaker: String,
            timesOpened: Int,
            waiting: Int,
            relayed: Int,
            dropped: Int
        ) {
            self.isConnected = isConnected
            self.breaker = breaker
            self.timesOpened = timesOpened
            self.waiting = waiting
            self.relayed = relayed
            self.dropped = dropped
        }
    }

    package let operations: Operations
    package let directory: Directory
    package let store: any ManagedStore
    package let door: any RealtimeDoor
    package let settings: Settings
    package let environment: Kernel.Environment
    let book: RequestBook
    let health: HealthProbe
    let allowances: Allowances
    package let letters = AccountLetters()
    private let routes = RouteMap()

    package init(
        operations: Operations,
        directory: Directory,
        store: any ManagedStore,
        door: any RealtimeDoor,
        settings: Settings,
        environment: Kernel.Environment
    ) {
        self.operations = operations
        self.directory = directory
        self.store = store
        self.door = door
        self.settings = settings
        self.environment = environment
        book = RequestBook(settings.limits, environment: environment)
        health = HealthProbe(operations: operations, store: store, settings: settings, environment: environment)
        allowances = Allowances(settings)
    }

    package func router() -> Router<APIContext> {
        let router = Router(context: APIContext.self, options: [.autoGenerateHeadEndpoints])
        router.add(middleware: NameRequest())
        if let tracer = operations.telemetry.tracer { router.add(middleware: TraceRequests(tracer: tracer)) }
        router.add(middleware: RequestLog(metrics: operations.telemetry.metrics))
        router.add(middleware: CompressAnswers(level: settings.gzipLevel))
        router.add(middleware: SecurityHeaders(policy: settings.browsers))
        router.add(middleware: CrossOrigin(policy: settings.browsers, routes: routes))
        // Behind it, so that a page may read that it was refused, and a preflight weighs nothing.
        router.add(middleware: LimitRequests(book: book, proxies: settings.limits.trustedProxies))
        router.add(middleware: RefusalsAsResponses())
        router.add(middleware: RequireHost(hosts: settings.browsers.hosts))
        router.add(middleware: RefuseExpectations())
        router.add(middleware: RefuseMethods(routes: routes))
        addShared(to: router)
        addIdentity(to: router)
        addLogins(to: router)
        addAccount(to: router)
        addPlans(to: router)
        addUsers(to: router)
        addConversations(to: router)
        addChat(to: router)
        addConsultores(to: router)
        addAPIKeys(to: router)
        addDesk(to: router)
        addEcoSys(to: router)
        addPortfolio(to: router)
        addKommo(to: router)
        addVendas(to: router)
        addStorage(to: router)
        addNotices(to: router)
        addBreakers(to: router)
        addBot(to: router)
        addRealtime(door, to: router)
        addMetrics(to: router)
        addWhatsApp(to: router)
        addPipedrive(to: router)
        addMedia(to: router)
        addServices(to: router)
        addStaff(to: router)
        addAppointments(to: router)
        addPublicBooking(to: router)
        addClients(to: router)
        addNotifications(to: router)
        addQueues(to: router)
        if settings.isSimulated { addSimulator(to: router) }
        routes.fill(from: router)
        return router
    }

    // MARK: Credentials

    /// The user behind `Authorization: Bearer`. A web chat's visitor is none, and refused.
    func principal(_ request: Request, _ context: APIContext) async throws -> Principal {
        let principal = try await anybody(request, context)
        guard principal.role != .visitor else { throw Refusal.visitorOnly }
        try requireVerified(principal, request)
        return principal
    }

    /// What somebody may do whose e-mail is not proved yet, where that is asked for: look, and what proves it.
    private func requireVerified(_ principal: Principal, _ request: Request) throws(Refusal) {
        guard settings.requiresVerifiedEmail, request.method != .get, request.method != .head, !directory.isVerified(principal.user) else { return }
        let path = request.uri.path
        guard !path.hasPrefix("/api/users/verify-email"), !path.hasPrefix("/api/users/profile"), !path.hasPrefix("/api/users/change-password") else {
            return
        }
        throw Refusal.emailUnverified
    }

    /// As `principal`, also for visitors: to be used where their own conversation is all that they get.
    func anybody(_ request: Request, _ context: APIContext) async throws -> Principal {
        let principal = try await follower(request, context)
        guard !principal.isGuest else { throw Refusal.visitorOnly }
        return principal
    }

    /// As `anybody`, also for whoever only looks at a public page: to be used for the streams.
    func follower(_ request: Request, _ context: APIContext) async throws -> Principal {
        let principal = try await claims(request).principal
        context.notes.note("user_id", principal.user)
        try weigh(.user(principal.tenant, principal.user), request, context)
        return principal
    }

    func claims(_ request: Request) async throws(Refusal) -> AccessClaims {
        guard let header = request.headers[.authorization], header.lowercased().hasPrefix("bearer ") else {
            throw Self.noCredential
        }
        return try await directory.authenticate(accessToken: String(header.dropFirst("bearer ".count)))
    }

    /// Whoever runs the server and says so: `Authorization: Bearer <token>`, or Basic with it as the password, under any name.
    func requireMetricsToken(_ request: Request) throws(Refusal) {
        guard let wanted = settings.metricsToken else { return }
        let parts = request.headers[.authorization]?.split(separator: " ", maxSplits: 1) ?? []
        let given: [UInt8]
        switch (parts.first?.lowercased(), parts.last) {
        case ("bearer", let token?): given = Array(token.utf8)
        case ("basic", let pair?):
            let bytes = Data(base64Encoded: String(pair)).map { [UInt8]($0) } ?? []
            given = bytes.firstIndex(of: UInt8(ascii: ":")).map { Array(bytes[($0 + 1)...]) } ?? []
        default: given = []
        }
        // Digests of the same length are compared, so that how long this takes tells nothing of the token.
        guard SHA256.hash(data: given) == SHA256.hash(data: Array(wanted.utf8)) else {
            throw Refusal(.unauthenticated, "metrics_token", "Envie o METRICS_TOKEN: Authorization: Bearer <token>, ou Basic com ele como senha.")
        }
    }

    static let noCredential = Refusal(
        .unauthenticated,
        "not_authenticated",
        "Credencial ausente: envie o cabeçalho Authorization: Bearer <token>."
    )
}
