import Conversations
import Fernet
import Foundation
import HTTPAPI
import Identity
import Integrations
import Jobs
import Kernel
import Plans
import Realtime
import RedisBus
import Resilience
import Storage
import StoragePostgres
import Tenancy
import Wire

/// The server's configuration, read from environment variables once, here. Every key stands in docs/configuration.md; a bad value stops the start with its
/// name, what was given and what is allowed.
struct Settings {
    var host: String
    var port: Int
    var dataDirectory: String
    var environmentName: String
    var isProduction: Bool
    var secretKey: String?
    /// The first encrypts, all of them decrypt. Empty: one is made up.
    var fernetKeys: [FernetKey]
    var accessTokenMinutes: Int
    var bcryptRounds: Int
    var visitMinutes: Int
    var loginGuard: LoginGuard.Settings
    var refreshGrace: Duration
    var chatSessions: RateLimit?
    var publicHolds: RateLimit?
    var registrations: RateLimit?
    var adminEmail: String
    var adminPassword: String?
    var tenantName: String
    var plans: PlanCatalogue
    /// Of those who register, and of the first business.
    var defaultPlan: PlanType
    var firstPlan: PlanType
    var ownersChangePlans: Bool
    var requiresVerifiedEmail: Bool
    var apiKey: String?
    /// Users of HTTP Basic, as the contracts have them.
    var basicUsers: [(name: String, password: String)]
    var kommoToken: String?
    /// A Postgres with Kommo's customers, to be kept in step with.
    var kommoDatabase: KommoSync.Configuration?
    var kommoNames: KommoNames
    var customerLoginsAreKept: Duration
    var allowedOrigins: Set<String>
    var allowedHosts: AllowedHosts
    var strictTransportSeconds: Int
    var offerTimeout: Duration
    var handshakeTimeout: Duration
    var requestTimeout: Duration
    var idleTimeout: Duration
    var drainWindow: Duration
    var reconnectWindow: Duration
    var pingInterval: Duration
    var pongTimeout: Duration
    var presenceGrace: Duration
    var admission: Admission.Limits
    var requestLimits: RequestLimits
    var compressesSockets: Bool
    var gzipLevel: Int
    /// Unset: `/metrics` and `/info` are open.
    var metricsToken: String?
    /// What is set and does less than somebody may think. Said once at the start.
    var warnings: [String] = []
    var isEchoOpen: Bool
    var logLevel: String
    /// Unset: the embedded store.
    var database: PostgresConfiguration?
    var writeBehind: WriteBehindStore.Settings
    /// Unset: no spans are made.
    var tracing: TraceExporter.Configuration?
    /// Variables that EcoSys's `/health` lists, and whether they are set.
    var contractVariables: [String: Bool]
    /// Of the dependencies that each business has for itself.
    var breakers: [Dependency: CircuitBreaker.Settings]
    /// Unset: jobs and pushes stay in the process.
    var redis: RedisConfiguration?
    var whatsapp: WhatsApp?
    var whatsappAppSecret: String?
    var whatsappVerifyToken: String?
    var burst: Burst.Settings
    /// Unset: the bot follows its flow alone.
    var gemini: Gemini?

    struct Gemini {
        var client: GeminiClient.Configuration
        var timeout: Duration
        var prices: GeminiCounters.Prices
    }
    var queues: Queues
    var maxMediaBytes: Int
    /// Where this server is reached from outside, without a slash at the end.
    var publicURL: String
    /// Unset: mails are said in the log, and go nowhere.
    var mail: Mail?

    struct Mail {
        var client: SMTPClient.Configuration
        var from: String
        var connections: Int
    }
    /// Unset: nothing is told to any CRM.
    var pipedrive: Pipedrive?

    struct Pipedrive {
        var client: PipedriveClient.Configuration
        /// Unset: its webhooks are not taken.
        var webhook: (user: String, password: String)?
    }

    struct Queues {
        var rules = QueueRules()
        var workers = QueueDispatcher.Settings()
        /// How old a message that is due may get before `/health` says so.
        var deafAfter = Duration.seconds(300)
    }

    struct WhatsApp {
        var client: WhatsAppCloudClient.Configuration
        var token: String
        var phoneNumberID: String
        var businessAccountID: String?
    }

    /// The contracts' own examples, which everybody knows.
    private static let publicSecrets: Set<String> = ["your-super-secret-key-change-in-production", "your-secret-key-here"]

    init(environment: [String: String]) throws {
        let reader = EnvironmentReader(environment)
        host = reader.text("HOST") ?? "127.0.0.1"
        port = try reader.integer("PORT", default: 8080, in: 1...65535)
        dataDirectory = reader.text("PLANTAO_DATA") ?? "data"
        environmentName = try reader.choice("ENVIRONMENT", default: "development", among: ["development", "test", "production"])
        isProduction = environmentName == "production"
        secretKey = reader.text("SECRET_KEY")
        fernetKeys = try (reader.list("FERNET_KEYS") ?? []).enumerated().map { index, text in
            guard let key = FernetKey(text) else {
                throw StartupError(
                    "FERNET_KEYS: key \(index + 1) is none; a key is the base64url of 32 bytes. Make one: openssl rand -base64 32 | tr +/ -_"
                )
            }
            return key
        }
        accessTokenMinutes = try reader.integer("ACCESS_TOKEN_EXPIRE_MINUTES", default: 1440, in: 1...525_600)
        bcryptRounds = try reader.integer("BCRYPT_ROUNDS", default: 12, in: 4...16)
        visitMinutes = try reader.integer("CHAT_TOKEN_EXPIRE_MINUTES", default: 60, in: 1...1440)
        let chatBurst = try reader.integer("CHAT_SESSIONS_PER_ADDRESS", default: 60, in: 0...1_000_000)
        chatSessions = chatBurst == 0 ? nil : RateLimit(perSecond: 1, burst: chatBurst)
        let holdBurst = try reader.integer("PUBLIC_HOLDS_PER_ADDRESS", default: 60, in: 0...1_000_000)
        publicHolds = holdBurst == 0 ? nil : RateLimit(perSecond: 1, burst: holdBurst)
        let registrationBurst = try reader.integer("REGISTRATIONS_PER_ADDRESS", default: 60, in: 0...1_000_000)
        registrations = registrationBurst == 0 ? nil : RateLimit(perSecond: 1, burst: registrationBurst)
        loginGuard = try Self.loginGuard(reader)
        refreshGrace = .seconds(try reader.integer("REFRESH_GRACE_SECONDS", default: 10, in: 0...300))
        adminEmail = reader.text("ADMIN_EMAIL") ?? "admin@plantao.local"
        adminPassword = reader.text("ADMIN_PASSWORD")
        tenantName = reader.text("TENANT_NAME") ?? "Minha Empresa"
        (plans, defaultPlan, firstPlan) = try Self.plans(reader)
        ownersChangePlans = try reader.choice("PLAN_CHANGES", default: "owner", among: ["owner", "operator"]) == "owner"
        requiresVerifiedEmail = try reader.choice("EMAIL_VERIFICATION", default: "optional", among: ["optional", "required"]) == "required"
        apiKey = reader.text("AUTHENTICATION_API_KEY")
        basicUsers = try (reader.text("BASIC_AUTH_USERS") ?? "").split(separator: ",").map { pair in
            let parts = pair.split(separator: ":", maxSplits: 1)
            guard parts.count == 2 else {
                throw StartupError("BASIC_AUTH_USERS: write user:password,user2:password2; a user without a password is none.")
            }
            return (parts[0].trimmingCharacters(in: .whitespaces), String(parts[1]))
        }
        kommoToken = reader.text("KOMMO_WEBHOOK_TOKEN")
        kommoDatabase = try Self.kommoDatabase(reader)
        kommoNames = KommoNames()
        kommoNames.pipelines = try reader.names("KOMMO_PIPELINES")
        kommoNames.statuses = try reader.names("KOMMO_STATUSES")
        kommoNames.users = try reader.names("KOMMO_USERS")
        // As many days as `GET /logins` tells of, at the least.
        customerLoginsAreKept = .seconds(try reader.integer("CUSTOMER_LOGINS_KEEP_DAYS", default: 90, in: 31...3650) * 86_400)
        allowedOrigins = Set(try reader.list("ALLOWED_ORIGINS") ?? ["http://localhost:3000"])
        for origin in allowedOrigins where !BrowserPolicy.isOrigin(origin) {
            throw StartupError(
                "ALLOWED_ORIGINS: '\(origin)' is no origin; write it as browsers do: https://app.example.com, with no path, or with a port behind it."
            )
        }
        let hosts = try reader.list("ALLOWED_HOSTS") ?? ["*"]
        for host in hosts where !AllowedHosts.isName(host) {
            throw StartupError(
                "ALLOWED_HOSTS: '\(host)' is no name of a host; write it as api.example.com, *.example.com or 127.0.0.1, without a port, or *."
            )
        }
        allowedHosts = AllowedHosts(hosts)
        _ = try reader.choice("ALGORITHM", default: "hs256", among: ["hs256"])
        strictTransportSeconds = try reader.integer("PLANTAO_HSTS_SECONDS", default: 0, in: 0...63_072_000)
        offerTimeout = .seconds(try reader.integer("OFFER_TIMEOUT_SECONDS", default: 30, in: 1...3600))
        handshakeTimeout = .seconds(try reader.integer("PLANTAO_HANDSHAKE_SECONDS", default: 10, in: 1...600))
        requestTimeout = .seconds(try reader.integer("PLANTAO_HTTP_REQUEST_SECONDS", default: 60, in: 1...3600))
        idleTimeout = .seconds(try reader.integer("PLANTAO_HTTP_IDLE_SECONDS", default: 60, in: 1...3600))
        drainWindow = .seconds(try reader.integer("PLANTAO_DRAIN_SECONDS", default: 3, in: 0...300))
        reconnectWindow = .seconds(try reader.integer("PLANTAO_RECONNECT_SECONDS", default: 5, in: 0...600))
        pingInterval = .seconds(try reader.integer("PLANTAO_PING_SECONDS", default: 20, in: 1...600))
        presenceGrace = .seconds(try reader.integer("PRESENCE_GRACE_SECONDS", default: 20, in: 0...86_400))
        admission = try Self.admission(reader)
        requestLimits = try Self.requestLimits(reader)
        isEchoOpen = try reader.integer("PLANTAO_ECHO", default: 0, in: 0...1) == 1
        compressesSockets = try reader.integer("PLANTAO_WEBSOCKET_COMPRESSION", default: 1, in: 0...1) == 1
        gzipLevel = try reader.integer("PLANTAO_GZIP_LEVEL", default: 4, in: 0...5)
        metricsToken = reader.text("METRICS_TOKEN")
        if let metricsToken, metricsToken.utf8.count < 16 {
            throw StartupError("METRICS_TOKEN: too short; at least 16 characters are needed. Make one: openssl rand -hex 16")
        }
        pongTimeout = .seconds(try reader.integer("PLANTAO_PONG_TIMEOUT_SECONDS", default: 8, in: 1...600))
        logLevel = try reader.choice("LOG_LEVEL", default: "info", among: ["trace", "debug", "info", "notice", "warning", "error", "critical"])
        whatsappAppSecret = reader.text("WHATSAPP_APP_SECRET")
        whatsappVerifyToken = reader.text("WHATSAPP_VERIFY_TOKEN")
        burst = Burst.Settings()
        burst.quiet = .milliseconds(try reader.integer("BOT_QUIET_MILLISECONDS", default: 1500, in: 0...60_000))
        burst.atMost = .milliseconds(try reader.integer("BOT_BURST_MAX_MILLISECONDS", default: 10_000, in: 0...600_000))
        gemini = try Self.gemini(reader)
        pipedrive = try Self.pipedrive(reader)
        publicURL = reader.text("PUBLIC_URL") ?? "http://\(host):\(port)"
        guard publicURL.hasPrefix("https://") || publicURL.hasPrefix("http://"), !publicURL.contains(where: \.isWhitespace) else {
            throw StartupError("PUBLIC_URL: '\(publicURL)' is not such a URL as https://agenda.example.com.")
        }
        while publicURL.hasSuffix("/") { publicURL.removeLast() }
        mail = try Self.mail(reader)
        queues = try Self.queues(reader)
        maxMediaBytes = try reader.integer("PLANTAO_MEDIA_MAX_MB", default: 100, in: 1...1000) << 20

        if isProduction {
            guard !isEchoOpen else {
                throw StartupError("PLANTAO_ECHO: opens a socket without authentication, and is refused in production. Unset it.")
            }
            guard let secretKey, !Self.publicSecrets.contains(secretKey), secretKey.utf8.count >= 32 else {
                throw StartupError(
                    "SECRET_KEY: in production a secret of at least 32 characters is needed, and not the documentation's example. Make one: openssl rand -hex 32"
                )
            }
            guard bcryptRounds >= 12 else { throw StartupError("BCRYPT_ROUNDS: '\(bcryptRounds)' is too weak for production; 12 to 16 are allowed.") }
        }
        whatsapp = try Self.whatsapp(reader)
        database = try Self.database(reader)
        writeBehind = try Self.writeBehind(reader)
        redis = try Self.redis(reader)
        breakers = try Self.breakers(reader)
        tracing = try Self.tracing(reader)
        if let nodes = reader.text("REDIS_CLUSTER_NODES") {
            let alone = redis == nil ? "Redis is not used" : "the one of REDIS_URL is used, by itself"
            warnings.append(
                "REDIS_CLUSTER_NODES: a cluster is not supported; \(alone), and '\(nodes)' is not looked at. Name one server in REDIS_URL."
            )
        }
        if tracing != nil, let asked = reader.text("OTEL_EXPORTER_OTLP_PROTOCOL")?.lowercased(), asked != "http/json" {
            warnings.append(
                "OTEL_EXPORTER_OTLP_PROTOCOL: '\(asked)' is not spoken; spans are sent as http/json, which every collector takes at the same address."
            )
        }
        contractVariables = Dictionary(
            uniqueKeysWithValues: ["UPSTASH_REDIS_REST_URL", "UPSTASH_REDIS_REST_TOKEN", "BASIC_AUTH_USERS"].map { ($0, reader.text($0) != nil) }
        )
    }

    /// `PLANTAO_PLANS` is JSON, or the path of a file with it.
    private static func plans(_ reader: EnvironmentReader) throws -> (PlanCatalogue, standard: PlanType, first: PlanType) {
        func plan(_ name: String, _ usual: PlanType) throws -> PlanType {
            let text = try reader.choice(name, default: usual.rawValue, among: PlanType.allCases.map(\.rawValue))
            return PlanType(text) ?? usual
        }
        let (standard, first) = (try plan("DEFAULT_PLAN", .free), try plan("FIRST_PLAN", .enterprise))
        guard let given = reader.text("PLANTAO_PLANS") else { return (.standard, standard, first) }
        var text = given
        if !given.hasPrefix("{") {
            guard let read = try? String(contentsOfFile: given, encoding: .utf8) else {
                throw StartupError("PLANTAO_PLANS: '\(given)' is neither a JSON object nor a file that can be read.")
            }
            text = read
        }
        do {
            return (try PlanCatalogue.standard.changed(by: JSON.parse(text)), standard, first)
        } catch let error as PlanCatalogue.Invalid {
            throw StartupError("PLANTAO_PLANS: \(error.description).")
        } catch {
            throw StartupError("PLANTAO_PLANS: not JSON (\(error)); write {\"free\": {\"appointments\": 50, \"clients\": null}}.")
        }
    }

    private static func queues(_ reader: EnvironmentReader) throws -> Queues {
        var queues = Queues()
        queues.rules.lease = .seconds(try reader.integer("QUEUE_LEASE_SECONDS", default: 30, in: 1...3600))
        queues.rules.backoff = .seconds(try reader.integer("QUEUE_BACKOFF_SECONDS", default: 15, in: 1...3600))
        queues.rules.longestBackoff = .seconds(try reader.integer("QUEUE_BACKOFF_MAX_SECONDS", default: 3600, in: 1...86_400))
        queues.rules.sentIsKept = .seconds(try reader.integer("QUEUE_KEEP_SENT_DAYS", default: 7, in: 1...365) * 86_400)
        queues.rules.failedIsKept = .seconds(try reader.integer("QUEUE_KEEP_FAILED_DAYS", default: 30, in: 1...365) * 86_400)
        queues.rules.maxOpen = try reader.integer("QUEUE_MAX_WAITING", default: queues.rules.maxOpen, in: 1...10_000_000)
        queues.workers.concurrency = try reader.integer("QUEUE_WORKERS", default: 32, in: 1...1000)
        queues.workers.perTenant = try reader.integer(
            "QUEUE_WORKERS_PER_TENANT",
            default: max(1, queues.workers.concurrency / 4),
            in: 1...queues.workers.concurrency
        )
        queues.deafAfter = .seconds(try reader.integer("QUEUE_DEAF_SECONDS", default: 300, in: 1...86_400))
        return queues
    }

    private static func loginGuard(_ reader: EnvironmentReader) throws -> LoginGuard.Settings {
        var settings = LoginGuard.Settings()
        settings.failures = try reader.integer("LOGIN_MAX_FAILURES", default: settings.failures, in: 1...1000)
        settings.failuresPerAccount = try reader.integer("LOGIN_MAX_FAILURES_PER_ACCOUNT", default: 5 * settings.failures, in: 1...100_000)
        settings.failuresPerAddress = try reader.integer("LOGIN_MAX_FAILURES_PER_ADDRESS", default: 10 * settings.failures, in: 1...1_000_000)
        settings.firstLock = .seconds(try reader.integer("LOGIN_LOCK_SECONDS", default: 30, in: 1...86_400))
        settings.longestLock = max(settings.firstLock, .seconds(try reader.integer("LOGIN_LOCK_MAX_SECONDS", default: 900, in: 1...604_800)))
        return settings
    }

    private static func admission(_ reader: EnvironmentReader) throws -> Admission.Limits {
        var limits = Admission.Limits()
        let some = 1...10_000_000
        limits.connections = try reader.integer("PLANTAO_MAX_CONNECTIONS", default: limits.connections, in: some)
        limits.connectionsPerTenant = try reader.integer("PLANTAO_MAX_CONNECTIONS_PER_TENANT", default: limits.connectionsPerTenant, in: some)
        limits.connectionsPerUser = try reader.integer("PLANTAO_MAX_CONNECTIONS_PER_USER", default: limits.connectionsPerUser, in: some)
        /// A rate and its burst, which is by default what two seconds give. 0: no limit.
        func rate(_ scope: String, _ limit: RateLimit?) throws -> RateLimit? {
            let name = "PLANTAO_COMMANDS_PER_SECOND_PER_\(scope)"
            let perSecond = try reader.integer(name, default: limit?.perSecond ?? 0, in: 0...10_000_000)
            let usual = perSecond == limit?.perSecond ? limit?.burst : nil
            let burst = try reader.integer("PLANTAO_COMMAND_BURST_PER_\(scope)", default: usual ?? max(2 * perSecond, 1), in: 1...100_000_000)
            return perSecond == 0 ? nil : RateLimit(perSecond: perSecond, burst: burst)
        }
        limits.perConnection = try rate("CONNECTION", limits.perConnection)
        limits.perUser = try rate("USER", limits.perUser)
        limits.perTenant = try rate("TENANT", limits.perTenant)
        return limits
    }

    private static func requestLimits(_ reader: EnvironmentReader) throws -> RequestLimits {
        var limits = RequestLimits()
        for kind in RequestLimits.Class.allCases {
            let name = kind.rawValue.uppercased()
            let usual = limits.limits[kind]
            let perSecond = try reader.integer("PLANTAO_REQUESTS_PER_SECOND_\(name)", default: usual?.perSecond ?? 0, in: 0...1_000_000)
            let burst = perSecond == usual?.perSecond ? usual?.burst : nil
            let atOnce = try reader.integer("PLANTAO_REQUEST_BURST_\(name)", default: burst ?? max(2 * perSecond, 1), in: 1...10_000_000)
            limits.limits[kind] = perSecond == 0 ? nil : RateLimit(perSecond: perSecond, burst: atOnce)
        }
        limits.trustedProxies = try (reader.list("PLANTAO_TRUSTED_PROXIES") ?? []).map { text in
            guard let range = AddressRange(text) else {
                throw StartupError("PLANTAO_TRUSTED_PROXIES: '\(text)' is no address or range such as 10.0.0.0/8 or fd00::/8.")
            }
            return range
        }
        return limits
    }

    /// The contract's own variables.
    private static func kommoDatabase(_ reader: EnvironmentReader) throws -> KommoSync.Configuration? {
        guard let host = reader.text("DB_HOST"), let name = reader.text("DB_NAME") else { return nil }
        func encoded(_ text: String) -> String { text.addingPercentEncoding(withAllowedCharacters: .alphanumerics) ?? "" }
        let user = reader.text("DB_USER").map { encoded($0) + (reader.text("DB_PASSWORD").map { ":" + encoded($0) } ?? "") + "@" } ?? ""
        let port = try reader.integer("DB_PORT", default: 5432, in: 1...65535)
        return KommoSync.Configuration(
            database: try PostgresConfiguration(url: "postgresql://\(user)\(host):\(port)/\(encoded(name))"),
            interval: .seconds(try reader.integer("KOMMO_SYNC_SECONDS", default: 15, in: 1...86_400))
        )
    }

    private static func database(_ reader: EnvironmentReader) throws -> PostgresConfiguration? {
        guard let url = reader.text("DATABASE_URL") else { return nil }
        var configuration = try PostgresConfiguration(
            url: url,
            poolSize: try reader.integer("DATABASE_POOL_SIZE", default: 20, in: 1...1000),
            maxOverflow: try reader.integer("DATABASE_MAX_OVERFLOW", default: 30, in: 0...1000),
            statementTimeout: .seconds(try reader.integer("DATABASE_STATEMENT_TIMEOUT_SECONDS", default: 30, in: 1...3600)),
            patience: .seconds(try reader.integer("DATABASE_START_TIMEOUT_SECONDS", default: 20, in: 0...3600)),
            breaker: CircuitBreaker.Settings(
                failureThreshold: try reader.integer("DATABASE_BREAKER_FAILURES", default: 5, in: 1...1000),
                openFor: .seconds(try reader.integer("DATABASE_BREAKER_SECONDS", default: 60, in: 1...3600))
            )
        )
        configuration.takesOver = try reader.integer("DATABASE_TAKE_OVER", default: 0, in: 0...1) == 1
        return configuration
    }

    private static func writeBehind(_ reader: EnvironmentReader) throws -> WriteBehindStore.Settings {
        var settings = WriteBehindStore.Settings()
        settings.maxBytes = try reader.integer("PLANTAO_JOURNAL_MAX_MB", default: 4096, in: 1...1_000_000) << 20
        let age = try reader.integer("PLANTAO_JOURNAL_MAX_AGE_SECONDS", default: 86_400, in: 0...10_000_000)
        settings.maxAge = age == 0 ? nil : .seconds(age)
        settings.barrierPatience = .milliseconds(try reader.integer("PLANTAO_BARRIER_MILLISECONDS", default: 2000, in: 1...60_000))
        return settings
    }

    private static func redis(_ reader: EnvironmentReader) throws -> RedisConfiguration? {
        guard let url = reader.text("REDIS_URL") else { return nil }
        var configuration: RedisConfiguration
        do throws(RedisConfiguration.InvalidURL) { configuration = try RedisConfiguration(url: url) } catch { throw StartupError(error.description) }
        configuration.breaker = CircuitBreaker.Settings(
            failureThreshold: try reader.integer("REDIS_BREAKER_FAILURES", default: 3, in: 1...1000),
            openFor: .seconds(try reader.integer("REDIS_BREAKER_SECONDS", default: 30, in: 1...3600))
        )
        return configuration
    }

    /// `<NAME>_BREAKER_FAILURES` in a row open it for `<NAME>_BREAKER_SECONDS`; with `<NAME>_BREAKER_PERCENT` it is that share of at least so many calls within
    /// a minute instead, and with `<NAME>_BREAKER_SLOW_SECONDS` also `<NAME>_BREAKER_SLOW_PERCENT` of them that took so long.
    private static func breakers(_ reader: EnvironmentReader) throws -> [Dependency: CircuitBreaker.Settings] {
        func read(_ name: String, _ usual: CircuitBreaker.Settings) throws -> CircuitBreaker.Settings {
            let failures = try reader.integer("\(name)_BREAKER_FAILURES", default: usual.failureThreshold, in: 1...1000)
            let seconds = try reader.integer("\(name)_BREAKER_SECONDS", default: Int(usual.openFor.inMilliseconds / 1000), in: 1...3600)
            let percent = try reader.integer("\(name)_BREAKER_PERCENT", default: 0, in: 0...100)
            let slow = try reader.integer("\(name)_BREAKER_SLOW_SECONDS", default: 0, in: 0...600)
            let slowPercent = try reader.integer("\(name)_BREAKER_SLOW_PERCENT", default: 50, in: 1...100)
            guard slow == 0 || percent > 0 else {
                throw StartupError("\(name)_BREAKER_SLOW_SECONDS: slow calls are counted in the share of calls; set \(name)_BREAKER_PERCENT as well.")
            }
            let rate = CircuitBreaker.Settings.Rate(
                window: .seconds(60),
                minimumCalls: failures,
                failurePercent: max(percent, 1),
                slowAfter: slow == 0 ? nil : .seconds(slow),
                slowPercent: slowPercent
            )
            // Longer than any call of theirs lasts.
            return .init(
                trip: percent == 0 ? .consecutive(failures) : .rate(rate),
                openFor: .seconds(seconds),
                probeLease: .seconds(max(seconds, 30))
            )
        }
        var pipedrive = try read("PIPEDRIVE", .pipedrive)
        pipedrive.probeLease = max(pipedrive.probeLease, CircuitBreaker.Settings.pipedrive.probeLease)
        var smtp = try read("SMTP", .smtp)
        smtp.probeLease = max(smtp.probeLease, CircuitBreaker.Settings.smtp.probeLease)
        return [.whatsapp: try read("WHATSAPP", .whatsapp), .gemini: try read("GEMINI", .gemini), .pipedrive: pipedrive, .smtp: smtp]
    }

    /// OpenTelemetry's own variables (https://opentelemetry.io/docs/specs/otel/protocol/exporter/).
    private static func tracing(_ reader: EnvironmentReader) throws -> TraceExporter.Configuration? {
        let whole = reader.text("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT")
        guard let endpoint = whole ?? reader.text("OTEL_EXPORTER_OTLP_ENDPOINT") else { return nil }
        let name = whole == nil ? "OTEL_EXPORTER_OTLP_ENDPOINT" : "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT"
        guard let url = URL(string: endpoint), ["http", "https"].contains(url.scheme), url.host != nil else {
            throw StartupError("\(name): '\(endpoint)' is not such a URL as http://127.0.0.1:4318.")
        }
        // The specification's own default is http/protobuf: the same address takes both. gRPC has a port of its own, where nothing would listen to us.
        _ = try reader.choice("OTEL_EXPORTER_OTLP_PROTOCOL", default: "http/json", among: ["http/json", "http/protobuf"])
        var base = endpoint
        while base.hasSuffix("/") { base.removeLast() }
        var configuration = TraceExporter.Configuration(url: whole ?? "\(base)/v1/traces")
        configuration.serviceName = reader.text("OTEL_SERVICE_NAME") ?? "plantao"
        configuration.headers = try (reader.list("OTEL_EXPORTER_OTLP_HEADERS") ?? []).map { pair in
            let parts = pair.split(separator: "=", maxSplits: 1)
            guard parts.count == 2 else { throw StartupError("OTEL_EXPORTER_OTLP_HEADERS: write name=value,name=value.") }
            return (String(parts[0]), String(parts[1]).removingPercentEncoding ?? String(parts[1]))
        }
        if let text = reader.text("OTEL_TRACES_SAMPLER_ARG") {
            guard let ratio = Double(text), (0...1).contains(ratio) else {
                throw StartupError("OTEL_TRACES_SAMPLER_ARG: '\(text)' is not allowed; a share of the traces from 0 to 1 is.")
            }
            configuration.ratio = ratio
        }
        return configuration
    }

    private static func gemini(_ reader: EnvironmentReader) throws -> Gemini? {
        guard let key = reader.text("GEMINI_API_KEY") else { return nil }
        var client = GeminiClient.Configuration(apiKey: key)
        if let url = reader.text("GEMINI_API_URL"), !client.setURL(url) {
            throw StartupError("GEMINI_API_URL: '\(url)' is not such a URL as https://generativelanguage.googleapis.com.")
        }
        if let model = reader.text("GEMINI_MODEL") {
            guard model.utf8.allSatisfy({ (0x61...0x7a).contains($0) || (0x30...0x39).contains($0) || $0 == 0x2d || $0 == 0x2e }) else {
                throw StartupError("GEMINI_MODEL: '\(model)' is not the name of a model, such as \(client.model).")
            }
            client.model = model
        }
        client.firstTokenTimeout = .milliseconds(try reader.integer("GEMINI_FIRST_TOKEN_MILLISECONDS", default: 10_000, in: 100...600_000))
        var prices = GeminiCounters.Prices()
        // In cents, so that no fraction has to be read.
        prices.prompt = Double(try reader.integer("GEMINI_PROMPT_CENTS_PER_MILLION", default: 30, in: 0...1_000_000)) / 100
        prices.answer = Double(try reader.integer("GEMINI_ANSWER_CENTS_PER_MILLION", default: 250, in: 0...1_000_000)) / 100
        return Gemini(
            client: client,
            timeout: .milliseconds(try reader.integer("GEMINI_TIMEOUT_MILLISECONDS", default: 30_000, in: 100...600_000)),
            prices: prices
        )
    }

    /// The contract's own variables, and how the line is secured.
    private static func mail(_ reader: EnvironmentReader) throws -> Mail? {
        guard let host = reader.text("SMTP_SERVER") else {
            guard reader.text("SMTP_PASSWORD") == nil else {
                throw StartupError("SMTP_SERVER: not set, but SMTP_PASSWORD is. Set both, or neither for the simulator.")
            }
            return nil
        }
        let security = SMTPDialogue.Security(
            rawValue: try reader.choice("SMTP_TLS", default: "starttls", among: SMTPDialogue.Security.allCases.map(\.rawValue))
        )
        let usual = [SMTPDialogue.Security.starttls: 587, .tls: 465, .none: 25][security ?? .starttls]
        var client = SMTPClient.Configuration(
            host: host,
            port: try reader.integer("SMTP_PORT", default: usual ?? 587, in: 1...65535),
            security: security ?? .starttls
        )
        switch (reader.text("SMTP_USERNAME"), reader.text("SMTP_PASSWORD")) {
        case (nil, nil): break
        case (let user?, let password?):
            guard security != SMTPDialogue.Security.none else {
                throw StartupError("SMTP_TLS: 'none' would send SMTP_PASSWORD in the clear. Use starttls or tls, or unset the user and password.")
            }
            client.credentials = .init(user: user, password: password)
        case (_?, nil): throw StartupError("SMTP_PASSWORD: not set, but SMTP_USERNAME is. Set both, or neither.")
        case (nil, _?): throw StartupError("SMTP_USERNAME: not set, but SMTP_PASSWORD is. Set both, or neither.")
        }
        client.caFile = reader.text("SMTP_CA_FILE")
        if let file = client.caFile, !SMTPClient.hasCertificates(file) {
            throw StartupError("SMTP_CA_FILE: '\(file)' is not a file of certificates in PEM.")
        }
        client.patience = .seconds(try reader.integer("SMTP_TIMEOUT_SECONDS", default: 30, in: 1...600))
        guard let from = reader.text("FROM_EMAIL") ?? client.credentials?.user, SMTPDialogue.Envelope.isAddress(from) else {
            throw StartupError("FROM_EMAIL: needed where SMTP_SERVER is set; an address such as agenda@example.com.")
        }
        client.name = try helloName(reader)
        return Mail(client: client, from: from, connections: try reader.integer("SMTP_CONNECTIONS", default: 8, in: 1...1000))
    }

    /// What we call ourselves to the mail server: `SMTP_HELO_NAME`, else the name that the public is given, else the machine's (RFC 5321 §4.1.1.1).
    private static func helloName(_ reader: EnvironmentReader) throws -> String {
        func isName(_ text: String) -> Bool {
            let labels = text.split(separator: ".", omittingEmptySubsequences: false)
            return text.utf8.count <= 255
                && labels.allSatisfy { label in
                    (1...63).contains(label.utf8.count) && label.first != "-" && label.last != "-"
                        && label.allSatisfy { $0.isASCII && ($0.isLetter || $0.isNumber || $0 == "-") }
                }
        }
        /// `[192.0.2.1]`, `[IPv6:2001:db8::1]`
        func isAddress(_ text: String) -> Bool {
            text.hasPrefix("[") && text.hasSuffix("]") && (4...64).contains(text.utf8.count)
                && text.dropFirst().dropLast().allSatisfy { $0.isASCII && ($0.isHexDigit || ".:IPv".contains($0)) }
        }
        if let given = reader.text("SMTP_HELO_NAME") {
            guard isName(given) || isAddress(given) else {
                throw StartupError("SMTP_HELO_NAME: '\(given)' is no such name as mail.example.com, and no such address as [192.0.2.1].")
            }
            return given
        }
        let host = reader.text("PUBLIC_URL").flatMap { URL(string: $0)?.host }
        // A name with letters at its end: an address would have to be written otherwise.
        if let host, isName(host), host.contains("."), host.split(separator: ".").last?.contains(where: \.isLetter) ?? false { return host }
        let own = ProcessInfo.processInfo.hostName
        return isName(own) ? own : "localhost"
    }

    private static func pipedrive(_ reader: EnvironmentReader) throws -> Pipedrive? {
        let password = reader.text("PIPEDRIVE_WEBHOOK_PASSWORD")
        guard let token = reader.text("PIPEDRIVE_API_TOKEN") else {
            guard password == nil else {
                throw StartupError("PIPEDRIVE_API_TOKEN: not set, but PIPEDRIVE_WEBHOOK_PASSWORD is. Set both, or neither.")
            }
            return nil
        }
        guard token.utf8.allSatisfy({ (0x21...0x7e).contains($0) }) else {
            throw StartupError("PIPEDRIVE_API_TOKEN: has characters that no token has.")
        }
        var client = PipedriveClient.Configuration(token: token)
        if let url = reader.text("PIPEDRIVE_API_URL"), !client.setURL(url) {
            throw StartupError("PIPEDRIVE_API_URL: '\(url)' is not such a URL as \(client.baseURL).")
        }
        return Pipedrive(client: client, webhook: password.map { (reader.text("PIPEDRIVE_WEBHOOK_USER") ?? "plantao", $0) })
    }

    private static func whatsapp(_ reader: EnvironmentReader) throws -> WhatsApp? {
        switch (reader.text("WHATSAPP_API_TOKEN"), reader.text("WHATSAPP_PHONE_NUMBER_ID")) {
        case (nil, nil): return nil
        case (_?, nil):
            throw StartupError("WHATSAPP_PHONE_NUMBER_ID: not set, but WHATSAPP_API_TOKEN is. Set both for WhatsApp, or neither for the simulator.")
        case (nil, _?):
            throw StartupError("WHATSAPP_API_TOKEN: not set, but WHATSAPP_PHONE_NUMBER_ID is. Set both for WhatsApp, or neither for the simulator.")
        case (let token?, let number?):
            let client: WhatsAppCloudClient.Configuration
            if let url = reader.text("WHATSAPP_API_URL") {
                guard let read = WhatsAppCloudClient.Configuration(apiURL: url) else {
                    throw StartupError("WHATSAPP_API_URL: '\(url)' is not such a URL as https://graph.facebook.com/v23.0.")
                }
                client = read
            } else {
                client = WhatsAppCloudClient.Configuration()
            }
            return WhatsApp(client: client, token: token, phoneNumberID: number, businessAccountID: reader.text("WHATSAPP_BUSINESS_ACCOUNT_ID"))
        }
    }
}

/// Reads environment variables, and says what is wrong with them. An empty one counts as unset.
struct EnvironmentReader {
    private let environment: [String: String]

    init(_ environment: [String: String]) { self.environment = environment }

    func text(_ name: String) -> String? {
        guard let value = environment[name]?.trimmingCharacters(in: .whitespaces), !value.isEmpty else { return nil }
        return value
    }

    func integer(_ name: String, default value: Int, in range: ClosedRange<Int>) throws -> Int {
        guard let text = text(name) else { return value }
        guard let number = Int(text), range.contains(number) else {
            throw StartupError("\(name): '\(text)' is not allowed; a whole number from \(range.lowerBound) to \(range.upperBound) is.")
        }
        return number
    }

    func choice(_ name: String, default value: String, among choices: [String]) throws -> String {
        guard let text = text(name)?.lowercased() else { return value }
        guard choices.contains(text) else { throw StartupError("\(name): '\(text)' is not allowed; one of \(choices.joined(separator: ", ")) is.") }
        return text
    }

    /// `142=CS | ONGOING,143=Churns & Cancelamentos`: what numbers stand for.
    func names(_ name: String) throws -> [String: String] {
        var names: [String: String] = [:]
        for pair in try list(name) ?? [] {
            let parts = pair.split(separator: "=", maxSplits: 1)
            guard parts.count == 2, Int64(parts[0].trimmingCharacters(in: .whitespaces)) != nil else {
                throw StartupError("\(name): '\(pair)' is not allowed; write number=name,number=name.")
            }
            names[parts[0].trimmingCharacters(in: .whitespaces)] = parts[1].trimmingCharacters(in: .whitespaces)
        }
        return names
    }

    /// `["a", "b"]`, as the contracts write lists, or `a,b`.
    func list(_ name: String) throws -> [String]? {
        guard let text = text(name) else { return nil }
        guard text.hasPrefix("[") else { return text.split(separator: ",").map { $0.trimmingCharacters(in: .whitespaces) } }
        guard let list = try? JSONDecoder().decode([String].self, from: Data(text.utf8)) else {
            throw StartupError(
                "\(name): '\(text)' is not a list; write [\"https://a.example\", \"https://b.example\"] or https://a.example,https://b.example."
            )
        }
        return list
    }
}
