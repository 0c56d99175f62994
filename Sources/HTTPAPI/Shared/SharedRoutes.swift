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

        // Healthy means: the gate takes changes in, and the store answers.
        router.get("/health") { _, _ -> Response in
            var problem: Refusal?
            do throws(Refusal) {
                try operations.gate.admit()
                _ = try await operations.store.rows(Query("SELECT 1", kinds: [.integer]))
            } catch { problem = error }
            return .json(status: problem == nil ? .ok : .serviceUnavailable) {
                $0.field("status", problem == nil ? "healthy" : "unhealthy")
                if let problem { $0.field("detail", problem.message) }
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
                $0.field("store", "sqlite")
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
            }
        }

        router.get("/connection/websocket") { _, _ -> Response in
            throw Refusal(.malformed, "websocket_expected", "Este endereço só fala WebSocket (protocolo Centrifuge v2).")
        }
    }
}
