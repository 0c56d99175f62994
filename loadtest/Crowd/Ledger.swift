/// What each client has received, so that nothing is lost, repeated or out of order without being noticed. Two independent books are kept: the offsets that
/// the server numbers a stream with, and the sequence that each sender numbers its own messages with.
struct Ledger {
    private let lanes: Int
    /// The last offset of each client.
    private var offsets: [UInt64]
    /// The last sequence of each client and lane.
    private var sequences: [UInt32]
    /// What was skipped, by client and lane, until it comes after all. Empty when all is well.
    private var skipped: [Int: Set<UInt32>] = [:]
    private(set) var faults = Faults()

    init(clients: Int, lanes: Int) {
        self.lanes = lanes
        offsets = [UInt64](repeating: 0, count: clients)
        sequences = [UInt32](repeating: 0, count: clients * lanes)
    }

    func offset(of client: Int) -> UInt64 { offsets[client] }

    /// A subscription stands, and everything up to `offset` is known.
    mutating func subscribed(_ client: Int, at offset: UInt64) { offsets[client] = offset }

    mutating func received(_ client: Int, offset: UInt64) {
        let expected = offsets[client] &+ 1
        if offset != expected {
            faults.offsets += 1
            faults.note("client \(client): offset \(offset) where \(expected) was due")
        }
        offsets[client] = max(offsets[client], offset)
    }

    mutating func received(_ client: Int, _ stamp: Stamp) {
        guard stamp.lane < lanes else { return faults.mismatched += 1 }
        let index = client * lanes + stamp.lane
        let last = sequences[index]
        if stamp.sequence == last &+ 1 {
            sequences[index] = stamp.sequence
        } else if stamp.sequence > last {
            for missing in last + 1..<stamp.sequence { skipped[index, default: []].insert(missing) }
            sequences[index] = stamp.sequence
        } else if skipped[index]?.remove(stamp.sequence) != nil {
            faults.reordered += 1
            faults.note("client \(client): lane \(stamp.lane), message \(stamp.sequence) after \(last)")
        } else {
            faults.duplicated += 1
            faults.note("client \(client): lane \(stamp.lane), message \(stamp.sequence) again")
        }
    }

    /// The end: whatever a client has not got of `sent` is lost.
    mutating func settle(clients: Range<Int>, sent: (_ client: Int, _ lane: Int) -> UInt32) {
        for client in clients {
            for lane in 0..<lanes {
                let index = client * lanes + lane
                let (got, wanted) = (sequences[index], sent(client, lane))
                let missing = Int(wanted) - Int(got) + (skipped[index]?.count ?? 0)
                if missing != 0 {
                    faults.lost += missing
                    faults.note("client \(client): lane \(lane), \(missing) of \(wanted) messages missing")
                }
            }
        }
    }
}
