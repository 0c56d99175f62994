package import Kernel

/// What is booked: a member of the staff, or the business where it has none.
package enum Resource: Sendable, Hashable {
    case business(TenantID)
    case staff(StaffID)

    package var staff: StaffID? { if case .staff(let id) = self { id } else { nil } }
    /// As a row names it.
    var rowID: UniqueID {
        switch self {
        case .business(let id): id.value
        case .staff(let id): id.value
        }
    }
}

/// Where something stands in the calendar. A resource has as many lanes as it can attend at a time; a session on a lane has as many seats as its service.
package struct Placement: Sendable, Hashable {
    package let resource: Resource
    /// From 1.
    package let lane: Int
    package let seat: Int
    /// The first appointment of the session names it.
    package let session: AppointmentID
    /// With the buffers before and after.
    package let blocked: Range<Timestamp>
}

/// Who keeps a seat.
enum Holder: Sendable, Hashable {
    case appointment(AppointmentID)
    case hold(HoldID)
}

/// What one resource is busy with. Padded times on one lane are apart from one another, but where the staff forced one over another.
struct Occupancy: Sendable {
    struct Block: Sendable {
        let from: Int64
        /// The longest that those in it were given: rows of before may differ.
        var until: Int64
        let start: Int64
        let end: Int64
        let service: ServiceID
        let session: AppointmentID
        /// It stands where it stands whatever was there: nobody joins it.
        let liesOver: Bool
        var seats: [(number: Int, holder: Holder)]
    }

    struct Fit: Equatable {
        let lane: Int
        let seat: Int
        /// `nil` begins one.
        let session: AppointmentID?
        let seatsLeft: Int
        /// A session that is joined keeps the time that it was given, whatever buffers are by now.
        let blocked: Range<Int64>

        /// A session of its own.
        static func begun(_ slot: Slot, _ seats: Int, lane: Int = 1) -> Fit {
            Fit(lane: lane, seat: 1, session: nil, seatsLeft: seats, blocked: slot.from..<slot.until)
        }
    }

    /// By when they begin.
    private(set) var lanes: [[Block]] = []
    /// Blocks are at the most this long, so a search knows how far back to look.
    private var longest: Int64 = 0

    // MARK: Asking

    /// The first block at or after a time.
    private static func index(_ blocks: [Block], _ time: Int64) -> Int {
        var (low, high) = (0, blocks.count)
        while low < high {
            let middle = (low + high) / 2
            if blocks[middle].from < time { low = middle + 1 } else { high = middle }
        }
        return low
    }

    private func isBusy(_ lane: Int, _ from: Int64, _ until: Int64, ignoring holder: Holder?) -> Bool {
        Self.isBusy(lanes[lane], from, until, longest, ignoring: holder)
    }

    private static func isBusy(_ blocks: [Block], _ from: Int64, _ until: Int64, _ longest: Int64, ignoring holder: Holder?) -> Bool {
        // Looked at in place: a copy of a block costs more than the rest.
        blocks.withUnsafeBufferPointer { blocks in
            var (low, high) = (0, blocks.count)
            while low < high {
                let middle = (low + high) / 2
                if blocks[middle].from < until { low = middle + 1 } else { high = middle }
            }
            var index = low - 1
            while index >= 0, blocks[index].from > from - longest {
                if blocks[index].until > from {
                    guard let holder else { return true }
                    if blocks[index].seats.contains(where: { $0.holder != holder }) { return true }
                }
                index -= 1
            }
            return false
        }
    }

    /// Whether anything at all overlaps.
    func isBusy(_ from: Int64, _ until: Int64, ignoring holder: Holder?) -> Bool {
        lanes.indices.contains { isBusy($0, from, until, ignoring: holder) }
    }

    /// Whether anything else on its lane overlaps a session, which can only have been forced there.
    private func isOverlaid(_ block: Block, _ lane: Int, ignoring holder: Holder?) -> Bool {
        let blocks = lanes[lane]
        var index = Self.index(blocks, block.until) - 1
        while index >= 0, blocks[index].from > block.from - longest {
            let other = blocks[index]
            if other.session != block.session, other.until > block.from, other.seats.contains(where: { $0.holder != holder }) { return true }
            index -= 1
        }
        return false
    }

    /// The first lane with room, or a seat in a session that is there.
    func fit(_ slot: Slot, lanes count: Int, seats: Int, ignoring holder: Holder?) -> Fit? {
        if seats > 1 {
            for lane in lanes.indices {
                var index = Self.index(lanes[lane], slot.start + 1) - 1
                while index >= 0, lanes[lane][index].from > slot.start - longest {
                    let block = lanes[lane][index]
                    index -= 1
                    guard !block.liesOver, block.service == slot.service, block.start == slot.start, block.end == slot.end else { continue }
                    let taken = block.seats.filter { $0.holder != holder }
                    // Whoever is alone in it leaves nothing to join, and begins anew where there is room by what counts now.
                    guard !taken.isEmpty else { continue }
                    guard let seat = (1...seats).first(where: { number in !taken.contains { $0.number == number } }) else { continue }
                    guard !isOverlaid(block, lane, ignoring: holder) else { continue }
                    let blocked = block.from..<block.until
                    return Fit(lane: lane + 1, seat: seat, session: block.session, seatsLeft: seats - taken.count, blocked: blocked)
                }
            }
        }
        for lane in 0..<count where lane >= lanes.count || !isBusy(lane, slot.from, slot.until, ignoring: holder) {
            if isFull(slot, lanes: count, ignoring: holder) { return nil }
            return .begun(slot, seats, lane: lane + 1)
        }
        return nil
    }

    /// Whether at some time within it as many lanes are busy as there are, because what was booked when there were more stands beside them.
    private func isFull(_ slot: Slot, lanes count: Int, ignoring holder: Holder?) -> Bool {
        guard lanes.count > count, (count..<lanes.count).contains(where: { isBusy($0, slot.from, slot.until, ignoring: holder) }) else {
            return false
        }
        // Lanes that become busy, and free.
        var turns: [(at: Int64, by: Int)] = []
        for blocks in lanes {
            var busyUntil = slot.from
            var isBusy = false
            for block in blocks where block.from < slot.until && block.until > slot.from && block.seats.contains(where: { $0.holder != holder }) {
                if isBusy, block.from <= busyUntil {
                    busyUntil = max(busyUntil, block.until)
                } else {
                    if isBusy { turns.append((busyUntil, -1)) }
                    turns.append((max(block.from, slot.from), 1))
                    (isBusy, busyUntil) = (true, block.until)
                }
            }
            if isBusy { turns.append((busyUntil, -1)) }
        }
        var busy = 0
        for turn in turns.sorted(by: { ($0.at, $0.by) < ($1.at, $1.by) }) {
            busy += turn.by
            if busy >= count { return true }
        }
        return false
    }

    /// How many sessions begin in a range.
    func count(in range: Range<Int64>) -> Int {
        lanes.reduce(0) { $0 + Self.index($1, range.upperBound) - Self.index($1, range.lowerBound) }
    }

    // MARK: Changing

    mutating func add(_ holder: Holder, _ service: ServiceID, start: Int64, end: Int64, _ place: Placement, liesOver: Bool) {
        while lanes.count < place.lane { lanes.append([]) }
        let (lane, from, until) = (place.lane - 1, place.blocked.lowerBound.milliseconds, place.blocked.upperBound.milliseconds)
        longest = max(longest, until - from)
        var index = Self.index(lanes[lane], from)
        while index < lanes[lane].count, lanes[lane][index].from == from {
            if lanes[lane][index].session == place.session {
                lanes[lane][index].seats.append((place.seat, holder))
                lanes[lane][index].until = max(lanes[lane][index].until, until)
                return
            }
            index += 1
        }
        let block = Block(
            from: from,
            until: until,
            start: start,
            end: end,
            service: service,
            session: place.session,
            liesOver: liesOver,
            seats: [(place.seat, holder)]
        )
        lanes[lane].insert(block, at: index)
    }

    mutating func remove(_ holder: Holder, _ place: Placement) {
        guard place.lane <= lanes.count else { return }
        let (lane, from) = (place.lane - 1, place.blocked.lowerBound.milliseconds)
        var index = Self.index(lanes[lane], from)
        while index < lanes[lane].count, lanes[lane][index].from == from {
            if lanes[lane][index].seats.contains(where: { $0.holder == holder }) {
                lanes[lane][index].seats.removeAll { $0.holder == holder }
                if lanes[lane][index].seats.isEmpty { lanes[lane].remove(at: index) }
                return
            }
            index += 1
        }
    }

    /// Forgets what ended before a time.
    mutating func forget(before time: Int64) {
        for lane in lanes.indices { lanes[lane].removeAll { $0.until <= time } }
    }
}

/// A time that something would take, in milliseconds.
struct Slot: Sendable, Hashable {
    let service: ServiceID
    let start: Int64
    let end: Int64
    /// With the buffers.
    let from: Int64
    let until: Int64
}
