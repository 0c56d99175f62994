import Hummingbird
import Kernel
import Realtime
import Storage
import Tenancy

// What the server counts, in Prometheus's text format 0.0.4. No tenant is named.

extension API {
    func addMetrics(to router: Router<APIContext>) {
        router.get("/metrics") { _, _ -> Response in
            var page = MetricsPage()
            let gate = operations.gate.counters
            page.counter("plantao_gate_commits_total", "Transactions that the journal has taken", gate.commits)
            page.counter("plantao_gate_changes_total", "Changes that are on disk", gate.changes)
            page.counter("plantao_gate_failed_commits_total", "Transactions that the journal has refused", gate.failedCommits)
            page.counter("plantao_gate_refused_changes_total", "Changes that were refused at the gate", gate.refusedChanges)
            page.gauge("plantao_gate_pending_changes", "Changes waiting for the disk", gate.pending)
            let hub = operations.hub.counters
            page.gauge("plantao_realtime_connections", "Sockets that are connected", hub.connections)
            let admitted = door.admitted
            page.gauge(
                "plantao_realtime_open_connections",
                "Sockets, streams and polls that are open, also those that have not said whose they are",
                admitted.connections
            )
            page.counter(
                "plantao_realtime_refused_connections_total",
                "Connections that were refused, by whose limit was reached",
                by: "scope",
                admitted.refusedConnections.map { ("\($0.0)", $0.1) }
            )
            page.counter(
                "plantao_realtime_refused_commands_total",
                "Commands and polls that were refused as too many, by whose limit was reached",
                by: "scope",
                admitted.refusedCommands.map { ("\($0.0)", $0.1) }
            )
            page.gauge("plantao_realtime_streams", "Streams that are remembered", hub.streams)
            page.gauge("plantao_tenants_awake", "Tenants in memory", operations.tenants.awakeCount)
            if let owed = store.status.writeBehind { page.add(owed) }
            if let relay = settings.relay?() {
                page.gauge("plantao_redis_connected", "Whether Redis is connected", relay.isConnected ? 1 : 0)
                page.counter("plantao_redis_relayed_total", "Pushes and job notices that Redis has taken", relay.relayed)
                page.counter("plantao_redis_dropped_total", "Pushes and job notices left out while Redis was away or slow", relay.dropped)
                page.gauge("plantao_redis_waiting", "Pushes and job notices waiting for Redis", relay.waiting)
                page.breaker("redis", relay.breaker, opened: relay.timesOpened)
            }
            return page.response
        }
    }
}

/// One page of metrics: each family once, with its help and its type.
struct MetricsPage {
    private var text = ""
    private var breakers: [(name: String, state: String, opened: Int)] = []

    mutating func counter(_ name: String, _ help: String, _ value: Int) { family(name, "counter", help, String(value)) }
    mutating func gauge(_ name: String, _ help: String, _ value: Int) { family(name, "gauge", help, String(value)) }
    mutating func gauge(_ name: String, _ help: String, seconds: Duration) {
        family(name, "gauge", help, String(Double(seconds.inMilliseconds) / 1000))
    }
    mutating func breaker(_ name: String, _ state: String, opened: Int) { breakers.append((name, state, opened)) }

    mutating func counter(_ name: String, _ help: String, by label: String, _ values: [(String, Int)]) {
        text += "# HELP \(name) \(help)\n# TYPE \(name) counter\n"
        for (value, count) in values { text += "\(name){\(label)=\"\(value)\"} \(count)\n" }
    }

    private mutating func family(_ name: String, _ type: String, _ help: String, _ value: String) {
        text += "# HELP \(name) \(help)\n# TYPE \(name) \(type)\n\(name) \(value)\n"
    }

    mutating func add(_ owed: WriteBehindStatus) {
        gauge("plantao_write_behind_rows", "Changed rows that the database is owed", owed.depth)
        gauge("plantao_write_behind_bytes", "Bytes of the journal that the database is owed", owed.bytes)
        gauge("plantao_write_behind_lag_seconds", "Age of the oldest change that the database is owed", seconds: owed.lag)
        gauge("plantao_write_behind_full", "Whether a bound of the journal is reached and commands are refused", owed.isFull ? 1 : 0)
        gauge("plantao_write_behind_batch_rows", "Rows in a batch, at the most, as things go", owed.batchSize)
        gauge("plantao_write_behind_quarantined_rows", "Rows that the database would not take", owed.quarantined)
        counter("plantao_write_behind_flushed_rows_total", "Changed rows that the database has", owed.flushedRows)
        counter("plantao_write_behind_written_images_total", "Images written for them, the latest of each row", owed.writtenImages)
        counter("plantao_write_behind_batches_total", "Batches that the database has taken", owed.batches)
        counter("plantao_write_behind_failed_batches_total", "Batches that it has not taken", owed.failedBatches)
        gauge("plantao_database_connections", "Connections to the database", owed.remote.connections)
        gauge("plantao_database_waiting_reads", "Reads waiting for a connection", owed.remote.waiting)
        breaker("database", owed.remote.breaker, opened: owed.remote.timesOpened)
    }

    var response: Response {
        var text = text
        if !breakers.isEmpty {
            text +=
                "# HELP plantao_circuit_breaker_open Whether the breaker is open (1), trying (0.5) or closed (0)\n# TYPE plantao_circuit_breaker_open gauge\n"
            for breaker in breakers {
                let value = breaker.state == "open" ? "1" : breaker.state == "half_open" ? "0.5" : "0"
                text += "plantao_circuit_breaker_open{name=\"\(breaker.name)\"} \(value)\n"
            }
            text +=
                "# HELP plantao_circuit_breaker_opened_total How often the breaker has opened\n# TYPE plantao_circuit_breaker_opened_total counter\n"
            for breaker in breakers { text += "plantao_circuit_breaker_opened_total{name=\"\(breaker.name)\"} \(breaker.opened)\n" }
        }
        return Response(
            status: .ok,
            headers: [.contentType: "text/plain; version=0.0.4; charset=utf-8", .cacheControl: "no-store"],
            body: ResponseBody(byteBuffer: ByteBuffer(string: text))
        )
    }
}
