import ArgumentParser
import AsyncHTTPClient
import Foundation
import Integrations
import Kernel
import Logging
import NIOPosix
import RedisBus
import Storage
import StoragePostgres

struct Doctor: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Look at everything the server depends on, and say what to do.",
        discussion: "Changes nothing, and may run beside a server. Exit code 1 when something would keep the server from working."
    )

    func run() async throws {
        var report = Report()
        let environment = ProcessInfo.processInfo.environment
        let settings: Settings
        do {
            settings = try Settings(environment: environment)
            report.ok("configuration", settings.isProduction ? "production" : "development")
        } catch let error as StartupError {
            report.bad("configuration", error.description)
            report.end()
            throw ExitCode(1)
        }
        checkSecrets(settings, &report)
        checkDirectory(settings, &report)
        if let database = settings.database { await checkDatabase(database, settings, &report) } else { checkEmbedded(settings, &report) }
        await checkRedis(settings, &report)
        checkLimits(&report)
        await checkWhatsApp(settings, &report)
        await checkPipedrive(settings, &report)
        await checkMail(settings, &report)
        report.end()
        if report.isBad { throw ExitCode(1) }
    }

    /// One line for each finding: `ok`, `warn` or `FAIL`, what was looked at, what was found and what to do.
    struct Report {
        private(set) var isBad = false
        private var warnings = 0
        private var failures = 0

        func ok(_ what: String, _ text: String) { line("ok  ", what, text) }
        mutating func warn(_ what: String, _ text: String) {
            warnings += 1
            line("warn", what, text)
        }
        mutating func bad(_ what: String, _ text: String) {
            isBad = true
            failures += 1
            line("FAIL", what, text)
        }
        private func line(_ mark: String, _ what: String, _ text: String) {
            print("\(mark)  \(what.padding(toLength: 14, withPad: " ", startingAt: 0))  \(text)")
        }
        func end() {
            switch (failures, warnings) {
            case (0, 0): print("all is well")
            case (0, _): print("the server can run; \(warnings) to look at")
            default: print("\(failures) to mend, \(warnings) to look at")
            }
        }
    }

    // MARK: Configuration

    private func checkSecrets(_ settings: Settings, _ report: inout Report) {
        if settings.secretKey == nil {
            report.warn("SECRET_KEY", "not set; one is kept in \(settings.dataDirectory)/secret.key. Set it in production: openssl rand -hex 32")
        }
        if settings.apiKey == nil { report.ok("api-key", "AUTHENTICATION_API_KEY is not set: the consultores endpoints take tokens only") }
        if settings.whatsapp != nil, settings.whatsappAppSecret == nil {
            report.bad("webhook", "WHATSAPP_APP_SECRET is not set: no delivery is taken. Copy the app secret from Meta's app settings.")
        }
        if settings.whatsapp != nil, settings.whatsappVerifyToken == nil {
            report.warn("webhook", "WHATSAPP_VERIFY_TOKEN is not set: Meta cannot verify the webhook's address.")
        }
    }

    // MARK: The disk

    private func checkDirectory(_ settings: Settings, _ report: inout Report) {
        let directory = settings.dataDirectory
        var isDirectory: ObjCBool = false
        guard FileManager.default.fileExists(atPath: directory, isDirectory: &isDirectory) else {
            return report.ok("directory", "'\(directory)' does not exist yet; the first start makes it")
        }
        guard isDirectory.boolValue, access(directory, R_OK | W_OK | X_OK) == 0 else {
            return report.bad("directory", "PLANTAO_DATA: this user cannot write '\(directory)'. Name another one, or give it to this user.")
        }
        report.ok("directory", directory)
        var disk = statvfs()
        if statvfs(directory, &disk) == 0 {
            let free = UInt64(disk.f_bavail) * UInt64(disk.f_frsize)
            let text = "\(free >> 20) MB free"
            if free < 256 << 20 {
                report.bad("disk", "\(text): commands are refused once it is full. Free some space.")
            } else if free < 2 << 30 {
                report.warn("disk", "\(text): plan for more before it is full.")
            } else {
                report.ok("disk", text)
            }
        }
        if let took = Self.syncTime(directory) {
            let text = String(format: "a write is safe on the disk after %.1f ms", took * 1000)
            if took > 0.05 {
                report.warn("fsync", "\(text); every commit waits for that. Use a faster disk for PLANTAO_DATA.")
            } else {
                report.ok("fsync", text)
            }
        }
    }

    /// Seconds that one small write with `fsync` takes, the middle of nine.
    private static func syncTime(_ directory: String) -> Double? {
        let path = directory + "/doctor-\(getpid()).tmp"
        let file = open(path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0o600)
        guard file >= 0 else { return nil }
        defer {
            close(file)
            unlink(path)
        }
        let block = [UInt8](repeating: 7, count: 4096)
        let clock = ContinuousClock()
        let times = (0..<9).compactMap { _ -> Duration? in
            let start = clock.now
            guard write(file, block, block.count) == block.count, fsync(file) == 0 else { return nil }
            return clock.now - start
        }.sorted()
        return times.isEmpty ? nil : Double(times[times.count / 2].components.attoseconds) / 1e18 + Double(times[times.count / 2].components.seconds)
    }

    // MARK: Stores

    private func checkEmbedded(_ settings: Settings, _ report: inout Report) {
        report.ok("store", "embedded (SQLite); set DATABASE_URL for Postgres")
        do {
            report.schema(try SQLiteStore.schemaStatus(directory: settings.dataDirectory, schema: Server.schema))
            let damage = try SQLiteStore.damage(directory: settings.dataDirectory)
            if !damage.isEmpty { report.bad("store", "the file is damaged (\(damage[0])). Stop the server and restore a backup.") }
        } catch { report.bad("store", "\(error)") }
        do {
            if let journal = try WriteBehindStore.summary(of: settings.dataDirectory), journal.storeID != nil {
                report.bad(
                    "journal",
                    "belongs to a database, owes it \(journal.owedRows) changed rows, and DATABASE_URL is not set. Set it as it was."
                )
            }
        } catch { report.bad("journal", "\(error)") }
    }

    private func checkDatabase(_ database: PostgresConfiguration, _ settings: Settings, _ report: inout Report) async {
        var database = database
        database.patience = .zero
        do {
            let found = try await PostgresDatabase.inspect(database, schema: Server.schema)
            report.ok(
                "store",
                "\(database.redacted): \(found.serverVersion), a round trip takes \(found.roundTrip.inMilliseconds) ms\(found.isEncrypted ? ", encrypted" : "")"
            )
            report.schema(found.schema)
            report.clock("database", skew: found.clockSkew)
            if !found.isEncrypted, !found.isLocal { report.warn("store", "the connection is not encrypted. Add sslmode=require to DATABASE_URL.") }
            if found.isWriterPresent { report.ok("writer", "a server is writing to it") }
            if !found.isSynchronous {
                report.warn(
                    "store",
                    "fsync is off: a crash of the database's machine can take what it has confirmed, after the journal let go of it. Turn it on."
                )
            }
        } catch { report.bad("store", "\(error)") }
        let directory = settings.dataDirectory
        do {
            let journal = try WriteBehindStore.summary(of: directory)
            let (owed, quarantined) = (journal?.owedRows ?? 0, journal?.quarantinedRows ?? 0)
            if owed > 10_000 {
                report.warn("journal", "owes the database \(owed) changed rows. If no server runs, start one; otherwise look at GET /api/v1/storage.")
            } else {
                report.ok("journal", "owes the database \(owed) changed rows")
            }
            if quarantined > 0 {
                report.warn(
                    "quarantine",
                    "\(quarantined) rows that the database would not take. GET /api/v1/storage says why; POST /api/v1/storage/retry tries again."
                )
            }
        } catch { report.bad("journal", "\(error)") }
        if FileManager.default.fileExists(atPath: SQLiteStore.path(in: directory)) {
            report.warn(
                "store",
                "PLANTAO_DATA also holds an embedded store, which is not used. Bring its tenants over with plantao export and import, then move it away."
            )
        }
    }

    // MARK: Redis

    private func checkRedis(_ settings: Settings, _ report: inout Report) async {
        guard let redis = settings.redis else { return report.ok("redis", "REDIS_URL is not set: jobs and pushes stay in the process") }
        do {
            let found = try await RedisInspection.inspect(redis)
            report.ok("redis", "\(redis.redacted): version \(found.version), a round trip takes \(found.roundTrip.inMilliseconds) ms")
            report.clock("redis", skew: found.clockSkew)
            if found.version.compare("6.2", options: .numeric) == .orderedAscending {
                report.bad("redis", "version \(found.version) is too old: XAUTOCLAIM came with 6.2.")
            }
            if found.evicts {
                report.warn(
                    "redis",
                    "maxmemory-policy is \(found.evictionPolicy): jobs on their way may be thrown out (they are found again, later). Use noeviction."
                )
            }
        } catch { report.bad("redis", "\(error). The server runs without it, in one process; check REDIS_URL.") }
    }

    // MARK: The rest

    private func checkLimits(_ report: inout Report) {
        var limit = rlimit()
        if getrlimit(__rlimit_resource_t(RLIMIT_NOFILE.rawValue), &limit) == 0 {
            let text = "\(limit.rlim_cur) files and sockets may be open"
            if limit.rlim_cur < 4096 {
                report.warn("limits", "\(text): that many agents and clients can connect. Raise it: ulimit -n 65536.")
            } else {
                report.ok("limits", text)
            }
        }
        let year = Calendar(identifier: .gregorian).component(.year, from: Date())
        if year < 2025 { report.bad("clock", "this machine believes it is \(year). Set the clock, and keep it set (chrony, systemd-timesyncd).") }
    }

    private func checkWhatsApp(_ settings: Settings, _ report: inout Report) async {
        guard let whatsapp = settings.whatsapp else {
            return report.ok("whatsapp", "simulated; set WHATSAPP_API_TOKEN and WHATSAPP_PHONE_NUMBER_ID for the Cloud API")
        }
        let http = HTTPClient(eventLoopGroup: MultiThreadedEventLoopGroup.singleton, configuration: WhatsAppCloudClient.httpConfiguration)
        let client = WhatsAppCloudClient(http: http, configuration: whatsapp.client)
        switch await client.check(WhatsAppCredentials(phoneNumberID: whatsapp.phoneNumberID, accessToken: whatsapp.token)) {
        case .ok(let number): report.ok("whatsapp", "number \(number)")
        case .refused(let reason): report.bad("whatsapp", "\(reason). Check WHATSAPP_API_TOKEN and WHATSAPP_PHONE_NUMBER_ID.")
        case .unreachable(let reason):
            report.bad("whatsapp", "\(whatsapp.client.baseURL) cannot be reached (\(reason)). Messages wait in the outbox meanwhile.")
        }
        try? await http.shutdown()
    }
}

extension Doctor {
    fileprivate func checkPipedrive(_ settings: Settings, _ report: inout Report) async {
        guard let pipedrive = settings.pipedrive else { return report.ok("pipedrive", "off; set PIPEDRIVE_API_TOKEN to tell it of hand-offs") }
        let http = HTTPClient(eventLoopGroup: MultiThreadedEventLoopGroup.singleton, configuration: WhatsAppCloudClient.httpConfiguration)
        do throws(PipedriveFault) {
            let user = try await PipedriveClient(http: http, configuration: pipedrive.client, pace: {}).me()
            report.ok("pipedrive", "as user \(user), webhook \(pipedrive.webhook == nil ? "closed" : "open")")
        } catch {
            switch error {
            case .unauthorized, .forbidden: report.bad("pipedrive", "the token is refused. Check PIPEDRIVE_API_TOKEN.")
            case .throttled: report.ok("pipedrive", "there, and busy")
            case .missing, .rejected: report.bad("pipedrive", "\(pipedrive.client.baseURL) is no Pipedrive. Check PIPEDRIVE_API_URL.")
            case .unavailable(let reason):
                report.bad("pipedrive", "\(pipedrive.client.baseURL) cannot be reached (\(reason)). Hand-offs wait meanwhile.")
            }
        }
        try? await http.shutdown()
    }
}

extension Doctor {
    fileprivate func checkMail(_ settings: Settings, _ report: inout Report) async {
        guard let mail = settings.mail else { return report.ok("email", "simulated; set SMTP_SERVER and FROM_EMAIL to send e-mails") }
        let place = "\(mail.client.host):\(mail.client.port)"
        guard let client = try? SMTPClient(mail.client, group: MultiThreadedEventLoopGroup.singleton) else {
            return report.bad("email", "the certificates that are to be trusted cannot be read. Check SMTP_CA_FILE.")
        }
        switch await client.check() {
        case .sent, .withdrawn: report.ok("email", "\(place), from \(mail.from)")
        case .unavailable(nil, let reason), .failed(nil, let reason):
            report.bad("email", "\(place): \(reason). Check SMTP_SERVER, SMTP_PORT and SMTP_TLS. E-mails wait meanwhile.")
        case .unavailable(_?, let reason), .failed(_?, let reason), .refused(_, let reason), .unknown(let reason):
            report.bad("email", "\(place): \(reason). Check SMTP_USERNAME and SMTP_PASSWORD. E-mails wait meanwhile.")
        }
    }
}

extension Doctor.Report {
    fileprivate mutating func schema(_ status: SchemaStatus) {
        if status.isNewer {
            bad("schema", "version \(status.present ?? 0), and this program knows up to \(status.wanted). Start the newer program.")
        } else if !status.drift.isEmpty {
            bad("schema", "altered by hand: \(status.drift.joined(separator: "; ")). Put it back as it was.")
        } else if status.present == nil {
            ok("schema", "no tables yet; the first start makes them")
        } else if !status.pending.isEmpty {
            ok("schema", "version \(status.present ?? 0) of \(status.wanted); the next start brings it up to date, or plantao migrate")
        } else {
            ok("schema", "version \(status.wanted)")
        }
    }

    fileprivate mutating func clock(_ whose: String, skew: Duration) {
        let seconds = Double(skew.inMilliseconds) / 1000
        if abs(seconds) > 2 {
            bad(
                "clock",
                String(format: "this machine and the %@'s differ by %.1f seconds. Keep both set (chrony, systemd-timesyncd).", whose, seconds)
            )
        } else {
            ok("clock", "agrees with the \(whose)'s")
        }
    }
}
