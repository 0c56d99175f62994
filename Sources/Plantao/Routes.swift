import ArgumentParser
import Conversations
import Foundation
import HTTPAPI
import HTTPTypes
import Hummingbird
import Identity
import Kernel
import Logging
import Realtime
import Storage
import Tenancy
import Wire

/// What can be called, as the program itself has it: the routes of the router that `serve` builds under the same settings, the RPC methods and the channels.
struct Routes: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "List every route, RPC method and channel that the server answers to.",
        discussion:
            "Under the settings of the environment, as with serve: some routes are there only with some of them. Starts nothing and writes nothing."
    )

    @Flag(help: "As JSON: {routes: [{method, path}], rpc: [method], channels: [name]}.")
    var json = false

    func run() async throws {
        try await StartupError.reported {
            let settings = try Settings(environment: ProcessInfo.processInfo.environment)
            let routes = try await Self.routes(settings)
            let methods = Operations.methods.sorted()
            let channels = TenantCell.Channel.templates.sorted()
            if json {
                var writer = JSONWriter()
                writer.object {
                    $0.list("routes") { list in
                        for route in routes {
                            list.object {
                                $0.field("method", route.method)
                                $0.field("path", route.path)
                            }
                        }
                    }
                    $0.field("rpc", strings: methods)
                    $0.field("channels", strings: channels)
                }
                print(String(decoding: writer.bytes, as: UTF8.self))
            } else {
                for route in routes { print(route.method.padding(toLength: 8, withPad: " ", startingAt: 0) + route.path) }
                for method in methods { print("RPC     \(method)") }
                for channel in channels { print("CHANNEL \(channel)") }
            }
        }
    }

    /// The router over a store that is empty and goes away again: a route is there or not whatever the store holds.
    private static func routes(_ settings: Settings) async throws -> [(method: String, path: String)] {
        let directory = FileManager.default.temporaryDirectory.appendingPathComponent("plantao-routes-\(UUID().uuidString)").path
        try FileManager.default.createDirectory(atPath: directory, withIntermediateDirectories: false)
        defer { try? FileManager.default.removeItem(atPath: directory) }
        let store = try SQLiteStore(directory: directory, schema: Server.schema)
        let environment = Kernel.Environment.system
        let logger = Logger(label: "plantao") { _ in SwiftLogNoOpLogHandler() }
        let gate = Gate(journal: store, outlet: Nowhere(), logger: logger, activationEnded: { _ in })
        let api = API(
            operations: Operations(
                tenants: Tenants(
                    .init(gate: gate, store: store, environment: environment, alarms: AlarmClock(), settings: .init()),
                    logger: logger,
                    isWatched: { _ in false },
                    flow: { _ in nil }
                ),
                gate: gate,
                store: store,
                hub: StreamHub(loops: [], environment: environment),
                environment: environment
            ),
            directory: Directory(
                store: store,
                gate: gate,
                environment: environment,
                hasher: PasswordHasher(rounds: settings.bcryptRounds),
                tokens: try await TokenIssuer(secret: "none is signed", accessMinutes: 1, environment: environment)
            ),
            store: store,
            door: Nowhere(),
            settings: Server.apiSettings(settings),
            environment: environment
        )
        let routes = api.router().routes.map { (method: $0.method.rawValue, path: $0.path.description) }
        await gate.stop()
        store.close()
        return routes.sorted { ($0.path, $0.method) < ($1.path, $1.method) }
    }
}

/// Nothing is served while routes are listed.
private struct Nowhere: Outlet, RealtimeDoor {
    func publish(_ events: [Event], tenant: TenantID) {}
    func runnable(_ jobs: [Job]) {}
    func batchReleased() {}
    func open(_ commands: [UInt8], as encoding: StreamEncoding, lastEventID: String?) throws(Refusal) -> StreamBody { throw .stopping }
    func follow(_ request: FollowRequest) async throws(Refusal) -> StreamBody { throw .stopping }
    func emulate(session: String, _ commands: [UInt8]) async -> Bool { false }
    func poll(_ request: PollRequest, by principal: Principal) async throws(Refusal) -> [UInt8] { throw .stopping }
    var admitted: Admission.Counters { Admission().counters }
}
