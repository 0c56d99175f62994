import Hummingbird
import Kernel
import Realtime
import Resilience
import Storage
import Telemetry
import Tenancy
import Wire

extension API {
    /// `/`, `/health` and `/info`, which all contracts call.
    func addShared(to router: Router<APIContext>) {
        // EcoSys looks for this sentence (contracts/ecosys-ms.md "GET /"); nobody looks for another.
        router.get("/") { _, _ -> Response in
            .json {
                $0.field("message", "API de Gestão de Clientes está no ar!")
                $0.field("name", "Plantão")
                $0.field("status", "running")
                $0.field("version", settings.version)
            }
        }

        // Healthy means: a change gets through, and everything answers. With a database or Redis that is away it is `degraded`, and still 200: agents go on working,
        // and taking the server out of service would stop them.
        router.get("/health") { _, context -> Response in
            let report = await health.report()
            if report.verdict != .healthy { context.notes.note("health", report.verdict.rawValue) }
            return .json(status: report.verdict == .unhealthy ? .serviceUnavailable : .ok) { write(report, to: &$0) }
        }

        router.get("/info") { request, _ -> Response in
            try requireMetricsToken(request)
            let gate = operations.gate.counters
            let hub = operations.hub.counters
            return .json {
                $0.field("name", "Plantão")
                $0.field("version", settings.version)
                $0.field("environment", settings.environmentName)
                $0.field("started_at", settings.startedAt?.description)
                $0.field("uptime_seconds", uptime)
                $0.field("whatsapp", settings.isSimulated ? "simulator" : "cloud_api")
                $0.field("email", settings.email)
                $0.field("gemini", operations.tenants.breakers?.isUsed(.gemini) == true ? "configured" : "off")
                $0.field("pipedrive", settings.pipedrive == nil ? "off" : "configured")
                $0.field("tracing", operations.telemetry.tracer == nil ? "off" : "otlp")
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
                        $0.field("publications", hub.published)
                        $0.field("deliveries", hub.delivered)
                    }
                )
                let jobs = settings.jobs()
                $0.field(
                    "jobs",
                    object: {
                        $0.field("waiting", jobs.waiting)
                        $0.field("held", jobs.held)
                    }
                )
                $0.field("contracts", strings: ["isp-support", "consultores"])
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

extension API {
    private var uptime: Int { settings.startedAt.map { Int((environment.now() - $0).inMilliseconds / 1000) } ?? 0 }

    /// One body for all contracts: EcoSys reads `environment`, `redis_connection` and `env_variables`; the others `status`.
    private func write(_ report: HealthProbe.Report, to body: inout JSONWriter) {
        body.field("status", report.verdict.rawValue)
        if let detail = report.detail {
            body.field("detail", report.verdict == .unhealthy ? "Health check falhou: \(detail)" : detail)
        }
        body.field("version", settings.version)
        body.field("environment", settings.environmentName)
        body.field("timestamp", report.at.description)
        body.field("uptime_seconds", uptime)
        // Without Redis nothing is missing: what those backends kept in it is in memory here.
        body.field("redis_connection", ["unreachable", "breaker_open"].contains(report.status("redis")) ? "error" : "ok")
        body.field(
            "env_variables",
            object: { for (name, isSet) in settings.variables.sorted(by: { $0.key < $1.key }) { $0.field(name, isSet) } }
        )
        body.field(
            "checks",
            object: { checks in
                for check in report.checks {
                    checks.field(
                        check.name,
                        object: {
                            $0.field("status", check.status)
                            if let milliseconds = check.milliseconds { $0.field("latency_ms", (milliseconds * 100).rounded() / 100) }
                            if let detail = check.detail { $0.field("detail", detail) }
                        }
                    )
                }
            }
        )
    }
}
