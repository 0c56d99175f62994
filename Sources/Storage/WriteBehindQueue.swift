import DequeModule
package import Kernel

// What a remote store is owed, and in which portions it gets it.
//
//     committed ─▶ segments, by age ─▶ next() ─▶ a batch: the latest image of each row in a stretch of rows ─▶ written / refused / timedOut
//
// A segment is what one commit appended, as the journal keeps it; segments past the memory bound stay on disk and are read back when their turn comes.
//
// Invariants
// 1. Rows are handed out by age. `flushedThrough` names a segment only when every row in it and before it is stored remotely, or in quarantine.
// 2. Within a batch only the latest image of a row is written, where it stood: a stretch is written as it left the tables, not as it went through.
// 3. A refused stretch is halved until it is a single row; only that row goes to quarantine. The stretch may be refused for what a stretch alone can bring
//    about (a name passed from one row to another and on): its halves then are not.
// 4. One batch is under way at a time.
//
// Size: a stretch grows twofold while full ones are written quickly and more waits, and halves when one takes too long. What a round trip costs does not
// depend on the size, so a slow way calls for larger batches; only a slow *store* calls for smaller ones.

package struct WriteBehindQueue: Sendable {
    package struct Settings: Sendable {
        package var smallestBatch = 50
        package var firstBatch = 500
        package var largestBatch = 10_000
        /// A full batch that took less is followed by a larger one.
        package var quick = Duration.seconds(2)
        /// A batch that took longer is followed by a smaller one.
        package var slow = Duration.seconds(5)
        /// How long a lone change waits for company, when nobody waits for it.
        package var linger = Duration.milliseconds(20)
        /// Bytes of segments held in memory. What is past it is read back from the journal.
        package var memory = 64 << 20

        package init() {}
    }

    package struct Segment: Sendable {
        package let sequence: Int64
        package let at: Timestamp
        package let bytes: Int
        package let rowCount: Int
        /// `nil` while only the journal has them.
        package var rows: [RowImage]?

        package init(sequence: Int64, at: Timestamp, bytes: Int, rowCount: Int, rows: [RowImage]?) {
            self.sequence = sequence
            self.at = at
            self.bytes = bytes
            self.rowCount = rowCount
            self.rows = rows
        }
    }

    package enum Step: Sendable {
        case idle
        /// Wait this long for more.
        case linger(Duration)
        /// Read these segments back from the journal.
        case load(ClosedRange<Int64>, count: Int)
        /// Write the latest images of these, and report.
        case write([RowImage])
    }

    package struct RowKey: Hashable, Sendable {
        package let table: String
        package let key: [SQLValue]

        /// Whose row it is.
        package let tenant: TenantID?

        package init(_ image: RowImage) {
            table = image.table.name
            key = image.key
            tenant = image.tenant
        }

        package init(_ table: Table, _ key: [SQLValue]) {
            self.init(RowImage(deleting: key, from: table, version: 0))
        }

        // Databases tell texts apart by their bytes. Swift takes "é" and "e" with an accent for the same.
        package static func == (a: RowKey, b: RowKey) -> Bool {
            a.table == b.table && a.key.count == b.key.count && zip(a.key, b.key).allSatisfy { $0.isIdentical(to: $1) }
        }

        package func hash(into hasher: inout Hasher) {
            hasher.combine(table)
            for value in key {
                if case .text(let text) = value { for byte in text.utf8 { hasher.combine(byte) } } else { hasher.combine(value) }
            }
        }
    }

    private let settings: Settings
    private var segments: Deque<Segment> = []
    /// Rows of the first segment that are done with.
    private var offset = 0
    private var memory = 0
    /// Of the batch under way.
    private var rowsUnderWay = 0
    /// While a refused stretch is being halved: how many rows the next one may have.
    private var suspicion: Int?
    private var lastSequenceOfTenant: [TenantID: Int64] = [:]

    package private(set) var batchSize: Int
    package private(set) var lastSequence: Int64
    package private(set) var flushedThrough: Int64
    /// Rows not yet done with, images of one row counted each.
    package private(set) var rows = 0
    package private(set) var bytes = 0
    /// Rows done with since the start.
    package private(set) var doneRows = 0

    /// - Parameter flushedThrough: the last segment that needs nothing more.
    package init(_ settings: Settings, flushedThrough: Int64) {
        self.settings = settings
        self.flushedThrough = flushedThrough
        lastSequence = flushedThrough
        batchSize = settings.firstBatch
    }

    /// When the oldest that is owed was committed.
    package var oldest: Timestamp? { segments.first?.at }
    package var segmentCount: Int { segments.count }

    /// The segment to wait for before reading what this tenant committed; what everybody committed, when `nil`.
    package func barrier(for tenant: TenantID?) -> Int64 {
        guard let tenant else { return lastSequence }
        return lastSequenceOfTenant[tenant] ?? 0
    }

    // MARK: Inputs

    package mutating func committed(_ segment: Segment, tenants: Set<TenantID>) {
        precondition(segment.sequence > lastSequence, "segments come in order")
        lastSequence = segment.sequence
        for tenant in tenants { lastSequenceOfTenant[tenant] = segment.sequence }
        rows += segment.rowCount
        bytes += segment.bytes
        var segment = segment
        if segment.rows != nil {
            if memory + segment.bytes <= settings.memory { memory += segment.bytes } else { segment.rows = nil }
        }
        segments.append(segment)
    }

    /// Segments read back, as `load` asked.
    package mutating func loaded(_ found: [Int64: [RowImage]]) {
        for index in segments.indices.prefix(found.count) {
            guard segments[index].rows == nil, let rows = found[segments[index].sequence] else { continue }
            segments[index].rows = rows
            memory += segments[index].bytes
        }
    }

    /// - Parameter isAwaited: somebody waits at the barrier, or the server is stopping.
    package mutating func next(now: Timestamp, isAwaited: Bool) -> Step {
        precondition(rowsUnderWay == 0, "one batch at a time")
        guard let first = segments.first else { return .idle }
        guard first.rows != nil else { return loadStep() }
        let age = now - first.at
        // A clock that was set back must not hold anything up.
        if !isAwaited, suspicion == nil, rows < batchSize, age < settings.linger, age >= .zero { return .linger(settings.linger - age) }
        let limit = suspicion ?? batchSize
        var stretch: [RowImage] = []
        for (index, segment) in segments.enumerated() {
            guard let rows = segment.rows, stretch.count < limit else { break }
            stretch += rows.dropFirst(index == 0 ? offset : 0).prefix(limit - stretch.count)
        }
        rowsUnderWay = stretch.count
        return .write(stretch)
    }

    private func loadStep() -> Step {
        var last = segments[0].sequence
        var (rows, bytes, count) = (0, 0, 0)
        for segment in segments {
            guard segment.rows == nil, rows < settings.largestBatch, bytes < settings.memory / 2 else { break }
            last = segment.sequence
            rows += segment.rowCount
            bytes += segment.bytes
            count += 1
        }
        return .load(segments[0].sequence...last, count: count)
    }

    /// The latest image of each row, in the order in which those images were made.
    package static func latest(of stretch: [RowImage]) -> [RowImage] {
        guard stretch.count > 1 else { return stretch }
        var seen = Set<RowKey>(minimumCapacity: stretch.count)
        var latest: [RowImage] = []
        latest.reserveCapacity(stretch.count)
        for image in stretch.reversed() where seen.insert(RowKey(image)).inserted { latest.append(image) }
        latest.reverse()
        return latest
    }

    /// The batch is stored remotely.
    package mutating func written(took: Duration) {
        let written = advance()
        if let limit = suspicion {
            suspicion = limit * 2 < batchSize ? limit * 2 : nil
        } else if took > settings.slow {
            batchSize = max(batchSize / 2, settings.smallestBatch)
        } else if written >= batchSize, rows > 0, took < settings.quick {
            batchSize = min(batchSize * 2, settings.largestBatch)
        }
    }

    /// The remote store will not have the batch.
    /// - Returns: the row at fault, once it stands alone: to be put in quarantine, and then reported with `quarantined`.
    package mutating func refused() -> RowImage? {
        guard rowsUnderWay > 1 else { return segments.first?.rows?[offset] }
        suspicion = rowsUnderWay / 2
        rowsUnderWay = 0
        return nil
    }

    /// The row that stood alone is in quarantine.
    package mutating func quarantined() {
        _ = advance()
        suspicion = suspicion.flatMap { $0 * 2 < batchSize ? $0 * 2 : nil }
    }

    /// The batch took longer than it may, and was not written.
    package mutating func timedOut() {
        batchSize = max(min(batchSize, rowsUnderWay) / 2, settings.smallestBatch)
        // A single row that takes too long is nobody's fault.
        if rowsUnderWay <= settings.smallestBatch { suspicion = max(rowsUnderWay / 2, 1) }
        rowsUnderWay = 0
    }

    /// The batch was not written, for reasons outside it.
    package mutating func postponed() { rowsUnderWay = 0 }

    /// Done with the rows under way.
    private mutating func advance() -> Int {
        let done = rowsUnderWay
        rowsUnderWay = 0
        rows -= done
        doneRows += done
        offset += done
        while let first = segments.first, offset >= first.rowCount, first.rows != nil {
            offset -= first.rowCount
            memory -= first.bytes
            bytes -= first.bytes
            flushedThrough = first.sequence
            segments.removeFirst()
        }
        if segments.isEmpty { lastSequenceOfTenant.removeAll(keepingCapacity: true) }
        return done
    }
}

extension SQLValue {
    fileprivate func isIdentical(to other: SQLValue) -> Bool {
        if case .text(let a) = self, case .text(let b) = other { return a.utf8.elementsEqual(b.utf8) }
        return self == other
    }
}
