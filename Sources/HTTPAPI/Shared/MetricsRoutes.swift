import Hummingbird
import Identity
import Jobs
import Kernel
import Realtime
import Resilience
import Storage
import Telemetry
import Tenancy

// What the server counts, in Prometheus's text format 0.0.4. No tenant is named.

extension API {
    func addMetrics(to router: Router<APIContext>) {
        router.get("/metrics") { request, _ -> Response in
            try requireMetricsToken(request)
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
            page.counter("plantao_realtime_publications_total", "Publications on streams that somebody has subscribed to", hub.published)
            page.counter("plantao_realtime_deliveries_total", "Messages handed to subscribers", hub.delivered)
            page.gauge("plantao_tenants_awake", "Tenants in memory", operations.tenants.awakeCount)
            let jobs = settings.jobs()
            page.gauge("message_queue_size", "Messages waiting to be sent", settings.messagesWaiting())
            page.gauge("plantao_jobs_waiting", "Jobs in memory, those under way among them", jobs.waiting)
            page.gauge("plantao_jobs_held", "Jobs held up because what they need is out of order", jobs.held)
            page.gauge("whatsapp_connections_active", "Businesses whose WhatsApp is set up and not given up on", await activeConnections())
            page.counter(
                "plantao_http_rate_limited_total",
                "HTTP requests that were refused as too many",
                by: "class",
                book.refusals.map { ($0.0.rawValue, $0.1) }
            )
            if let owed = store.status.writeBehind { page.add(owed) }
            if let relay = settings.relay?() {
                page.gauge("plantao_redis_connected", "Whether Redis is connected", relay.isConnected ? 1 : 0)
                page.counter("plantao_redis_relayed_total", "Pushes and job notices that Redis has taken", relay.relayed)
                page.counter("plantao_redis_dropped_total", "Pushes and job notices left out while Redis was away or slow", relay.dropped)
                page.gauge("plantao_redis_waiting", "Pushes and job notices waiting for Redis", relay.waiting)
            }
            if let traces = operations.telemetry.tracer?.counters {
                page.counter("plantao_trace_spans_exported_total", "Spans that were taken for sending", traces.taken)
                page.counter("plantao_trace_spans_dropped_total", "Spans left out because nobody took them", traces.dropped)
                page.gauge("plantao_trace_spans_waiting", "Spans waiting to be sent", traces.waiting)
            }
            var text = MetricsText()
            Self.write(operations.tenants.breakers?.all ?? [], to: &text)
            Self.write(operations.queues?.census.report ?? .init(), at: environment.now(), to: &text)
            operations.telemetry.metrics.write(to: &text)
            return page.response(text.text + (settings.assistantMetrics?() ?? ""))
        }
    }
}

extension API {
    private func activeConnections() async -> Int {
        let tenants = await directory.tenants
        let connected = settings.isSimulated ? tenants : tenants.filter { $0.phoneNumberID != nil }
        guard let board = operations.tenants.breakers else { return connected.count }
        return connected.count { !board.isOpen(.whatsapp, of: $0.id) }
    }

    private static func write(_ queues: QueueCensus.Report, at now: Timestamp, to page: inout MetricsText) {
        page.family("plantao_queue_messages", .gauge, "Messages of the queues, by what has become of them")
        for queue in QueueName.allCases {
            for state in ["available", "scheduled", "claimed", "sending", "dead", "quarantined"] {
                let count = queues.counts[queue]?[state] ?? 0
                page.sample("plantao_queue_messages", ["queue", "state"], LabelValues(queue.rawValue, state), Double(count))
            }
        }
        page.family(
            "plantao_queue_oldest_available_seconds",
            .gauge,
            "How long the first message that is due has been waiting for a worker, of queues that do not rest"
        )
        for queue in QueueName.allCases {
            let age = queues.oldest[queue].map { max(0, Double((now - $0).inMilliseconds) / 1000) } ?? 0
            page.sample("plantao_queue_oldest_available_seconds", ["queue"], LabelValues(queue.rawValue), age)
        }
    }

    /// Every breaker there is, without saying whose.
    private static func write(_ breakers: [(dependency: Dependency, breaker: CircuitBreaker)], to page: inout MetricsText) {
        let byName = Dictionary(grouping: breakers, by: \.dependency.rawValue).mapValues { $0.map(\.breaker) }.sorted { $0.key < $1.key }
        page.gauge(
            "plantao_circuit_breaker_open",
            "Whether a breaker is open (1), trying (0.5) or all are closed (0)",
            by: "name",
            byName.map { ($0.key, $0.value.map { $0.state.isOpen ? 1 : $0.state == .halfOpen ? 0.5 : 0 }.max() ?? 0) }
        )
        page.family("plantao_circuit_breakers", .gauge, "Circuit breakers by what state they are in")
        for (name, breakers) in byName {
            for state in CircuitBreaker.State.allCases {
                let count = breakers.count { $0.state == state }
                page.sample("plantao_circuit_breakers", ["name", "state"], LabelValues(name, state.rawValue), Double(count))
            }
        }
        page.family(
            "plantao_circuit_breaker_not_closed_since_seconds",
            .gauge,
            "Since when a breaker has not been closed, as seconds since 1970: the longest of them; 0 when all are"
        )
        for (name, breakers) in byName {
            let since = breakers.filter { !$0.state.isClosed }.compactMap { $0.openedAt ?? $0.force?.at }.min()
            page.sample("plantao_circuit_breaker_not_closed_since_seconds", ["name"], LabelValues(name), Double(since?.milliseconds ?? 0) / 1000)
        }
        page.family("plantao_circuit_breaker_opened_total", .counter, "How often breakers have opened")
        for (name, breakers) in byName {
            page.sample("plantao_circuit_breaker_opened_total", ["name"], LabelValues(name), Double(breakers.reduce(0) { $0 + $1.timesOpened }))
        }
        page.family("plantao_circuit_breaker_calls_total", .counter, "Calls that asked a breaker, by what became of them")
        for (name, breakers) in byName {
            for (outcome, count) in [
                ("succeeded", \CircuitBreaker.Totals.succeeded), ("failed", \.failed), ("ignored", \.ignored), ("rejected", \.rejected),
            ] {
                let sum = breakers.reduce(0) { $0 + $1.totals[keyPath: count] }
                page.sample("plantao_circuit_breaker_calls_total", ["name", "outcome"], LabelValues(name, outcome), Double(sum))
            }
        }
    }
}

/// One page of metrics: each family once, with its help and its type.
struct MetricsPage {
    private var text = ""

    mutating func counter(_ name: String, _ help: String, _ value: Int) { family(name, "counter", help, String(value)) }
    mutating func gauge(_ name: String, _ help: String, _ value: Int) { family(name, "gauge", help, String(value)) }
    mutating func gauge(_ name: String, _ help: String, seconds: Duration) {
        family(name, "gauge", help, String(Double(seconds.inMilliseconds) / 1000))
    }

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
        counter(
            "plantao_calendar_exclusion_hits_total",
            "Appointments that the database refused as overlapping; reads 0 while decisions are right",
            owed.exclusions
        )
        counter("plantao_write_behind_flushed_rows_total", "Changed rows that the database has", owed.flushedRows)
        counter("plantao_write_behind_written_images_total", "Images written for them, the latest of each row", owed.writtenImages)
        counter("plantao_write_behind_batches_total", "Batches that the database has taken", owed.batches)
        counter("plantao_write_behind_failed_batches_total", "Batches that it has not taken", owed.failedBatches)
        gauge("plantao_database_connections", "Connections to the database", owed.remote.connections)
        gauge("plantao_database_waiting_reads", "Reads waiting for a connection", owed.remote.waiting)
    }

    /// - Parameter more: families that come behind.
    func response(_ more: String) -> Response {
        return Response(
            status: .ok,
            headers: [.contentType: "text/plain; version=0.0.4; charset=utf-8", .cacheControl: "no-store"],
            body: ResponseBody(byteBuffer: ByteBuffer(string: text + more))
        )
    }
}
