import DequeModule

/// Statuses of messages that nobody knows yet. A status can overtake the answer to our own send, which is what says whose it is; most carry our id and need
/// no waiting, some do not. Bounded: past it the oldest go, and a later status of the same message says as much.
struct EarlyReports: Sendable {
    static let capacity = 1000

    private var byID: [String: [StatusReport]] = [:]
    private var order: Deque<String> = []

    mutating func put(_ report: StatusReport) {
        guard !report.externalID.isEmpty else { return }
        if byID[report.externalID] == nil { order.append(report.externalID) }
        // No message has more than a handful; repetitions say nothing new.
        if byID[report.externalID, default: []].count < 8 { byID[report.externalID, default: []].append(report) }
        while byID.count > Self.capacity, let oldest = order.popFirst() { byID[oldest] = nil }
    }

    mutating func take(_ externalID: String) -> [StatusReport] {
        guard let reports = byID.removeValue(forKey: externalID) else { return [] }
        order.removeAll { $0 == externalID }
        return reports
    }
}
