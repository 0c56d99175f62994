import ArgumentParser
import AsyncHTTPClient
import Foundation
import Identity
import Kernel
import Logging
import NIOCore
import NIOHTTP1
import Plans
import Storage
import Wire

struct PlanCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "plan",
        abstract: "Plans of businesses, from the command line.",
        subcommands: [SetPlan.self, ListPlans.self]
    )
}

struct SetPlan: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "set",
        abstract: "Put a business on another plan.",
        discussion: """
            With --url, through a server that is running, as the owner of its first business (--email, --password, or ADMIN_EMAIL and ADMIN_PASSWORD); \
            otherwise on the store that the environment names (DATABASE_URL, PLANTAO_DATA), while none is.
            """
    )

    @Argument(help: "The business, by its name in public addresses.")
    var slug: String
    @Argument(help: "free, starter, pro or enterprise.")
    var plan: String
    @Option(help: "A running server, such as http://127.0.0.1:8080.")
    var url: String?
    @Option(help: "With --url: who logs in. ADMIN_EMAIL, unless told.")
    var email: String?
    @Option(help: "With --url: their password. ADMIN_PASSWORD, unless told.")
    var password: String?

    func run() async throws {
        try await StartupError.reported {
            guard let wanted = PlanType(plan) else {
                throw StartupError("'\(plan)' is no plan; one of \(PlanType.allCases.map(\.rawValue).joined(separator: ", ")) is.")
            }
            if let url { return print(try await through(url, wanted)) }
            let settings = try Settings(environment: ProcessInfo.processInfo.environment)
            try await PlanStore.with(settings) { directory in
                guard let tenant = directory.tenant(slug: slug) else {
                    throw StartupError("there is no business '\(slug)'; see plantao plan list.")
                }
                do {
                    let (_, former, _) = try await directory.changePlan(of: tenant.id, to: wanted, by: nil)
                    print("\(slug): \(former.rawValue) -> \(wanted.rawValue)")
                } catch { throw StartupError("the plan was not changed: \(error)") }
            }
        }
    }

    private func through(_ url: String, _ wanted: PlanType) async throws -> String {
        let reader = EnvironmentReader(ProcessInfo.processInfo.environment)
        guard let email = email ?? reader.text("ADMIN_EMAIL"), let password = password ?? reader.text("ADMIN_PASSWORD") else {
            throw StartupError("--email and --password are needed with --url, or ADMIN_EMAIL and ADMIN_PASSWORD.")
        }
        func call(_ method: String, _ path: String, _ token: String?, _ body: JSON) async throws -> JSON {
            var request = HTTPClientRequest(url: url + path)
            request.method = .init(rawValue: method)
            request.headers.add(name: "content-type", value: "application/json")
            if let token { request.headers.add(name: "authorization", value: "Bearer \(token)") }
            request.body = .bytes(body.bytes)
            let (status, bytes): (UInt, ByteBuffer)
            do {
                let response = try await HTTPClient.shared.execute(request, timeout: .seconds(30))
                (status, bytes) = (response.status.code, try await response.body.collect(upTo: 1 << 20))
            } catch { throw StartupError("\(url) does not answer (\(error)).") }
            let json = (try? JSON.parse(Array(bytes.readableBytesView))) ?? .null
            guard status < 300 else { throw StartupError("\(url)\(path) answered \(status): \(json["detail"]?.string ?? json.text)") }
            return json
        }
        let login = try await call("POST", "/api/v1/auth/login", nil, ["email": .string(email), "password": .string(password)])
        let name = slug.addingPercentEncoding(withAllowedCharacters: .urlPathAllowed) ?? slug
        let answer = try await call("PUT", "/api/v1/plans/\(name)", login["access_token"]?.string, ["plan_type": .string(wanted.rawValue)])
        return "\(slug): \(answer["previous_plan_type"]?.string ?? "?") -> \(answer["plan_type"]?.string ?? "?")"
    }
}

struct ListPlans: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "list",
        abstract: "Every business with its plan, on the store that the environment names, while no server runs on it."
    )

    func run() async throws {
        try await StartupError.reported {
            let settings = try Settings(environment: ProcessInfo.processInfo.environment)
            try await PlanStore.with(settings) { directory in
                for tenant in await directory.tenants { print("\(tenant.slug)\t\(tenant.plan.rawValue)\t\(tenant.name)") }
            }
        }
    }
}

/// The accounts of a store that no server has open.
private enum PlanStore {
    static func with(_ settings: Settings, _ body: (Directory) async throws -> Void) async throws {
        let logger = Logger(label: "plantao")
        let environment = Kernel.Environment.system
        let server = Server(settings: settings, logger: logger)
        let store = try await server.openStore(environment)
        let gate = Gate(journal: store, outlet: NobodyListens(), logger: logger, activationEnded: { _ in })
        let directory = Directory(
            store: store,
            gate: gate,
            environment: environment,
            hasher: PasswordHasher(rounds: settings.bcryptRounds),
            tokens: try await TokenIssuer(secret: "none is signed", accessMinutes: 1, environment: environment)
        )
        do {
            try await directory.load()
            try await body(directory)
        } catch {
            await gate.stop()
            await store.close()
            throw error
        }
        await gate.stop()
        await store.close()
    }
}

private struct NobodyListens: Outlet {
    func publish(_ events: [Event], tenant: TenantID) {}
    func runnable(_ jobs: [Job]) {}
    func batchReleased() {}
}
