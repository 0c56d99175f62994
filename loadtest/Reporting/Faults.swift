/// What must not happen in any scenario. A run with one of these is no result.
struct Faults: Sendable, Equatable {
    /// Messages that a client never got.
    var lost = 0
    /// Messages that a client got again.
    var duplicated = 0
    /// Messages that a client got after a later one.
    var reordered = 0
    /// Publications whose offset was not the next one (Centrifuge protocol: a stream's offsets have no gaps).
    var offsets = 0
    /// Answers that were not those to the question, or said something else.
    var mismatched = 0
    /// Sockets that the server closed or that broke.
    var disconnected = 0
    /// Commands and requests that the server refused.
    var refused = 0
    /// Clients that came back within the stream's memory and were given a snapshot instead of what they missed.
    var unrecovered = 0
    /// Bytes of the server that were not the protocol.
    var violations = 0
    /// The first few, in words.
    private(set) var notes: [String] = []

    mutating func note(_ text: @autoclosure () -> String) { if notes.count < 5 { notes.append(text()) } }

    var counts: [(name: String, count: Int)] {
        [
            ("lost", lost), ("duplicated", duplicated), ("reordered", reordered), ("offsets", offsets), ("mismatched", mismatched),
            ("disconnected", disconnected), ("refused", refused), ("unrecovered", unrecovered), ("violations", violations),
        ]
    }

    var isClean: Bool { counts.allSatisfy { $0.count == 0 } }

    var summary: String {
        if isClean { return "none" }
        return counts.filter { $0.count > 0 }.map { "\($0.count) \($0.name)" }.joined(separator: ", ")
    }

    static func + (left: Faults, right: Faults) -> Faults {
        var sum = left
        sum.lost += right.lost
        sum.duplicated += right.duplicated
        sum.reordered += right.reordered
        sum.offsets += right.offsets
        sum.mismatched += right.mismatched
        sum.disconnected += right.disconnected
        sum.refused += right.refused
        sum.unrecovered += right.unrecovered
        sum.violations += right.violations
        for note in right.notes { sum.note(note) }
        return sum
    }
}
