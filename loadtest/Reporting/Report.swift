import Foundation
import Wire

/// All runs of a scenario: as a table for people, as JSON for machines.
struct Report: Sendable {
    let scenario: String
    /// What was done, in a sentence.
    let summary: String
    var runs: [Run] = []

    var faults: Faults { runs.reduce(Faults()) { $0 + $1.faults } }

    /// Markdown: a row for each run, and one with the ratios when there is somebody to compare with.
    var table: String {
        guard let first = runs.first else { return "" }
        var rows = [["server"] + first.metrics.map(\.title) + ["faults", "load average"]]
        for run in runs {
            rows.append([run.peer.title] + run.metrics.map(\.text) + [run.faults.summary, String(format: "%.1f", run.loadAverage)])
        }
        if let ratios {
            rows.append(["ours ÷ baseline"] + ratios.map { $0.map { String(format: "%.2f×", $0) } ?? "–" } + ["", ""])
        }
        let lines = rows.map { "| \($0.joined(separator: " | ")) |" }
        let rule = "| --- |" + String(repeating: " ---: |", count: rows[0].count - 1)
        return ([lines[0], rule] + lines[1...]).joined(separator: "\n")
    }

    /// Medians of ours over medians of the baseline's, for each figure; nil when one of the two is missing.
    private var ratios: [Double?]? {
        let (ours, theirs) = (runs.filter { $0.peer == .plantao }, runs.filter { $0.peer == .baseline })
        guard let sample = ours.first, !theirs.isEmpty else { return nil }
        func median(_ runs: [Run], _ key: String) -> Double? {
            let values = runs.compactMap { $0.value(key) }.sorted()
            return values.isEmpty ? nil : values[values.count / 2]
        }
        return sample.metrics.map { metric in
            guard let our = median(ours, metric.key), let their = median(theirs, metric.key), their != 0 else { return nil }
            return our / their
        }
    }

    var json: [UInt8] {
        var writer = JSONWriter()
        writer.object {
            $0.field("scenario", scenario)
            $0.field("summary", summary)
            $0.field("command", CommandLine.arguments.joined(separator: " "))
            $0.list("runs") { for run in runs { $0.object { Self.write(run, &$0) } } }
        }
        return writer.bytes
    }

    private static func write(_ run: Run, _ writer: inout JSONWriter) {
        writer.field("server", run.peer.rawValue)
        for metric in run.metrics { writer.field(metric.key, metric.value) }
        writer.field("load_average", run.loadAverage)
        writer.field("faults") { for fault in run.faults.counts { $0.field(fault.name, fault.count) } }
        writer.field("notes", strings: run.faults.notes)
        writer.field("percentiles_ms") {
            guard run.latencies.count > 0 else { return }
            for part in [0.5, 0.75, 0.9, 0.95, 0.99, 0.999, 0.9999] { $0.field("\(part)", run.latencies.quantile(part)) }
            $0.field("1.0", run.latencies.largestInMilliseconds)
        }
    }
}

/// Lines for whoever waits, on the error output.
enum Progress {
    static func say(_ text: String) { FileHandle.standardError.write(Data("\(text)\n".utf8)) }
}
