import Foundation

/// One figure of a run. Its unit is in the title and, for machines, in the key.
struct Metric: Sendable {
    let key: String
    let title: String
    let value: Double
    let decimals: Int

    init(_ key: String, _ title: String, _ value: Double, decimals: Int = 0) {
        self.key = key
        self.title = title
        // A ratio of nothing to nothing has no place in JSON.
        self.value = value.isFinite ? value : 0
        self.decimals = decimals
    }

    var text: String { Self.text(value, decimals) }

    static func text(_ value: Double, _ decimals: Int) -> String {
        guard value.magnitude >= 10_000, decimals == 0 else { return String(format: "%.\(decimals)f", value) }
        var digits = Array(String(format: "%.0f", value))
        var index = digits.count - 3
        while index > (value < 0 ? 1 : 0) {
            digits.insert(",", at: index)
            index -= 3
        }
        return String(digits)
    }
}

/// What one server did in one round of a scenario.
struct Run: Sendable {
    let peer: Peer
    var metrics: [Metric]
    var latencies = Histogram()
    var faults = Faults()
    /// The machine's, over the last minute, when the run ended: who else was at work.
    var loadAverage = Self.loadAverageNow

    func value(_ key: String) -> Double? { metrics.first { $0.key == key }?.value }

    private static var loadAverageNow: Double {
        var averages = [0.0, 0.0, 0.0]
        return getloadavg(&averages, 3) > 0 ? averages[0] : 0
    }
}

extension [Metric] {
    /// p50, p99 and the worst of some latencies, in milliseconds.
    static func percentiles(of latencies: Histogram, key: String = "", title: String = "") -> [Metric] {
        [
            Metric("\(key)p50_ms", "\(title)p50 ms", latencies.quantile(0.5), decimals: 2),
            Metric("\(key)p99_ms", "\(title)p99 ms", latencies.quantile(0.99), decimals: 2),
            Metric("\(key)max_ms", "\(title)max ms", latencies.largestInMilliseconds, decimals: 1),
        ]
    }
}
