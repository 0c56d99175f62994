/// How often each latency was seen, in buckets no wider than 1/64 of their value: any number of values in 30 KB, without sorting (the idea of HdrHistogram).
struct Histogram: Sendable {
    /// Significant bits kept of a value.
    private static let bits = 6

    private var counts = [UInt64](repeating: 0, count: (64 - bits + 1) << bits)
    private(set) var count: UInt64 = 0
    /// Nanoseconds, exact.
    private(set) var largest: Int64 = 0

    /// - Parameter nanoseconds: a clock's difference; one below zero counts as zero.
    mutating func record(_ nanoseconds: Int64) {
        counts[Self.bucket(UInt64(max(0, nanoseconds)))] += 1
        count += 1
        largest = max(largest, nanoseconds)
    }

    mutating func merge(_ other: Histogram) {
        for index in counts.indices { counts[index] += other.counts[index] }
        count += other.count
        largest = max(largest, other.largest)
    }

    /// The value that `part` of all are not above, in milliseconds; 0 when there is none.
    func quantile(_ part: Double) -> Double {
        guard count > 0 else { return 0 }
        let rank = max(1, UInt64((Double(count) * part).rounded(.up)))
        var seen: UInt64 = 0
        for (index, count) in counts.enumerated() where count > 0 {
            seen += count
            if seen >= rank { return min(Double(Self.upperBound(index)), Double(largest)) / 1e6 }
        }
        return largestInMilliseconds
    }

    var largestInMilliseconds: Double { Double(largest) / 1e6 }

    private static func bucket(_ value: UInt64) -> Int {
        let shift = max(0, 64 - bits - 1 - value.leadingZeroBitCount)
        return shift << bits + Int(value >> UInt64(shift))
    }

    private static func upperBound(_ bucket: Int) -> UInt64 {
        let shift = max(0, bucket >> bits - 1)
        return (UInt64(bucket - shift << bits) + 1) << UInt64(shift) - 1
    }
}
