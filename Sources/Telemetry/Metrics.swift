import Synchronization

/// Everything that is counted as it happens, under the names of contracts/isp-support.md "Métricas implementadas". No label names a business or a person.
/// What can be looked up when the page is asked for is not counted here.
package final class Metrics: Sendable {
    // Conversations
    package let conversationDuration = HistogramFamily(
        "conversation_duration_seconds",
        "From a conversation's beginning to its resolution",
        bounds: HistogramFamily.long
    )
    package let conversationsCreated = CounterFamily("conversations_created_total", "Conversations that began", labels: ["channel"])
    private let states = Mutex<[String: Int]>([:])
    // Messages
    package let messageProcessing = HistogramFamily(
        "message_processing_seconds",
        "From a message's arrival to its being on disk and told",
        labels: ["direction"]
    )
    package let messagesSent = CounterFamily(
        "messages_sent_total",
        "Messages to customers, by what became of sending them",
        labels: ["channel", "status"]
    )
    // WhatsApp
    package let whatsappCalls = HistogramFamily(
        "plantao_whatsapp_api_call_duration_seconds",
        "Calls to WhatsApp's API",
        labels: ["operation", "outcome"]
    )
    package let whatsappRateLimits = CounterFamily(
        "whatsapp_rate_limits_total",
        "Answers that said too fast, by whose limit it was",
        labels: ["scope"],
        known: [LabelValues("account"), LabelValues("number"), LabelValues("pair")]
    )
    // Queues
    package let queueAttempts = CounterFamily(
        "plantao_queue_attempts_total",
        "Attempts to send messages of the queues, by what became of them",
        labels: ["queue", "outcome"]
    )
    package let queueRefusals = CounterFamily(
        "plantao_queue_refusals_total",
        "Messages that found no room because too many of their business wait, by who wanted them sent",
        labels: ["queue", "source"]
    )
    // Plans
    package let planRefusals = CounterFamily(
        "plantao_plan_refusals_total",
        "What was refused because the business's plan gives no more of it",
        labels: ["resource"]
    )
    // The system
    package let requests = HistogramFamily("http_requests", "", labels: ["method", "path", "status"], maxCombinations: 2000)
    package let requestDuration = HistogramFamily(
        "http_request_duration_seconds",
        "HTTP requests, from their head to the head of the answer",
        labels: ["method", "path"],
        maxCombinations: 1000
    )
    package let database = HistogramFamily(
        "database_query_duration_seconds",
        "The store: reading, committing to the journal, and writing behind to Postgres",
        labels: ["operation"]
    )
    package let cache = CounterFamily(
        "cache_operations_total",
        "What was wanted of live state, and whether it was in memory",
        labels: ["cache", "result"]
    )

    /// States in which a conversation is somebody's business.
    package static let openStates = ["bot", "queued", "offered", "active", "snoozed"]

    package init() {}

    /// A conversation has come into a state, out of another or out of nothing.
    package func conversationMoved(from old: String?, to new: String, count: Int = 1) {
        states.withLock { states in
            if let old { states[old, default: 0] -= count }
            states[new, default: 0] += count
        }
    }

    package func request(_ method: String, _ path: String, status: Int, took: Duration) {
        requests.observe(took, LabelValues(method, path, String(status)))
        requestDuration.observe(took, LabelValues(method, path))
    }

    package func write(to page: inout MetricsText) {
        conversationDuration.write(to: &page)
        let states = states.withLock { $0 }
        page.gauge("conversations_by_state", "Open conversations by state", by: "state", Self.openStates.map { ($0, Double(states[$0] ?? 0)) })
        conversationsCreated.write(to: &page)
        messageProcessing.write(to: &page)
        messagesSent.write(to: &page)
        whatsappCalls.writeCount(as: "whatsapp_api_calls_total", "Calls to WhatsApp's API", to: &page)
        whatsappCalls.write(to: &page)
        whatsappRateLimits.write(to: &page)
        queueAttempts.write(to: &page)
        queueRefusals.write(to: &page)
        planRefusals.write(to: &page)
        requests.writeCount(as: "http_requests_total", "HTTP requests", to: &page)
        requestDuration.write(to: &page)
        database.write(to: &page)
        cache.write(to: &page)
    }
}
