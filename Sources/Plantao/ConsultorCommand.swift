import ArgumentParser
import AsyncHTTPClient
import Consultores
import Conversations
import Foundation
import HTTPAPI
import Identity
import Kernel
import Logging
import NIOCore
import NIOHTTP1
import NIOPosix
import Realtime
import Storage
import Tenancy
import Wire

struct ConsultorCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "consultor",
        abstract: "Consultores, from the command line.",
        subcommands: [ImportConsultores.self]
    )
}

struct ImportConsultores: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "import",
        abstract: "Bring consultores in from a CSV file.",
        discussion: """
            The first line names the columns: nome and idiomas, and any of status_ativo, status_ativo_sequencial, status_online, capacity, id_pipedrive, \
            email (of the user they log in as), id and ultimo_atendimento (what they had in another system). Languages are written pt;en. Who is here \
            already, by id, id_pipedrive, email or name, is brought up to date; run it again whenever you like. Lines that are wrong are reported and \
            left out, and make the exit code 1.

            With --url, through a server that is running; otherwise on the store that the environment names (DATABASE_URL, PLANTAO_DATA), while none is.
            """
    )

    @Argument(help: "The file; - for standard input.")
    var file: String
    @Option(help: "A running server, such as http://127.0.0.1:8080.")
    var url: String?
    @Option(help: "With --url: an api-key that may write consultores. AUTHENTICATION_API_KEY, unless told.")
    var apiKey: String?
    @Option(help: "Without --url: the tenant's id or slug. May be left out when there is only one.")
    var tenant: String?

    private static let maxBytes = 32 << 20
    private static let batch = 100

    func run() async throws {
        try await StartupError.reported {
            let list = try read()
            var tally = Tally()
            if let url {
                try await Self.through(url, key: try key(), list, &tally)
            } else {
                try await onStore(list, &tally)
            }
            Transfer.say("\(list.lines.count) lines: \(tally.description)", isLast: true)
            if tally.refused > 0 { throw ExitCode(1) }
        }
    }

    private func key() throws -> String {
        guard let key = apiKey ?? EnvironmentReader(ProcessInfo.processInfo.environment).text("AUTHENTICATION_API_KEY") else {
            throw StartupError("--api-key is needed with --url, or AUTHENTICATION_API_KEY.")
        }
        return key
    }

    private func read() throws -> ConsultorList {
        let handle = file == "-" ? FileHandle.standardInput : FileHandle(forReadingAtPath: file)
        guard let data = try? handle?.read(upToCount: Self.maxBytes + 1) ?? (handle == nil ? nil : Data()) else {
            throw StartupError("'\(file)' cannot be read.")
        }
        guard data.count <= Self.maxBytes else { throw StartupError("'\(file)' is larger than \(Self.maxBytes >> 20) MB.") }
        guard let text = String(validating: data, as: UTF8.self) else { throw StartupError("'\(file)' is not UTF-8; save it as CSV UTF-8.") }
        do { return try ConsultorList(text) } catch { throw StartupError("'\(file)': \(error). Nothing was changed.") }
    }

    // MARK: The lines, in order, a hundred at a time

    private struct Tally {
        var (created, updated, unchanged, refused) = (0, 0, 0, 0)
        var done: Int { created + updated + unchanged + refused }
        var description: String { "\(created) created, \(updated) updated, \(unchanged) unchanged, \(refused) refused" }

        mutating func refuse(_ line: Int, _ reasons: [String]) {
            refused += 1
            Transfer.say("", isLast: false)
            print("line \(line): \(reasons.joined(separator: "; "))")
        }
    }

    /// - Parameter bring: gives back an answer for each line, as `POST /consultores/import` does.
    private static func bring(_ list: ConsultorList, _ tally: inout Tally, _ bring: ([JSON]) async throws -> [JSON]) async throws {
        for start in stride(from: 0, to: list.lines.count, by: batch) {
            let lines = list.lines[start..<min(start + batch, list.lines.count)]
            var right: [(line: Int, json: JSON)] = []
            for line in lines {
                switch line.content {
                case .success(let json): right.append((line.number, json))
                case .failure(let refused): tally.refuse(line.number, refused.reasons)
                }
            }
            let answers = right.isEmpty ? [] : try await bring(right.map(\.json))
            guard answers.count == right.count else { throw StartupError("the server answered \(answers.count) of \(right.count) lines.") }
            for (line, answer) in zip(right, answers) {
                switch answer["outcome"]?.string {
                case "created": tally.created += 1
                case "updated": tally.updated += 1
                case "unchanged": tally.unchanged += 1
                default:
                    tally.refuse(
                        line.line,
                        (answer["errors"]?.array ?? []).map { error in
                            let place = (error["loc"]?.array ?? []).compactMap(\.string).dropFirst().joined(separator: ".")
                            return (place.isEmpty ? "" : place + ": ") + (error["msg"]?.string ?? "")
                        }
                    )
                }
            }
            Transfer.say("\(tally.done) of \(list.lines.count) lines")
        }
    }

    private static func through(_ url: String, key: String, _ list: ConsultorList, _ tally: inout Tally) async throws {
        let http = HTTPClient(eventLoopGroupProvider: .singleton)
        do {
            try await bring(list, &tally) { lines in
                for attempt in 1... {
                    var request = HTTPClientRequest(url: (url.hasSuffix("/") ? String(url.dropLast()) : url) + "/consultores/import")
                    request.method = .POST
                    request.headers.add(name: "api-key", value: key)
                    request.headers.add(name: "content-type", value: "application/json")
                    request.body = .bytes(ByteBuffer(bytes: JSON.array(lines).bytes))
                    let status: UInt
                    let bytes: [UInt8]
                    let wait: Int64
                    do {
                        let response = try await http.execute(request, timeout: .seconds(60))
                        status = response.status.code
                        wait = response.headers.first(name: "retry-after").flatMap { Int64($0) } ?? 1
                        bytes = Array(try await response.body.collect(upTo: 4 << 20).readableBytesView)
                    } catch {
                        throw StartupError("\(url) does not answer (\((error as? HTTPClientError)?.shortDescription ?? "\(type(of: error))")).")
                    }
                    let json = try? JSON.parse(bytes)
                    if status == 200, let items = json?["items"]?.array { return items }
                    // What was brought in before is known by then: the same lines again do no harm.
                    if status == 429 || status == 503, attempt < 10 {
                        try await Task.sleep(for: .seconds(min(wait, 30)))
                        continue
                    }
                    throw StartupError(
                        "\(url) answered \(status): \(json?["detail"]?.string ?? "no reason given"). Run it again once that is mended."
                    )
                }
                return []
            }
        } catch {
            try? await http.shutdown()
            throw error
        }
        try await http.shutdown()
    }

    /// With live state of its own, and the same decisions as a server's.
    private func onStore(_ list: ConsultorList, _ tally: inout Tally) async throws {
        let settings = try Settings(environment: ProcessInfo.processInfo.environment)
        var result = tally
        try await Transfer.withStore { store in
            let id = try await Transfer.tenant(tenant, in: store)
            let environment = Kernel.Environment.system
            let logger = Logger(label: "plantao")
            let gate = Gate(journal: store, outlet: Silence(), logger: logger, activationEnded: { _ in })
            let directory = Directory(
                store: store,
                gate: gate,
                environment: environment,
                hasher: PasswordHasher(rounds: settings.bcryptRounds),
                tokens: try await TokenIssuer(secret: "none is signed", accessMinutes: 1, environment: environment)
            )
            try await directory.load()
            let tenants = Tenants(
                .init(gate: gate, store: store, environment: environment, alarms: AlarmClock(), settings: .init()),
                logger: logger,
                isWatched: { _ in true },
                flow: { id in await directory.tenant(id).map { .standard(businessName: $0.name) } }
            )
            let operations = Operations(
                tenants: tenants,
                gate: gate,
                store: store,
                hub: StreamHub(loops: [], environment: environment),
                environment: environment
            )
            let door = ConsultorImport(operations: operations, directory: directory)
            try await Self.bring(list, &result) { lines in try await door.bring(lines, into: id).map(\.json) }
            await gate.stop()
        }
        tally = result
    }
}

/// Nobody listens while no server runs.
private struct Silence: Outlet {
    func publish(_ events: [Event], tenant: TenantID) {}
    func runnable(_ jobs: [Job]) {}
    func batchReleased() {}
}
