import Synchronization

/// One answer, for whoever counts them. Carries nothing that anybody wrote.
package struct GeminiReport: Sendable, Equatable {
    /// `answered`, `truncated`, `called`, or a failure's label.
    package var outcome = ""
    package var rounds = 0
    package var latency = Duration.zero
    /// Until the first text for the customer; `nil` when none came.
    package var firstText: Duration?
    package var usage = GeminiUsage()

    package init() {}
}

/// Told of every answer.
package protocol GeminiObserver: Sendable {
    func ended(_ report: GeminiReport)
}

/// When something first happened.
final class FirstTime: Sendable {
    private let state = Mutex<Duration?>(nil)
    var value: Duration? { state.withLock { $0 } }
    func note(_ time: Duration) { state.withLock { $0 = $0 ?? time } }
}

/// Counts answers, their time and what they cost, and writes it all in Prometheus's text format 0.0.4.
package final class GeminiCounters: GeminiObserver {
    /// US dollars for a million tokens; thoughts are billed as answers.
    package struct Prices: Sendable {
        package var prompt = 0.30
        package var answer = 2.50

        package init() {}
    }

    private struct Histogram {
        static let bounds: [Double] = [0.1, 0.25, 0.5, 1, 2, 4, 8, 15, 30, 60]
        var buckets = [Int](repeating: 0, count: bounds.count)
        var count = 0
        var sum = 0.0

        mutating func observe(_ duration: Duration) {
            let seconds = duration / .seconds(1)
            count += 1
            sum += seconds
            for (index, bound) in Self.bounds.enumerated() where seconds <= bound { buckets[index] += 1 }
        }
    }

    private struct State {
        var outcomes: [String: Int] = [:]
        var rounds = 0
        var usage = GeminiUsage()
        var latency = Histogram()
        var firstText = Histogram()
    }

    private let prices: Prices
    private let state = Mutex(State())

    package init(prices: Prices = Prices()) { self.prices = prices }

    package func ended(_ report: GeminiReport) {
        state.withLock { state in
            state.outcomes[report.outcome, default: 0] += 1
            state.rounds += report.rounds
            state.usage = state.usage + report.usage
            state.latency.observe(report.latency)
            if let first = report.firstText { state.firstText.observe(first) }
        }
    }

    package var prometheus: String {
        let state = state.withLock { $0 }
        let usage = state.usage
        var text = ""
        func family(_ name: String, _ type: String, _ help: String, _ lines: [(String, String)]) {
            text += "# HELP \(name) \(help)\n# TYPE \(name) \(type)\n"
            for (labels, value) in lines { text += "\(name)\(labels) \(value)\n" }
        }
        let outcomes = ["answered", "truncated", "called"] + GeminiFailure.labels
        family(
            "plantao_gemini_answers_total",
            "counter",
            "Turns of the bot that Gemini was asked to take, by what came of them",
            outcomes.map { ("{outcome=\"\($0)\"}", String(state.outcomes[$0] ?? 0)) }
        )
        family("plantao_gemini_requests_total", "counter", "Requests to Gemini: rounds with function calls count each", [("", String(state.rounds))])
        family(
            "plantao_gemini_tokens_total",
            "counter",
            "Tokens that Gemini has counted",
            [
                ("{kind=\"prompt\"}", String(usage.promptTokens)), ("{kind=\"answer\"}", String(usage.answerTokens)),
                ("{kind=\"thought\"}", String(usage.thoughtTokens)),
            ]
        )
        let cost = (Double(usage.promptTokens) * prices.prompt + Double(usage.answerTokens + usage.thoughtTokens) * prices.answer) / 1_000_000
        family("plantao_gemini_cost_dollars_total", "counter", "What the tokens cost, by the configured prices", [("", String(cost))])
        func histogram(_ name: String, _ help: String, _ histogram: Histogram) {
            text += "# HELP \(name) \(help)\n# TYPE \(name) histogram\n"
            for (bound, count) in zip(Histogram.bounds, histogram.buckets) { text += "\(name)_bucket{le=\"\(bound)\"} \(count)\n" }
            text += "\(name)_bucket{le=\"+Inf\"} \(histogram.count)\n\(name)_sum \(histogram.sum)\n\(name)_count \(histogram.count)\n"
        }
        histogram("plantao_gemini_answer_seconds", "From asking Gemini to the end of its answer", state.latency)
        histogram("plantao_gemini_first_token_seconds", "From asking Gemini to the first text for the customer", state.firstText)
        return text
    }
}
