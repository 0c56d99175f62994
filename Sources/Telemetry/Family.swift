import Synchronization

#if canImport(Glibc)
    import Glibc
#else
    import Darwin
#endif

// What is counted, as Prometheus understands it (its text format 0.0.4).
//
// Counting happens on hot paths, from all threads at once. So a family is split: each thread counts in a part that few others use, under a lock that nobody
// else wants at that moment, and whoever reads the page adds the parts up. A family holds so many combinations of labels and no more; what comes on top of that
// is counted under `other`, so that nothing a client makes up can fill the memory.

/// The values of a family's labels, in their order.
package struct LabelValues: Hashable, Sendable {
    fileprivate let first: String
    fileprivate let second: String
    fileprivate let third: String

    package init(_ first: String = "", _ second: String = "", _ third: String = "") {
        self.first = first
        self.second = second
        self.third = third
    }

    fileprivate subscript(index: Int) -> String { index == 0 ? first : index == 1 ? second : third }
    static let other = LabelValues("other", "other", "other")
}

/// One value for each of the parts that threads count in.
private final class Parts<Value: Sendable>: Sendable {
    private final class Part: Sendable {
        let value: Mutex<Value>
        init(_ value: consuming sending Value) { self.value = Mutex(value) }
    }

    private let parts: [Part]
    private static var count: Int { 16 }

    init(_ make: () -> Value) { parts = (0..<Self.count).map { _ in Part(make()) } }

    #if canImport(Glibc)
        private static var thread: Int { Int(bitPattern: UInt(pthread_self())) }
    #else
        private static var thread: Int { Int(bitPattern: pthread_self()) }
    #endif

    /// The part of the thread that asks.
    func withOwn(_ body: (inout Value) -> Void) {
        // Addresses of threads differ in their middle bits; multiplied, they differ in the first four.
        let part = Int((UInt64(UInt(bitPattern: Self.thread)) &* 0x9e37_79b9_7f4a_7c15) >> 60)
        parts[part].value.withLock { body(&$0) }
    }

    func forEach(_ body: (Value) -> Void) { for part in parts { body(part.value.withLock { $0 }) } }
}

package final class CounterFamily: Sendable {
    package let name: String
    package let help: String
    package let labels: [String]
    private let maxCombinations: Int
    /// Shown from the start: a rise from nothing is none that an alarm would see.
    private let known: [LabelValues]
    private let parts: Parts<[LabelValues: Int]>

    package init(_ name: String, _ help: String, labels: [String] = [], known: [LabelValues] = [], maxCombinations: Int = 500) {
        self.known = known
        self.name = name
        self.help = help
        self.labels = labels
        self.maxCombinations = maxCombinations
        parts = Parts { [:] }
    }

    package func add(_ count: Int = 1, _ values: LabelValues = LabelValues()) {
        parts.withOwn { counts in
            let key = counts.count < maxCombinations || counts[values] != nil ? values : .other
            counts[key, default: 0] += count
        }
    }

    package var all: [LabelValues: Int] {
        var sum = Dictionary(uniqueKeysWithValues: known.map { ($0, 0) })
        parts.forEach { sum.merge($0, uniquingKeysWith: +) }
        return sum
    }

    package func write(to page: inout MetricsText) {
        page.family(name, .counter, help)
        let all = all
        if labels.isEmpty { return page.sample(name, [], LabelValues(), Double(all[LabelValues()] ?? 0)) }
        for (values, count) in all.sorted(by: { page.order($0.key, $1.key) }) { page.sample(name, labels, values, Double(count)) }
    }
}

package final class HistogramFamily: Sendable {
    package let name: String
    package let help: String
    package let labels: [String]
    /// Upper bounds, in seconds, rising; above the last is `+Inf`.
    package let bounds: [Double]
    private let maxCombinations: Int

    package struct Cells: Sendable {
        package fileprivate(set) var counts: [Int]
        package fileprivate(set) var seconds = 0.0
        package var count: Int { counts.reduce(0, +) }

        fileprivate mutating func add(_ other: Cells) {
            for index in counts.indices { counts[index] += other.counts[index] }
            seconds += other.seconds
        }
    }

    private let parts: Parts<[LabelValues: Cells]>

    package static let short: [Double] = [0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30]
    package static let long: [Double] = [60, 300, 900, 1800, 3600, 14_400, 43_200, 86_400, 259_200, 604_800]

    package init(_ name: String, _ help: String, labels: [String] = [], bounds: [Double] = short, maxCombinations: Int = 500) {
        precondition(zip(bounds, bounds.dropFirst()).allSatisfy { $0 < $1 }, "a histogram's bounds rise")
        self.name = name
        self.help = help
        self.labels = labels
        self.bounds = bounds
        self.maxCombinations = maxCombinations
        parts = Parts { [:] }
    }

    package func observe(_ duration: Duration, _ values: LabelValues = LabelValues()) {
        let seconds = max(0, duration / .seconds(1))
        let bucket = bounds.firstIndex { seconds <= $0 } ?? bounds.count
        parts.withOwn { cells in
            let key = cells.count < maxCombinations || cells[values] != nil ? values : .other
            cells[key, default: Cells(counts: Array(repeating: 0, count: bounds.count + 1))].counts[bucket] += 1
            cells[key]?.seconds += seconds
        }
    }

    package var all: [LabelValues: Cells] {
        var sum: [LabelValues: Cells] = [:]
        parts.forEach { part in
            for (key, cells) in part { if sum[key] == nil { sum[key] = cells } else { sum[key]?.add(cells) } }
        }
        return sum
    }

    package func write(to page: inout MetricsText) {
        page.family(name, .histogram, help)
        var all = all
        if labels.isEmpty, all.isEmpty { all = [LabelValues(): Cells(counts: Array(repeating: 0, count: bounds.count + 1))] }
        for (values, cells) in all.sorted(by: { page.order($0.key, $1.key) }) {
            var sum = 0
            for (index, count) in cells.counts.enumerated() {
                sum += count
                let bound = index < bounds.count ? MetricsText.number(bounds[index]) : "+Inf"
                page.sample("\(name)_bucket", labels, values, Double(sum), extra: ("le", bound))
            }
            page.sample("\(name)_sum", labels, values, cells.seconds)
            page.sample("\(name)_count", labels, values, Double(sum))
        }
    }

    /// How many there were, without how long they took, as a counter of its own.
    package func writeCount(as name: String, _ help: String, to page: inout MetricsText) {
        page.family(name, .counter, help)
        for (values, cells) in all.sorted(by: { page.order($0.key, $1.key) }) { page.sample(name, labels, values, Double(cells.count)) }
    }
}

/// A page in Prometheus's text format 0.0.4: each family once, with its help and its type.
package struct MetricsText: Sendable {
    package enum Kind: String, Sendable { case counter, gauge, histogram }

    package private(set) var text = ""

    package init() {}

    package mutating func family(_ name: String, _ kind: Kind, _ help: String) {
        text += "# HELP \(name) \(help)\n# TYPE \(name) \(kind.rawValue)\n"
    }

    package mutating func sample(
        _ name: String,
        _ labels: [String],
        _ values: LabelValues,
        _ value: Double,
        extra: (name: String, value: String)? = nil
    ) {
        text += name
        var pairs = labels.enumerated().map { "\($1)=\"\(Self.escaped(values[$0]))\"" }
        if let extra { pairs.append("\(extra.name)=\"\(extra.value)\"") }
        if !pairs.isEmpty { text += "{\(pairs.joined(separator: ","))}" }
        text += " \(Self.number(value))\n"
    }

    package mutating func gauge(_ name: String, _ help: String, by label: String, _ values: [(String, Double)]) {
        family(name, .gauge, help)
        for (value, number) in values { sample(name, [label], LabelValues(value), number) }
    }

    package mutating func append(_ text: String) { self.text += text }

    func order(_ a: LabelValues, _ b: LabelValues) -> Bool { (a.first, a.second, a.third) < (b.first, b.second, b.third) }

    static func number(_ value: Double) -> String {
        value == value.rounded() && abs(value) < 1e15 ? String(Int64(value)) : String(value)
    }

    private static func escaped(_ text: String) -> String {
        guard text.utf8.contains(where: { $0 == UInt8(ascii: "\\") || $0 == UInt8(ascii: "\"") || $0 == UInt8(ascii: "\n") }) else { return text }
        // Scalar by scalar: a mark that joins one of them must not hide it.
        return text.unicodeScalars.reduce(into: "") { $0 += $1 == "\\" ? "\\\\" : $1 == "\"" ? "\\\"" : $1 == "\n" ? "\\n" : String($1) }
    }
}
