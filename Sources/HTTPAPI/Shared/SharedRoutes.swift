import Hummingbird
import Kernel
import Realtime
import Storage
import Tenancy
import Wire

extension API {
    /// `/`, `/health` and `/info`, which all contracts call.
    func addShared(to router: Router<APIContext>) {
        router.get("/") { _, _ -> Response in
            .json {
                $0.field("message", "Plantão")
                $0.field("status", "running")
                $0.field("version", settings.version)
            }
        }

        // Healthy means: a change would get through, and the store answers. With a database that is away it is `degraded`, and still 200: agents go on
        // working, and taking the server out of service would stop them.
        router.get("/health") { _, _ -> Response in
            var problem: Refusal?
            var isDegraded = false
            do throws(Refusal) {
                try operations.gate.admit()
                if let owed = store.status.writeBehind {
                    isDegraded = owed.remote.breaker != "closed" || owed.lag > .seconds(10)
                } else {
                    _ = try await store.rows(Query("SELECT 1", kinds: [.integer]))
                }
            } catch { problem = error }
            return .json(status: problem == nil ? .ok : .serviceUnavailable) {
                $0.field("status", problem != nil ? "unhealthy" : isDegraded ? "degraded" : "healthy")
                if let problem { $0.field("detail", problem.message) }
                if isDegraded { $0.field("detail", "O banco de dados está fora do ar ou atrasado; o diário local guarda as alterações.") }
                $0.field("version", settings.version)
                $0.field("timestamp", environment.now().description)
            }
        }

        router.get("/info") { _, _ -> Response in
            let gate = operations.gate.counters
            let hub = operations.hub.counters
            return .json {
                $0.field("name", "Plantão")
                $0.field("version", settings.version)
                $0.field("whatsapp", settings.isSimulated ? "simulator" : "cloud_api")
                $0.field("store", store.status.kind.rawValue)
                $0.field("tenants_awake", operations.tenants.awakeCount)
                $0.field(
                    "gate",
                    object: {
                        $0.field("commits", gate.commits)
                        $0.field("changes", gate.changes)
                        $0.field("failed_commits", gate.failedCommits)
                        $0.field("refused_changes", gate.refusedChanges)
                        $0.field("pending", gate.pending)
                        $0.field("largest_batch", gate.largestBatch)
                    }
                )
                $0.field(
                    "realtime",
                    object: {
                        $0.field("streams", hub.streams)
                        $0.field("connections", hub.connections)
                    }
                )
                if let relay = settings.relay?() {
                    $0.field(
                        "redis",
                        object: {
                            $0.field("connected", relay.isConnected)
                            $0.field("breaker", relay.breaker)
                            $0.field("relayed", relay.relayed)
                            $0.field("dropped", relay.dropped)
                        }
                    )
                }
            }
        }

        router.get("/connection/websocket") { _, _ -> Response in
            throw Refusal(.malformed, "websocket_expected", "Este endereço só fala WebSocket (protocolo Centrifuge v2).")
        }
    }
}
